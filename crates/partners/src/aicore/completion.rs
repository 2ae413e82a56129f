//! `/v2/completion`: the configurations in their order until one answers.
//!
//! Every attempt that reaches the pipeline is admitted and receipted by itself, those that failed among them; it is admitted before an
//! embedding is made for it. What the site itself tries again (up to three replicas before the first token) stands for `max_retries`.

use super::Answer;
use super::call::Call;
use super::deployed::{models, purpose};
use super::refused::{Pipeline, Refused};
use super::retrieve::{Ungrounded, retrieve};
use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use dialects::sap::{self, Completion, Failure, Location, MODEL_VERSION, Model, ModelFilter, Prepared, Purpose};
use gateway::inner::{Ask, Begun, Dialect, Prompt, Translator, Unreadable};
use gateway::{Operation, Outgoing, RECEIPT_HEADER, Refusal};
use http::HeaderValue;
use http_body_util::BodyExt;
use std::time::Duration;
use types::{Code, ReceiptId};

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
    let seed = u64::from_be_bytes(call.random());
    let mut attempt = completion.attempt(configuration, seed);
    let retrievals = attempt.retrievals()?;
    // With grounding: what is known before anything was found.
    let known = completion.attempt(configuration, seed).prepare(&call.request_id, before)?;
    let ask = |prepared: Prepared| Ask {
        dialect: Dialect::Sap,
        operation: Operation::ChatCompletions,
        headers: call.headers.clone(),
        body: prepared.body.into(),
        client_body: call.body.clone(),
        target: call.segment(3).to_owned(),
        passages: Vec::new(),
        egress: None,
        translator: Some(Box::new(Translated(prepared.answer))),
    };
    let done = known.answer.results().clone();
    let begun = match begin(call, ask(known)).await {
        Ok(Ok(begun)) => begun,
        Ok(Err(answer)) => return Ok(answer),
        Err(failed) => return Err(Failed { failure: failed.failure.with_results(done), ..failed }),
    };
    let receipt = begun.receipt();
    if retrievals.is_empty() {
        let answer = answered(begun.ask(), receipt, model.timeout_seconds).await;
        return answer.map_err(|failed| Failed { failure: failed.failure.with_results(done), ..failed });
    }
    let found = match retrieve(call, &retrievals).await {
        Ok(found) => found,
        Err(Ungrounded { code, failure }) => return Err(given_up(begun, code, attempt.failed(failure)).await),
    };
    attempt.grounded(&found);
    let prepared = match attempt.prepare(&call.request_id, before) {
        Ok(prepared) => prepared,
        Err(failure) => {
            let code = Refused::from(failure.clone()).code();
            return Err(given_up(begun, code, failure).await);
        }
    };
    let done = prepared.answer.results().clone();
    let prompt = Prompt {
        body: prepared.body.into(),
        passages: prepared.passages,
        translator: Some(Box::new(Translated(prepared.answer))),
    };
    let answer = answered(begun.ask_with(prompt), receipt, model.timeout_seconds).await;
    answer.map_err(|failed| Failed { failure: failed.failure.with_results(done), ..failed })
}

/// An attempt that was admitted and fails before its model is asked.
async fn given_up(begun: Begun, code: Code, failure: Failure) -> Failed {
    let response = begun.refuse(Refusal::new(code, failure.message.clone())).await;
    Failed { failure, unsupported: false, receipt: response.headers().get(RECEIPT_HEADER).cloned() }
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

/// Admits an attempt. An answer within: what the same request was answered before.
pub(super) async fn begin(call: &Call, ask: Ask) -> Result<Result<Begun, Response>, Failed> {
    match call.partners.parts().inner.begin(&call.principal, ask).await {
        Ok(begun) => Ok(Ok(begun)),
        Err(answer) => read(*answer).await.map(Err),
    }
}

/// One inference that was begun. When its time is over it is given up, as if the client had left: what it cost until then is in its
/// receipt.
pub(super) async fn answered(
    answer: impl Future<Output = http::Response<Outgoing>>,
    receipt: ReceiptId,
    timeout_seconds: u64,
) -> Result<Response, Failed> {
    match tokio::time::timeout(Duration::from_secs(timeout_seconds), answer).await {
        Ok(response) => read(response).await,
        Err(_) => {
            let message = format!("the model did not answer within {timeout_seconds} s");
            let receipt = HeaderValue::try_from(receipt.to_string()).ok();
            Err(Failed { failure: Failure::new(408, Location::Llm, message), unsupported: false, receipt })
        }
    }
}

/// The pipeline's answer, or its refusal in orchestration's words.
async fn read(response: http::Response<Outgoing>) -> Result<Response, Failed> {
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
    fn whole(&mut self, body: Bytes) -> Result<Bytes, Unreadable> {
        self.0.whole(&body).map(Bytes::from).ok_or(Unreadable)
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
