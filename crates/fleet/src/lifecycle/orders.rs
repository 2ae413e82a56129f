//! How a state waits for people and robots: one order per stay. What it is not: the order itself (`crate::order`).

use super::{Next, Situation};
use crate::action::Action;
use crate::machine::Machine;
use crate::observed::Observed;
use crate::order::{OrderKind, OrderState};

/// Asks for the order of this stay and waits for its end; `None` when it is done.
pub(super) fn wait(situation: &Situation<'_>, kind: OrderKind) -> Option<Next> {
    let machine = situation.machine;
    let order = match &situation.observed.order {
        None => return Some(Next::stay(format!("an order is to be made: {kind}"), vec![Action::OpenOrder { kind }])),
        // A machine has one open order at most: the old one ends first.
        Some(order) if order.entry != machine.entry && live(order.state) => {
            return Some(Next::stay("its former order is to be cancelled", Vec::new()));
        }
        Some(order) if order.entry != machine.entry => {
            return Some(Next::stay(format!("an order is to be made: {kind}"), vec![Action::OpenOrder { kind }]));
        }
        Some(order) => order,
    };
    match order.state {
        OrderState::Open => Some(Next::stay(format!("its order is at work: {kind}"), Vec::new())),
        OrderState::Held => {
            let why = order.finding.as_deref().unwrap_or("no finding was written down");
            Some(Next::hold(situation.finding("order_held", "", format!("its order ({kind}) is held: {why}"))))
        }
        OrderState::Cancelled => {
            let text = format!("its order ({kind}) was cancelled; a release makes a new one");
            Some(Next::hold(situation.finding("order_cancelled", "", text)))
        }
        OrderState::Done => None,
    }
}

/// An order of a former stay is of no use any more.
pub(super) fn cancel_stale(machine: &Machine, observed: &Observed) -> Option<Action> {
    let order = observed.order.as_ref()?;
    (order.entry != machine.entry && live(order.state)).then_some(Action::CancelOrder)
}

fn live(state: OrderState) -> bool {
    matches!(state, OrderState::Open | OrderState::Held)
}
