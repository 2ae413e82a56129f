//! What a task is to a robot: the actions of each verb, with their parameters. `docs/robots.md` describes them for whoever
//! programs the robot.

use crate::limits::{NODES_MAX, TEXT_BYTES_MAX};
use crate::message::order::Parameter;
use crate::message::words::BlockingType;
use fleet::order::Verb;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use types::TaskId;

/// A task, given to one robot. (task, attempt) names it: giving it twice is giving it once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub task: TaskId,
    pub attempt: u32,
    pub verb: Verb,
    /// As in `fleet::order::Task`: `u21`; `CABLE PORT PORT` for a cable.
    pub subject: String,
    /// `hall/row/rack/u11`.
    pub slot: String,
    /// The machine's serial number, if it is known: what must be scanned.
    pub serial: Option<String>,
    pub mass_g: u32,
    /// The task's zone: a robot that asks for access to it gets it while it has the task.
    pub zone: String,
    /// Nodes to visit, in order; the last is where the work is done. Moving picks up at the first.
    pub route: Vec<String>,
}

/// Why a job cannot be told to any robot: the caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    #[error("robots have no action for \"{0}\"; a person does it")]
    Verb(Verb),
    #[error("a route has 1 to {NODES_MAX} nodes with names of at most {TEXT_BYTES_MAX} bytes")]
    Route,
    #[error("\"{0}\" names no rack unit (u1 to u99)")]
    RackUnit(String),
    #[error("\"{0}\" is not a cable and its two ports")]
    Cable(String),
    #[error("moving needs a node to pick up at and another to drop at")]
    Move,
}

/// One action of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// At the route's first node, not its last.
    pub first: bool,
    pub action_type: &'static str,
    pub blocking: BlockingType,
    pub parameters: Vec<Parameter>,
}

/// The types of action that a verb needs, all of them; empty if no robot does it.
pub fn action_types(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Receive => &["verifyLabel", "scanAsset", "photograph"],
        Verb::Move => &["pick", "drop"],
        Verb::Lift => &["pick"],
        Verb::Insert => &["insertServer"],
        Verb::Torque => &["torqueRails"],
        Verb::Cable => &["connectCable"],
        Verb::Scan => &["scanAsset"],
        Verb::Photograph => &["photograph"],
        // Judgement, or nothing that the agreed actions can say.
        Verb::Swap | Verb::Extract | Verb::PowerOn => &[],
    }
}

/// How the evidence of an action is called in the order's record.
pub fn evidence_kind(action_type: &str) -> Option<&'static str> {
    match action_type {
        "scanAsset" => Some("scan"),
        "photograph" => Some("photo"),
        "torqueRails" => Some("torque"),
        // Of a cable it is the label that was read on it.
        "verifyLabel" | "connectCable" => Some("label"),
        _ => None,
    }
}

/// Nothing else may happen while it moves a machine or holds a tool; looking needs only that it stands.
fn blocking(action_type: &str) -> BlockingType {
    match action_type {
        "scanAsset" | "verifyLabel" | "photograph" => BlockingType::Soft,
        _ => BlockingType::Hard,
    }
}

impl Job {
    /// The order's id. Deterministic, so that an order given again after a crash is the same order.
    pub fn order_id(&self) -> String {
        format!("{}.{}", self.task, self.attempt)
    }

    /// Its actions, in order.
    pub fn steps(&self) -> Result<Vec<Step>, JobError> {
        let named = |node: &String| (1..=TEXT_BYTES_MAX).contains(&node.len());
        if !(1..=NODES_MAX).contains(&self.route.len()) || !self.route.iter().all(named) {
            return Err(JobError::Route);
        }
        if self.verb == Verb::Move && self.route.len() < 2 {
            return Err(JobError::Move);
        }
        let types = action_types(self.verb);
        if types.is_empty() {
            return Err(JobError::Verb(self.verb));
        }
        let step = |action_type: &'static str| {
            let parameters = self.parameters(action_type)?;
            let first = action_type == "pick" && self.verb == Verb::Move;
            let parameters =
                parameters.into_iter().map(|(key, value)| Parameter { key: key.to_owned(), value }).collect();
            Ok(Step { first, action_type, blocking: blocking(action_type), parameters })
        };
        types.iter().map(|action_type| step(action_type)).collect()
    }

    fn parameters(&self, action_type: &str) -> Result<Vec<(&'static str, Value)>, JobError> {
        let serial = self.serial.iter().map(|it| ("serial", json!(it)));
        Ok(match action_type {
            "insertServer" => {
                let unit = self.rack_unit()?;
                [("slot", json!(self.slot)), ("rackU", json!(unit))].into_iter().chain(serial).collect()
            }
            "connectCable" => {
                let (cable, a, b) = self.cable()?;
                vec![("cableId", json!(cable)), ("portA", json!(a)), ("portB", json!(b))]
            }
            "pick" => {
                let place = if self.verb == Verb::Move { &self.route[0] } else { &self.slot };
                [("stationName", json!(place)), ("loadType", json!("server"))]
                    .into_iter()
                    .chain(load(&self.serial))
                    .collect()
            }
            "drop" => {
                let place = self.route.last().map_or("", String::as_str);
                [("stationName", json!(place)), ("loadType", json!("server"))]
                    .into_iter()
                    .chain(load(&self.serial))
                    .collect()
            }
            _ => [("slot", json!(self.slot)), ("subject", json!(self.subject))].into_iter().chain(serial).collect(),
        })
    }

    /// `u21` of the subject, else of the slot.
    fn rack_unit(&self) -> Result<u32, JobError> {
        let unit = |text: &str| {
            let digits = text.rsplit('/').next()?.strip_prefix('u')?;
            digits.parse().ok().filter(|unit| (1..=99).contains(unit))
        };
        unit(&self.subject).or_else(|| unit(&self.slot)).ok_or_else(|| JobError::RackUnit(self.subject.clone()))
    }

    fn cable(&self) -> Result<(&str, &str, &str), JobError> {
        let mut words = self.subject.split_whitespace().filter(|word| !matches!(*word, "->" | "to"));
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(cable), Some(a), Some(b), None) => Ok((cable.trim_end_matches(':'), a, b)),
            _ => Err(JobError::Cable(self.subject.clone())),
        }
    }
}

fn load(serial: &Option<String>) -> Option<(&'static str, Value)> {
    serial.as_ref().map(|it| ("loadId", json!(it)))
}
