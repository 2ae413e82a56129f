//! Orders at work: what robots did, what time does to tasks, and which robot takes which task. What people do comes in over
//! the API and goes through the same [`apply`].
//!
//! If we crash here: a robot's report that was not stored comes again with its next state; a task that was given and not
//! sent is sent again, since it is in the order.

use super::machines::{PassError, Reconciler, Stage};
use fleet::observed::Custody;
use fleet::order::{
    self, Assignee, Cable, Event, Left, Order, OrderKind, OrderState, Refusal, RobotFit, TaskState, Verb,
};
use std::collections::{BTreeMap, BTreeSet};
use store::{FleetEvent, Observation, OrderRow, SiteModel, Store, StoreError, Swapped};
use types::audit::AuditEntry;
use types::{MachineId, OrderId, TaskId, UnixMillis};

/// Many open orders are read in pages of this many: 300 orders of 10 kB are 3 MB.
const PAGE: u32 = 300;

/// A robot that was told to stop and does not say that it has is gone or mute, and its session finds that within minutes; a person
/// has been to its zone in two hours. Longer, and a robot that was carried out of the hall would close a zone for ever.
pub const LEFT_MILLIS_MAX: i64 = 7_200_000;

/// The robots of the site, as `robots` knows them. A site without robots has [`NoRobots`].
pub trait Robots: Send + Sync {
    /// Who is there, and what for.
    fn fit(&self) -> Vec<RobotFit>;
    /// Sends a task that was given; the same again changes nothing.
    fn give(&self, robot: &str, order: &Order, task: TaskId);
    /// Has every robot stop whose task is not one of these any more: cancelled, taken by a person, given to another. Called
    /// in each turn, with all tasks that robots have.
    fn take_back(&self, theirs: &BTreeMap<TaskId, String>);
    /// Whether this robot is there and at work on something else, or on nothing: then it is not at this task.
    fn has_stopped(&self, robot: &str, task: TaskId) -> bool;
    /// What they said since the last call, oldest first.
    fn said(&self) -> Vec<Said>;
    /// These of what they said are stored, in this order; the others are said again.
    fn stored(&self, words: &[Said]);
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
    /// It cannot go on: gone, stopped, in people's hands. `stands` if it said so itself; who is mute may still be at it.
    Lost {
        why: String,
        stands: bool,
    },
}

/// A site without robots.
pub struct NoRobots;

impl Robots for NoRobots {
    fn fit(&self) -> Vec<RobotFit> {
        Vec::new()
    }
    fn give(&self, _: &str, _: &Order, _: TaskId) {}
    fn take_back(&self, _: &BTreeMap<TaskId, String>) {}
    fn has_stopped(&self, _: &str, _: TaskId) -> bool {
        false
    }
    fn said(&self) -> Vec<Said> {
        Vec::new()
    }
    fn stored(&self, _: &[Said]) {}
}

/// The cable plan of a site file, by slot, and where its robots may drive. A file that was applied can be read.
pub(super) fn plan(model: &SiteModel) -> (BTreeMap<String, Vec<Cable>>, BTreeMap<String, Vec<String>>) {
    let Some(site) = fleet::site::read(&model.text, model.serials.as_deref()).site else { return Default::default() };
    let cable = |it: fleet::site::Cable| Cable { id: it.id, port_a: it.port_a, port_b: it.port_b };
    let planned = site.machines().into_iter();
    (planned.map(|it| (it.spec.slot, it.cables.into_iter().map(cable).collect())).collect(), site.robots)
}

/// Why something was not done to a task.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Zones in which tasks of other orders are at work, beside those where a robot has not stopped.
fn busy(orders: &BTreeMap<OrderId, OrderRow>, except: OrderId, left: &BTreeSet<String>) -> BTreeSet<String> {
    let others = orders.values().filter(|row| row.order.id != except);
    let tasks = others.flat_map(|row| row.order.tasks.iter()).filter(|task| task.state == TaskState::Running);
    tasks.map(|task| task.zone.clone()).filter(|zone| !zone.is_empty()).chain(left.iter().cloned()).collect()
}

/// Something that a person did to a task or an order; stored with its audit entry, or refused.
pub async fn apply(
    store: &Store,
    row: &OrderRow,
    event: &Event,
    entry: Option<&AuditEntry>,
    now: UnixMillis,
) -> Result<Order, TaskError> {
    let busy = match event {
        Event::Start { .. } => store.zones_busy(row.order.id).await?,
        _ => BTreeSet::new(),
    };
    let elsewhere = match event {
        Event::Done { task, by, evidence } => elsewhere(store, &row.order, *task, by, evidence).await?,
        _ => None,
    };
    let next = order::apply(&row.order, elsewhere.as_ref().unwrap_or(event), &busy, now)?;
    let seen = custody(&row.order, &next);
    let events = told(&row.order, &next, now);
    let swapped = swapped(&row.order, &next);
    let left: Vec<_> = order::left(&row.order, &next).map(|left| (next.id, left, now)).into_iter().collect();
    store.orders_change(&[(next.clone(), row.version)], &seen, &swapped, &left, &events, entry).await?;
    Ok(next)
}

/// What becomes of a word that a task is done if what was scanned is in another machine: a person must look, since one of two
/// labels is wrong, or somebody scanned the wrong one. What is known in advance ([`Order::serial`]) may be in custody elsewhere all
/// the same; only other machines' bills are not asked then. A receipt's later tasks are asked too: its scan may be of a time
/// before serial numbers were in one place only.
async fn elsewhere(
    store: &Store,
    order: &Order,
    task: TaskId,
    by: &Assignee,
    evidence: &[order::Evidence],
) -> Result<Option<Event>, StoreError> {
    let Some(found) = order.task(task) else { return Ok(None) };
    let (part, scan) = match found.verb {
        Verb::Scan if order.kind == OrderKind::Receive => ("chassis", order::scanned(evidence)),
        Verb::Swap => (found.subject.as_str(), order::scanned(evidence)),
        _ if order.kind == OrderKind::Receive => ("chassis", received(order)),
        _ => return Ok(None),
    };
    let running = found.state == TaskState::Running && found.assignee.as_ref() == Some(by);
    let Some(scan) = scan.filter(|_| running) else { return Ok(None) };
    let in_bills = order.serial.is_none() || found.verb == Verb::Swap;
    let Some(holder) = store.serial_holder(part, &scan.value, order.machine, in_bills).await? else { return Ok(None) };
    let how = if holder.scanned { "in custody" } else { "planned" };
    let why = format!(
        "serial number {} is {how} as {} of {} ({}); one of the two labels is wrong",
        scan.value, holder.part, holder.slot, holder.machine
    );
    Ok(Some(Event::Fail { task, by: by.clone(), why, retriable: false }))
}

/// What a receipt's scan says, once it is done.
fn received(order: &Order) -> Option<&order::Evidence> {
    let mut scans = order.tasks.iter().filter(|task| task.verb == Verb::Scan && task.state == TaskState::Done);
    scans.find_map(|task| order::scanned(&task.evidence))
}

/// What a receipt's scan and photograph say of the machine's custody.
fn custody(before: &Order, after: &Order) -> Vec<(MachineId, UnixMillis, Observation)> {
    let done = |order: &Order| order.tasks.iter().filter(|task| task.state == TaskState::Done).count();
    if after.kind != OrderKind::Receive || done(before) == done(after) {
        return Vec::new();
    }
    let Some(scan) = received(after).cloned() else { return Vec::new() };
    let mut shot = after.tasks.iter().filter(|task| task.verb == Verb::Photograph && task.state == TaskState::Done);
    // The newest, as with scans.
    let photo = shot.find_map(|task| task.evidence.iter().rev().find(|one| one.kind == "photo"));
    let photo = photo.and_then(|photo| photo.sha256.clone());
    let seen = Custody { serial: scan.value, by: scan.by, at: scan.at, photo };
    vec![(after.machine, seen.at, Observation::Custody(seen))]
}

/// Parts that were exchanged by what changed: the subject of the task is the part, its scan the new serial number.
fn swapped(before: &Order, after: &Order) -> Vec<Swapped> {
    let was_done = |id| before.tasks.iter().any(|task| task.id == id && task.state == TaskState::Done);
    let new = after
        .tasks
        .iter()
        .filter(|task| task.verb == Verb::Swap && task.state == TaskState::Done && !was_done(task.id));
    let swap = |task: &order::Task| {
        // The newest: an attempt before may have shown another part, which is not the one that went in.
        let scan = order::scanned(&task.evidence)?;
        Some(Swapped { machine: after.machine, part: task.subject.clone(), serial: scan.value.clone() })
    };
    new.filter_map(swap).collect()
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

/// The order in which a robot that says how a task ended has begun it: it was quick, or began while nobody listened. It is in
/// the zone already, whoever else is.
fn begun(order: &Order, word: &Said, now: UnixMillis) -> Order {
    let ended = matches!(word.what, Word::Done(_) | Word::Failed { .. });
    let by = Assignee::Robot(word.robot.clone());
    let given = |task: &order::Task| {
        task.id == word.task && task.state == TaskState::Assigned && task.assignee.as_ref() == Some(&by)
    };
    if !ended || !order.tasks.iter().any(given) {
        return order.clone();
    }
    let start = Event::Start { task: word.task, by };
    order::apply(order, &start, &BTreeSet::new(), now).unwrap_or_else(|_| order.clone())
}

/// The order without what a robot said to have done: it cannot be stored, since what was scanned is elsewhere. None if no robot
/// said so.
async fn refused(
    store: &Store,
    old: &Order,
    said: &[Said],
    what: &str,
    now: UnixMillis,
) -> Result<Option<Order>, StoreError> {
    for word in said.iter().filter(|word| old.task(word.task).is_some()) {
        let Word::Done(evidence) = &word.what else { continue };
        let (task, by) = (word.task, Assignee::Robot(word.robot.clone()));
        let begun = begun(old, word, now);
        let fail = match elsewhere(store, &begun, task, &by, evidence).await? {
            Some(fail) => fail,
            None => Event::Fail { task, by, why: format!("there is {what}; look at both labels"), retriable: false },
        };
        if let Ok(next) = order::apply(&begun, &fail, &BTreeSet::new(), now) {
            return Ok(Some(next));
        }
    }
    Ok(None)
}

/// What robots have to do, and which.
fn theirs(orders: &[&Order]) -> BTreeMap<TaskId, String> {
    let open = orders.iter().filter(|order| order.state == OrderState::Open);
    let of = |task: &order::Task| match (task.state, &task.assignee) {
        (TaskState::Assigned | TaskState::Running, Some(Assignee::Robot(robot))) => Some((task.id, robot.clone())),
        _ => None,
    };
    open.flat_map(|order| order.tasks.iter().filter_map(of)).collect()
}

/// Orders that changed in a turn, as they were.
type Before = BTreeMap<OrderId, Order>;

/// Tasks of which a robot itself said that it does not work on them any more.
type Stands = BTreeSet<(TaskId, String)>;

fn stands(said: &[Said]) -> Stands {
    // Who failed is asked to clear what it still has of the task, and stands when it has.
    let ended = said.iter().filter(|word| matches!(word.what, Word::Done(_) | Word::Lost { stands: true, .. }));
    ended.map(|word| (word.task, word.robot.clone())).collect()
}

/// The zone that a robot may still be in after a change.
fn gone(before: &Order, after: &Order, stands: &Stands) -> Option<Left> {
    order::left(before, after).filter(|left| !stands.contains(&(left.task, left.robot.clone())))
}

/// What is stored of one order.
struct Change {
    order: Order,
    version: u64,
    seen: Vec<(MachineId, UnixMillis, Observation)>,
    swapped: Vec<Swapped>,
    left: Option<(OrderId, Left, UnixMillis)>,
    events: Vec<FleetEvent>,
}

impl Change {
    fn of(old: &Order, new: &Order, version: u64, stands: &Stands, now: UnixMillis) -> Change {
        Change {
            order: new.clone(),
            version,
            seen: custody(old, new),
            swapped: swapped(old, new),
            left: gone(old, new, stands).map(|left| (new.id, left, now)),
            events: told(old, new, now),
        }
    }

    /// All of them, or none.
    async fn store(changes: &[Change], store: &Store) -> Result<(), StoreError> {
        let write: Vec<_> = changes.iter().map(|it| (it.order.clone(), it.version)).collect();
        let seen: Vec<_> = changes.iter().flat_map(|it| it.seen.iter().cloned()).collect();
        let swapped: Vec<_> = changes.iter().flat_map(|it| it.swapped.iter().cloned()).collect();
        let left: Vec<_> = changes.iter().filter_map(|it| it.left.clone()).collect();
        let events: Vec<_> = changes.iter().flat_map(|it| it.events.iter().cloned()).collect();
        store.orders_change(&write, &seen, &swapped, &left, &events, None).await
    }
}

impl Reconciler {
    /// One turn of the orders; true if something changed.
    pub async fn orders(&mut self) -> Result<bool, PassError> {
        let now = self.now();
        let said = self.parts.robots.said();
        self.read_orders().await?;
        self.parts.counts.orders(self.open.len());
        self.at(Stage::OrdersRead)?;
        let stands = stands(&said);
        let mut left = self.zones_left(&stands, now).await?;
        if self.open.is_empty() && said.is_empty() {
            self.parts.robots.take_back(&BTreeMap::new());
            return Ok(false);
        }
        let mut before = Before::new();
        for word in &said {
            let word = self.where_it_is(word).await?;
            if let Some(zone) = self.hear(&word, &mut before, &left, &stands, now) {
                left.insert(zone);
            }
        }
        let late = self.open.values().filter(|row| order::is_late(&row.order, &self.parts.orders, now));
        let late: Vec<Order> = late.map(|row| order::step(&row.order, &self.parts.orders, now)).collect();
        for next in late {
            // Who is late may still come to it: nobody else is sent there in the same turn.
            let old = self.open.get(&next.id).map(|row| &row.order);
            left.extend(old.and_then(|old| gone(old, &next, &stands)).map(|left| left.zone));
            self.put(next, &mut before);
        }
        self.assign(&mut before, &left, now);
        let changed = before.iter().filter_map(|(id, old)| Some((old, self.open.get(id)?)));
        let changes: Vec<Change> =
            changed.map(|(old, row)| Change::of(old, &row.order, row.version, &stands, now)).collect();
        if !changes.is_empty() {
            let stored = Change::store(&changes, &self.parts.store).await;
            // What was kept is older or newer than what is stored now; it is read again.
            before.keys().for_each(|id| drop(self.open.remove(id)));
            match stored {
                Err(StoreError::Conflict { .. }) => {
                    self.one_by_one(&changes, &before, &said, &stands, now).await?;
                    return Ok(true);
                }
                other => other?,
            }
        }
        self.at(Stage::OrdersStored)?;
        self.parts.robots.stored(&said);
        let rest = self.open.values().map(|row| &row.order);
        let open: Vec<&Order> = changes.iter().map(|it| &it.order).chain(rest).collect();
        self.parts.robots.take_back(&theirs(&open));
        for order in open {
            self.give(order);
        }
        Ok(!changes.is_empty())
    }

    /// One of several cannot be stored as it is, and the others are not its prisoners. Where a person was faster, its robot is heard
    /// again in the next turn; where a serial number is in custody elsewhere, the order is held, or it would conflict for ever.
    async fn one_by_one(
        &self,
        changes: &[Change],
        before: &Before,
        said: &[Said],
        stands: &Stands,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let store = &self.parts.store;
        let mut again: Vec<&Order> = Vec::new();
        let mut broken = None;
        for change in changes {
            if broken.is_some() {
                again.push(&change.order);
                continue;
            }
            let mut stored = Change::store(std::slice::from_ref(change), store).await;
            if let Err(StoreError::Conflict { what: what @ Store::SERIAL_ELSEWHERE }) = stored
                && let Some(old) = before.get(&change.order.id)
            {
                stored = match refused(store, old, said, what, now).await {
                    Ok(Some(next)) => {
                        Change::store(&[Change::of(old, &next, change.version, stands, now)], store).await
                    }
                    Ok(None) => {
                        tracing::error!(order = %old.id, what, "what a robot said of an order cannot be stored; dropped");
                        Ok(())
                    }
                    Err(error) => Err(error),
                };
            }
            if let Err(error) = stored {
                again.push(&change.order);
                broken = (!matches!(error, StoreError::Conflict { .. })).then_some(error);
            }
        }
        let waits = |word: &Said| again.iter().any(|order| order.task(word.task).is_some());
        let heard: Vec<Said> = said.iter().filter(|word| !waits(word)).cloned().collect();
        self.parts.robots.stored(&heard);
        broken.map_or(Ok(()), Err)
    }

    /// Zones of robots that have not stopped; those of who has are free from now on.
    async fn zones_left(&self, stands: &Stands, now: UnixMillis) -> Result<BTreeSet<String>, StoreError> {
        let store = &self.parts.store;
        let (mut zones, mut free) = (BTreeSet::new(), Vec::new());
        for (left, since) in store.zones_left().await? {
            let this = (left.task, left.robot.clone());
            if stands.contains(&this) || self.parts.robots.has_stopped(&left.robot, left.task) {
                free.push(this);
            } else if now.0 - since.0 > LEFT_MILLIS_MAX {
                let text = format!(
                    "{} never said that it stopped in zone {}; look where it is before anybody works there",
                    left.robot, left.zone
                );
                tracing::error!(robot = %left.robot, text, "a zone is free again");
                let event = FleetEvent { seq: 0, at: now, machine: None, kind: "page".to_owned(), text };
                store.fleet_event(&event).await?;
                free.push(this);
            } else {
                zones.insert(left.zone);
            }
        }
        if !free.is_empty() {
            store.zones_left_end(&free).await?;
        }
        Ok(zones)
    }

    /// Reads what changed since the last turn.
    async fn read_orders(&mut self) -> Result<(), PassError> {
        let present: BTreeMap<OrderId, u64> = self.parts.store.orders_open().await?.into_iter().collect();
        self.open.retain(|id, row| present.get(id) == Some(&row.version));
        if self.open.is_empty() && present.len() > PAGE as usize / 10 {
            let mut after = None;
            while let Some(last) = {
                let page = self.parts.store.orders(after, Some(OrderState::Open.as_str()), PAGE).await?;
                let last = page.last().map(|row| row.order.id);
                self.open.extend(page.into_iter().map(|row| (row.order.id, row)));
                last
            } {
                after = Some(last);
            }
            return Ok(());
        }
        for id in present.keys() {
            if !self.open.contains_key(id)
                && let Some(row) = self.parts.store.order(*id).await?
                && row.order.state == OrderState::Open
            {
                self.open.insert(*id, row);
            }
        }
        Ok(())
    }

    /// Keeps an order as it is from now on, if it changed.
    fn put(&mut self, next: Order, before: &mut Before) {
        let Some(row) = self.open.get_mut(&next.id) else { return };
        if row.order != next {
            let old = std::mem::replace(&mut row.order, next);
            before.entry(old.id).or_insert(old);
        }
    }

    /// A robot that scanned what is in another machine has not done its task.
    async fn where_it_is(&self, word: &Said) -> Result<Said, StoreError> {
        let Word::Done(evidence) = &word.what else { return Ok(word.clone()) };
        let holds = |row: &&OrderRow| row.order.tasks.iter().any(|task| task.id == word.task);
        let Some(row) = self.open.values().find(holds) else { return Ok(word.clone()) };
        let by = Assignee::Robot(word.robot.clone());
        let order = begun(&row.order, word, self.now());
        Ok(match elsewhere(&self.parts.store, &order, word.task, &by, evidence).await? {
            Some(Event::Fail { why, .. }) => Said { what: Word::Failed { why, retriable: false }, ..word.clone() },
            _ => word.clone(),
        })
    }

    /// A robot's word changes its own task, or nothing. The zone that it may still be in is the answer.
    fn hear(
        &mut self,
        word: &Said,
        before: &mut Before,
        left: &BTreeSet<String>,
        stands: &Stands,
        now: UnixMillis,
    ) -> Option<String> {
        let holds = |row: &&OrderRow| row.order.tasks.iter().any(|task| task.id == word.task);
        let row = self.open.values().find(holds)?;
        let by = Assignee::Robot(word.robot.clone());
        let task = word.task;
        let event = match &word.what {
            Word::Started => Event::Start { task, by },
            Word::Done(evidence) => Event::Done { task, by, evidence: evidence.clone() },
            Word::Failed { why, retriable } => Event::Fail { task, by, why: why.clone(), retriable: *retriable },
            Word::Lost { why, .. } => {
                let mine = row.order.tasks.iter().find(|one| one.id == task && one.assignee.as_ref() == Some(&by));
                match mine.map(|one| one.state) {
                    Some(TaskState::Assigned) => Event::GiveBack { task, why: why.clone() },
                    Some(TaskState::Running) => Event::Fail { task, by, why: why.clone(), retriable: true },
                    _ => return None,
                }
            }
        };
        let next = match order::apply(&begun(&row.order, word, now), &event, &busy(&self.open, row.order.id, left), now)
        {
            Ok(next) => next,
            // It says that it is done and does not show it: that is an attempt that failed, or it would say so for ever.
            Err(refusal @ (Refusal::EvidenceMissing(_) | Refusal::EvidenceTooMuch)) => {
                tracing::warn!(robot = %word.robot, task = %word.task, %refusal, "a robot does not show what it did");
                let by = Assignee::Robot(word.robot.clone());
                let failed = Event::Fail { task, by, why: refusal.to_string(), retriable: true };
                order::apply(&begun(&row.order, word, now), &failed, &BTreeSet::new(), now).ok()?
            }
            Err(refusal) => {
                tracing::warn!(robot = %word.robot, task = %word.task, %refusal, "a robot's word changed nothing");
                return None;
            }
        };
        let zone = gone(&row.order, &next, stands).map(|left| left.zone);
        self.put(next, before);
        zone
    }

    /// Gives ready tasks to robots that are fit.
    fn assign(&mut self, before: &mut Before, left: &BTreeSet<String>, now: UnixMillis) {
        let robots = self.robots();
        if robots.is_empty() {
            return;
        }
        // What waits for a closed zone takes no robot away from what can be done.
        let waits = |task: &order::Task| task.state == TaskState::Ready && left.contains(&task.zone);
        let open = self.open.values().map(|row| &row.order);
        let orders: Vec<Order> = open.filter(|order| !order.tasks.iter().any(waits)).cloned().collect();
        for gift in order::assign(&orders, &robots) {
            let Some(row) = self.open.get(&gift.order) else { continue };
            let event = Event::Assign { task: gift.task, to: Assignee::Robot(gift.robot) };
            if let Ok(next) = order::apply(&row.order, &event, &BTreeSet::new(), now) {
                self.put(next, before);
            }
        }
    }

    /// Sends what robots were given; once more what they may not have got.
    fn give(&self, order: &Order) {
        for task in &order.tasks {
            if let (TaskState::Assigned | TaskState::Running, Some(Assignee::Robot(robot))) =
                (task.state, &task.assignee)
            {
                self.parts.robots.give(robot, order, task.id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
