//! The state of the site in one answer: `hoheit status`.

use super::Answer;
use crate::access::{Allowed, StatusRead};
use crate::{Controller, Readiness};
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// The state of the site.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    pub site: String,
    /// Of this program.
    pub version: String,
    pub ready: bool,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// Grows with every change.
    pub snapshot_version: u64,
    pub tenants: usize,
    pub endpoints: usize,
    /// Engines that are not cordoned.
    pub replicas: usize,
    /// Of the price book in force.
    pub price_book_version: u64,
    /// Receipts in the log.
    pub log_size: u64,
    /// The log's verifier key.
    pub log_vkey: String,
}

/// Shows the state of the site.
#[utoipa::path(get, path = "/api/v1/status", tag = "status", responses((status = 200, body = Status)))]
pub async fn status(may: Allowed<StatusRead>, State(controller): State<Controller>) -> Answer<Status> {
    let parts = controller.parts();
    let snapshot = parts.store.snapshot(&parts.site).await?;
    let reason = match (parts.ready)() {
        Readiness::Ready => None,
        Readiness::NotReady(reason) => Some(reason),
    };
    let head = parts.store.tree_head().await?;
    Ok(Json(Status {
        site: parts.site.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: reason.is_none(),
        reason,
        snapshot_version: snapshot.version,
        tenants: snapshot.tenants.iter().filter(|tenant| may.caller.sees(Some(tenant.id))).count(),
        endpoints: snapshot.endpoints.len(),
        replicas: snapshot.engines.iter().filter(|engine| !engine.cordoned).count(),
        price_book_version: snapshot.price_book.version,
        log_size: head.map_or(0, |(size, _)| size),
        log_vkey: parts.log_vkey.clone(),
    }))
}
