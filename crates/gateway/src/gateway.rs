//! What all lanes share: the view, the journal, the chains, what moves with every request, and whether work is taken.

use crate::bodies::Bodies;
use crate::clock::Clock;
use crate::idempotency::Idempotency;
use crate::lease::{self, Elders};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::quarantine::Quarantine;
use crate::queue::Queues;
use crate::receipt::Chains;
use crate::recover::{self, RecoverError};
use crate::scope::{ScopeId, Scopes};
use crate::shelf::Shelf;
use crate::standing::{PublishError, Standing};
use crate::trace::Ended;
use crate::view::{Moving, View, ViewError};
use crate::wall::Wall;
use arc_swap::ArcSwap;
use journal::Journal;
use ledger::key::SigningKey;
use ledger::receipt::EncodedHeader;
use metering::lease::Sharing;
use routing::RetryBudget;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use store::tiles::TileFiles;
use tokio::sync::{Notify, mpsc, watch};
use types::{IncarnationId, MicroEur, Month};

/// What the embedding program brings.
pub struct Parts {
    /// The gateway's name at this site; two gateways of one name are told apart by their incarnations.
    pub name: String,
    pub journal_dir: PathBuf,
    pub journal: journal::Options,
    pub store: Arc<dyn Shelf>,
    pub tiles: TileFiles,
    pub receipt_key: Arc<SigningKey>,
    /// Keys the hashes of API keys.
    pub pepper: [u8; 32],
    pub clock: Arc<dyn Clock>,
    pub limits: Limits,
    /// How a replica is chosen, and among how many gateways.
    pub routing: routing::router::Options,
    /// As the controller signed it, or as an earlier boot left it in the file below.
    pub snapshot: Vec<u8>,
    /// The public key of who signs snapshots.
    pub snapshot_key: [u8; 32],
    /// How this site's gateways share budgets.
    pub sharing: Sharing,
    /// Where the snapshot in force is kept, for a start while the store is away.
    pub snapshot_file: Option<PathBuf>,
}

pub struct Gateway {
    pub(crate) view: ArcSwap<View>,
    pub(crate) standing: Standing,
    pub(crate) wall: Wall,
    moving: Moving,
    carried: CarriedOver,
    pub(crate) sharing: Sharing,
    /// Until this boot has joined its site.
    pub(crate) elders: tokio::sync::Mutex<Option<Elders>>,
    joined: AtomicBool,
    /// A newer boot of this name has begun.
    stale: AtomicBool,
    pub(crate) journal: Journal,
    pub(crate) chains: Chains,
    pub(crate) incarnation: IncarnationId,
    pub(crate) receipt_header: EncodedHeader,
    pub(crate) receipt_key: Arc<SigningKey>,
    pub(crate) pepper: aws_lc_rs::hmac::Key,
    pub(crate) store: Arc<dyn Shelf>,
    pub(crate) tiles: TileFiles,
    pub(crate) clock: Arc<dyn Clock>,
    pub limits: Limits,
    pub(crate) routing: routing::router::Options,
    pub metrics: Metrics,
    /// Where spans go, if anybody asked for them.
    pub(crate) traces: OnceLock<mpsc::Sender<Ended>>,
    pub(crate) idempotency: Arc<Idempotency>,
    pub(crate) bodies: Arc<Bodies>,
    /// Requests that broke engines.
    pub(crate) quarantine: Quarantine,
    retries: Mutex<RetryBudget>,
    /// Requests without a receipt yet.
    open: AtomicUsize,
    draining: AtomicBool,
    /// Shipping met a fork: two different receipts for one place. Nothing is admitted until a person has looked.
    forked: AtomicBool,
    /// Receipts that this boot has fixed,
    pub(crate) fixed: AtomicU64,
    /// and how many of them are in the store.
    pub(crate) shipped: watch::Sender<u64>,
    /// Somebody waits for shipping.
    pub(crate) ship_now: Notify,
}

/// What this boot took over this month from open requests of boots before it, by scope.
struct CarriedOver {
    month: Month,
    by_scope: HashMap<ScopeId, MicroEur>,
}

impl CarriedOver {
    fn of(&self, month: Month, id: ScopeId) -> MicroEur {
        if month == self.month { self.by_scope.get(&id).copied().unwrap_or_default() } else { MicroEur::ZERO }
    }
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the journal cannot be opened: {0}")]
    Journal(#[from] journal::OpenError),
    #[error(transparent)]
    Recover(#[from] RecoverError),
    #[error("the snapshot: {0}")]
    Snapshot(#[from] PublishError),
    #[error(transparent)]
    View(#[from] ViewError),
}

/// Whether requests are taken, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    Draining,
    /// The journal's disk is nearly full.
    LowSpace,
    /// The log of receipts forked.
    Forked,
    /// The store has been away for longer than the last snapshot may be served.
    Expired,
    /// A newer gateway of this name has begun: this one ships its receipts and takes nothing more.
    Stale,
}

impl Gateway {
    /// Opens the journal, finishes what a crash left open, ships it, and is then ready to be served.
    pub async fn open(parts: Parts) -> Result<Arc<Gateway>, StartError> {
        let mut random = [0; 10];
        parts.clock.random(&mut random);
        let now = parts.clock.now();
        let incarnation = IncarnationId::from_parts(now, random);
        let (journal, recovered) =
            Journal::open(&parts.journal_dir, incarnation.0.to_be_bytes(), parts.journal.clone())?;
        if let Some(cut) = &recovered.cut {
            tracing::warn!(?cut, "the journal ended in an interrupted write; nobody had been told that it was kept");
        }
        let open = recover::find_open(recovered.records())?;
        let month = now.month();
        let mut by_scope: HashMap<ScopeId, MicroEur> = HashMap::new();
        let mut add = |tenant, project, key, cost| {
            for id in [ScopeId::Tenant(tenant), ScopeId::Project(project), ScopeId::Key(key)] {
                let sum = by_scope.entry(id).or_default();
                *sum = sum.saturating_add(cost);
            }
        };
        let unresolved = recover::unresolved(open, now);
        for claims in unresolved.iter().filter(|claims| claims.received_at.month() == month) {
            add(claims.sub, claims.project, claims.key, claims.cost_micro_eur);
        }
        let elders = Elders::new(parts.name, recovered, &unresolved);
        let pepper = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &parts.pepper);
        let metrics = Metrics::default();
        let queues = Queues::new(parts.clock.clone(), &parts.limits, metrics.queue.clone());
        let moving = Moving::new(parts.routing, queues);
        let carried = CarriedOver { month, by_scope };
        let monotonic = parts.clock.monotonic_millis();
        let spent = |id| carried.of(month, id);
        let standing = Standing::new(parts.snapshot_key, parts.snapshot_file);
        let mut taken = standing.take(&parts.snapshot, &*parts.clock)?;
        let snapshot = taken.snapshot.take().expect("the first snapshot is new");
        metrics.name_rules(&snapshot);
        let view = View::build(snapshot, &moving, &pepper, month, &spent, monotonic)?;
        taken.stand(&parts.snapshot);
        let gateway = Arc::new(Gateway {
            view: ArcSwap::from_pointee(view),
            standing,
            wall: Wall::at(&*parts.clock),
            moving,
            carried,
            sharing: parts.sharing,
            elders: tokio::sync::Mutex::new(Some(elders)),
            joined: AtomicBool::new(false),
            stale: AtomicBool::new(false),
            journal,
            chains: Chains::default(),
            incarnation,
            receipt_header: EncodedHeader::new(&parts.receipt_key.kid())
                .expect("a header is three short texts: nothing in it can fail to serialise"),
            receipt_key: parts.receipt_key,
            pepper,
            store: parts.store,
            tiles: parts.tiles,
            idempotency: Idempotency::new(&parts.limits),
            bodies: Bodies::new(parts.limits.bodies_bytes_max),
            open: AtomicUsize::new(0),
            quarantine: Quarantine::default(),
            retries: Mutex::new(RetryBudget::new(monotonic)),
            clock: parts.clock,
            limits: parts.limits,
            routing: parts.routing,
            metrics,
            traces: OnceLock::new(),
            draining: AtomicBool::new(false),
            forked: AtomicBool::new(false),
            fixed: AtomicU64::new(0),
            shipped: watch::Sender::new(0),
            ship_now: Notify::new(),
        });
        if !unresolved.is_empty() {
            tracing::warn!(requests = unresolved.len(), "requests were open when the last boot ended: unresolved");
        }
        let mut last = None;
        for claims in unresolved {
            let room = crate::receipt::room(&gateway).await.map_err(RecoverError::Append)?;
            last = Some(crate::receipt::fix(&gateway, room, claims, None));
        }
        if let Some(last) = last {
            last.await.map_err(RecoverError::Append)?;
        }
        match lease::join(&gateway).await {
            Err(error) if error.is_away() => {
                tracing::warn!(%error, "started without the store: it serves on its last snapshot, and budgets are closed");
            }
            joined => joined?,
        }
        Ok(gateway)
    }

    /// Swaps in a new snapshot whole, or only gives the present one more time. The old view stays if the new one is not
    /// signed, is older, or cannot be served.
    pub fn publish(&self, signed: &[u8]) -> Result<(), PublishError> {
        let mut taken = self.standing.take(signed, &*self.clock)?;
        if let Some(snapshot) = taken.snapshot.take() {
            let month = self.clock.now().month();
            let spent = |id| self.carried.of(month, id);
            let now = self.clock.monotonic_millis();
            self.metrics.name_rules(&snapshot);
            self.view.store(Arc::new(View::build(snapshot, &self.moving, &self.pepper, month, &spent, now)?));
            self.moving.replicas.settle(|| self.view.load().replicas().cloned().collect());
            self.forget();
        }
        taken.stand(signed);
        Ok(())
    }

    /// Forgets engines and endpoints that are gone. Requests hold the view that they came under, and with it what it names:
    /// so not only when a snapshot comes into force, but now and then.
    pub(crate) fn forget(&self) {
        self.view.load().forget_others(&self.moving);
    }

    /// Engines and endpoints of which something is remembered.
    pub fn known(&self) -> (usize, usize) {
        (self.moving.replicas.known(), self.moving.fleets.known())
    }

    pub(crate) fn queues(&self) -> &Queues {
        &self.moving.queues
    }

    /// Whether the snapshot in force may still be served.
    pub(crate) fn stands(&self) -> bool {
        self.standing.holds(self.clock.monotonic_millis())
    }

    pub fn snapshot_version(&self) -> u64 {
        self.view.load().version
    }

    pub fn readiness(&self) -> Readiness {
        match self.work() {
            Readiness::Ready if !self.stands() => Readiness::Expired,
            other => other,
        }
    }

    /// Readiness but for the snapshot's time, which was looked at before the key was.
    fn work(&self) -> Readiness {
        if self.forked.load(Ordering::Relaxed) {
            Readiness::Forked
        } else if self.draining.load(Ordering::Relaxed) {
            Readiness::Draining
        } else if self.stale.load(Ordering::Relaxed) {
            Readiness::Stale
        } else if !self.journal.has_space() {
            Readiness::LowSpace
        } else {
            Readiness::Ready
        }
    }

    /// Counts a request in, if work is taken and there are not as many open as there may be.
    pub(crate) fn enter(&self) -> bool {
        let below = |open: usize| (open < self.limits.requests_max).then_some(open + 1);
        self.work() == Readiness::Ready && self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, below).is_ok()
    }

    pub(crate) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    pub(crate) fn may_retry(&self, now: u64) -> bool {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner).try_retry(now)
    }

    pub(crate) fn note_request(&self) {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner).on_request();
    }

    /// The receipts or their log contradict themselves: nothing is admitted until a person has looked.
    pub fn alarm_fork(&self) {
        self.forked.store(true, Ordering::Relaxed);
    }

    /// A newer boot of this gateway's name has begun: two processes must not serve under one name.
    pub(crate) fn alarm_stale(&self) {
        if !self.stale.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "a newer gateway of this name has begun: this one ships its receipts and takes nothing more"
            );
        }
    }

    pub(crate) fn scopes(&self) -> &Scopes {
        &self.moving.scopes
    }

    pub fn joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    pub(crate) fn has_joined(&self) {
        self.joined.store(true, Ordering::Relaxed);
    }

    /// Gives back what was leased and not spent, when all is done and shipped. What fails is done by the next boot.
    pub async fn give_back(&self) {
        let shipped = *self.shipped.borrow() >= self.fixed.load(Ordering::Acquire);
        if self.joined()
            && shipped
            && self.open_requests() == 0
            && let Err(error) = self.store.lease_close(self.incarnation, &[self.incarnation], &[]).await
        {
            tracing::warn!(%error, "leases could not be given back; the next start does it");
        }
    }

    /// Takes no new work from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Requests without a receipt yet.
    pub fn open_requests(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Writes and syncs what was appended. After this nothing is acknowledged any more.
    pub fn close_journal(&self) {
        if let Err(error) = self.journal.clone().close() {
            tracing::error!(%error, "the journal did not close cleanly");
        }
        self.ship_now.notify_one();
    }

    /// Requests that wait for a slot of a full replica, by class.
    pub fn waiting(&self) -> [usize; 2] {
        self.moving.queues.waiting()
    }

    /// Waits until every receipt that is fixed now is in the store.
    pub async fn wait_shipped(&self) {
        let target = self.fixed.load(Ordering::Acquire);
        let mut shipped = self.shipped.subscribe();
        self.ship_now.notify_one();
        // The sender lives in self, so waiting can only end well.
        let _ = shipped.wait_for(|count| *count >= target).await;
    }
}
