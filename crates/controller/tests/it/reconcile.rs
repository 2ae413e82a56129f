//! The reconcilers over a real store and a world that is pretended: what they do, and that they may crash anywhere.

mod robots;
mod world;

pub use world::{World, entry, spec};

use self::world::{serial, until};
use crate::site::START;
use agent::site::Desk;
use controller::agents::AgentDesk;
use controller::reconcile::orders::{Robots, Said, Word, apply};
use controller::reconcile::{Bell, Ended, PassError, Reconciler, ReconcilerParts, Stage, Wanted, Wants, run};
use fleet::action::Action;
use fleet::machine::{Lifecycle, Scheduling, Spec};
use fleet::observed::*;
use fleet::order::{Event as OrderEvent, Order, OrderState, RobotFit, TaskState, Verb};
use ledger::key::SigningKey;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use store::Observation;
use types::{MachineId, TaskId, UnixMillis};

#[tokio::test]
async fn from_the_pallet_to_capacity_with_a_certificate_in_the_log() {
    let mut world = World::start(3).await;
    let mut reconciler = Reconciler::start(world.parts()).await.unwrap();
    until(&mut world, &mut reconciler, Lifecycle::Accepted).await;
    let store = world.site.store.clone();
    for row in store.machines(None, None, 100).await.unwrap() {
        assert_eq!((row.machine.scheduling, &row.machine.hold), (Scheduling::Open, &None), "{row:?}");
        let certificates = store.acceptances_of(row.machine.id).await.unwrap();
        assert_eq!(certificates.len(), 1);
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let jwt = ledger::acceptance::jwt(&certificates[0].signing_input, &key);
        let claims = ledger::acceptance::verify(&jwt, &ledger::jwks::Jwks::of(&[key.public()])).unwrap().claims;
        assert_eq!(claims.serials["chassis"], serial(row.machine.id));
        assert_eq!(
            (claims.serials["gpu2"].as_str(), claims.firmware["bmc"].as_str()),
            (&*format!("G{}-2", row.machine.id.0), "2")
        );
        assert_eq!((claims.tests[0].threshold.as_str(), claims.tests[0].value.as_str()), (">= 1 GB/s", "9 GB/s"));
        assert_eq!(claims.custody.unwrap().photo, Some("ab".repeat(32)));
        let lift = claims.work.iter().find(|work| work.task == "lift").unwrap();
        assert_eq!((lift.confirmed_by.len(), lift.by.as_deref()), (2, Some("person:tok_a")));
        // Its proof holds under the published checkpoint.
        let proof = world.site.tiles.proof(certificates[0].ord).unwrap().unwrap();
        let leaf = ledger::acceptance::leaf(&certificates[0].signing_input);
        let proof = ledger::proof::TlogProof::parse(&proof).unwrap();
        proof.verify(&leaf, world.site.signer.vkey(), &ledger::proof::Policy::none()).unwrap();
    }
    // Drained, repaired and accepted anew, with a second certificate that replaces the first.
    let row = store.machine(MachineId(2)).await.unwrap().unwrap();
    let path = format!("/api/v1/machines/{}", row.machine.id);
    let deed = |what: &str| serde_json::json!({ "do": what, "reason": "a look at its fans" });
    world.site.ask(&world.site.admin, "POST", &path, Some(deed("drain"))).await.expect(200);
    for _ in 0..30 {
        while reconciler.turn().await.unwrap().more {}
        world.act().await;
    }
    let row = store.machine(MachineId(2)).await.unwrap().unwrap();
    assert_eq!((row.machine.lifecycle, row.machine.certificate), (Lifecycle::Repair, None));
    world.site.ask(&world.site.admin, "POST", &path, Some(deed("undrain"))).await.expect(200);
    until(&mut world, &mut reconciler, Lifecycle::Accepted).await;
    let certificates = store.acceptances_of(MachineId(2)).await.unwrap();
    let claims = ledger::acceptance::claims_of(&certificates[1].signing_input).unwrap();
    assert_eq!((certificates.len(), claims.supersedes), (2, Some(certificates[0].id)));
    let shown = world.site.get(&path).await.expect(200);
    let holds: Vec<_> = shown["certificates"].as_array().unwrap().iter().map(|one| one["holds"].as_bool()).collect();
    assert_eq!(holds, [Some(false), Some(true)]);
}

/// A crash after each stage of each turn: every time the next start goes on, and in the end all is as without a crash.
#[tokio::test]
async fn a_crash_after_any_stage_repeats_nothing_and_forgets_nothing() {
    let mut world = World::start(2).await;
    let crashes = AtomicUsize::new(0);
    let mut seen = BTreeMap::new();
    for turn in 0.. {
        assert!(turn < 2_000, "{:?}", world.lifecycles().await);
        // Break off at the first, second, third … stage in turn, then go through once without.
        let (at, count) = (turn % 7, Arc::new(AtomicUsize::new(0)));
        let fault = move |_: Stage| match count.fetch_add(1, Ordering::Relaxed) == at {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let parts = ReconcilerParts { fault: Some(Arc::new(fault)), ..world.parts() };
        match Reconciler::start(parts).await.unwrap().turn().await {
            Ok(_) => {}
            Err(PassError::BrokenOff) => drop(crashes.fetch_add(1, Ordering::Relaxed)),
            Err(error) => panic!("{error}"),
        }
        world.check(&mut seen).await;
        if world.lifecycles().await.iter().all(|state| *state == Lifecycle::Accepted) {
            break;
        }
        if at == 6 {
            world.act().await;
        }
    }
    assert!(crashes.load(Ordering::Relaxed) > 50);
    for machine in [1, 2].map(MachineId) {
        let orders = world.site.store.orders_of(machine).await.unwrap();
        let kinds: Vec<&str> = orders.iter().map(|row| row.order.kind.as_str()).collect();
        assert_eq!(kinds, ["receive", "install"], "{machine}");
        assert!(orders.iter().all(|row| row.order.state == OrderState::Done));
        assert_eq!(world.site.store.acceptances_of(machine).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_second_controller_fences_the_first() {
    let world = World::start(1).await;
    let mut first = Reconciler::start(world.parts()).await.unwrap();
    let mut second = Reconciler::start(world.parts()).await.unwrap();
    assert!(matches!(first.turn().await, Err(PassError::Fenced { .. })));
    assert_eq!(second.turn().await.unwrap().machines, 1);
    // And while nothing is due, so that no step could be refused.
    while second.turn().await.unwrap() != Default::default() {}
    Reconciler::start(world.parts()).await.unwrap();
    assert!(matches!(second.turn().await, Err(PassError::Fenced { .. })));
}

/// The first one ends by itself, also while nothing is due, and what it wanted is wanted no more.
#[tokio::test]
async fn a_fenced_controller_ends_and_wants_nothing() {
    let world = World::start(1).await;
    let first = tokio::spawn(run(world.parts(), Bell::default(), std::future::pending()));
    while world.wants.epoch() == 0 {
        tokio::task::yield_now().await;
    }
    let (machine, slot) = (MachineId(7), "h1".to_owned());
    let actions = vec![Action::Provision];
    world.wants.set(Wanted { machine, slot, lifecycle: Lifecycle::Powered, entry: 1, attempt: 0, actions });
    Reconciler::start(ReconcilerParts { wants: Wants::default(), ..world.parts() }).await.unwrap();
    assert_eq!(first.await.unwrap(), Ended::Fenced);
    assert_eq!(world.wants.of(machine), None);
}

/// A robot that says only how a task ended, and keeps what it is told to have.
#[derive(Default)]
struct Quick {
    said: Mutex<Vec<Said>>,
    given: Mutex<BTreeSet<TaskId>>,
    theirs: Mutex<BTreeMap<TaskId, String>>,
}

impl Robots for Quick {
    fn fit(&self) -> Vec<RobotFit> {
        let verbs = BTreeSet::from([Verb::Receive, Verb::Scan]);
        let id = "acme/r1".to_owned();
        vec![RobotFit { id, payload_g: 200_000, verbs, zones: Vec::new(), battery_percent: 100, busy: false }]
    }

    fn give(&self, robot: &str, order: &Order, task: TaskId) {
        let receive = order.task(task).unwrap().verb == Verb::Receive;
        if self.given.lock().unwrap().insert(task) && receive {
            self.said.lock().unwrap().push(Said { task, robot: robot.to_owned(), what: Word::Done(Vec::new()) });
        }
    }

    fn take_back(&self, theirs: &BTreeMap<TaskId, String>) {
        self.theirs.lock().unwrap().clone_from(theirs);
    }

    fn has_stopped(&self, _: &str, _: TaskId) -> bool {
        false
    }

    fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap().clone()
    }

    fn stored(&self, words: &[Said]) {
        self.said.lock().unwrap().drain(..words.len());
    }
}

/// What it did is believed also if nobody heard it begin, and what is no longer its task it is told.
#[tokio::test]
async fn a_quick_robot_is_believed_and_told_what_is_not_its_task_any_more() {
    let world = World::start(1).await;
    let robot = Arc::new(Quick::default());
    let parts = ReconcilerParts { robots: robot.clone(), ..world.parts() };
    let mut reconciler = Reconciler::start(parts).await.unwrap();
    let store = world.site.store.clone();
    for _ in 0..8 {
        reconciler.turn().await.unwrap();
    }
    let row = store.orders(None, None, 1).await.unwrap().remove(0);
    let states: Vec<TaskState> = row.order.tasks.iter().take(2).map(|task| task.state).collect();
    assert_eq!(states, [TaskState::Done, TaskState::Assigned]);
    let scan = row.order.tasks[1].id;
    assert_eq!(*robot.theirs.lock().unwrap(), BTreeMap::from([(scan, "acme/r1".to_owned())]));
    let now = world.now();
    apply(&store, &row, &OrderEvent::Cancel { why: "it never came".to_owned() }, None, now).await.unwrap();
    reconciler.turn().await.unwrap();
    assert_eq!(*robot.theirs.lock().unwrap(), BTreeMap::new());
}

/// A switch that 200 machines report at once: no more drain than the limit, the others say why, one page is told.
#[tokio::test]
async fn a_switch_that_many_report_drains_no_more_than_the_limit() {
    let mut world = World::start(12).await;
    let mut reconciler = Reconciler::start(world.parts()).await.unwrap();
    until(&mut world, &mut reconciler, Lifecycle::Accepted).await;
    // One link that goes down is tolerated; the second within minutes is not.
    let down = |port: &str| {
        let at = world.now();
        Event { at, what: EventKind::LinkDown { domain: "leaf-1".to_owned(), port: port.to_owned() } }
    };
    let down = [down("hca1"), down("hca1")];
    let events: Vec<_> = (1..=12).flat_map(|n| down.clone().map(|event| (MachineId(n), event))).collect();
    world.site.store.incidents(&events).await.unwrap();
    for _ in 0..4 {
        while reconciler.turn().await.unwrap().more {}
        world.site.clock.fetch_add(31_000, Ordering::Relaxed);
    }
    let rows = world.site.store.machines(None, None, 100).await.unwrap();
    let drained = rows.iter().filter(|row| row.machine.lifecycle != Lifecycle::Accepted).count();
    assert_eq!(drained, fleet::drains::DOMAIN_PER_HOUR_MAX);
    for row in rows.iter().filter(|row| row.machine.lifecycle == Lifecycle::Accepted) {
        assert!(row.machine.reason.contains("not drained: leaf-1"), "{}", row.machine.reason);
    }
    let pages = world.site.store.fleet_events(0, 100_000).await.unwrap();
    let pages: Vec<_> = pages.iter().filter(|event| event.kind == "page").collect();
    assert_eq!(pages.len(), 1, "{pages:?}");
}

/// A BMC that lists thousands of components, and suites that print all that they may: the first makes a certificate that no
/// verifier would read and holds its machine; the site goes on.
#[tokio::test]
async fn a_certificate_that_cannot_be_made_holds_its_machine_and_no_other() {
    let mut world = World::start(2).await;
    (world.chatty, world.more_firmware) = (true, BTreeMap::from([(MachineId(1), 6_000)]));
    let mut reconciler = Reconciler::start(world.parts()).await.unwrap();
    for _ in 0..60 {
        while reconciler.turn().await.unwrap().more {}
        world.act().await;
    }
    let store = world.site.store.clone();
    let rows = store.machines(None, None, 100).await.unwrap();
    assert_eq!((rows[1].machine.lifecycle, rows[1].machine.scheduling), (Lifecycle::Accepted, Scheduling::Open));
    let hold = rows[0].machine.hold.as_ref().unwrap();
    assert_eq!((rows[0].machine.lifecycle, hold.code.as_str()), (Lifecycle::Validated, "certificate_impossible"));
    assert!(rows[0].machine.reason.contains("at most 262144 bytes"), "{}", rows[0].machine.reason);
    let told = store.fleet_events_last(Some(MachineId(1)), 100).await.unwrap();
    assert_eq!(told.iter().filter(|event| event.kind == "held").count(), 1, "{told:?}");
    // What its suites printed is cut, and its digest is there.
    let certificate = store.acceptances_of(MachineId(2)).await.unwrap().pop().unwrap();
    let claims = ledger::acceptance::claims_of(&certificate.signing_input).unwrap();
    assert_eq!(claims.tests.len(), agent::wire::TESTS_MAX);
    assert!(claims.tests[0].value.contains("(2000 bytes, sha256:"), "{}", claims.tests[0].value);
    // Mended, it goes on by itself.
    world.more_firmware.clear();
    until(&mut world, &mut reconciler, Lifecycle::Accepted).await;
}

/// Whatever its agent reports afterwards.
#[tokio::test]
async fn a_certificate_speaks_of_the_run_that_was_passed() {
    let mut world = World::start(1).await;
    let (store, machine) = (world.site.store.clone(), MachineId(1));
    let desk = AgentDesk::new(store.clone(), world.wants.clone(), Bell::default());
    let (key, certificate) = ("k".to_owned(), String::new());
    let not_after = UnixMillis(i64::MAX);
    desk.issued(&agent::ca::Issued { machine, number: "07".to_owned(), key, not_after, certificate }).await.unwrap();
    let mut reconciler = Reconciler::start(world.parts()).await.unwrap();
    until(&mut world, &mut reconciler, Lifecycle::Provisioned).await;
    // A person keeps it out, so that it stands in `validated` for a while.
    let path = format!("/api/v1/machines/{machine}");
    let deed = |what: &str| serde_json::json!({ "do": what, "reason": "its neighbours first" });
    world.site.ask(&world.site.admin, "POST", &path, Some(deed("drain"))).await.expect(200);
    let row = store.machine(machine).await.unwrap().unwrap();
    let passed = |outcome: TestOutcome| {
        let (suite, entry, attempt) = (row.spec.suite.clone(), row.machine.entry, row.machine.attempt);
        let (name, threshold, value) = ("memory".to_owned(), String::new(), "9 GB/s".to_owned());
        let tests = vec![TestResult { name, outcome, threshold, value, millis: 1 }];
        let begun_at = UnixMillis(START);
        Validation { suite, entry, attempt, begun_at, ended_at: Some(UnixMillis(START)), tests }
    };
    let post = async |validation: Validation| {
        desk.validation(&agent::site::Run { machine, certificate: "07".to_owned(), validation }).await.unwrap();
        store.observed(machine).await.unwrap().validation
    };
    // Of another stay, attempt or suite: nobody asked for it.
    let other = [
        Validation { entry: row.machine.entry - 1, ..passed(TestOutcome::Passed) },
        Validation { attempt: 7, ..passed(TestOutcome::Passed) },
        Validation { suite: "other".to_owned(), ..passed(TestOutcome::Passed) },
    ];
    for run in other {
        assert_eq!(post(run).await, None);
    }
    // One that was cut off may begin anew; one that ended stands.
    let begun = Validation { ended_at: None, ..passed(TestOutcome::Passed) };
    assert_eq!(post(begun.clone()).await, Some(begun.clone()));
    assert_eq!(post(Validation { tests: Vec::new(), ..begun }).await.unwrap().tests, []);
    assert_eq!(post(passed(TestOutcome::Passed)).await, Some(passed(TestOutcome::Passed)));
    assert_eq!(post(passed(TestOutcome::Failed)).await, Some(passed(TestOutcome::Passed)));
    while reconciler.turn().await.unwrap().more {}
    assert_eq!(world.lifecycles().await, [Lifecycle::Validated]);
    assert_eq!(post(passed(TestOutcome::Failed)).await, Some(passed(TestOutcome::Passed)));
    world.site.ask(&world.site.admin, "POST", &path, Some(deed("undrain"))).await.expect(200);
    // If another run were there, it would not be signed, and the machine says so.
    let at = world.now();
    let another = Validation { attempt: 1, ..passed(TestOutcome::Passed) };
    store.observe(&[(machine, at, Observation::Validation(another))]).await.unwrap();
    while reconciler.turn().await.unwrap().more {}
    let reason = store.machine(machine).await.unwrap().unwrap().machine.reason;
    assert!(reason.starts_with("its certificate waits: the run that it passed is not there"), "{reason}");
    assert!(store.acceptances_of(machine).await.unwrap().is_empty());
    store.observe(&[(machine, at, Observation::Validation(passed(TestOutcome::Passed)))]).await.unwrap();
    until(&mut world, &mut reconciler, Lifecycle::Accepted).await;
    let certificate = store.acceptances_of(machine).await.unwrap().pop().unwrap();
    let claims = ledger::acceptance::claims_of(&certificate.signing_input).unwrap();
    assert_eq!((claims.tests.len(), claims.tests[0].outcome.as_str()), (1, "passed"));
}

/// Two orders with one id, as a broken source of randomness makes them: the database refuses the second, and with it a batch.
#[tokio::test]
async fn a_machine_whose_step_cannot_be_stored_stops_no_other() {
    let probe = World::start(1).await;
    Reconciler::start(probe.parts()).await.unwrap().turn().await.unwrap();
    let order = probe.site.store.orders(None, None, 1).await.unwrap().remove(0).order;
    let (count, ids) = (AtomicUsize::new(0), 1 + order.tasks.len());
    let world = World::start(3).await;
    // Each machine's order gets the same ids.
    let random = move |bytes: &mut [u8]| bytes.fill((count.fetch_add(1, Ordering::Relaxed) % ids) as u8);
    let parts = ReconcilerParts { random: Arc::new(random), ..world.parts() };
    let mut reconciler = Reconciler::start(parts).await.unwrap();
    let pass = reconciler.machines().await.unwrap();
    assert_eq!(pass.machines, 1, "one is stored, two are refused");
    assert_eq!(world.site.store.orders(None, None, 100).await.unwrap().len(), 1);
    // The one sees its order; the others are left alone for a while, not tried four times a second.
    assert_eq!(reconciler.machines().await.unwrap().machines, 1);
    assert_eq!(reconciler.machines().await.unwrap(), Default::default());
    for orders in [2, 3] {
        world.site.clock.fetch_add(30_000, Ordering::Relaxed);
        reconciler.machines().await.unwrap();
        assert_eq!(world.site.store.orders(None, None, 100).await.unwrap().len(), orders);
    }
}

/// A person was faster than a step: what was decided is not true, and nobody is told to do it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_stored_is_wanted_of_nobody() {
    let mut world = World::start(1).await;
    let mut reconciler = Reconciler::start(world.parts()).await.unwrap();
    until(&mut world, &mut reconciler, Lifecycle::Installed).await;
    let (store, machine) = (world.site.store.clone(), MachineId(1));
    assert_eq!(world.wants.of(machine).unwrap().actions, [Action::ReadInventory]);
    // Its BMC answers: the next step would switch it on. Between its decision and its transaction a person retires it.
    world.bmc(machine);
    store.observe(&std::mem::take(&mut world.seen)).await.unwrap();
    let row = store.machine(machine).await.unwrap().unwrap();
    let (spec, audit) = (Spec { wanted: false, ..row.spec.clone() }, entry(&world.site, "machine.update"));
    let (runtime, hand) = (tokio::runtime::Handle::current(), store.clone());
    let faster = move |stage: Stage| {
        if stage == Stage::Decided {
            let event = store::FleetEvent::of(&row.machine, UnixMillis(START), "retired", "sent back");
            let (hand, runtime) = (hand.clone(), runtime.clone());
            let (row, spec, audit) = (row.clone(), spec.clone(), audit.clone());
            let change = async move { hand.machine_change(row.version, &spec, &row.machine, &event, &audit).await };
            #[expect(clippy::disallowed_methods, reason = "on a thread of its own: the hook is no future")]
            std::thread::spawn(move || runtime.block_on(change).unwrap()).join().unwrap();
        }
        ControlFlow::Continue(())
    };
    let parts = ReconcilerParts { fault: Some(Arc::new(faster)), ..world.parts() };
    let mut reconciler = Reconciler::start(parts).await.unwrap();
    assert_eq!(reconciler.machines().await.unwrap(), Default::default());
    assert_eq!(world.wants.of(machine).unwrap().actions, [Action::ReadInventory]);
}

/// Two labels with one serial number, or one that was scanned twice: the second order is held and says where the other is.
#[tokio::test]
async fn what_is_in_custody_of_another_machine_is_not_taken_twice() {
    let planned = |n: u128, serials: &[(&str, &str)]| {
        let serials = serials.iter().map(|(part, serial)| ((*part).to_owned(), (*serial).to_owned())).collect();
        (Spec { serials, ..spec(n) }, fleet::machine::Machine::planned(MachineId(n), UnixMillis(START)))
    };
    let named = [planned(3, &[("chassis", "S3")]), planned(4, &[("chassis", "S4")])];
    let bare = [1, 2, 5, 6].map(|n| planned(n, &[]));
    let world = World::of(named.into_iter().chain(bare).collect()).await;
    let mut reconciler = Reconciler::start(world.parts()).await.unwrap();
    while reconciler.turn().await.unwrap().more {}
    let store = world.site.store.clone();
    let by = fleet::order::Assignee::Person("tok_a".to_owned());
    let scan = async |n: u128, serial: &str| {
        loop {
            let row = store.orders_of(MachineId(n)).await.unwrap().remove(0);
            let now = world.now();
            let of = |verb: Verb| row.order.tasks.iter().find(|task| task.verb == verb).unwrap().clone();
            let (receive, scan) = (of(Verb::Receive), of(Verb::Scan));
            let evidence = |kind: &str| fleet::order::Evidence {
                kind: kind.to_owned(),
                value: serial.to_owned(),
                sha256: None,
                by: "tok_a".to_owned(),
                at: now,
            };
            let event = match (receive.state, scan.state) {
                (TaskState::Ready, _) => OrderEvent::Start { task: receive.id, by: by.clone() },
                (TaskState::Running, _) => OrderEvent::Done { task: receive.id, by: by.clone(), evidence: Vec::new() },
                (_, TaskState::Ready) => OrderEvent::Start { task: scan.id, by: by.clone() },
                (_, TaskState::Running) => {
                    OrderEvent::Done { task: scan.id, by: by.clone(), evidence: vec![evidence("scan")] }
                }
                _ => return row.order,
            };
            apply(&store, &row, &event, None, now).await.unwrap();
        }
    };
    assert_eq!(scan(1, "S1").await.state, OrderState::Open);
    let held = scan(2, "S1").await;
    let text = held.finding.unwrap().text;
    let expected = "scan: serial number S1 is in custody as chassis of h1/r01/k01/u01";
    assert!(held.state == OrderState::Held && text.starts_with(expected), "{text}");
    assert_eq!(store.observed(MachineId(2)).await.unwrap().custody, None);
    while reconciler.turn().await.unwrap().more {}
    let machine = store.machine(MachineId(2)).await.unwrap().unwrap().machine;
    assert_eq!(machine.hold.as_ref().map(|hold| hold.code.as_str()), Some("order_held"));
    assert!(machine.reason.contains(expected), "{}", machine.reason);
    // What another's bill names is that one's, though it has not come.
    let row = store.orders_of(MachineId(2)).await.unwrap().remove(0);
    let resume = OrderEvent::Resume { by: "tok_a".to_owned(), reason: "once more".to_owned() };
    apply(&store, &row, &resume, None, world.now()).await.unwrap();
    let text = scan(2, "S3").await.finding.unwrap().text;
    assert!(text.contains("S3 is planned as chassis of h1/r01/k03/u01"), "{text}");
    let row = store.orders_of(MachineId(2)).await.unwrap().remove(0);
    apply(&store, &row, &resume, None, world.now()).await.unwrap();
    assert_eq!(scan(2, "S2").await.state, OrderState::Open);
    assert_eq!(store.observed(MachineId(2)).await.unwrap().custody.unwrap().serial, "S2");
    // One that came without a note is in custody before the site file gives its number to another.
    let in_custody = async |n: u128, serial: &str| {
        let seen = Custody { serial: serial.to_owned(), by: "tok_a".to_owned(), at: world.now(), photo: None };
        let seen = [(MachineId(n), world.now(), Observation::Custody(seen))];
        store.orders_change(&[], &seen, &[], &[], &[], None).await.unwrap();
    };
    in_custody(5, "S4").await;
    let text = scan(4, "S4").await.finding.unwrap().text;
    assert!(text.contains("S4 is in custody as chassis of h1/r01/k05/u01"), "{text}");
    // Of two that were scanned before each was in one place, the second finds out with what it does next.
    assert_eq!(scan(6, "S6").await.state, OrderState::Open);
    in_custody(6, "X6").await;
    in_custody(5, "S6").await;
    let photograph = async |event: &dyn Fn(TaskId) -> OrderEvent| {
        let row = store.orders_of(MachineId(6)).await.unwrap().remove(0);
        let task = row.order.tasks.iter().find(|task| task.verb == Verb::Photograph).unwrap().id;
        apply(&store, &row, &event(task), None, world.now()).await.unwrap()
    };
    photograph(&|task| OrderEvent::Start { task, by: by.clone() }).await;
    let held = photograph(&|task| OrderEvent::Done { task, by: by.clone(), evidence: Vec::new() }).await;
    let text = held.finding.unwrap().text;
    assert!(text.contains("S6 is in custody as chassis of h1/r01/k05/u01"), "{text}");
}

/// A robot that begins, and says nothing more before it is asked to.
#[derive(Default)]
struct Slow {
    said: Mutex<Vec<Said>>,
    given: Mutex<Option<(TaskId, String)>>,
    stopped: std::sync::atomic::AtomicBool,
    /// Another robot is there and has nothing to do.
    second: std::sync::atomic::AtomicBool,
}

impl Robots for Slow {
    fn fit(&self) -> Vec<RobotFit> {
        let (id, verbs) = ("acme/r1".to_owned(), BTreeSet::from([Verb::Scan]));
        let busy = self.given.lock().unwrap().is_some();
        let first = RobotFit { id, payload_g: 200_000, verbs, zones: Vec::new(), battery_percent: 100, busy };
        let second = RobotFit { id: "acme/r2".to_owned(), busy: false, ..first.clone() };
        if self.second.load(Ordering::Relaxed) { vec![first, second] } else { vec![first] }
    }

    fn give(&self, robot: &str, order: &Order, task: TaskId) {
        let mut given = self.given.lock().unwrap();
        if order.kind == fleet::order::OrderKind::Install && given.is_none() {
            *given = Some((task, robot.to_owned()));
            self.said.lock().unwrap().push(Said { task, robot: robot.to_owned(), what: Word::Started });
        }
    }

    fn take_back(&self, _: &BTreeMap<TaskId, String>) {}

    fn has_stopped(&self, _: &str, _: TaskId) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap().clone()
    }

    fn stored(&self, words: &[Said]) {
        self.said.lock().unwrap().drain(..words.len());
    }
}

/// Two machines in one zone; a robot is at one when a person cancels its order. Nobody begins at the other before the robot has
/// said that it stopped, is seen to stand, or was silent for too long.
#[tokio::test]
async fn a_zone_stays_closed_until_its_robot_has_stopped() {
    for end in ["said", "seen", "mute", "silent"] {
        let in_aisle = |n: u128| Spec { zone: Some("aisle".to_owned()), ..spec(n) };
        let planned = |n: u128| fleet::machine::Machine::planned(MachineId(n), UnixMillis(START));
        let mut world = World::of(vec![(in_aisle(1), planned(1)), (in_aisle(2), planned(2))]).await;
        let mut people = Reconciler::start(world.parts()).await.unwrap();
        until(&mut world, &mut people, Lifecycle::Received).await;
        let robot = Arc::new(Slow::default());
        let parts = ReconcilerParts { robots: robot.clone(), ..world.parts() };
        let mut reconciler = Reconciler::start(parts).await.unwrap();
        let store = world.site.store.clone();
        let install = async |n: u128| store.orders_of(MachineId(n)).await.unwrap().remove(1);
        while reconciler.turn().await.unwrap().more {}
        let by = fleet::order::Assignee::Person("tok_a".to_owned());
        for n in [1, 2] {
            let moved = install(n).await.order.tasks[0].id;
            let start = OrderEvent::Start { task: moved, by: by.clone() };
            apply(&store, &install(n).await, &start, None, world.now()).await.unwrap();
            let done = OrderEvent::Done { task: moved, by: by.clone(), evidence: Vec::new() };
            apply(&store, &install(n).await, &done, None, world.now()).await.unwrap();
        }
        while robot.given.lock().unwrap().is_none() {
            reconciler.turn().await.unwrap();
        }
        while reconciler.turn().await.unwrap().more {}
        let (task, name) = robot.given.lock().unwrap().clone().unwrap();
        let row = store.order_of_task(task).await.unwrap().unwrap();
        let other = MachineId(3 - row.order.machine.0);
        assert_eq!(row.order.task(task).unwrap().state, TaskState::Running);
        apply(&store, &row, &OrderEvent::Cancel { why: "not today".to_owned() }, None, world.now()).await.unwrap();
        // Neither another robot nor a person is let in.
        robot.second.store(true, Ordering::Relaxed);
        while reconciler.turn().await.unwrap().more {}
        robot.second.store(false, Ordering::Relaxed);
        assert_eq!(install(other.0).await.order.tasks[1].state, TaskState::Ready);
        let scan = install(other.0).await.order.tasks[1].id;
        let begin = async || {
            let row = install(other.0).await;
            apply(&store, &row, &OrderEvent::Start { task: scan, by: by.clone() }, None, world.now()).await
        };
        let refused = begin().await.unwrap_err().to_string();
        assert!(refused.contains("zone aisle"), "{end}: {refused}");
        match end {
            "said" => {
                let what = Word::Lost { why: "cancelled".to_owned(), stands: true };
                robot.said.lock().unwrap().push(Said { task, robot: name, what });
            }
            // Its session gave it up, which it does not know.
            "mute" => {
                let why = "cancel_unanswered: it does not answer that its order is cancelled".to_owned();
                let what = Word::Lost { why, stands: false };
                robot.said.lock().unwrap().push(Said { task, robot: name, what });
                while reconciler.turn().await.unwrap().more {}
                let refused = begin().await.unwrap_err().to_string();
                assert!(refused.contains("zone aisle"), "{end}: {refused}");
                robot.stopped.store(true, Ordering::Relaxed);
            }
            "seen" => robot.stopped.store(true, Ordering::Relaxed),
            _ => drop(
                world.site.clock.fetch_add(controller::reconcile::orders::LEFT_MILLIS_MAX + 60_000, Ordering::Relaxed),
            ),
        }
        while reconciler.turn().await.unwrap().more {}
        begin().await.unwrap();
        let told = store.fleet_events_last(None, 100).await.unwrap();
        let paged = told.iter().any(|event| event.text.starts_with("acme/r1 never said that it stopped in zone aisle"));
        assert_eq!(paged, end == "silent");
    }
}
