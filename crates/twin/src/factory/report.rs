//! The answer: figures of the whole, as a table for people; days as CSV. The same study has the same text.

use super::causes::CAUSES;
use super::clock::{BEGIN, DAY, HOUR, MINUTE};
use super::tally::Day;
use super::world::World;
use fleet::machine::Lifecycle;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Times of many, in minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Minutes {
    pub count: usize,
    pub p50: f64,
    pub p90: f64,
    pub max: f64,
}

impl Minutes {
    /// Nearest rank.
    fn of(mut millis: Vec<i64>) -> Minutes {
        millis.sort_unstable();
        let rank = |percent: usize| {
            let at = (millis.len() * percent).div_ceil(100).max(1) - 1;
            millis.get(at).map_or(0.0, |it| *it as f64 / MINUTE as f64)
        };
        Minutes { count: millis.len(), p50: rank(50), p90: rank(90), max: rank(100) }
    }
}

/// What one cause of faults did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfCause {
    pub cause: &'static str,
    pub happened: u64,
    /// Mended by a restart, a reset or by itself while the machine served.
    pub mended_serving: u64,
    pub isolated: Minutes,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spare {
    pub part: String,
    pub used: u64,
    pub lowest_stock: usize,
    /// How often a repair had to wait for one.
    pub lacking: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub scenario: String,
    pub seed: u64,
    pub days: u32,
    pub machines: usize,
    pub gpus: u64,
    pub robots: usize,
    pub people: usize,
    /// Days until so many of a hundred machines had been accepted once; none if it did not come to that.
    pub capacity_days: BTreeMap<u32, Option<f64>>,
    pub accepted: usize,
    pub serving: usize,
    pub serving_gpus: u64,
    /// Of all machines' time.
    pub serving_share: f64,
    /// The worst day once everything had been accepted.
    pub serving_share_lowest: Option<f64>,
    pub faults: u64,
    pub switch_faults: u64,
    pub causes: Vec<OfCause>,
    /// From a fault's begin, or the machine's return, until it got no new work.
    pub isolation: Minutes,
    /// The same without what nobody could see: wrong results, and a redundant part that is planned in.
    pub isolation_visible: Minutes,
    pub drains_automatic: u64,
    pub drains_asked: u64,
    /// Machines' findings that did not get their permit at once.
    pub drains_refused: u64,
    /// In repair.
    pub repair: Minutes,
    /// From the last work to the next: drained, repaired, tested, accepted.
    pub out_of_service: Minutes,
    pub spares: Vec<Spare>,
    pub tasks: u64,
    pub tasks_failed: u64,
    pub robots_lost: u64,
    /// Driving and at work, of all their time.
    pub robots_busy: f64,
    /// Of their shifts.
    pub people_busy: f64,
    pub findings: BTreeMap<String, u64>,
    pub held_at_end: BTreeMap<String, u64>,
    pub lemons_cured: u64,
    pub events: u64,
    pub steps: u64,
    pub by_day: Vec<Day>,
}

pub(super) fn of(world: &mut World) -> Report {
    let end = types::UnixMillis(BEGIN.0 + i64::from(world.scenario.days) * DAY);
    let serving_share = world.tally.serving_share(end);
    let tally = &world.tally;
    let machines = world.units.len();
    let at = |percent: u32| {
        let number = (machines * percent as usize).div_ceil(100);
        tally.accepted_at.get(number.max(1) - 1).map(|millis| *millis as f64 / DAY as f64)
    };
    let full = tally.accepted_at.get(machines.max(1) - 1).map_or(i64::MAX, |millis| millis / DAY + 1);
    let lowest = tally.days.iter().filter(|day| day.day > full).map(|day| day.serving_share);
    let hidden = |cause: usize| matches!(CAUSES[cause].name, "silent corruption" | "SSD" | "PSU");
    let all = || tally.causes.iter().enumerate();
    let times = |with_hidden: bool| {
        let some = all().filter(move |(cause, _)| with_hidden || !hidden(*cause));
        Minutes::of(some.flat_map(|(_, it)| it.isolated.iter().copied()).collect())
    };
    let (robots, people) = (world.crew.fits.len(), world.crew.people.len());
    let span = |count: usize| (i64::from(world.scenario.days) * DAY) as f64 * count.max(1) as f64;
    let mut held_at_end = BTreeMap::new();
    for hold in world.units.iter().filter_map(|it| it.machine.hold.as_ref()) {
        *held_at_end.entry(hold.code.clone()).or_default() += 1;
    }
    let spare = |(part, stock): (&String, &usize)| Spare {
        part: part.clone(),
        used: world.shelf.used.get(part).copied().unwrap_or(0),
        lowest_stock: world.shelf.lowest.get(part).copied().unwrap_or(*stock),
        lacking: world.shelf.lacking.get(part).copied().unwrap_or(0),
    };
    Report {
        scenario: world.scenario.name.clone(),
        seed: world.scenario.seed,
        days: world.scenario.days,
        machines,
        gpus: tally.gpus,
        robots,
        people,
        capacity_days: [50, 90, 95, 99, 100].into_iter().map(|percent| (percent, at(percent))).collect(),
        accepted: world.units.iter().filter(|it| it.machine.lifecycle == Lifecycle::Accepted).count(),
        serving: tally.serving,
        serving_gpus: tally.serving_gpus,
        serving_share,
        serving_share_lowest: lowest.min_by(f64::total_cmp),
        faults: tally.causes.iter().map(|it| it.happened).sum(),
        switch_faults: tally.switches,
        causes: all()
            .map(|(cause, it)| OfCause {
                cause: CAUSES[cause].name,
                happened: it.happened,
                mended_serving: it.mended_serving,
                isolated: Minutes::of(it.isolated.clone()),
            })
            .collect(),
        isolation: times(true),
        isolation_visible: times(false),
        drains_automatic: tally.drains_automatic,
        drains_asked: tally.drains_asked,
        drains_refused: tally.refused_count(),
        repair: Minutes::of(tally.repairs.clone()),
        out_of_service: Minutes::of(tally.out.clone()),
        spares: world.shelf.stock().iter().map(spare).collect(),
        tasks: tally.tasks,
        tasks_failed: tally.tasks_failed,
        robots_lost: tally.robots_lost,
        robots_busy: world.crew.robots_worked as f64 / span(robots),
        people_busy: world.crew.people_worked as f64 / (span(people) * world.crew.shift_share()),
        findings: tally.findings.clone(),
        held_at_end,
        lemons_cured: tally.lemons_cured,
        events: tally.events,
        steps: tally.steps,
        by_day: tally.days.clone(),
    }
}

/// Minutes as people read them.
fn span(minutes: f64) -> String {
    let hour = (HOUR / MINUTE) as f64;
    match minutes {
        m if m < hour => format!("{m:.1} min"),
        m if m < 48.0 * hour => format!("{:.1} h", m / hour),
        m => format!("{:.1} d", m / hour / 24.0),
    }
}

fn times(it: &Minutes) -> String {
    match it.count {
        0 => "none".to_owned(),
        count => format!("p50 {}   p90 {}   max {}   ({count})", span(it.p50), span(it.p90), span(it.max)),
    }
}

impl Report {
    /// For people; every line has its name in front.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |name: &str, what: String| {
            let _ = writeln!(out, "{name:20} {what}");
        };
        line(
            "scenario",
            format!(
                "{}, seed {}, {} days: {} machines, {} GPUs, {} robots, {} people",
                self.scenario, self.seed, self.days, self.machines, self.gpus, self.robots, self.people
            ),
        );
        let reached = self.capacity_days.iter().map(|(percent, days)| match days {
            Some(days) => format!("{percent} % {days:.1} d"),
            None => format!("{percent} % not reached"),
        });
        line("accepted once", reached.collect::<Vec<_>>().join("   "));
        let share = |share: f64| format!("{:.2} %", share * 100.0);
        let lowest = self.serving_share_lowest.map_or_else(String::new, |it| format!(", worst day {}", share(it)));
        line("serving", format!("{} of all machine time{lowest}", share(self.serving_share)));
        line(
            "at the end",
            format!("{} accepted, {} serving with {} GPUs", self.accepted, self.serving, self.serving_gpus),
        );
        let a_day = self.faults as f64 / f64::from(self.days.max(1));
        line("faults", format!("{} ({a_day:.1} a day), of them {} whole switches", self.faults, self.switch_faults));
        line(
            "drains",
            format!(
                "{} automatic, {} asked for by people; {} findings had to wait for the limit",
                self.drains_automatic, self.drains_asked, self.drains_refused
            ),
        );
        line("time to isolate", times(&self.isolation_visible));
        line("  with the unseen", times(&self.isolation));
        line("in repair", times(&self.repair));
        line("out of service", times(&self.out_of_service));
        line("robots", format!("{:.0} % busy, {} went silent", self.robots_busy * 100.0, self.robots_lost));
        line("people", format!("{:.0} % busy in their shifts", self.people_busy * 100.0));
        line("tasks", format!("{} done, {} failed and begun anew", self.tasks, self.tasks_failed));
        let spares = self.spares.iter().map(|it| {
            let waits = if it.lacking > 0 { format!(", {} repairs waited", it.lacking) } else { String::new() };
            format!("{} {} (lowest stock {}{waits})", it.part, it.used, it.lowest_stock)
        });
        line("spares used", spares.collect::<Vec<_>>().join("   "));
        let list = |all: &BTreeMap<String, u64>| match all.is_empty() {
            true => "none".to_owned(),
            false => all.iter().map(|(code, count)| format!("{code} {count}")).collect::<Vec<_>>().join("   "),
        };
        line("findings", list(&self.findings));
        line("held at the end", list(&self.held_at_end));
        line("repeat offenders", format!("{} understood and mended", self.lemons_cured));
        line("", String::new());
        line("cause", format!("{:>6} {:>14}   time to isolate", "faults", "mended serving"));
        for it in &self.causes {
            let cause: String = it.cause.chars().take(20).collect();
            line(&cause, format!("{:>6} {:>14}   {}", it.happened, it.mended_serving, times(&it.isolated)));
        }
        line("", String::new());
        line(
            "day",
            format!("{:>8} {:>8} {:>8} {:>7} {:>6} {:>6}", "accepted", "serving", "GPUs", "repair", "held", "drains"),
        );
        for day in self.by_day.iter().filter(|it| it.day % self.row_every() == 0 || it.day == i64::from(self.days)) {
            line(
                &day.day.to_string(),
                format!(
                    "{:>8} {:>8} {:>8} {:>7} {:>6} {:>6}",
                    day.accepted, day.serving, day.serving_gpus, day.repair, day.held, day.drains
                ),
            );
        }
        out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// So that the table has some twenty rows.
    fn row_every(&self) -> i64 {
        i64::from(self.days).div_euclid(20).max(1)
    }

    /// One row a day.
    pub fn csv(&self) -> String {
        let mut out = String::from(
            "day,planned,received,installed,powered,provisioned,validated,accepted,drain,repair,held,serving,serving_gpus,\
             serving_share,faults,drains,refused,spares_used,spares_left,robots_busy,people_busy\n",
        );
        for it in &self.by_day {
            let _ = writeln!(
                out,
                "{},{},{},{},{},{},{},{},{},{},{},{},{},{:.5},{},{},{},{},{},{:.4},{:.4}",
                it.day,
                it.planned,
                it.received,
                it.installed,
                it.powered,
                it.provisioned,
                it.validated,
                it.accepted,
                it.drain,
                it.repair,
                it.held,
                it.serving,
                it.serving_gpus,
                it.serving_share,
                it.faults,
                it.drains,
                it.refused,
                it.spares_used,
                it.spares_left,
                it.robots_busy,
                it.people_busy
            );
        }
        out
    }
}
