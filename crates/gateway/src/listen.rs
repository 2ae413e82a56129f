//! Sockets: the accept loop with its timers, one lane per core.
//!
//! A lane is a thread with a runtime of its own, its own accepts on the shared socket and its own connections to the
//! engines, so that a request stays on one core from its first byte to its last. What is not under `/v1`, and
//! what is there of others (`paths::OTHERS`), goes to the fallback, on the runtime that the embedding program keeps for it.
//!
//! hyper's own timeouts are inert without a timer, which is why the builder is ours: a client that dribbles its headers
//! is cut off, and one that sends more of them than the limit gets 431.

use crate::body::{BodyError, ForeignBody, Outgoing};
use crate::dial::Dial;
use crate::dispatch::EngineClient;
use crate::gateway::Gateway;
use crate::linger;
use crate::pipeline;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Answers what is not ours.
pub type Fallback =
    Arc<dyn Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response<ForeignBody>> + Send>> + Send + Sync>;

/// Accepting threads and how to stop them.
pub struct Lanes {
    stop: watch::Sender<bool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// Starts the lanes on a bound socket. `control` runs the fallback's futures.
pub fn start(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    lanes: usize,
    control: tokio::runtime::Handle,
    fallback: Fallback,
) -> io::Result<Lanes> {
    listener.set_nonblocking(true)?;
    let (stop, stopped) = watch::channel(false);
    let mut threads = Vec::with_capacity(lanes);
    for lane in 0..lanes.max(1) {
        let listener = listener.try_clone()?;
        let journal = gateway.journal.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || journal.end_turn())
            .build()?;
        let shared = Shared {
            gateway: gateway.clone(),
            control: control.clone(),
            fallback: fallback.clone(),
            client: EngineClient::new(Dial::tcp(&gateway.limits)),
        };
        let stopped = stopped.clone();
        let thread = std::thread::Builder::new().name(format!("lane-{lane}")).spawn(move || {
            journal::work_in_turns();
            let journal = shared.gateway.journal.clone();
            if let Err(error) = runtime.block_on(accept(listener, shared, stopped)) {
                tracing::error!(%error, lane, "a lane ended: it accepts no more connections");
            }
            // What it drops leaves receipts.
            drop(runtime);
            journal.end_turn();
        })?;
        threads.push(thread);
    }
    Ok(Lanes { stop, threads })
}

impl Lanes {
    /// Stops accepting, lets every request end within the drain timeout, then cuts what is left. Blocks.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a lane panicked");
            }
        }
    }
}

#[derive(Clone)]
struct Shared {
    gateway: Arc<Gateway>,
    control: tokio::runtime::Handle,
    fallback: Fallback,
    client: EngineClient,
}

/// After an accept fails for want of file descriptors: long enough for some to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A lane looks at its clock this often. A timer that is set for later than the next look is noted and no more; one that would
/// be the first to fire makes tokio wake its own driver, a system call, and with nothing else due that is every request's
/// timeout for the next header (measured: one `write` to the eventfd for each request). A look a second costs nothing.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(1);

async fn accept(listener: TcpListener, shared: Shared, stopped: watch::Receiver<bool>) -> io::Result<()> {
    let mut stop = stopped.clone();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let bell = tokio::spawn(shared.gateway.journal.bell());
    let clock = tokio::spawn(async {
        loop {
            tokio::time::sleep(LOOK_AT_CLOCK).await;
        }
    });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < shared.gateway.limits.connections_max => match accepted {
                Ok((socket, _)) => {
                    let _ = socket.set_nodelay(true);
                    connections.spawn(connection(socket, shared.clone(), stopped.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(shared.gateway.limits.drain_timeout, drained).await.is_err() {
        tracing::warn!("requests were still running when the drain time ended: they are cut and receipted as aborted");
        connections.shutdown().await;
    }
    bell.abort();
    clock.abort();
    Ok(())
}

async fn connection(socket: tokio::net::TcpStream, shared: Shared, stopped: watch::Receiver<bool>) {
    let (lent, kept) = linger::lend(socket, shared.gateway.limits.write_stall_timeout);
    serve(lent, &shared, stopped).await;
    kept.close().await;
}

/// A lane without a thread and without sockets: serves the connections that it is given. For the simulation.
#[derive(Clone)]
pub struct Lane(Shared);

impl Lane {
    pub fn new(gateway: Arc<Gateway>, dial: Dial, control: tokio::runtime::Handle, fallback: Fallback) -> Self {
        Lane(Shared { gateway, control, fallback, client: EngineClient::new(dial) })
    }

    /// Until either side ends the connection, or `stopped` and the request on it has its answer.
    pub async fn serve(&self, socket: impl AsyncRead + AsyncWrite + Unpin, stopped: watch::Receiver<bool>) {
        serve(socket, &self.0, stopped).await;
    }
}

/// One connection, until it ends.
async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin, shared: &Shared, mut stopped: watch::Receiver<bool>) {
    let limits = &shared.gateway.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        // hyper's bound is on its buffer and answers without a body; ours is exact and says what to do.
        .max_buf_size(2 * limits.header_bytes_max)
        .max_headers(limits.headers_max);
    let service =
        service_fn(|request: Request<Incoming>| async move { Ok::<_, Infallible>(shared.answer(request).await) });
    let connection = builder.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    let mut told = false;
    loop {
        tokio::select! {
            // In this order, so that the simulation knows it.
            biased;
            // A client that breaks its own connection is no event worth a line.
            _ = connection.as_mut() => break,
            _ = stopped.wait_for(|stop| *stop), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Outgoing> {
        if header_bytes(&request) > self.gateway.limits.header_bytes_max {
            let limit = self.gateway.limits.header_bytes_max;
            let message = format!("request line and headers may have at most {limit} bytes together");
            return crate::refusal::Refusal::new(types::Code::HeadersTooLarge, message).response();
        }
        let path = request.uri().path();
        if (path == "/v1" || path.starts_with("/v1/")) && !crate::paths::is_anothers(path) {
            return pipeline::handle(&self.gateway, &self.client, request).await;
        }
        let answer = (self.fallback)(request);
        match self.control.spawn(answer).await {
            Ok(response) => response.map(Outgoing::Foreign),
            Err(error) => {
                tracing::error!(%error, "the control API failed to answer");
                let refusal = crate::refusal::Refusal::new(types::Code::Internal, "internal error");
                refusal.response()
            }
        }
    }
}

/// As on the wire: `name: value\r\n` each, and the request line without the version.
fn header_bytes(request: &Request<Incoming>) -> usize {
    let line = request.uri().path().len() + request.uri().query().map_or(0, |query| query.len() + 1);
    request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>() + line
}

/// Wraps any body as a fallback's.
pub fn foreign<B>(body: B) -> ForeignBody
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    body.map_err(Into::into).boxed_unsync()
}
