//! Orders with their tasks, as wholes. A change names the version that it read; (machine, entry, kind) is unique.

use super::{custody, from_json, json, observations, zones};
use crate::database::{Columns, Session, int, values};
use crate::fleet::events::{self, FleetEvent};
use crate::statements::statements;
use crate::{Store, StoreError};
use fleet::order::{Left, Order, OrderState, Task, TaskState};
use types::audit::AuditEntry;
use types::{OrderId, TaskId, UnixMillis};

statements! {
    INSERT = "INSERT INTO orders (id, machine, entry, kind, state, version, zone, body) VALUES ($1, $2, $3, $4, $5, 1, $6, $7)
              ON CONFLICT (machine, entry, kind) DO NOTHING";
    INSERT_TASK = "INSERT INTO order_tasks (task, order_id) VALUES ($1, $2)";
    UPDATE = "UPDATE orders SET state = $3, zone = $4, body = $5, version = version + 1 WHERE id = $1 AND version = $2";
    ZONES = "SELECT zone FROM orders WHERE zone IS NOT NULL AND id <> $1 UNION SELECT zone FROM zones_left";
    OPEN = "SELECT id, version FROM orders WHERE state = 'open' ORDER BY id";
    ONE = "SELECT body, version FROM orders WHERE id = $1";
    OF_TASK = "SELECT o.body, o.version FROM order_tasks AS t JOIN orders AS o ON o.id = t.order_id WHERE t.task = $1";
    OPEN_OF = "SELECT body, version FROM orders WHERE machine = $1 AND state IN ('open', 'held') ORDER BY id";
    LIST = "SELECT body, version FROM orders WHERE id > $1 AND ($2 = '' OR state = $2) ORDER BY id LIMIT $3";
    /// In the order of the ids, and so a page at a time: by the index of states all bodies would be read and sorted for each page.
    LIVE = "SELECT body, version FROM orders WHERE id > $1 AND state || '' IN ('open', 'held') ORDER BY id LIMIT $2";
    OF_MACHINE = "SELECT body, version FROM orders WHERE machine = $1 ORDER BY id";
    /// A machine's step sees how far its order is by the order's state and nothing else of it ([`fleet::observed::OrderSeen`]), so
    /// of 60 changes of an order's tasks it is due after the last.
    TOUCH_IF_MOVED = "UPDATE machines SET seen = seen + 1 WHERE id = $1
                      AND EXISTS (SELECT 1 FROM orders WHERE id = $2 AND state <> $3)";
}

/// A part that was exchanged: the bill names the new one from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swapped {
    pub machine: types::MachineId,
    pub part: String,
    pub serial: String,
}

/// An order with the version that a change must name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    pub order: Order,
    pub version: u64,
}

fn row(mut c: Columns<'_>) -> Result<OrderRow, StoreError> {
    Ok(OrderRow { order: from_json("an order", &c.text()?)?, version: c.count()? })
}

/// The task of an open order that runs in a zone: tasks follow each other, so it is one at most.
fn in_zone(order: &Order) -> Option<&Task> {
    let running = order.tasks.iter().find(|task| task.state == TaskState::Running)?;
    (order.state == OrderState::Open && !running.zone.is_empty()).then_some(running)
}

fn zone(order: &Order) -> Option<String> {
    in_zone(order).map(|task| task.zone.clone())
}

/// Makes the order unless there is one for this stay; true if it was made.
pub(crate) async fn make(session: &mut Session, order: &Order) -> Result<bool, StoreError> {
    let values = values![
        order.id,
        order.machine,
        int(order.entry, "the number of states")?,
        order.kind.as_str(),
        order.state.as_str(),
        zone(order),
        json(order)?
    ];
    if session.run(INSERT, values).await? == 0 {
        return Ok(false);
    }
    for task in &order.tasks {
        session.run(INSERT_TASK, values![task.id, order.id]).await?;
    }
    Ok(true)
}

pub(crate) async fn update(session: &mut Session, order: &Order, version: u64) -> Result<bool, StoreError> {
    let values = values![order.id, int(version, "a version")?, order.state.as_str(), zone(order), json(order)?];
    Ok(session.run(UPDATE, values).await? > 0)
}

/// Open and held orders of a machine.
pub(crate) async fn open_of(session: &mut Session, machine: types::MachineId) -> Result<Vec<OrderRow>, StoreError> {
    let rows = session.rows(OPEN_OF, values![machine]).await?;
    rows.iter().map(|one| row(one.columns())).collect()
}

impl Store {
    /// Stores changed orders, and makes the machines of those due whose state is another one; what was exchanged, the robots that
    /// are still at what was taken from them, and the audit entry, where a person did it. All or nothing; an order that was changed
    /// meanwhile is a conflict.
    pub async fn orders_change(
        &self,
        changed: &[(Order, u64)],
        seen: &[(types::MachineId, types::UnixMillis, super::observations::Observation)],
        swapped: &[Swapped],
        left: &[(OrderId, Left, UnixMillis)],
        events: &[FleetEvent],
        entry: Option<&AuditEntry>,
    ) -> Result<(), StoreError> {
        let (changed, seen, swapped) = (changed.to_vec(), seen.to_vec(), swapped.to_vec());
        let (left, events, entry) = (left.to_vec(), events.to_vec(), entry.cloned());
        let writing = self.gathered(move |session| {
            Box::pin(async move {
                for (order, one, at) in &left {
                    zones::put(session, *order, one, *at).await?;
                }
                for (order, version) in &changed {
                    session.run(TOUCH_IF_MOVED, values![order.machine, order.id, order.state.as_str()]).await?;
                    let updated = update(session, order, *version).await;
                    let taken = |error: StoreError| error.meaning("a task that runs in this zone", "this order");
                    if !updated.map_err(taken)? {
                        return Err(StoreError::Conflict { what: "a newer state of this order" });
                    }
                    // After the update, which waits for whoever leaves this zone at the same moment: then what it left is seen.
                    if let Some(running) = in_zone(order) {
                        zones::empty(session, &running.zone, running.id).await?;
                    }
                }
                for (machine, at, observation) in &seen {
                    if let observations::Observation::Custody(seen) = observation {
                        custody::put(session, *machine, "chassis", &seen.serial).await?;
                    }
                    observations::put(session, *machine, *at, observation).await?;
                }
                for swap in &swapped {
                    custody::put(session, swap.machine, &swap.part, &swap.serial).await?;
                    super::machines::set_serial(session, swap).await?;
                }
                for event in &events {
                    events::insert(session, event).await?;
                }
                match &entry {
                    Some(entry) => crate::change::write_entry(session, entry).await,
                    None => Ok(()),
                }
            })
        });
        writing.await
    }

    /// Zones in which tasks of other orders run now, or a robot has not said that it stopped.
    pub async fn zones_busy(&self, except: OrderId) -> Result<std::collections::BTreeSet<String>, StoreError> {
        let rows = self.database.rows(ZONES, values![except]).await?;
        rows.iter().map(|row| row.columns().text()).collect()
    }

    /// Every open order's version: what a reader that keeps orders must read anew.
    pub async fn orders_open(&self) -> Result<Vec<(OrderId, u64)>, StoreError> {
        let rows = self.database.rows(OPEN, values![]).await?;
        let one = |mut c: Columns<'_>| Ok((c.parsed()?, c.count()?));
        rows.iter().map(|row| one(row.columns())).collect()
    }

    pub async fn order(&self, id: OrderId) -> Result<Option<OrderRow>, StoreError> {
        let rows = self.database.rows(ONE, values![id]).await?;
        rows.first().map(|one| row(one.columns())).transpose()
    }

    pub async fn order_of_task(&self, id: TaskId) -> Result<Option<OrderRow>, StoreError> {
        let rows = self.database.rows(OF_TASK, values![id]).await?;
        rows.first().map(|one| row(one.columns())).transpose()
    }

    /// Orders after an id, in one state or in any.
    pub async fn orders(
        &self,
        after: Option<OrderId>,
        state: Option<&str>,
        limit: u32,
    ) -> Result<Vec<OrderRow>, StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows = self.database.rows(LIST, values![after, state.unwrap_or_default(), limit]).await?;
        rows.iter().map(|one| row(one.columns())).collect()
    }

    /// Open and held orders after an id.
    pub async fn orders_live(&self, after: Option<OrderId>, limit: u32) -> Result<Vec<OrderRow>, StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows = self.database.rows(LIVE, values![after, limit]).await?;
        rows.iter().map(|one| row(one.columns())).collect()
    }

    /// Every order of a machine, oldest first.
    pub async fn orders_of(&self, machine: types::MachineId) -> Result<Vec<OrderRow>, StoreError> {
        let rows = self.database.rows(OF_MACHINE, values![machine]).await?;
        rows.iter().map(|one| row(one.columns())).collect()
    }
}
