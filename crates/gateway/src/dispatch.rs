//! Sends a routed request to its engine and classifies what comes back. Engines are treated as hostile: sizes are
//! bounded, every wait has a timeout, and what is not a plain OpenAI answer is a failure of the engine.
//!
//! Takes only a [`Routed`]. Whoever drops the future cancels the request: the connection closes and the engine sees it.

use crate::body::BodyError;
use crate::dial::Dial;
use crate::limits::Limits;
use crate::link::{Link, LinkBody, LinkError};
use crate::meter::Report as UsageReport;
use crate::pool::Pool;
use crate::refusal::Refusal;
use crate::route::{self, Routed};
use crate::trace::TRACEPARENT;
use crate::upstream::Upstream;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tower::{Service, ServiceExt};
use types::{Code, Usage};

/// What `Retry-After` of an engine is capped to, before it is passed on and before its replica is left alone.
const RETRY_AFTER_SECONDS_MAX: u64 = routing::breaker::REST_MILLIS_MAX / 1_000;

/// How much of an engine's own error text a client gets.
const ENGINE_MESSAGE_BYTES_MAX: usize = 1_000;

/// How much of an engine's error is read: vLLM repeats a field's value in it, and nobody reads more than a page.
const ENGINE_ERROR_BYTES_MAX: usize = 64 << 10;

/// Connections to engines, one pool per lane.
#[derive(Clone)]
pub struct EngineClient {
    dial: Dial,
    pool: Pool,
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
    /// In a box: whoever passes an answer on carries the room of a failure.
    pub refusal: Box<Refusal>,
    /// What it says about the replica.
    pub report: routing::Report,
    /// Whether another replica may do better.
    pub retry: bool,
    /// The engine's status, where it says that this gateway and the engine are not set up for each other: an
    /// operator's matter.
    pub misfit: Option<u16>,
    /// It is full, and said for how long.
    pub rest_seconds: Option<u64>,
    /// The engine broke while it had this request: its connection was lost, or it failed by its own word (500, 502).
    pub breaks: bool,
    /// What it says it has spent so far.
    pub spent: Option<Usage>,
}

impl Failure {
    pub fn engine(code: Code, message: &str) -> Self {
        let (refusal, report) = (Box::new(Refusal::new(code, message)), routing::Report::Failure);
        Failure { refusal, report, retry: true, misfit: None, rest_seconds: None, breaks: false, spent: None }
    }

    /// The connection was lost with the request on it.
    pub fn broken(code: Code, message: &str) -> Self {
        Failure { breaks: true, ..Failure::engine(code, message) }
    }

    /// Nothing that speaks against the replica, and nothing that another would do better.
    fn final_word(refusal: Refusal, report: routing::Report) -> Self {
        Failure { refusal: Box::new(refusal), report, retry: false, ..Failure::engine(Code::EngineFailed, "") }
    }

    /// The time for the whole answer is over: another attempt could only keep the client waiting.
    pub fn too_late() -> Self {
        let message = "the engine did not finish the answer in time: ask for fewer tokens, or for a stream";
        Failure { retry: false, ..Failure::engine(Code::EngineTimeout, message) }
    }

    /// An error in place of the first token of a stream. Engines that have sent their 200 already say the status that
    /// they would have sent in `error.code`.
    pub fn event(data: &[u8]) -> Self {
        let told = EngineError::parse(data);
        match told.error.code.as_u64().and_then(|code| u16::try_from(code).ok()) {
            Some(status @ 400..=599) => rejected(status, None, told),
            _ => Failure::engine(Code::EngineFailed, "the engine's stream is not what the OpenAI API describes"),
        }
    }
}

/// Why there is no head of an answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    /// No connection came about.
    #[error("no connection: {0}")]
    Unreachable(BodyError),
    /// The connection was lost with the request on it.
    #[error("lost: {0}")]
    Lost(LinkError),
}

impl EngineClient {
    pub fn new(dial: Dial) -> Self {
        EngineClient { dial, pool: Pool::default() }
    }

    /// One attempt. A stream has a time to its first token; whatever it is, the request's deadline ends it.
    pub async fn send(&self, routed: &Routed, stream: bool, limits: &Limits) -> Result<Answer, Failure> {
        let first_token = limits.first_token_timeout.saturating_sub(routed.waited);
        let first_token = if stream { Some(Instant::now() + first_token) } else { None };
        let until = first_token.unwrap_or(routed.deadline).min(routed.deadline);
        let exchange = self.exchange(routed, stream, limits);
        let answer = tokio::time::timeout_at(until, exchange).await.unwrap_or_else(|_| match until < routed.deadline {
            true => Err(Failure::engine(Code::EngineTimeout, "the engine did not answer in time: try again")),
            false => Err(Failure::too_late()),
        });
        if let Err(Failure { misfit: Some(status), .. }) = answer {
            routed.note_misfit(status);
        }
        answer
    }

    /// Sends the request over a connection that waits, or over a new one.
    async fn ask(&self, routed: &Routed) -> Result<Response<LinkBody>, Unanswered> {
        let key = routed.replica.pool_key;
        loop {
            let (mut link, waited) = match self.pool.take(key) {
                Some(link) => (link, true),
                // Boxed, as is the opening of a stream: every request's future has the room for them.
                None => (Box::pin(self.connect(routed)).await.map_err(Unanswered::Unreachable)?, false),
            };
            routed.in_flight.note_sent();
            match link.send(request(routed)).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    return Ok(Response::from_parts(head, LinkBody::new(body, link, (self.pool.clone(), key))));
                }
                // It closed while it waited: the engine has seen nothing, so this is no attempt.
                Err(error) if waited && error.is_before_anything() => {}
                Err(error) => return Err(Unanswered::Lost(error)),
            }
        }
    }

    async fn connect(&self, routed: &Routed) -> Result<Link, BodyError> {
        let mut dial = self.dial.clone();
        let wire = dial.ready().await?.call(routed.replica.address.clone()).await?;
        Ok(Link::open(wire).await?)
    }

    async fn exchange(&self, routed: &Routed, stream: bool, limits: &Limits) -> Result<Answer, Failure> {
        let response = self.ask(routed).await.map_err(|error| {
            tracing::debug!(%error, "an engine could not be reached");
            unanswered(&error)
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
            return Box::pin(Upstream::open(response.into_body(), limits, routed.deadline))
                .await
                .map(|upstream| Answer::Stream(Box::new(upstream)));
        }
        let body = collect(response.into_body(), limits.answer_bytes_max).await?;
        whole(body).map(Answer::Whole)
    }
}

/// What it says of the engine, and of the request.
fn unanswered(error: &Unanswered) -> Failure {
    // Before anything of the request had left, it can have harmed nobody.
    let breaks = matches!(error, Unanswered::Lost(error) if !error.is_before_anything());
    // That we have no file left for a connection says nothing about an engine.
    let report = match error {
        Unanswered::Unreachable(error) if out_of_files(&**error) => routing::Report::Neutral,
        _ => routing::Report::Failure,
    };
    Failure { breaks, report, ..Failure::engine(Code::ReplicaUnavailable, "the engine cannot be reached: try again") }
}

/// Whether this process, or the whole machine, has no more files to open.
fn out_of_files(error: &(dyn std::error::Error + 'static)) -> bool {
    // ENFILE and EMFILE: the same on every Linux (asm-generic/errno-base.h).
    let full = [Some(23), Some(24)];
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| full.contains(&error.raw_os_error()))
}

/// Headers of a request to an engine: type, request id, host, credential, trace, and hyper's own for the length.
const HEADERS_USUAL: usize = 8;

fn request(routed: &Routed) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(routed.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = routed.replica.target(routed.operation).clone();
    let mut headers = HeaderMap::with_capacity(HEADERS_USUAL);
    headers.insert(header::HOST, routed.replica.host.clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(id) = HeaderValue::try_from(routed.receipt.to_string()) {
        headers.insert(&X_REQUEST_ID, id);
    }
    if let Some(authorization) = &routed.replica.authorization {
        headers.insert(header::AUTHORIZATION, authorization.clone());
    }
    if let Some(traceparent) = &routed.traceparent {
        headers.insert(TRACEPARENT, traceparent.clone());
    }
    *request.headers_mut() = headers;
    request
}

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

async fn collect(mut body: LinkBody, limit: usize) -> Result<Bytes, Failure> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Failure::broken(Code::EngineFailed, "the engine broke off its answer: try again"))?;
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

/// An engine's error, in OpenAI's envelope or without one (vLLM before 0.10). What is missing or of another type is empty.
#[derive(Default)]
struct EngineError {
    error: EngineErrorBody,
}

#[derive(Deserialize, Default)]
struct EngineErrorBody {
    #[serde(default)]
    message: Value,
    #[serde(default)]
    param: Value,
    #[serde(default)]
    code: Value,
    #[serde(default, rename = "type")]
    kind: Value,
}

impl EngineError {
    fn parse(body: &[u8]) -> EngineError {
        #[derive(Deserialize)]
        struct Envelope {
            error: EngineErrorBody,
        }
        let enveloped = serde_json::from_slice(body).map(|Envelope { error }| error);
        EngineError { error: enveloped.or_else(|_| serde_json::from_slice(body)).unwrap_or_default() }
    }

    /// The code that a client's framework compares, as OpenAI calls it: one of a closed list, however the engine says it.
    fn code(&self) -> Option<&'static str> {
        const PASSED: [&str; 6] = [
            CONTEXT_LENGTH_EXCEEDED,
            "content_filter",
            "content_policy_violation",
            "unknown_parameter",
            "unsupported_parameter",
            "unsupported_value",
        ];
        if self.error.kind.as_str() == Some("exceed_context_size_error") {
            // llama-server
            return Some(CONTEXT_LENGTH_EXCEEDED);
        }
        PASSED.into_iter().find(|code| self.error.code.as_str() == Some(code))
    }
}

/// Frameworks shorten the conversation and repeat when they read this.
const CONTEXT_LENGTH_EXCEEDED: &str = "context_length_exceeded";

/// A status that is not 200.
async fn rejection(response: Response<LinkBody>) -> Failure {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
        .map(|seconds| seconds.min(RETRY_AFTER_SECONDS_MAX));
    let body = collect(response.into_body(), ENGINE_ERROR_BYTES_MAX).await.unwrap_or_default();
    rejected(status, retry_after, EngineError::parse(&body))
}

/// What a client hears of an engine's status. What it says about the replica is [`routing::Report::of_status`]'s to
/// decide; a full engine is load, not a failure.
fn rejected(status: u16, retry_after: Option<u64>, told: EngineError) -> Failure {
    let report = match routing::Report::of_status(status) {
        routing::Report::Failure if status == 503 && retry_after.is_some() => routing::Report::Full,
        report => report,
    };
    match (report, status) {
        (routing::Report::Full, _) => full(retry_after),
        // The client's mistake, in the engine's words.
        (_, 400 | 413 | 415 | 422) => {
            let message = told.error.message.as_str().unwrap_or("the engine refused this request");
            let message = message[..message.floor_char_boundary(ENGINE_MESSAGE_BYTES_MAX)].to_owned();
            let refusal = Refusal {
                status: Some(status),
                param: told.error.param.as_str().map(str::to_owned),
                engine_code: told.code(),
                ..Refusal::new(Code::InvalidRequest, message)
            };
            Failure::final_word(refusal, report)
        }
        (_, 405 | 501) => {
            let message = "this model does not do what this path asks for (an embedding of a chat model, or a chat \
                           with an embedding model): name another model of /v1/models";
            let refusal = Refusal::new(Code::InvalidRequest, message).param("model");
            Failure::final_word(refusal, report)
        }
        (routing::Report::Failure, 401) | (routing::Report::Neutral, _) => {
            let message =
                format!("the engine turned this gateway away (HTTP {status}): its operator has to look at it");
            let retry = report == routing::Report::Failure;
            Failure { retry, report, misfit: Some(status), ..Failure::engine(Code::EngineFailed, &message) }
        }
        (routing::Report::Failure | routing::Report::Success, _) => {
            let breaks = matches!(status, 500 | 502);
            Failure { breaks, ..Failure::engine(Code::EngineFailed, "the engine failed: try again") }
        }
    }
}

fn full(retry_after: Option<u64>) -> Failure {
    let (refusal, report) = (Box::new(route::full(retry_after.unwrap_or(1))), routing::Report::Full);
    Failure { rest_seconds: retry_after, report, refusal, ..Failure::engine(Code::EngineOverloaded, "") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use routing::Report;

    #[test]
    fn an_error_in_place_of_the_first_token_is_what_its_code_says() {
        let check = |data: &str, code: Code, status: u16, report: Report| {
            let failure = Failure::event(data.as_bytes());
            assert_eq!(
                (failure.refusal.code, failure.refusal.status(), failure.report),
                (code, status, report),
                "{data}"
            );
        };
        check(r#"{"error":{"code":400,"message":"m"}}"#, Code::InvalidRequest, 400, Report::Neutral);
        check(r#"{"error":{"code":429}}"#, Code::EngineOverloaded, 429, Report::Full);
        check(r#"{"error":{"code":500}}"#, Code::EngineFailed, 502, Report::Failure);
        check(r#"{"error":{"code":"400"}}"#, Code::EngineFailed, 502, Report::Failure);
        check(r#"{"error":{"code":200}}"#, Code::EngineFailed, 502, Report::Failure);
        check(r#"{"error":null}"#, Code::EngineFailed, 502, Report::Failure);
        check("garbage", Code::EngineFailed, 502, Report::Failure);
    }

    #[test]
    fn what_speaks_against_an_engine_and_what_against_a_request() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);
        // A file that we lack is found below whatever wraps it, and opens nobody's breaker.
        for (errno, report) in [(24, Report::Neutral), (23, Report::Neutral), (111, Report::Failure)] {
            let failure = unanswered(&Unanswered::Unreachable(Outer(std::io::Error::from_raw_os_error(errno)).into()));
            assert_eq!((failure.report, failure.breaks, failure.retry), (report, false, true), "{errno}");
        }
        // Nothing of the request had left.
        let closed = unanswered(&Unanswered::Lost(LinkError::Closed));
        assert_eq!((closed.report, closed.breaks), (Report::Failure, false));
    }
}
