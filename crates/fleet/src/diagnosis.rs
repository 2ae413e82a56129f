//! What events and readings mean for a machine in service: nothing, a look, a restart, a reset, a drain, an exchange.
//!
//! - **Events** (XIDs, links, heat) are answered once each, by the XID table; what was answered is kept in the machine's
//!   `measures`, and **repeats escalate**: restart, reset, drain, exchange. A burst is one event. What was asked for and is
//!   not seen done in its time escalates too.
//! - **Readings** (a GPU gone, a row that cannot be remapped, silence) are looked at anew in each step: what is mended is
//!   forgotten.
//!
//! What it is not: it drains nothing; it says what should be, and `drains` permits. A failed link alone does not make a
//! machine faulted: it works on its other rails, and its cause mostly stands elsewhere.

mod readings;

#[cfg(test)]
mod tests;

use crate::action::Action;
use crate::lifecycle::Rules;
use crate::machine::{Finding, Health, Lifecycle, MEASURES_KEPT_MAX, Machine, Measure, Spec};
use crate::observed::{Event, EventKind, Observed};
use crate::xid::{Generation, XidAction};
use types::UnixMillis;

pub use readings::standing;

/// The cause of measures about switches, feeds and links; what they are about is a failure domain.
pub const LINK_DOWN: &str = "link_down";

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// One crash writes its XIDs on all channels within seconds; a program is back after a minute at the earliest.
pub const BURST_MILLIS: i64 = MINUTE;
/// Repeats count within a day.
pub const REPEAT_MILLIS: i64 = DAY;
/// Two restarts mend what a program did. A third on one GPU in a day: it may be the GPU.
pub const RESTARTS_MAX: usize = 2;
/// A reset mends a GPU or it does not.
pub const RESETS_MAX: usize = 1;
/// Hot twice is a door that stood open; three times in a day is a fan or a pipe.
pub const THERMAL_MAX: usize = 2;
/// A reset takes seconds, an engine loads its weights in minutes.
pub const MEASURE_MILLIS_MAX: i64 = 10 * MINUTE;
/// A link that comes back within 5 minutes was a restart of its switch, and twice within them it flaps.
pub const LINK_MILLIS_MAX: i64 = 5 * MINUTE;
pub const LINK_FLAPS_MAX: usize = 1;
/// The same fault again after a drain and an inspection: the part is exchanged.
pub const FAULT_REPEAT_MILLIS: i64 = 30 * DAY;

/// How much is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something to look at.
    Watch,
    /// It must not carry work.
    Drain,
    /// And the part it is about is exchanged.
    Exchange,
}

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symptom {
    pub severity: Severity,
    pub finding: Finding,
}

/// Decides on every event that was not decided on, and on what was asked for and is not done in time.
pub(crate) fn take_events(machine: &mut Machine, spec: &Spec, observed: &Observed, rules: &Rules, now: UnixMillis) {
    for event in &observed.events {
        take(machine, spec, observed, rules, event, now);
    }
    let overdue = |it: &Measure| it.open && now.0 - it.at.max(rules.listening_since).0 > MEASURE_MILLIS_MAX;
    for at in 0..machine.measures.len() {
        let measure = &mut machine.measures[at];
        let harder = match measure.action {
            XidAction::Restart => XidAction::Reset,
            XidAction::Reset => XidAction::Drain,
            _ => continue,
        };
        if overdue(measure) {
            measure.open = false;
            let late = measure.clone();
            let action = escalated(machine, harder, &late.cause, &late.about, now);
            remember(machine, Measure { at: now, action, open: true, ..late });
        }
    }
    machine.measures.retain(|it| it.open || now.0 - it.at.0 < FAULT_REPEAT_MILLIS);
}

fn take(machine: &mut Machine, spec: &Spec, observed: &Observed, rules: &Rules, event: &Event, now: UnixMillis) {
    // Agents' clocks are not believed: an event of the future is one of now.
    let at = event.at.min(now);
    match &event.what {
        EventKind::Xid { code, gpu, driver } => {
            let name = readings::gpu(observed, *gpu).map_or("", |gpu| gpu.name.as_str());
            let action = rules.xids.answer(*code, Generation::of(name, spec.kind), driver).action;
            answer(machine, action, &format!("xid_{code}"), (&readings::part(observed, *gpu), Some(*gpu)), at);
        }
        EventKind::Thermal { gpu, .. } => {
            let about = readings::part(observed, *gpu);
            let before = count(machine, at, REPEAT_MILLIS, |it| it.cause == "thermal" && it.about == about);
            let action = if before < THERMAL_MAX { XidAction::Ignore } else { XidAction::Drain };
            answer(machine, action, "thermal", (&about, Some(*gpu)), at);
        }
        EventKind::Part { part, .. } => {
            let part = &readings::named(observed, part);
            let spare = readings::redundant(part);
            let before = count(machine, at, REPEAT_MILLIS, |it| it.cause == "part" && it.about != *part);
            let action = if spare && before == 0 { XidAction::Ignore } else { XidAction::Rma };
            answer(machine, action, "part", (part, None), at);
        }
        EventKind::LinkDown { domain, .. } => {
            // Every fall counts: a flapping link is a row of them.
            let measure = Measure {
                at,
                cause: LINK_DOWN.to_owned(),
                about: domain.clone(),
                gpu: None,
                action: XidAction::Ignore,
                open: true,
            };
            remember(machine, measure);
        }
        EventKind::LinkUp { domain, .. } => close(machine, |it| it.cause == LINK_DOWN && it.about == *domain),
        EventKind::Restarted { gpu, since } => done(machine, XidAction::Restart, *gpu, *since),
        EventKind::Reset { gpu, since } => done(machine, XidAction::Reset, *gpu, *since),
    }
}

/// Writes down what is done about an event: once per burst, harder if it was done before.
fn answer(machine: &mut Machine, base: XidAction, cause: &str, whom: (&str, Option<u32>), at: UnixMillis) {
    let (about, gpu) = whom;
    let burst = machine
        .measures
        .iter()
        .any(|it| it.about == about && it.action >= base && (it.open || (at.0 - it.at.0).abs() < BURST_MILLIS));
    if burst {
        return;
    }
    let action = escalated(machine, base, cause, about, at);
    // Only in service is anything asked for; elsewhere it is remembered, and validation looks at it.
    let open = action > XidAction::Ignore && machine.lifecycle == Lifecycle::Accepted;
    remember(machine, Measure { at, cause: cause.to_owned(), about: about.to_owned(), gpu, action, open });
}

/// What was done before without lasting help is not done again.
fn escalated(machine: &Machine, base: XidAction, cause: &str, about: &str, at: UnixMillis) -> XidAction {
    let times = |action| count(machine, at, REPEAT_MILLIS, |it| it.about == about && it.action == action);
    let mut action = base;
    if action == XidAction::Restart && times(XidAction::Restart) >= RESTARTS_MAX {
        action = XidAction::Reset;
    }
    if action == XidAction::Reset && times(XidAction::Reset) >= RESETS_MAX {
        action = XidAction::Drain;
    }
    let again = machine
        .faults
        .iter()
        .any(|fault| fault.cause == cause && fault.about == about && at.0 - fault.at.0 < FAULT_REPEAT_MILLIS);
    if action == XidAction::Drain && again { XidAction::Rma } else { action }
}

fn count(machine: &Machine, at: UnixMillis, within: i64, like: impl Fn(&Measure) -> bool) -> usize {
    machine.measures.iter().filter(|it| at.0 - it.at.0 < within && like(it)).count()
}

fn remember(machine: &mut Machine, measure: Measure) {
    if machine.measures.len() >= MEASURES_KEPT_MAX {
        // What is still to be done is kept as long as anything else can go.
        let at = machine.measures.iter().position(|it| !it.open).unwrap_or(0);
        machine.measures.remove(at);
    }
    machine.measures.push(measure);
}

fn close(machine: &mut Machine, like: impl Fn(&Measure) -> bool) {
    machine.measures.iter_mut().filter(|it| like(it)).for_each(|it| it.open = false);
}

fn done(machine: &mut Machine, action: XidAction, gpu: u32, since: UnixMillis) {
    close(machine, |it| it.action == action && it.gpu == Some(gpu) && it.at == since);
}

/// What an accepted machine must be drained for, if for anything: the worst, and of equals what stood there before.
pub(crate) fn pending(
    machine: &Machine,
    spec: &Spec,
    observed: &Observed,
    rules: &Rules,
    now: UnixMillis,
) -> Option<Finding> {
    let mut symptoms = standing(spec, observed, rules, now);
    symptoms.extend(machine.measures.iter().filter_map(|it| measured(it, now)));
    symptoms.extend(links(machine, rules, now));
    symptoms.retain(|it| it.severity >= Severity::Drain);
    let before = |it: &Symptom| {
        machine.repair.as_ref().is_some_and(|old| old.code == it.finding.code && old.about == it.finding.about)
    };
    // The first of equals: `max_by_key` takes the last.
    let worst = symptoms.into_iter().rev().max_by_key(|it| (it.finding.code != LINK_DOWN, it.severity, before(it)))?;
    let at = machine.repair.as_ref().filter(|_| before(&worst)).map_or(now, |old| old.at);
    Some(Finding { at, ..worst.finding })
}

/// An event that a drain answers.
fn measured(measure: &Measure, now: UnixMillis) -> Option<Symptom> {
    let severity = match measure.action {
        XidAction::Drain => Severity::Drain,
        XidAction::Rma => Severity::Exchange,
        _ => return None,
    };
    let text = match severity {
        Severity::Exchange => format!("{} on {}; the part is to be exchanged", measure.cause, measure.about),
        _ => format!("{} on {}", measure.cause, measure.about),
    };
    measure.open.then(|| Symptom { severity, finding: Finding::new(&measure.cause, &measure.about, text, now) })
}

/// Links that are down for long, or fell twice.
pub(crate) fn links(machine: &Machine, rules: &Rules, now: UnixMillis) -> Option<Symptom> {
    let down = machine.measures.iter().find(|it| {
        let falls = count(machine, now, LINK_MILLIS_MAX, |other| other.cause == LINK_DOWN && other.about == it.about);
        let age = now.0 - it.at.max(rules.listening_since).0;
        it.cause == LINK_DOWN && it.open && (falls > LINK_FLAPS_MAX || age > LINK_MILLIS_MAX)
    })?;
    let finding = Finding::new(LINK_DOWN, &down.about, format!("its link to {} is down", down.about), now);
    Some(Symptom { severity: Severity::Drain, finding })
}

/// The first failure domain to which a link is down.
pub(crate) fn link_down(machine: &Machine) -> Option<&str> {
    machine.measures.iter().find(|it| it.cause == LINK_DOWN && it.open).map(|it| it.about.as_str())
}

/// What is asked for and not seen done.
pub(crate) fn actions(machine: &Machine) -> Vec<Action> {
    let open = machine.measures.iter().filter(|it| it.open);
    open.filter_map(|it| match it.action {
        XidAction::Restart => Some(Action::RestartEngine { gpu: it.gpu?, since: it.at }),
        XidAction::Reset => Some(Action::ResetGpu { gpu: it.gpu?, since: it.at }),
        _ => None,
    })
    .collect()
}

/// What is wrong with the machine now, worst first: what a person reads under its health.
pub fn symptoms(machine: &Machine, spec: &Spec, observed: &Observed, rules: &Rules, now: UnixMillis) -> Vec<Symptom> {
    let mut symptoms = concerning(machine, spec, observed, rules, now);
    symptoms.extend(machine.measures.iter().filter(|it| it.open).map(|it| {
        measured(it, now).unwrap_or_else(|| {
            let text = format!("{} on {}: {} is asked for", it.cause, it.about, it.action);
            Symptom { severity: Severity::Watch, finding: Finding::new(&it.cause, &it.about, text, it.at) }
        })
    }));
    symptoms.sort_by_key(|it| std::cmp::Reverse(it.severity));
    symptoms
}

/// What stands, as far as it concerns a machine in its state.
fn concerning(machine: &Machine, spec: &Spec, observed: &Observed, rules: &Rules, now: UnixMillis) -> Vec<Symptom> {
    match machine.lifecycle {
        // Nothing is known of it yet, or nothing matters any more.
        Lifecycle::Planned | Lifecycle::Received | Lifecycle::Installed | Lifecycle::Retired => Vec::new(),
        // Switched off, by a person's wish.
        Lifecycle::Repair if machine.repair.is_none() => Vec::new(),
        _ => {
            let mut symptoms = standing(spec, observed, rules, now);
            // Until its agent is there, nobody is silent.
            symptoms.retain(|it| machine.lifecycle != Lifecycle::Powered || !it.finding.code.ends_with("_silent"));
            symptoms
        }
    }
}

/// How the machine is, from everything that is known.
pub(crate) fn health(machine: &Machine, spec: &Spec, observed: &Observed, rules: &Rules, now: UnixMillis) -> Health {
    match machine.lifecycle {
        Lifecycle::Planned | Lifecycle::Received | Lifecycle::Installed | Lifecycle::Retired => Health::Healthy,
        Lifecycle::Drain | Lifecycle::Repair if machine.repair.is_some() => Health::Faulted,
        Lifecycle::Repair => Health::Healthy,
        _ => {
            let closed = machine.hold.is_some() && machine.lifecycle == Lifecycle::Accepted;
            let waits = machine.repair.as_ref().is_some_and(|repair| repair.code != LINK_DOWN);
            let worst = concerning(machine, spec, observed, rules, now).iter().map(|it| it.severity).max();
            if closed || waits || worst >= Some(Severity::Drain) {
                Health::Faulted
            } else if worst.is_some() || machine.measures.iter().any(|it| it.open) {
                Health::Degraded
            } else {
                Health::Healthy
            }
        }
    }
}

/// Parts that its BMC calls critical: exchanged at any repair, since somebody stands there anyway.
pub fn faulty_parts(observed: &Observed) -> Vec<String> {
    let parts = observed.bmc.iter().flat_map(|bmc| bmc.inventory.parts.iter());
    parts.filter(|(_, part)| !part.healthy).map(|(name, _)| name.clone()).collect()
}

/// The part that its repair exchanges; none if somebody is to look first.
pub fn exchanged(machine: &Machine) -> Option<&str> {
    let repair = machine.repair.as_ref().filter(|repair| !repair.about.is_empty())?;
    let measured = machine.measures.iter().rev().find(|it| it.cause == repair.code && it.about == repair.about);
    let by_event = measured.is_some_and(|it| it.action == XidAction::Rma);
    (by_event || readings::EXCHANGED.contains(&repair.code.as_str())).then_some(repair.about.as_str())
}
