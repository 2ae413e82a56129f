//! The list of tasks of an order, from what the machine needs. The same machine and stay make the same list; only the ids
//! are the caller's.

use super::{Cable, Order, OrderKind, OrderState, Task, TaskState, Verb};
use crate::diagnosis;
use crate::machine::{Machine, MachineKind, Spec};
use types::{OrderId, TaskId, UnixMillis};

/// A DGX B200 as its maker says.
pub const DGX_B200_G: u32 = 142_400;
/// A 4U server with eight cards of about 2 kg; assumed, a robot below 50 kg may not touch it.
pub const RTX_PRO_G: u32 = 50_000;
/// The heaviest part that is exchanged by hand: a tray with a GPU and its heat sink.
pub const PART_G: u32 = 8_000;
/// More at once and the machine goes back as a whole; a BMC that calls everything critical makes no endless order.
const FAULTY_MAX: usize = 8;
/// Lifting and power on: one does, one watches.
const TWO_PEOPLE: u8 = 2;

/// What an order is made from.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    pub spec: &'a Spec,
    pub machine: &'a Machine,
    /// The serial number that must be scanned, if it is known: the bill's or, after receipt, custody's.
    pub serial: Option<&'a str>,
    pub cables: &'a [Cable],
    /// What its BMC calls critical ([`diagnosis::faulty_parts`]); a repair exchanges it too.
    pub faulty: &'a [String],
}

/// Mass of a machine, grams: what a robot must be able to carry.
pub fn mass_g(kind: MachineKind) -> u32 {
    match kind {
        MachineKind::DgxB200 => DGX_B200_G,
        MachineKind::RtxPro => RTX_PRO_G,
    }
}

/// Makes the order of this stay. Its first task is ready, or held for two people.
pub fn make(kind: OrderKind, id: OrderId, work: &Work<'_>, mut ids: impl FnMut() -> TaskId, now: UnixMillis) -> Order {
    let steps = match kind {
        OrderKind::Receive => receive(work),
        OrderKind::Install => install(work),
        OrderKind::Repair => repair(work),
        OrderKind::Remove => remove(work),
    };
    let tasks = steps.into_iter().map(|step| Task {
        id: ids(),
        verb: step.verb,
        subject: step.subject,
        state: TaskState::Waiting,
        mass_g: step.mass_g,
        zone: step.zone,
        confirmations_min: match step.verb {
            Verb::Lift | Verb::PowerOn => TWO_PEOPLE,
            _ => 0,
        },
        confirmed_by: Vec::new(),
        assignee: None,
        attempts: 0,
        evidence: Vec::new(),
        note: None,
        changed_at: now,
    });
    let mut order = Order {
        id,
        machine: work.machine.id,
        entry: work.machine.entry,
        kind,
        state: OrderState::Open,
        made_at: now,
        slot: work.spec.slot.clone(),
        serial: work.serial.map(str::to_owned),
        tasks: tasks.collect(),
        finding: None,
    };
    super::apply::advance(&mut order, now);
    order
}

struct Step {
    verb: Verb,
    subject: String,
    mass_g: u32,
    zone: String,
}

/// At the dock, which is wide: no zone.
fn at_dock(verb: Verb, subject: impl Into<String>, mass_g: u32) -> Step {
    Step { verb, subject: subject.into(), mass_g, zone: String::new() }
}

/// In the zone that the site file draws, or in front of the rack, where there is room for one: `hall/row/rack` of the slot.
fn at_rack(work: &Work<'_>, verb: Verb, subject: impl Into<String>, mass_g: u32) -> Step {
    let rack = work.spec.slot.rsplit_once('/').map_or(work.spec.slot.as_str(), |(rack, _)| rack);
    let zone = work.spec.zone.as_deref().unwrap_or(rack);
    Step { verb, subject: subject.into(), mass_g, zone: zone.to_owned() }
}

/// The last part of the slot: `u11`.
fn unit<'a>(work: &Work<'a>) -> &'a str {
    work.spec.slot.rsplit('/').next().unwrap_or_default()
}

fn receive(work: &Work<'_>) -> Vec<Step> {
    vec![
        at_dock(Verb::Receive, "from the truck", mass_g(work.spec.kind)),
        at_dock(Verb::Scan, "chassis", 0),
        at_dock(Verb::Photograph, "as it came", 0),
    ]
}

fn install(work: &Work<'_>) -> Vec<Step> {
    let mass = mass_g(work.spec.kind);
    let mut steps = vec![at_dock(Verb::Move, format!("to {}", work.spec.slot), mass)];
    steps.extend(into_slot(work));
    steps
}

/// From before the rack into it, cabled and switched on.
fn into_slot(work: &Work<'_>) -> Vec<Step> {
    let mass = mass_g(work.spec.kind);
    let mut steps = vec![
        at_rack(work, Verb::Scan, "chassis", 0),
        at_rack(work, Verb::Lift, unit(work), mass),
        at_rack(work, Verb::Insert, unit(work), mass),
        at_rack(work, Verb::Torque, "rails", 0),
    ];
    steps.extend(
        work.cables
            .iter()
            .map(|cable| at_rack(work, Verb::Cable, format!("{} {} {}", cable.id, cable.port_a, cable.port_b), 0)),
    );
    steps.push(at_rack(work, Verb::Photograph, "as it is installed", 0));
    steps.push(at_rack(work, Verb::PowerOn, unit(work), 0));
    steps
}

/// A part that is known is exchanged; what is not clear is looked at.
fn repair(work: &Work<'_>) -> Vec<Step> {
    let mut steps = vec![at_rack(work, Verb::Scan, "chassis", 0)];
    match diagnosis::exchanged(work.machine) {
        Some("chassis") => {
            steps.extend(out_of_slot(work));
            steps.extend(into_slot(work));
        }
        Some(part) => exchange(work, &mut steps, part),
        None => {
            let about = work.machine.repair.as_ref().map_or("", |repair| repair.about.as_str());
            let what = if about.is_empty() { "as it is found".to_owned() } else { format!("{about}, as it is found") };
            steps.push(at_rack(work, Verb::Photograph, what, 0));
        }
    }
    let first = diagnosis::exchanged(work.machine);
    for part in work.faulty.iter().filter(|part| first != Some(part.as_str())).take(FAULTY_MAX) {
        exchange(work, &mut steps, part);
    }
    steps
}

fn exchange(work: &Work<'_>, steps: &mut Vec<Step>, part: &str) {
    steps.push(at_rack(work, Verb::Swap, part, PART_G));
    steps.push(at_rack(work, Verb::Photograph, format!("{part}, exchanged"), 0));
}

fn out_of_slot(work: &Work<'_>) -> Vec<Step> {
    let mass = mass_g(work.spec.kind);
    vec![at_rack(work, Verb::Extract, unit(work), mass), at_rack(work, Verb::Lift, unit(work), mass)]
}

fn remove(work: &Work<'_>) -> Vec<Step> {
    let mut steps = vec![at_rack(work, Verb::Scan, "chassis", 0)];
    steps.extend(out_of_slot(work));
    steps.push(at_dock(Verb::Move, "to the dock", mass_g(work.spec.kind)));
    steps.push(at_dock(Verb::Photograph, "as it leaves", 0));
    steps
}
