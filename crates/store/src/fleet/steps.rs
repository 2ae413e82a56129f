//! Steps of the reconcilers: which machines are due, and what was decided for them.

use super::machines::{self, MachineRow};
use super::{acceptances, custody, events, json, observations, orders, zones};
use crate::database::{Session, Value, int, values};
use crate::fleet::acceptances::NewAcceptance;
use crate::fleet::events::FleetEvent;
use crate::fleet::machines::select;
use crate::fleet::orders::OrderRow;
use crate::statements::statements;
use crate::{Store, StoreError};
use fleet::action::Action;
use fleet::machine::{Lifecycle, Machine};
use fleet::observed::Observed;
use fleet::order::{Order, OrderState};
use types::{MachineId, UnixMillis};

statements! {
    DUE = concat!(select!(), "WHERE seen <> stepped OR wake_at <= $1 ORDER BY wake_at, id LIMIT $2");
    STEP = "UPDATE machines SET lifecycle = $4, health = $5, scheduling = $6, machine = $7, wants = $8, stepped = $9,
            wake_at = $10, version = version + 1
            WHERE id = $1 AND version = $2 AND EXISTS (SELECT 1 FROM counters WHERE name = 'fleet_epoch' AND value = $3)";
    /// Of the controller that took over last.
    EPOCH = "SELECT value FROM counters WHERE name = 'fleet_epoch'";
    TAKE_INCIDENT = "DELETE FROM incidents WHERE seq = $1";
}

/// A machine that is to be stepped, with everything seen of it.
#[derive(Debug, Clone)]
pub struct Due {
    pub row: MachineRow,
    pub observed: Observed,
    /// Its open and held orders.
    pub orders: Vec<OrderRow>,
    incidents: Vec<i64>,
}

/// What a step decided for a machine.
#[derive(Debug, Clone)]
pub struct Decided {
    pub at: UnixMillis,
    pub due: Due,
    pub machine: Machine,
    pub wants: Vec<Action>,
    /// When to look again if nothing is seen before.
    pub wake_at: UnixMillis,
    /// Of the observed events, from the first.
    pub events_taken: usize,
    /// To be made unless the stay has one.
    pub order: Option<Order>,
    /// Cancels the machine's open orders.
    pub cancel_orders: bool,
    pub acceptance: Option<NewAcceptance>,
    pub happened: Vec<FleetEvent>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stepped {
    /// Machines whose step is true now; the others were changed meanwhile and are still due.
    pub stored: Vec<MachineId>,
}

/// Why a batch was not stored.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Another controller has taken over. Stop reconciling.
    #[error("another controller reconciles since epoch {present}; ours was {ours}")]
    Fenced { ours: u64, present: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// The machines that are due, those that waited longest first.
    pub async fn machines_due(&self, now: UnixMillis, limit: u32) -> Result<Vec<Due>, StoreError> {
        let mut session = self.database.read().await?;
        let mut due = Vec::new();
        for row in session.rows(DUE, values![now, limit]).await? {
            let row = machines::row(row.columns())?;
            let (observed, incidents) = observations::observed(&mut session, row.machine.id).await?;
            let orders = orders::open_of(&mut session, row.machine.id).await?;
            due.push(Due { row, observed, orders, incidents });
        }
        Ok(due)
    }

    /// The epoch of the controller that took over last.
    pub async fn fleet_epoch(&self) -> Result<u64, StoreError> {
        let rows = self.database.rows(EPOCH, values![]).await?;
        rows.first().map_or(Ok(0), |row| row.columns().count())
    }

    /// Makes decisions true, each machine's wholly or not at all, as one transaction.
    pub async fn machines_step(&self, epoch: u64, batch: &[Decided]) -> Result<Stepped, StepError> {
        let mut session = self.database.write().await?;
        let present = session.number(EPOCH, values![]).await?;
        if present != epoch {
            return Err(StepError::Fenced { ours: epoch, present });
        }
        let mut stored = Vec::with_capacity(batch.len());
        for decided in batch {
            if store(&mut session, epoch, decided).await? {
                stored.push(decided.machine.id);
            }
        }
        session.commit().await?;
        Ok(Stepped { stored })
    }
}

/// False, and nothing written, if the machine was changed since the step read it.
async fn store(session: &mut Session, epoch: u64, decided: &Decided) -> Result<bool, StoreError> {
    let Decided { due, machine, .. } = decided;
    let version = int(due.row.version, "a version")?;
    let mut values = values![machine.id, version, int(epoch, "the epoch")?];
    values.extend(machines::decided(machine)?);
    values.extend::<Vec<Value>>(values![json(&decided.wants)?, due.row.seen, decided.wake_at]);
    if session.run(STEP, values).await? == 0 {
        return Ok(false);
    }
    if machine.lifecycle == Lifecycle::Retired && due.row.machine.lifecycle != Lifecycle::Retired {
        custody::gone(session, machine.id).await?;
    }
    for seq in due.incidents.iter().take(decided.events_taken) {
        session.run(TAKE_INCIDENT, values![*seq]).await?;
    }
    if decided.cancel_orders {
        for row in orders::open_of(session, machine.id).await? {
            let order = Order { state: OrderState::Cancelled, ..row.order.clone() };
            if let Some(left) = fleet::order::left(&row.order, &order) {
                zones::put(session, order.id, &left, decided.at).await?;
            }
            orders::update(session, &order, row.version).await?;
        }
    }
    if let Some(order) = &decided.order
        && orders::make(session, order).await?
    {
        observations::touch(session, machine.id).await?;
        let text = format!("{} order {} with {} tasks", order.kind, order.id, order.tasks.len());
        events::insert(session, &FleetEvent::of(machine, order.made_at, "order", &text)).await?;
    }
    if let Some(acceptance) = &decided.acceptance
        && acceptances::make(session, acceptance).await?
    {
        observations::touch(session, machine.id).await?;
    }
    for event in &decided.happened {
        events::insert(session, event).await?;
    }
    Ok(true)
}
