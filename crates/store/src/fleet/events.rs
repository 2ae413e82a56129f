//! What happened to machines and orders, in order, for people: `fleet watch`, `machine show`. Nothing is decided from it.

use crate::change::Change;
use crate::database::{Columns, Session, int, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use fleet::machine::Machine;
use types::{MachineId, UnixMillis};

statements! {
    NEXT = "UPDATE counters SET value = value + 1 WHERE name = 'fleet_events' RETURNING value";
    INSERT = "INSERT INTO fleet_events (seq, at, machine, kind, text) VALUES ($1, $2, $3, $4, $5)";
    AFTER = "SELECT seq, at, machine, kind, text FROM fleet_events WHERE seq > $1 ORDER BY seq LIMIT $2";
    LAST_OF = "SELECT seq, at, machine, kind, text FROM fleet_events WHERE machine = $1 ORDER BY seq DESC LIMIT $2";
    /// Through the index alone.
    CROWDED = "SELECT machine, COUNT(*) FROM fleet_events GROUP BY machine HAVING COUNT(*) > $1 ORDER BY machine LIMIT $2";
    FORGET_OF = "DELETE FROM fleet_events WHERE seq IN
                 (SELECT seq FROM fleet_events WHERE machine = $1 ORDER BY seq LIMIT $2)";
    FORGET_NOBODYS = "DELETE FROM fleet_events WHERE seq IN
                      (SELECT seq FROM fleet_events WHERE machine IS NULL ORDER BY seq LIMIT $1)";
    LAST = "SELECT seq, at, machine, kind, text FROM fleet_events ORDER BY seq DESC LIMIT $1";
}

/// Events of one machine that are kept, the newest; those of no machine count as one machine's. A machine has about 40 in its
/// installation and some a month, so it is years; one that tells 60 a minute keeps a quarter of an hour and takes nobody's. 1,250
/// machines at the limit are 1.25 million rows of 150 bytes.
pub const EVENTS_KEPT_MAX: u64 = 1_000;
/// Of no machine: robots, strangers and pages of a whole site, 64 findings a minute at most.
pub const EVENTS_OF_NOBODY_MAX: u64 = 100_000;
/// Rows that are forgotten at a time, as one transaction: some 20 ms, in which nobody else writes.
pub const EVENTS_FORGOTTEN_MAX: u64 = 2_000;
/// Machines with too many that are looked at in one go.
const CROWDED_MAX: u32 = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetEvent {
    /// Its number; 0 before it is stored.
    pub seq: u64,
    pub at: UnixMillis,
    pub machine: Option<MachineId>,
    /// The state that was entered, `held`, `released`, `page`, `order` …
    pub kind: String,
    pub text: String,
}

impl FleetEvent {
    pub fn of(machine: &Machine, at: UnixMillis, kind: &str, text: &str) -> FleetEvent {
        FleetEvent { seq: 0, at, machine: Some(machine.id), kind: kind.to_owned(), text: text.to_owned() }
    }
}

pub(crate) async fn insert(session: &mut Session, event: &FleetEvent) -> Result<(), StoreError> {
    let seq = session.number(NEXT, values![]).await?;
    let values =
        values![int(seq, "the number of events")?, event.at, event.machine, shown(&event.kind), shown(&event.text)];
    session.run(INSERT, values).await.map(|_| ())
}

pub(crate) async fn insert_in_change(change: &mut Change, event: &FleetEvent) -> Result<(), StoreError> {
    let rows = change.rows(NEXT, values![]).await?;
    let row = rows.first().ok_or_else(|| StoreError::Corrupt { what: "a counter is missing".to_owned() })?;
    let values = values![row.columns().int()?, event.at, event.machine, shown(&event.kind), shown(&event.text)];
    change.run(INSERT, values).await.map(|_| ())
}

/// What agents, robots and BMCs call things stands in these texts, and PostgreSQL takes no NUL; neither does a terminal take the rest.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn event(mut c: Columns<'_>) -> Result<FleetEvent, StoreError> {
    Ok(FleetEvent {
        seq: c.count()?,
        at: UnixMillis(c.int()?),
        machine: c.parsed_opt()?,
        kind: c.text()?,
        text: c.text()?,
    })
}

impl Store {
    /// Tells of something that no step decided: a finding about an agent or a robot.
    pub async fn fleet_event(&self, event: &FleetEvent) -> Result<(), StoreError> {
        let mut session = self.database.write().await?;
        insert(&mut session, event).await?;
        session.commit().await
    }

    /// Forgets the oldest events beyond [`EVENTS_KEPT_MAX`] of each machine and [`EVENTS_OF_NOBODY_MAX`] of none, at most
    /// [`EVENTS_FORGOTTEN_MAX`]; answers how many. Called until it answers none.
    pub async fn fleet_events_forget(&self) -> Result<u64, StoreError> {
        let limit = int(EVENTS_KEPT_MAX.min(EVENTS_OF_NOBODY_MAX), "a limit")?;
        let rows = self.database.rows(CROWDED, values![limit, CROWDED_MAX]).await?;
        let mut crowded: Vec<(Option<MachineId>, u64)> = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut c = row.columns();
            let (machine, count) = (c.parsed_opt()?, c.count()?);
            let kept = if machine.is_some() { EVENTS_KEPT_MAX } else { EVENTS_OF_NOBODY_MAX };
            crowded.extend((count > kept).then(|| (machine, count - kept)));
        }
        if crowded.is_empty() {
            return Ok(0);
        }
        let mut session = self.database.write().await?;
        let mut forgotten = 0;
        for (machine, excess) in crowded {
            let most = int(excess.min(EVENTS_FORGOTTEN_MAX - forgotten), "a number of events")?;
            forgotten += match machine {
                Some(machine) => session.run(FORGET_OF, values![machine, most]).await?,
                None => session.run(FORGET_NOBODYS, values![most]).await?,
            };
            if forgotten >= EVENTS_FORGOTTEN_MAX {
                break;
            }
        }
        session.commit().await?;
        Ok(forgotten)
    }

    /// Events after a number, oldest first.
    pub async fn fleet_events(&self, after: u64, limit: u32) -> Result<Vec<FleetEvent>, StoreError> {
        let rows = self.database.rows(AFTER, values![int(after, "the number of events")?, limit]).await?;
        rows.iter().map(|row| event(row.columns())).collect()
    }

    /// The last events of one machine or of all, oldest first.
    pub async fn fleet_events_last(&self, of: Option<MachineId>, limit: u32) -> Result<Vec<FleetEvent>, StoreError> {
        let rows = match of {
            Some(machine) => self.database.rows(LAST_OF, values![machine, limit]).await?,
            None => self.database.rows(LAST, values![limit]).await?,
        };
        rows.iter().rev().map(|row| event(row.columns())).collect()
    }
}
