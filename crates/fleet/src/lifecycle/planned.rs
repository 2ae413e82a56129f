//! `planned`: in the site file, not on the premises. It waits for its receipt: an order that scans and photographs it.
//! Held by a scan of another serial number than the bill's.

use super::{Next, Situation, check, orders};
use crate::machine::Lifecycle;
use crate::order::OrderKind;

pub(super) fn step(situation: &Situation<'_>) -> Next {
    if let Some(next) = orders::wait(situation, OrderKind::Receive) {
        return next;
    }
    if let Some(finding) = check::custody(situation) {
        return Next::hold(finding);
    }
    let serial = situation.serial().unwrap_or_default();
    Next::go(Lifecycle::Received, format!("received, serial {}", check::shown(serial)))
}
