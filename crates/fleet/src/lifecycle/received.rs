//! `received`: in custody. It waits for its installation, by robots and people. Held like `planned` if the bill changes
//! under it, and by its order.

use super::{Next, Situation, check, orders};
use crate::machine::Lifecycle;
use crate::order::OrderKind;

pub(super) fn step(situation: &Situation<'_>) -> Next {
    if let Some(finding) = check::custody(situation) {
        return Next::hold(finding);
    }
    if let Some(next) = orders::wait(situation, OrderKind::Install) {
        return next;
    }
    Next::go(Lifecycle::Installed, format!("installed in {}", situation.spec.slot))
}
