//! `accepted`: capacity. It is watched; what is mended by a restart or a reset is, what is not waits for the permit to
//! drain (`crate::drains`). What a person asks for waits for nothing. Scheduling is decided in `super::judge`.
//!
//! Held, and thereby closed to new work, by a machine that is not the one any more: another serial number, another
//! machine's agent, a clock that lies, a boot that is not secured any more.

use super::{Next, Situation, check};
use crate::diagnosis;
use crate::drains::Permit;
use crate::machine::{Finding, Lifecycle};

/// What it must be repaired for. While accepted it is what waits for a permit, found anew in each step; afterwards it is
/// what was decided.
pub(super) fn repair(situation: &Situation<'_>) -> Option<Finding> {
    match situation.machine.lifecycle {
        Lifecycle::Accepted => {
            diagnosis::pending(situation.machine, situation.spec, situation.observed, situation.rules, situation.now)
        }
        _ => situation.machine.repair.clone(),
    }
}

pub(super) fn step(situation: &Situation<'_>) -> Next {
    if !situation.spec.wanted {
        return Next::go(Lifecycle::Drain, "no longer wanted");
    }
    if let Some(why) = &situation.spec.drain {
        return Next::go(Lifecycle::Drain, format!("a person asked for it: {}", check::shown(why)));
    }
    let waits = match &situation.machine.repair {
        None => None,
        Some(repair) => match situation.rules.permits.of(situation.machine.id) {
            Permit::Granted => return Next::go(Lifecycle::Drain, repair.text.clone()),
            Permit::Refused(why) => Some(format!("{}; not drained: {why}", repair.text)),
            Permit::Undecided => Some(format!("{}; waits for the permit to drain", repair.text)),
        },
    };
    let inventory = situation.observed.bmc.as_ref().map(|bmc| &bmc.inventory);
    let finding = check::identity(situation)
        .or_else(|| check::bill(situation, inventory?))
        .or_else(|| check::gpus(situation))
        .or_else(|| check::secure_boot(situation, inventory?));
    if let Some(finding) = finding {
        return Next::hold(finding);
    }
    let actions = diagnosis::actions(situation.machine);
    Next::stay(waits.unwrap_or_else(|| "in service".to_owned()), actions)
}
