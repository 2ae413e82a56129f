//! What the engine saw and counted: the oracle that receipts are compared with.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Running,
    /// Everything that the script wanted to send was taken by the connection.
    Completed,
    /// The client left first.
    Cancelled,
    /// The client left, and the engine works on.
    RunsOn,
    /// The client left, and the engine worked to the end all the same.
    RanOn,
    /// The script broke the connection.
    Died,
}

impl State {
    /// Nothing more will be counted.
    pub fn has_ended(self) -> bool {
        !matches!(self, State::Running | State::RunsOn)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Completed => "completed",
            State::Cancelled => "cancelled",
            State::RunsOn => "runs on",
            State::RanOn => "ran on",
            State::Died => "died",
        }
    }
}

/// Tokens, as an honest engine counts them: what was handed to the connection. The reported usage may lie; this does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    pub input: u64,
    pub cached: u64,
    pub output: u64,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub index: usize,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub model: String,
    pub stream: bool,
    pub counted: Counted,
    /// Content events handed to the connection.
    pub events: u64,
    pub state: State,
}

impl Request {
    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Told of every request that has ended.
pub type OnEnd = Box<dyn Fn(&Request) + Send + Sync>;

pub(crate) struct Log {
    requests: Mutex<Vec<Request>>,
    version: watch::Sender<u64>,
    on_end: Option<OnEnd>,
}

impl Log {
    pub fn new(on_end: Option<OnEnd>) -> Log {
        Log { requests: Mutex::default(), version: watch::Sender::new(0), on_end }
    }

    pub fn all(&self) -> Vec<Request> {
        self.locked().clone()
    }

    pub fn changed(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Writes a request down as running and returns its place.
    pub fn begin(&self, path: &str, headers: HeaderMap, body: Bytes, model: String, stream: bool) -> usize {
        let mut requests = self.locked();
        let index = requests.len();
        requests.push(Request {
            index,
            path: path.to_owned(),
            headers,
            body,
            model,
            stream,
            counted: Counted::default(),
            events: 0,
            state: State::Running,
        });
        drop(requests);
        self.version.send_modify(|version| *version += 1);
        index
    }

    fn change(&self, index: usize, change: impl FnOnce(&mut Request)) {
        let mut requests = self.locked();
        let request = &mut requests[index];
        change(request);
        if request.state.has_ended()
            && let Some(on_end) = &self.on_end
        {
            on_end(request);
        }
        drop(requests);
        self.version.send_modify(|version| *version += 1);
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Request>> {
        // A panic inside the lock is a failing test's; its log is still worth reading.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one running request in the log. Dropped before it was ended, it says that the client left: hyper drops
/// service futures and bodies when the connection goes.
pub(crate) struct Ticket {
    shared: Arc<super::Shared>,
    index: usize,
    ended: bool,
    /// What is counted in the end if the client leaves and the work goes on.
    whole: Option<Counted>,
}

impl Ticket {
    pub fn new(shared: Arc<super::Shared>, index: usize) -> Ticket {
        Ticket { shared, index, ended: false, whole: None }
    }

    pub fn runs_on_to(&mut self, whole: Counted) {
        self.whole = Some(whole);
    }

    pub fn count(&self, counted: Counted, events: u64) {
        self.shared.log.change(self.index, |request| {
            request.counted = counted;
            request.events = events;
        });
    }

    pub fn end(&mut self, state: State) {
        if !self.ended {
            self.ended = true;
            self.shared.log.change(self.index, |request| request.state = state);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        let (Some(whole), Ok(runtime), false) = (self.whole, runtime, self.ended) else {
            return self.end(State::Cancelled);
        };
        self.end(State::RunsOn);
        let (shared, index) = (self.shared.clone(), self.index);
        runtime.spawn(async move {
            let _closed = shared.stall.acquire().await;
            shared.log.change(index, |request| (request.counted, request.state) = (whole, State::RanOn));
        });
    }
}
