//! Sends a routed request to its engine and classifies what comes back. Engines are treated as hostile: sizes are
//! bounded, every wait has a timeout, and what is not a plain OpenAI answer is a failure of the engine.
//!
//! Takes only a [`Routed`]. Whoever drops the future cancels the request: the connection closes and the engine sees it.

use crate::limits::Limits;
use crate::meter::Report as UsageReport;
use crate::refusal::Refusal;
use crate::relay::Upstream;
use crate::route::Routed;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;
use types::Code;

/// What `Retry-After` of an engine is capped to, before it is passed on.
const RETRY_AFTER_SECONDS_MAX: u64 = 300;

/// How much of an engine's own error text a client gets.
const ENGINE_MESSAGE_BYTES_MAX: usize = 1_000;

/// Connections to engines, one pool per lane.
#[derive(Clone)]
pub struct EngineClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// A whole answer, checked to be JSON.
pub struct Whole {
    pub body: Bytes,
    pub usage: Option<UsageReport>,
    /// Choices (or embeddings) in it.
    pub pieces: u64,
}

pub enum Answer {
    Whole(Whole),
    /// A stream whose first event has arrived.
    Stream(Box<Upstream>),
}

/// An attempt that gave no answer.
pub struct Failure {
    pub refusal: Refusal,
    /// What it says about the replica.
    pub report: routing::Report,
    /// Whether another replica may do better.
    pub retry: bool,
}

impl Failure {
    fn engine(code: Code, message: &str) -> Self {
        Failure { refusal: Refusal::new(code, message), report: routing::Report::Failure, retry: true }
    }
}

impl EngineClient {
    pub fn new(limits: &Limits) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        http.set_connect_timeout(Some(limits.connect_timeout));
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(TokioTimer::new())
            .build(https);
        EngineClient { client }
    }

    pub async fn send(&self, routed: &Routed, stream: bool, limits: &Limits) -> Result<Answer, Failure> {
        let request =
            request(routed).map_err(|_| Failure::engine(Code::EngineFailed, "the engine's URL is unusable"))?;
        let wait = if stream { limits.first_token_timeout } else { limits.total_timeout };
        tokio::time::timeout(wait, self.exchange(request, stream, limits)).await.unwrap_or_else(|_| {
            Err(Failure::engine(Code::EngineTimeout, "the engine did not answer in time: try again"))
        })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, stream: bool, limits: &Limits) -> Result<Answer, Failure> {
        let response = self.client.request(request).await.map_err(|error| {
            tracing::debug!(error = %error, "an engine could not be reached");
            Failure::engine(Code::ReplicaUnavailable, "the engine cannot be reached: try again")
        })?;
        if response.status() != StatusCode::OK {
            return Err(rejection(response).await);
        }
        let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| kind.as_bytes().to_ascii_lowercase());
        let is = |want: &[u8]| kind.as_deref().is_some_and(|kind| kind.starts_with(want));
        if stream {
            if !is(b"text/event-stream") {
                return Err(Failure::engine(Code::EngineFailed, "the engine answered a stream with something else"));
            }
            return Upstream::open(response.into_body(), limits)
                .await
                .map(|upstream| Answer::Stream(Box::new(upstream)));
        }
        let body = collect(response.into_body(), limits.answer_bytes_max).await?;
        whole(body).map(Answer::Whole)
    }
}

fn request(routed: &Routed) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(routed.replica.uri(routed.path)?)
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header("x-request-id", routed.receipt.to_string());
    if let Some(authorization) = &routed.replica.authorization {
        request = request.header(header::AUTHORIZATION, authorization.clone());
    }
    request.body(Full::new(routed.body.clone()))
}

async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, Failure> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Failure::engine(Code::EngineFailed, "the engine broke off its answer: try again"))?;
        if let Some(data) = frame.data_ref() {
            if whole.len() + data.len() > limit {
                return Err(Failure::engine(Code::EngineFailed, "the engine's answer is larger than the limit"));
            }
            whole.extend_from_slice(data);
        }
    }
    Ok(whole.freeze())
}

#[derive(Deserialize)]
struct WholeFields<'a> {
    #[serde(default)]
    usage: Option<UsageReport>,
    #[serde(borrow, default)]
    choices: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    data: Option<Vec<&'a RawValue>>,
}

fn whole(body: Bytes) -> Result<Whole, Failure> {
    let garbage = || Failure::engine(Code::EngineFailed, "the engine's answer is not what the OpenAI API describes");
    let fields: WholeFields = serde_json::from_slice(&body).map_err(|_| garbage())?;
    let pieces = match (&fields.choices, &fields.data) {
        (Some(choices), _) => choices.len(),
        // Embeddings have no tokens of an answer.
        (None, Some(_)) => 0,
        (None, None) => return Err(garbage()),
    };
    let (usage, pieces) = (fields.usage, pieces as u64);
    Ok(Whole { usage, pieces, body })
}

#[derive(Deserialize, Default)]
struct EngineError {
    #[serde(default)]
    error: Option<EngineErrorBody>,
    /// vLLM before 0.10 had no envelope.
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize, Default)]
struct EngineErrorBody {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    param: Option<String>,
}

/// A status that is not 200. A client's mistake is passed on in the engine's words and says nothing about the replica's
/// health; nor does a path that the engine lacks; a full engine is load, not a failure; everything else is the engine's
/// fault.
async fn rejection(response: Response<Incoming>) -> Failure {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
        .map(|seconds| seconds.min(RETRY_AFTER_SECONDS_MAX));
    match status {
        400 | 413 | 422 => {
            let body = collect(response.into_body(), 64 << 10).await.unwrap_or_default();
            let told: EngineError = serde_json::from_slice(&body).unwrap_or_default();
            let inner = told.error.unwrap_or_default();
            let message = inner.message.or(told.message).unwrap_or_else(|| "the engine refused this request".into());
            let message = message[..message.floor_char_boundary(ENGINE_MESSAGE_BYTES_MAX)].to_owned();
            let refusal =
                Refusal { status: Some(status), param: inner.param, ..Refusal::new(Code::InvalidRequest, message) };
            Failure { refusal, report: routing::Report::Neutral, retry: false }
        }
        429 => full(retry_after),
        503 if retry_after.is_some() => full(retry_after),
        // It does not offer this path: embeddings asked of a chat model. A client's doing, so the replica stays in for
        // everyone else; another one may offer it.
        404 | 405 | 501 => {
            let failure = Failure::engine(Code::EngineFailed, "the engine does not offer this for this model");
            Failure { report: routing::Report::Neutral, ..failure }
        }
        _ => Failure::engine(Code::EngineFailed, "the engine failed: try again"),
    }
}

fn full(retry_after: Option<u64>) -> Failure {
    let refusal =
        Refusal::new(Code::EngineOverloaded, "every engine that may serve this request is full: try again later")
            .retry_after(retry_after.unwrap_or(1));
    Failure { refusal, report: routing::Report::Full, retry: true }
}
