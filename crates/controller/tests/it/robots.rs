//! The order shell's robots over a real broker and a simulated robot: what is given when, what is taken back, what is kept.

use crate::site::{START, Site};
use controller::reconcile::Bell;
use controller::reconcile::orders::{Robots, Word};
use controller::reconcile::robots::{LISTEN_MILLIS, LinkedRobots, kept};
use fleet::order::{Order, OrderKind, OrderState, Task, TaskState, Verb};
use robots::sim::{Machine, Sheet, run};
use robots::{Broker, Handle};
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use store::Store;
use tokio::sync::oneshot;
use types::{MachineId, OrderId, TaskId, UnixMillis};
use vda5050::{Names, Version};

const PROGRAM: &str = "/usr/sbin/mosquitto";
const R1: &str = "acme/r1";
/// Never there.
const R9: &str = "acme/r9";

/// Mosquitto on a free port of loopback; killed when dropped.
struct Mosquitto {
    child: Child,
    broker: Broker,
    _folder: tempfile::TempDir,
}

impl Mosquitto {
    async fn start() -> Option<Mosquitto> {
        if !std::path::Path::new(PROGRAM).exists() {
            eprintln!("skipped: no {PROGRAM} (apt-get install mosquitto)");
            return None;
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mosquitto.conf");
        let text = format!("listener {} 127.0.0.1\npersistence false\nuser root\nallow_anonymous true\n", free.port());
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let broker = Broker::new(&format!("mqtt://{free}"), None, None).unwrap();
        let mosquitto = Mosquitto { child, broker, _folder: folder };
        while tokio::net::TcpStream::connect(free).await.is_err() {
            tokio::task::yield_now().await;
        }
        Some(mosquitto)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A link as a controller starts it.
async fn link(mosquitto: &Mosquitto, store: &Store, clock: &Arc<AtomicI64>) -> (Handle, LinkedRobots) {
    let wall = clock.clone();
    let clock: robots::Clock = Arc::new(move || UnixMillis(wall.load(Ordering::Relaxed)));
    let options = robots::Options {
        broker: mosquitto.broker.clone(),
        client_id: "hoheit-test".to_owned(),
        rules: Default::default(),
        robots: Vec::new(),
        clock: clock.clone(),
    };
    let (handle, reports) = robots::start(options, kept(store).await.unwrap()).unwrap();
    let linked = LinkedRobots::new(handle.clone(), clock);
    tokio::spawn(linked.clone().listen(reports, store.clone(), Bell::default()));
    (handle, linked)
}

fn order(id: u128, verb: Verb) -> Order {
    let task = Task {
        id: TaskId(id),
        verb,
        subject: "chassis".to_owned(),
        state: TaskState::Assigned,
        mass_g: 0,
        zone: "h1/r01/k01".to_owned(),
        confirmations_min: 0,
        confirmed_by: Vec::new(),
        assignee: None,
        attempts: 0,
        evidence: Vec::new(),
        note: None,
        changed_at: UnixMillis(START),
    };
    Order {
        id: OrderId(id),
        machine: MachineId(1),
        entry: 1,
        kind: OrderKind::Install,
        state: OrderState::Open,
        made_at: UnixMillis(START),
        slot: "h1/r01/k01/u01".to_owned(),
        serial: Some("S1".to_owned()),
        tasks: vec![task],
        finding: None,
    }
}

/// Waits until it is so. Whoever waits for what never comes is ended by the runner.
async fn until(so: impl Fn() -> bool) {
    while !so() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_is_given_to_a_robot_before_it_is_known_what_it_has() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let site = Site::start().await;
    let (handle, linked) = link(&mosquitto, &site.store, &site.clock).await;
    linked.give(R9, &order(1, Verb::Scan), TaskId(1));
    // The link does one after the other: had it been sent, there would be a session.
    assert!(handle.export().await.unwrap().is_empty());
    // A robot that told its state may be given something at once.
    let (stop, stopped) = oneshot::channel();
    let wall = site.clock.clone();
    let options = robots::sim::Options {
        broker: mosquitto.broker.clone(),
        names: Names::default(),
        clock: Arc::new(move || UnixMillis(wall.load(Ordering::Relaxed))),
        die: || (),
    };
    let robot = tokio::spawn(run(Machine::new(Sheet::new(R1.parse().unwrap(), Version::V3)), options, stopped));
    until(|| linked.fit().iter().any(|fit| fit.id == R1 && !fit.busy)).await;
    assert!(linked.has_stopped(R1, TaskId(2)) && !linked.has_stopped(R9, TaskId(2)));
    linked.give(R1, &order(2, Verb::Scan), TaskId(2));
    until(|| linked.said().iter().any(|said| said.task == TaskId(2) && !matches!(said.what, Word::Lost { .. }))).await;
    // One that says nothing for a minute is not there, and refuses by itself.
    site.clock.fetch_add(LISTEN_MILLIS, Ordering::Relaxed);
    linked.give(R9, &order(1, Verb::Scan), TaskId(1));
    until(|| {
        linked.said().iter().any(|said| said.task == TaskId(1) && matches!(said.what, Word::Lost { stands: true, .. }))
    })
    .await;
    stop.send(()).unwrap();
    robot.await.unwrap().unwrap();
}

/// A robot that is cut off at work is given up by its session and has not said that it stopped.
#[tokio::test]
async fn a_robot_that_is_cut_off_does_not_stand() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let site = Site::start().await;
    let (_handle, linked) = link(&mosquitto, &site.store, &site.clock).await;
    let (_stop, stopped) = oneshot::channel();
    let wall = site.clock.clone();
    let options = robots::sim::Options {
        broker: mosquitto.broker.clone(),
        names: Names::default(),
        clock: Arc::new(move || UnixMillis(wall.load(Ordering::Relaxed))),
        die: || (),
    };
    let sheet = Sheet { work_ms: 3_600_000, ..Sheet::new(R1.parse().unwrap(), Version::V3) };
    let robot = tokio::spawn(run(Machine::new(sheet), options, stopped));
    until(|| linked.fit().iter().any(|fit| fit.id == R1 && !fit.busy)).await;
    linked.give(R1, &order(2, Verb::Torque), TaskId(2));
    until(|| linked.said().iter().any(|said| said.what == Word::Started)).await;
    robot.abort();
    assert!(robot.await.unwrap_err().is_cancelled());
    let lost = |said: &controller::reconcile::orders::Said| matches!(said.what, Word::Lost { .. });
    until(|| {
        site.clock.fetch_add(1_000, Ordering::Relaxed);
        linked.said().iter().any(lost)
    })
    .await;
    let said = linked.said();
    assert!(said.iter().any(|said| matches!(said.what, Word::Lost { stands: false, .. })), "{said:?}");
    assert!(!linked.has_stopped(R1, TaskId(2)));
}

#[tokio::test]
async fn a_task_that_is_no_longer_its_own_is_taken_back_and_sessions_are_kept() {
    let Some(mosquitto) = Mosquitto::start().await else { return };
    let site = Site::start().await;
    let (handle, linked) = link(&mosquitto, &site.store, &site.clock).await;
    let keeping = tokio::spawn(linked.clone().keep(site.store.clone()));
    let (stop, stopped) = oneshot::channel();
    let wall = site.clock.clone();
    let options = robots::sim::Options {
        broker: mosquitto.broker.clone(),
        names: Names::default(),
        clock: Arc::new(move || UnixMillis(wall.load(Ordering::Relaxed))),
        die: || (),
    };
    // Its clock stands still, so it is at its task until somebody stops it.
    let sheet = Sheet { work_ms: 3_600_000, ..Sheet::new(R1.parse().unwrap(), Version::V3) };
    let robot = tokio::spawn(run(Machine::new(sheet), options, stopped));
    until(|| linked.fit().iter().any(|fit| fit.id == R1 && !fit.busy)).await;
    linked.give(R1, &order(2, Verb::Torque), TaskId(2));
    until(|| linked.said().iter().any(|said| said.what == Word::Started)).await;
    assert!(!linked.has_stopped(R1, TaskId(2)));
    linked.stored(&linked.said());
    // It is its own: nothing is asked of it. What the link was told stands in the session.
    let cancelling = async || {
        let session = handle.export().await.unwrap().remove(R1).unwrap();
        session["current"]["cancelling"].as_bool()
    };
    linked.take_back(&BTreeMap::from([(TaskId(2), R1.to_owned())]));
    assert_eq!(cancelling().await, Some(false));
    // Given to another, it is not.
    linked.take_back(&BTreeMap::from([(TaskId(2), R9.to_owned())]));
    assert_ne!(cancelling().await, Some(false));
    until(|| linked.said().iter().any(|said| said.what == Word::Lost { why: "cancelled".to_owned(), stands: true }))
        .await;
    until(|| linked.has_stopped(R1, TaskId(2))).await;
    // The next start takes the session up.
    while !kept(&site.store).await.unwrap().contains_key(R1) {
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    robot.await.unwrap().unwrap();
    handle.stop().unwrap();
    keeping.await.unwrap();
}
