//! One robot, as the fleet's side sees it: (session, what came, now) -> (session, what to do).
//!
//! What a robot says is believed only as far as it can be true: progress exists for the order that we sent, on nodes that we
//! released, for actions that we named. Everything else is a finding and changes nothing. A task of a robot that is gone or
//! mute is handed over, and when the robot comes back with it, its order is cancelled and its progress not believed.
//!
//! If the controller crashes here: the caller keeps the session as JSON, newest at its own pace. An older one is safe, too:
//! ids follow from task and attempt, so what is sent again is the same order, and counters only have to be new to the robot
//! per connection. Without any session a job given again is adopted when the robot reports its order.

mod command;
mod progress;
mod receive;
mod tick;

use crate::job::Job;
use crate::limits::{CODES_MAX, Waits};
use crate::message::order::{Action, InstantActions, Parameter};
use crate::message::words::{ActionStatus, BlockingType};
use crate::message::{Header, Message, write};
use crate::order::Plan;
use crate::robot::RobotId;
use crate::topic::{Names, Topic};
use crate::version::Version;
use fleet::machine::Finding;
use fleet::order::{Evidence, Verb};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use types::{TaskId, UnixMillis};

/// What is the same for all robots of a site.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub names: Names,
    pub waits: Waits,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// A message of this robot. `retained`: the broker kept it, it is not new.
    Message {
        version: Version,
        topic: Topic,
        bytes: &'a [u8],
        retained: bool,
    },
    Give(Box<Job>),
    /// The task shall end. Answered with `Cancelled`, or `Done` if the robot was faster.
    Cancel {
        task: TaskId,
    },
    /// Stop where you are, or go on.
    Pause(bool),
    /// Time went by; call it every second or so while there is a connection to the broker.
    Tick,
    /// Our own connection to the broker is there, again: the silence before it was ours, not the robot's.
    Linked,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Publish { topic: Topic, name: String, qos: u8, retain: bool, json: String },
    Report(Report),
}

/// What to tell the controller.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// A task of ours, and no other.
    Task { robot: RobotId, task: TaskId, attempt: u32, progress: Progress },
    /// Something to look at.
    Finding { robot: RobotId, task: Option<TaskId>, finding: Finding },
    /// The robot's fitness changed.
    View(Box<View>),
}

/// How far a task is. The last five are the end of it for this robot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The robot has the order.
    Started,
    Running {
        done: usize,
        of: usize,
    },
    /// An action failed and is begun anew.
    Retrying {
        action: String,
        times: u32,
    },
    /// With what the robot's actions answered.
    Done {
        evidence: Vec<Evidence>,
    },
    /// The robot tried and could not.
    Failed {
        code: String,
        text: String,
    },
    /// It never began: another robot may take it as it is.
    Refused {
        code: String,
        text: String,
    },
    Cancelled,
    /// The robot is gone or mute with it, its work in an unknown state. To be handed over, by whoever looks first.
    Lost {
        code: String,
        text: String,
    },
}

impl Progress {
    pub fn ended(&self) -> bool {
        !matches!(self, Progress::Started | Progress::Running { .. } | Progress::Retrying { .. })
    }
}

/// Whether the robot is connected, as its `connection` topic says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Never heard of.
    #[default]
    Unknown,
    Online,
    Offline,
    Hibernating,
    /// By its last will.
    Broken,
}

/// A robot's fitness: what choosing one needs, and why it cannot be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    pub robot: RobotId,
    pub version: Version,
    pub presence: Presence,
    /// Why no task can be given to it, apart from being busy.
    pub unavailable: Option<String>,
    pub busy: Option<TaskId>,
    /// From its factsheet.
    pub payload_g: u32,
    pub verbs: BTreeSet<Verb>,
    pub battery_pct: Option<u8>,
    pub charging: bool,
    /// Where it was last: a node's name.
    pub node: String,
}

impl View {
    pub fn free(&self) -> bool {
        self.unavailable.is_none() && self.busy.is_none()
    }
}

/// One robot's session. All of it is kept as JSON by the caller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    robot: RobotId,
    version: Version,
    presence: Presence,
    /// The robot's own time when it came online: from then on its counters may begin anew, once.
    online_at: Option<UnixMillis>,
    /// When it came online, by our clock, and whether it was asked for its factsheet since.
    greeted_at: Option<UnixMillis>,
    asked_factsheet: bool,
    got: BTreeMap<Topic, Got>,
    /// The next header id.
    next: BTreeMap<Topic, u32>,
    heard_at: Option<UnixMillis>,
    silent: bool,
    broken_at: Option<UnixMillis>,
    abilities: Option<Abilities>,
    seen: Option<Seen>,
    current: Option<Current>,
    /// An order that was handed over and that the robot may still have.
    left: Option<String>,
    instants: BTreeMap<String, Instant>,
    instant_next: u64,
    told: BTreeMap<String, UnixMillis>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Got {
    header_id: u32,
    at: Option<UnixMillis>,
}

/// Of the factsheet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Abilities {
    payload_g: u32,
    verbs: BTreeSet<Verb>,
    /// 0: not limited.
    message_bytes_max: usize,
    id_bytes_max: usize,
    ids_numerical: bool,
    nodes_max: usize,
    actions_max: usize,
}

/// Of the newest believed state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Seen {
    order_id: String,
    update_id: u32,
    sequence: u32,
    node: String,
    automatic: bool,
    mode: String,
    stopped: bool,
    paused: bool,
    battery_pct: Option<u8>,
    charging: bool,
    /// It works on an order, whose ever.
    active: bool,
    /// Errors that it reported: a rejection that stood here before an order was sent is not about it.
    errors: BTreeSet<String>,
    zone_requests: BTreeSet<String>,
}

/// The order that the robot has of us.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Current {
    job: Job,
    plan: Plan,
    /// The newest message begins at this node.
    from: usize,
    sent_at: UnixMillis,
    sends: u32,
    /// A state showed the newest update.
    answered: bool,
    /// A state showed the order.
    begun: bool,
    /// The place of the last node.
    reached: usize,
    actions: BTreeMap<String, ActionStatus>,
    results: BTreeMap<String, String>,
    retries: BTreeMap<String, u32>,
    /// It is being cancelled; its end was told if that is not why.
    cancelling: bool,
    told_end: bool,
    /// Since when the robot reports another order.
    other_since: Option<UnixMillis>,
    errors_before: BTreeSet<String>,
}

/// An instant action that no state has answered yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Instant {
    action_type: String,
    /// The action that it is about.
    action_id: Option<String>,
    sent_at: UnixMillis,
    sends: u32,
}

/// Ids of our instant actions begin so: in 2.1 they stand among those of the order.
const INSTANT: &str = "instant.";

/// What a step collects.
struct Out<'a> {
    rules: &'a Rules,
    now: UnixMillis,
    effects: Vec<Effect>,
}

impl Session {
    pub fn new(robot: RobotId, version: Version) -> Session {
        Session {
            robot,
            version,
            presence: Presence::Unknown,
            online_at: None,
            greeted_at: None,
            asked_factsheet: false,
            got: BTreeMap::new(),
            next: BTreeMap::new(),
            heard_at: None,
            silent: false,
            broken_at: None,
            abilities: None,
            seen: None,
            current: None,
            left: None,
            instants: BTreeMap::new(),
            instant_next: 0,
            told: BTreeMap::new(),
        }
    }

    /// One step. Any input in any order: it never panics, and what cannot be true changes nothing.
    pub fn step(mut self, rules: &Rules, input: Input<'_>, now: UnixMillis) -> (Session, Vec<Effect>) {
        let before = self.view();
        let mut out = Out { rules, now, effects: Vec::new() };
        match input {
            Input::Message { version, topic, bytes, retained } => {
                self.receive(version, topic, bytes, retained, &mut out);
            }
            Input::Give(job) => self.give(*job, &mut out),
            Input::Cancel { task } => self.cancel(task, &mut out),
            Input::Pause(pause) => {
                self.instant(if pause { "startPause" } else { "stopPause" }, None, &mut out);
            }
            Input::Tick => {}
            Input::Linked => self.linked(&mut out),
        }
        self.tick(&mut out);
        let view = self.view();
        if view != before {
            out.effects.push(Effect::Report(Report::View(Box::new(view))));
        }
        (self, out.effects)
    }

    pub fn robot(&self) -> &RobotId {
        &self.robot
    }

    /// When a state was last believed.
    pub fn heard_at(&self) -> Option<UnixMillis> {
        self.heard_at
    }

    pub fn view(&self) -> View {
        let abilities = self.abilities.as_ref();
        let seen = self.seen.as_ref();
        View {
            robot: self.robot.clone(),
            version: self.version,
            presence: self.presence,
            unavailable: self.unavailable(),
            busy: self.current.as_ref().map(|it| it.job.task),
            payload_g: abilities.map_or(0, |it| it.payload_g),
            verbs: abilities.map(|it| it.verbs.clone()).unwrap_or_default(),
            battery_pct: seen.and_then(|it| it.battery_pct),
            charging: seen.is_some_and(|it| it.charging),
            node: seen.map(|it| it.node.clone()).unwrap_or_default(),
        }
    }

    fn unavailable(&self) -> Option<String> {
        let seen = self.seen.as_ref();
        let foreign = seen.is_some_and(|it| it.active) && self.current.is_none();
        let why = match (self.presence, seen) {
            (Presence::Unknown, _) => "it was never online",
            (Presence::Offline, _) => "it is offline",
            (Presence::Hibernating, _) => "it hibernates",
            (Presence::Broken, _) => "its connection broke",
            (Presence::Online, None) => "it has not told its state",
            _ if self.silent => "it is silent",
            (_, Some(seen)) if seen.stopped => "its emergency stop is active",
            (_, Some(seen)) if !seen.automatic => return Some(format!("its operating mode is {}", seen.mode)),
            (_, Some(seen)) if seen.paused => "it is paused",
            _ if self.abilities.is_none() => "it has not told its factsheet",
            _ if self.left.is_some() => "it may still have an order that was handed over",
            _ if foreign => "it works on an order of somebody else",
            _ => return None,
        };
        Some(why.to_owned())
    }

    fn header(&mut self, topic: Topic, now: UnixMillis) -> Header {
        let next = self.next.entry(topic).or_insert(0);
        let header = Header::new(*next, now, self.version, &self.robot);
        *next = next.wrapping_add(1);
        header
    }

    /// Writes and publishes; the error is for whoever gave the job.
    fn publish(&mut self, message: &Message, out: &mut Out<'_>) -> Result<(), String> {
        let bytes_max = self.abilities.as_ref().map_or(0, |it| it.message_bytes_max);
        let topic = message.topic();
        let json = write(self.version, message, bytes_max).map_err(|error| error.to_string())?;
        let name = out.rules.names.write(self.version, &self.robot, topic);
        out.effects.push(Effect::Publish { topic, name, qos: topic.qos(), retain: topic.retained(), json });
        Ok(())
    }

    /// Tells a finding, unless the same was told a moment ago. True if it was told.
    fn find(&mut self, code: &str, text: String, out: &mut Out<'_>) -> bool {
        let (now, repeat) = (out.now, out.rules.waits.repeat_ms);
        if self.told.get(code).is_some_and(|at| (0..repeat).contains(&(now.0 - at.0))) {
            return false;
        }
        if self.told.len() >= CODES_MAX {
            self.told.retain(|_, at| now.0 - at.0 < repeat);
        }
        self.told.insert(code.to_owned(), now);
        let finding = Finding::new(code, &self.robot.to_string(), text, now);
        let task = self.current.as_ref().map(|it| it.job.task);
        out.effects.push(Effect::Report(Report::Finding { robot: self.robot.clone(), task, finding }));
        true
    }

    fn tell(&self, job: &Job, progress: Progress, out: &mut Out<'_>) {
        let (task, attempt) = (job.task, job.attempt);
        out.effects.push(Effect::Report(Report::Task { robot: self.robot.clone(), task, attempt, progress }));
    }

    /// Sends an instant action and waits for a state that shows it.
    fn instant(&mut self, action_type: &str, action_id: Option<String>, out: &mut Out<'_>) {
        // The time makes it unique across controllers that lost their session.
        let id = format!("{INSTANT}{}.{}", out.now.0, self.instant_next);
        self.instant_next += 1;
        let instant = Instant { action_type: action_type.to_owned(), action_id, sent_at: out.now, sends: 1 };
        self.send_instant(&id, &instant, out);
        self.instants.insert(id, instant);
    }

    fn send_instant(&mut self, id: &str, instant: &Instant, out: &mut Out<'_>) {
        let about = instant.action_id.iter();
        let parameters = about.map(|it| Parameter { key: "actionId".to_owned(), value: it.as_str().into() });
        let action = Action {
            action_type: instant.action_type.clone(),
            action_id: id.to_owned(),
            action_descriptor: None,
            blocking_type: BlockingType::None,
            action_parameters: parameters.collect(),
            retriable: None,
        };
        let header = self.header(Topic::InstantActions, out.now);
        let message = Message::InstantActions(InstantActions { header, actions: vec![action] });
        if let Err(error) = self.publish(&message, out) {
            self.find("not_written", error, out);
        }
    }
}
