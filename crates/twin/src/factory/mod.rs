//! A factory in virtual time: how long until full capacity, with how many robots, people and spares; how much of the fleet
//! serves while machines break at the field's rates; how fast a bad machine is isolated.
//!
//! Machines, orders, drains and holds are decided by `fleet`, the code that decides in production; here is the world that it
//! decides about: trucks, robots, people, BMCs, agents, faults. The same scenario and seed have the same course to the last
//! line. No sockets, no threads, no clock.
//!
//! What it is not: a measurement. Durations and most rates are assumptions, named in the scenario (docs/twin.md says which
//! come from where). Controllers do not crash here and networks take no time.

mod act;
mod breakage;
pub(crate) mod causes;
mod clock;
mod crew;
mod desk;
pub(crate) mod dice;
mod iron;
mod orders;
pub mod report;
pub mod scenario;
mod shipped;
mod spares;
mod tally;
mod world;

#[cfg(test)]
mod tests;

pub use report::Report;
pub use scenario::{Scenario, ScenarioError};
pub use shipped::{SCENARIOS, SITES, scenario_named, site_named};
pub use tally::Day;

use clock::{BEGIN, DAY};
use fleet::site::PlannedMachine;
use world::World;

/// How often the whole fleet is held against the invariants; each change of one machine always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// After so many events.
    pub every: u64,
}

impl Default for Checks {
    /// A look at 1,250 machines takes some milliseconds; a study has a million events.
    fn default() -> Checks {
        Checks { every: 5_000 }
    }
}

/// What must not be, and was: a bug of ours in the deciding code, or in the twin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an invariant was broken on day {day} at seed {seed}: {rule} ({about})")]
pub struct Broken {
    pub day: i64,
    pub seed: u64,
    pub rule: &'static str,
    pub about: String,
}

/// Runs a scenario on a site. `progress` is told how many days are over.
pub fn run(
    site: &[PlannedMachine],
    scenario: &Scenario,
    checks: Checks,
    mut progress: impl FnMut(u32),
) -> Result<Report, Broken> {
    let mut world = World::new(site, scenario);
    let end = BEGIN.0 + i64::from(scenario.days) * DAY + 1;
    let mut told = 0;
    while world.go(end) {
        if world.tally.events.is_multiple_of(checks.every.max(1)) {
            world.check();
        }
        let day = ((world.clock.now.0 - BEGIN.0) / DAY) as u32;
        if day != told {
            told = day;
            progress(day);
        }
    }
    world.check();
    match world.violations.first() {
        None => Ok(report::of(&mut world)),
        Some(violation) => Err(Broken {
            day: (world.clock.now.0 - BEGIN.0) / DAY,
            seed: scenario.seed,
            rule: violation.rule,
            about: violation.about.clone(),
        }),
    }
}
