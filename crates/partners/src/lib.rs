//! The data plane's shells for other dialects: Sonar, SAP AI Core, files and vector stores. Each authenticates, asks the pure crate
//! that knows the dialect, and hands what comes out to the gateway within the process (`gateway::inner`).
//!
//! What it is not: it decides nothing about words (`dialects`), passages (`knowledge`) or money (`gateway`), and it has no way to an
//! engine but the gateway's. If we crash here: ADR 12.

mod aicore;

use gateway::inner::Inner;
use std::sync::Arc;
use store::Store;
use types::UnixMillis;

/// What the embedding program brings.
pub struct Parts {
    pub inner: Inner,
    pub store: Store,
    /// The site's name.
    pub site: String,
    /// How clients reach this site: scheme, host and port, without a trailing slash. Stands in credentials and in answers.
    pub public_url: String,
    /// Keys the access tokens of `/oauth/token`: the same at all gateways of a site, and used for nothing else.
    pub token_key: [u8; 32],
    pub clock: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
    pub random: Arc<dyn Fn(&mut [u8]) + Send + Sync>,
}

/// The shells, over one gateway.
#[derive(Clone)]
pub struct Partners {
    parts: Arc<Parts>,
}

impl Partners {
    pub fn new(parts: Parts) -> Partners {
        Partners { parts: Arc::new(parts) }
    }

    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Every route of every shell. One line for each shell: `.merge(sonar::routes())`.
    pub fn router(&self) -> axum::Router {
        axum::Router::new().merge(aicore::routes()).with_state(self.clone())
    }
}
