//! The robots of `robots::Link` as the order shell sees them: who is fit for what, tasks given, words heard.
//!
//! Words are kept until they are stored ([`Robots::stored`]); if we crash before, the robot's next state says the same.

use super::Bell;
use super::orders::{Robots, Said, Word};
use fleet::order::{Order, RobotFit};
use robots::{Handle, Job, Progress, Report, RobotId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use store::{FleetEvent, Store};
use tokio::sync::mpsc;
use types::{TaskId, UnixMillis};

/// Words that wait to be stored; a robot says four of a task, and 64 robots work at once.
const WORDS_MAX: usize = 4_096;

/// Robots over MQTT. Clones are the same robots.
#[derive(Clone)]
pub struct LinkedRobots(Arc<Inner>);

struct Inner {
    handle: Handle,
    heard: Mutex<Vec<Said>>,
    /// What was given to whom, so that the same is not sent each turn.
    given: Mutex<BTreeMap<TaskId, (String, u32)>>,
}

impl LinkedRobots {
    pub fn new(handle: Handle) -> LinkedRobots {
        LinkedRobots(Arc::new(Inner { handle, heard: Mutex::default(), given: Mutex::default() }))
    }

    /// Listens to the link until it ends; findings become events.
    pub async fn listen(
        self,
        mut reports: mpsc::Receiver<Report>,
        store: Store,
        bell: Bell,
        clock: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
    ) {
        while let Some(report) = reports.recv().await {
            let told = match report {
                Report::Robot(vda5050::Report::Task { robot, task, progress, .. }) => {
                    self.hear(&robot, task, progress);
                    bell.ring();
                    None
                }
                Report::Robot(vda5050::Report::Finding { robot, finding, .. }) => Some((robot.to_string(), finding)),
                Report::Robot(_) => {
                    bell.ring();
                    None
                }
                Report::Link { up, why } => {
                    tracing::info!(up, text = why, "link to the robots' broker");
                    bell.ring();
                    None
                }
                Report::Stranger(finding) => Some(("a stranger".to_owned(), finding)),
            };
            if let Some((who, finding)) = told {
                let text = format!("{who}: {}", finding.text);
                tracing::warn!(robot = %who, text, "something to look at about a robot");
                let event = FleetEvent { seq: 0, at: clock(), machine: None, kind: "robot".to_owned(), text };
                if let Err(error) = store.fleet_event(&event).await {
                    tracing::warn!(%error, "a finding about a robot could not be stored");
                }
            }
        }
    }

    fn hear(&self, robot: &RobotId, task: TaskId, progress: Progress) {
        let what = match progress {
            Progress::Started => Word::Started,
            Progress::Running { .. } | Progress::Retrying { .. } => return,
            Progress::Done { evidence } => Word::Done(evidence),
            Progress::Failed { code, text } => Word::Failed { why: format!("{code}: {text}"), retriable: true },
            Progress::Refused { code, text } | Progress::Lost { code, text } => Word::Lost(format!("{code}: {text}")),
            Progress::Cancelled => Word::Lost("cancelled".to_owned()),
        };
        if !matches!(what, Word::Started) {
            self.0.given.lock().unwrap_or_else(PoisonError::into_inner).remove(&task);
        }
        let mut heard = self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() < WORDS_MAX {
            heard.push(Said { task, robot: robot.to_string(), what });
        } else {
            tracing::error!(%robot, %task, "more words of robots than can be kept; its next state says it again");
        }
    }
}

impl Robots for LinkedRobots {
    fn fit(&self) -> Vec<RobotFit> {
        let fit = self.0.handle.views().into_iter().map(|view| RobotFit {
            id: view.robot.to_string(),
            payload_g: view.payload_g,
            verbs: view.verbs.clone(),
            zones: Vec::new(),
            battery_percent: view.battery_pct.unwrap_or(0),
            busy: !view.free() || view.charging,
        });
        fit.collect()
    }

    fn give(&self, robot: &str, order: &Order, id: TaskId) {
        let Some(task) = order.tasks.iter().find(|task| task.id == id) else { return };
        let mut given = self.0.given.lock().unwrap_or_else(PoisonError::into_inner);
        let this = (robot.to_owned(), task.attempts);
        if given.get(&id) == Some(&this) {
            return;
        }
        let Ok(robot_id) = robot.parse::<RobotId>() else { return };
        let job = Job {
            task: id,
            attempt: task.attempts,
            verb: task.verb,
            subject: task.subject.clone(),
            slot: order.slot.clone(),
            serial: order.serial.clone(),
            mass_g: task.mass_g,
            zone: task.zone.clone(),
            route: route(order, task),
        };
        match self.0.handle.give(&robot_id, job) {
            Ok(()) => drop(given.insert(id, this)),
            Err(error) => tracing::warn!(robot, task = %id, %error, "a task was not sent; it is sent again"),
        }
    }

    fn said(&self) -> Vec<Said> {
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stored(&self, count: usize) {
        let mut heard = self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let count = count.min(heard.len());
        heard.drain(..count);
    }
}

/// Where the work is: at the dock, in front of the rack, or from one to the other.
fn route(order: &Order, task: &fleet::order::Task) -> Vec<String> {
    let rack = order.slot.rsplit_once('/').map_or(order.slot.as_str(), |(rack, _)| rack).to_owned();
    let dock = "dock".to_owned();
    match (task.zone.is_empty(), task.verb) {
        (_, fleet::order::Verb::Move) if task.subject.starts_with("to the dock") => vec![rack, dock],
        (_, fleet::order::Verb::Move) => vec![dock, rack],
        (true, _) => vec![dock],
        (false, _) => vec![rack],
    }
}
