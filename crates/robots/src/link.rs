//! The link to the broker: one task that feeds sessions, publishes what they decide and connects again when it must.

use crate::broker::Broker;
use crate::connection::{Connection, ConnectionError, Incoming};
use crate::throttle::Throttle;
use fleet::machine::Finding;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use types::{TaskId, UnixMillis};
use vda5050::session::{Effect, Input, Rules, Session, View};
use vda5050::topic::Topic;
use vda5050::{Job, RobotId};

/// Robots of a site. Each has a session of about 4 kB; a broker with more names is not ours or is being abused.
pub const ROBOTS_MAX: usize = 1_000;
/// Commands that wait: one for each of a hundred robots, and again.
const COMMANDS_MAX: usize = 256;
/// Reports that wait for the controller. When it does not read, nothing more is read from the broker.
const REPORTS_MAX: usize = 1_024;
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_secs(1);

/// The wall clock; tests bring their own.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

pub struct Options {
    pub broker: Broker,
    /// Unique at the broker: it sends the older of two clients away.
    pub client_id: String,
    pub rules: Rules,
    /// Robots of this site; messages of others are a finding. Empty: whoever the broker's access list lets in.
    pub robots: Vec<RobotId>,
    pub clock: Clock,
}

/// What to tell the controller.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Of one robot: a task's progress, a finding, its fitness.
    Robot(vda5050::Report),
    /// Connected to the broker and subscribed; or not, and why. While it is not, no robot is found silent.
    Link { up: bool, why: String },
    /// Messages of a robot that is not on the list, or of nobody.
    Stranger(Finding),
}

/// Why the link was not started: the caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    #[error("the saved session of {robot} cannot be read: {error}; leave it out to begin anew")]
    Saved { robot: String, error: String },
    #[error("{0} robots, of at most {ROBOTS_MAX}")]
    Robots(usize),
}

/// Why nothing was asked of a robot. Try again later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("{COMMANDS_MAX} commands wait already")]
    Full,
    #[error("the link was stopped")]
    Stopped,
}

enum Command {
    Give(RobotId, Box<Job>),
    Cancel(RobotId, TaskId),
    Pause(RobotId, bool),
    Export(oneshot::Sender<BTreeMap<String, Value>>),
    Stop,
}

/// Asks the link. Cheap to clone; when the last one is dropped the link stops.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    views: Arc<RwLock<BTreeMap<RobotId, View>>>,
    heard: Heard,
}

/// Robots of which a state came since the start.
type Heard = Arc<RwLock<BTreeSet<RobotId>>>;

impl Handle {
    /// Gives a task to a robot. The answer is a report: `Refused` at once, or progress.
    pub fn give(&self, robot: &RobotId, job: Job) -> Result<(), AskError> {
        self.ask(Command::Give(robot.clone(), Box::new(job)))
    }

    /// Ends a task; nothing happens if the robot does not have it.
    pub fn cancel(&self, robot: &RobotId, task: TaskId) -> Result<(), AskError> {
        self.ask(Command::Cancel(robot.clone(), task))
    }

    /// Lets a robot stop where it is, or go on.
    pub fn pause(&self, robot: &RobotId, pause: bool) -> Result<(), AskError> {
        self.ask(Command::Pause(robot.clone(), pause))
    }

    /// Every robot's fitness, as of now.
    pub fn views(&self) -> Vec<View> {
        self.views.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Whether this robot has told its state since the start. Before that it is not known which order it has, and a session that
    /// was kept may be older than what it was given.
    pub fn heard(&self, robot: &RobotId) -> bool {
        self.heard.read().unwrap_or_else(PoisonError::into_inner).contains(robot)
    }

    /// All sessions as JSON, by robot, for [`start`] after a restart.
    pub async fn export(&self) -> Result<BTreeMap<String, Value>, AskError> {
        let (answer, exported) = oneshot::channel();
        self.ask(Command::Export(answer))?;
        exported.await.map_err(|_| AskError::Stopped)
    }

    /// Says goodbye to the broker; the reports end when it is done.
    pub fn stop(&self) -> Result<(), AskError> {
        self.ask(Command::Stop)
    }

    fn ask(&self, command: Command) -> Result<(), AskError> {
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AskError::Full,
            mpsc::error::TrySendError::Closed(_) => AskError::Stopped,
        })
    }
}

/// Starts the link, with what [`Handle::export`] gave before. Needs a tokio runtime; returns at once, connected or not.
pub fn start(options: Options, saved: BTreeMap<String, Value>) -> Result<(Handle, mpsc::Receiver<Report>), StartError> {
    let mut sessions = BTreeMap::new();
    for (robot, value) in saved {
        let session: Session =
            serde_json::from_value(value).map_err(|error| StartError::Saved { robot, error: error.to_string() })?;
        sessions.insert(session.robot().clone(), session);
    }
    let robots = sessions.len().max(options.robots.len());
    if robots > ROBOTS_MAX {
        return Err(StartError::Robots(robots));
    }
    let views: BTreeMap<RobotId, View> = sessions.iter().map(|(id, it)| (id.clone(), it.view())).collect();
    let views = Arc::new(RwLock::new(views));
    let (commands, asked) = mpsc::channel(COMMANDS_MAX);
    let (reports, read) = mpsc::channel(REPORTS_MAX);
    let heard = Heard::default();
    let link = Link {
        options,
        sessions,
        views: views.clone(),
        heard: heard.clone(),
        asked,
        reports,
        connection: None,
        told: Throttle::default(),
    };
    tokio::spawn(link.run());
    Ok((Handle { commands, views, heard }, read))
}

struct Link {
    options: Options,
    sessions: BTreeMap<RobotId, Session>,
    views: Arc<RwLock<BTreeMap<RobotId, View>>>,
    heard: Heard,
    asked: mpsc::Receiver<Command>,
    reports: mpsc::Sender<Report>,
    connection: Option<Connection>,
    /// Of strangers.
    told: Throttle,
}

/// The caller reads no reports any more, or asked us to stop.
struct Stopped;

impl Link {
    async fn run(mut self) {
        let mut backoff = BACKOFF_MIN;
        loop {
            match self.connect().await {
                Ok(()) => {
                    backoff = BACKOFF_MIN;
                    match self.connected().await {
                        Ok(error) => self.connection = self.lost(&error).await,
                        Err(Stopped) => break,
                    }
                }
                Err(error) => self.connection = self.lost(&error).await,
            }
            if self.wait(backoff).await.is_err() {
                break;
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
        if let Some(connection) = self.connection.take() {
            // Nobody waits for us: QoS 0, and a broker that is gone has nothing of ours.
            let _ = connection.close().await;
        }
    }

    async fn lost(&mut self, error: &ConnectionError) -> Option<Connection> {
        let why = format!("{}: {error}", self.options.broker);
        let _ = self.reports.send(Report::Link { up: false, why }).await;
        None
    }

    async fn connect(&mut self) -> Result<(), ConnectionError> {
        let mut connection = Connection::open(&self.options.broker, &self.options.client_id, None).await?;
        connection.subscribe(self.options.rules.names.filters())?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Commands are heard while there is no connection, too: what they publish is sent again by the sessions.
    async fn wait(&mut self, backoff: Duration) -> Result<(), Stopped> {
        let until = Instant::now() + backoff;
        loop {
            tokio::select! {
                () = sleep_until(until) => return Ok(()),
                command = self.asked.recv() => self.command(command).await?,
            }
        }
    }

    async fn connected(&mut self) -> Result<ConnectionError, Stopped> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut subscribed = false;
        loop {
            let Some(connection) = self.connection.as_mut() else { return Ok(ConnectionError::Full) };
            tokio::select! {
                incoming = connection.next() => match incoming {
                    Ok(Incoming::Message { topic, payload, retained }) => self.message(&topic, &payload, retained).await?,
                    Ok(Incoming::Oversized { topic, bytes }) => self.oversized(topic, bytes).await?,
                    Ok(Incoming::Subscribed) => {
                        subscribed = true;
                        let why = self.options.broker.to_string();
                        self.report(Report::Link { up: true, why }).await?;
                        self.all(|| Input::Linked).await?;
                    }
                    Ok(Incoming::SubscriptionRefused) => {
                        let why = "the broker's access list does not let us read the robots' topics".to_owned();
                        self.report(Report::Link { up: false, why }).await?;
                    }
                    Err(error) => return Ok(error),
                },
                command = self.asked.recv() => self.command(command).await?,
                _ = tick.tick(), if subscribed => self.all(|| Input::Tick).await?,
            }
        }
    }

    async fn all(&mut self, input: impl Fn() -> Input<'static>) -> Result<(), Stopped> {
        let robots: Vec<RobotId> = self.sessions.keys().cloned().collect();
        for robot in robots {
            self.step(&robot, input()).await?;
        }
        Ok(())
    }

    async fn message(&mut self, topic: &str, payload: &[u8], retained: bool) -> Result<(), Stopped> {
        let Some((version, robot, topic)) = self.options.rules.names.read(topic) else {
            return self.stranger("not_a_topic", "", format!("a message on \"{}\"", shortened(topic))).await;
        };
        if !self.sessions.contains_key(&robot) {
            let listed = self.options.robots.is_empty() || self.options.robots.contains(&robot);
            if !listed {
                return self
                    .stranger("unknown_robot", &robot.to_string(), "it is not a robot of this site".to_owned())
                    .await;
            }
            if self.sessions.len() >= ROBOTS_MAX {
                let text = format!("{ROBOTS_MAX} robots are known already");
                return self.stranger("too_many_robots", &robot.to_string(), text).await;
            }
            self.sessions.insert(robot.clone(), Session::new(robot.clone(), version));
        }
        self.step(&robot, Input::Message { version, topic, bytes: payload, retained }).await?;
        if topic == Topic::State {
            self.heard.write().unwrap_or_else(PoisonError::into_inner).insert(robot);
        }
        Ok(())
    }

    async fn oversized(&mut self, topic: Option<String>, bytes: usize) -> Result<(), Stopped> {
        let topic = topic.unwrap_or_default();
        self.stranger("message_too_long", "", format!("{bytes} bytes on \"{}\"", shortened(&topic))).await
    }

    async fn stranger(&mut self, code: &str, about: &str, text: String) -> Result<(), Stopped> {
        let now = (self.options.clock)();
        if !self.told.is_new(code, about, now) {
            return Ok(());
        }
        self.report(Report::Stranger(Finding::new(code, about, text, now))).await
    }

    async fn command(&mut self, command: Option<Command>) -> Result<(), Stopped> {
        match command {
            None | Some(Command::Stop) => Err(Stopped),
            Some(Command::Give(robot, job)) => {
                // A robot that was never heard of refuses by itself.
                let session = || Session::new(robot.clone(), vda5050::Version::V3);
                self.sessions.entry(robot.clone()).or_insert_with(session);
                self.step(&robot, Input::Give(job)).await
            }
            Some(Command::Cancel(robot, task)) => self.step(&robot, Input::Cancel { task }).await,
            Some(Command::Pause(robot, pause)) => self.step(&robot, Input::Pause(pause)).await,
            Some(Command::Export(answer)) => {
                let value = |it: &Session| serde_json::to_value(it).unwrap_or(Value::Null);
                let exported = self.sessions.iter().map(|(id, it)| (id.to_string(), value(it))).collect();
                // Who asked may have gone.
                let _ = answer.send(exported);
                Ok(())
            }
        }
    }

    async fn step(&mut self, robot: &RobotId, input: Input<'_>) -> Result<(), Stopped> {
        let Some(session) = self.sessions.remove(robot) else { return Ok(()) };
        let now = (self.options.clock)();
        let (session, effects) = session.step(&self.options.rules, input, now);
        self.views.write().unwrap_or_else(PoisonError::into_inner).insert(robot.clone(), session.view());
        self.sessions.insert(robot.clone(), session);
        for effect in effects {
            match effect {
                Effect::Publish { name, qos, retain, json, .. } => {
                    // Without a connection it is lost, as on the way to the robot; what needs an answer is sent again.
                    if let Some(connection) = self.connection.as_mut()
                        && connection.publish(name, qos, retain, json).is_err()
                    {
                        self.connection = None;
                    }
                }
                Effect::Report(report) => self.report(Report::Robot(report)).await?,
            }
        }
        Ok(())
    }

    async fn report(&mut self, report: Report) -> Result<(), Stopped> {
        self.reports.send(report).await.map_err(|_| Stopped)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}
