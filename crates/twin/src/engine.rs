//! A scripted engine: speaks OpenAI's HTTP API over a real socket and behaves, or misbehaves, as its script says.
//!
//! Why a real socket: half of what can go wrong between a gateway and an engine (a reset, a half line, a client that
//! leaves) happens in the connection and cannot be shown with a function call.
//!
//! Why it is exact: an event counts when the connection takes it, not when it is planned. Nothing runs ahead in a task
//! of its own, and a paced answer moves only when the test calls [`ScriptedEngine::step`]; no test needs to sleep.
//!
//! It holds no state that outlives the process; the binary `twin-engine` adds a file of counts for tests that kill.

mod answer;
mod behaviour;
mod body;
mod log;
mod server;
mod socket;

pub use behaviour::{Ask, Before, Behaviour, BehaviourError, End, Framing, Pace, Script, UsageStory};
pub use log::{Counted, OnEnd, Request, State};

use log::Log;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

/// How long [`ScriptedEngine::until`] waits before it says that the test has failed: far longer than anything that
/// happens on loopback, far shorter than a test runner's own limit.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the connections of one engine share.
pub(crate) struct Shared {
    pub script: Script,
    pub log: Log,
    /// Permits of [`Pace::Step`]: one event each.
    pub steps: Arc<Semaphore>,
    /// Closed by [`ScriptedEngine::release`]: whatever stalls goes on.
    pub stall: Arc<Semaphore>,
    /// Models that `/v1/models` lists.
    pub models: Vec<String>,
    /// Connections taken so far.
    pub connections: AtomicUsize,
}

/// A running scripted engine. Dropping it stops it and closes its connections.
pub struct ScriptedEngine {
    address: SocketAddr,
    shared: Arc<Shared>,
    stopping: Arc<Notify>,
    server: JoinHandle<()>,
}

impl ScriptedEngine {
    /// Starts on a free loopback port.
    pub async fn start(script: impl Into<Script>) -> io::Result<ScriptedEngine> {
        ScriptedEngine::listen("127.0.0.1:0", script, vec!["scripted".into()], None).await
    }

    /// Starts on a given address, lists these models and, if asked, hands every ended request to `on_end`.
    pub async fn listen(
        address: &str,
        script: impl Into<Script>,
        models: Vec<String>,
        on_end: Option<OnEnd>,
    ) -> io::Result<ScriptedEngine> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: script.into(),
            log: Log::new(on_end),
            steps: Arc::new(Semaphore::new(0)),
            stall: Arc::new(Semaphore::new(0)),
            models,
            connections: AtomicUsize::new(0),
        });
        let stopping = Arc::new(Notify::new());
        let server = tokio::spawn(server::run(listener, shared.clone(), stopping.clone()));
        Ok(ScriptedEngine { address, shared, stopping, server })
    }

    /// Base URL without a trailing slash and without `/v1`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request to a `/v1` path so far except `/v1/models`, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.all()
    }

    /// Connections taken so far, those that have closed included.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Requests whose client left before the answer was complete.
    pub fn cancels(&self) -> usize {
        self.requests().iter().filter(|request| request.state == State::Cancelled).count()
    }

    /// Output tokens of all requests together, whatever became of them.
    pub fn output_tokens(&self) -> u64 {
        self.requests().iter().map(|request| request.counted.output).sum()
    }

    /// Lets `events` more events of paced answers out, whichever request asks first.
    pub fn step(&self, events: usize) {
        self.shared.steps.add_permits(events);
    }

    /// Lets everything that stalls go on, now and in future.
    pub fn release(&self) {
        self.shared.stall.close();
    }

    /// Waits until the log looks like `done`, and returns it.
    ///
    /// # Panics
    /// After 20 seconds, with the log: it is an assertion of a test.
    pub async fn until(&self, done: impl Fn(&[Request]) -> bool) -> Vec<Request> {
        let mut changed = self.shared.log.changed();
        let wait = async {
            loop {
                let requests = self.requests();
                if done(&requests) || changed.changed().await.is_err() {
                    return requests;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(requests) => requests,
            Err(_) => panic!("the engine never saw what the test waits for; its log: {:#?}", self.requests()),
        }
    }

    /// Waits until `count` requests have ended, however, and returns the log.
    pub async fn until_ended(&self, count: usize) -> Vec<Request> {
        self.until(|requests| requests.iter().filter(|request| request.state.has_ended()).count() >= count).await
    }

    /// Stops listening, closes every connection and returns what was seen.
    pub async fn stop(mut self) -> Vec<Request> {
        self.stopping.notify_one();
        // The server task ends at the notice; it is aborted in any case when `self` drops.
        let _ended = (&mut self.server).await;
        self.requests()
    }
}

impl Drop for ScriptedEngine {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A URL at which nothing listens: connecting is refused. The port was free a moment ago.
pub fn closed_url() -> io::Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(format!("http://{}", listener.local_addr()?))
}
