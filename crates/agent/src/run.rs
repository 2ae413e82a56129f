//! The agent at work: looks, reports, does what it is told, until it is told to stop.
//!
//! What happens if we crash here. A command that was begun and not answered is told again by the site and done again: a suite runs
//! anew, an engine is restarted once more, a GPU is reset once more; that is safe, because nothing begins on a machine in those
//! states. Events not yet taken are lost with the process; the driver's log still has them.

use crate::clock::Clock;
use crate::enrol::{self, Claim, EnrolError, Identity};
use crate::link::{Address, Link, LinkError};
use crate::nvml::{Gpus, Watch};
use crate::report::Reporter;
use crate::signs::{Look, Signs};
use crate::supervise::{Engine, Supervisor};
use crate::token::Token;
use crate::validate::{self, Suite};
use crate::wire::{
    Answer, Command, CommandKind, REPORT, REPORT_EVERY_MS, Report, State, TEXT_MAX, Taken, VALIDATION, ValidationReport,
};
use fleet::observed::{EventKind, TestResult};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A site that does not answer is asked again after this, doubled up to the report interval.
const AGAIN_MIN: Duration = Duration::from_secs(1);
/// The site may ask for reports between a second and ten minutes apart.
const NEXT_MS: std::ops::RangeInclusive<u64> = 1_000..=600_000;
/// Results that wait for the loop; a suite has at most 128.
const RESULTS_WAITING_MAX: usize = 128;
/// What resets a GPU.
const RESET_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone)]
pub struct Options {
    pub address: Address,
    /// The agent's folder, closed to others.
    pub folder: PathBuf,
    /// Needed once.
    pub token: Option<Token>,
    pub claim: Claim,
    /// NVIDIA's library, if it is not where the driver puts it.
    pub nvml: Option<PathBuf>,
    pub engines: Vec<Engine>,
    /// How thorough validation is, 1 to 4.
    pub level: u8,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("this machine has not enrolled; give it a token that the site made for it")]
    NoToken,
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    #[error("the site will not hear this machine: {0}")]
    Refused(LinkError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// The chassis serial that the firmware tells (DMI); root reads it.
pub fn chassis_serial() -> Option<String> {
    let read = |name: &str| std::fs::read_to_string(format!("/sys/class/dmi/id/{name}")).ok();
    let text = read("chassis_serial").filter(|it| !it.trim().is_empty()).or_else(|| read("product_serial"))?;
    Some(text.trim().to_owned()).filter(|it| !it.is_empty())
}

/// Runs until `stop` ends, or the site says that this machine is none of its.
pub async fn run(options: Options, clock: Arc<dyn Clock>, stop: impl Future<Output = ()>) -> Result<(), RunError> {
    let identity = identity(&options, clock.clone()).await?;
    let link = Link::new(options.address.clone(), identity.tls(clock.clone())?);
    let supervisor = Supervisor::start(options.engines.clone(), &options.folder.join("logs"))?;
    // What the machine says now, not what its certificate said then: a disk that was moved is another machine's agent.
    let reporter = Reporter::new(identity.holder.machine, &options.claim.serial, &*clock);
    let (sender, results) = mpsc::channel(RESULTS_WAITING_MAX);
    let mut agent = Agent {
        options,
        clock,
        identity,
        link,
        gpus: None,
        no_nvml: None,
        no_events: None,
        watch: None,
        supervisor,
        reporter,
        signs: Signs::default(),
        epoch: Instant::now(),
        stopped: false,
        run: None,
        sender,
        results,
    };
    let done = agent.work(stop).await;
    agent.supervisor.stop().await;
    done
}

async fn identity(options: &Options, clock: Arc<dyn Clock>) -> Result<Identity, RunError> {
    if let Some(identity) = Identity::open(&options.folder)? {
        return Ok(identity);
    }
    let token = options.token.as_ref().ok_or(RunError::NoToken)?;
    let mut pause = AGAIN_MIN;
    loop {
        match enrol::enrol(&options.folder, &options.address, token, &options.claim, clock.clone()).await {
            Err(EnrolError::Link(error)) if error.again() => {
                tracing::warn!(%error, "enrolment is tried again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(REPORT_EVERY_MS));
            }
            other => return Ok(other?),
        }
    }
}

/// Something that a task of ours has to say.
enum Said {
    Test(TestResult),
    SuiteEnded,
    Done { id: String, ok: bool, text: String, event: Option<EventKind> },
}

/// A validation that runs, or whose result the site has not taken.
struct Running {
    command: String,
    suite: String,
    entry: u64,
    attempt: u32,
    begun: Instant,
    tests: Vec<TestResult>,
    ended: bool,
    /// Something of it was not told yet.
    news: bool,
}

struct Agent {
    options: Options,
    clock: Arc<dyn Clock>,
    identity: Identity,
    link: Link,
    gpus: Option<Gpus>,
    no_nvml: Option<String>,
    /// Why there are no events, as it was logged.
    no_events: Option<String>,
    watch: Option<Watch>,
    supervisor: Supervisor,
    reporter: Reporter,
    signs: Signs,
    epoch: Instant,
    stopped: bool,
    run: Option<Running>,
    sender: mpsc::Sender<Said>,
    results: mpsc::Receiver<Said>,
}

impl Agent {
    fn millis(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn work(&mut self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        tokio::pin!(stop);
        let mut pause = AGAIN_MIN;
        loop {
            let next = match self.turn().await {
                Ok(next) => {
                    pause = AGAIN_MIN;
                    next
                }
                Err(RunError::Enrol(EnrolError::Link(error)) | RunError::Refused(error)) if error.again() => {
                    tracing::warn!(%error, "the site did not take a report");
                    pause = (pause * 2).min(Duration::from_millis(REPORT_EVERY_MS));
                    pause
                }
                Err(error) => return Err(error),
            };
            let wait = tokio::time::sleep(next);
            tokio::pin!(wait);
            tokio::select! {
                () = &mut wait => {}
                () = &mut stop => return Ok(()),
                Some(what) = xid(&mut self.watch) => {
                    let at = self.millis();
                    self.reporter.event(what, at);
                }
                Some(said) = self.results.recv() => self.hear(said),
                () = self.supervisor.changed() => {}
            }
            self.gather();
        }
    }

    /// Everything else that came meanwhile goes into the same report.
    fn gather(&mut self) {
        let at = self.millis();
        while let Some(what) = self.watch.as_mut().and_then(|it| it.events.try_recv().ok()) {
            self.reporter.event(what, at);
        }
        while let Ok(said) = self.results.try_recv() {
            self.hear(said);
        }
    }

    fn hear(&mut self, said: Said) {
        let at = self.millis();
        match (said, &mut self.run) {
            (Said::Test(result), Some(run)) => {
                run.tests.push(result);
                run.news = true;
            }
            (Said::SuiteEnded, Some(run)) => (run.ended, run.news) = (true, true),
            (Said::Done { id, ok, text, event }, _) => {
                self.reporter.done(&id, ok, &text);
                if let Some(event) = event {
                    self.reporter.event(event, at);
                }
            }
            (Said::Test(_) | Said::SuiteEnded, None) => {}
        }
    }

    /// One report, and what follows from its answer; when the next is due.
    async fn turn(&mut self) -> Result<Duration, RunError> {
        self.tell_validation().await?;
        let state = self.state().await;
        let report: Report = self.reporter.next(state, &*self.clock, self.millis());
        let answer: Answer = self.link.post(REPORT, &report).await.map_err(RunError::Refused)?;
        for command in self.reporter.answered(&report, &answer) {
            self.begin(command);
        }
        if answer.renew {
            let folder = self.options.folder.clone();
            self.identity = enrol::renew(Some(&folder), &mut self.link, self.clock.clone()).await?;
        }
        if answer.full || self.reporter.is_urgent() {
            return Ok(AGAIN_MIN);
        }
        Ok(Duration::from_millis(answer.next_ms.clamp(*NEXT_MS.start(), *NEXT_MS.end())))
    }

    /// Asked for again at each report: the driver may be loaded after the agent was started, and a GPU may come back.
    async fn find_gpus(&mut self) {
        if self.gpus.is_none() {
            let path = self.options.nvml.clone();
            match tokio::task::spawn_blocking(move || Gpus::open(path.as_deref())).await {
                Ok(Ok(gpus)) => (self.gpus, self.no_nvml) = (Some(gpus), None),
                Ok(Err(error)) => self.no_nvml = Some(error.to_string()),
                Err(error) => tracing::error!(%error, "opening NVML failed"),
            }
        }
        let Some(gpus) = self.gpus.clone().filter(|_| self.watch.is_none()) else { return };
        match tokio::task::spawn_blocking(move || gpus.watch()).await {
            Ok(Ok(watch)) => (self.watch, self.no_events) = (Some(watch), None),
            Ok(Err(error)) => {
                let why = Some(error.to_string());
                if self.no_events != why {
                    tracing::warn!(%error, "no XID events from the driver; asked for again at each report");
                    self.no_events = why;
                }
            }
            Err(error) => tracing::error!(%error, "listening to NVML failed"),
        }
    }

    /// How the machine is; what changed since the last look is noted as events.
    async fn state(&mut self) -> State {
        self.find_gpus().await;
        let look = match self.gpus.clone() {
            // NVML may take tens of milliseconds a GPU.
            Some(gpus) => tokio::task::spawn_blocking(move || gpus.look()).await.unwrap_or_default(),
            None => Look::default(),
        };
        let at = self.millis();
        for event in self.signs.compare(&look, at) {
            self.reporter.event(event, at);
        }
        let engines = self.supervisor.seen();
        let alive =
            engines.iter().filter(|it| matches!(it.state.as_str(), "starting" | "healthy" | "unhealthy")).count();
        State {
            driver: self.gpus.as_ref().map(|it| it.driver.clone()).unwrap_or_default(),
            no_nvml: self.no_nvml.clone(),
            gpus: look.gpus,
            running: u32::try_from(alive).unwrap_or(u32::MAX),
            engines,
            stopped: self.stopped,
        }
    }

    async fn tell_validation(&mut self) -> Result<(), RunError> {
        let Some(run) = self.run.as_mut().filter(|it| it.news) else { return Ok(()) };
        let report = ValidationReport {
            machine: self.identity.holder.machine,
            serial: self.options.claim.serial.clone(),
            suite: run.suite.clone(),
            entry: run.entry,
            attempt: run.attempt,
            age_ms: u64::try_from(run.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            ended: run.ended,
            tests: run.tests.clone(),
        };
        let taken: Result<Taken, _> = self.link.post(VALIDATION, &report).await;
        taken.map_err(RunError::Refused)?;
        run.news = false;
        if run.ended {
            let text = format!("{} tests", run.tests.len());
            self.reporter.done(&run.command.clone(), true, &text);
            self.run = None;
        }
        Ok(())
    }

    fn begin(&mut self, command: Command) {
        let id = command.id;
        match command.what {
            CommandKind::RunSuite { suite, text, entry, attempt } => self.validate(id, suite, text, entry, attempt),
            CommandKind::RestartEngine { gpu, since } => {
                let engines = self.supervisor.restart(gpu);
                let at = self.millis();
                self.reporter.event(EventKind::Restarted { gpu, since }, at);
                self.reporter.done(&id, true, &format!("{engines} engines restarted"));
            }
            CommandKind::ResetGpu { gpu, since } => {
                let sender = self.sender.clone();
                tokio::spawn(async move {
                    let (ok, text) = reset(gpu).await;
                    let event = ok.then_some(EventKind::Reset { gpu, since });
                    let _ = sender.send(Said::Done { id, ok, text, event }).await;
                });
            }
            CommandKind::StopWork { reason } => {
                self.stopped = true;
                self.supervisor.run_all(false);
                self.reporter.done(&id, true, &reason);
            }
            CommandKind::ResumeWork => {
                self.stopped = false;
                self.supervisor.run_all(true);
                self.reporter.done(&id, true, "");
            }
        }
    }

    fn validate(&mut self, id: String, suite: String, text: Option<String>, entry: u64, attempt: u32) {
        if let Some(run) = &self.run {
            let text = format!("{} runs for entry {}; ask again", run.suite, run.entry);
            // Told again after the run, it is begun.
            return self.reporter.refuse(&id, &text, true);
        }
        let parsed = match &text {
            Some(text) => Suite::parse(text),
            None => Suite::named(&suite),
        };
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return self.reporter.refuse(&id, &error.to_string(), false),
        };
        let begun = Instant::now();
        self.run =
            Some(Running { command: id, suite, entry, attempt, begun, tests: Vec::new(), ended: false, news: true });
        let place = validate::Place { folder: self.options.folder.clone(), level: self.options.level };
        let sender = self.sender.clone();
        tokio::spawn(async move {
            // A full queue cannot be: it holds every test of a suite, and a result lost would be a test that did not run.
            validate::run(&parsed, &place, |it| {
                let _ = sender.try_send(Said::Test(it.clone()));
            })
            .await;
            let _ = sender.send(Said::SuiteEnded).await;
        });
    }
}

async fn xid(watch: &mut Option<Watch>) -> Option<EventKind> {
    match watch {
        Some(watch) => watch.events.recv().await,
        None => None,
    }
}

/// `nvidia-smi` is what can reset a GPU.
async fn reset(gpu: u32) -> (bool, String) {
    let command = tokio::process::Command::new("nvidia-smi")
        .args(["--gpu-reset", "-i", &gpu.to_string()])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    match tokio::time::timeout(RESET_TIMEOUT, command).await {
        Ok(Ok(output)) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            (output.status.success(), crate::report::last(text.trim(), TEXT_MAX))
        }
        Ok(Err(error)) => (false, format!("nvidia-smi: {error}")),
        Err(_) => (false, format!("nvidia-smi did not end within {} s", RESET_TIMEOUT.as_secs())),
    }
}
