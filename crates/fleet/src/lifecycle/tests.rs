//! Each state: what it waits for, asks for, and what holds it.

use super::*;
use crate::machine::MachineKind;
use crate::observed::*;
use crate::order::{OrderKind, OrderState};
use types::{AcceptanceId, MachineId};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// One machine and what is seen of it.
struct Rig {
    spec: Spec,
    machine: Machine,
    seen: Observed,
    rules: Rules,
    now: UnixMillis,
}

fn inventory() -> Inventory {
    let gpu = |n: u32| Part { kind: "gpu".into(), model: "B200".into(), serial: format!("G{n}"), healthy: true };
    Inventory {
        serial: "S1".into(),
        power: Power::Off,
        parts: (1..=2).map(|n| (format!("gpu{n}"), gpu(n))).collect(),
        firmware: [("bmc".to_owned(), "1.0".to_owned())].into(),
        ..Inventory::default()
    }
}

fn rig() -> Rig {
    let spec = Spec {
        generation: 1,
        kind: MachineKind::DgxB200,
        slot: "hall-1/row-a/rack-01/u11".into(),
        unit: "su-01".into(),
        domains: vec!["leaf-12".into()],
        zone: None,
        serials: [("chassis", "S1"), ("gpu1", "G1"), ("gpu2", "G2")].map(|(a, b)| (a.into(), b.into())).into(),
        parts: [("gpu".to_owned(), 2)].into(),
        firmware: [("bmc".to_owned(), "2.0".to_owned())].into(),
        secure_boot: None,
        suite: "burn-in".into(),
        wanted: true,
        drain: None,
    };
    let now = UnixMillis(1_000 * HOUR);
    let machine = Machine::planned(MachineId(1), now);
    Rig { spec, machine, seen: Observed::default(), rules: Rules::default(), now }
}

impl Rig {
    fn step(&mut self) -> Vec<Action> {
        let step = step(&self.spec, &self.machine, &self.seen, &self.rules, self.now);
        self.machine = step.next;
        self.seen.events.drain(..step.events_taken);
        step.actions
    }

    /// Steps and checks state and actions.
    fn check(&mut self, state: Lifecycle, actions: &[Action]) {
        let asked = self.step();
        assert_eq!((self.machine.lifecycle, asked.as_slice()), (state, actions), "{}", self.machine.reason);
    }

    fn held(&mut self, state: Lifecycle, code: &str, text: &str) {
        let asked = self.step();
        assert_eq!(self.machine.lifecycle, state);
        let hold = self.machine.hold.clone().unwrap_or_else(|| panic!("not held: {}", self.machine.reason));
        assert_eq!(hold.code, code, "{}", hold.text);
        assert!(hold.text.contains(text), "{}", hold.text);
        assert!(asked.contains(&Action::Page { finding: hold }), "{asked:?}");
    }

    fn after(&mut self, millis: i64) {
        self.now = UnixMillis(self.now.0 + millis);
    }

    fn order(&mut self, state: OrderState) {
        self.seen.order = Some(OrderSeen { entry: self.machine.entry, state, finding: None });
    }

    fn scan(&mut self, serial: &str) {
        self.seen.custody = Some(Custody { serial: serial.into(), by: "tok_ann".into(), at: self.now, photo: None });
    }

    fn bmc(&mut self, change: impl Fn(&mut Inventory)) {
        let mut seen = self.seen.bmc.take().map_or_else(inventory, |bmc| bmc.inventory);
        change(&mut seen);
        self.seen.bmc = Some(BmcSeen { at: self.now, silent_since: None, inventory: seen });
    }

    fn agent(&mut self) {
        let gpu = |n: u32| GpuSeen { index: n - 1, serial: format!("G{n}"), nvlinks_up: 18, ..GpuSeen::default() };
        self.seen.agent = Some(AgentSeen {
            at: self.now,
            serial: "S1".into(),
            driver: "570.1".into(),
            gpus: (1..=2).map(|n| (format!("GPU-{n}"), gpu(n))).collect(),
            clock_skew_ms: 3,
        });
    }

    fn validation(&mut self, outcome: TestOutcome) {
        let test = TestResult {
            name: "nvbandwidth".into(),
            outcome,
            threshold: ">= 2400 GB/s".into(),
            value: "1800 GB/s".into(),
            millis: 5,
        };
        self.seen.validation = Some(Validation {
            suite: "burn-in".into(),
            entry: self.machine.entry,
            attempt: self.machine.attempt,
            begun_at: self.now,
            ended_at: Some(self.now),
            tests: vec![test],
        });
    }

    fn certified(&mut self, sealed: bool) {
        let certificate = AcceptanceId(u128::from(self.machine.entry));
        self.seen.certified = Some(Certified { entry: self.machine.entry, certificate, sealed });
    }

    /// From wherever it is before it to this state, without checks.
    fn to(mut self, state: Lifecycle) -> Rig {
        while self.machine.lifecycle != state {
            self.after(MINUTE);
            match self.machine.lifecycle {
                Lifecycle::Planned => self.scan("S1"),
                Lifecycle::Installed => self.bmc(|it| it.power = Power::On),
                Lifecycle::Powered => {
                    self.bmc(|it| _ = it.firmware.insert("bmc".into(), "2.0".into()));
                    self.agent();
                }
                Lifecycle::Provisioned => self.validation(TestOutcome::Passed),
                Lifecycle::Validated => self.certified(true),
                _ => {}
            }
            self.order(OrderState::Done);
            self.step();
            assert_eq!(self.machine.hold, None);
        }
        self
    }
}

fn open(kind: OrderKind) -> Action {
    Action::OpenOrder { kind }
}

#[test]
fn from_the_pallet_to_capacity() {
    use Lifecycle::{Accepted, Installed, Planned, Powered, Provisioned, Received, Validated};
    let mut rig = rig();
    rig.check(Planned, &[open(OrderKind::Receive)]);
    // Asked for until it is seen.
    rig.check(Planned, &[open(OrderKind::Receive)]);
    rig.order(OrderState::Open);
    rig.check(Planned, &[]);
    rig.scan("S1");
    rig.order(OrderState::Done);
    rig.check(Received, &[]);
    rig.check(Received, &[open(OrderKind::Install)]);
    rig.order(OrderState::Done);
    rig.check(Installed, &[]);
    rig.check(Installed, &[Action::ReadInventory]);
    rig.bmc(|_| {});
    rig.check(Installed, &[Action::PowerOn, Action::ReadInventory]);
    rig.bmc(|it| it.power = Power::On);
    rig.check(Powered, &[]);
    rig.check(Powered, &[Action::UpdateFirmware { components: vec!["bmc".into()] }, Action::ReadInventory]);
    rig.bmc(|it| _ = it.firmware.insert("bmc".into(), "2.0".into()));
    rig.check(Powered, &[Action::Provision]);
    rig.agent();
    rig.check(Provisioned, &[]);
    rig.check(Provisioned, &[Action::Validate { suite: "burn-in".into() }]);
    // And on, while it runs: an agent that is started anew in the middle of it knows nothing of it.
    rig.validation(TestOutcome::Passed);
    rig.seen.validation.as_mut().unwrap().ended_at = None;
    rig.check(Provisioned, &[Action::Validate { suite: "burn-in".into() }]);
    rig.validation(TestOutcome::Passed);
    rig.check(Validated, &[]);
    rig.check(Validated, &[Action::Certify]);
    rig.certified(false);
    rig.check(Validated, &[Action::Certify]);
    rig.certified(true);
    rig.check(Accepted, &[]);
    assert_eq!(rig.machine.scheduling, Scheduling::Open);
    assert_eq!(rig.machine.entry, 7);
    rig.check(Accepted, &[]);
    assert_eq!((rig.machine.scheduling, rig.machine.health), (Scheduling::Open, Health::Healthy));
}

/// What would be drained in service never becomes capacity, whatever its tests said an hour ago.
#[test]
fn what_is_wrong_now_is_not_certified() {
    let mut rig = rig().to(Lifecycle::Validated);
    rig.seen.agent.as_mut().unwrap().gpus.get_mut("GPU-2").unwrap().nvlinks_up = 0;
    rig.certified(true);
    rig.held(Lifecycle::Validated, "nvlink_down", "gpu2: 0 of 18 NVLinks are up");
    rig.agent();
    rig.check(Lifecycle::Accepted, &[]);
}

#[test]
fn another_serial_is_held_with_the_difference_until_it_is_mended() {
    let mut rig = rig();
    rig.scan("S2");
    rig.order(OrderState::Done);
    rig.held(Lifecycle::Planned, "serial_differs", "chassis: wanted S1, found S2 (scanned by tok_ann)");
    let first = rig.machine.hold.clone();
    rig.after(HOUR);
    rig.held(Lifecycle::Planned, "serial_differs", "S2");
    assert_eq!(rig.machine.hold, first, "a hold keeps the time at which it began");
    // A release alone mends nothing.
    rig.machine = release(&rig.machine, "ann", "looks fine", rig.now).unwrap();
    rig.held(Lifecycle::Planned, "serial_differs", "S2");
    rig.scan("S1");
    rig.check(Lifecycle::Received, &[]);
    assert_eq!(rig.machine.hold, None);
}

#[test]
fn one_gpu_that_is_not_the_bills_is_held_with_the_difference() {
    let mut rig = rig().to(Lifecycle::Powered);
    rig.bmc(|it| it.parts.get_mut("gpu2").unwrap().serial = "G9".into());
    rig.held(Lifecycle::Powered, "serial_differs", "gpu2: wanted G2, found G9");
    assert_eq!(rig.machine.hold.as_ref().unwrap().about, "gpu2");
}

/// What the driver reads is compared with the bill as well, where the bill names every GPU.
#[test]
fn a_gpu_that_the_driver_reads_otherwise_is_held_with_the_difference() {
    let exchanged = |it: &mut Rig| it.seen.agent.as_mut().unwrap().gpus.get_mut("GPU-2").unwrap().serial = "G9".into();
    let mut rig = rig().to(Lifecycle::Powered);
    rig.bmc(|it| _ = it.firmware.insert("bmc".into(), "2.0".into()));
    rig.agent();
    exchanged(&mut rig);
    rig.held(Lifecycle::Powered, "serial_differs", "gpu2: wanted G2, found G9 (read by its agent)");
    assert_eq!(rig.machine.hold.as_ref().unwrap().about, "gpu2");
    // The bill names one of two, so nobody knows what the other is.
    let bill = rig.spec.serials.remove("gpu2");
    rig.check(Lifecycle::Provisioned, &[]);
    // In service it closes the machine.
    rig.spec.serials.extend(bill.map(|serial| ("gpu2".to_owned(), serial)));
    rig.agent();
    let mut rig = rig.to(Lifecycle::Accepted);
    exchanged(&mut rig);
    rig.held(Lifecycle::Accepted, "serial_differs", "gpu2: wanted G2, found G9");
    assert_eq!(rig.machine.scheduling, Scheduling::Cordoned);
    rig.agent();
    rig.check(Lifecycle::Accepted, &[]);
    assert_eq!(rig.machine.scheduling, Scheduling::Open);
}

#[test]
fn a_boot_that_is_not_secured_is_held_where_the_site_file_asks() {
    let mut rig = rig().to(Lifecycle::Powered);
    rig.bmc(|it| _ = it.firmware.insert("bmc".into(), "2.0".into()));
    rig.bmc(|it| it.secure_boot = Some(false));
    rig.check(Lifecycle::Powered, &[Action::Provision]);
    rig.spec.secure_boot = Some(true);
    rig.held(Lifecycle::Powered, "secure_boot_differs", "secure boot: wanted on, found off");
    // A BMC that does not say is an inventory that is not complete.
    rig.bmc(|it| it.secure_boot = None);
    rig.check(Lifecycle::Powered, &[Action::ReadInventory]);
    assert!(rig.machine.reason.contains("secure boot: wanted on, found nothing"), "{}", rig.machine.reason);
    rig.bmc(|it| it.secure_boot = Some(true));
    let mut rig = rig.to(Lifecycle::Accepted);
    rig.bmc(|it| it.secure_boot = Some(false));
    rig.held(Lifecycle::Accepted, "secure_boot_differs", "wanted on, found off");
}

/// In service a link that is down for long drains; before, nobody would look for four days.
#[test]
fn a_link_that_stays_down_holds_a_machine_that_is_not_accepted() {
    let link = |up: bool| {
        let (domain, port) = ("leaf-12".to_owned(), "p".to_owned());
        if up { EventKind::LinkUp { domain, port } } else { EventKind::LinkDown { domain, port } }
    };
    for state in [Lifecycle::Provisioned, Lifecycle::Validated] {
        let mut rig = rig().to(state);
        rig.seen.events.push(Event { at: rig.now, what: link(false) });
        rig.check(state, &[]);
        assert!(rig.machine.reason.contains("its link to leaf-12 is down"), "{}", rig.machine.reason);
        rig.after(diagnosis::LINK_MILLIS_MAX);
        rig.agent();
        // A certificate that is there does not help.
        rig.certified(true);
        rig.check(state, &[]);
        rig.after(1);
        rig.agent();
        rig.held(state, "link_down", "its link to leaf-12 is down");
        rig.seen.events.push(Event { at: rig.now, what: link(true) });
        rig.step();
        assert_eq!(rig.machine.hold, None);
    }
}

/// Every state's limit at its edge: until it is over nothing is said, and then `time_limit` with what it waits for.
#[test]
fn every_state_is_held_when_its_time_is_over() {
    use Lifecycle::{Drain, Installed, Planned, Powered, Provisioned, Received, Repair, Retired, Validated};
    let quiet = |_: &mut Rig| {};
    let check = |state: Lifecycle, prepare: &dyn Fn(&mut Rig), reason: &str| {
        let mut rig = match state {
            Repair => {
                let mut rig = rig().to(Validated);
                rig.machine = send_to_repair(&rig.machine, "gpu1", "ann", "it smells", rig.now).unwrap();
                rig
            }
            Retired => {
                let mut rig = rig().to(Received);
                rig.spec.wanted = false;
                rig.step();
                rig
            }
            state => rig().to(state),
        };
        assert_eq!(rig.machine.lifecycle, state);
        let since = rig.machine.since;
        let limit = rig.rules.limits.of(state).unwrap();
        for (at, held) in [(limit - 1, false), (limit, false), (limit + 1, true)] {
            rig.now = UnixMillis(since.0 + at);
            prepare(&mut rig);
            rig.step();
            assert_eq!(rig.machine.lifecycle, state);
            match rig.machine.hold.as_ref().filter(|_| held) {
                Some(hold) => {
                    assert_eq!(hold.code, "time_limit", "{state}");
                    let text = format!("longer than {} h in {state}: {reason}", limit / HOUR);
                    assert_eq!(hold.text, text);
                }
                None => assert_eq!((&rig.machine.hold, held), (&None, false), "{state} at {at} of {limit}"),
            }
        }
        // A person's release begins the time anew.
        rig.machine = release(&rig.machine, "ann", "it is on its way", rig.now).unwrap();
        rig.after(limit);
        prepare(&mut rig);
        rig.step();
        assert_eq!(rig.machine.hold, None, "{state} after a release");
    };
    let at_work = |rig: &mut Rig| rig.order(OrderState::Open);
    // Everybody reports, and nothing comes of it.
    let alive = |rig: &mut Rig| {
        rig.bmc(|_| {});
        rig.agent();
    };
    check(Planned, &at_work, "its order is at work: receive");
    check(Received, &at_work, "its order is at work: install");
    check(Installed, &quiet, "waits for its BMC to answer");
    let no_agent = |rig: &mut Rig| {
        rig.bmc(|it| _ = it.firmware.insert("bmc".into(), "2.0".into()));
        rig.seen.agent = None;
    };
    check(Powered, &no_agent, "waits for its agent to enrol");
    check(Provisioned, &alive, "validation is to begin: burn-in");
    check(Validated, &alive, "its certificate is to be signed");
    check(Repair, &at_work, "its order is at work: repair, for sent to repair by ann: it smells");
    check(Retired, &at_work, "its order is at work: remove");
    // A drain is not held by a program that does not end: it goes on to its repair.
    let mut rig = rig().to(Lifecycle::Accepted);
    (rig.spec.drain, rig.seen.running) = (Some("fans".to_owned()), 3);
    rig.step();
    let (since, limit) = (rig.machine.since, rig.rules.limits.of(Drain).unwrap());
    for (at, state) in [(limit - 1, Drain), (limit, Drain), (limit + 1, Repair)] {
        rig.now = UnixMillis(since.0 + at);
        rig.step();
        assert_eq!((rig.machine.lifecycle, &rig.machine.hold), (state, &None), "at {at}");
    }
    // Nobody is late who is in service.
    assert_eq!(rig.rules.limits.of(Lifecycle::Accepted), None);
}

/// What a BMC says is staged, or says is done and does not show, takes effect at a restart: one, when all of it is there.
#[test]
fn staged_firmware_is_restarted_for_once() {
    let mut rig = rig().to(Lifecycle::Powered);
    rig.spec.firmware.insert("bios".into(), "5".into());
    rig.bmc(|it| _ = it.firmware.insert("bios".into(), "4".into()));
    let update = |names: &[&str]| {
        let components = names.iter().map(|name| (*name).to_owned()).collect();
        [Action::UpdateFirmware { components }, Action::ReadInventory]
    };
    rig.check(Lifecycle::Powered, &update(&["bios", "bmc"]));
    let updates = |rig: &Rig, bios: UpdateState, bmc: UpdateState, restarted_at| {
        let update = |state| Update { at: rig.now, state, task: None };
        let components = [("bios".to_owned(), update(bios)), ("bmc".to_owned(), update(bmc))].into();
        let (entry, attempt) = (rig.machine.entry, rig.machine.attempt);
        Some(Updates { entry, attempt, components, restarted_at })
    };
    // One is still flashed: nobody restarts it.
    rig.seen.updates = updates(&rig, UpdateState::Running, UpdateState::Staged, None);
    rig.check(Lifecycle::Powered, &update(&["bios"]));
    // The other is said to be done; whether it waits shows in an inventory of some time afterwards only.
    rig.seen.updates = updates(&rig, UpdateState::Ended, UpdateState::Staged, None);
    rig.check(Lifecycle::Powered, &[Action::ReadInventory]);
    rig.after(powered::SETTLE_MILLIS);
    rig.bmc(|_| {});
    rig.check(Lifecycle::Powered, &[Action::ReadInventory]);
    rig.after(1);
    rig.check(Lifecycle::Powered, &[Action::ReadInventory]);
    rig.bmc(|_| {});
    rig.check(Lifecycle::Powered, &[Action::PowerCycle, Action::ReadInventory]);
    assert!(rig.machine.reason.ends_with("staged, it is restarted"), "{}", rig.machine.reason);
    // Done: no second one, however long it takes.
    rig.seen.updates.as_mut().unwrap().restarted_at = Some(rig.now);
    rig.check(Lifecycle::Powered, &[Action::ReadInventory]);
    rig.bmc(|it| it.firmware.extend([("bios".to_owned(), "5".to_owned()), ("bmc".to_owned(), "2.0".to_owned())]));
    rig.check(Lifecycle::Powered, &[Action::Provision]);
    // What failed is said, and keeps the restart back; what another attempt was asked for counts for nothing.
    rig.bmc(|it| it.firmware.extend([("bios".to_owned(), "4".to_owned()), ("bmc".to_owned(), "1.0".to_owned())]));
    let failed = UpdateState::Failed("the image is for another machine".to_owned());
    rig.seen.updates = updates(&rig, UpdateState::Staged, failed, None);
    rig.check(Lifecycle::Powered, &update(&["bmc"]));
    let why = "bmc: its update failed: the image is for another machine";
    assert!(rig.machine.reason.contains(why), "{}", rig.machine.reason);
    rig.seen.updates.as_mut().unwrap().attempt += 1;
    rig.check(Lifecycle::Powered, &update(&["bios", "bmc"]));
}

/// A BMC may show a version before it is done with it, and calls staged what only waits for another: who restarts the machine
/// meanwhile may have to send it back.
#[test]
fn nobody_restarts_or_installs_a_machine_that_is_flashed() {
    let mut rig = rig().to(Lifecycle::Powered);
    rig.spec.firmware.insert("bios".into(), "5".into());
    let shown = |rig: &mut Rig, bios: &str| {
        rig.bmc(|it| it.firmware.extend([("bios".to_owned(), bios.to_owned()), ("bmc".to_owned(), "2.0".to_owned())]));
    };
    let updates = |rig: &Rig, bios: UpdateState, bmc: UpdateState| {
        let update = |state| Update { at: rig.now, state, task: None };
        let components = [("bios".to_owned(), update(bios)), ("bmc".to_owned(), update(bmc))].into();
        let (entry, attempt) = (rig.machine.entry, rig.machine.attempt);
        Some(Updates { entry, attempt, components, restarted_at: None })
    };
    let (read, restart) = ([Action::ReadInventory], [Action::PowerCycle, Action::ReadInventory]);
    rig.seen.updates = updates(&rig, UpdateState::Staged, UpdateState::Running);
    rig.after(powered::SETTLE_MILLIS);
    shown(&mut rig, "4");
    rig.check(Lifecycle::Powered, &read);
    // As it shall be, it is installed when nothing is flashed any more.
    shown(&mut rig, "5");
    rig.check(Lifecycle::Powered, &read);
    assert_eq!(rig.machine.reason, "its BMC still updates bmc");
    rig.seen.updates = updates(&rig, UpdateState::Staged, UpdateState::Ended);
    rig.after(powered::SETTLE_MILLIS - 1);
    rig.check(Lifecycle::Powered, &read);
    rig.after(1);
    rig.check(Lifecycle::Powered, &[Action::Provision]);
    // What has not begun may begin by itself.
    rig.seen.updates = updates(&rig, UpdateState::Staged, UpdateState::Ended);
    rig.after(powered::SETTLE_MILLIS - 1);
    shown(&mut rig, "4");
    rig.check(Lifecycle::Powered, &read);
    rig.after(1);
    rig.check(Lifecycle::Powered, &restart);
}

/// A suite that its agent does not know is told to it no more; a person makes it known, or names another.
#[test]
fn a_suite_that_its_agent_refuses_holds_the_machine() {
    let mut rig = rig().to(Lifecycle::Provisioned);
    let ask = [Action::Validate { suite: "burn-in".into() }];
    rig.check(Lifecycle::Provisioned, &ask);
    let refused = |rig: &Rig, suite: &str| {
        let (entry, attempt, at) = (rig.machine.entry, rig.machine.attempt, rig.now);
        let text = format!("no suite is called {suite:?}");
        Some(SuiteRefused { suite: suite.into(), entry, attempt, text, at })
    };
    // Of a suite that is not asked for any more.
    rig.seen.refused = refused(&rig, "other");
    rig.check(Lifecycle::Provisioned, &ask);
    rig.seen.refused = refused(&rig, "burn-in");
    let text = "its agent does not begin burn-in: no suite is called";
    rig.held(Lifecycle::Provisioned, "suite_refused", text);
    let asked = rig.step();
    assert!(!asked.contains(&ask[0]), "{asked:?}");
    // Released, it is asked once more, under another attempt.
    rig.machine = release(&rig.machine, "ann", "the agent is a newer one", rig.now).unwrap();
    rig.check(Lifecycle::Provisioned, &ask);
    assert_eq!(rig.machine.hold, None);
    // A run that began says more than a refusal.
    rig.seen.refused = refused(&rig, "burn-in");
    rig.validation(TestOutcome::Passed);
    rig.check(Lifecycle::Validated, &[]);
}

#[test]
fn why_a_bmc_does_not_answer_is_said_where_it_is_waited_for() {
    let mut rig = rig().to(Lifecycle::Installed);
    rig.check(Lifecycle::Installed, &[Action::ReadInventory]);
    assert_eq!(rig.machine.reason, "waits for its BMC to answer");
    let (kind, text) = ("credentials".to_owned(), "credentials refused at /redfish/v1\u{7}".to_owned());
    rig.seen.bmc_trouble = Some(BmcTrouble { kind, text, since: rig.now, next_try: Some(rig.now) });
    rig.check(Lifecycle::Installed, &[Action::ReadInventory]);
    assert_eq!(rig.machine.reason, "waits for its BMC to answer: credentials refused at /redfish/v1 ");
}
