//! The robots of `robots::Link` as the order shell sees them: who is fit for what, tasks given, words heard.
//!
//! Words are kept until they are stored ([`Robots::stored`]); if we crash before, the robot's next state says the same.
//!
//! Sessions are kept in the store ([`LinkedRobots::keep`]) and taken up by the next start ([`kept`]). One that is older than
//! what the robot was given does no harm: after a start nothing is given to a robot that has not told its state
//! ([`LISTEN_MILLIS`]), and what it then shows to have is taken over and not sent again (ADR 11).

use super::Bell;
use super::orders::{Robots, Said, Word};
use fleet::order::{Order, RobotFit};
use robots::{Handle, Job, Progress, Report, RobotId};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{FleetEvent, Store, StoreError};
use tokio::sync::mpsc;
use types::{TaskId, UnixMillis};

/// Words that wait to be stored; a robot says four of a task, and 64 robots work at once.
const WORDS_MAX: usize = 4_096;

/// Sessions are kept so often: 64 robots of 4 kB are 50 kB/s at worst.
pub const KEEP_EVERY: Duration = Duration::from_secs(5);
/// A robot tells its state every 30 s at least; who has said nothing twice as long after we reached the broker is not there.
pub const LISTEN_MILLIS: i64 = 60_000;

/// What the time is.
type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// Robots over MQTT. Clones are the same robots.
#[derive(Clone)]
pub struct LinkedRobots(Arc<Inner>);

struct Inner {
    handle: Handle,
    heard: Mutex<Vec<Said>>,
    /// What was given to whom, so that the same is not sent each turn.
    given: Mutex<BTreeMap<TaskId, (String, u32)>>,
    clock: Clock,
    /// When the broker was reached, the first time since the start.
    linked_at: Mutex<Option<UnixMillis>>,
}

/// The sessions that the last start left, those that can be read.
pub async fn kept(store: &Store) -> Result<BTreeMap<String, Value>, StoreError> {
    let mut kept = store.robots_kept().await?;
    kept.retain(|robot, session| match serde_json::from_value::<vda5050::session::Session>(session.clone()) {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(robot, %error, "a robot's session was kept by another version; it is begun anew");
            false
        }
    });
    Ok(kept)
}

impl LinkedRobots {
    pub fn new(handle: Handle, clock: Clock) -> LinkedRobots {
        let (heard, given, linked_at) = (Mutex::default(), Mutex::default(), Mutex::default());
        LinkedRobots(Arc::new(Inner { handle, heard, given, clock, linked_at }))
    }

    /// Keeps sessions in the store until the link ends.
    pub async fn keep(self, store: Store) {
        let mut kept: BTreeMap<String, Value> = BTreeMap::new();
        loop {
            tokio::time::sleep(KEEP_EVERY).await;
            let Ok(sessions) = self.0.handle.export().await else { return };
            let changed = sessions.iter().filter(|(robot, session)| kept.get(robot.as_str()) != Some(*session));
            let changed: BTreeMap<String, Value> = changed.map(|(robot, it)| (robot.clone(), it.clone())).collect();
            match store.robots_keep(&changed, (self.0.clock)()).await {
                Ok(()) => kept = sessions,
                Err(error) => tracing::warn!(%error, "robots' sessions could not be kept; it is tried again"),
            }
        }
    }

    /// Whether it is known which order this robot has, or that it is not there to tell.
    fn is_known(&self, robot: &RobotId) -> bool {
        let linked_at = *self.0.linked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = linked_at.is_some_and(|at| (self.0.clock)().0 - at.0 >= LISTEN_MILLIS);
        waited || self.0.handle.heard(robot)
    }

    /// Listens to the link until it ends; findings become events.
    pub async fn listen(self, mut reports: mpsc::Receiver<Report>, store: Store, bell: Bell) {
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
                    if up {
                        let now = (self.0.clock)();
                        self.0.linked_at.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
                    }
                    bell.ring();
                    None
                }
                Report::Stranger(finding) => Some(("a stranger".to_owned(), finding)),
            };
            if let Some((who, finding)) = told {
                let text = format!("{who}: {}", finding.text);
                tracing::warn!(robot = %who, text, "something to look at about a robot");
                let event = FleetEvent { seq: 0, at: (self.0.clock)(), machine: None, kind: "robot".to_owned(), text };
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
            // The robot's own word, and it did not begin or has stopped.
            Progress::Refused { code, text } => Word::Lost { why: format!("{code}: {text}"), stands: true },
            Progress::Cancelled => Word::Lost { why: "cancelled".to_owned(), stands: true },
            // Its session's: it is mute or does not answer, and may be at work.
            Progress::Lost { code, text } => Word::Lost { why: format!("{code}: {text}"), stands: false },
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
        if !self.is_known(&robot_id) {
            return;
        }
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

    fn take_back(&self, theirs: &BTreeMap<TaskId, String>) {
        for view in self.0.handle.views() {
            let Some(task) = view.busy else { continue };
            let robot = view.robot.to_string();
            if theirs.get(&task) == Some(&robot) {
                continue;
            }
            // Asked in each turn until the robot says that it has stopped; its session sends it once.
            if let Err(error) = self.0.handle.cancel(&view.robot, task) {
                tracing::warn!(robot, %task, %error, "a robot was not told that its task is no longer its own");
            }
        }
    }

    fn has_stopped(&self, robot: &str, task: TaskId) -> bool {
        let view = self.0.handle.views().into_iter().find(|view| view.robot.to_string() == robot);
        let stands = |view: &vda5050::session::View| view.unavailable.is_none() && view.busy != Some(task);
        view.is_some_and(|view| self.is_known(&view.robot) && stands(&view))
    }

    fn said(&self) -> Vec<Said> {
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stored(&self, words: &[Said]) {
        let mut heard = self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut words = words.iter().peekable();
        heard.retain(|said| words.next_if_eq(&said).is_none());
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
