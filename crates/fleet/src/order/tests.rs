//! Tasks by robots and people, in every order of events.

use super::*;
use crate::machine::{Machine, MachineKind, Spec};
use std::collections::{BTreeMap, BTreeSet};
use types::{MachineId, OrderId};

const NOW: UnixMillis = UnixMillis(1_000_000);

fn spec() -> Spec {
    Spec {
        generation: 1,
        kind: MachineKind::DgxB200,
        slot: "hall-1/row-a/rack-01/u11".into(),
        unit: "su-01".into(),
        domains: Vec::new(),
        zone: None,
        serials: BTreeMap::new(),
        parts: BTreeMap::new(),
        firmware: BTreeMap::new(),
        secure_boot: None,
        suite: String::new(),
        wanted: true,
        drain: None,
    }
}

fn order(kind: OrderKind, id: u128, serial: Option<&str>) -> Order {
    let (spec, machine) = (spec(), Machine::planned(MachineId(id), NOW));
    let cable = Cable { id: "c-1".into(), port_a: "osfp1".into(), port_b: "leaf-12/7".into() };
    let work = Work { spec: &spec, machine: &machine, serial, cables: &[cable], faulty: &[] };
    let mut next = id * 100;
    make(
        kind,
        OrderId(id),
        &work,
        || {
            next += 1;
            TaskId(next)
        },
        NOW,
    )
}

fn person(name: &str) -> Assignee {
    Assignee::Person(name.into())
}

fn shown(kind: &str, value: &str) -> Evidence {
    let sha256 = (kind == "photo").then(|| "ab".repeat(32));
    Evidence { kind: kind.into(), value: value.into(), sha256, by: "ann".into(), at: NOW }
}

fn say(order: &Order, event: Event) -> Result<Order, Refusal> {
    apply(order, &event, &BTreeSet::new(), NOW)
}

/// The task that is to be done now.
fn current(order: &Order) -> &Task {
    let over = |task: &&Task| !matches!(task.state, TaskState::Done | TaskState::Skipped);
    order.tasks.iter().find(over).unwrap()
}

fn start(order: &Order) -> Order {
    let mut order = order.clone();
    let task = current(&order).id;
    for by in ["ann", "bob"] {
        order = say(&order, Event::Confirm { task, by: by.into() }).unwrap_or(order);
    }
    say(&order, Event::Start { task, by: person("ann") }).unwrap()
}

fn done(order: &Order, evidence: &[Evidence]) -> Result<Order, Refusal> {
    say(order, Event::Done { task: current(order).id, by: person("ann"), evidence: evidence.to_vec() })
}

/// Does tasks until this verb is the next.
fn until(mut order: Order, verb: Verb) -> Order {
    while current(&order).verb != verb {
        order = start(&order);
        let all = [shown("scan", "S1"), shown("photo", "a.jpg"), shown("torque", "5 Nm"), shown("label", "c-1")];
        order = done(&order, &all).unwrap();
    }
    order
}

fn verbs(order: &Order) -> Vec<Verb> {
    order.tasks.iter().map(|task| task.verb).collect()
}

#[test]
fn an_installation_is_these_tasks() {
    use Verb::{Cable, Insert, Lift, Move, Photograph, PowerOn, Scan, Torque};
    let order = order(OrderKind::Install, 1, Some("S1"));
    assert_eq!(verbs(&order), [Move, Scan, Lift, Insert, Torque, Cable, Photograph, PowerOn]);
    let task = |verb| order.tasks.iter().find(|task| task.verb == verb).unwrap();
    assert_eq!((task(Lift).mass_g, task(Lift).confirmations_min, task(PowerOn).confirmations_min), (142_400, 2, 2));
    assert_eq!(
        (task(Cable).subject.as_str(), task(Cable).zone.as_str()),
        ("c-1 osfp1 leaf-12/7", "hall-1/row-a/rack-01")
    );
    assert_eq!((order.tasks[0].state, order.tasks[1].state), (TaskState::Ready, TaskState::Waiting));
}

#[test]
fn two_different_people_stand_at_a_hold_point() {
    let order = until(order(OrderKind::Install, 1, Some("S1")), Verb::Lift);
    let task = current(&order).id;
    assert_eq!(current(&order).state, TaskState::Held);
    let begin = |order: &Order| say(order, Event::Start { task, by: person("ann") });
    assert_eq!(begin(&order), Err(Refusal::NotNow(TaskState::Held)));
    let confirm = |order: &Order, by: &str| say(order, Event::Confirm { task, by: by.into() }).unwrap();
    let order = confirm(&confirm(&order, "ann"), "ann");
    assert_eq!(current(&order).state, TaskState::Held, "one person twice is one person");
    let order = confirm(&order, "bob");
    assert_eq!(current(&order).state, TaskState::Ready);
    let order = begin(&order).unwrap();
    // Given back, it waits for two people again.
    let order = say(&order, Event::GiveBack { task, why: "robot gone".into() }).unwrap();
    assert_eq!((current(&order).state, current(&order).confirmed_by.len()), (TaskState::Held, 0));
}

#[test]
fn a_scan_of_another_machine_holds_the_order() {
    let order = until(order(OrderKind::Install, 1, Some("S1")), Verb::Scan);
    let held = done(&start(&order), &[shown("scan", "S2")]).unwrap();
    assert_eq!((held.state, current(&held).state), (OrderState::Held, TaskState::Failed));
    let finding = held.finding.clone().unwrap();
    assert_eq!(finding.code, "serial_differs");
    assert!(finding.text.contains("wanted S1, scanned S2"), "{}", finding.text);
    assert_eq!(done(&held, &[shown("scan", "S1")]), Err(Refusal::NotOpen(OrderState::Held)));
    let skip = Event::Skip { task: current(&held).id, by: "ann".into(), reason: "late".into() };
    assert_eq!(say(&held, skip), Err(Refusal::NeverSkipped));
    let resumed = say(&held, Event::Resume { by: "ann".into(), reason: "right one is here".into() }).unwrap();
    let order = done(&start(&resumed), &[shown("scan", "S1")]).unwrap();
    assert_eq!(current(&order).verb, Verb::Lift);
}

#[test]
fn a_first_scan_becomes_the_orders_serial() {
    let order = until(order(OrderKind::Receive, 1, None), Verb::Scan);
    assert_eq!(done(&start(&order), &[]), Err(Refusal::EvidenceMissing("scan: the serial number")));
    let order = done(&start(&order), &[shown("scan", "S7")]).unwrap();
    assert_eq!(order.serial.as_deref(), Some("S7"));
    assert_eq!(done(&start(&order), &[shown("photo", "a.jpg")]).unwrap().state, OrderState::Done);
}

#[test]
fn what_must_be_shown_is_shown() {
    let check = |verb, evidence: Evidence, want: Result<(OrderState, TaskState), &str>| {
        let order = start(&until(order(OrderKind::Install, 1, Some("S1")), verb));
        let task = current(&order).id;
        let got = done(&order, std::slice::from_ref(&evidence));
        let got = got.map(|it| (it.state, it.task(task).unwrap().state)).map_err(|error| error.to_string());
        match (got, want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want, "{evidence:?}"),
            (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
            (got, want) => panic!("{got:?}, wanted {want:?}"),
        }
    };
    let good = Ok((OrderState::Open, TaskState::Done));
    let again = Ok((OrderState::Open, TaskState::Ready));
    check(Verb::Torque, shown("torque", "4 Nm"), good);
    check(Verb::Torque, shown("torque", "6.000 N·m"), good);
    check(Verb::Torque, shown("torque", "3.999"), again);
    check(Verb::Torque, shown("torque", "6.001"), again);
    check(Verb::Torque, shown("torque", "tight"), Err("torque"));
    check(Verb::Photograph, shown("photo", "a.jpg"), good);
    check(Verb::Photograph, Evidence { sha256: None, ..shown("photo", "a.jpg") }, Err("SHA-256"));
    check(Verb::Photograph, Evidence { sha256: Some("AB".repeat(32)), ..shown("photo", "a.jpg") }, Err("SHA-256"));
    check(Verb::Cable, shown("label", "c-1"), good);
    check(Verb::Cable, shown("label", "c-2"), Ok((OrderState::Held, TaskState::Failed)));
}

#[test]
fn what_fails_is_tried_three_times() {
    let mut order = order(OrderKind::Install, 1, Some("S1"));
    let fail = |order: &Order, retriable| {
        let event = Event::Fail { task: current(order).id, by: person("ann"), why: "wheel stuck".into(), retriable };
        say(order, event).unwrap()
    };
    let held_at_once = fail(&start(&order), false);
    assert_eq!(held_at_once.state, OrderState::Held);
    for attempt in 1..ATTEMPTS_MAX {
        order = fail(&start(&order), true);
        assert_eq!(
            (order.state, current(&order).state, current(&order).attempts),
            (OrderState::Open, TaskState::Ready, attempt)
        );
    }
    order = fail(&start(&order), true);
    assert_eq!(order.state, OrderState::Held);
    assert_eq!(order.finding.as_ref().unwrap().text, "move: failed 3 times; last: wheel stuck");
    // Left out by a person who says why, the rest goes on.
    let skip = Event::Skip { task: current(&order).id, by: "ann".into(), reason: "pushed by hand".into() };
    let order = say(&order, skip).unwrap();
    assert_eq!((order.state, current(&order).verb), (OrderState::Open, Verb::Scan));
}

#[test]
fn only_who_has_a_task_reports_it() {
    let order = start(&order(OrderKind::Install, 1, Some("S1")));
    let task = current(&order).id;
    let robot = Assignee::Robot("acme/1".into());
    let by_robot = Event::Done { task, by: robot.clone(), evidence: Vec::new() };
    assert_eq!(say(&order, by_robot.clone()), Err(Refusal::NotYours));
    let after = done(&order, &[]).unwrap();
    // Said twice by the same one: no matter. By another: still refused.
    assert_eq!(say(&after, Event::Done { task, by: person("ann"), evidence: Vec::new() }), Ok(after.clone()));
    assert_eq!(say(&after, by_robot), Err(Refusal::NotYours));
    assert_eq!(say(&after, Event::Start { task: TaskId(9), by: robot }), Err(Refusal::NoSuchTask));
}

#[test]
fn a_task_changes_hands_before_it_begins() {
    let order = order(OrderKind::Install, 1, Some("S1"));
    let task = current(&order).id;
    let robot = Assignee::Robot("acme/1".into());
    let order = say(&order, Event::Assign { task, to: robot.clone() }).unwrap();
    let taken = say(&order, Event::Assign { task, to: person("ann") }).unwrap();
    assert_eq!(say(&taken, Event::Start { task, by: robot.clone() }), Err(Refusal::NotYours));
    let running = say(&taken, Event::Start { task, by: person("ann") }).unwrap();
    assert_eq!(say(&running, Event::Assign { task, to: robot }), Err(Refusal::NotNow(TaskState::Running)));
}

#[test]
fn one_task_in_a_zone() {
    let order = until(order(OrderKind::Install, 1, Some("S1")), Verb::Scan);
    let task = current(&order).id;
    let busy = BTreeSet::from(["hall-1/row-a/rack-01".to_owned()]);
    let begin = Event::Start { task, by: person("ann") };
    assert_eq!(apply(&order, &begin, &busy, NOW), Err(Refusal::ZoneBusy("hall-1/row-a/rack-01".into())));
    assert!(apply(&order, &begin, &BTreeSet::from(["hall-1/row-a/rack-02".to_owned()]), NOW).is_ok());
}

#[test]
fn time_gives_back_and_holds() {
    let order = order(OrderKind::Install, 1, Some("S1"));
    let task = current(&order).id;
    let robot = Assignee::Robot("acme/1".into());
    let assigned = say(&order, Event::Assign { task, to: robot.clone() }).unwrap();
    let later = |order: &Order, millis: i64| step(order, &Limits::default(), UnixMillis(NOW.0 + millis));
    assert_eq!(later(&assigned, ASSIGNED_MILLIS_MAX), assigned);
    let back = later(&assigned, ASSIGNED_MILLIS_MAX + 1);
    assert_eq!((current(&back).state, current(&back).assignee.clone()), (TaskState::Ready, None));
    let running = say(&assigned, Event::Start { task, by: robot }).unwrap();
    assert_eq!(later(&running, RUNNING_MILLIS_MAX), running);
    assert_eq!(later(&running, RUNNING_MILLIS_MAX + 1).state, OrderState::Held);
}

fn robot(id: &str, payload_g: u32, battery_percent: u8) -> RobotFit {
    let (verbs, zones) = (Verb::ALL.iter().copied().collect(), Vec::new());
    RobotFit { id: id.into(), payload_g, verbs, zones, battery_percent, busy: false }
}

#[test]
fn a_robot_is_chosen_by_what_it_can() {
    let order = order(OrderKind::Install, 1, Some("S1"));
    let check = |robots: &[RobotFit], want: Option<&str>| {
        let assigned = assign(std::slice::from_ref(&order), robots);
        assert_eq!(assigned.first().map(|it| it.robot.as_str()), want);
    };
    let strong = robot("a/strong", 142_400, 90);
    check(&[], None);
    check(&[robot("a/weak", 142_399, 90)], None);
    check(std::slice::from_ref(&strong), Some("a/strong"));
    check(&[robot("a/giant", 900_000, 90), strong.clone()], Some("a/strong"));
    check(&[RobotFit { battery_percent: BATTERY_PERCENT_MIN - 1, ..strong.clone() }], None);
    check(&[RobotFit { battery_percent: BATTERY_PERCENT_MIN, ..strong.clone() }], Some("a/strong"));
    check(&[RobotFit { busy: true, ..strong.clone() }], None);
    check(&[RobotFit { zones: vec!["hall-2".into()], ..strong.clone() }], None);
    check(&[RobotFit { zones: vec!["hall-1/row".into()], ..strong.clone() }], None);
    check(&[RobotFit { zones: vec!["hall-1/row-a".into()], ..strong.clone() }], Some("a/strong"));
    check(&[RobotFit { verbs: BTreeSet::from([Verb::Scan]), ..strong.clone() }], None);
    check(&[robot("b", 200_000, 60), robot("a", 200_000, 50)], Some("b"));
    check(&[robot("b", 200_000, 60), robot("a", 200_000, 60)], Some("a"));
    let people = |robots: &[RobotFit]| for_people(std::slice::from_ref(&order), robots).len();
    assert_eq!(
        (people(&[]), people(&[robot("a/weak", 10, 90)]), people(&[RobotFit { busy: true, ..strong }])),
        (1, 1, 0)
    );
}

#[test]
fn a_robot_has_one_task_and_a_zone_one_robot() {
    let orders = [order(OrderKind::Receive, 1, None), order(OrderKind::Receive, 2, None)];
    assert_eq!(assign(&orders, &[robot("a", 200_000, 90)]).len(), 1);
    assert_eq!(assign(&orders, &[robot("a", 200_000, 90), robot("b", 200_000, 90)]).len(), 2, "the dock is wide");
    let orders = [1, 2].map(|id| until(order(OrderKind::Install, id, Some("S1")), Verb::Scan));
    assert_eq!(assign(&orders, &[robot("a", 200_000, 90), robot("b", 200_000, 90)]).len(), 1, "one rack");
}
