//! Orders: robot or human work on a machine, in tasks.
//!
//! - [`make`]: the list of tasks, from what the machine needs.
//! - [`apply`]: what a robot or a person did, or says about it; refused, or the order as it is from then on.
//! - [`step`]: what time does: a task that nobody begins is given back, one that does not end is a finding.
//! - [`assign`]: which robot takes which task; what no robot can do is people's ([`for_people`]).
//!
//! What it is not: it moves nothing and knows no robot's language (`vda5050`, `robots`).
//!
//! If we crash here: an order is a value in the database; an event that was not stored is told again by the robot's next
//! state, or by the person.

mod apply;
mod assign;
mod evidence;
mod left;
mod make;
mod step;

#[cfg(test)]
mod tests;

pub use apply::{ATTEMPTS_MAX, Event, Refusal, apply, legal};
pub use assign::{Assignment, BATTERY_PERCENT_MIN, RobotFit, assign, for_people};
pub use evidence::{TORQUE_MILLINEWTON_METRES_MAX, TORQUE_MILLINEWTON_METRES_MIN, scanned};
pub use left::{Left, left};
pub use make::{Work, make, mass_g};
pub use step::{ASSIGNED_MILLIS_MAX, Limits, RUNNING_MILLIS_MAX, is_late, step};

use crate::machine::{Finding, words};
use serde::{Deserialize, Serialize};
use types::{MachineId, OrderId, TaskId, UnixMillis};

words! {
    /// What an order is for.
    OrderKind {
        /// From the truck into custody: scan, photograph.
        Receive = "receive",
        /// Into its slot: lift, insert, torque, cable.
        Install = "install",
        /// A part exchanged, or the whole machine.
        Repair = "repair",
        /// Out of its slot and off the premises.
        Remove = "remove",
    }
}

words! {
    OrderState {
        Open = "open",
        /// A task failed for good, or a finding holds it; a person must act.
        Held = "held",
        Done = "done",
        Cancelled = "cancelled",
    }
}

words! {
    /// What a task is. The robot's actions of the same meaning are in `vda5050`.
    Verb {
        Receive = "receive",
        Move = "move",
        Lift = "lift",
        Insert = "insert",
        Torque = "torque",
        Cable = "cable",
        Scan = "scan",
        Photograph = "photograph",
        Swap = "swap",
        Extract = "extract",
        PowerOn = "power_on",
    }
}

words! {
    TaskState {
        /// Something before it is not done.
        Waiting = "waiting",
        /// Two people must confirm first.
        Held = "held",
        /// Anybody fit may take it.
        Ready = "ready",
        /// Given to a robot or taken by a person.
        Assigned = "assigned",
        Running = "running",
        Done = "done",
        Failed = "failed",
        /// Left out by a person, with a reason.
        Skipped = "skipped",
    }
}

/// Work on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub id: OrderId,
    pub machine: MachineId,
    /// The machine's `entry` for which it was made; (machine, entry) is unique.
    pub entry: u64,
    pub kind: OrderKind,
    pub state: OrderState,
    pub made_at: UnixMillis,
    /// Where it happens.
    pub slot: String,
    /// The serial number that must be scanned, if it is known.
    pub serial: Option<String>,
    pub tasks: Vec<Task>,
    pub finding: Option<Finding>,
}

/// One step of an order. Tasks are done in their order in the list; `Waiting` until all before are done or skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub verb: Verb,
    /// What with: `u21`, a cable's id and its two ports, a part.
    pub subject: String,
    pub state: TaskState,
    /// Mass that is moved, grams; a robot needs at least this payload.
    pub mass_g: u32,
    /// Where it happens, for exclusive zones: two tasks never run in one zone at once.
    pub zone: String,
    /// So many different people must confirm before it begins: 2 for lifting and power on, else 0.
    pub confirmations_min: u8,
    pub confirmed_by: Vec<String>,
    pub assignee: Option<Assignee>,
    /// How often it failed and was begun anew.
    pub attempts: u32,
    pub evidence: Vec<Evidence>,
    /// Why it failed or was skipped.
    pub note: Option<String>,
    pub changed_at: UnixMillis,
}

/// Who does a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "who", content = "id", rename_all = "snake_case")]
pub enum Assignee {
    /// `manufacturer/serialNumber`.
    Robot(String),
    /// A token's id.
    Person(String),
}

/// What shows that a task was done: never the file itself, its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// `scan`, `photo`, `torque`, `label`.
    pub kind: String,
    /// What was read, or the file's name.
    pub value: String,
    /// SHA-256 of the file, hex.
    pub sha256: Option<String>,
    pub by: String,
    pub at: UnixMillis,
}

/// A cable of the cable plan, at one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cable {
    pub id: String,
    /// At the machine.
    pub port_a: String,
    /// At the switch.
    pub port_b: String,
}

impl Order {
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == id)
    }

    /// Tasks that use a zone now: nobody else may work there.
    pub fn zones(&self) -> impl Iterator<Item = &str> {
        let used = self.tasks.iter().filter(|task| task.state == TaskState::Running && !task.zone.is_empty());
        used.map(|task| task.zone.as_str())
    }
}
