//! Faults: when they begin, how they show, what mends them.

use super::act::hours;
use super::causes::{self, Cure, Sign};
use super::clock::{DAY, HOUR, SECOND};
use super::iron::Fault;
use super::spares;
use super::world::{What, World};
use fleet::diagnosis::LINK_DOWN;
use fleet::machine::{Lifecycle, MachineKind};
use fleet::observed::{Event, EventKind};
use fleet::order::{Order, OrderKind, Verb};
use std::collections::BTreeSet;
use types::UnixMillis;

/// A fault that shows by events shows again after about this time.
const AGAIN_MILLIS: f64 = HOUR as f64;
/// Of what a restart or a reset should mend, it mends so much.
const MEASURE_MENDS: f64 = 0.95;
/// Parts of which a machine has one more than it needs.
const REDUNDANT: [&str; 3] = ["psu", "drive", "nic"];

impl Fault {
    /// A test can find it.
    pub fn shows_in_suite(&self) -> bool {
        !matches!(self.cure, Cure::Itself | Cure::Restart) && !self.part.is_empty()
    }
}

impl World {
    pub fn plan_fault(&mut self) {
        let gpus: u64 = self.units.iter().map(|it| u64::from(it.spec.parts.get("gpu").copied().unwrap_or(0))).sum();
        let a_day = causes::PER_GPU_DAY * gpus as f64 * self.scenario.faults.factor;
        if a_day > 0.0 {
            let after = self.fate.wait(DAY as f64 / a_day);
            self.clock.after(after, What::Breaks);
        }
    }

    /// The field's rate is for machines at work: what hits another one hits none.
    pub fn breaks(&mut self) {
        self.plan_fault();
        let (cause, way) = causes::throw(&mut self.fate, self.scenario.faults.switches);
        let at = self.fate.among(self.units.iter().map(|it| it.iron.weight));
        let (gpu, port) = (self.fate.next(), self.fate.next());
        let (gpu, port) = (gpu as usize, port as usize);
        let unit = &self.units[at];
        if unit.machine.lifecycle != Lifecycle::Accepted || !unit.iron.power {
            return;
        }
        let gpus = unit.spec.parts.get("gpu").copied().unwrap_or(1) as usize;
        // To the switches that are failure domains: the fabric's, not the management's.
        let cables: Vec<_> = unit
            .cables
            .iter()
            .filter_map(|it| {
                let (switch, _) = it.port_b.rsplit_once(':')?;
                let port = it.port_a.rsplit(':').next()?;
                unit.spec.domains.iter().any(|domain| domain == switch).then(|| (switch.to_owned(), port.to_owned()))
            })
            .collect();
        let link = (!cables.is_empty()).then(|| cables[port % cables.len()].clone());
        if matches!(way.sign, Sign::Link | Sign::Switch) && link.is_none() {
            return;
        }
        self.tally.happened(cause);
        if let (Sign::Switch, Some((switch, _))) = (way.sign, &link) {
            return self.switch_down(switch.clone());
        }
        self.faults += 1;
        let part = match way.part {
            "gpu" => format!("gpu{}", gpu % gpus + 1),
            "nic" | "psu" | "drive" => {
                let count = unit.spec.parts.get(way.part).copied().unwrap_or(2) as usize;
                format!("{}{}", way.part, gpu % count.max(1) + 1)
            }
            other => other.to_owned(),
        };
        let link = link.filter(|_| way.sign == Sign::Link);
        // Where there is no NVLink, the GPU breaks in another way.
        let sign = match (way.sign, unit.spec.kind) {
            (Sign::Nvlink, MachineKind::RtxPro) => Sign::Xid(62),
            (sign, _) => sign,
        };
        let now = self.clock.now;
        let number = self.faults;
        let unit = &mut self.units[at];
        // What agent and BMC say until now is so until now.
        unit.iron.refresh(&unit.spec, &mut unit.observed, now);
        let fault = Fault { number, cause: Some(cause), sign, cure: way.cure, part, link, since: now, isolated: false };
        unit.iron.faults.push(fault);
        unit.iron.changed(now);
        self.signal(at, number);
        self.mend(at, |fault| fault.cure == Cure::Itself);
    }

    /// All that is wrong with a machine that takes up work shows again.
    pub fn signal_all(&mut self, at: usize) {
        let numbers: Vec<u64> = self.units[at].iron.faults.iter().map(|it| it.number).collect();
        for number in numbers {
            self.signal(at, number);
        }
    }

    /// A fault shows, as far as it does.
    fn signal(&mut self, at: usize, number: u64) {
        let now = self.clock.now;
        let Some(fault) = self.units[at].iron.faults.iter().find(|it| it.number == number) else { return };
        let gpu = fault.gpu().unwrap_or(0);
        let xid = |code| Some(EventKind::Xid { code, gpu, driver: "570.124.06".to_owned() });
        let event = match fault.sign {
            Sign::Xid(code) => xid(code),
            Sign::Gone => xid(79),
            Sign::Remap => xid(64),
            Sign::Nvlink => xid(74),
            Sign::Program => xid(43),
            Sign::Heat => Some(EventKind::Thermal { gpu, temperature_c: 96 }),
            Sign::Link | Sign::Switch => fault.link.clone().map(|(domain, port)| EventKind::LinkDown { domain, port }),
            Sign::Hang | Sign::Part | Sign::PartAndHang | Sign::Nothing => None,
        };
        let faults = &self.scenario.faults;
        let redundant = REDUNDANT.contains(&spares::kind(&fault.part));
        let (sign, repeats) = (fault.sign, matches!(fault.sign, Sign::Xid(_) | Sign::Heat));
        let noticed = match sign {
            Sign::Nothing => Some(self.fate.wait(hours(faults.silent_hours) as f64)),
            Sign::Part if redundant => Some((faults.redundant_days * DAY as f64) as i64),
            _ => None,
        };
        if let Some(what) = event {
            self.units[at].observed.events.push(Event { at: now, what });
        }
        if repeats {
            let after = self.fate.wait(AGAIN_MILLIS);
            self.clock.after(after.max(SECOND), What::Again { machine: at, fault: number });
        }
        if let Some(after) = noticed {
            self.clock.after(after, What::Noticed { machine: at, fault: number });
        }
        if matches!(sign, Sign::Hang | Sign::PartAndHang) {
            self.clock.after(self.rules.limits.agent_silent + SECOND, What::Step(at));
        }
        self.step_at_sweep(at);
        self.step(at);
    }

    pub fn again(&mut self, at: usize, number: u64) {
        let unit = &self.units[at];
        let there = unit.iron.faults.iter().any(|it| it.number == number);
        if there && unit.machine.lifecycle == Lifecycle::Accepted && unit.iron.power {
            self.signal(at, number);
        }
    }

    /// A person has seen it and asks for the machine.
    pub fn noticed(&mut self, at: usize, number: u64) {
        let unit = &mut self.units[at];
        let Some(fault) = unit.iron.faults.iter().find(|it| it.number == number) else { return };
        if unit.machine.lifecycle == Lifecycle::Accepted && unit.spec.drain.is_none() {
            unit.spec.drain = Some(format!("{} is to be looked at", fault.part));
            unit.spec.generation += 1;
            self.tally.asked += 1;
            self.step(at);
        }
    }

    /// One switch: everything behind it loses that link at once.
    fn switch_down(&mut self, domain: String) {
        let now = self.clock.now;
        if self.switches_down.contains_key(&domain) {
            return;
        }
        self.switches_down.insert(domain.clone(), now);
        self.tally.switches += 1;
        let after = self.fate.wait(hours(self.scenario.faults.switch_hours) as f64);
        self.clock.after(after, What::SwitchBack(domain.clone()));
        self.link_events(&domain, false);
    }

    pub fn switch_back(&mut self, domain: &str) {
        self.switches_down.remove(domain);
        self.link_events(domain, true);
    }

    fn link_events(&mut self, domain: &str, up: bool) {
        let now = self.clock.now;
        for at in 0..self.units.len() {
            let unit = &mut self.units[at];
            let on = unit.iron.power && unit.iron.provisioned;
            if !on || !unit.spec.domains.iter().any(|it| it == domain) {
                continue;
            }
            let (domain, port) = (domain.to_owned(), "*".to_owned());
            let what = if up { EventKind::LinkUp { domain, port } } else { EventKind::LinkDown { domain, port } };
            unit.observed.events.push(Event { at: now, what });
            self.step(at);
        }
    }

    /// An agent that begins tells how its links are: what came back while it was off is up.
    pub fn links_told(&mut self, at: usize) {
        let now = self.clock.now;
        let unit = &mut self.units[at];
        let down =
            unit.machine.measures.iter().filter(|it| it.open && it.cause == LINK_DOWN).map(|it| it.about.clone());
        let broken = |domain: &String| {
            let own = |it: &Fault| it.link.as_ref().is_some_and(|(own, _)| own == domain);
            self.switches_down.contains_key(domain) || unit.iron.faults.iter().any(own)
        };
        let up: BTreeSet<String> = down.filter(|domain| !broken(domain)).collect();
        for domain in up {
            unit.observed.events.push(Event { at: now, what: EventKind::LinkUp { domain, port: "*".to_owned() } });
        }
    }

    /// A restart or a reset was done.
    pub fn measured(&mut self, at: usize, gpu: u32, since: UnixMillis, reset: bool) {
        let now = self.clock.now;
        let mends = self.dice.chance(MEASURE_MENDS);
        let iron = &mut self.units[at].iron;
        iron.doing.measures.retain(|it| *it != (gpu, since, reset));
        let about = |it: &Fault| it.gpu() == Some(gpu);
        match (reset, mends) {
            (false, true) => self.mend(at, |it| about(it) && it.cure == Cure::Restart),
            (true, true) => self.mend(at, |it| about(it) && matches!(it.cure, Cure::Restart | Cure::Reset)),
            // It was more than that.
            (false, false) => self.worse(at, Cure::Restart, Cure::Reset),
            (true, false) => self.worse(at, Cure::Reset, Cure::Inspection),
        }
        let what = if reset { EventKind::Reset { gpu, since } } else { EventKind::Restarted { gpu, since } };
        self.units[at].observed.events.push(Event { at: now, what });
        self.step(at);
    }

    fn worse(&mut self, at: usize, from: Cure, to: Cure) {
        for fault in self.units[at].iron.faults.iter_mut().filter(|it| it.cure == from) {
            fault.cure = to;
        }
    }

    /// Switched off and on.
    pub fn cold_start(&mut self, at: usize) {
        self.mend(at, |it| matches!(it.cure, Cure::Restart | Cure::Reset));
    }

    /// What an order did to the machine.
    pub fn order_done(&mut self, at: usize, order: &Order, kind: OrderKind) {
        let now = self.clock.now;
        match kind {
            OrderKind::Receive | OrderKind::Remove => {}
            OrderKind::Install => {
                let iron = &mut self.units[at].iron;
                iron.bmc_from = Some(now.0 + super::act::minutes(self.scenario.machines.bmc_minutes));
                self.powered(at, true);
            }
            OrderKind::Repair => {
                if !order.tasks.iter().any(|task| task.verb == Verb::Swap) {
                    self.inspected(at);
                }
            }
        }
    }

    /// Somebody looked at the machine, seated cards and cables anew and will switch it on.
    fn inspected(&mut self, at: usize) {
        let share = self.scenario.faults.inspection_mends;
        let count = self.units[at].iron.faults.len();
        let mended: Vec<bool> = (0..count).map(|_| self.dice.chance(share)).collect();
        let hit: Vec<u64> = self.units[at]
            .iron
            .faults
            .iter()
            .zip(mended)
            .filter(|(fault, mended)| {
                // A host that stood still runs again after a cold start, in any case.
                fault.sign == Sign::Hang || (fault.cure == Cure::Inspection && *mended)
            })
            .map(|(fault, _)| fault.number)
            .collect();
        self.mend(at, |fault| hit.contains(&fault.number));
    }

    /// A new part: what was wrong with the old one is gone.
    pub fn exchanged(&mut self, at: usize, part: &str, serial: &str) {
        let now = self.clock.now;
        let unit = &mut self.units[at];
        if let Some(known) = unit.iron.parts.get_mut(part) {
            *known = serial.to_owned();
        }
        // The bill is what is to be there: who exchanged the part writes it down.
        if let Some(known) = unit.spec.serials.get_mut(part) {
            *known = serial.to_owned();
            unit.spec.generation += 1;
        }
        unit.iron.changed(now);
        self.mend(at, |fault| fault.part == part);
    }

    /// These are out of the world.
    pub fn mend(&mut self, at: usize, which: impl Fn(&Fault) -> bool) {
        let now = self.clock.now;
        let iron = &mut self.units[at].iron;
        let (gone, left): (Vec<Fault>, Vec<Fault>) =
            std::mem::take(&mut iron.faults).into_iter().partition(|it| which(it));
        iron.faults = left;
        if gone.is_empty() {
            return;
        }
        iron.changed(now);
        for fault in gone {
            self.tally.mended(&fault);
            if let Some((domain, port)) = fault.link {
                let what = EventKind::LinkUp { domain, port };
                self.units[at].observed.events.push(Event { at: now, what });
            }
        }
    }
}
