//! Serial numbers in custody: each is in one machine. Written with what was scanned, in its transaction, and looked up before, so
//! that whoever scans one twice is told where the other is. The index is for two who scan at once.

use super::from_json;
use crate::database::{Session, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use fleet::machine::Spec;
use fleet::observed::Custody;
use types::MachineId;

statements! {
    PUT = "INSERT INTO custody_serials (kind, serial, machine, part) VALUES ($1, $2, $3, $4)
           ON CONFLICT (machine, part) DO UPDATE SET kind = excluded.kind, serial = excluded.serial";
    /// From one place of a machine to another.
    MOVED = "DELETE FROM custody_serials WHERE machine = $1 AND kind = $2 AND serial = $3 AND part <> $4";
    /// Of what was there before the table was, the first of two stands.
    FILL = "INSERT INTO custody_serials (kind, serial, machine, part) VALUES ('chassis', $1, $2, 'chassis')
            ON CONFLICT DO NOTHING";
    GONE = "DELETE FROM custody_serials WHERE machine = $1";
    HOLDER = "SELECT c.machine, c.part, m.slot FROM custody_serials AS c JOIN machines AS m ON m.id = c.machine
              WHERE c.kind = $1 AND c.serial = $2 AND c.machine <> $3";
    UNKNOWN = "SELECT o.machine, o.body FROM observations AS o JOIN machines AS m ON m.id = o.machine
               WHERE o.kind = 'custody' AND m.lifecycle <> 'retired'
               AND NOT EXISTS (SELECT 1 FROM custody_serials AS c WHERE c.machine = o.machine AND c.part = 'chassis')
               ORDER BY o.at, o.machine";
    /// Whatever contains the word; which part it is of is read from the spec.
    IN_BILLS = "SELECT id, slot, spec FROM machines WHERE lifecycle <> 'retired' AND id <> $1 AND spec LIKE $2";
}

/// Where a serial number is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub machine: MachineId,
    pub slot: String,
    pub part: String,
    /// It was scanned there; else the machine's bill names it.
    pub scanned: bool,
}

/// `gpu` of `gpu3`.
fn kind(part: &str) -> &str {
    part.trim_end_matches(|c: char| c.is_ascii_digit())
}

pub(crate) async fn put(session: &mut Session, machine: MachineId, part: &str, serial: &str) -> Result<(), StoreError> {
    session.run(MOVED, values![machine, kind(part), serial, part]).await?;
    let put = session.run(PUT, values![kind(part), serial, machine, part]).await;
    put.map(|_| ()).map_err(|error| error.meaning(Store::SERIAL_ELSEWHERE, "this machine"))
}

/// A machine that is retired holds nothing.
pub(crate) async fn gone(session: &mut Session, machine: MachineId) -> Result<(), StoreError> {
    session.run(GONE, values![machine]).await.map(|_| ())
}

impl Store {
    /// The conflict of a serial number that is in custody elsewhere: it stays one until a person has looked.
    pub const SERIAL_ELSEWHERE: &'static str = "a machine with this serial number in custody";

    /// The other machine that has this serial number for such a part: scanned, or else, if that is asked for, in its bill.
    pub async fn serial_holder(
        &self,
        part: &str,
        serial: &str,
        except: MachineId,
        in_bills: bool,
    ) -> Result<Option<Holder>, StoreError> {
        let rows = self.database.rows(HOLDER, values![kind(part), serial, except]).await?;
        if let Some(row) = rows.first() {
            let mut c = row.columns();
            let (machine, part, slot) = (c.parsed()?, c.text()?, c.text()?);
            return Ok(Some(Holder { machine, slot, part, scanned: true }));
        }
        if !in_bills {
            return Ok(None);
        }
        // As JSON writes it; `%` and `_` in it find more, which is looked at below. A backslash would be PostgreSQL's escape.
        let word = super::json(&serial)?.replace('\\', "_");
        for row in self.database.rows(IN_BILLS, values![except, format!("%{word}%")]).await? {
            let mut c = row.columns();
            let (machine, slot, spec): (MachineId, String, String) = (c.parsed()?, c.text()?, c.text()?);
            let spec: Spec = from_json(&format!("the spec of {machine}"), &spec)?;
            let named = spec.serials.iter().find(|(name, one)| kind(name) == kind(part) && *one == serial);
            if let Some((part, _)) = named {
                return Ok(Some(Holder { machine, slot, part: part.clone(), scanned: false }));
            }
        }
        Ok(None)
    }

    /// Takes in what was scanned before this was written down.
    pub async fn custody_fill(&self) -> Result<(), StoreError> {
        let rows = self.database.rows(UNKNOWN, values![]).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut session = self.database.write().await?;
        for row in &rows {
            let mut c = row.columns();
            let (machine, body): (MachineId, String) = (c.parsed()?, c.text()?);
            let custody: Custody = from_json(&format!("custody of {machine}"), &body)?;
            session.run(FILL, values![custody.serial, machine]).await?;
        }
        session.commit().await
    }
}
