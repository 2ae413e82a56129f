//! A robot whose task is no longer its own is still where it was: its zone is nobody else's until it has said that it stopped.

use super::{Assignee, Order, OrderState, TaskState};
use types::TaskId;

/// A task that a robot may still be at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub task: TaskId,
    pub robot: String,
    pub zone: String,
}

/// The task in a zone that a robot had before a change, begun or not, and no longer has. Tasks follow each other: it is one at
/// most. Who asks knows whether the robot itself said so; then it stands.
pub fn left(before: &Order, after: &Order) -> Option<Left> {
    let at = |order: &Order, id: Option<TaskId>| {
        let open = order.state == OrderState::Open;
        let mut tasks = order.tasks.iter().filter(|task| open && id.is_none_or(|id| id == task.id));
        tasks.find_map(|task| match (task.state, &task.assignee) {
            (TaskState::Assigned | TaskState::Running, Some(Assignee::Robot(robot))) => {
                Some(Left { task: task.id, robot: robot.clone(), zone: task.zone.clone() })
            }
            _ => None,
        })
    };
    let had = at(before, None).filter(|had| !had.zone.is_empty())?;
    (at(after, Some(had.task)).as_ref() != Some(&had)).then_some(had)
}
