//! What time does to an order: a task that was given to somebody who does not begin is given back; one that does not end
//! holds the order until a person has looked. It is never guessed that work was done.

use super::{ATTEMPTS_MAX, Assignee, Event, Order, OrderState, Task, TaskState, apply};
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

/// Whether time does anything to it: for those who look at many orders, of which few are late.
pub fn is_late(order: &Order, limits: &Limits, now: UnixMillis) -> bool {
    late(order, limits, now).is_some()
}

/// The order as it is at this time; equal to the one before if nothing is late.
pub fn step(order: &Order, limits: &Limits, now: UnixMillis) -> Order {
    let event = late(order, limits, now).map(|(task, who)| match task.state {
        TaskState::Running => {
            let minutes = limits.running / 60_000;
            let why = format!("not ended in {minutes} min (attempt {} of {ATTEMPTS_MAX})", task.attempts + 1);
            Event::Fail { task: task.id, by: who.clone(), why, retriable: false }
        }
        _ => Event::GiveBack { task: task.id, why: "not begun in time".to_owned() },
    });
    let next = event.and_then(|event| apply(order, &event, &BTreeSet::new(), now).ok());
    next.unwrap_or_else(|| order.clone())
}

/// The task that is late, and whose it is. Tasks follow each other: at most one is at work.
fn late<'a>(order: &'a Order, limits: &Limits, now: UnixMillis) -> Option<(&'a Task, &'a Assignee)> {
    if order.state != OrderState::Open {
        return None;
    }
    order.tasks.iter().find_map(|task| {
        let age = now.0 - task.changed_at.0;
        let limit = match task.state {
            TaskState::Assigned => limits.assigned,
            TaskState::Running => limits.running,
            _ => return None,
        };
        task.assignee.as_ref().filter(|_| age > limit).map(|who| (task, who))
    })
}
