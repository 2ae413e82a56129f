//! Each violation is found, and a sound fleet has none.

use super::*;
use crate::machine::{Finding, MachineKind, Spec};
use crate::observed::{Certified, Custody, TestResult, Validation};
use crate::order::{Evidence, OrderKind, Work, make};
use types::{AcceptanceId, MachineId, OrderId, TaskId, UnixMillis};

const NOW: UnixMillis = UnixMillis(1_000);

/// In service, with everything that this needs.
fn sound(id: u128) -> (Machine, Observed) {
    let certificate = AcceptanceId(id);
    let machine = Machine {
        lifecycle: Lifecycle::Accepted,
        scheduling: Scheduling::Open,
        entry: 7,
        certificate: Some(certificate),
        ..Machine::planned(MachineId(id), NOW)
    };
    let custody = Custody { serial: format!("S{id}"), by: "ann".into(), at: NOW, photo: None };
    let certified = Certified { entry: 6, certificate, sealed: true };
    (machine, Observed { custody: Some(custody), certified: Some(certified), ..Observed::default() })
}

/// An installation of this machine, its first task running.
fn installing(id: u128) -> Order {
    let spec = Spec {
        generation: 1,
        kind: MachineKind::DgxB200,
        slot: "hall-1/row-a/rack-01/u11".into(),
        unit: String::new(),
        domains: Vec::new(),
        zone: None,
        serials: BTreeMap::new(),
        parts: BTreeMap::new(),
        firmware: BTreeMap::new(),
        secure_boot: None,
        suite: String::new(),
        wanted: true,
        drain: None,
    };
    let machine = Machine::planned(MachineId(id), NOW);
    let work = Work { spec: &spec, machine: &machine, serial: Some("S1"), cables: &[], faulty: &[] };
    let mut next = id * 100;
    let ids = || {
        next += 1;
        TaskId(next)
    };
    let mut order = make(OrderKind::Install, OrderId(id), &work, ids, NOW);
    begin(&mut order, 0);
    order
}

fn begin(order: &mut Order, task: usize) {
    order.tasks[task].state = TaskState::Running;
    order.tasks[task].assignee = Some(Assignee::Robot("acme/1".into()));
}

/// All before this task are done, as they should be; it runs.
fn at(order: &mut Order, verb: Verb) -> usize {
    let here = order.tasks.iter().position(|task| task.verb == verb).unwrap();
    for task in 0..here {
        begin(order, task);
        let task = &mut order.tasks[task];
        task.state = TaskState::Done;
        task.confirmed_by = vec!["ann".into(), "bob".into()];
        let (kind, value) = ("scan".to_owned(), "S1".to_owned());
        task.evidence = vec![Evidence { kind, value, sha256: None, by: "ann".into(), at: NOW }];
    }
    begin(order, here);
    here
}

fn rules(found: &[Violation]) -> Vec<&'static str> {
    found.iter().map(|violation| violation.rule).collect()
}

#[test]
fn a_machine_that_is_not_sound_is_found() {
    type Change = fn(&mut Machine, &mut Observed);
    let check = |change: Change, want: &[&str]| {
        let (mut machine, mut observed) = sound(1);
        change(&mut machine, &mut observed);
        assert_eq!(rules(&check([(&machine, &observed)], &[])), want);
    };
    const SEALED: &str = "no capacity without a certificate in the log";
    check(|_, _| {}, &[]);
    check(|it, _| it.lifecycle = Lifecycle::Drain, &["only accepted machines are capacity"]);
    check(|_, seen| seen.certified = None, &[SEALED]);
    check(|_, seen| seen.certified.as_mut().unwrap().sealed = false, &[SEALED]);
    check(|_, seen| seen.certified.as_mut().unwrap().certificate = AcceptanceId(9), &[SEALED]);
    check(|it, _| it.certificate = None, &[SEALED, "accepted means certified"]);
    check(|it, _| it.health = Health::Faulted, &["no capacity on a faulted machine"]);
    check(|it, _| it.hold = Some(Finding::new("x", "", "", NOW)), &["no capacity on a held machine"]);
    let cordoned: Change = |it, _| {
        it.scheduling = Scheduling::Cordoned;
        it.lifecycle = Lifecycle::Repair;
    };
    check(cordoned, &["a certificate ends with a repair"]);
    let late: Change = |it, _| {
        it.scheduling = Scheduling::Cordoned;
        it.lifecycle = Lifecycle::Validated;
        it.certificate = None;
        it.repair = Some(Finding::new("x", "", "", NOW));
    };
    check(late, &["a repair is over after repair"]);
}

#[test]
fn two_that_are_one_are_found() {
    let (one, two) = (sound(1), sound(2));
    assert_eq!(check([(&one.0, &one.1), (&two.0, &two.1)], &[]), []);
    assert_eq!(
        rules(&check([(&one.0, &one.1), (&two.0, &one.1)], &[]))[0],
        "no capacity without a certificate in the log"
    );
    let twice = rules(&check([(&one.0, &one.1), (&one.0, &one.1)], &[]));
    assert_eq!(twice, ["one row per machine", "one serial number, one machine"]);
}

#[test]
fn orders_that_are_not_sound_are_found() {
    let check = |change: &dyn Fn(&mut Order), want: &[&str]| {
        let mut order = installing(1);
        change(&mut order);
        assert_eq!(rules(&check([], &[order])), want);
    };
    check(&|_| {}, &[]);
    check(&|it| _ = at(it, Verb::Scan), &[]);
    check(&|it| _ = at(it, Verb::Insert), &[]);
    check(&|it| _ = at(it, Verb::Lift), &["a hold point waits for different people"]);
    let alone = |it: &mut Order| {
        let lift = at(it, Verb::Lift);
        it.tasks[lift].confirmed_by = vec!["ann".into(), "ann".into()];
    };
    check(&alone, &["a hold point waits for different people"]);
    check(&|it| begin(it, 1), &["tasks follow each other"]);
    check(&|it| it.tasks[0].assignee = None, &["work has somebody who does it"]);
    let other = |it: &mut Order| {
        at(it, Verb::Insert);
        it.serial = Some("S2".into());
    };
    check(&other, &["a scan is of this machine"]);
    check(&|it| it.tasks[1].state = TaskState::Skipped, &["custody has no gap"]);
    check(&|it| it.state = OrderState::Done, &["done means every task"]);
    check(&|it| it.state = OrderState::Held, &["held says why"]);
}

#[test]
fn orders_that_meet_are_found() {
    let check = |orders: &[Order], want: &[&str]| assert_eq!(rules(&check([], orders)), want);
    let mut two = [installing(1), installing(2)];
    check(&two, &[]);
    two.iter_mut().for_each(|order| _ = at(order, Verb::Scan));
    check(&two, &["one task per zone"]);
    check(&[installing(1), installing(1)], &["one open order per machine", "one order per stay"]);
    let later = Order { id: OrderId(2), entry: 2, ..installing(1) };
    check(&[installing(1), later.clone()], &["one open order per machine"]);
    assert_eq!(rules(&robots(&[installing(1), installing(2)])), ["one task per robot"]);
    // An order for a stay that its machine has not had.
    let (machine, observed) = sound(1);
    let future = Order { entry: 8, ..later };
    assert_eq!(rules(&super::check([(&machine, &observed)], &[future])), ["no order of a stay that was not"]);
}

#[test]
fn a_step_that_is_not_one_is_found() {
    let run = |entry, outcome| {
        let (name, threshold, value) = ("mem".into(), String::new(), String::new());
        let tests = vec![TestResult { name, outcome, threshold, value, millis: 1 }];
        Some(Validation { suite: String::new(), entry, attempt: 0, begun_at: NOW, ended_at: Some(NOW), tests })
    };
    let check = |from, to, change: &dyn Fn(&mut Machine, &mut Machine, &mut Observed), want: &[&str]| {
        let (machine, mut observed) = sound(1);
        observed.validation = run(6, TestOutcome::Passed);
        let mut before = Machine { lifecycle: from, entry: 6, ..machine.clone() };
        let mut after = Machine { lifecycle: to, entry: if from == to { 6 } else { 7 }, ..machine };
        change(&mut before, &mut after, &mut observed);
        assert_eq!(rules(&transition(&before, &after, &observed)), want, "{from} -> {to}");
    };
    use Lifecycle::{Accepted, Drain, Planned, Provisioned, Received, Validated};
    const PASSED: &str = "validated means that every test of this stay passed";
    const SEALED: &str = "accepted means a certificate of this stay in the log";
    check(Accepted, Accepted, &|_, _, _| {}, &[]);
    check(Accepted, Accepted, &|_, it, _| it.entry = 7, &["a stay has one entry"]);
    check(Accepted, Drain, &|_, _, _| {}, &[]);
    check(Accepted, Drain, &|_, it, _| it.entry = 6, &["each state entered is counted"]);
    check(Accepted, Drain, &|_, it, _| it.id = MachineId(2), &["a machine stays itself"]);
    check(Planned, Accepted, &|_, _, _| {}, &["only legal edges"]);
    check(Planned, Received, &|_, _, seen| seen.custody = None, &["received means scanned"]);
    check(Provisioned, Validated, &|_, _, _| {}, &[]);
    check(Provisioned, Validated, &|_, _, seen| seen.validation = None, &[PASSED]);
    check(Provisioned, Validated, &|_, _, seen| seen.validation = run(5, TestOutcome::Passed), &[PASSED]);
    check(Provisioned, Validated, &|_, _, seen| seen.validation = run(6, TestOutcome::Failed), &[PASSED]);
    check(Provisioned, Validated, &|it, _, _| it.attempt = 1, &[PASSED]);
    check(Validated, Accepted, &|_, _, _| {}, &[]);
    check(Validated, Accepted, &|_, _, seen| seen.certified.as_mut().unwrap().entry = 5, &[SEALED]);
    check(Validated, Accepted, &|_, _, seen| seen.certified.as_mut().unwrap().sealed = false, &[SEALED]);
    let held = |one: &mut Machine, two: &mut Machine, _: &mut Observed| {
        one.hold = Some(Finding::new("x", "", "", NOW));
        two.hold.clone_from(&one.hold);
    };
    check(Accepted, Drain, &held, &["a held machine does not go on"]);
}
