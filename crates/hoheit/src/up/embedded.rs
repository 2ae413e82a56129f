//! The embedded engine: loads a model, serves it on loopback in a runtime of its own, and registers it like any other
//! engine. `nano`, the small model that the project ships, is inside the binary and unpacked on first use, so that a
//! machine without downloads serves real tokens.

use anyhow::{Context, Result};
use engine::{Engine, ModelKind};
use std::fs;
use std::path::{Path, PathBuf};
use store::Store;
use tokio::sync::oneshot;
use types::audit::AuditEntry;
use types::snapshot::{Endpoint, EngineKind};
use types::{Country, EndpointFacts, EndpointId, EngineId, Retention, UnixMillis};

/// `models/nano`, as it is in the source tree.
const NANO: [(&str, &[u8]); 4] = [
    ("config.json", include_bytes!("../../../../models/nano/config.json")),
    ("tokenizer.json", include_bytes!("../../../../models/nano/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../../../models/nano/tokenizer_config.json")),
    ("model.safetensors", include_bytes!("../../../../models/nano/model.safetensors")),
];

/// A running engine; dropping `stop` ends it.
pub struct Running {
    pub url: String,
    pub info: engine::ModelInfo,
    /// New with each start, known to the engine and the gateway: a port on loopback is open to every user of the machine.
    bearer: String,
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

/// Writes nano into the data folder, if what is there differs.
pub fn unpack_nano(dir: &Path) -> Result<PathBuf> {
    let place = dir.join("models").join("nano");
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    for (name, bytes) in NANO {
        let path = place.join(name);
        if fs::read(&path).ok().as_deref() != Some(bytes) {
            super::folder::write_private(&path, bytes)?;
        }
    }
    Ok(place)
}

/// Loads a model and serves it. Loading blocks; it is done before the port opens, so a bad model file ends the start.
pub fn start(path: &Path) -> Result<Running> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("the kernel gives no random bytes: {error}"))?;
    let bearer: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let options = engine::Options { bearer: Some(bearer.clone()), ..engine::Options::default() };
    let engine =
        Engine::load(path, options).with_context(|| format!("the model at {} cannot be loaded", path.display()))?;
    let info = engine.info();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no free port on loopback for the engine")?;
    listener.set_nonblocking(true)?;
    let url = format!("http://{}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
        let served = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            engine.serve(listener, async { drop(stopped.await) }).await
        });
        if let Err(error) = served {
            tracing::error!(%error, "the embedded engine ended");
        }
    })?;
    Ok(Running { url, info, bearer, stop, thread })
}

impl Running {
    /// Ends the engine and waits for it.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the embedded engine panicked");
        }
    }
}

/// What a first or repeated registration needs to know of this site.
pub struct Site<'a> {
    pub site: &'a str,
    pub operator: &'a str,
    pub country: Country,
}

/// Puts the running engine into the store: its address changes with every start, its endpoint does not.
/// An embedded engine of an earlier start that is not running now is removed.
pub async fn register(
    store: &Store,
    running: Option<&Running>,
    site: Site<'_>,
    now: UnixMillis,
    mut entry: impl FnMut(&str, String) -> AuditEntry,
    mut random: impl FnMut() -> [u8; 10],
) -> Result<()> {
    for old in store.engines().await?.into_iter().filter(|engine| engine.kind == EngineKind::Embedded) {
        store.engine_remove(old.id, &entry("engine.remove", old.id.to_string())).await?;
    }
    let Some(running) = running else { return Ok(()) };
    let context_length = running.info.context_length as u64;
    let output_tokens_max = match running.info.kind {
        ModelKind::Embedding { .. } => 1,
        // Half of a short context may be the answer; nobody waits for more than 4,096 tokens of a CPU.
        ModelKind::Decoder => (context_length / 2).clamp(1, 4_096),
    };
    // Not more than it takes: whoever waits longer than that waits in the gateway's queue, where it is fair.
    let slots = || {
        let engine = engine::Options::default();
        u32::try_from(engine.sequences_max + engine.queue_max).unwrap_or(u32::MAX)
    };
    let endpoint = Endpoint {
        id: EndpointId::from_parts(now, random()),
        model: running.info.name.clone(),
        facts: EndpointFacts {
            country: site.country,
            site: site.site.to_owned(),
            operator: site.operator.to_owned(),
            provider: site.operator.to_owned(),
            jurisdiction: site.country,
            retention: Retention::None,
            attestation: "none".to_owned(),
        },
        weights: Some(running.info.weights_digest.clone()),
        context_length,
        output_tokens_max,
        created_at: now,
    };
    let engine = types::snapshot::Engine {
        id: EngineId::from_parts(now, random()),
        endpoint: endpoint.id,
        url: running.url.clone(),
        kind: EngineKind::Embedded,
        model_alias: None,
        credential: Some(running.bearer.clone()),
        cordoned: false,
        slots: slots(),
    };
    let place = store.engine_add(&endpoint, &engine, &entry("engine.add", engine.id.to_string())).await?;
    // The same endpoint may have served other weights before: what is served now is what receipts must name.
    if place != endpoint.id
        && let Some(known) = store.endpoint(place).await?
        && (known.weights != endpoint.weights || known.context_length != endpoint.context_length)
    {
        let updated = Endpoint { id: place, created_at: known.created_at, ..endpoint };
        store.endpoint_update(&updated, &entry("endpoint.update", place.to_string())).await?;
    }
    Ok(())
}
