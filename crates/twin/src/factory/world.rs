//! The factory in virtual time: one loop over what happens next. Every decision about a machine, an order or a drain is
//! made by `fleet`, as in production; here is only what the world does about it and how long that takes.
//!
//! Machines are stepped when something about them was seen, when one of their clocks can have run out, and by a timer, as
//! the controller does. If a step breaks an invariant, the study ends there with the violation.

use super::causes;
use super::clock::{BEGIN, Clock, DAY, HOUR, MINUTE, SECOND};
use super::crew::{Crew, End, Worker};
use super::dice::Dice;
use super::iron::{Iron, SWEEP_MILLIS};
use super::orders::Orders;
use super::scenario::{Scenario, Start};
use super::spares::Shelf;
use super::tally::Tally;
use fleet::diagnosis::{LINK_MILLIS_MAX, MEASURE_MILLIS_MAX};
use fleet::drains::{self, DrainLimits, Permits};
use fleet::invariants::{self, Violation};
use fleet::lifecycle::{self, Rules};
use fleet::machine::{Health, Lifecycle, Machine, Scheduling, Spec};
use fleet::observed::{Certified, Custody, Observed};
use fleet::order::{Cable, OrderState};
use fleet::site::PlannedMachine;
use std::collections::BTreeMap;
use types::{AcceptanceId, MachineId, TaskId, UnixMillis};

/// The controller looks at everything so often, whatever happens; what can run out has its own time.
const TIMER_MILLIS: i64 = HOUR;
/// Who waits for a permit to drain is looked at again.
const PASS_MILLIS: i64 = MINUTE;

/// What happens.
#[derive(Debug, Clone)]
pub enum What {
    Step(usize),
    Timer,
    Pass,
    Day,
    Truck,
    Shift,
    Dispatch,
    Confirmed { machine: usize, task: TaskId, people: [usize; 2] },
    Begin { machine: usize, task: TaskId, worker: Worker },
    End { machine: usize, task: TaskId, worker: Worker, how: End },
    Late(usize),
    RobotBack(usize),
    Spare(String),
    Look { machine: usize, entry: u64, attempt: u32 },
    Examined { machine: usize, entry: u64 },
    Read(usize),
    Power { machine: usize, on: bool },
    Booted(usize),
    Flashed(usize),
    Provisioned(usize),
    Suite { machine: usize, entry: u64, attempt: u32 },
    Sealed { machine: usize, entry: u64 },
    Ended(usize),
    Measured { machine: usize, gpu: u32, since: UnixMillis, reset: bool },
    Breaks,
    Again { machine: usize, fault: u64 },
    Noticed { machine: usize, fault: u64 },
    SwitchBack(String),
}

/// One machine: what is wanted, decided, seen, and so.
pub struct Unit {
    pub spec: Spec,
    pub cables: Vec<Cable>,
    pub machine: Machine,
    pub observed: Observed,
    pub iron: Iron,
}

pub struct World {
    pub scenario: Scenario,
    pub clock: Clock<What>,
    pub units: Vec<Unit>,
    pub orders: Orders,
    pub crew: Crew,
    pub shelf: Shelf,
    pub rules: Rules,
    pub limits: DrainLimits,
    pub tally: Tally,
    /// For how things go.
    pub dice: Dice,
    /// For what breaks, and when: the same faults whoever works.
    pub fate: Dice,
    pub switches_down: BTreeMap<String, UnixMillis>,
    pub ids: u128,
    pub faults: u64,
    pub delivered: usize,
    pub violations: Vec<Violation>,
    pub pass_planned: bool,
    pub dispatch_planned: bool,
}

impl World {
    pub fn new(site: &[PlannedMachine], scenario: &Scenario) -> World {
        let mut dice = Dice::of(scenario.seed);
        let mut fate = dice.fork();
        let units: Vec<Unit> = site.iter().enumerate().map(|(at, plan)| unit(at, plan, scenario, &mut fate)).collect();
        let mut world = World {
            clock: Clock::new(),
            orders: Orders::of(units.len()),
            crew: Crew::of(scenario),
            shelf: Shelf::of(&scenario.spares.stock),
            rules: Rules { listening_since: BEGIN, ..Rules::default() },
            limits: DrainLimits::default(),
            tally: Tally::of(&units),
            dice,
            fate,
            switches_down: BTreeMap::new(),
            ids: 0,
            faults: 0,
            delivered: 0,
            violations: Vec::new(),
            pass_planned: false,
            dispatch_planned: false,
            scenario: scenario.clone(),
            units,
        };
        if scenario.start == Start::Capacity {
            for machine in 0..world.units.len() {
                world.in_service(machine);
            }
            world.delivered = world.units.len();
        }
        world.begin();
        world
    }

    fn begin(&mut self) {
        let hour = i64::from(self.scenario.delivery.hour);
        self.clock.at(BEGIN.0, What::Timer);
        self.clock.at(BEGIN.0 + hour * HOUR, What::Truck);
        self.clock.at(BEGIN.0, What::Shift);
        self.clock.at(BEGIN.0 + DAY, What::Day);
        if self.scenario.faults.factor > 0.0 {
            self.plan_fault();
        }
    }

    /// A machine that was accepted before the study began.
    fn in_service(&mut self, at: usize) {
        let certificate = AcceptanceId(self.id());
        let unit = &mut self.units[at];
        unit.iron.delivered = true;
        unit.iron.power = true;
        unit.iron.booted = true;
        unit.iron.provisioned = true;
        unit.iron.firmware_old = false;
        unit.iron.faults.clear();
        unit.iron.bmc_from = Some(BEGIN.0);
        // Planned, received, installed, powered, provisioned, validated, accepted.
        unit.machine.entry = 7;
        unit.machine.lifecycle = Lifecycle::Accepted;
        unit.machine.scheduling = Scheduling::Open;
        unit.machine.certificate = Some(certificate);
        unit.machine.reason = "in service".to_owned();
        let serial = unit.iron.serial.clone();
        unit.observed.custody = Some(Custody { serial, by: "person/1".to_owned(), at: BEGIN, photo: None });
        unit.observed.certified = Some(Certified { entry: 6, certificate, sealed: true });
        unit.observed.running = 1;
        unit.iron.read(&unit.spec, &mut unit.observed, BEGIN);
        unit.iron.refresh(&unit.spec, &mut unit.observed, BEGIN);
        self.tally.entered(&self.units[at], None, BEGIN);
        self.tally.opened(at, &self.units[at], BEGIN);
    }

    pub fn id(&mut self) -> u128 {
        self.ids += 1;
        self.ids
    }

    /// Whether a day of the week that `days` counts from Monday.
    fn weekday(&self, days: u32) -> bool {
        (self.clock.now.0 - BEGIN.0) / DAY % 7 < i64::from(days)
    }

    /// The next thing happens; false at the end, or at a violation.
    pub fn go(&mut self, end: i64) -> bool {
        if !self.violations.is_empty() {
            return false;
        }
        let Some(what) = self.clock.next(end) else { return false };
        self.tally.events += 1;
        match what {
            What::Step(machine) => self.step(machine),
            What::Timer => self.timer(),
            What::Pass => self.pass(),
            What::Day => self.day(),
            What::Truck => self.truck(),
            What::Shift => {
                self.clock.after(HOUR, What::Shift);
                self.dispatch_soon();
            }
            What::Dispatch => self.dispatch(),
            What::Confirmed { machine, task, people } => self.confirmed(machine, task, people),
            What::Begin { machine, task, worker } => self.begin_task(machine, task, worker),
            What::End { machine, task, worker, how } => self.end_task(machine, task, worker, how),
            What::Late(machine) => self.late(machine),
            What::RobotBack(robot) => {
                self.crew.robot_back(robot);
                self.dispatch_soon();
            }
            What::Spare(kind) => self.spare_arrives(&kind),
            What::Look { machine, entry, attempt } => self.look(machine, entry, attempt),
            What::Examined { machine, entry } => self.examined(machine, entry),
            What::Read(machine) => {
                let (unit, now) = (&mut self.units[machine], self.clock.now);
                unit.iron.doing.reading = false;
                unit.iron.read(&unit.spec, &mut unit.observed, now);
                self.step(machine);
            }
            What::Power { machine, on } => self.powered(machine, on),
            What::Booted(machine) => self.booted(machine),
            What::Flashed(machine) => {
                let (iron, now) = (&mut self.units[machine].iron, self.clock.now);
                iron.doing.flashing = false;
                iron.firmware_old = false;
                iron.changed(now);
                self.step(machine);
            }
            What::Provisioned(machine) => {
                let (iron, now) = (&mut self.units[machine].iron, self.clock.now);
                iron.doing.provisioning = false;
                iron.provisioned = iron.power;
                iron.changed(now);
                self.step(machine);
            }
            What::Suite { machine, entry, attempt } => self.suite_ends(machine, entry, attempt),
            What::Sealed { machine, entry } => {
                if let Some(certified) = self.units[machine].observed.certified.as_mut().filter(|it| it.entry == entry)
                {
                    certified.sealed = true;
                }
                self.step(machine);
            }
            What::Ended(machine) => {
                self.units[machine].iron.doing.ending = false;
                self.units[machine].observed.running = 0;
                self.step(machine);
            }
            What::Measured { machine, gpu, since, reset } => self.measured(machine, gpu, since, reset),
            What::Breaks => self.breaks(),
            What::Again { machine, fault } => self.again(machine, fault),
            What::Noticed { machine, fault } => self.noticed(machine, fault),
            What::SwitchBack(domain) => self.switch_back(&domain),
        }
        true
    }

    /// One machine, decided by the code that decides in production.
    pub fn step(&mut self, at: usize) {
        let now = self.clock.now;
        let unit = &mut self.units[at];
        unit.iron.refresh(&unit.spec, &mut unit.observed, now);
        let step = lifecycle::step(&unit.spec, &unit.machine, &unit.observed, &self.rules, now);
        self.tally.steps += 1;
        unit.observed.events.drain(..step.events_taken);
        self.violations.extend(invariants::transition(&unit.machine, &step.next, &unit.observed));
        let before = std::mem::replace(&mut unit.machine, step.next);
        self.follow(at, &before);
        for action in step.actions {
            self.act(at, action);
        }
    }

    /// What became of it, and what that has for consequences in the world.
    fn follow(&mut self, at: usize, before: &Machine) {
        let now = self.clock.now;
        let unit = &mut self.units[at];
        let machine = &unit.machine;
        let opened = (before.scheduling == Scheduling::Open, machine.scheduling == Scheduling::Open);
        let moved = before.lifecycle != machine.lifecycle;
        let held = machine.hold.is_some()
            && before.hold.as_ref().map(|it| &it.code) != machine.hold.as_ref().map(|it| &it.code);
        match opened {
            (false, true) => {
                unit.observed.running = 1;
                self.tally.opened(at, &self.units[at], now);
            }
            (true, false) => self.tally.closed(at, &mut self.units[at], now),
            _ => {}
        }
        if moved {
            self.tally.entered(&self.units[at], Some(before), now);
            self.clock.at(now.0, What::Step(at));
        }
        if held {
            self.tally.held(&self.units[at].machine);
            self.plan_look(at);
        }
        let unit = &self.units[at];
        if unit.machine.lifecycle == Lifecycle::Accepted {
            if moved {
                self.signal_all(at);
            }
            if self.units[at].machine.repair.is_some() {
                self.pass_soon(SECOND);
            }
        }
        self.keep_watch(at, before);
        let unit = &self.units[at];
        let done = unit
            .observed
            .order
            .as_ref()
            .is_some_and(|it| it.entry == unit.machine.entry && it.state == OrderState::Done);
        if unit.machine.lifecycle == Lifecycle::Repair && unit.spec.drain.is_some() && done {
            self.plan_look(at);
        }
    }

    /// Clocks that a new measure starts.
    fn keep_watch(&mut self, at: usize, before: &Machine) {
        let unit = &self.units[at];
        if unit.machine.measures.len() != before.measures.len()
            || unit.machine.measures.last() != before.measures.last()
        {
            self.clock.after(MEASURE_MILLIS_MAX + SECOND, What::Step(at));
            self.clock.after(LINK_MILLIS_MAX + SECOND, What::Step(at));
        }
    }

    pub fn pass_soon(&mut self, after: i64) {
        if !self.pass_planned {
            self.pass_planned = true;
            self.clock.after(after, What::Pass);
        }
    }

    /// One look at the whole fleet: who of those that wait may drain.
    fn pass(&mut self) {
        // What the steps below ask for is this pass.
        self.pass_planned = true;
        let now = self.clock.now;
        self.rules.permits = drains::decide(self.units.iter().map(|it| (&it.spec, &it.machine)), &self.limits, now);
        let waiting: Vec<usize> = (0..self.units.len())
            .filter(|at| {
                let machine = &self.units[*at].machine;
                machine.lifecycle == Lifecycle::Accepted && machine.repair.is_some()
            })
            .collect();
        for at in &waiting {
            let machine = &self.units[*at].machine;
            if let drains::Permit::Refused(_) = self.rules.permits.of(machine.id) {
                self.tally.refused(machine);
            }
        }
        self.tally.pages(&self.rules.permits.pages);
        for at in &waiting {
            self.step(*at);
        }
        self.rules.permits = Permits::default();
        let waits = |it: &Unit| it.machine.lifecycle == Lifecycle::Accepted && it.machine.repair.is_some();
        self.pass_planned = self.units.iter().any(waits);
        if self.pass_planned {
            self.clock.after(PASS_MILLIS, What::Pass);
        }
    }

    fn timer(&mut self) {
        let number = (self.clock.now.0 - BEGIN.0) / TIMER_MILLIS;
        for at in 0..self.units.len() {
            let machine = &self.units[at].machine;
            let rests = machine.lifecycle == Lifecycle::Accepted && machine.health == Health::Healthy;
            if !rests || machine.hold.is_some() || number % 24 == 0 {
                self.step(at);
            }
        }
        self.clock.after(TIMER_MILLIS, What::Timer);
    }

    fn day(&mut self) {
        self.tally.day(&self.units, &self.shelf, &self.crew, self.clock.now);
        self.clock.after(DAY, What::Day);
    }

    fn truck(&mut self) {
        if self.weekday(self.scenario.delivery.days_per_week) {
            let until = (self.delivered + self.scenario.delivery.machines_per_day).min(self.units.len());
            for at in self.delivered..until {
                self.units[at].iron.delivered = true;
                if let Some(order) = self.orders.take(at) {
                    self.orders.put(order, true);
                }
            }
            self.delivered = until;
            self.dispatch_soon();
        }
        if self.delivered < self.units.len() {
            self.clock.after(DAY, What::Truck);
        }
    }

    /// The BMC shows something new at its next sweep.
    pub fn step_at_sweep(&mut self, at: usize) {
        let now = self.clock.now.0;
        self.clock.at(now - now % SWEEP_MILLIS + SWEEP_MILLIS + SECOND, What::Step(at));
    }

    /// Everything that must be so, looked at now.
    pub fn check(&mut self) {
        let orders = self.orders.all();
        let found = invariants::check(self.units.iter().map(|it| (&it.machine, &it.observed)), &orders);
        self.violations.extend(found);
        self.violations.extend(invariants::robots(&orders));
    }
}

fn unit(at: usize, plan: &PlannedMachine, scenario: &Scenario, fate: &mut Dice) -> Unit {
    let id = MachineId(at as u128 + 1);
    let mut iron = Iron::new(at + 1, &plan.spec);
    iron.firmware_old = fate.chance(scenario.machines.firmware_old);
    iron.lemon = fate.chance(scenario.faults.lemons);
    // Half of all faults on this share of the machines: w·l / (w·l + 1 - l) = 1/2.
    if iron.lemon {
        iron.weight = (1.0 - scenario.faults.lemons) / scenario.faults.lemons;
    }
    if fate.chance(scenario.machines.dead_on_arrival) {
        iron.faults.extend(causes::dead_on_arrival(fate, plan.spec.parts.get("gpu").copied().unwrap_or(0)));
    }
    let cable =
        |it: &fleet::site::Cable| Cable { id: it.id.clone(), port_a: it.port_a.clone(), port_b: it.port_b.clone() };
    Unit {
        spec: plan.spec.clone(),
        cables: plan.cables.iter().map(cable).collect(),
        machine: Machine::planned(id, BEGIN),
        observed: Observed::default(),
        iron,
    }
}
