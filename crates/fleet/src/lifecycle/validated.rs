//! `validated`: it waits for its certificate, signed and covered by a checkpoint of the log. A certificate of another
//! entry is another stay's, before a repair for example, and does not count.

use super::{Next, Situation, check};
use crate::action::Action;
use crate::diagnosis::{self, Severity};
use crate::machine::Lifecycle;

pub(super) fn step(situation: &Situation<'_>) -> Next {
    if let Some(finding) = check::identity(situation) {
        return Next::hold(finding);
    }
    if let Some(why) = &situation.spec.drain {
        return Next::stay(format!("a person keeps it out: {}", check::shown(why)), Vec::new());
    }
    // Tests look at one hour; what is wrong now is never certified, or it would be drained as soon as it is capacity.
    let (spec, observed, rules) = (situation.spec, situation.observed, situation.rules);
    let symptoms = diagnosis::standing(spec, observed, rules, situation.now);
    if let Some(symptom) = symptoms.into_iter().find(|symptom| symptom.severity >= Severity::Drain) {
        return Next::hold(symptom.finding);
    }
    // The same for its links, which are no symptom of their own before they are down for minutes.
    if let Some(domain) = diagnosis::link_down(situation.machine) {
        return match diagnosis::links(situation.machine, rules, situation.now) {
            Some(symptom) => Next::hold(symptom.finding),
            None => {
                Next::stay(format!("its certificate waits: its link to {} is down", check::shown(domain)), Vec::new())
            }
        };
    }
    match seen(situation) {
        Some(true) => Next::go(Lifecycle::Accepted, "its certificate is in the log"),
        Some(false) => Next::stay("its certificate waits for a checkpoint", vec![Action::Certify]),
        None => Next::stay("its certificate is to be signed", vec![Action::Certify]),
    }
}

/// Whether this stay's certificate is sealed; none if there is none.
fn seen(situation: &Situation<'_>) -> Option<bool> {
    let certified = situation.observed.certified.as_ref()?;
    (certified.entry == situation.machine.entry).then_some(certified.sealed)
}
