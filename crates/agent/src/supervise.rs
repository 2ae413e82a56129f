//! Engines on a small site, kept alive as child processes: start, ask for health, start again with growing pauses, give up after
//! five deaths and say so. Larger sites have an orchestrator for this, and no engines here.
//!
//! An engine listens on loopback unless its entry says otherwise; the gateway beside it is what faces the network. If the agent
//! crashes, its engines are killed with it (the kernel's parent death signal is not used: `kill_on_drop` covers an orderly end,
//! and an engine left by a killed agent holds its port, so the next start of it fails, is counted and found).

use crate::wire::{ENGINES_MAX, EngineSeen, NAME_MAX};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// After the first death; doubled with each, up to the longest.
pub const PAUSE_MIN: Duration = Duration::from_secs(1);
pub const PAUSE_MAX: Duration = Duration::from_secs(60);
/// So many deaths within the window, and it is given up: it does not heal by being started again.
pub const DEATHS_MAX: usize = 5;
/// 1 + 2 + 4 + 8 s of pauses and five starts of a minute or two.
pub const DEATHS_WINDOW: Duration = Duration::from_secs(15 * 60);
/// How often health is asked for, and how long an answer may take.
pub const HEALTH_EVERY: Duration = Duration::from_secs(5);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);
/// An engine that was asked to end has this long for requests that run.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// Two files of this each: the present one and the one before.
pub const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// An engine to keep alive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    pub name: String,
    pub command: Vec<String>,
    /// `http://127.0.0.1:PORT/health`: 200 is well.
    pub health: String,
    /// Indices of the GPUs that it uses.
    #[serde(default)]
    pub gpus: Vec<u32>,
    /// It may listen elsewhere than on loopback.
    #[serde(default)]
    pub exposed: bool,
}

/// Why a list of engines is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("engines: {0}")]
pub struct EnginesError(pub String);

/// Reads `[[engine]]` entries.
pub fn parse(text: &str) -> Result<Vec<Engine>, EnginesError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        #[serde(default)]
        engine: Vec<Engine>,
    }
    let list: List = toml::from_str(text).map_err(|error| EnginesError(error.to_string()))?;
    let mut names = std::collections::BTreeSet::new();
    for engine in &list.engine {
        let wrong = |text: &str| Err(EnginesError(format!("{}: {text}", engine.name)));
        let plain = engine.name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_');
        if engine.name.is_empty() || engine.name.len() > NAME_MAX || !plain || !names.insert(&engine.name) {
            return wrong("a name has letters, digits, - and _, and is there once");
        }
        if engine.command.first().is_none_or(String::is_empty) {
            return wrong("its command is empty");
        }
        let Ok(url) = engine.health.parse::<http::Uri>() else { return wrong("its health is no URL") };
        if url.scheme_str() != Some("http") || url.host().is_none() {
            return wrong("its health is http://HOST:PORT/PATH");
        }
        if !engine.exposed && !is_loopback(url.host().unwrap_or_default()) {
            return wrong("it listens on loopback, unless `exposed = true`");
        }
    }
    if list.engine.len() > ENGINES_MAX {
        return Err(EnginesError(format!("at most {ENGINES_MAX}")));
    }
    Ok(list.engine)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// What follows a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    StartAfter(Duration),
    GiveUp,
}

/// An engine's deaths. Pure.
#[derive(Debug, Default)]
pub struct Deaths(VecDeque<Duration>);

impl Deaths {
    /// It died at this time of the runtime's clock.
    pub fn died(&mut self, at: Duration) -> Next {
        self.0.push_back(at);
        while self.0.front().is_some_and(|it| at.saturating_sub(*it) > DEATHS_WINDOW) {
            self.0.pop_front();
        }
        if self.0.len() >= DEATHS_MAX {
            return Next::GiveUp;
        }
        let doubled = PAUSE_MIN.saturating_mul(1 << (self.0.len() - 1).min(16));
        Next::StartAfter(doubled.min(PAUSE_MAX))
    }
}

/// Running engines.
#[derive(Debug)]
pub struct Supervisor {
    seen: Arc<Mutex<Vec<EngineSeen>>>,
    changed: watch::Receiver<u64>,
    orders: Vec<(Engine, watch::Sender<Order>)>,
    tasks: JoinSet<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    /// Whether it shall run.
    run: bool,
    /// Raised for each restart that was asked for.
    restarts: u64,
    end: bool,
}

impl Supervisor {
    /// Starts all of them; logs go to files in this folder.
    pub fn start(engines: Vec<Engine>, folder: &Path) -> io::Result<Supervisor> {
        fs::create_dir_all(folder)?;
        let seen =
            engines.iter().map(|it| EngineSeen { name: it.name.clone(), url: it.health.clone(), ..Default::default() });
        let seen = Arc::new(Mutex::new(seen.collect::<Vec<_>>()));
        let (change, changed) = watch::channel(0);
        let mut tasks = JoinSet::new();
        let mut orders = Vec::new();
        for (at, engine) in engines.into_iter().enumerate() {
            let (order, ordered) = watch::channel(Order { run: true, restarts: 0, end: false });
            let keeper = Keeper {
                engine: engine.clone(),
                log: folder.join(format!("{}.log", engine.name)),
                at,
                seen: seen.clone(),
                change: change.clone(),
                ordered,
                deaths: Deaths::default(),
                epoch: Instant::now(),
            };
            tasks.spawn(keeper.keep());
            orders.push((engine, order));
        }
        Ok(Supervisor { seen, changed, orders, tasks })
    }

    /// How they are, in the order of the list.
    pub fn seen(&self) -> Vec<EngineSeen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until one of them is in another state.
    pub async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Restarts what uses this GPU, those given up too; how many that were.
    pub fn restart(&self, gpu: u32) -> usize {
        let users = self.orders.iter().filter(|(engine, _)| engine.gpus.contains(&gpu));
        users.map(|(_, order)| order.send_modify(|it| it.restarts += 1)).count()
    }

    /// All run, or none: work is stopped.
    pub fn run_all(&self, run: bool) {
        for (_, order) in &self.orders {
            order.send_if_modified(|it| std::mem::replace(&mut it.run, run) != run);
        }
    }

    /// Ends all, orderly, and waits for that.
    pub async fn stop(mut self) {
        for (_, order) in &self.orders {
            order.send_modify(|it| it.end = true);
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Keeps one engine.
struct Keeper {
    engine: Engine,
    log: PathBuf,
    at: usize,
    seen: Arc<Mutex<Vec<EngineSeen>>>,
    change: watch::Sender<u64>,
    ordered: watch::Receiver<Order>,
    deaths: Deaths,
    epoch: Instant,
}

/// Why a running engine is looked after no more.
enum Over {
    Died(String),
    /// Another order came; the process is ended.
    Ordered,
}

impl Keeper {
    async fn keep(mut self) {
        loop {
            let order = *self.ordered.borrow_and_update();
            if order.end {
                return self.say("stopped", None);
            }
            if !order.run {
                self.say("stopped", None);
                if self.ordered.changed().await.is_err() {
                    return;
                }
                continue;
            }
            self.say("starting", None);
            let note = match self.run(order).await {
                Over::Ordered => {
                    self.deaths = Deaths::default();
                    continue;
                }
                Over::Died(note) => note,
            };
            let wait = match self.deaths.died(self.epoch.elapsed()) {
                Next::StartAfter(pause) => {
                    self.say("waiting", Some(note));
                    Some(pause)
                }
                Next::GiveUp => {
                    self.say("given_up", Some(note));
                    None
                }
            };
            let pause = async {
                match wait {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pause => self.count(),
                changed = self.ordered.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.deaths = Deaths::default();
                }
            }
        }
    }

    /// Runs it until it dies or another order comes.
    async fn run(&mut self, order: Order) -> Over {
        let mut child = match self.spawn() {
            Ok(child) => child,
            Err(error) => return Over::Died(format!("{}: {error}", self.engine.command[0])),
        };
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let log = Log::open(&self.log);
        let copied = tokio::spawn(copy(child.stdout.take(), child.stderr.take(), log));
        let over = loop {
            tokio::select! {
                ended = child.wait() => break Over::Died(ended.map_or_else(|it| it.to_string(), |it| it.to_string())),
                changed = self.ordered.changed() => {
                    let now = *self.ordered.borrow_and_update();
                    if changed.is_err() || now.end || !now.run || now.restarts != order.restarts {
                        end(&mut child, group).await;
                        break Over::Ordered;
                    }
                }
                () = tokio::time::sleep(HEALTH_EVERY) => {
                    let well = is_healthy(&self.engine.health).await;
                    self.say(if well { "healthy" } else { "unhealthy" }, None);
                }
            }
        };
        // What it left behind goes with it; then its pipes end.
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = copied.await;
        over
    }

    fn spawn(&self) -> io::Result<Child> {
        Command::new(&self.engine.command[0])
            .args(&self.engine.command[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    fn say(&self, state: &str, note: Option<String>) {
        self.with(|it| {
            it.state = state.to_owned();
            if let Some(note) = note {
                it.note = note;
            }
        });
    }

    fn count(&self) {
        self.with(|it| it.restarts += 1);
    }

    fn with(&self, change: impl FnOnce(&mut EngineSeen)) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen[self.at].clone();
        change(&mut seen[self.at]);
        if seen[self.at] != before {
            self.change.send_modify(|it| *it += 1);
        }
    }
}

/// Asks it to end, waits, ends it.
async fn end(child: &mut Child, group: Option<Pid>) {
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::TERM);
    }
    if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// Whether the URL answers 200 in time.
async fn is_healthy(url: &str) -> bool {
    let ask = async {
        let uri: http::Uri = url.parse().ok()?;
        let host = uri.host()?.trim_matches(['[', ']']);
        let socket = tokio::net::TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.ok()?;
        let path = uri.path_and_query().map_or("/", |it| it.as_str());
        let request = http::Request::get(path).header("host", host).body(Empty::<bytes::Bytes>::new()).ok()?;
        tokio::select! {
            _ = connection => None,
            response = sender.send_request(request) => Some(response.ok()?.status() == http::StatusCode::OK),
        }
    };
    matches!(tokio::time::timeout(HEALTH_TIMEOUT, ask).await, Ok(Some(true)))
}

/// A log of bounded size: full, it becomes `.1` and a new one begins.
struct Log {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Log {
    fn open(path: &Path) -> Log {
        let file = OpenOptions::new().create(true).append(true).open(path).ok();
        let bytes = file.as_ref().and_then(|it| it.metadata().ok()).map_or(0, |it| it.len());
        Log { path: path.to_owned(), file, bytes }
    }

    fn write(&mut self, block: &[u8]) {
        if self.bytes + block.len() as u64 > LOG_BYTES_MAX {
            let _ = fs::rename(&self.path, self.path.with_extension("log.1"));
            *self = Log::open(&self.path);
        }
        if let Some(file) = &mut self.file
            && file.write_all(block).is_ok()
        {
            self.bytes += block.len() as u64;
        }
    }
}

async fn copy(out: Option<impl AsyncRead + Unpin>, err: Option<impl AsyncRead + Unpin>, mut log: Log) {
    let (Some(mut out), Some(mut err)) = (out, err) else { return };
    let (mut a, mut b) = ([0; 4096], [0; 4096]);
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        tokio::select! {
            read = out.read(&mut a), if out_open => match read {
                Ok(length @ 1..) => log.write(&a[..length]),
                _ => out_open = false,
            },
            read = err.read(&mut b), if err_open => match read {
                Ok(length @ 1..) => log.write(&b[..length]),
                _ => err_open = false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let mut deaths = Deaths::default();
        let at = Duration::from_secs;
        let pauses: Vec<_> = (0..5).map(|it| deaths.died(at(it * 10))).collect();
        let after = |seconds| Next::StartAfter(at(seconds));
        assert_eq!(pauses, [after(1), after(2), after(4), after(8), Next::GiveUp]);
        // Long ago is forgotten.
        let mut deaths = Deaths::default();
        let each = DEATHS_WINDOW + at(1);
        assert!((0..20).all(|it| deaths.died(each * it) == after(1)));
    }

    #[test]
    fn a_log_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(&folder.path().join("e.log"));
        log.bytes = LOG_BYTES_MAX - 3;
        log.write(b"abc");
        log.write(b"def");
        assert_eq!(fs::read(folder.path().join("e.log")).unwrap(), b"def");
        assert_eq!(fs::read(folder.path().join("e.log.1")).unwrap(), b"abc");
    }

    #[test]
    fn lists() {
        let engine = |health: &str, more: &str| {
            parse(&format!("[[engine]]\nname = \"a\"\ncommand = [\"x\"]\nhealth = \"{health}\"\n{more}"))
        };
        assert_eq!(engine("http://127.0.0.1:8000/health", "gpus = [0, 1]").unwrap()[0].gpus, [0, 1]);
        assert!(engine("http://[::1]:8000/health", "").is_ok());
        assert!(engine("http://0.0.0.0:8000/health", "").unwrap_err().to_string().contains("loopback"));
        assert!(engine("http://10.0.0.1:8000/health", "exposed = true").is_ok());
        assert!(engine("https://127.0.0.1", "").is_err());
        assert!(parse("[[engine]]\nname = \"../a\"\ncommand = [\"x\"]\nhealth = \"http://localhost\"").is_err());
        assert!(parse("").unwrap().is_empty());
    }
}
