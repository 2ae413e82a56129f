//! What a shell does without an engine and is receipted all the same: it refuses by itself, it answers from nothing, or it lets a
//! question leave the site.
//!
//! Why: what a shell refuses before the pipeline would can be receipted like any refusal (Sonar's shell does so, AI Core's does not
//! yet); and what leaves the site is in a durable receipt before it leaves. Such a receipt has no endpoint and costs nothing.
//!
//! If we crash here: the receipt is durable or the step was not made. What came back of a search is then lost, and that it was made
//! is not.

use super::{Dialect, Foreign, Inner, PASSAGES_MAX};
use crate::body::{Outgoing, full};
use crate::fields::Operation;
use crate::pipeline;
use crate::receipt::{End, Obligation};
use crate::receive::{Principal, data_class, principal_of};
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
    /// The client's: its data class is read.
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

    /// Receipts a step. When it resolves with a status of 200 the receipt is durable.
    pub async fn step(&self, principal: &Principal, step: Step, said: Said) -> Response<Outgoing> {
        let (gateway, view) = (&self.gateway, self.gateway.view.load_full());
        if let Err(refusal) = self.stands() {
            return pipeline::refuse(gateway, &refusal);
        }
        let principal = match principal_of(gateway, &view, principal.key_id()) {
            Ok(principal) => principal,
            Err(refusal) => return pipeline::refuse(gateway, &refusal),
        };
        let key = principal.key();
        let Some(mut obligation) = Obligation::begin(gateway, &view, key, Operation::ChatCompletions) else {
            return pipeline::refuse(gateway, &pipeline::overloaded());
        };
        obligation.request_commitment =
            aws_lc_rs::hmac::sign(&key.commitment_key, &step.client_body).as_ref().try_into().ok();
        if let Some(model) = view.model(&step.model) {
            obligation.model = model.name_in_receipts.clone();
        }
        let egress = step.egress.map(|(egress, permission)| {
            obligation.policy = Some((true, permission.rules));
            Arc::new(egress)
        });
        let class = data_class(&step.headers, obligation.class);
        obligation.speak(Foreign {
            dialect: step.dialect,
            step: Some(step.operation),
            client_body: step.client_body,
            passages: step.passages.into_iter().take(PASSAGES_MAX).collect(),
            egress,
            translator: None,
        });
        let mut rates = RateView::default();
        if !matches!(said, Said::Nothing) {
            match take_request([&key.scope_project, &key.scope_key], gateway.clock.monotonic_millis()) {
                Ok(taken) => rates = taken,
                Err((refusal, rates)) => {
                    return pipeline::ended(obligation, End::refused(refusal.code), &refusal, rates).await;
                }
            }
        }
        let said = match class {
            Ok(class) => {
                obligation.class = class;
                said
            }
            Err(refusal) => Said::Refused(refusal),
        };
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
        if obligation.close(End::completed()).await.is_err() {
            return pipeline::journal_failed().response();
        }
        let body = if closing.is_empty() { committed } else { Bytes::from([committed, closing].concat()) };
        let mut response = Response::new(full(body));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        pipeline::receipt_headers(response.headers_mut(), id);
        pipeline::rate_headers(response.headers_mut(), rates);
        response
    }
}
