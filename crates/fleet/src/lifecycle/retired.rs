//! `retired`: gone for good. What was on the premises is carried out by an order; then nothing is ever asked again.

use super::{Next, Situation, orders};
use crate::observed::Observed;
use crate::order::{OrderKind, OrderState};

pub(super) fn step(situation: &Situation<'_>) -> Next {
    if !on_premises(situation.observed) {
        return Next::stay("gone; it never came", Vec::new());
    }
    orders::wait(situation, OrderKind::Remove).unwrap_or_else(|| Next::stay("gone", Vec::new()))
}

pub(super) fn gone(situation: &Situation<'_>) -> bool {
    let removed = situation
        .observed
        .order
        .as_ref()
        .is_some_and(|order| order.entry == situation.machine.entry && order.state == OrderState::Done);
    removed || !on_premises(situation.observed)
}

fn on_premises(observed: &Observed) -> bool {
    observed.custody.is_some()
}
