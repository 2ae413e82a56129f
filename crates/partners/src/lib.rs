//! The data plane's shells for other dialects: Sonar, SAP AI Core, files and vector stores. Each authenticates, asks the pure crate
//! that knows the dialect, and hands what comes out to the gateway within the process (`gateway::inner`).
//!
//! What it is not: it decides nothing about words (`dialects`), passages (`knowledge`) or money (`gateway`), and it has no way to an
//! engine but the gateway's. If we crash here: ADR 12.

mod aicore;
mod collections;
mod embedding;
mod envelope;
mod files;
mod multipart;
mod page;
pub mod settings;
mod sonar;
pub mod web;

pub use settings::Settings;

use gateway::inner::Inner;
use knowledge::Knowledge;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::sync::Semaphore;
use types::UnixMillis;

/// How often what is over is forgotten: expired collections, answers that nobody fetched, questions that were abandoned.
const TEND_EVERY: Duration = Duration::from_secs(60);

/// Fills a slice with random bytes.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// Ids and digests, as they are written.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// What the embedding program brings.
pub struct Parts {
    pub inner: Inner,
    pub store: Store,
    pub knowledge: Knowledge,
    pub settings: Settings,
    /// A provider of web searches, if the operator has one. None: no question ever leaves.
    pub web: Option<Arc<dyn web::WebSearch>>,
    /// The site's name.
    pub site: String,
    /// How clients reach this site: scheme, host and port, without a trailing slash. Stands in credentials and in answers.
    pub public_url: String,
    /// Keys the access tokens of `/oauth/token`: the same at all gateways of a site, and used for nothing else.
    pub token_key: [u8; 32],
    pub clock: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
    pub random: Random,
}

/// The shells, over one gateway.
#[derive(Clone)]
pub struct Partners {
    parts: Arc<Parts>,
    uploads: Arc<Semaphore>,
}

impl Partners {
    pub fn new(parts: Parts) -> Partners {
        Partners { parts: Arc::new(parts), uploads: Arc::new(Semaphore::new(files::UPLOADS_MAX)) }
    }

    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Turns to upload.
    pub(crate) fn uploads(&self) -> &Semaphore {
        &self.uploads
    }

    /// Every route of every shell. One line for each shell: `.merge(sonar::routes())`.
    pub fn router(&self) -> axum::Router {
        axum::Router::new()
            .merge(aicore::routes())
            .merge(sonar::routes())
            .merge(files::routes())
            .merge(collections::routes())
            .with_state(self.clone())
    }

    /// What nobody's request does: at the start, files whose reading a crash cut off are read again, their vectors made on the key
    /// of the client who had them read; then, for ever, what is over is forgotten. If that key is not good any more, a file gets no
    /// vectors until somebody attaches it again.
    pub async fn tend(self) {
        let knowledge = &self.parts.knowledge;
        match knowledge.unfinished().await {
            Ok(unfinished) => {
                for file in unfinished {
                    let embedder = embedding::Embedder::resumed(&self, file.on_key);
                    if let Err(error) = embedding::resume(knowledge, file, embedder.as_ref()).await {
                        tracing::warn!(error = &error as &dyn std::error::Error, "a file whose reading was cut off");
                    }
                }
            }
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "files whose reading was cut off"),
        }
        let mut beat = tokio::time::interval(TEND_EVERY);
        loop {
            beat.tick().await;
            // What fails is logged where it is told apart, and tried again.
            let _retried = sonar::tend(&self).await;
            if let Err(error) = knowledge.sweep().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "collections whose time is over");
            }
        }
    }
}
