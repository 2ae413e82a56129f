//! What is counted while a study runs; `report` makes the answer of it.

use super::causes::CAUSES;
use super::clock::{BEGIN, DAY};
use super::crew::Crew;
use super::iron::Fault;
use super::spares::Shelf;
use super::world::Unit;
use fleet::machine::{Finding, Lifecycle, Machine, Scheduling};
use fleet::order::Refusal;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use types::{MachineId, UnixMillis};

/// One day, as it was at its end.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Day {
    pub day: i64,
    pub planned: usize,
    pub received: usize,
    pub installed: usize,
    pub powered: usize,
    pub provisioned: usize,
    pub validated: usize,
    pub accepted: usize,
    pub drain: usize,
    pub repair: usize,
    pub held: usize,
    pub serving: usize,
    pub serving_gpus: u64,
    /// Of all machines, over the whole day.
    pub serving_share: f64,
    pub faults: u64,
    pub drains: u64,
    pub refused: u64,
    pub spares_used: u64,
    pub spares_left: usize,
    pub robots_busy: f64,
    pub people_busy: f64,
}

/// What one cause did.
#[derive(Debug, Clone, Default)]
pub struct OfCause {
    pub happened: u64,
    pub isolated: Vec<i64>,
    /// Out of the world while the machine kept serving.
    pub mended_serving: u64,
}

#[derive(Default)]
pub struct Tally {
    machines: usize,
    pub gpus: u64,
    pub events: u64,
    pub steps: u64,
    pub tasks: u64,
    pub tasks_failed: u64,
    pub robots_lost: u64,
    pub refusals: BTreeMap<String, u64>,
    pub causes: Vec<OfCause>,
    pub switches: u64,
    pub drains_automatic: u64,
    pub drains_asked: u64,
    /// Drains that people asked for.
    pub asked: u64,
    /// Machine and the time of its finding: one refusal, however often it is looked at.
    refused: BTreeSet<(MachineId, i64)>,
    told: BTreeSet<(String, String, i64)>,
    pub findings: BTreeMap<String, u64>,
    pub lemons_cured: u64,
    pub repairs: Vec<i64>,
    pub out: Vec<i64>,
    since_repair: BTreeMap<MachineId, i64>,
    closed_at: Vec<Option<i64>>,
    opened_at: Vec<Option<i64>>,
    opened_ever: Vec<bool>,
    /// When the n-th machine was accepted for the first time.
    pub accepted_at: Vec<i64>,
    accepted_ever: BTreeSet<MachineId>,
    pub serving: usize,
    pub serving_gpus: u64,
    serving_millis: i64,
    /// Machine-millis in service up to `counted_at`.
    counted_at: i64,
    pub days: Vec<Day>,
    last: Last,
}

/// Sums at the end of the day before.
#[derive(Default)]
struct Last {
    serving: i64,
    faults: u64,
    drains: u64,
    refused: u64,
    spares: u64,
    robots: i64,
    people: i64,
}

fn gpus(unit: &Unit) -> u64 {
    u64::from(unit.spec.parts.get("gpu").copied().unwrap_or(0))
}

impl Tally {
    pub fn of(units: &[Unit]) -> Tally {
        Tally {
            machines: units.len(),
            gpus: units.iter().map(gpus).sum(),
            causes: vec![OfCause::default(); CAUSES.len()],
            closed_at: vec![None; units.len()],
            opened_at: vec![None; units.len()],
            opened_ever: vec![false; units.len()],
            counted_at: BEGIN.0,
            ..Tally::default()
        }
    }

    fn count(&mut self, now: UnixMillis) {
        self.serving_millis += self.serving as i64 * (now.0 - self.counted_at);
        self.counted_at = now.0;
    }

    /// Share of machine-time in service from the beginning on.
    pub fn serving_share(&mut self, now: UnixMillis) -> f64 {
        self.count(now);
        self.serving_millis as f64 / ((now.0 - BEGIN.0).max(1) as f64 * self.machines.max(1) as f64)
    }

    pub fn opened(&mut self, at: usize, unit: &Unit, now: UnixMillis) {
        self.count(now);
        self.serving += 1;
        self.serving_gpus += gpus(unit);
        self.opened_ever[at] = true;
        self.opened_at[at] = Some(now.0);
        if let Some(closed) = self.closed_at[at].take() {
            self.out.push(now.0 - closed);
        }
    }

    /// It gets no new work any more: whatever is wrong with it is isolated.
    pub fn closed(&mut self, at: usize, unit: &mut Unit, now: UnixMillis) {
        self.count(now);
        self.serving -= 1;
        self.serving_gpus -= gpus(unit);
        self.closed_at[at] = Some(now.0);
        let opened = self.opened_at[at].take().unwrap_or(BEGIN.0);
        for fault in unit.iron.faults.iter_mut().filter(|fault| !fault.isolated) {
            fault.isolated = true;
            if let Some(cause) = fault.cause {
                self.causes[cause].isolated.push(now.0 - fault.since.0.max(opened));
            }
        }
    }

    pub fn entered(&mut self, unit: &Unit, before: Option<&Machine>, now: UnixMillis) {
        let machine = &unit.machine;
        match machine.lifecycle {
            Lifecycle::Accepted if self.accepted_ever.insert(machine.id) => self.accepted_at.push(now.0 - BEGIN.0),
            Lifecycle::Drain if machine.repair.is_some() => self.drains_automatic += 1,
            Lifecycle::Drain => self.drains_asked += 1,
            Lifecycle::Repair => {
                self.since_repair.insert(machine.id, now.0);
            }
            _ => {}
        }
        if before.is_some_and(|it| it.lifecycle == Lifecycle::Repair)
            && let Some(since) = self.since_repair.remove(&machine.id)
        {
            self.repairs.push(now.0 - since);
        }
    }

    pub fn happened(&mut self, cause: usize) {
        self.causes[cause].happened += 1;
    }

    pub fn mended(&mut self, fault: &Fault) {
        if let Some(cause) = fault.cause.filter(|_| !fault.isolated) {
            self.causes[cause].mended_serving += 1;
        }
    }

    pub fn held(&mut self, machine: &Machine) {
        if let Some(hold) = &machine.hold {
            *self.findings.entry(hold.code.clone()).or_default() += 1;
        }
    }

    pub fn refused(&mut self, machine: &Machine) {
        if let Some(repair) = &machine.repair {
            self.refused.insert((machine.id, repair.at.0));
        }
    }

    pub fn refused_count(&self) -> u64 {
        self.refused.len() as u64
    }

    pub fn pages(&mut self, pages: &[Finding]) {
        for page in pages {
            if self.told.insert((page.code.clone(), page.about.clone(), page.at.0)) {
                *self.findings.entry(format!("page {}", page.code)).or_default() += 1;
            }
        }
    }

    pub fn refusal(&mut self, refusal: &Refusal) {
        *self.refusals.entry(refusal.to_string()).or_default() += 1;
    }

    pub fn day(&mut self, units: &[Unit], shelf: &Shelf, crew: &Crew, now: UnixMillis) {
        self.count(now);
        let of = |state| units.iter().filter(|it| it.machine.lifecycle == state).count();
        let last = &self.last;
        let sums = Last {
            serving: self.serving_millis,
            faults: self.causes.iter().map(|it| it.happened).sum(),
            drains: self.drains_automatic + self.drains_asked,
            refused: self.refused_count(),
            spares: shelf.used.values().sum(),
            robots: crew.robots_worked,
            people: crew.people_worked,
        };
        let share = |part: i64, of: usize| part as f64 / (DAY as f64 * of.max(1) as f64);
        self.days.push(Day {
            day: (now.0 - BEGIN.0) / DAY,
            planned: of(Lifecycle::Planned),
            received: of(Lifecycle::Received),
            installed: of(Lifecycle::Installed),
            powered: of(Lifecycle::Powered),
            provisioned: of(Lifecycle::Provisioned),
            validated: of(Lifecycle::Validated),
            accepted: of(Lifecycle::Accepted),
            drain: of(Lifecycle::Drain),
            repair: of(Lifecycle::Repair),
            held: units.iter().filter(|it| it.machine.hold.is_some()).count(),
            serving: units.iter().filter(|it| it.machine.scheduling == Scheduling::Open).count(),
            serving_gpus: self.serving_gpus,
            serving_share: share(sums.serving - last.serving, self.machines),
            faults: sums.faults - last.faults,
            drains: sums.drains - last.drains,
            refused: sums.refused - last.refused,
            spares_used: sums.spares - last.spares,
            spares_left: shelf.stock().values().sum(),
            robots_busy: share(sums.robots - last.robots, crew.fits.len()),
            people_busy: share(sums.people - last.people, crew.people.len()),
        });
        self.last = sums;
    }
}
