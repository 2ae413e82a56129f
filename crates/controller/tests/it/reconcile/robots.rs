//! Robots that say what a test has them say: what becomes of their words and of the zones that they are in.

use super::world::{World, spec, until};
use crate::site::START;
use controller::reconcile::orders::{Robots, Said, Word, apply};
use controller::reconcile::{Reconciler, ReconcilerParts};
use fleet::machine::{Lifecycle, Machine, Spec};
use fleet::order::{Assignee, Event, Evidence, Order, OrderState, RUNNING_MILLIS_MAX, RobotFit, TaskState, Verb};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use types::{MachineId, TaskId, UnixMillis};

#[derive(Default)]
struct Told {
    fit: Mutex<Vec<RobotFit>>,
    said: Mutex<Vec<Said>>,
    given: Mutex<BTreeMap<TaskId, String>>,
    stopped: AtomicBool,
}

impl Told {
    fn there(&self, names: &[(&str, bool)], verbs: &[Verb]) {
        let fit = names.iter().map(|(id, busy)| RobotFit {
            id: (*id).to_owned(),
            payload_g: 200_000,
            verbs: verbs.iter().copied().collect(),
            zones: Vec::new(),
            battery_percent: 100,
            busy: *busy,
        });
        *self.fit.lock().unwrap() = fit.collect();
    }

    fn say(&self, task: TaskId, what: Word) {
        let robot = self.given.lock().unwrap()[&task].clone();
        self.said.lock().unwrap().push(Said { task, robot, what });
    }
}

impl Robots for Told {
    fn fit(&self) -> Vec<RobotFit> {
        self.fit.lock().unwrap().clone()
    }

    fn give(&self, robot: &str, _: &Order, task: TaskId) {
        self.given.lock().unwrap().insert(task, robot.to_owned());
    }

    fn take_back(&self, _: &BTreeMap<TaskId, String>) {}

    fn has_stopped(&self, _: &str, _: TaskId) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap().clone()
    }

    fn stored(&self, words: &[Said]) {
        let mut words = words.iter().peekable();
        self.said.lock().unwrap().retain(|said| words.next_if_eq(&said).is_none());
    }
}

fn scans(serials: &[&str]) -> Word {
    let one = |serial: &&str| Evidence {
        kind: "scan".to_owned(),
        value: (*serial).to_owned(),
        sha256: None,
        by: "robot".to_owned(),
        at: UnixMillis(START),
    };
    Word::Done(serials.iter().map(one).collect())
}

async fn quiet(reconciler: &mut Reconciler) {
    for _ in 0..50 {
        if !reconciler.turn().await.unwrap().more {
            return;
        }
    }
    panic!("it goes on for ever");
}

/// Two robots read one serial number at once: the first is believed, the other's order is held, and nobody else notices. What
/// counts of two scans is the last.
#[tokio::test]
async fn one_serial_number_that_conflicts_stops_no_other_order() {
    let bare = |n: u128| Spec { serials: BTreeMap::new(), ..spec(n) };
    let machines = (1..=3).map(|n| (bare(n), Machine::planned(MachineId(n), UnixMillis(START)))).collect();
    let world = World::of(machines).await;
    let robots = Arc::new(Told::default());
    robots.there(&[("acme/r1", false), ("acme/r2", false), ("acme/r3", false)], &[Verb::Receive, Verb::Scan]);
    let mut reconciler = Reconciler::start(ReconcilerParts { robots: robots.clone(), ..world.parts() }).await.unwrap();
    let store = world.site.store.clone();
    let order = async |n: u128| store.orders_of(MachineId(n)).await.unwrap().remove(0).order;
    quiet(&mut reconciler).await;
    for n in 1..=3 {
        robots.say(order(n).await.tasks[0].id, Word::Done(Vec::new()));
    }
    quiet(&mut reconciler).await;
    for (n, read) in [(1, ["S", "T1"]), (2, ["S", "T1"]), (3, ["T1", "S"])] {
        let scan = order(n).await.tasks[1].clone();
        assert_eq!((scan.verb, scan.state), (Verb::Scan, TaskState::Assigned));
        robots.say(scan.id, scans(&read));
    }
    quiet(&mut reconciler).await;
    assert!(robots.said.lock().unwrap().is_empty());
    let orders = [order(1).await, order(2).await, order(3).await];
    let held: Vec<&Order> = orders.iter().filter(|order| order.state == OrderState::Held).collect();
    assert!(held.len() == 1 && held[0].machine != MachineId(3), "{held:?}");
    let text = &held[0].finding.as_ref().unwrap().text;
    assert!(text.contains("serial number T1 is in custody as chassis of h1/r01/k0"), "{text}");
    let serials: Vec<Option<&str>> = orders.iter().map(|order| order.serial.as_deref()).collect();
    assert!(serials.contains(&Some("T1")) && serials[2] == Some("S"), "{serials:?}");
    assert_eq!(store.observed(MachineId(3)).await.unwrap().custody.unwrap().serial, "S");
    assert_eq!(store.observed(held[0].machine).await.unwrap().custody, None);
}

/// A robot that is mute, or late, in the middle of its task may still be where it was: no other is sent there, in that turn or
/// later, and the other is free for what can be done elsewhere.
#[tokio::test]
async fn a_robot_that_is_lost_at_work_closes_its_zone_and_keeps_no_other_from_work() {
    for end in ["lost", "late"] {
        let planned = |n: u128| Machine::planned(MachineId(n), UnixMillis(START));
        let at = |n: u128, zone: &str| (Spec { zone: Some(zone.to_owned()), ..spec(n) }, planned(n));
        let mut world = World::of(vec![at(1, "aisle"), at(2, "aisle"), at(3, "bay")]).await;
        let mut people = Reconciler::start(world.parts()).await.unwrap();
        until(&mut world, &mut people, Lifecycle::Received).await;
        let robots = Arc::new(Told::default());
        let parts = ReconcilerParts { robots: robots.clone(), ..world.parts() };
        let mut reconciler = Reconciler::start(parts).await.unwrap();
        let store = world.site.store.clone();
        let install = async |n: u128| store.orders_of(MachineId(n)).await.unwrap().remove(1);
        let state = async |n: u128| install(n).await.order.tasks[1].state;
        quiet(&mut reconciler).await;
        // The oldest are those of the zone that will be closed.
        let row = install(3).await;
        let younger = Order { made_at: UnixMillis(row.order.made_at.0 + 1), ..row.order };
        store.orders_change(&[(younger, row.version)], &[], &[], &[], &[], None).await.unwrap();
        let by = Assignee::Person("tok_a".to_owned());
        let moved = async |n: u128| {
            let task = install(n).await.order.tasks[0].id;
            let start = Event::Start { task, by: by.clone() };
            apply(&store, &install(n).await, &start, None, world.now()).await.unwrap();
            let done = Event::Done { task, by: by.clone(), evidence: Vec::new() };
            apply(&store, &install(n).await, &done, None, world.now()).await.unwrap();
        };
        moved(1).await;
        moved(2).await;
        robots.there(&[("acme/r1", false)], &[Verb::Scan]);
        quiet(&mut reconciler).await;
        let task = *robots.given.lock().unwrap().keys().next().unwrap();
        robots.say(task, Word::Started);
        quiet(&mut reconciler).await;
        let first = store.order_of_task(task).await.unwrap().unwrap().order.machine.0;
        assert_eq!((state(first).await, state(3 - first).await), (TaskState::Running, TaskState::Ready));
        if end == "lost" {
            let why = "connection_broken: its connection broke and did not come back".to_owned();
            robots.say(task, Word::Lost { why, stands: false });
        } else {
            world.site.clock.fetch_add(RUNNING_MILLIS_MAX + 60_000, Ordering::Relaxed);
        }
        moved(3).await;
        robots.there(&[("acme/r1", true), ("acme/r2", false)], &[Verb::Scan]);
        quiet(&mut reconciler).await;
        let after = if end == "lost" { TaskState::Ready } else { TaskState::Failed };
        assert_eq!((state(first).await, state(3 - first).await), (after, TaskState::Ready), "{end}");
        assert_eq!(state(3).await, TaskState::Assigned, "{end}");
        let left = store.zones_left().await.unwrap();
        assert_eq!(left.iter().map(|(it, _)| (it.task, it.robot.as_str())).collect::<Vec<_>>(), [(task, "acme/r1")]);
        // It is seen to stand.
        robots.stopped.store(true, Ordering::Relaxed);
        robots.there(&[("acme/r1", false)], &[Verb::Scan]);
        quiet(&mut reconciler).await;
        assert_eq!(store.zones_left().await.unwrap(), []);
        let states = BTreeSet::from([state(1).await, state(2).await]);
        assert!(states.contains(&TaskState::Assigned), "{end}: {states:?}");
    }
}
