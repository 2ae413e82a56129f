//! How many machines may be taken out of service without a person: per hour on the site, per hour and per day in each
//! failure domain. One broken switch is reported by every machine behind it; draining them all would do to tenants what the
//! switch did not. What a person asks for is never limited and never counted.
//!
//! Nothing is stored for it: what was drained is in the machines' faults, what waits is in their `repair`. One pass over
//! the fleet decides ([`decide`]), the steps that follow use it ([`Permits::of`]).
//!
//! If we crash between the two: who was permitted and did not begin still waits, and is counted as waiting.

use crate::machine::{FaultMark, Finding, Lifecycle, Machine, Spec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use types::{MachineId, UnixMillis};

/// The field has 8 faults a day at most, one in 3 hours: 16 in one hour are no coincidence.
pub const SITE_PER_HOUR_MAX: usize = 16;
/// Half of that: one sick domain leaves room for the others. A quarter of the 32 machines behind a leaf.
pub const DOMAIN_PER_HOUR_MAX: usize = 8;
/// Half of the 32 machines behind a leaf: whatever the hours add up to, half of a unit keeps serving.
pub const DOMAIN_PER_DAY_MAX: usize = 16;
/// As many machines with the same complaint about one domain, and a person is told that it is the domain.
pub const SHARED_MACHINES_MIN: usize = 4;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// The limits of this site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DrainLimits {
    pub site_per_hour_max: usize,
    pub domain_per_hour_max: usize,
    pub domain_per_day_max: usize,
}

impl Default for DrainLimits {
    fn default() -> Self {
        Self {
            site_per_hour_max: SITE_PER_HOUR_MAX,
            domain_per_hour_max: DOMAIN_PER_HOUR_MAX,
            domain_per_day_max: DOMAIN_PER_DAY_MAX,
        }
    }
}

/// Whether a machine may begin an automatic drain now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permit {
    Granted,
    /// Not now, and why.
    Refused(String),
    /// The pass has not seen that it waits.
    Undecided,
}

/// What one pass over the fleet decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permits {
    granted: BTreeSet<MachineId>,
    refused: BTreeMap<MachineId, String>,
    /// One per failure domain, about the domain (`about`), however many machines complain; the same finding, with the same
    /// time, as long as it lasts.
    pub pages: Vec<Finding>,
}

impl Permits {
    pub fn of(&self, machine: MachineId) -> Permit {
        if self.granted.contains(&machine) {
            return Permit::Granted;
        }
        self.refused.get(&machine).map_or(Permit::Undecided, |why| Permit::Refused(why.clone()))
    }

    pub fn granted(&self) -> usize {
        self.granted.len()
    }
}

/// Automatic drains, as the machines' faults tell.
#[derive(Default)]
struct Begun {
    site_hour: usize,
    hour: BTreeMap<String, usize>,
    day: BTreeMap<String, usize>,
}

/// A machine that waits for a permit.
struct Waiting<'a> {
    machine: &'a Machine,
    repair: &'a Finding,
    domains: BTreeSet<&'a str>,
}

/// What can have failed together with this machine, for this cause.
fn domains<'a>(spec: &'a Spec, cause: &str, about: &'a str) -> BTreeSet<&'a str> {
    let mut domains: BTreeSet<&str> = spec.domains.iter().map(String::as_str).collect();
    if cause == crate::diagnosis::LINK_DOWN {
        domains.insert(about);
    }
    domains
}

/// Decides for the whole fleet: who waits longest goes first, then by id.
pub fn decide<'a>(
    fleet: impl IntoIterator<Item = (&'a Spec, &'a Machine)>,
    limits: &DrainLimits,
    now: UnixMillis,
) -> Permits {
    let mut begun = Begun::default();
    let mut waiting = Vec::new();
    // Domain to the machines that complain about it, and since when.
    let mut complaints: BTreeMap<&str, (usize, UnixMillis)> = BTreeMap::new();
    for (spec, machine) in fleet {
        let automatic = |fault: &&FaultMark| !fault.by_person && fault.cause != crate::lifecycle::VALIDATION_FAULT;
        for fault in machine.faults.iter().filter(automatic) {
            let age = now.0 - fault.at.0;
            if age < HOUR {
                begun.site_hour += 1;
            }
            for domain in domains(spec, &fault.cause, &fault.about) {
                if age < HOUR {
                    *begun.hour.entry(domain.to_owned()).or_default() += 1;
                }
                if age < DAY {
                    *begun.day.entry(domain.to_owned()).or_default() += 1;
                }
            }
        }
        let Some(repair) = &machine.repair else { continue };
        if repair.code == crate::diagnosis::LINK_DOWN {
            let (count, since) = complaints.entry(&repair.about).or_insert((0, repair.at));
            *count += 1;
            *since = (*since).min(repair.at);
        }
        if machine.lifecycle == Lifecycle::Accepted {
            waiting.push(Waiting { machine, repair, domains: domains(spec, &repair.code, &repair.about) });
        }
    }
    waiting.sort_by_key(|it| (it.repair.at, it.machine.id));
    let mut permits = Permits::default();
    let mut refusals: BTreeMap<&str, (usize, UnixMillis)> = BTreeMap::new();
    for one in &waiting {
        match full(one, &begun, limits, &complaints) {
            None => {
                begun.site_hour += 1;
                for domain in &one.domains {
                    *begun.hour.entry((*domain).to_owned()).or_default() += 1;
                    *begun.day.entry((*domain).to_owned()).or_default() += 1;
                }
                permits.granted.insert(one.machine.id);
            }
            Some((domain, why)) => {
                let (count, since) = refusals.entry(domain).or_insert((0, one.repair.at));
                *count += 1;
                *since = (*since).min(one.repair.at);
                permits.refused.insert(one.machine.id, why);
            }
        }
    }
    permits.pages = pages(&complaints, &refusals);
    permits
}

/// The first limit that this machine's drain would break, and what to say of it.
fn full<'a>(
    one: &Waiting<'a>,
    begun: &Begun,
    limits: &DrainLimits,
    complaints: &BTreeMap<&str, (usize, UnixMillis)>,
) -> Option<(&'a str, String)> {
    // What the machine complains about goes first: it is the better reason of several.
    let about = one.domains.get(one.repair.about.as_str()).copied();
    for domain in about.into_iter().chain(one.domains.iter().copied()) {
        let shared = complaints.get(domain).is_some_and(|(count, _)| *count >= SHARED_MACHINES_MIN);
        let why = if shared { "; cause looks shared" } else { "" };
        let of = |counts: &BTreeMap<String, usize>| counts.get(domain).copied().unwrap_or(0);
        let (hour, day) = (of(&begun.hour), of(&begun.day));
        if hour >= limits.domain_per_hour_max {
            let max = limits.domain_per_hour_max;
            return Some((domain, format!("{domain}: {hour} of {max} automatic drains this hour{why}")));
        }
        if day >= limits.domain_per_day_max {
            let max = limits.domain_per_day_max;
            return Some((domain, format!("{domain}: {day} of {max} automatic drains this day{why}")));
        }
    }
    let (hour, max) = (begun.site_hour, limits.site_per_hour_max);
    (hour >= max).then(|| ("site", format!("site: {hour} of {max} automatic drains this hour")))
}

fn pages(
    complaints: &BTreeMap<&str, (usize, UnixMillis)>,
    refusals: &BTreeMap<&str, (usize, UnixMillis)>,
) -> Vec<Finding> {
    let mut pages = Vec::new();
    for (domain, (count, since)) in complaints.iter().filter(|(_, (count, _))| *count >= SHARED_MACHINES_MIN) {
        let wait = refusals.get(domain).map_or(0, |(count, _)| *count);
        let text = format!("{domain}: {count} machines report it; {wait} of them wait for a permit to drain");
        pages.push(Finding::new("shared_cause", domain, text, *since));
    }
    for (domain, (count, since)) in refusals {
        if !pages.iter().any(|page| page.about == **domain) {
            let text =
                format!("{domain}: {count} machines must be drained, and the limit on automatic drains is reached");
            pages.push(Finding::new("drain_limit", domain, text, *since));
        }
    }
    pages
}

#[cfg(test)]
mod tests;
