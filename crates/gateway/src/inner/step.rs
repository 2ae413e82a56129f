//! What a shell does without an engine and is receipted all the same: it refuses by itself, it answers from nothing, or it lets a
//! question leave the site.
//!
//! Why: what a shell refuses before the pipeline would is receipted like any refusal; and what leaves the site is in a durable receipt
//! before it leaves. Such a receipt has no endpoint and costs nothing.
//!
//! If we crash here: the receipt is durable or the step was not made. What came back of a search is then lost, and that it was made
//! is not.

use super::{Dialect, Foreign, Inner};
use crate::body::{Outgoing, full};
use crate::fields::Operation;
use crate::gateway::Gateway;
use crate::idempotency::{self, Claim, Guard, Handover};
use crate::once;
use crate::pipeline;
use crate::receipt::{End, Obligation};
use crate::receive::{Principal, data_class, idempotency_key, principal_of};
use crate::refusal::Refusal;
use crate::scope::RateView;
use crate::settle::take_request;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use policy::{Question, WEB_SEARCH};
use std::sync::Arc;
use types::receipt::Egress;
use types::{Code, EndpointFacts, EndpointId};

/// A step to be receipted.
pub struct Step {
    pub dialect: Dialect,
    /// As in the receipt: `chat.completions`, `search`, `search.web`.
    pub operation: &'static str,
    /// The client's: its data class is read, and by [`Inner::open`] its `Idempotency-Key`.
    pub headers: HeaderMap,
    pub client_body: Bytes,
    /// The model that was asked for, if one was.
    pub model: String,
    pub passages: Vec<String>,
    /// What leaves, and the rules that let it.
    pub egress: Option<(Egress, Permission)>,
}

/// How it ends.
pub enum Said {
    /// An answer that no engine made.
    Whole(Bytes),
    /// The same as a stream, with its closing event, which no commitment covers.
    Stream {
        events: Bytes,
        closing: Bytes,
    },
    /// Nothing: it is a part of a request that is answered later, and not counted as one.
    Nothing,
    Refused(Refusal),
}

/// The rules by which a question may leave. Made only by [`Inner::may_search_web`].
#[derive(Debug, Clone)]
pub struct Permission {
    rules: Arc<[String]>,
}

impl Inner {
    /// Whether policy lets a query of this principal, with the data class that its headers say, out to a provider with these
    /// facts. Residency first, as for endpoints.
    pub fn may_search_web(
        &self,
        principal: &Principal,
        headers: &HeaderMap,
        facts: &EndpointFacts,
    ) -> Result<Permission, Refusal> {
        let view = self.gateway.view.load();
        let key = principal.key();
        let decision = view.policy.decide_web(&Question {
            tenant: key.tenant,
            project: key.project.id,
            key: key.key.id,
            class: data_class(headers, key.project.class)?,
            country: key.project.country,
            model: WEB_SEARCH,
            endpoint: EndpointId(0),
            facts,
        });
        let rules: Arc<[String]> = decision.rules.into();
        if decision.permit {
            return Ok(Permission { rules });
        }
        let message =
            format!("no question of this class may leave for {} (decided by: {})", facts.provider, rules.join(", "));
        Err(Refusal::new(Code::PolicyRefused, message))
    }

    /// The keyed commitment that receipts have, over any bytes of this principal's project.
    pub fn commitment(&self, principal: &Principal, bytes: &[u8]) -> String {
        use base64::Engine as _;
        let tag = aws_lc_rs::hmac::sign(&principal.key().commitment_key, bytes);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(tag.as_ref())
    }

    /// What tells two texts of this principal's project apart, and says nothing to whoever reads it in a table; `domain` has no NUL.
    pub fn digest(&self, principal: &Principal, domain: &str, bytes: &[u8]) -> [u8; 32] {
        let mut context = aws_lc_rs::hmac::Context::with_key(&principal.key().commitment_key);
        [domain.as_bytes(), b"\0", bytes].into_iter().for_each(|part| context.update(part));
        context.sign().as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
    }

    /// Receipts a step. When it resolves with a status of 200 the receipt is durable.
    pub async fn step(&self, principal: &Principal, step: Step, said: Said) -> Response<Outgoing> {
        let counted = !matches!(said, Said::Nothing);
        match self.oblige(principal, step, counted).await {
            Ok(ending) => ending.say(None, said).await,
            Err(answer) => *answer,
        }
    }

    /// Begins a request that no model will answer, before anything is done for it: its place among the requests per minute, its data
    /// class, its idempotency key. Err is the answer, as of [`Inner::begin`].
    pub async fn open(&self, principal: &Principal, step: Step) -> Result<Opened, Box<Response<Outgoing>>> {
        let named = idempotency_key(&step.headers);
        let (sent, operation) = (step.client_body.clone(), step.operation);
        let mut ending = self.oblige(principal, step, true).await?;
        let named = match named {
            Ok(Some(named)) => named,
            Ok(None) => return Ok(Opened(Box::new(ending))),
            Err(refusal) => return Err(Box::new(ending.say(None, Said::Refused(refusal)).await)),
        };
        let (gateway, obligation) = (&self.gateway, &ending.obligation);
        let request = idempotency::digest(obligation.dialect(), operation, "", obligation.class, &sent);
        let now = gateway.clock.monotonic_millis();
        match gateway.idempotency.claim(obligation.key.project.id, &named, request, now) {
            Ok(Claim::First(guard)) => match once::claim(gateway, obligation, &guard).await {
                Ok(()) => ending.idempotency = Some(guard),
                Err(refusal) => return Err(Box::new(ending.say(None, Said::Refused(refusal)).await)),
            },
            Ok(Claim::Replay(answer)) => {
                ending.obligation.void();
                return Err(Box::new(pipeline::replay(answer)));
            }
            Err(refusal) => return Err(Box::new(ending.say(None, Said::Refused(refusal)).await)),
        }
        Ok(Opened(Box::new(ending)))
    }

    /// The obligation of a step, with its place among the requests per minute if it is one.
    async fn oblige(
        &self,
        principal: &Principal,
        step: Step,
        counted: bool,
    ) -> Result<Ending, Box<Response<Outgoing>>> {
        let (gateway, view) = (&self.gateway, self.gateway.view.load_full());
        let refuse = |refusal: &Refusal| Box::new(pipeline::refuse(gateway, refusal));
        self.stands().map_err(|refusal| refuse(&refusal))?;
        let principal = principal_of(gateway, &view, principal.key_id()).map_err(|refusal| refuse(&refusal))?;
        let key = principal.key();
        let Some(mut obligation) = Obligation::begin(gateway, &view, key, Operation::ChatCompletions) else {
            return Err(refuse(&pipeline::overloaded()));
        };
        obligation.request_commitment =
            aws_lc_rs::hmac::sign(&key.commitment_key, &step.client_body).as_ref().try_into().ok();
        if let Some(model) = view.model(&step.model) {
            obligation.model = model.name_in_receipts.clone();
        }
        let class = data_class(&step.headers, obligation.class);
        let mut foreign = Foreign {
            dialect: step.dialect,
            step: Some(step.operation),
            client_body: step.client_body,
            target: String::new(),
            passages: Arc::default(),
            egress: None,
            translator: None,
        };
        foreign.give(step.passages);
        if let Some((egress, permission)) = step.egress {
            obligation.policy = Some((true, permission.rules));
            foreign.left(egress);
        }
        obligation.speak(foreign);
        let mut ending = Ending { obligation, rates: RateView::default(), idempotency: None };
        if counted {
            match take_request([&key.scope_project, &key.scope_key], gateway.clock.monotonic_millis()) {
                Ok(rates) => ending.rates = rates,
                Err((refusal, rates)) => {
                    ending.rates = rates;
                    return Err(Box::new(ending.say(None, Said::Refused(refusal)).await));
                }
            }
        }
        match class {
            Ok(class) => ending.obligation.class = class,
            Err(refusal) => return Err(Box::new(ending.say(None, Said::Refused(refusal)).await)),
        }
        Ok(ending)
    }
}

/// A request that no model answers, begun. Dropped, its receipt says `aborted`.
pub struct Opened(Box<Ending>);

impl Opened {
    /// As [`Begun::left`](super::Begun::left).
    pub fn left(&mut self, egress: Egress) {
        if let Some(foreign) = self.0.obligation.foreign() {
            foreign.left(egress);
        }
    }

    /// Answers, or refuses.
    pub async fn say(self, passages: Vec<String>, said: Said) -> Response<Outgoing> {
        self.0.say(Some(passages), said).await
    }
}

/// What ends without an engine.
pub(super) struct Ending {
    pub obligation: Obligation,
    pub rates: RateView,
    pub idempotency: Option<Guard>,
}

impl Ending {
    /// The receipt first, then the answer. No passages: those that the receipt has already.
    pub async fn say(self, passages: impl Into<Option<Vec<String>>>, said: Said) -> Response<Outgoing> {
        let Ending { mut obligation, rates, idempotency } = self;
        if let (Some(foreign), Some(passages)) = (obligation.foreign(), passages.into()) {
            foreign.give(passages);
        }
        let (content_type, committed, closing) = match said {
            Said::Refused(refusal) => {
                return pipeline::ended(obligation, End::refused(refusal.code), &refusal, rates).await;
            }
            Said::Whole(body) => ("application/json", body, Bytes::new()),
            Said::Stream { events, closing } => ("text/event-stream; charset=utf-8", events, closing),
            Said::Nothing => ("application/json", Bytes::new(), Bytes::new()),
        };
        let id = obligation.id;
        if !committed.is_empty() {
            obligation.whole_answer(&committed);
        }
        let body = if closing.is_empty() { committed } else { Bytes::from([committed, closing].concat()) };
        let repeatable = idempotency.map(|guard| (guard, repeatable(obligation.gateway(), id, content_type, &body)));
        if Handover::new(obligation.close(End::completed()), repeatable).await.is_err() {
            return pipeline::journal_failed().response();
        }
        let mut response = Response::new(full(body));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        pipeline::receipt_headers(response.headers_mut(), id);
        pipeline::rate_headers(response.headers_mut(), rates);
        response
    }
}

/// The answer as a repeat gets it, if it is small enough to keep.
fn repeatable(
    gateway: &Gateway,
    receipt: types::ReceiptId,
    content_type: &'static str,
    body: &Bytes,
) -> idempotency::Answer {
    let body = Some(body.clone()).filter(|body| body.len() <= gateway.idempotency.answer_bytes_max());
    idempotency::Answer { receipt, content_type, cache_control: None, body }
}
