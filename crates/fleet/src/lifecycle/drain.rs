//! `drain`: no new work, and what runs may end. Empty, or after its limit, the machine goes to repair or, if it is no
//! longer wanted, away. A person who takes the drain back before that gets the machine back as it was: nobody touched it.

use super::{Next, Situation};
use crate::action::Action;
use crate::machine::Lifecycle;

pub(super) fn step(situation: &Situation<'_>) -> Next {
    let spec = situation.spec;
    if spec.wanted && spec.drain.is_none() && situation.machine.repair.is_none() {
        return Next::go(Lifecycle::Accepted, "the drain was taken back");
    }
    let running = situation.observed.running;
    let late = situation.now.0 - situation.machine.since.0 > situation.rules.limits.drain;
    if running > 0 && !late {
        return Next::stay(format!("{running} workloads are to end"), vec![Action::StopWork]);
    }
    let how = if running == 0 { "empty".to_owned() } else { format!("{running} workloads did not end in time") };
    let to = if spec.wanted { Lifecycle::Repair } else { Lifecycle::Retired };
    Next::go(to, how)
}
