//! Machines as rows: what was asked, what was decided, what is wanted, and when to look again.

use super::{from_json, json};
use crate::database::{Columns, Session, Value, int, values};
use crate::fleet::events::{self, FleetEvent};
use crate::statements::statements;
use crate::{Store, StoreError};
use fleet::action::Action;
use fleet::machine::{Machine, Spec};
use types::audit::AuditEntry;
use types::{MachineId, UnixMillis};

macro_rules! select {
    () => {
        "SELECT id, spec, machine, wants, version, seen FROM machines "
    };
}
pub(crate) use select;

statements! {
    INSERT = "INSERT INTO machines (id, slot, unit, lifecycle, health, scheduling, spec, machine, wants, version, seen, stepped, wake_at)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '[]', 1, 1, 0, 0)";
    UPDATE_SPEC = "UPDATE machines SET unit = $3, spec = $4, version = version + 1, seen = seen + 1 WHERE id = $1 AND version = $2";
    UPDATE_BOTH = "UPDATE machines SET unit = $3, spec = $4, lifecycle = $5, health = $6, scheduling = $7, machine = $8,
                   version = version + 1, seen = seen + 1 WHERE id = $1 AND version = $2";
    ONE = concat!(select!(), "WHERE id = $1");
    AT_SLOT = concat!(select!(), "WHERE slot = $1 AND lifecycle <> 'retired'");
    LIST = concat!(select!(), "WHERE id > $1 AND ($2 = '' OR lifecycle = $2) ORDER BY id LIMIT $3");
    COUNTS = "SELECT lifecycle, health, scheduling, COUNT(*) FROM machines GROUP BY lifecycle, health, scheduling";
    TAKE_EPOCH = "UPDATE counters SET value = value + 1 WHERE name = 'fleet_epoch' RETURNING value";
}

const DOUBLED: &str = "a machine in this slot";

/// A machine with the version that a change must name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineRow {
    pub spec: Spec,
    pub machine: Machine,
    /// What the last step asked for and has not seen yet.
    pub wants: Vec<Action>,
    pub version: u64,
    pub(crate) seen: i64,
}

/// How many machines are so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineCount {
    pub lifecycle: String,
    pub health: String,
    pub scheduling: String,
    pub machines: u64,
}

pub(crate) fn row(mut c: Columns<'_>) -> Result<MachineRow, StoreError> {
    let id = c.text()?;
    let named = |what: &str| format!("{what} of {id}");
    let (spec, machine, wants) = (c.text()?, c.text()?, c.text()?);
    Ok(MachineRow {
        spec: from_json(&named("the spec"), &spec)?,
        machine: from_json(&named("the state"), &machine)?,
        wants: from_json(&named("the wants"), &wants)?,
        version: c.count()?,
        seen: c.int()?,
    })
}

pub(crate) async fn one(session: &mut Session, id: MachineId) -> Result<Option<MachineRow>, StoreError> {
    let rows = session.rows(ONE, values![id]).await?;
    rows.first().map(|one| row(one.columns())).transpose()
}

/// The columns that a decided machine is searched by, in the order of the statements.
pub(crate) fn decided(machine: &Machine) -> Result<Vec<Value>, StoreError> {
    Ok(values![machine.lifecycle.as_str(), machine.health.as_str(), machine.scheduling.as_str(), json(machine)?])
}

/// Writes an exchanged part into the machine's bill, if the bill names that part.
pub(crate) async fn set_serial(session: &mut Session, swap: &super::orders::Swapped) -> Result<(), StoreError> {
    let Some(found) = one(session, swap.machine).await? else { return Ok(()) };
    let mut spec = found.spec;
    match spec.serials.get_mut(&swap.part) {
        Some(serial) if *serial != swap.serial => serial.clone_from(&swap.serial),
        _ => return Ok(()),
    }
    spec.generation += 1;
    let values = values![swap.machine, int(found.version, "a version")?, &spec.unit, json(&spec)?];
    session.run(UPDATE_SPEC, values).await.map(|_| ())
}

/// What applying a site file does to the machines.
#[derive(Debug, Clone, Default)]
pub struct SiteChange {
    pub add: Vec<(Spec, Machine)>,
    /// Machines with a new spec, under the version that was read.
    pub change: Vec<(MachineId, u64, Spec)>,
}

impl Store {
    /// Takes over the reconciling: what earlier controllers write from now on is refused.
    pub async fn fleet_epoch_take(&self) -> Result<u64, StoreError> {
        let mut session = self.database.write().await?;
        let epoch = session.number(TAKE_EPOCH, values![]).await?;
        session.commit().await?;
        Ok(epoch)
    }

    /// Makes a site file (and the serial numbers that it names) the site, with its machines; all of it or nothing.
    pub async fn site_apply(
        &self,
        file: (&str, Option<&str>),
        digest: &str,
        at: UnixMillis,
        change: &SiteChange,
        entry: &AuditEntry,
    ) -> Result<u64, StoreError> {
        let mut session = self.change().await?;
        let version = super::site_models::insert(&mut session, file, digest, at).await?;
        for (spec, machine) in &change.add {
            let mut values = values![machine.id, &spec.slot, &spec.unit];
            let mut state = decided(machine)?;
            let body = state.pop();
            values.extend(state);
            values.extend(values![json(spec)?]);
            values.extend(body);
            session.run(INSERT, values).await.map_err(|error| error.meaning(DOUBLED, "this site"))?;
            let event = FleetEvent::of(machine, machine.since, "planned", &machine.reason);
            events::insert_in_change(&mut session, &event).await?;
        }
        for (id, read, spec) in &change.change {
            let values = values![*id, int(*read, "a version")?, &spec.unit, json(spec)?];
            if session.run(UPDATE_SPEC, values).await? == 0 {
                return Err(StoreError::Conflict { what: "a newer state of a machine of this site file" });
            }
        }
        session.commit(entry).await?;
        Ok(version)
    }

    /// What a person decided about a machine: a new spec, a release, or both.
    pub async fn machine_change(
        &self,
        from_version: u64,
        spec: &Spec,
        machine: &Machine,
        event: &FleetEvent,
        entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        let mut values = values![machine.id, int(from_version, "a version")?, &spec.unit, json(spec)?];
        values.extend(decided(machine)?);
        if change.run(UPDATE_BOTH, values).await? == 0 {
            return Err(StoreError::Conflict { what: "a newer state of this machine" });
        }
        events::insert_in_change(&mut change, event).await?;
        change.commit(entry).await
    }

    pub async fn machine(&self, id: MachineId) -> Result<Option<MachineRow>, StoreError> {
        let rows = self.database.rows(ONE, values![id]).await?;
        rows.first().map(|one| row(one.columns())).transpose()
    }

    /// The machine that stands in a slot, or shall stand there.
    pub async fn machine_at(&self, slot: &str) -> Result<Option<MachineRow>, StoreError> {
        let rows = self.database.rows(AT_SLOT, values![slot]).await?;
        rows.first().map(|one| row(one.columns())).transpose()
    }

    /// Machines after an id, in one state or in any.
    pub async fn machines(
        &self,
        after: Option<MachineId>,
        lifecycle: Option<&str>,
        limit: u32,
    ) -> Result<Vec<MachineRow>, StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows = self.database.rows(LIST, values![after, lifecycle.unwrap_or_default(), limit]).await?;
        rows.iter().map(|one| row(one.columns())).collect()
    }

    pub async fn machine_counts(&self) -> Result<Vec<MachineCount>, StoreError> {
        let rows = self.database.rows(COUNTS, values![]).await?;
        let count = |mut c: Columns<'_>| {
            Ok(MachineCount { lifecycle: c.text()?, health: c.text()?, scheduling: c.text()?, machines: c.count()? })
        };
        rows.iter().map(|one| count(one.columns())).collect()
    }
}
