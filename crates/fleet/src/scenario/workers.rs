//! Who does the orders' tasks: a carrier and an arm for every ten machines, and people for what no robot can do and for
//! hold points. A task is begun in one tick and done in the next.

use super::world::Unit;
use crate::machine::Lifecycle;
use crate::observed::Custody;
use crate::order::{self, Assignee, Event, Evidence, Order, OrderKind, OrderState, RobotFit, Task, TaskState, Verb};
use std::collections::{BTreeMap, BTreeSet};
use types::{MachineId, UnixMillis};

const MACHINES_PER_ROBOT: usize = 10;
const PEOPLE: [&str; 2] = ["tok_ann", "tok_bob"];

pub(super) fn robots(machines: usize) -> Vec<RobotFit> {
    let fit = |kind: &str, number: usize, payload_g: u32, verbs: &[Verb]| RobotFit {
        id: format!("hoheit/{kind}-{number}"),
        payload_g,
        verbs: verbs.iter().copied().collect(),
        zones: Vec::new(),
        battery_percent: 90,
        busy: false,
    };
    let carrier = [Verb::Receive, Verb::Move, Verb::Lift, Verb::Insert, Verb::Extract];
    let arm = [Verb::Scan, Verb::Photograph, Verb::Torque, Verb::Cable];
    let pairs = machines.div_ceil(MACHINES_PER_ROBOT);
    let carriers = (1..=pairs).map(|number| fit("carrier", number, 200_000, &carrier));
    carriers.chain((1..=pairs).map(|number| fit("arm", number, 10_000, &arm))).collect()
}

/// One tick of work.
pub(super) fn work(orders: &mut [Order], units: &mut [Unit], robots: &[RobotFit], now: UnixMillis) {
    let at: BTreeMap<MachineId, usize> = units.iter().enumerate().map(|(at, unit)| (unit.machine.id, at)).collect();
    for order in orders.iter_mut().filter(|order| order.state == OrderState::Open) {
        finish(order, &mut units[at[&order.machine]], now);
        if let Some(task) = order.tasks.iter().find(|task| task.state == TaskState::Held).map(|task| task.id) {
            for by in PEOPLE {
                say(order, Event::Confirm { task, by: by.to_owned() }, &BTreeSet::new(), now);
            }
        }
    }
    let mut begin: BTreeMap<_, _> =
        order::assign(orders, robots).into_iter().map(|it| ((it.order, it.task), Assignee::Robot(it.robot))).collect();
    let people = order::for_people(orders, robots).into_iter();
    begin.extend(people.map(|key| (key, Assignee::Person(PEOPLE[0].to_owned()))));
    let mut busy: BTreeSet<String> = orders.iter().flat_map(|order| order.zones().map(str::to_owned)).collect();
    for ((id, task), who) in begin {
        let Some(order) = orders.iter_mut().find(|order| order.id == id) else { continue };
        say(order, Event::Assign { task, to: who.clone() }, &busy, now);
        say(order, Event::Start { task, by: who }, &busy, now);
        busy.extend(order.zones().map(str::to_owned));
    }
    // Assigned and kept waiting by a zone: begun when it is free.
    for order in orders.iter_mut().filter(|order| order.state == OrderState::Open) {
        let waits = order.tasks.iter().find(|task| task.state == TaskState::Assigned);
        if let Some((task, who)) = waits.and_then(|task| Some((task.id, task.assignee.clone()?))) {
            say(order, Event::Start { task, by: who }, &busy, now);
            busy.extend(order.zones().map(str::to_owned));
        }
    }
}

fn say(order: &mut Order, event: Event, busy: &BTreeSet<String>, now: UnixMillis) {
    // A refusal changes nothing; the next tick asks again.
    if let Ok(next) = order::apply(order, &event, busy, now) {
        *order = next;
    }
}

fn finish(order: &mut Order, unit: &mut Unit, now: UnixMillis) {
    let Some(task) = order.tasks.iter().find(|task| task.state == TaskState::Running).cloned() else { return };
    let Some(who) = task.assignee.clone() else { return };
    let shown = evidence(&task, unit, &who, order.entry, now);
    say(order, Event::Done { task: task.id, by: who.clone(), evidence: shown.clone() }, &BTreeSet::new(), now);
    let (Assignee::Robot(by) | Assignee::Person(by)) = who;
    match task.verb {
        // What was read is custody, right or wrong: the machine's step judges it.
        Verb::Scan if order.kind == OrderKind::Receive => {
            let serial = shown.first().map(|it| it.value.clone()).unwrap_or_default();
            unit.seen.custody = Some(Custody { serial, by, at: now, photo: None });
        }
        Verb::Insert => unit.body.racked = true,
        Verb::Extract => unit.body.racked = false,
        Verb::Swap if unit.machine.lifecycle == Lifecycle::Repair => {
            let serial = shown.first().map(|it| it.value.clone()).unwrap_or_default();
            unit.body.exchange(&task.subject, &serial);
            // The bill follows what was scanned.
            unit.spec.serials.insert(task.subject.clone(), serial);
            unit.spec.generation += 1;
        }
        _ => {}
    }
}

fn evidence(task: &Task, unit: &Unit, who: &Assignee, entry: u64, now: UnixMillis) -> Vec<Evidence> {
    let (kind, value) = match task.verb {
        Verb::Scan => ("scan", unit.body.label.clone().unwrap_or_else(|| unit.body.serial.clone())),
        Verb::Photograph => ("photo", "photo.jpg".to_owned()),
        Verb::Torque => ("torque", "5.0 Nm".to_owned()),
        Verb::Cable => ("label", task.subject.split(' ').next().unwrap_or_default().to_owned()),
        Verb::Swap => ("scan", format!("{}-{}-{entry}", unit.name, task.subject)),
        _ => return Vec::new(),
    };
    let (Assignee::Robot(by) | Assignee::Person(by)) = who.clone();
    let sha256 = (kind == "photo").then(|| "0".repeat(64));
    vec![Evidence { kind: kind.to_owned(), value, sha256, by, at: now }]
}
