//! The controller: what all endpoints share, one change at a time, and the publication of snapshots.
//!
//! Changes take turns inside one process: a PATCH reads, decides and writes, and the snapshot that it publishes must not
//! be overtaken by an older one. Between processes the store's transactions and version hold the order.
//!
//! If we crash after the write and before the publication: the change is durable, unanswered, and published at the next
//! start or by [`Controller::refresh`].

use crate::issue::Issuer;
use crate::{Pepper, Problem, api};
use std::sync::Arc;
use store::Store;
use store::tiles::TileFiles;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;
use types::UnixMillis;

/// Whether this process takes requests, and if not, why, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    NotReady(String),
}

/// Hands a signed snapshot to the gateway. An error says why the gateway keeps the old one.
pub type OnPublish = Arc<dyn Fn(&[u8]) -> Result<(), String> + Send + Sync>;

/// A token's text and its hash.
pub type AgentToken = Arc<dyn Fn() -> (String, String) + Send + Sync>;

/// Fills a buffer with bytes that nobody can foresee.
pub type FillRandom = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// What the controller works with; clock, randomness and the wiring's answers come in as functions.
pub struct ControllerParts {
    pub store: Store,
    pub tiles: TileFiles,
    pub receipt_key: Arc<ledger::key::SigningKey>,
    /// The log's verifier key, as `/log/vkey` shows it.
    pub log_vkey: String,
    pub site: String,
    pub pepper: Pepper,
    /// `Pepper::hash` over the whole admin token.
    pub admin_token_hash: String,
    /// Signs what is published.
    pub issuer: Issuer,
    pub on_publish: OnPublish,
    pub clock: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
    pub random: FillRandom,
    pub ready: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// The text of `/metrics`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Rung when something was changed that the reconcilers act on.
    pub bell: crate::reconcile::Bell,
    /// Makes a one-time token for an agent: its text and the hash to store. None where no agent can enrol.
    pub agent_token: Option<AgentToken>,
    /// What the Open Service Broker needs besides.
    pub broker: crate::BrokerParts,
}

/// The control API of one process. Cheap to clone.
#[derive(Clone)]
pub struct Controller(Arc<Shared>);

struct Shared {
    parts: ControllerParts,
    /// What was last handed to the gateway; the lock is the turn of a change.
    published: Mutex<Option<Published>>,
}

/// A version, and when it was handed over.
#[derive(Clone, Copy)]
struct Published {
    version: u64,
    at: Instant,
}

/// The right to change something; one at a time.
pub struct Turn<'a> {
    controller: &'a Controller,
    published: MutexGuard<'a, Option<Published>>,
}

impl Controller {
    pub fn new(parts: ControllerParts) -> Self {
        Self(Arc::new(Shared { parts, published: Mutex::new(None) }))
    }

    pub fn parts(&self) -> &ControllerParts {
        &self.0.parts
    }

    pub fn store(&self) -> &Store {
        &self.0.parts.store
    }

    /// The routes of the control API, of the log and of the probes.
    pub fn router(&self) -> axum::Router {
        api::router(self.clone())
    }

    /// Reads the store and hands the snapshot over; at start, and when another process may have changed something.
    pub async fn publish(&self) -> Result<(), Problem> {
        self.turn().await.publish().await
    }

    /// Publishes if the store has moved on since, or if what was published needs more time; true if it did.
    pub async fn refresh(&self) -> Result<bool, Problem> {
        let mut turn = self.turn().await;
        let version = self.store().snapshot_version().await?;
        let renewal = self.0.parts.issuer.renewal();
        if turn.published.is_some_and(|last| last.version == version && last.at.elapsed() < renewal) {
            return Ok(false);
        }
        turn.publish().await.map(|()| true)
    }

    /// Waits for the right to change something.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn { controller: self, published: self.0.published.lock().await }
    }

    pub(crate) fn bell(&self) -> &crate::reconcile::Bell {
        &self.0.parts.bell
    }

    pub(crate) fn now(&self) -> UnixMillis {
        (self.0.parts.clock)()
    }

    /// A new id of any kind: `controller.id(TenantId::from_parts)`.
    pub(crate) fn id<T>(&self, from_parts: fn(UnixMillis, [u8; 10]) -> T) -> T {
        let mut random = [0; 10];
        (self.0.parts.random)(&mut random);
        from_parts(self.now(), random)
    }

    pub(crate) fn random32(&self) -> [u8; 32] {
        let mut random = [0; 32];
        (self.0.parts.random)(&mut random);
        random
    }
}

impl Turn<'_> {
    /// Publishes unless the gateway has it already: what is true was published before the answer that says so, also where
    /// the one who wrote it died in between.
    pub(crate) async fn settle(&mut self) -> Result<(), Problem> {
        let version = self.controller.store().snapshot_version().await?;
        if self.published.is_some_and(|last| last.version == version) {
            return Ok(());
        }
        self.publish().await
    }

    /// Hands the store's present state over. A change calls it after its commit and before its answer.
    pub async fn publish(&mut self) -> Result<(), Problem> {
        let parts = self.controller.parts();
        let snapshot = parts.store.snapshot(&parts.site).await?;
        let version = snapshot.version;
        let signed = parts.issuer.issue(snapshot, self.controller.now());
        (parts.on_publish)(&signed)
            .map_err(|why| Problem::internal(format!("snapshot {version} was not taken: {why}")))?;
        *self.published = Some(Published { version, at: Instant::now() });
        Ok(())
    }
}
