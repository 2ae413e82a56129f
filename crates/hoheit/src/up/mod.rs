//! `hoheit up`: the wiring of one process, in the order in which a start may fail without harm.
//!
//! folder -> store -> model -> journal -> control API and sealer -> port. The journal is open before the port, so there
//! is no request that could not be receipted. Stopping goes the other way: no new work, drain, settle, ship, sync.

mod embedded;
mod files;
mod first;
mod fleet;
mod folder;
mod metrics;
mod options;
mod otlp;
mod partners;
mod traces;

pub use options::Options;

use anyhow::{Context, Result};
use controller::seal::SealerParts;
use controller::{Controller, ControllerParts, Issuer};
use folder::Folder;
use gateway::{Clock, Gateway, SystemClock};
use ledger::key::SigningKey;
use options::LogFormat;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use store::tiles::TileFiles;
use store::{Store, StoreError};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tower::ServiceExt;

/// How often the store is asked whether another process changed something.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// After the last request: receipts may take so long to reach the store. What does not is shipped at the next start.
const SHIP_AT_STOP: Duration = Duration::from_secs(10);

/// One statement; what does not reach the store is done by the next start.
const GIVE_BACK_AT_STOP: Duration = Duration::from_secs(2);

/// Serves until it is told to stop.
pub fn run(options: Options) -> Result<()> {
    start_logging(options.log_format);
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider was installed before ours"))?;
    let clock = Arc::new(SystemClock::start());
    let folder = Folder::open(&options.data, options.site.as_deref(), clock.now())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(options, folder, clock))
}

fn start_logging(format: LogFormat) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("HOHEIT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_target(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}

async fn serve(options: Options, folder: Folder, clock: Arc<SystemClock>) -> Result<()> {
    // Before anything else: whoever reads that we serve may tell us to stop at once, and it must be a clean stop.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let exporter = traces::configured(options.otlp_endpoint.as_deref(), &folder.site.site)?;
    let url = match &options.database_url {
        Some(url) => url.clone(),
        None => format!("sqlite://{}", folder.dir.join("hoheit.db").display()),
    };
    let kept = folder.dir.join("snapshot");
    let (store, away) = open_store(&url, &kept).await?;
    let tiles = TileFiles::open(folder.dir.join("log")).context("the log's folder cannot be opened")?;
    let operator = options.operator.clone().unwrap_or_else(|| folder.site.site.clone());
    let model = match (&options.model, options.no_model) {
        (_, true) => None,
        (Some(path), false) => Some(path.clone()),
        (None, false) => Some(embedded::unpack_nano(&folder.dir)?),
    };
    let running = match model {
        None => None,
        Some(path) => Some(tokio::task::spawn_blocking(move || embedded::start(&path)).await??),
    };
    let seeds = first::Seeds { clock: clock.as_ref() };
    if away.is_none() {
        first::seed(&store, &seeds).await?;
        embedded::register(
            &store,
            running.as_ref(),
            embedded::Site { site: &folder.site.site, operator: &operator, country: options.country },
            clock.now(),
            |action, object| seeds.entry(action, object),
            || seeds.random(),
        )
        .await?;
    }

    let receipt_key = Arc::new(SigningKey::from_seed(&folder.receipt_seed)?);
    let log_signer = ledger::log::LogSigner::new(&folder.site.origin, SigningKey::from_seed(&folder.log_seed)?)?;
    let snapshot_key = Arc::new(SigningKey::from_seed(&folder.snapshot_seed)?);
    let issuer = Issuer::new(snapshot_key, Duration::from_secs(options.snapshot_ttl));
    let lanes = std::thread::available_parallelism().map_or(1, usize::from);
    let gateway = Gateway::open(gateway::Parts {
        name: options.gateway.clone(),
        journal_dir: folder.dir.join("journal"),
        journal: journal::Options { queue_bytes_max: JOURNAL_QUEUE_BYTES_MAX, ..Default::default() },
        store: Arc::new(store.clone()),
        tiles: tiles.clone(),
        receipt_key: receipt_key.clone(),
        pepper: folder.pepper,
        clock: clock.clone(),
        limits: gateway::Limits {
            pad_from: options.pad_streams.from(),
            connections_max: (files::connections() / lanes).max(1),
            ..Default::default()
        },
        routing: options.routing(),
        snapshot: match &away {
            None => issuer.issue(store.snapshot(&folder.site.site).await?, clock.now()),
            Some(signed) => signed.clone(),
        },
        snapshot_key: issuer.public(),
        // A file has one process; a database may have several, now or later.
        sharing: if options.database_url.is_some() { gateway::Sharing::Parts } else { gateway::Sharing::Whole },
        snapshot_file: Some(kept),
    })
    .await?;
    let shipper = tokio::spawn(gateway::ship(gateway.clone()));
    let tender = tokio::spawn(gateway::tend(gateway.clone()));
    let sealer = SealerParts {
        store: store.clone(),
        tiles,
        signer: Arc::new(log_signer),
        progress: Default::default(),
        fault: None,
    };
    let fleet = fleet::prepare(&options, &folder, &store, &clock).await?;
    // Known once the port is open; nobody asks before.
    let public_url = Arc::new(OnceLock::new());
    let knowledge = partners::knowledge(&folder, &store, &clock)?;
    let broker = partners::broker(&options, &public_url, &knowledge);
    let controller = controller(&folder, &sealer, &receipt_key, issuer, &gateway, &clock, &fleet, broker);
    if away.is_none() {
        controller.publish().await.map_err(|problem| anyhow::anyhow!("{problem}"))?;
    }

    let (stop, stopped) = watch::channel(false);
    let sealer = tokio::spawn(seal(sealer, gateway.clone(), stopped.clone()));
    let tracer = exporter.map(|exporter| traces::start(exporter, &gateway, stopped.clone()));
    let fleet = fleet.start(&options, &folder, &receipt_key, &clock, stopped.clone()).await?;
    let refresher = tokio::spawn(refresh(controller.clone(), stopped));

    let listener = TcpListener::bind(options.listen)
        .with_context(|| format!("cannot listen on {}: is the port in use?", options.listen))?;
    let address = listener.local_addr()?;
    public_url.get_or_init(|| options.public_url(address));
    let partners = partners::shells(&options, &folder, &store, knowledge, &gateway, &clock, address);
    let fallback = fallback(controller.router().merge(partners.router()));
    let keeper = tokio::spawn(partners.tend());
    let lanes = gateway::listen::start(gateway.clone(), listener, lanes, tokio::runtime::Handle::current(), fallback)?;
    announce(&options, &folder, address, running.as_ref());
    fleet.announce();

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(open = gateway.open_requests(), "stopping: no new requests, the running ones may end");
    gateway.drain();
    tokio::task::spawn_blocking(move || lanes.stop()).await?;
    if tokio::time::timeout(SHIP_AT_STOP, gateway.wait_shipped()).await.is_err() {
        tracing::warn!("not every receipt reached the store; the journal keeps them for the next start");
    }
    let closing = gateway.clone();
    tokio::task::spawn_blocking(move || closing.close_journal()).await?;
    shipper.await?;
    tender.abort();
    keeper.abort();
    let _in_time = tokio::time::timeout(GIVE_BACK_AT_STOP, gateway.give_back()).await;
    stop.send_replace(true);
    fleet.stop().await;
    sealer.await?;
    refresher.await?;
    if let Some(tracer) = tracer {
        tracer.await?;
    }
    if let Some(running) = running {
        tokio::task::spawn_blocking(move || running.stop()).await?;
    }
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// The site's database. If it is a server that does not answer, and an earlier start left a signed snapshot: that snapshot,
/// to serve from until the database is back, or until its time is over.
async fn open_store(url: &str, kept: &Path) -> Result<(Store, Option<Vec<u8>>)> {
    match Store::open(url).await {
        Ok(store) => Ok((store, None)),
        Err(error @ StoreError::Unavailable(_)) if !url.starts_with("sqlite:") && kept.exists() => {
            tracing::warn!(%error, "the database is away: serving from the snapshot that an earlier start left");
            Ok((Store::open_later(url)?, Some(std::fs::read(kept)?)))
        }
        Err(error) => Err(error).context("the database cannot be opened"),
    }
}

/// 10,000 requests may be open at once, each owing a receipt of about 2 KB: 20 MB in the half that is kept for them.
const JOURNAL_QUEUE_BYTES_MAX: usize = 64 << 20;

#[expect(clippy::too_many_arguments, reason = "one caller; the parts of a process, in the order in which it has them")]
fn controller(
    folder: &Folder,
    sealer: &SealerParts,
    receipt_key: &Arc<SigningKey>,
    issuer: Issuer,
    gateway: &Arc<Gateway>,
    clock: &Arc<SystemClock>,
    fleet: &fleet::Prepared,
    broker: controller::BrokerParts,
) -> Controller {
    let pepper = controller::secret::Pepper::new(&folder.pepper);
    let (publishing, watching) = (gateway.clone(), gateway.clone());
    let (wall, random) = (clock.clone(), clock.clone());
    Controller::new(ControllerParts {
        store: sealer.store.clone(),
        tiles: sealer.tiles.clone(),
        receipt_key: receipt_key.clone(),
        log_vkey: sealer.signer.vkey().to_string(),
        site: folder.site.site.clone(),
        admin_token_hash: pepper.hash(&folder.admin_token),
        pepper,
        issuer,
        on_publish: Arc::new(move |signed| publishing.publish(signed).map_err(|error| error.to_string())),
        clock: Arc::new(move || wall.now()),
        random: Arc::new(move |bytes| random.random(bytes)),
        ready: Arc::new(move || readiness(&watching)),
        metrics: metrics::text(gateway, &sealer.progress, &fleet.counts),
        bell: fleet.bell.clone(),
        agent_token: fleet.agent_token(),
        broker,
    })
}

fn readiness(gateway: &Gateway) -> controller::Readiness {
    match gateway.readiness() {
        gateway::Readiness::Ready => controller::Readiness::Ready,
        gateway::Readiness::Draining => controller::Readiness::NotReady("the process is stopping".to_owned()),
        gateway::Readiness::LowSpace => {
            controller::Readiness::NotReady("the journal's disk is nearly full: free some space".to_owned())
        }
        gateway::Readiness::Forked => {
            controller::Readiness::NotReady("the receipts forked: see the log and the runbook".to_owned())
        }
        gateway::Readiness::Stale => controller::Readiness::NotReady(
            "another gateway of this name was started later: give each its own with --gateway".to_owned(),
        ),
        gateway::Readiness::Expired => controller::Readiness::NotReady(
            "the database has been away for longer than the last snapshot may be served".to_owned(),
        ),
    }
}

/// Seals until told to stop. A log that contradicts itself stops admission too: what could not be proved is not sold.
async fn seal(parts: SealerParts, gateway: Arc<Gateway>, mut stopped: watch::Receiver<bool>) {
    let shutdown = async move { drop(stopped.wait_for(|stop| *stop).await) };
    if let Err(failure) = controller::seal::run(parts, shutdown).await {
        tracing::error!(%failure, "the sealer stopped: receipts are kept, but no new checkpoint covers them");
        if failure.is_fork() {
            gateway.alarm_fork();
        }
    }
}

async fn refresh(controller: Controller, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(REFRESH_INTERVAL) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
        if let Err(problem) = controller.refresh().await {
            tracing::warn!(%problem, "the snapshot could not be refreshed; the present one stays");
        }
    }
}

fn fallback(router: axum::Router) -> gateway::listen::Fallback {
    Arc::new(move |request| {
        let router = router.clone();
        Box::pin(async move {
            let answered = router.oneshot(request.map(axum::body::Body::new)).await;
            match answered {
                Ok(response) => response.map(gateway::listen::foreign),
                Err(never) => match never {},
            }
        })
    })
}

fn announce(options: &Options, folder: &Folder, address: std::net::SocketAddr, running: Option<&embedded::Running>) {
    tracing::info!(
        %address,
        site = %folder.site.site,
        data = %options.data.display(),
        model = running.map_or("none", |running| running.info.name.as_str()),
        "serving"
    );
    println!("hoheit serves on http://{address}");
    println!("  admin token   {}", folder.dir.join("admin-token").display());
    println!("  log           http://{address}/log/checkpoint  ({})", folder.site.origin);
}
