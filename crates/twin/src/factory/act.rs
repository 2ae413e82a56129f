//! What the world does when a step asks for something, and what is seen of it later. As real executors must, it does what
//! is asked for again only once.

use super::clock::{HOUR, MINUTE, SECOND};
use super::world::{What, World};
use fleet::action::Action;
use fleet::lifecycle::Refusal;
use fleet::machine::Scheduling;
use fleet::observed::{Certified, OrderSeen, TestOutcome, TestResult, Validation};
use fleet::order::{self, OrderKind, Work};
use types::{AcceptanceId, OrderId, TaskId, UnixMillis};

/// Asking a BMC for everything.
const READ_MILLIS: i64 = MINUTE;
const POWER_MILLIS: i64 = MINUTE;
/// Signing, and the next checkpoint.
const SEAL_MILLIS: i64 = 2 * SECOND;

pub fn minutes(minutes: f64) -> i64 {
    (minutes * MINUTE as f64).round() as i64
}

pub fn hours(hours: f64) -> i64 {
    (hours * HOUR as f64).round() as i64
}

impl World {
    pub fn act(&mut self, at: usize, action: Action) {
        let times = self.scenario.machines.clone();
        let (entry, attempt) = (self.units[at].machine.entry, self.units[at].machine.attempt);
        let iron = &mut self.units[at].iron;
        let doing = &mut iron.doing;
        match action {
            Action::OpenOrder { kind } => self.open_order(at, kind),
            Action::CancelOrder => self.tell(at, &order::Event::Cancel { why: "not needed any more".to_owned() }),
            Action::ReadInventory => {
                if !std::mem::replace(&mut doing.reading, true) {
                    self.clock.after(READ_MILLIS, What::Read(at));
                }
            }
            Action::PowerOn | Action::PowerOff | Action::PowerCycle => {
                if !std::mem::replace(&mut doing.power, true) {
                    self.clock.after(POWER_MILLIS, What::Power { machine: at, on: action != Action::PowerOff });
                }
            }
            Action::UpdateFirmware { .. } => {
                if !std::mem::replace(&mut doing.flashing, true) {
                    let after = self.dice.about(hours(times.firmware_hours), 0.2);
                    self.clock.after(after, What::Flashed(at));
                }
            }
            Action::Provision => {
                if iron.booted && !std::mem::replace(&mut iron.doing.provisioning, true) {
                    let after = self.dice.about(hours(times.provision_hours), 0.2);
                    self.clock.after(after, What::Provisioned(at));
                }
            }
            Action::Validate { suite } => {
                if iron.agent_speaks() && iron.doing.suite != Some((entry, attempt)) {
                    iron.doing.suite = Some((entry, attempt));
                    let begun_at = self.clock.now;
                    self.units[at].observed.validation =
                        Some(Validation { suite, entry, attempt, begun_at, ended_at: None, tests: Vec::new() });
                    let after = self.dice.about(hours(times.suite_hours), 0.05);
                    self.clock.after(after, What::Suite { machine: at, entry, attempt });
                }
            }
            Action::Certify => {
                if doing.certifying != Some(entry) {
                    doing.certifying = Some(entry);
                    let certificate = AcceptanceId(self.id());
                    self.units[at].observed.certified = Some(Certified { entry, certificate, sealed: false });
                    self.clock.after(SEAL_MILLIS, What::Sealed { machine: at, entry });
                }
            }
            Action::StopWork => {
                if !std::mem::replace(&mut doing.ending, true) {
                    let after = self.dice.wait(minutes(times.work_ends_minutes) as f64);
                    self.clock.after(after, What::Ended(at));
                }
            }
            Action::RestartEngine { gpu, since } => self.measure(at, gpu, since, false),
            Action::ResetGpu { gpu, since } => self.measure(at, gpu, since, true),
            // Told once, by whoever counts findings.
            Action::Page { .. } => {}
        }
    }

    fn measure(&mut self, at: usize, gpu: u32, since: UnixMillis, reset: bool) {
        let measures = &mut self.units[at].iron.doing.measures;
        if !measures.contains(&(gpu, since, reset)) {
            measures.push((gpu, since, reset));
            let after = self.dice.about(2 * MINUTE, 0.5);
            self.clock.after(after, What::Measured { machine: at, gpu, since, reset });
        }
    }

    fn open_order(&mut self, at: usize, kind: OrderKind) {
        let now = self.clock.now;
        let unit = &self.units[at];
        if self.orders.get(at).is_some()
            || unit.observed.order.as_ref().is_some_and(|it| it.entry == unit.machine.entry)
        {
            return;
        }
        let id = OrderId(self.id());
        let unit = &self.units[at];
        let bill = unit.spec.serials.get("chassis").map(String::as_str).filter(|serial| !serial.is_empty());
        let serial = bill.or_else(|| unit.observed.custody.as_ref().map(|it| it.serial.as_str()));
        let faulty = fleet::diagnosis::faulty_parts(&unit.observed);
        let work = Work { spec: &unit.spec, machine: &unit.machine, serial, cables: &unit.cables, faulty: &faulty };
        let ids = &mut self.ids;
        let next = || {
            *ids += 1;
            TaskId(*ids)
        };
        let order = order::make(kind, id, &work, next, now);
        let delivered = unit.iron.delivered;
        self.units[at].observed.order = Some(OrderSeen { entry: order.entry, state: order.state, finding: None });
        self.orders.put(order, delivered);
        self.dispatch_soon();
        self.clock.at(now.0, What::Step(at));
    }

    pub fn powered(&mut self, at: usize, on: bool) {
        let now = self.clock.now;
        let unit = &mut self.units[at];
        unit.iron.doing.power = false;
        // What the agent said last, it said until now.
        unit.iron.refresh(&unit.spec, &mut unit.observed, now);
        let booted = &mut unit.iron.booted;
        *booted &= on && unit.iron.power;
        unit.iron.power = on;
        unit.iron.changed(now);
        if !unit.iron.booted {
            self.cold_start(at);
        }
        if on && !self.units[at].iron.booted {
            let after = self.dice.about(minutes(self.scenario.machines.boot_minutes), 0.2);
            self.clock.after(after, What::Booted(at));
        }
        self.step(at);
    }

    pub fn booted(&mut self, at: usize) {
        let now = self.clock.now;
        let iron = &mut self.units[at].iron;
        if iron.power {
            iron.booted = true;
            iron.changed(now);
            self.links_told(at);
            self.step(at);
        }
    }

    pub fn suite_ends(&mut self, at: usize, entry: u64, attempt: u32) {
        let now = self.clock.now;
        let machines = &self.scenario.machines;
        let unit = &mut self.units[at];
        let ours = |run: &&mut Validation| run.entry == entry && run.attempt == attempt && run.ended_at.is_none();
        let Some(run) = unit.observed.validation.as_mut().filter(ours) else { return };
        let mut cut = self.dice.chance(machines.suite_cut_off) || !unit.iron.agent_speaks();
        let mut tests = Vec::new();
        for fault in &unit.iron.faults {
            if fault.shows_in_suite() && self.dice.chance(machines.suite_finds) {
                tests.push(result(&fault.part, TestOutcome::Failed, "as its baseline", "below"));
                cut = false;
            }
        }
        if cut {
            tests.push(result("soak", TestOutcome::TimedOut, "", ""));
        }
        for name in ["dcgm-diag", "memory", "rails", "soak"] {
            if !(cut && name == "soak") {
                tests.push(result(name, TestOutcome::Passed, "as its baseline", "as its baseline"));
            }
        }
        run.ended_at = Some(now);
        run.tests = tests;
        self.step(at);
    }

    /// Someone says something about an order; refusals are theirs.
    pub fn tell(&mut self, at: usize, event: &order::Event) {
        if let Err(refusal) = self.try_tell(at, event) {
            self.tally.refusal(&refusal);
        }
    }

    pub fn try_tell(&mut self, at: usize, event: &order::Event) -> Result<(), order::Refusal> {
        let order = self.orders.get(at).ok_or(order::Refusal::NoSuchTask)?;
        let busy = match event {
            order::Event::Start { .. } => {
                let others = self.orders.ready().iter().filter(|other| other.id != order.id);
                others.flat_map(|other| other.zones().map(str::to_owned)).collect()
            }
            _ => Default::default(),
        };
        let next = order::apply(order, event, &busy, self.clock.now)?;
        self.became(at, next);
        Ok(())
    }

    /// An order is another one from now on.
    pub fn became(&mut self, at: usize, next: order::Order) {
        let Some(before) = self.orders.get(at) else { return };
        let state = next.state;
        let (changed, kind) = (before.state != state, next.kind);
        if !changed {
            return self.orders.replace(next);
        }
        let finding = next.finding.as_ref().map(|it| it.text.clone());
        self.units[at].observed.order = Some(OrderSeen { entry: next.entry, state, finding });
        if state == order::OrderState::Done {
            self.order_done(at, &next, kind);
        }
        self.orders.put(next, true);
        self.step(at);
    }

    pub fn released(&mut self, at: usize, next: Result<fleet::machine::Machine, Refusal>) {
        if let Ok(next) = next {
            let now = self.clock.now;
            let before = std::mem::replace(&mut self.units[at].machine, next);
            if before.lifecycle != self.units[at].machine.lifecycle {
                self.tally.entered(&self.units[at], Some(&before), now);
                if before.scheduling == Scheduling::Open {
                    self.tally.closed(at, &mut self.units[at], now);
                }
            }
            self.step(at);
        }
    }
}

fn result(name: &str, outcome: TestOutcome, threshold: &str, value: &str) -> TestResult {
    TestResult {
        name: name.to_owned(),
        outcome,
        threshold: threshold.to_owned(),
        value: value.to_owned(),
        millis: 60_000,
    }
}
