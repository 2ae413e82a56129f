//! A machine's life, one file per state. Each says what its state waits for, what it asks for, and what holds it; here
//! stand the edges, the time limits, and the order in which things are decided.
//!
//! A step is a function of its arguments. **A hold is recomputed in each step**: what is mended holds no longer, what is
//! not holds still, and a person's release ([`release`]) is one of the facts. Only what a machine cannot be trusted to
//! mend itself, a BMC that changes its story, stays until somebody releases it.
//!
//! If we crash here: nothing was done yet. If we crash after the machine was stored and before its actions were done, the
//! next step asks for the same actions.

mod accepted;
mod check;
mod drain;
mod installed;
mod limits;
mod orders;
mod person;
mod planned;
mod powered;
mod provisioned;
mod received;
mod repair;
mod retired;
mod validated;

#[cfg(test)]
mod tests;

pub use limits::Limits;
pub use person::{Refusal, release, send_to_repair};

use crate::action::{Action, Step};
use crate::diagnosis;
use crate::drains::Permits;
use crate::machine::{FAULTS_KEPT_MAX, FaultMark, Finding, Health, Lifecycle, Machine, Passed, Scheduling, Spec};
use crate::observed::Observed;
use crate::quarantine::QuarantineRule;
use crate::xid::XidTable;
use types::UnixMillis;

/// What is the same for all machines of one pass.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub limits: Limits,
    pub xids: XidTable,
    pub quarantine: QuarantineRule,
    /// What only a look at the whole fleet can permit.
    pub permits: Permits,
    /// Since when this controller listens: silence before that was ours.
    pub listening_since: UnixMillis,
}

/// Every legal change of state; all others are bugs of ours.
pub const EDGES: &[(Lifecycle, Lifecycle)] = &[
    (Lifecycle::Planned, Lifecycle::Received),
    (Lifecycle::Planned, Lifecycle::Retired),
    (Lifecycle::Received, Lifecycle::Installed),
    (Lifecycle::Received, Lifecycle::Retired),
    (Lifecycle::Installed, Lifecycle::Powered),
    (Lifecycle::Installed, Lifecycle::Repair),
    (Lifecycle::Installed, Lifecycle::Retired),
    (Lifecycle::Powered, Lifecycle::Provisioned),
    (Lifecycle::Powered, Lifecycle::Repair),
    (Lifecycle::Powered, Lifecycle::Retired),
    (Lifecycle::Provisioned, Lifecycle::Validated),
    (Lifecycle::Provisioned, Lifecycle::Repair),
    (Lifecycle::Provisioned, Lifecycle::Retired),
    (Lifecycle::Validated, Lifecycle::Accepted),
    (Lifecycle::Validated, Lifecycle::Repair),
    (Lifecycle::Validated, Lifecycle::Retired),
    (Lifecycle::Accepted, Lifecycle::Drain),
    // The drain was withdrawn before anybody touched the machine: its certificate still says the truth.
    (Lifecycle::Drain, Lifecycle::Accepted),
    (Lifecycle::Drain, Lifecycle::Repair),
    (Lifecycle::Drain, Lifecycle::Retired),
    // From the start of what a certificate speaks of: power, inventory, firmware, tests.
    (Lifecycle::Repair, Lifecycle::Installed),
    (Lifecycle::Repair, Lifecycle::Retired),
];

/// Whether the table has this edge.
pub fn legal(from: Lifecycle, to: Lifecycle) -> bool {
    EDGES.contains(&(from, to))
}

/// The cause of the fault mark of a failed suite. It took nothing out of service, so it is no automatic drain.
pub const VALIDATION_FAULT: &str = "validation";

/// Findings that only a person ends, whatever is observed later.
const STICKY: [&str; 1] = ["serial_changed"];

/// What a state's step looks at. `machine` has this step's events decided on already.
struct Situation<'a> {
    spec: &'a Spec,
    machine: &'a Machine,
    observed: &'a Observed,
    rules: &'a Rules,
    now: UnixMillis,
}

impl Situation<'_> {
    /// How long it has been in this state, or since a person let it go on.
    fn stayed(&self) -> i64 {
        let since = self.machine.released.as_ref().map_or(self.machine.since, |release| release.at);
        self.now.0 - since.max(self.machine.since).0
    }

    /// Whether a person let it go on past this finding, in this stay.
    fn waived(&self, code: &str) -> bool {
        self.machine.released.as_ref().is_some_and(|release| release.code == code)
    }

    fn finding(&self, code: &str, about: &str, text: impl Into<String>) -> Finding {
        Finding::new(code, about, text, self.now)
    }

    /// The serial number that this machine must have: the bill's, or what was scanned when it came.
    fn serial(&self) -> Option<&str> {
        let bill = self.spec.serials.get("chassis").map(String::as_str).filter(|serial| !serial.is_empty());
        bill.or_else(|| self.observed.custody.as_ref().map(|custody| custody.serial.as_str()))
    }
}

/// What a state decided.
enum Next {
    Stay {
        reason: String,
        actions: Vec<Action>,
    },
    Hold {
        finding: Finding,
        actions: Vec<Action>,
    },
    /// Begin this state's work anew.
    Again {
        reason: String,
    },
    Go {
        to: Lifecycle,
        reason: String,
    },
}

impl Next {
    fn stay(reason: impl Into<String>, actions: Vec<Action>) -> Next {
        Next::Stay { reason: reason.into(), actions }
    }

    fn hold(finding: Finding) -> Next {
        Next::Hold { finding, actions: Vec::new() }
    }

    fn go(to: Lifecycle, reason: impl Into<String>) -> Next {
        Next::Go { to, reason: reason.into() }
    }
}

/// Decides one machine. See the crate's documentation for what a caller may rely on.
pub fn step(spec: &Spec, machine: &Machine, observed: &Observed, rules: &Rules, now: UnixMillis) -> Step {
    let mut next = machine.clone();
    diagnosis::take_events(&mut next, spec, observed, rules, now);
    let situation = Situation { spec, machine: &next, observed, rules, now };
    next.repair = accepted::repair(&situation);
    let decided = decide(&Situation { spec, machine: &next, observed, rules, now });
    let permitted = spec.wanted && spec.drain.is_none();
    let mut actions = apply(&mut next, decided, permitted, now);
    if (machine.lifecycle, next.lifecycle) == (Lifecycle::Validated, Lifecycle::Accepted) {
        next.certificate = observed.certified.as_ref().map(|seen| seen.certificate);
    }
    if (machine.lifecycle, next.lifecycle) == (Lifecycle::Provisioned, Lifecycle::Validated) {
        next.passed = Some(Passed { suite: spec.suite.clone(), entry: machine.entry, attempt: machine.attempt });
    }
    judge(&mut next, spec, observed, rules, now);
    if next.lifecycle == machine.lifecycle {
        actions.extend(orders::cancel_stale(&next, observed));
    }
    Step { next, actions, events_taken: observed.events.len() }
}

/// What is the same in every state, around what the state says.
fn decide(situation: &Situation<'_>) -> Next {
    let machine = situation.machine;
    let held = machine.hold.as_ref().filter(|hold| is_sticky(hold));
    let leaves = !situation.spec.wanted
        && !matches!(machine.lifecycle, Lifecycle::Accepted | Lifecycle::Drain | Lifecycle::Retired);
    if leaves {
        return Next::go(Lifecycle::Retired, "no longer wanted");
    }
    if let Some(hold) = held {
        return read_again(Next::hold(hold.clone()), machine.lifecycle);
    }
    let decided = match machine.lifecycle {
        Lifecycle::Planned => planned::step(situation),
        Lifecycle::Received => received::step(situation),
        Lifecycle::Installed => installed::step(situation),
        Lifecycle::Powered => powered::step(situation),
        Lifecycle::Provisioned => provisioned::step(situation),
        Lifecycle::Validated => validated::step(situation),
        Lifecycle::Accepted => accepted::step(situation),
        Lifecycle::Drain => drain::step(situation),
        Lifecycle::Repair => repair::step(situation),
        Lifecycle::Retired => retired::step(situation),
    };
    let decided = read_again(decided, machine.lifecycle);
    match (decided, situation.rules.limits.of(machine.lifecycle)) {
        (Next::Stay { reason, actions }, Some(limit)) if situation.stayed() > limit && overdue(situation) => {
            let hours = limit / 3_600_000;
            let text = format!("longer than {hours} h in {}: {reason}", machine.lifecycle);
            Next::Hold { finding: situation.finding("time_limit", "", text), actions }
        }
        (decided, _) => decided,
    }
}

/// What holds a machine before it is installed is what its BMC said: that is asked for until it holds no more. Whoever swaps
/// a cable back sees the machine go on, and a person's release is not answered with the old inventory.
fn read_again(decided: Next, lifecycle: Lifecycle) -> Next {
    match decided {
        Next::Hold { finding, mut actions }
            if matches!(lifecycle, Lifecycle::Installed | Lifecycle::Powered) || is_sticky(&finding) =>
        {
            if !actions.contains(&Action::ReadInventory) {
                actions.push(Action::ReadInventory);
            }
            Next::Hold { finding, actions }
        }
        other => other,
    }
}

fn is_sticky(finding: &Finding) -> bool {
    STICKY.contains(&finding.code.as_str())
}

/// Some waits are nobody's lateness: a machine that is retired and gone, one that a person keeps out.
fn overdue(situation: &Situation<'_>) -> bool {
    match situation.machine.lifecycle {
        Lifecycle::Retired => !retired::gone(situation),
        Lifecycle::Validated | Lifecycle::Repair => situation.spec.drain.is_none(),
        _ => true,
    }
}

/// Writes the decision into the machine; answers what is to be done. `permitted`: a drain that nobody asked for.
fn apply(next: &mut Machine, decided: Next, permitted: bool, now: UnixMillis) -> Vec<Action> {
    match decided {
        Next::Stay { reason, actions } => {
            next.hold = None;
            next.reason = reason;
            actions
        }
        Next::Hold { mut finding, mut actions } => {
            let same = next.hold.as_ref().filter(|hold| hold.code == finding.code && hold.about == finding.about);
            match same {
                Some(hold) => finding.at = hold.at,
                None if finding.code == provisioned::TEST_FAILED => {
                    let (cause, about) = (VALIDATION_FAULT.to_owned(), finding.about.clone());
                    fault(next, FaultMark { at: now, cause, about, by_person: false });
                }
                None => {}
            }
            next.reason = finding.text.clone();
            next.hold = Some(finding.clone());
            actions.push(Action::Page { finding });
            actions
        }
        Next::Again { reason } => {
            next.hold = None;
            next.attempt += 1;
            next.reason = reason;
            Vec::new()
        }
        Next::Go { to, reason } => {
            enter(next, to, reason, permitted, now);
            Vec::new()
        }
    }
}

/// The only place where a machine's state changes.
fn enter(machine: &mut Machine, to: Lifecycle, reason: String, permitted: bool, now: UnixMillis) {
    assert!(legal(machine.lifecycle, to), "{} -> {to} is not an edge; no state may ask for it", machine.lifecycle);
    if to == Lifecycle::Drain
        && let Some(repair) = machine.repair.clone()
    {
        fault(machine, FaultMark { at: now, cause: repair.code, about: repair.about, by_person: !permitted });
    }
    if matches!(to, Lifecycle::Repair | Lifecycle::Retired) {
        machine.certificate = None;
    }
    if !matches!(to, Lifecycle::Drain | Lifecycle::Repair) {
        machine.repair = None;
    }
    // What was asked for is asked for no more; a link is down whatever the machine does.
    for measure in &mut machine.measures {
        measure.open &= measure.cause == diagnosis::LINK_DOWN;
    }
    machine.lifecycle = to;
    machine.entry += 1;
    machine.since = now;
    machine.attempt = 0;
    machine.hold = None;
    machine.released = None;
    machine.reason = reason;
}

fn fault(machine: &mut Machine, mark: FaultMark) {
    if machine.faults.len() >= FAULTS_KEPT_MAX {
        machine.faults.remove(0);
    }
    machine.faults.push(mark);
}

/// Health and scheduling follow from the rest; they are never set by hand.
fn judge(machine: &mut Machine, spec: &Spec, observed: &Observed, rules: &Rules, now: UnixMillis) {
    machine.health = diagnosis::health(machine, spec, observed, rules, now);
    machine.scheduling = match machine.lifecycle {
        Lifecycle::Drain => Scheduling::Draining,
        Lifecycle::Accepted if open(machine, observed) => Scheduling::Open,
        _ => Scheduling::Cordoned,
    };
}

/// Capacity: accepted, its certificate in the log, and nothing against it.
fn open(machine: &Machine, observed: &Observed) -> bool {
    let sealed = match (&machine.certificate, &observed.certified) {
        (Some(holds), Some(seen)) => seen.sealed && seen.certificate == *holds,
        _ => false,
    };
    sealed && machine.hold.is_none() && machine.health != Health::Faulted
}
