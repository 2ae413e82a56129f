//! Brings a fleet from planned to accepted with work that takes no time: what the control plane alone can do, in machines a
//! minute. Real store, real reconcilers, real sealer; BMCs, agents and people answer at once and without a network. Then it
//! lets the fleet stand, with agents that say that they are there, and tells what that costs.
//!
//! `cargo run -p controller --release --example rolling FOLDER MACHINES`, FOLDER being there and empty.

use controller::reconcile::orders::{NoRobots, apply};
use controller::reconcile::{Reconciler, ReconcilerParts, Wants};
use controller::seal::{SealerParts, recover, seal_once};
use fleet::action::Action;
use fleet::machine::{Lifecycle, Machine, MachineKind, Spec};
use fleet::observed::*;
use fleet::order::{Assignee, Event, Evidence, Order, TaskState, Verb};
use ledger::key::SigningKey;
use ledger::log::LogSigner;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::tiles::TileFiles;
use store::{Observation, OrderRow, SiteChange, Store};
use types::audit::AuditEntry;
use types::{AuditId, MachineId, UnixMillis};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// People who work at once.
const PEOPLE: usize = 32;
/// How long the fleet stands while its cost is measured.
const STANDS: Duration = Duration::from_secs(20);

fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(since.as_millis() as i64)
}

fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system has randomness");
}

fn serial(machine: MachineId) -> String {
    format!("S{}", machine.0)
}

fn spec(n: usize) -> Spec {
    Spec {
        generation: 1,
        kind: MachineKind::DgxB200,
        slot: format!("h1/r{:02}/k{n:04}/u01", n / 40),
        unit: format!("su{:02}", n / 32),
        domains: vec![format!("leaf-{}", n / 32), "ups-a".to_owned()],
        zone: None,
        serials: BTreeMap::new(),
        parts: BTreeMap::from([("gpu".to_owned(), 8)]),
        firmware: BTreeMap::from([("HostBMC_0".to_owned(), "1".to_owned())]),
        secure_boot: None,
        suite: "short".to_owned(),
        wanted: true,
        drain: None,
    }
}

fn entry(action: &str) -> AuditEntry {
    let mut bytes = [0; 10];
    random(&mut bytes);
    AuditEntry {
        id: AuditId::from_parts(now(), bytes),
        at: now(),
        actor: "operator".to_owned(),
        action: action.to_owned(),
        object: "it".to_owned(),
        tenant: None,
        detail: "{}".to_owned(),
    }
}

fn bmc(id: MachineId, on: bool) -> Observation {
    let gpu = |n: u8| {
        let part = Part { kind: "gpu".into(), model: "B200".into(), serial: format!("G{}-{n}", id.0), healthy: true };
        (format!("gpu{n}"), part)
    };
    let inventory = Inventory {
        serial: serial(id),
        power: if on { Power::On } else { Power::Off },
        parts: (1..=8).map(gpu).collect(),
        firmware: BTreeMap::from([("HostBMC_0".to_owned(), "1".to_owned())]),
        ..Inventory::default()
    };
    Observation::Bmc(BmcSeen { at: now(), silent_since: None, inventory })
}

fn agent(id: MachineId) -> Observation {
    let gpu = |n: u32| (format!("GPU-{n}"), GpuSeen { index: n, nvlinks_up: 18, ..GpuSeen::default() });
    let gpus = (0..8).map(gpu).collect();
    let seen = AgentSeen { at: now(), serial: serial(id), driver: "580".into(), gpus, clock_skew_ms: 0 };
    Observation::Agent(seen)
}

fn validation(suite: &str, entry: u64, attempt: u32) -> Observation {
    let test = |n: u8| TestResult {
        name: format!("test {n}"),
        outcome: TestOutcome::Passed,
        threshold: ">= 1 GB/s".to_owned(),
        value: "9 GB/s".to_owned(),
        millis: 1,
    };
    let tests = (0..12).map(test).collect();
    let (begun_at, ended_at) = (now(), Some(now()));
    Observation::Validation(Validation { suite: suite.to_owned(), entry, attempt, begun_at, ended_at, tests })
}

/// What machines answer to what they want, at once.
fn answers(wants: &Wants, on: &mut BTreeSet<MachineId>) -> Vec<(MachineId, UnixMillis, Observation)> {
    let mut seen = Vec::new();
    for wanted in wants.picked(|_| true) {
        let id = wanted.machine;
        for action in &wanted.actions {
            match action {
                Action::PowerOn => drop(on.insert(id)),
                Action::ReadInventory => seen.push((id, now(), bmc(id, on.contains(&id)))),
                Action::Provision => seen.push((id, now(), agent(id))),
                Action::Validate { suite } => {
                    seen.push((id, now(), validation(suite, wanted.entry, wanted.attempt)));
                }
                _ => {}
            }
        }
        if wanted.actions.contains(&Action::PowerOn) {
            seen.push((id, now(), bmc(id, true)));
        }
    }
    seen
}

/// A person does all of an order that can be done now.
async fn work(store: &Store, mut row: OrderRow) -> Result<u32, Failed> {
    let mut deeds = 0;
    loop {
        let Some(event) = next(&row.order) else { return Ok(deeds) };
        let order = match apply(store, &row, &event, Some(&entry("task.update")), now()).await {
            Ok(order) => order,
            // Somebody works in this zone; the next round comes by again.
            Err(_) => return Ok(deeds),
        };
        deeds += 1;
        row = OrderRow { order, version: row.version + 1 };
    }
}

fn next(order: &Order) -> Option<Event> {
    let task = order.tasks.iter().find(|task| task.state != TaskState::Done)?;
    let (id, by) = (task.id, Assignee::Person("tok_a".to_owned()));
    let show = |kind: &str, value: &str| Evidence {
        kind: kind.to_owned(),
        value: value.to_owned(),
        sha256: Some("ab".repeat(32)),
        by: "tok_a".to_owned(),
        at: now(),
    };
    let evidence = match task.verb {
        Verb::Scan | Verb::Swap => vec![show("scan", &serial(order.machine))],
        Verb::Photograph => vec![show("photo", "a.jpg")],
        Verb::Torque => vec![show("torque", "5.0")],
        _ => Vec::new(),
    };
    match task.state {
        TaskState::Held if task.confirmed_by.is_empty() => Some(Event::Confirm { task: id, by: "tok_a".to_owned() }),
        TaskState::Held => Some(Event::Confirm { task: id, by: "tok_b".to_owned() }),
        TaskState::Ready => Some(Event::Assign { task: id, to: by }),
        TaskState::Assigned => Some(Event::Start { task: id, by }),
        TaskState::Running => Some(Event::Done { task: id, by, evidence }),
        _ => None,
    }
}

/// User and system time of this process so far.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit_once(") ").map_or("", |(_, after)| after);
    let ticks: u64 = after.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn resident_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4 / 1024
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut words = std::env::args().skip(1);
    let folder = words.next().ok_or("say a folder")?;
    let machines: usize = words.next().ok_or("say how many machines")?.parse()?;
    let folder = Path::new(&folder);
    let store = Store::open(&format!("sqlite://{}", folder.join("hoheit.db").display())).await?;
    let signer = Arc::new(LogSigner::new("log.hoheit.invalid/bench", SigningKey::from_seed(&[2; 32])?)?);
    let tiles = TileFiles::open(folder.join("log"))?;
    let sealer = SealerParts { store: store.clone(), tiles, signer, progress: Default::default(), fault: None };
    recover(&sealer).await?;
    let wants = Wants::default();
    let parts = ReconcilerParts {
        store: store.clone(),
        site: "bench".to_owned(),
        key: Arc::new(SigningKey::from_seed(&[1; 32])?),
        clock: Arc::new(now),
        random: Arc::new(random),
        rules: Default::default(),
        drains: Default::default(),
        orders: Default::default(),
        wants: wants.clone(),
        robots: Arc::new(NoRobots),
        counts: Default::default(),
        fault: None,
    };
    let add = (0..machines).map(|n| (spec(n), Machine::planned(MachineId(n as u128 + 1), now()))).collect();
    store
        .site_apply(("", None), "sha256:00", now(), &SiteChange { add, change: Vec::new() }, &entry("site.apply"))
        .await?;
    let mut reconciler = Reconciler::start(parts).await?;

    let (begin, spent) = (Instant::now(), cpu());
    let (mut on, mut deeds, mut steps) = (BTreeSet::new(), 0, 0);
    loop {
        loop {
            let pass = reconciler.turn().await?;
            steps += pass.machines;
            if !pass.more {
                break;
            }
        }
        let counts = store.machine_counts().await?;
        let open = counts.iter().filter(|count| count.scheduling == "open");
        if open.map(|count| count.machines).sum::<u64>() == machines as u64 {
            break;
        }
        let seen = answers(&wants, &mut on);
        if !seen.is_empty() {
            store.observe(&seen).await?;
        }
        let mut people = tokio::task::JoinSet::new();
        let mut after = None;
        loop {
            let orders = store.orders(after, Some("open"), 1_000).await?;
            let Some(last) = orders.last() else { break };
            after = Some(last.order.id);
            for row in orders {
                while people.len() >= PEOPLE {
                    if let Some(done) = people.join_next().await {
                        deeds += done??;
                    }
                }
                let store = store.clone();
                people.spawn(async move { work(&store, row).await });
            }
        }
        while let Some(done) = people.join_next().await {
            deeds += done??;
        }
        while seal_once(&sealer).await? > 0 {}
    }
    let (took, used) = (begin.elapsed().as_secs_f64(), (cpu() - spent).as_secs_f64());
    println!(
        "{{\"machines\":{machines},\"seconds\":{took:.1},\"machines_per_minute\":{:.0},\"cpu_seconds\":{used:.1},\
         \"steps\":{steps},\"deeds\":{deeds},\"resident_mib\":{}}}",
        machines as f64 / took * 60.0,
        resident_mib()
    );

    // Standing: nothing happens but time; presence is written twice a minute, here once in the span.
    let (begin, spent, mut steps) = (Instant::now(), cpu(), 0);
    let mut told = false;
    while begin.elapsed() < STANDS {
        if !told && begin.elapsed() > STANDS / 2 {
            let heard: Vec<_> = (1..=machines).map(|n| (MachineId(n as u128), now())).collect();
            store.agents_alive(&heard).await?;
            told = true;
        }
        steps += reconciler.turn().await?.machines;
        tokio::time::sleep(controller::reconcile::INTERVAL).await;
    }
    let accepted = store.machines(None, Some(Lifecycle::Accepted.as_str()), 1_000).await?.len();
    println!(
        "{{\"standing_seconds\":{},\"steps\":{steps},\"core\":{:.3},\"accepted_of_first_1000\":{accepted}}}",
        STANDS.as_secs(),
        (cpu() - spent).as_secs_f64() / begin.elapsed().as_secs_f64()
    );
    Ok(())
}
