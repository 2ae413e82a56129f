//! Certificates of acceptance. Each gets its place in the log from the same counter as receipts, in the transaction that
//! makes it, so there is one order of entries and no gap; the sealer takes them with the receipts ([`crate::log`]).

use crate::database::{Columns, Session, int, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{AcceptanceId, MachineId, UnixMillis};

macro_rules! select {
    () => {
        "SELECT c.id, c.machine, c.entry, c.at, c.signing_input, c.ord, h.size
         FROM acceptances AS c CROSS JOIN tree_head AS h WHERE h.id = 1 "
    };
}

statements! {
    /// Locks the counter's row, as shipping does: places are given in the order of commits.
    LOCK_LEAVES = "UPDATE counters SET value = value WHERE name = 'leaves' RETURNING value";
    MOVE_LEAVES = "UPDATE counters SET value = value + 1 WHERE name = 'leaves'";
    EXISTS = "SELECT id FROM acceptances WHERE machine = $1 AND entry = $2";
    INSERT = "INSERT INTO acceptances (ord, id, machine, entry, at, signing_input, leaf) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    ONE = concat!(select!(), "AND c.id = $1");
    OF_MACHINE = concat!(select!(), "AND c.machine = $1 ORDER BY c.ord");
    LIST = concat!(select!(), "AND c.ord > $1 ORDER BY c.ord LIMIT $2");
}

/// A certificate to be stored; its text was fixed and is stored as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAcceptance {
    pub id: AcceptanceId,
    pub machine: MachineId,
    /// The machine's stay for which it was made; one certificate for each.
    pub entry: u64,
    pub at: UnixMillis,
    pub signing_input: String,
    pub leaf: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAcceptance {
    pub id: AcceptanceId,
    pub machine: MachineId,
    pub entry: u64,
    pub at: UnixMillis,
    pub signing_input: String,
    /// Its place in the log.
    pub ord: u64,
    /// Whether a checkpoint covers it.
    pub sealed: bool,
}

/// Stores the certificate unless there is one for this stay; true if it was stored.
pub(crate) async fn make(session: &mut Session, new: &NewAcceptance) -> Result<bool, StoreError> {
    let next = session.number(LOCK_LEAVES, values![]).await?;
    let entry = int(new.entry, "the number of states")?;
    if !session.rows(EXISTS, values![new.machine, entry]).await?.is_empty() {
        return Ok(false);
    }
    let place = int(next, "the place in the log")?;
    let values = values![place, new.id, new.machine, entry, new.at, &new.signing_input, new.leaf.to_vec()];
    session.run(INSERT, values).await?;
    session.run(MOVE_LEAVES, values![]).await?;
    Ok(true)
}

fn stored(mut c: Columns<'_>) -> Result<StoredAcceptance, StoreError> {
    let (id, machine, entry, at) = (c.parsed()?, c.parsed()?, c.count()?, UnixMillis(c.int()?));
    let (signing_input, ord, size) = (c.text()?, c.count()?, c.count()?);
    Ok(StoredAcceptance { id, machine, entry, at, signing_input, ord, sealed: ord < size })
}

impl Store {
    pub async fn acceptance(&self, id: AcceptanceId) -> Result<Option<StoredAcceptance>, StoreError> {
        let rows = self.database.rows(ONE, values![id]).await?;
        rows.first().map(|row| stored(row.columns())).transpose()
    }

    /// Every certificate of a machine, oldest first.
    pub async fn acceptances_of(&self, machine: MachineId) -> Result<Vec<StoredAcceptance>, StoreError> {
        let rows = self.database.rows(OF_MACHINE, values![machine]).await?;
        rows.iter().map(|row| stored(row.columns())).collect()
    }

    /// Certificates after a place of the log.
    pub async fn acceptances(&self, after: Option<u64>, limit: u32) -> Result<Vec<StoredAcceptance>, StoreError> {
        let after = after.map_or(Ok(-1), |ord| int(ord, "the place in the log"))?;
        let rows = self.database.rows(LIST, values![after, limit]).await?;
        rows.iter().map(|row| stored(row.columns())).collect()
    }
}
