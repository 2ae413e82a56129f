//! Orders at work: what robots did, what time does to tasks, and which robot takes which task. What people do comes in over
//! the API and goes through the same [`apply`].
//!
//! If we crash here: a robot's report that was not stored comes again with its next state; a task that was given and not
//! sent is sent again, since it is in the order.

use super::machines::{PassError, Reconciler, Stage};
use fleet::observed::Custody;
use fleet::order::{self, Assignee, Cable, Event, Order, OrderKind, OrderState, Refusal, RobotFit, TaskState, Verb};
use std::collections::{BTreeMap, BTreeSet};
use store::{FleetEvent, Observation, OrderRow, SiteModel, Store, StoreError};
use types::audit::AuditEntry;
use types::{MachineId, OrderId, TaskId, UnixMillis};

/// Open orders are read in pages of this many: 300 orders of 10 kB are 3 MB.
const PAGE: u32 = 300;

/// The robots of the site, as `robots` knows them. A site without robots has [`NoRobots`].
pub trait Robots: Send + Sync {
    /// Who is there, and what for.
    fn fit(&self) -> Vec<RobotFit>;
    /// Sends a task that was given; the same again changes nothing.
    fn give(&self, robot: &str, order: &Order, task: TaskId);
    /// What they said since the last call, oldest first.
    fn said(&self) -> Vec<Said>;
    /// The first so many of what they said are stored.
    fn stored(&self, count: usize);
}

/// What a robot says of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub task: TaskId,
    pub robot: String,
    pub what: Word,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    Started,
    Done(Vec<order::Evidence>),
    Failed {
        why: String,
        retriable: bool,
    },
    /// It cannot go on: gone, stopped, in people's hands.
    Lost(String),
}

/// A site without robots.
pub struct NoRobots;

impl Robots for NoRobots {
    fn fit(&self) -> Vec<RobotFit> {
        Vec::new()
    }
    fn give(&self, _: &str, _: &Order, _: TaskId) {}
    fn said(&self) -> Vec<Said> {
        Vec::new()
    }
    fn stored(&self, _: usize) {}
}

/// The cable plan of a site file, by slot. A file that was applied can be read.
pub(super) fn cables(model: &SiteModel) -> BTreeMap<String, Vec<Cable>> {
    let Some(site) = fleet::site::read(&model.text, model.serials.as_deref()).site else { return BTreeMap::new() };
    let cable = |it: fleet::site::Cable| Cable { id: it.id, port_a: it.port_a, port_b: it.port_b };
    let planned = site.machines().into_iter();
    planned.map(|it| (it.spec.slot, it.cables.into_iter().map(cable).collect())).collect()
}

/// Why something was not done to a task.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Zones in which tasks of other orders are at work.
fn busy(orders: &[OrderRow], except: OrderId) -> BTreeSet<String> {
    let others = orders.iter().filter(|row| row.order.id != except);
    let tasks = others.flat_map(|row| row.order.tasks.iter()).filter(|task| task.state == TaskState::Running);
    tasks.map(|task| task.zone.clone()).filter(|zone| !zone.is_empty()).collect()
}

async fn read(store: &Store, state: &str) -> Result<Vec<OrderRow>, StoreError> {
    let mut all: Vec<OrderRow> = Vec::new();
    loop {
        let page = store.orders(all.last().map(|row| row.order.id), Some(state), PAGE).await?;
        let last = page.len() < PAGE as usize;
        all.extend(page);
        if last {
            return Ok(all);
        }
    }
}

/// Something that a person did to a task or an order; stored with its audit entry, or refused.
pub async fn apply(
    store: &Store,
    row: &OrderRow,
    event: &Event,
    entry: Option<&AuditEntry>,
    now: UnixMillis,
) -> Result<Order, TaskError> {
    let open = match event {
        Event::Start { .. } => read(store, OrderState::Open.as_str()).await?,
        _ => Vec::new(),
    };
    let next = order::apply(&row.order, event, &busy(&open, row.order.id), now)?;
    let seen = custody(&row.order, &next);
    let events = told(&row.order, &next, now);
    store.orders_change(&[(next.clone(), row.version)], &seen, &events, entry).await?;
    Ok(next)
}

/// What a receipt's scan and photograph say of the machine's custody.
fn custody(before: &Order, after: &Order) -> Vec<(MachineId, UnixMillis, Observation)> {
    let done = |order: &Order| order.tasks.iter().filter(|task| task.state == TaskState::Done).count();
    if after.kind != OrderKind::Receive || done(before) == done(after) {
        return Vec::new();
    }
    let of = |verb: Verb, kind: &str| {
        let mut tasks = after.tasks.iter().filter(|task| task.verb == verb && task.state == TaskState::Done);
        tasks.find_map(|task| task.evidence.iter().find(|one| one.kind == kind)).cloned()
    };
    let Some(scan) = of(Verb::Scan, "scan") else { return Vec::new() };
    let photo = of(Verb::Photograph, "photo").and_then(|photo| photo.sha256);
    let seen = Custody { serial: scan.value, by: scan.by, at: scan.at, photo };
    vec![(after.machine, seen.at, Observation::Custody(seen))]
}

/// What people are told of an order.
fn told(before: &Order, after: &Order, now: UnixMillis) -> Vec<FleetEvent> {
    if before.state == after.state {
        return Vec::new();
    }
    let why = after.finding.as_ref().map(|finding| format!(": {}", finding.text)).unwrap_or_default();
    let text = format!("{} order {} is {}{why}", after.kind, after.id, after.state);
    vec![FleetEvent { seq: 0, at: now, machine: Some(after.machine), kind: "order".to_owned(), text }]
}

impl Reconciler {
    /// One turn of the orders; true if something changed.
    pub async fn orders(&mut self) -> Result<bool, PassError> {
        let now = self.now();
        let said = self.parts.robots.said();
        let mut rows = read(&self.parts.store, OrderState::Open.as_str()).await?;
        self.at(Stage::OrdersRead)?;
        if rows.is_empty() && said.is_empty() {
            return Ok(false);
        }
        let mut changed: BTreeMap<OrderId, usize> = BTreeMap::new();
        let before: Vec<Order> = rows.iter().map(|row| row.order.clone()).collect();
        for word in &said {
            self.hear(word, &mut rows, &mut changed, now);
        }
        for (place, row) in rows.iter_mut().enumerate() {
            let next = order::step(&row.order, &self.parts.orders, now);
            if next != row.order {
                row.order = next;
                changed.insert(row.order.id, place);
            }
        }
        let gifts = self.assign(&mut rows, &mut changed, now);
        let mut write = Vec::new();
        let (mut seen, mut events) = (Vec::new(), Vec::new());
        for place in changed.values() {
            let row = &rows[*place];
            seen.extend(custody(&before[*place], &row.order));
            events.extend(told(&before[*place], &row.order, now));
            write.push((row.order.clone(), row.version));
        }
        if !write.is_empty() {
            match self.parts.store.orders_change(&write, &seen, &events, None).await {
                // A person was faster with one of them: read again.
                Err(StoreError::Conflict { .. }) => return Ok(true),
                other => other?,
            }
        }
        self.at(Stage::OrdersStored)?;
        self.parts.robots.stored(said.len());
        for (robot, place, task) in gifts {
            self.parts.robots.give(&robot, &rows[place].order, task);
        }
        Ok(!write.is_empty())
    }

    /// A robot's word changes its own task, or nothing.
    fn hear(&self, word: &Said, rows: &mut [OrderRow], changed: &mut BTreeMap<OrderId, usize>, now: UnixMillis) {
        let holds = |row: &OrderRow| row.order.tasks.iter().any(|task| task.id == word.task);
        let Some(place) = rows.iter().position(holds) else { return };
        let busy = busy(rows, rows[place].order.id);
        let by = Assignee::Robot(word.robot.clone());
        let task = word.task;
        let event = match &word.what {
            Word::Started => Event::Start { task, by },
            Word::Done(evidence) => Event::Done { task, by, evidence: evidence.clone() },
            Word::Failed { why, retriable } => Event::Fail { task, by, why: why.clone(), retriable: *retriable },
            Word::Lost(why) => {
                let mine = rows[place].order.tasks.iter().find(|one| one.id == task);
                match mine.map(|one| (one.state, one.assignee.as_ref())) {
                    Some((TaskState::Assigned, Some(who))) if *who == by => Event::GiveBack { task, why: why.clone() },
                    Some((TaskState::Running, Some(who))) if *who == by => {
                        Event::Fail { task, by, why: why.clone(), retriable: true }
                    }
                    _ => return,
                }
            }
        };
        match order::apply(&rows[place].order, &event, &busy, now) {
            Ok(next) if next != rows[place].order => {
                rows[place].order = next;
                changed.insert(rows[place].order.id, place);
            }
            Ok(_) => {}
            Err(refusal) => {
                tracing::warn!(robot = %word.robot, task = %word.task, %refusal, "a robot's word changed nothing");
            }
        }
    }

    /// Gives ready tasks to robots that are fit; and once more what they were given and may not have got.
    fn assign(
        &self,
        rows: &mut [OrderRow],
        changed: &mut BTreeMap<OrderId, usize>,
        now: UnixMillis,
    ) -> Vec<(String, usize, TaskId)> {
        let robots = self.robots();
        let orders: Vec<Order> = rows.iter().map(|row| row.order.clone()).collect();
        for gift in order::assign(&orders, &robots) {
            let Some(place) = orders.iter().position(|order| order.id == gift.order) else { continue };
            let event = Event::Assign { task: gift.task, to: Assignee::Robot(gift.robot) };
            if let Ok(next) = order::apply(&rows[place].order, &event, &BTreeSet::new(), now) {
                rows[place].order = next;
                changed.insert(gift.order, place);
            }
        }
        let mut gifts = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            for task in &row.order.tasks {
                if let (TaskState::Assigned | TaskState::Running, Some(Assignee::Robot(robot))) =
                    (task.state, &task.assignee)
                {
                    gifts.push((robot.clone(), place, task.id));
                }
            }
        }
        gifts
    }
}
