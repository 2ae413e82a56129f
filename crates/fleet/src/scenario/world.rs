//! The world of a story: machines, orders, and time, which passes in ticks. In each tick everybody tells what they see, the
//! fleet's pass decides on drains, every machine is stepped and what it asks for is done, and the workers work. Then the
//! invariants are checked.

use super::body::Body;
use super::dice::Dice;
use super::script::{Command, TestWill, Voice, Wish};
use super::told::{Told, clock};
use super::workers;
use crate::action::Action;
use crate::diagnosis;
use crate::drains::{self, DrainLimits};
use crate::invariants;
use crate::lifecycle::{self, Rules};
use crate::machine::{Lifecycle, Machine, MachineKind, Scheduling, Spec};
use crate::observed::{Event, EventKind, Observed, OrderSeen};
use crate::order::{self, Cable, Order, OrderState, RobotFit, Verb, Work};
use std::collections::{BTreeMap, BTreeSet};
use types::{MachineId, OrderId, TaskId, UnixMillis};

const MINUTE: i64 = 60_000;
const DAY: i64 = 1_440 * MINUTE;
/// `install` gives up then; whatever is held by then stays.
const INSTALL_MILLIS_MAX: i64 = 30 * DAY;
/// A machine that was made on a bad day breaks so many times as often.
const LEMON_WEIGHT: u64 = 20;

pub(super) struct Unit {
    pub name: String,
    pub spec: Spec,
    pub machine: Machine,
    pub seen: Observed,
    pub body: Body,
    lemon: bool,
}

struct Faults {
    per_day: u64,
    dice: Dice,
}

pub struct World {
    now: UnixMillis,
    tick: i64,
    rules: Rules,
    limits: DrainLimits,
    units: Vec<Unit>,
    orders: Vec<Order>,
    robots: Vec<RobotFit>,
    ids: u128,
    workers: bool,
    faults: Option<Faults>,
    away_until: UnixMillis,
    paged: BTreeSet<(String, u64, String, String)>,
    told: Told,
    /// What was done how often: `drain`, `restart` …
    counts: BTreeMap<&'static str, u32>,
}

impl Default for World {
    fn default() -> Self {
        World {
            now: UnixMillis(0),
            tick: MINUTE,
            rules: Rules::default(),
            limits: DrainLimits::default(),
            units: Vec::new(),
            orders: Vec::new(),
            robots: Vec::new(),
            ids: 0,
            workers: true,
            faults: None,
            away_until: UnixMillis(0),
            paged: BTreeSet::new(),
            told: Told::default(),
            counts: BTreeMap::new(),
        }
    }
}

impl World {
    /// Does one command; answers what is to be told.
    pub fn run(&mut self, command: &Command) -> Result<Vec<String>, String> {
        match command {
            Command::Machines { count, domain } => self.machines(*count, domain),
            Command::Advance(span) => self.advance(*span)?,
            Command::Tick(span) => self.tick = *span,
            Command::Install => self.install()?,
            Command::Away(span) => {
                self.away_until = UnixMillis(self.now.0 + span);
                self.advance(*span)?;
            }
            Command::Workers(on) => self.workers = *on,
            Command::Faults { per_day, seed } => {
                self.faults = (*per_day > 0).then(|| Faults { per_day: *per_day, dice: Dice::new(*seed) });
            }
            Command::Quiet(on) => self.told.quiet = *on,
            Command::Switch { domain, down } => self.switch(domain, *down),
            Command::CancelOrder(name) => self.cancel(name)?,
            Command::Person { by, wish, machine } => self.person(by, wish, machine)?,
            Command::Show(None) => return Ok(self.units.iter().map(show).collect()),
            Command::Show(Some(name)) => return Ok(vec![show(self.unit(name)?)]),
            Command::Count => return Ok(self.count()),
            other => self.touch(other)?,
        }
        Ok(self.told.take())
    }

    /// What happens to one machine's iron.
    fn touch(&mut self, command: &Command) -> Result<(), String> {
        let now = self.now;
        match command {
            Command::Bmc(name, voice) => self.unit(name)?.body.bmc = voice.clone(),
            Command::Agent(name, voice) => self.unit(name)?.body.agent = voice.clone(),
            Command::Part { machine, part, how } => self.unit(machine)?.body.change(part, how)?,
            Command::Scan { machine, serial } => self.unit(machine)?.body.label.clone_from(serial),
            Command::Test { machine, how } => self.unit(machine)?.body.will = *how,
            Command::Firmware { machine, stuck } => self.unit(machine)?.body.firmware_stuck = *stuck,
            Command::Work { machine, count } => self.unit(machine)?.body.running = *count,
            Command::Lemon(name) => self.unit(name)?.lemon = true,
            Command::Xid { machine, code, gpu } => self.unit(machine)?.event(now, xid(*code, *gpu)),
            Command::Hot { machine, gpu } => {
                self.unit(machine)?.event(now, EventKind::Thermal { gpu: *gpu, temperature_c: 95 });
            }
            _ => {}
        }
        Ok(())
    }

    fn unit(&mut self, name: &str) -> Result<&mut Unit, String> {
        self.units.iter_mut().find(|unit| unit.name == name).ok_or_else(|| format!("no machine {name}"))
    }

    fn machines(&mut self, count: usize, domain: &str) {
        for _ in 0..count {
            let number = self.units.len() + 1;
            let name = format!("m{number}");
            let mut serials = BTreeMap::from([("chassis".to_owned(), format!("SN-{name}"))]);
            serials.extend((1..=8).map(|gpu| (format!("gpu{gpu}"), format!("{name}-gpu{gpu}"))));
            serials.extend((1..=6).map(|psu| (format!("psu{psu}"), format!("{name}-psu{psu}"))));
            let spec = Spec {
                generation: 1,
                kind: MachineKind::DgxB200,
                // Two to a rack.
                slot: format!("hall-1/row-a/rack-{:03}/u{}", number.div_ceil(2), 1 + 20 * (number % 2)),
                unit: "su-01".to_owned(),
                domains: vec![domain.to_owned()],
                zone: None,
                serials,
                parts: [("gpu".to_owned(), 8), ("psu".to_owned(), 6)].into(),
                firmware: [("bmc".to_owned(), "2.0".to_owned())].into(),
                secure_boot: None,
                suite: "burn-in".to_owned(),
                wanted: true,
                drain: None,
            };
            let machine = Machine::planned(MachineId(number as u128), self.now);
            let body = Body::new(&spec);
            self.units.push(Unit { name, spec, machine, seen: Observed::default(), body, lemon: false });
        }
        self.robots = workers::robots(self.units.len());
    }

    fn advance(&mut self, span: i64) -> Result<(), String> {
        let end = UnixMillis(self.now.0 + span);
        while self.now < end {
            self.now = UnixMillis((self.now.0 + self.tick).min(end.0));
            self.pass()?;
        }
        Ok(())
    }

    fn install(&mut self) -> Result<(), String> {
        let end = self.now.0 + INSTALL_MILLIS_MAX;
        let settled = |unit: &Unit| unit.machine.lifecycle == Lifecycle::Accepted || unit.machine.hold.is_some();
        while !self.units.iter().all(settled) && self.now.0 < end {
            self.advance(self.tick)?;
        }
        Ok(())
    }

    /// One tick.
    fn pass(&mut self) -> Result<(), String> {
        self.chance();
        let now = self.now;
        for unit in &mut self.units {
            unit.body.observe(&mut unit.seen, now);
        }
        if now < self.away_until {
            return Ok(());
        }
        if self.away_until > UnixMillis(0) {
            self.rules.listening_since = now;
            self.away_until = UnixMillis(0);
        }
        let fleet = self.units.iter().map(|unit| (&unit.spec, &unit.machine));
        self.rules.permits = drains::decide(fleet, &self.limits, now);
        for page in self.rules.permits.pages.clone() {
            // As long as one cause lasts its page is one.
            let key = (page.about.clone(), page.at.0 as u64, page.code.clone(), page.about.clone());
            if self.paged.insert(key) {
                self.told.add(now, &page.about, format!("page {}", page.code), page.text);
            }
        }
        for at in 0..self.units.len() {
            self.step(at)?;
        }
        if self.workers {
            workers::work(&mut self.orders, &mut self.units, &self.robots, now);
        }
        for order in &mut self.orders {
            *order = order::step(order, &order::Limits::default(), now);
        }
        self.sound()
    }

    fn step(&mut self, at: usize) -> Result<(), String> {
        let now = self.now;
        let unit = &mut self.units[at];
        let newest = self.orders.iter().rev().find(|order| order.machine == unit.machine.id);
        unit.seen.order = newest.map(|order| OrderSeen {
            entry: order.entry,
            state: order.state,
            finding: order.finding.as_ref().map(|finding| finding.text.clone()),
        });
        let before = unit.machine.clone();
        let step = lifecycle::step(&unit.spec, &before, &unit.seen, &self.rules, now);
        let broken = invariants::transition(&before, &step.next, &unit.seen);
        if let Some(violation) = broken.first() {
            return Err(format!("{}: {}: {}", clock(now), violation.rule, violation.about));
        }
        unit.seen.events.drain(..step.events_taken);
        unit.machine = step.next;
        self.tell(at, &before);
        for action in step.actions {
            self.execute(at, &action);
        }
        Ok(())
    }

    fn tell(&mut self, at: usize, before: &Machine) {
        let (now, unit) = (self.now, &self.units[at]);
        let (name, machine) = (unit.name.as_str(), &unit.machine);
        if before.lifecycle != machine.lifecycle {
            let what = format!("{} -> {}", before.lifecycle, machine.lifecycle);
            self.told.add(now, name, what, machine.reason.clone());
            if machine.lifecycle == Lifecycle::Drain {
                *self.counts.entry("drains").or_default() += 1;
            }
        } else if before.hold.is_some() && machine.hold.is_none() {
            self.told.add(now, name, "held no more", machine.reason.clone());
        } else if before.repair.is_none() && machine.repair.is_some() {
            self.told.add(now, name, "not fit for work", machine.reason.clone());
        }
        if before.scheduling != machine.scheduling && before.lifecycle == machine.lifecycle {
            self.told.add(now, name, format!("scheduling {}", machine.scheduling), machine.reason.clone());
        }
    }

    fn execute(&mut self, at: usize, action: &Action) {
        let now = self.now;
        let unit = &mut self.units[at];
        match action {
            Action::OpenOrder { kind } => {
                let cables: Vec<Cable> = (1..=2).map(|number| cable(unit, number)).collect();
                let serial = unit.spec.serials.get("chassis").cloned();
                let (spec, machine, faulty) = (&unit.spec, &unit.machine, diagnosis::faulty_parts(&unit.seen));
                let work = Work { spec, machine, serial: serial.as_deref(), cables: &cables, faulty: &faulty };
                self.ids += 1;
                let id = OrderId(self.ids);
                let order = order::make(
                    *kind,
                    id,
                    &work,
                    || {
                        self.ids += 1;
                        TaskId(self.ids)
                    },
                    now,
                );
                if order.tasks.iter().any(|task| task.verb == Verb::Swap) {
                    *self.counts.entry("parts exchanged").or_default() += 1;
                }
                self.orders.push(order);
            }
            Action::CancelOrder => {
                let live = |order: &&mut Order| matches!(order.state, OrderState::Open | OrderState::Held);
                for order in self.orders.iter_mut().filter(|order| order.machine == unit.machine.id).filter(live) {
                    let why = "its machine needs it no more".to_owned();
                    if let Ok(next) = order::apply(order, &order::Event::Cancel { why }, &BTreeSet::new(), now) {
                        *order = next;
                    }
                }
            }
            Action::Page { finding } => {
                let key = (unit.name.clone(), unit.machine.entry, finding.code.clone(), finding.about.clone());
                if self.paged.insert(key) {
                    *self.counts.entry("pages").or_default() += 1;
                    self.told.add(now, &unit.name, format!("held, page {}", finding.code), finding.text.clone());
                }
            }
            other => {
                match other {
                    Action::RestartEngine { gpu, .. } => {
                        self.told.add(now, &unit.name, "restart", format!("gpu {gpu}"))
                    }
                    Action::ResetGpu { gpu, .. } => self.told.add(now, &unit.name, "reset", format!("gpu {gpu}")),
                    _ => {}
                }
                match other {
                    Action::RestartEngine { .. } => *self.counts.entry("restarts asked for").or_default() += 1,
                    Action::ResetGpu { .. } => *self.counts.entry("resets asked for").or_default() += 1,
                    _ => {}
                }
                // A silent agent does nothing.
                let asked_of_agent =
                    matches!(other, Action::RestartEngine { .. } | Action::ResetGpu { .. } | Action::Validate { .. });
                if !(asked_of_agent && unit.body.agent == Voice::Silent) {
                    unit.body.execute(other, &unit.spec, &unit.machine, &mut unit.seen, now);
                }
            }
        }
    }

    fn sound(&self) -> Result<(), String> {
        let machines = self.units.iter().map(|unit| (&unit.machine, &unit.seen));
        let mut broken = invariants::check(machines, &self.orders);
        broken.extend(invariants::robots(&self.orders));
        match broken.first() {
            None => Ok(()),
            Some(violation) => Err(format!("{}: {}: {}", clock(self.now), violation.rule, violation.about)),
        }
    }

    fn switch(&mut self, domain: &str, down: bool) {
        let now = self.now;
        let (domain_of, port) = (domain.to_owned(), "p1".to_owned());
        for unit in self.units.iter_mut().filter(|unit| unit.spec.domains.iter().any(|it| it == domain)) {
            let (domain, port) = (domain_of.clone(), port.clone());
            unit.event(
                now,
                if down { EventKind::LinkDown { domain, port } } else { EventKind::LinkUp { domain, port } },
            );
        }
    }

    fn cancel(&mut self, name: &str) -> Result<(), String> {
        let id = self.unit(name)?.machine.id;
        for order in self.orders.iter_mut().filter(|order| order.machine == id) {
            let why = "a person ended it".to_owned();
            if let Ok(next) = order::apply(order, &order::Event::Cancel { why }, &BTreeSet::new(), self.now) {
                *order = next;
            }
        }
        Ok(())
    }

    fn person(&mut self, by: &str, wish: &Wish, name: &str) -> Result<(), String> {
        let now = self.now;
        let unit = self.unit(name)?;
        match wish {
            Wish::Release(why) => {
                unit.machine = lifecycle::release(&unit.machine, by, why, now).map_err(|error| error.to_string())?;
            }
            Wish::Repair { part, why } => {
                let next = lifecycle::send_to_repair(&unit.machine, part, by, why, now);
                unit.machine = next.map_err(|error| error.to_string())?;
            }
            Wish::Drain(why) => unit.spec.drain = Some(format!("{by}: {why}")),
            Wish::Undrain => unit.spec.drain = None,
            Wish::Unwant => unit.spec.wanted = false,
            Wish::Resume(why) => {
                let id = unit.machine.id;
                let event = order::Event::Resume { by: by.to_owned(), reason: why.clone() };
                let held = self.orders.iter_mut().find(|it| it.machine == id && it.state == OrderState::Held);
                let order = held.ok_or("no held order")?;
                *order = order::apply(order, &event, &BTreeSet::new(), now).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// Random faults, on machines in service.
    fn chance(&mut self) {
        let Some(faults) = &mut self.faults else { return };
        if faults.dice.below(DAY as u64) >= faults.per_day * self.tick as u64 {
            return;
        }
        let weight = |unit: &Unit| match (unit.machine.lifecycle, unit.lemon) {
            (Lifecycle::Accepted, true) => LEMON_WEIGHT,
            (Lifecycle::Accepted, false) => 1,
            _ => 0,
        };
        let sum = self.units.iter().map(weight).sum();
        let mut at = faults.dice.below(sum);
        let Some(unit) = self.units.iter_mut().find(|unit| {
            let weight = weight(unit);
            let hit = at < weight;
            at = at.saturating_sub(weight);
            hit
        }) else {
            return;
        };
        *self.counts.entry("faults").or_default() += 1;
        let (kind, gpu, now) = (faults.dice.below(100), faults.dice.below(8) as u32, self.now);
        let part = |name: &str| format!("{name}{}", gpu + 1);
        match kind {
            0..20 => unit.event(now, xid(31, gpu)),
            20..35 => unit.event(now, xid(94, gpu)),
            35..50 => unit.event(now, xid(119, gpu)),
            50..65 => unit.event(now, xid(79, gpu)),
            65..72 => unit.event(now, xid(64, gpu)),
            72..78 => unit.event(now, xid(43, gpu)),
            78..82 => unit.event(now, EventKind::Thermal { gpu, temperature_c: 95 }),
            // A part that is gone already breaks no more.
            82..87 => _ = unit.body.change(&format!("psu{}", gpu % 6 + 1), &super::script::PartChange::Faulty),
            87..92 => _ = unit.body.change(&part("gpu"), &super::script::PartChange::Gone),
            92..96 => unit.body.will = TestWill::Fails,
            _ => {
                unit.body.agent = Voice::Silent;
                unit.body.agent_back = Some(UnixMillis(now.0 + 20 * MINUTE));
            }
        }
    }

    fn count(&self) -> Vec<String> {
        let mut states: BTreeMap<Lifecycle, usize> = BTreeMap::new();
        for unit in &self.units {
            *states.entry(unit.machine.lifecycle).or_default() += 1;
        }
        let open = self.units.iter().filter(|unit| unit.machine.scheduling == Scheduling::Open).count();
        let held = self.units.iter().filter(|unit| unit.machine.hold.is_some()).count();
        let done = self.orders.iter().filter(|order| order.state == OrderState::Done).count();
        let states: Vec<String> = states.iter().map(|(state, count)| format!("{state} {count}")).collect();
        let counts: Vec<String> = self.counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
        vec![
            format!("{} {}; open {open}; held {held}", clock(self.now), states.join(", ")),
            format!("orders {} (done {done}); {}", self.orders.len(), counts.join(", ")),
        ]
    }
}

impl Unit {
    fn event(&mut self, at: UnixMillis, what: EventKind) {
        self.seen.events.push(Event { at, what });
    }
}

fn xid(code: u16, gpu: u32) -> EventKind {
    EventKind::Xid { code, gpu, driver: "570.124.06".to_owned() }
}

fn cable(unit: &Unit, number: u32) -> Cable {
    let (id, port_a) = (format!("{}-c{number}", unit.name), format!("osfp{number}"));
    Cable { id, port_a, port_b: format!("{}/{number}", unit.spec.domains.join("+")) }
}

fn show(unit: &Unit) -> String {
    let machine = &unit.machine;
    let hold = machine.hold.as_ref().map_or(String::new(), |hold| format!(" [held: {}]", hold.code));
    let (state, health, scheduling) = (machine.lifecycle, machine.health, machine.scheduling);
    format!("{} {state} {health} {scheduling}{hold}: {}", unit.name, machine.reason)
}
