//! What must be so after every step, whatever happened: the fleet as a whole ([`check`]) and each change of one machine
//! ([`transition`]). Tests run it after each step of every scenario; a controller may run it over its database.
//!
//! What it is not: it repairs nothing. A violation is a bug of ours, and its text says what is broken where.

use crate::lifecycle;
use crate::machine::{FAULTS_KEPT_MAX, Health, Lifecycle, MEASURES_KEPT_MAX, Machine, Scheduling};
use crate::observed::{Observed, TestOutcome};
use crate::order::{Assignee, Order, OrderState, Task, TaskState, Verb};
use std::collections::{BTreeMap, BTreeSet};

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: &'static str,
    /// A machine's or an order's id, and what is wrong with it.
    pub about: String,
}

struct Found(Vec<Violation>);

impl Found {
    fn unless(&mut self, holds: bool, rule: &'static str, about: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation { rule, about: about() });
        }
    }
}

/// The whole fleet at one moment.
pub fn check<'a>(machines: impl IntoIterator<Item = (&'a Machine, &'a Observed)>, orders: &[Order]) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    let mut entries = BTreeMap::new();
    let mut serials = BTreeSet::new();
    for (machine, observed) in machines {
        one(&mut found, machine, observed);
        found.unless(entries.insert(machine.id, machine.entry).is_none(), "one row per machine", || {
            machine.id.to_string()
        });
        let custody = observed.custody.as_ref().filter(|_| machine.lifecycle != Lifecycle::Planned);
        if let Some(custody) = custody.filter(|_| machine.lifecycle != Lifecycle::Retired) {
            let about = || format!("{}: {}", machine.id, custody.serial);
            found.unless(serials.insert(&custody.serial), "one serial number, one machine", about);
        }
    }
    let (mut live, mut keys, mut zones) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for order in orders {
        if matches!(order.state, OrderState::Open | OrderState::Held) {
            found.unless(live.insert(order.machine), "one open order per machine", || order.id.to_string());
        }
        let key = (order.machine, order.entry);
        found.unless(keys.insert(key), "one order per stay", || order.id.to_string());
        let known = entries.get(&order.machine).is_none_or(|entry| order.entry <= *entry);
        found.unless(known, "no order of a stay that was not", || order.id.to_string());
        for zone in order.zones() {
            found.unless(zones.insert(zone), "one task per zone", || format!("{}: {zone}", order.id));
        }
        work(&mut found, order);
    }
    found.0
}

fn one(found: &mut Found, machine: &Machine, observed: &Observed) {
    let state = machine.lifecycle;
    let about = || format!("{} in {state}", machine.id);
    if machine.scheduling == Scheduling::Open {
        let sealed =
            observed.certified.as_ref().is_some_and(|it| it.sealed && Some(it.certificate) == machine.certificate);
        found.unless(state == Lifecycle::Accepted, "only accepted machines are capacity", about);
        found.unless(sealed, "no capacity without a certificate in the log", about);
        found.unless(machine.health != Health::Faulted, "no capacity on a faulted machine", about);
        found.unless(machine.hold.is_none(), "no capacity on a held machine", about);
    }
    let may_have = matches!(state, Lifecycle::Accepted | Lifecycle::Drain);
    found.unless(may_have || machine.certificate.is_none(), "a certificate ends with a repair", about);
    found.unless(state != Lifecycle::Accepted || machine.certificate.is_some(), "accepted means certified", about);
    let may_need = matches!(state, Lifecycle::Accepted | Lifecycle::Drain | Lifecycle::Repair);
    found.unless(may_need || machine.repair.is_none(), "a repair is over after repair", about);
    found.unless(machine.faults.len() <= FAULTS_KEPT_MAX, "faults are bounded", about);
    found.unless(machine.measures.len() <= MEASURES_KEPT_MAX, "measures are bounded", about);
}

fn work(found: &mut Found, order: &Order) {
    let over = |task: &Task| matches!(task.state, TaskState::Done | TaskState::Skipped);
    let mut before_over = true;
    for task in &order.tasks {
        let about = || format!("{}: {} {}", order.id, task.verb, task.state);
        // Leaving out may be said early; working may not.
        let begun = !matches!(task.state, TaskState::Waiting | TaskState::Skipped);
        found.unless(before_over || !begun, "tasks follow each other", about);
        before_over &= over(task);
        let at_work = matches!(task.state, TaskState::Assigned | TaskState::Running | TaskState::Done);
        let people: BTreeSet<&String> = task.confirmed_by.iter().collect();
        let enough = people.len() >= usize::from(task.confirmations_min);
        found.unless(!at_work || enough, "a hold point waits for different people", about);
        found.unless(!at_work || task.assignee.is_some(), "work has somebody who does it", about);
        if task.verb == Verb::Scan && task.state == TaskState::Done {
            let right = task.evidence.iter().any(|it| it.kind == "scan" && Some(&it.value) == order.serial.as_ref());
            found.unless(right, "a scan is of this machine", about);
        }
        found.unless(task.verb != Verb::Scan || task.state != TaskState::Skipped, "custody has no gap", about);
    }
    found.unless(order.state != OrderState::Done || before_over, "done means every task", || order.id.to_string());
    found.unless(order.state != OrderState::Held || order.finding.is_some(), "held says why", || order.id.to_string());
}

/// No robot has two tasks at once.
pub fn robots(orders: &[Order]) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    let mut busy = BTreeSet::new();
    for order in orders.iter().filter(|order| order.state == OrderState::Open) {
        for task in order.tasks.iter().filter(|it| matches!(it.state, TaskState::Assigned | TaskState::Running)) {
            if let Some(Assignee::Robot(robot)) = &task.assignee {
                found.unless(busy.insert(robot), "one task per robot", || format!("{}: {robot}", order.id));
            }
        }
    }
    found.0
}

/// What a step made of a machine, and from what.
pub fn transition(before: &Machine, after: &Machine, observed: &Observed) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    let (from, to) = (before.lifecycle, after.lifecycle);
    let about = || format!("{}: {from} -> {to}", before.id);
    found.unless(before.id == after.id, "a machine stays itself", about);
    if from == to {
        found.unless(before.entry == after.entry, "a stay has one entry", about);
        return found.0;
    }
    found.unless(lifecycle::legal(from, to), "only legal edges", about);
    found.unless(after.entry == before.entry + 1, "each state entered is counted", about);
    let held = before.hold.is_some() && after.hold.is_some();
    found.unless(!held, "a held machine does not go on", about);
    if to == Lifecycle::Received {
        found.unless(observed.custody.is_some(), "received means scanned", about);
    }
    if to == Lifecycle::Validated {
        let run = observed.validation.as_ref();
        let ours = run.filter(|it| it.entry == before.entry && it.attempt == before.attempt && it.ended_at.is_some());
        let good = |outcome| matches!(outcome, TestOutcome::Passed | TestOutcome::Skipped);
        let passed = ours.is_some_and(|run| run.tests.iter().all(|test| good(test.outcome)));
        found.unless(passed, "validated means that every test of this stay passed", about);
    }
    if (from, to) == (Lifecycle::Validated, Lifecycle::Accepted) {
        let sealed = observed.certified.as_ref().is_some_and(|it| it.sealed && it.entry == before.entry);
        found.unless(sealed, "accepted means a certificate of this stay in the log", about);
    }
    found.0
}

#[cfg(test)]
mod tests;
