//! The world that the reconcilers are tried on: a site with machines whose BMCs, agents and people do what is wanted of them.

use crate::site::{START, Site};
use controller::reconcile::orders::{NoRobots, apply};
use controller::reconcile::{Reconciler, ReconcilerParts, Wants};
use controller::seal::{recover, seal_once};
use fleet::action::Action;
use fleet::lifecycle::Rules;
use fleet::machine::{Lifecycle, Machine, MachineKind, Scheduling, Spec};
use fleet::observed::*;
use fleet::order::{Assignee, Event as OrderEvent, Evidence, OrderState, TaskState, Verb};
use ledger::key::SigningKey;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use store::{Observation, SiteChange};
use types::audit::AuditEntry;
use types::{AuditId, MachineId, UnixMillis};

pub fn serial(machine: MachineId) -> String {
    format!("S{}", machine.0)
}

pub fn spec(n: u128) -> Spec {
    Spec {
        generation: 1,
        kind: MachineKind::DgxB200,
        slot: format!("h1/r01/k{n:02}/u01"),
        unit: "su01".to_owned(),
        domains: vec!["leaf-1".to_owned(), "ups-a".to_owned()],
        zone: None,
        serials: BTreeMap::from([("chassis".to_owned(), serial(MachineId(n)))]),
        parts: BTreeMap::from([("gpu".to_owned(), 2)]),
        firmware: BTreeMap::from([("bmc".to_owned(), "2".to_owned())]),
        secure_boot: None,
        suite: "short".to_owned(),
        wanted: true,
        drain: None,
    }
}

pub fn entry(site: &Site, action: &str) -> AuditEntry {
    let mut random = [0; 10];
    getrandom::fill(&mut random).unwrap();
    let at = UnixMillis(site.clock.load(Ordering::Relaxed));
    AuditEntry {
        id: AuditId::from_parts(at, random),
        at,
        actor: "operator".to_owned(),
        action: action.to_owned(),
        object: "it".to_owned(),
        tenant: None,
        detail: "{}".to_owned(),
    }
}

/// The world of a site: machines with a BMC, an agent and people, that do what is wanted of them.
pub struct World {
    pub site: Site,
    pub wants: Wants,
    pub powered: BTreeMap<MachineId, bool>,
    pub firmware: BTreeMap<MachineId, String>,
    /// Firmware that a BMC lists beyond the one that is asked for.
    pub more_firmware: BTreeMap<MachineId, usize>,
    /// Suites print as much as they may.
    pub chatty: bool,
    /// To be stored at the end of a round.
    pub seen: Vec<(MachineId, UnixMillis, Observation)>,
}

impl World {
    pub async fn start(machines: u128) -> World {
        World::of((1..=machines).map(|n| (spec(n), Machine::planned(MachineId(n), UnixMillis(START)))).collect()).await
    }

    pub async fn of(add: Vec<(Spec, Machine)>) -> World {
        let site = Site::start().await;
        let change = SiteChange { add, change: Vec::new() };
        let entry = entry(&site, "site.apply");
        site.store.site_apply(("", None), "sha256:00", UnixMillis(START), &change, &entry).await.unwrap();
        recover(&site.sealer()).await.unwrap();
        World {
            site,
            wants: Wants::default(),
            powered: BTreeMap::new(),
            firmware: BTreeMap::new(),
            more_firmware: BTreeMap::new(),
            chatty: false,
            seen: Vec::new(),
        }
    }

    /// Where this machine's BMC is; its user is `root`, its password `pw`.
    pub async fn bmc_at(&self, machine: MachineId, url: &str) {
        let (username, password) = ("root".to_owned(), "pw".to_owned());
        let row = store::Bmc { machine, url: url.to_owned(), username, password, pin: None };
        self.site.store.bmc_set(&[row], &entry(&self.site, "bmc.set")).await.unwrap();
    }

    pub fn parts(&self) -> ReconcilerParts {
        let clock = self.site.clock.clone();
        ReconcilerParts {
            store: self.site.store.clone(),
            site: "test".to_owned(),
            key: Arc::new(SigningKey::from_seed(&[1; 32]).unwrap()),
            clock: Arc::new(move || UnixMillis(clock.load(Ordering::Relaxed))),
            random: Arc::new(|bytes| getrandom::fill(bytes).unwrap()),
            rules: Rules::default(),
            drains: Default::default(),
            orders: Default::default(),
            wants: self.wants.clone(),
            robots: Arc::new(NoRobots),
            counts: Default::default(),
            fault: None,
        }
    }

    pub fn now(&self) -> UnixMillis {
        UnixMillis(self.site.clock.fetch_add(1_000, Ordering::Relaxed))
    }

    /// Everybody does what is asked of them once.
    pub async fn act(&mut self) {
        self.people().await;
        let machines = self.site.store.machines(None, None, 100).await.unwrap();
        for row in &machines {
            let id = row.machine.id;
            for action in &row.wants {
                match action {
                    Action::PowerOn => drop(self.powered.insert(id, true)),
                    Action::PowerOff => drop(self.powered.insert(id, false)),
                    Action::UpdateFirmware { .. } => drop(self.firmware.insert(id, "2".to_owned())),
                    Action::Provision => self.agent(id),
                    Action::Validate { suite } => {
                        let (entry, attempt) = (row.machine.entry, row.machine.attempt);
                        self.validate(id, suite, entry, attempt);
                    }
                    Action::ReadInventory => self.bmc(id),
                    _ => {}
                }
            }
            if row.machine.lifecycle >= Lifecycle::Powered && row.machine.lifecycle < Lifecycle::Drain {
                self.bmc(id);
                if row.machine.lifecycle >= Lifecycle::Provisioned {
                    self.agent(id);
                }
            }
        }
        self.site.store.observe(&std::mem::take(&mut self.seen)).await.unwrap();
        while seal_once(&self.site.sealer()).await.unwrap() > 0 {}
    }

    pub async fn people(&mut self) {
        let now = self.now();
        for row in self.site.store.orders(None, Some("open"), 100).await.unwrap() {
            let Some(task) = row.order.tasks.iter().find(|task| task.state != TaskState::Done) else { continue };
            let (id, by) = (task.id, Assignee::Person("tok_a".to_owned()));
            let show = |kind: &str, value: &str| Evidence {
                kind: kind.to_owned(),
                value: value.to_owned(),
                sha256: Some("ab".repeat(32)),
                by: "tok_a".to_owned(),
                at: now,
            };
            let machine = self.site.store.machine(row.order.machine).await.unwrap().unwrap();
            let evidence = match task.verb {
                Verb::Scan | Verb::Swap => vec![show("scan", &machine.spec.serials["chassis"])],
                Verb::Photograph => vec![show("photo", "a.jpg")],
                Verb::Torque => vec![show("torque", "5.0")],
                _ => Vec::new(),
            };
            let event = match task.state {
                TaskState::Held => {
                    let by = if task.confirmed_by.is_empty() { "tok_a" } else { "tok_b" };
                    OrderEvent::Confirm { task: id, by: by.to_owned() }
                }
                TaskState::Ready => OrderEvent::Assign { task: id, to: by },
                TaskState::Assigned => OrderEvent::Start { task: id, by },
                TaskState::Running => OrderEvent::Done { task: id, by, evidence },
                state => panic!("{state}"),
            };
            let entry = entry(&self.site, "task.update");
            apply(&self.site.store, &row, &event, Some(&entry), now).await.unwrap();
        }
    }

    pub fn see(&mut self, id: MachineId, what: Observation) {
        self.seen.push((id, self.now(), what));
    }

    pub fn bmc(&mut self, id: MachineId) {
        let gpu = |n: u8| Part {
            kind: "gpu".to_owned(),
            model: "B200".to_owned(),
            serial: format!("G{}-{n}", id.0),
            healthy: true,
        };
        let more = self.more_firmware.get(&id).copied().unwrap_or(0);
        let more = (0..more).map(|n| (format!("component-{n}"), "x".repeat(100)));
        let bmc = self.firmware.get(&id).map_or("1", String::as_str).to_owned();
        let inventory = Inventory {
            serial: serial(id),
            power: if self.powered.get(&id) == Some(&true) { Power::On } else { Power::Off },
            parts: BTreeMap::from([("gpu1".to_owned(), gpu(1)), ("gpu2".to_owned(), gpu(2))]),
            firmware: more.chain([("bmc".to_owned(), bmc)]).collect(),
            ..Inventory::default()
        };
        let at = self.now();
        self.see(id, Observation::Bmc(BmcSeen { at, silent_since: None, inventory }));
    }

    pub fn agent(&mut self, id: MachineId) {
        let gpu = |n| (format!("GPU-{n}"), GpuSeen { index: n, nvlinks_up: 18, ..GpuSeen::default() });
        let seen = AgentSeen {
            at: self.now(),
            serial: serial(id),
            driver: "580".to_owned(),
            gpus: BTreeMap::from([gpu(0), gpu(1)]),
            clock_skew_ms: 0,
        };
        self.see(id, Observation::Agent(seen));
    }

    pub fn validate(&mut self, id: MachineId, suite: &str, entry: u64, attempt: u32) {
        let test = TestResult {
            name: "memory".to_owned(),
            outcome: TestOutcome::Passed,
            threshold: ">= 1 GB/s".to_owned(),
            value: "9 GB/s".to_owned(),
            millis: 1,
        };
        let (begun_at, ended_at) = (self.now(), Some(self.now()));
        let tests = match self.chatty {
            true => vec![TestResult { value: "9".repeat(agent::wire::TEXT_MAX), ..test }; agent::wire::TESTS_MAX],
            false => vec![test],
        };
        let run = Validation { suite: suite.to_owned(), entry, attempt, begun_at, ended_at, tests };
        self.see(id, Observation::Validation(run));
    }

    pub async fn lifecycles(&self) -> Vec<Lifecycle> {
        self.site.store.machines(None, None, 100).await.unwrap().iter().map(|row| row.machine.lifecycle).collect()
    }

    /// What must hold at every moment, whatever crashed.
    pub async fn check(&self, seen: &mut BTreeMap<MachineId, (u64, Lifecycle)>) {
        let store = &self.site.store;
        for row in store.machines(None, None, 100).await.unwrap() {
            let (id, machine) = (row.machine.id, &row.machine);
            if let Some((entry, before)) = seen.insert(id, (machine.entry, machine.lifecycle)) {
                assert!(machine.entry == entry && machine.lifecycle == before || machine.entry > entry, "{id}");
                assert!(
                    machine.entry > entry + 1
                        || machine.lifecycle == before
                        || fleet::lifecycle::legal(before, machine.lifecycle),
                    "{id}: {before} -> {}",
                    machine.lifecycle
                );
            }
            let orders = store.orders_of(id).await.unwrap();
            let open = orders.iter().filter(|row| row.order.state == OrderState::Open).count();
            assert!(open <= 1, "{id} has {open} open orders");
            let certificates = store.acceptances_of(id).await.unwrap();
            if machine.scheduling == Scheduling::Open {
                let holds = certificates.iter().find(|one| Some(one.id) == machine.certificate).unwrap();
                assert!(holds.sealed && machine.lifecycle == Lifecycle::Accepted, "{id}");
            }
        }
    }
}

pub async fn until(world: &mut World, reconciler: &mut Reconciler, done: Lifecycle) {
    let mut seen = BTreeMap::new();
    for _ in 0..300 {
        while reconciler.turn().await.unwrap().more {}
        world.check(&mut seen).await;
        if world.lifecycles().await.iter().all(|state| *state == done) {
            return;
        }
        world.act().await;
    }
    panic!("{:?}", world.site.store.machines(None, None, 100).await.unwrap());
}
