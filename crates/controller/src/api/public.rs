//! What needs no credential: probes, metrics, the description, the keys, and the log as static files.
//!
//! The log is read as files that the sealer has written, and only where tlog-tiles puts them (`TileFiles::read`); nothing
//! here computes a hash. Checkpoints change, tiles never.

use crate::{Controller, Problem, Readiness};
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{StatusCode, header};
use std::sync::LazyLock;

static OPENAPI: LazyLock<String> = LazyLock::new(super::openapi);

const TEXT: &str = "text/plain; charset=utf-8";

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "public", security(()), responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn healthz() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TEXT)], "ok\n")
}

/// Whether it takes requests; otherwise the reason.
#[utoipa::path(get, path = "/readyz", tag = "public", security(()),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 503, body = String, content_type = "text/plain")))]
pub async fn readyz(State(controller): State<Controller>) -> impl IntoResponse {
    let (status, text) = match (controller.parts().ready)() {
        Readiness::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Readiness::NotReady(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    };
    (status, [(header::CONTENT_TYPE, TEXT)], text)
}

/// Metrics in OpenMetrics text.
#[utoipa::path(get, path = "/metrics", tag = "public", security(()),
    responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub async fn metrics(State(controller): State<Controller>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], (controller.parts().metrics)())
}

/// This description.
#[utoipa::path(get, path = "/api/openapi.json", tag = "public", security(()), responses((status = 200, body = Object)))]
pub async fn description() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI.as_str())
}

/// The keys that receipts are verified with.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "public", security(()), responses((status = 200, body = Object)))]
pub async fn jwks(State(controller): State<Controller>) -> impl IntoResponse {
    let keys = ledger::jwks::render(&[controller.parts().receipt_key.public()]);
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "max-age=300")], keys)
}

/// The key that the log's checkpoints are verified with.
#[utoipa::path(get, path = "/log/vkey", tag = "public", security(()), responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn vkey(State(controller): State<Controller>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TEXT)], format!("{}\n", controller.parts().log_vkey))
}

/// The transparency log: checkpoint, tiles, entries (c2sp.org/tlog-tiles).
#[utoipa::path(get, path = "/log/{*path}", tag = "public", security(()),
    params(("path" = String, Path, description = "checkpoint, tile/<L>/<N>[.p/<W>] or tile/entries/<N>[.p/<W>]")),
    responses((status = 200, content((Vec<u8> = "application/octet-stream"), (String = "text/plain"))),
        (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn log(State(controller): State<Controller>, Path(path): Path<String>) -> Result<impl IntoResponse, Problem> {
    let tiles = controller.parts().tiles.clone();
    let (kind, cache) = if path == "checkpoint" {
        (TEXT, "max-age=1")
    } else {
        ("application/octet-stream", "public, max-age=31536000, immutable")
    };
    let read = tokio::task::spawn_blocking(move || tiles.read(&path)).await.map_err(Problem::internal)?;
    let bytes = read.map_err(Problem::internal)?.ok_or_else(Problem::not_found)?;
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], bytes))
}
