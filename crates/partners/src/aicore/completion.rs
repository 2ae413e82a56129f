//! `/v2/completion`: the configurations in their order until one answers.
//!
//! Every attempt that reaches the pipeline is admitted and receipted by itself, those that failed among them. What the site itself
//! tries again (up to three replicas before the first token) stands for `max_retries`.

use super::Answer;
use super::call::Call;
use super::deployed::{models, purpose};
use super::refused::{Pipeline, Refused};
use super::retrieve::retrieve;
use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use dialects::sap::{self, Completion, Failure, Location, MODEL_VERSION, Model, ModelFilter, Purpose};
use gateway::Operation;
use gateway::inner::{Ask, Dialect, Translator};
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use std::time::Duration;
use types::Code;

/// An attempt that did not answer.
pub(super) struct Failed {
    failure: Failure,
    /// There is no such model for this deployment.
    unsupported: bool,
    receipt: Option<HeaderValue>,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Failed {
        Failed { failure, unsupported: false, receipt: None }
    }
}

impl From<Box<Failed>> for Failed {
    fn from(failed: Box<Failed>) -> Failed {
        *failed
    }
}

impl Failed {
    /// Whether the next configuration is tried: in a stream only after a model that there is not.
    fn goes_on(&self, stream: bool) -> bool {
        self.unsupported || !stream && matches!(self.failure.code, 408 | 429 | 500..)
    }
}

pub(super) async fn run(call: Call) -> Answer {
    let deployed = purpose(&call, call.segment(3)).await.map_err(|refused| refused.at(Location::Deployment))?;
    let Purpose::Orchestration(filter) = deployed else { return Err(not_orchestration()) };
    let completion = Completion::parse(&call.body)?;
    let models = models(&call);
    let stream = completion.stream.is_some();
    let mut failures = Vec::new();
    let mut receipt = None;
    for number in 0..completion.configurations.len() {
        let failed = match attempt(&call, &completion, number, (&filter, &models), &failures).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let goes_on = failed.goes_on(stream);
        receipt = failed.receipt.or(receipt);
        failures.push(failed.failure);
        if !goes_on {
            break;
        }
    }
    Err(Refused::Orchestration(failures, receipt))
}

pub(super) fn not_orchestration() -> Refused {
    let message = "this is a deployment of a model: POST …/chat/completions, or use one of orchestration";
    Refused::of(Code::NotFound, message).at(Location::Deployment)
}

async fn attempt(
    call: &Call,
    completion: &Completion,
    number: usize,
    (filter, models): (&ModelFilter, &[Model]),
    before: &[Failure],
) -> Result<Response, Failed> {
    let configuration = &completion.configurations[number];
    let model = &configuration.model;
    supported(filter, models, &model.name, model.version.as_deref())?;
    let mut attempt = completion.attempt(configuration, u64::from_be_bytes(call.random()));
    let retrievals = attempt.retrievals()?;
    if !retrievals.is_empty() {
        let found = retrieve(call, &retrievals).await.map_err(|failure| attempt.failed(failure))?;
        attempt.grounded(&found);
    }
    let prepared = attempt.prepare(&call.request_id, before)?;
    let done = prepared.answer.results().clone();
    let ask = Ask {
        dialect: Dialect::Sap,
        operation: Operation::ChatCompletions,
        headers: headers(call, completion.configurations.len() == 1),
        body: prepared.body.into(),
        client_body: call.body.clone(),
        passages: prepared.passages,
        egress: None,
        translator: Some(Box::new(Translated(prepared.answer))),
    };
    let answer = asked(call, ask, model.timeout_seconds).await;
    answer.map_err(|failed| Failed { failure: failed.failure.with_results(done), ..failed })
}

/// Refuses a model that the deployment leaves out, and a version that it does not have. A name that nothing has goes on to the
/// pipeline, which refuses it and leaves a receipt.
pub(super) fn supported(
    filter: &ModelFilter,
    models: &[Model],
    name: &str,
    version: Option<&str>,
) -> Result<(), Box<Failed>> {
    let known = models.iter().any(|model| model.name == name);
    let version_known = version.is_none_or(|version| version == MODEL_VERSION);
    if filter.permits(name) && (version_known || !known) {
        return Ok(());
    }
    let message = match version_known {
        true => format!("the configuration of this deployment leaves model {name} out"),
        false => format!("model {name} has no version {} here: say latest", version.unwrap_or_default()),
    };
    Err(Box::new(Failed { failure: Failure::new(400, Location::Llm, message), unsupported: true, receipt: None }))
}

/// The client's headers for the pipeline. An `Idempotency-Key` belongs to one inference: where there may be several it is left out.
fn headers(call: &Call, single: bool) -> HeaderMap {
    let mut headers = call.headers.clone();
    if !single {
        headers.remove("idempotency-key");
    }
    headers
}

/// One inference. When its time is over it is given up, as if the client had left: what it cost until then is in its receipt.
pub(super) async fn asked(call: &Call, ask: Ask, timeout_seconds: u64) -> Result<Response, Failed> {
    let answer = call.partners.parts().inner.ask(&call.principal, ask);
    let Ok(response) = tokio::time::timeout(Duration::from_secs(timeout_seconds), answer).await else {
        let message = format!("the model did not answer within {timeout_seconds} s");
        return Err(Failure::new(408, Location::Llm, message).into());
    };
    let (head, body) = response.into_parts();
    if head.status.is_success() {
        return Ok(http::Response::from_parts(head, Body::new(body)));
    }
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let refused = Pipeline::read(head.status, &head.headers, &body);
    let unsupported = refused.code == Some(Code::ModelNotFound);
    let code = if unsupported { 400 } else { refused.status };
    let location = match refused.code {
        Some(Code::KeyRevoked | Code::KeyExpired | Code::KeyInvalid) => Location::Authentication,
        _ => Location::Llm,
    };
    let failure = Failure { retry_after: refused.retry_after, ..Failure::new(code, location, refused.message) };
    Err(Failed { failure, unsupported, receipt: refused.receipt })
}

impl From<Box<Failed>> for Refused {
    fn from(failed: Box<Failed>) -> Refused {
        (*failed).into()
    }
}

impl From<Failed> for Refused {
    fn from(failed: Failed) -> Refused {
        Refused::Orchestration(vec![failed.failure], failed.receipt)
    }
}

/// Orchestration's answer, as the gateway's translator.
struct Translated(sap::Answer);

impl Translator for Translated {
    fn whole(&mut self, body: Bytes) -> Bytes {
        self.0.whole(&body).into()
    }

    fn events(&mut self, events: &[u8], out: &mut BytesMut) {
        let mut made = Vec::new();
        self.0.events(events, &mut made);
        out.extend_from_slice(&made);
    }

    fn flush(&mut self, out: &mut BytesMut) {
        let mut made = Vec::new();
        self.0.flush(&mut made);
        out.extend_from_slice(&made);
    }

    fn last(&mut self) -> Bytes {
        Bytes::from_static(self.0.last().as_bytes())
    }

    fn broken(&mut self, code: Code, message: &str) -> Bytes {
        self.0.broken_event(code.status(), message).into()
    }
}
