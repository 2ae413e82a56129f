//! The engine as its host sees it: load, look, serve. `serve` owns everything that runs: the inference thread, the
//! accept loop and every connection end with it. If the process dies, nothing is left behind: an engine keeps no state.

use crate::api::{Api, unix_seconds};
use crate::error::LoadError;
use crate::model::{Loaded, Network, load};
use crate::options::Options;
use crate::turn::meter::Meter;
use crate::turn::schedule::Schedule;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// A pause after an accept that failed (out of file descriptors): long enough not to spin, short enough not to be felt.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A model in memory, ready to be served.
pub struct Engine {
    info: ModelInfo,
    loaded: Loaded,
    options: Options,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// The name that requests use.
    pub name: String,
    /// `llama`, `qwen2`, `qwen3` or `bert`.
    pub architecture: String,
    /// Tokens of prompt and answer together.
    pub context_length: usize,
    /// `sha256:<hex>` of the weight file, or of the list that `sha256sum` prints for several.
    pub weights_digest: String,
    pub kind: ModelKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// Generates text: chat and text completions.
    Decoder,
    /// Makes vectors of this many numbers.
    Embedding { dimensions: usize },
}

impl Engine {
    /// Loads a model folder or a GGUF file and runs it once. Takes as long as reading the weights: call it off the async
    /// threads.
    pub fn load(path: &Path, options: Options) -> Result<Self, LoadError> {
        let loaded = load(path, options.context_max.max(1))?;
        let kind = match &loaded.network {
            Network::Decoder(_) => ModelKind::Decoder,
            Network::Embedder(embedder) => ModelKind::Embedding { dimensions: embedder.dimensions },
        };
        let of_path = || {
            let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
            name.map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
        };
        let info = ModelInfo {
            name: options.name.clone().unwrap_or_else(of_path),
            architecture: loaded.architecture.to_owned(),
            context_length: loaded.context_length,
            weights_digest: loaded.digest.clone(),
            kind,
        };
        Ok(Self { info, loaded, options })
    }

    pub fn info(&self) -> ModelInfo {
        self.info.clone()
    }

    /// Serves OpenAI's API until `shutdown` resolves: then takes no new connection, lets answers under way end within the
    /// drain time, cuts the rest, and returns when the inference thread has ended.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let Self { info, loaded, options } = self;
        let Loaded { network, words, .. } = loaded;
        let (words, meter) = (Arc::new(words), Arc::new(Meter::default()));
        let sessions_max = match &network {
            Network::Decoder(decoder) => decoder.sessions_max().unwrap_or(usize::MAX),
            Network::Embedder(_) => usize::MAX,
        };
        let sequences_max = options.sequences_max.clamp(1, sessions_max);
        let schedule = Schedule {
            network,
            words: words.clone(),
            meter: meter.clone(),
            sequences_max,
            prefill_chunk: options.prefill_chunk.max(1),
            on_step: options.on_step.clone(),
        };
        let (inbox, jobs) = std::sync::mpsc::channel();
        let kernels = match options.threads {
            Some(threads) => {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build();
                Some(pool.map_err(io::Error::other)?)
            }
            None => None,
        };
        let inference = std::thread::Builder::new().name("inference".into()).spawn(move || match kernels {
            Some(pool) => pool.install(move || schedule.run(jobs)),
            None => schedule.run(jobs),
        })?;
        let api = Arc::new(Api {
            info,
            words,
            inbox,
            places: Arc::new(Semaphore::new(sequences_max.saturating_add(options.queue_max))),
            meter,
            bearer: options.bearer.clone(),
            body_bytes_max: options.body_bytes_max,
            body_timeout: options.body_timeout,
            started: unix_seconds(),
            requests: AtomicU64::new(0),
        });
        accept(listener, api, &options, shutdown).await;
        let ended = tokio::task::spawn_blocking(move || inference.join()).await;
        match ended {
            Ok(Ok(())) => Ok(()),
            _ => Err(io::Error::other("the inference thread ended by a fault")),
        }
    }
}

/// Accepts until `shutdown`, then drains. Every connection has ended when this returns, and with them every sender to
/// the inference thread.
async fn accept(listener: TcpListener, api: Arc<Api>, options: &Options, shutdown: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(options.connections_max.clamp(1, Semaphore::MAX_PERMITS)));
    let (closing, closed) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            (stream, permit) = next(&listener, &room) => {
                let head_timeout = options.head_timeout;
                connections.spawn(connection(stream, api.clone(), head_timeout, closed.clone(), permit));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    drop((listener, api));
    let _ = closing.send(true);
    let drain = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(options.drain_timeout, drain).await.is_err() {
        tracing::info!(connections = connections.len(), "drain time is over; answers under way are cut");
        connections.shutdown().await;
    }
}

async fn next(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = room.clone().acquire_owned().await.expect("this semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    api: Arc<Api>,
    head_timeout: Duration,
    mut closed: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(api.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let closing = async move { drop(closed.wait_for(|closed| *closed).await) };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
