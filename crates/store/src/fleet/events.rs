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
    LAST = "SELECT seq, at, machine, kind, text FROM fleet_events ORDER BY seq DESC LIMIT $1";
}

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
