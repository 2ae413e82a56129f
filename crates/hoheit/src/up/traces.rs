//! Sends traces to an OpenTelemetry collector by OTLP over HTTP, if one is configured; otherwise nothing of this runs.
//!
//! What it is not: a promise. A collector that is away or slow costs spans, which are counted, and never a request.

use super::otlp;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use gateway::Gateway;
use gateway::trace::Ended;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Spans that wait: at 2 KB each 16 MB, and half a second of 16,000 requests a second.
const QUEUE_MAX: usize = 8_192;
/// Spans in one export, about 1 MB of JSON.
const BATCH_MAX: usize = 512;
/// How long a batch that is not full waits for more.
const GATHER: Duration = Duration::from_millis(200);
/// How long a collector may take; what waits meanwhile is the queue's.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// After the last request: how long what is left may take.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// A collector that is away is named in the log once in so many failures: in dead silence, every 150 s.
const FAILURES_PER_WARNING: u64 = 30;

/// Where to, and as whom.
pub struct Exporter {
    uri: Uri,
    headers: HeaderMap,
    service: String,
    site: String,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// The standard's own variables; `endpoint` is the flag or `OTEL_EXPORTER_OTLP_ENDPOINT`.
pub fn configured(endpoint: Option<&str>, site: &str) -> Result<Option<Exporter>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let own = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let base = endpoint.filter(|endpoint| !endpoint.is_empty());
    let Some(url) = own.or_else(|| base.map(|base| format!("{}/v1/traces", base.trim_end_matches('/')))) else {
        return Ok(None);
    };
    let uri: Uri = url.parse().with_context(|| format!("the endpoint for traces {url:?} is not a URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        bail!("the endpoint for traces {url:?} is not http://host:port or https://host:port");
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for pair in variable("OTEL_EXPORTER_OTLP_HEADERS").iter().flat_map(|pairs| pairs.split(',')) {
        const FORM: &str = "OTEL_EXPORTER_OTLP_HEADERS is name=value,name=value";
        let (name, value) = pair.split_once('=').context(FORM)?;
        let mut value = HeaderValue::from_str(value.trim()).context(FORM)?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.trim().as_bytes()).context(FORM)?, value);
    }
    let connector = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let service = variable("OTEL_SERVICE_NAME").unwrap_or_else(|| "hoheit".to_owned());
    Ok(Some(Exporter { uri, headers, service, site: site.to_owned(), client }))
}

/// Tells the gateway to trace from now on, and exports in the background.
pub fn start(exporter: Exporter, gateway: &Arc<Gateway>, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    let (sender, spans) = mpsc::channel(QUEUE_MAX);
    gateway.trace_to(sender);
    tokio::spawn(run(exporter, gateway.clone(), spans, stopped))
}

/// Exports until `stopped`, and then what is left.
async fn run(
    exporter: Exporter,
    gateway: Arc<Gateway>,
    mut spans: mpsc::Receiver<Ended>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut failures: u64 = 0;
    loop {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        tokio::select! {
            _ = spans.recv_many(&mut batch, BATCH_MAX) => {}
            _ = stopped.wait_for(|stop| *stop) => break,
        }
        if batch.len() < BATCH_MAX {
            tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                _ = stopped.wait_for(|stop| *stop) => {}
            }
            take(&mut spans, &mut batch);
        }
        exporter.deliver(&gateway, &batch, EXPORT_TIMEOUT, &mut failures).await;
    }
    let mut rest = Vec::new();
    take(&mut spans, &mut rest);
    while !rest.is_empty() {
        exporter.deliver(&gateway, &rest, FLUSH_TIMEOUT, &mut failures).await;
        if failures > 0 {
            return;
        }
        rest.clear();
        take(&mut spans, &mut rest);
    }
}

/// What waits, as much as one batch takes.
fn take(spans: &mut mpsc::Receiver<Ended>, batch: &mut Vec<Ended>) {
    while batch.len() < BATCH_MAX
        && let Ok(span) = spans.try_recv()
    {
        batch.push(span);
    }
}

impl Exporter {
    /// `failures` counts those in a row.
    async fn deliver(&self, gateway: &Gateway, batch: &[Ended], limit: Duration, failures: &mut u64) {
        let sent = tokio::time::timeout(limit, self.export(batch)).await;
        let error = match sent {
            Ok(Ok(())) => {
                *failures = 0;
                return;
            }
            Ok(Err(error)) => error,
            Err(_) => anyhow::anyhow!("no answer in time"),
        };
        gateway.metrics.dropped_spans(batch.len() as u64);
        if failures.is_multiple_of(FAILURES_PER_WARNING) {
            tracing::warn!(%error, "traces could not be exported; their spans are dropped, requests are not touched");
        }
        *failures += 1;
    }

    async fn export(&self, batch: &[Ended]) -> Result<()> {
        let body = otlp::body(&self.service, &self.site, batch);
        let mut request = Request::post(self.uri.clone()).body(Full::new(Bytes::from(body)))?;
        *request.headers_mut() = self.headers.clone();
        let response = self.client.request(request).await?;
        // Its body is not read: what a collector rejects in part is its operator's to see.
        match response.status() {
            status if status.is_success() => Ok(()),
            status => bail!("the collector answered {status}"),
        }
    }
}
