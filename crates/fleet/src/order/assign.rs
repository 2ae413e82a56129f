//! Which robot takes which task. Oldest order first; for each, the weakest robot that can do it, so that the strong ones
//! are free for machines; of equals the fullest battery, then the name. The robot that did an order's former task is
//! preferred: it stands there, and it may have the machine on its forks.

use super::{Assignee, Order, OrderState, Task, TaskState, Verb};
use std::collections::BTreeSet;
use types::{OrderId, TaskId};

/// Below it a robot drives to its charger and nowhere else.
pub const BATTERY_PERCENT_MIN: u8 = 25;

/// What a robot is fit for, from its factsheet and its newest state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RobotFit {
    /// `manufacturer/serialNumber`.
    pub id: String,
    pub payload_g: u32,
    pub verbs: BTreeSet<Verb>,
    /// Where it can drive: beginnings of slots, `hall-1` or `hall-1/row-a`. Empty: everywhere.
    pub zones: Vec<String>,
    pub battery_percent: u8,
    /// At work, charging, silent, stopped or in people's hands.
    pub busy: bool,
}

/// A task for a robot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub order: OrderId,
    pub task: TaskId,
    pub robot: String,
}

impl RobotFit {
    /// Whether it could ever do this, however busy and empty it is now.
    pub fn can(&self, order: &Order, task: &Task) -> bool {
        let within = |zone: &String| {
            order.slot.strip_prefix(zone.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.payload_g >= task.mass_g
            && self.verbs.contains(&task.verb)
            && (self.zones.is_empty() || self.zones.iter().any(within))
    }
}

fn by_age(orders: &[Order]) -> Vec<&Order> {
    let mut open: Vec<&Order> = orders.iter().filter(|order| order.state == OrderState::Open).collect();
    open.sort_by_key(|order| (order.made_at, order.id));
    open
}

fn ready(order: &Order) -> Option<&Task> {
    order.tasks.iter().find(|task| task.state == TaskState::Ready && task.assignee.is_none())
}

/// One task per free robot at most, one task per zone at most. The same question has the same answer.
pub fn assign(orders: &[Order], robots: &[RobotFit]) -> Vec<Assignment> {
    let at_work = |task: &&Task| matches!(task.state, TaskState::Assigned | TaskState::Running);
    let open = by_age(orders);
    let tasks = open.iter().flat_map(|order| order.tasks.iter()).filter(at_work);
    let mut zones: BTreeSet<&str> = tasks.clone().map(|task| task.zone.as_str()).collect();
    zones.remove("");
    // A robot that has a task is busy, whatever it says.
    let mut taken: BTreeSet<&str> = tasks
        .filter_map(|task| match &task.assignee {
            Some(Assignee::Robot(id)) => Some(id.as_str()),
            _ => None,
        })
        .collect();
    let mut assignments = Vec::new();
    for order in &open {
        let Some(task) = ready(order).filter(|task| !zones.contains(task.zone.as_str())) else { continue };
        let last =
            order.tasks.iter().rev().find(|task| task.state == TaskState::Done).and_then(|it| it.assignee.as_ref());
        let free = robots.iter().filter(|robot| {
            !robot.busy
                && robot.battery_percent >= BATTERY_PERCENT_MIN
                && !taken.contains(robot.id.as_str())
                && robot.can(order, task)
        });
        let best = free.min_by_key(|robot| {
            let stands_there = matches!(last, Some(Assignee::Robot(id)) if *id == robot.id);
            (!stands_there, robot.payload_g, u8::MAX - robot.battery_percent, robot.id.as_str())
        });
        if let Some(robot) = best {
            taken.insert(&robot.id);
            if !task.zone.is_empty() {
                zones.insert(&task.zone);
            }
            assignments.push(Assignment { order: order.id, task: task.id, robot: robot.id.clone() });
        }
    }
    assignments
}

/// Tasks that are ready and that no robot of this site could ever do.
pub fn for_people(orders: &[Order], robots: &[RobotFit]) -> Vec<(OrderId, TaskId)> {
    let ready = by_age(orders).into_iter().filter_map(|order| Some((order, ready(order)?)));
    ready
        .filter(|(order, task)| !robots.iter().any(|robot| robot.can(order, task)))
        .map(|(order, task)| (order.id, task.id))
        .collect()
}
