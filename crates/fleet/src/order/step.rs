//! What time does to an order: a task that was given to somebody who does not begin is given back; one that does not end
//! holds the order until a person has looked. It is never guessed that work was done.

use super::{ATTEMPTS_MAX, Event, Order, OrderState, TaskState, apply};
use std::collections::BTreeSet;
use types::UnixMillis;

/// A robot crosses the halls in 5 minutes and charges for none of them; twice that.
pub const ASSIGNED_MILLIS_MAX: i64 = 10 * 60_000;
/// The longest task, carrying and lifting 142 kg, takes half an hour; four times that.
pub const RUNNING_MILLIS_MAX: i64 = 120 * 60_000;

/// The limits of this site, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub assigned: i64,
    pub running: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { assigned: ASSIGNED_MILLIS_MAX, running: RUNNING_MILLIS_MAX }
    }
}

/// The order as it is at this time; equal to the one before if nothing is late.
pub fn step(order: &Order, limits: &Limits, now: UnixMillis) -> Order {
    if order.state != OrderState::Open {
        return order.clone();
    }
    // Tasks follow each other: at most one is at work.
    let late = order.tasks.iter().find_map(|task| {
        let age = now.0 - task.changed_at.0;
        let who = task.assignee.clone()?;
        match task.state {
            TaskState::Assigned if age > limits.assigned => {
                Some(Event::GiveBack { task: task.id, why: "not begun in time".to_owned() })
            }
            TaskState::Running if age > limits.running => {
                let minutes = limits.running / 60_000;
                let why = format!("not ended in {minutes} min (attempt {} of {ATTEMPTS_MAX})", task.attempts + 1);
                Some(Event::Fail { task: task.id, by: who, why, retriable: false })
            }
            _ => None,
        }
    });
    let next = late.and_then(|event| apply(order, &event, &BTreeSet::new(), now).ok());
    next.unwrap_or_else(|| order.clone())
}
