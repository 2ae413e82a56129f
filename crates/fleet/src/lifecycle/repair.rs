//! `repair`: somebody works on it, by an order, with the machine switched off. Its certificate is void from here on.
//! Afterwards it proves itself anew from power on, unless it is a repeat offender or a person keeps it out.

use super::{Next, Situation, check, orders};
use crate::action::Action;
use crate::machine::Lifecycle;
use crate::observed::Power;
use crate::order::OrderKind;
use crate::quarantine;

pub(super) fn step(situation: &Situation<'_>) -> Next {
    let for_what = situation.machine.repair.as_ref().map_or("what a person asked for", |repair| repair.text.as_str());
    if let Some(next) = orders::wait(situation, OrderKind::Repair) {
        // Nobody reaches into a running machine. A BMC that does not answer keeps nobody out: the order has a task for it.
        let on = situation
            .observed
            .bmc
            .as_ref()
            .is_some_and(|bmc| bmc.silent_since.is_none() && bmc.inventory.power == Power::On);
        return match next {
            Next::Stay { actions, .. } if on && !actions.is_empty() => {
                Next::stay("is switched off for its repair", vec![Action::PowerOff, Action::ReadInventory])
            }
            Next::Stay { reason, actions } => Next::stay(format!("{reason}, for {for_what}"), actions),
            held => held,
        };
    }
    if let Some(why) = &situation.spec.drain {
        return Next::stay(format!("repaired; a person keeps it out: {}", check::shown(why)), Vec::new());
    }
    let offender = quarantine::verdict(&situation.machine.faults, &situation.rules.quarantine, situation.now);
    if let Some(finding) = offender.filter(|finding| !situation.waived(&finding.code)) {
        return Next::hold(finding);
    }
    Next::go(Lifecycle::Installed, "repaired; it proves itself anew")
}
