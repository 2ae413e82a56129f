//! A shell's inference between its admission and its engine.
//!
//! Admission comes first and is whole: requests per minute, policy, the idempotency key, tokens and money for what the client sent.
//! Then the shell may look for passages, let a question leave or ask another model; what a refusal or a repeat would have cost is not
//! spent. With what was found the request is longer than what was admitted, so tokens and money are held anew before it goes on.
//!
//! If we crash here, or the client leaves: the obligation ends as `aborted`, or as `unresolved` if its key was claimed at the store;
//! what was done for it until then has receipts of its own.

use super::step::{Ending, Said};
use super::{Ask, Foreign, Inner, Translator, ours};
use crate::admit::{Admitted, Rest, admit};
use crate::body::Outgoing;
use crate::gateway::Gateway;
use crate::once;
use crate::pipeline;
use crate::receipt::{End, Obligation};
use crate::receive::{Principal, collect, principal_of, receive};
use crate::refusal::Refusal;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use std::sync::Arc;
use types::ReceiptId;
use types::receipt::Egress;

/// An inference that was admitted as the client sent it. Dropped, its receipt says `aborted`.
pub struct Begun {
    inner: Inner,
    admitted: Box<Admitted>,
}

/// What its model is to read in the end.
pub struct Prompt {
    /// In OpenAI's form, of the same model.
    pub body: Bytes,
    /// `sha256:<hex>` of the passages in it.
    pub passages: Vec<String>,
    pub translator: Option<Box<dyn Translator>>,
}

impl Inner {
    /// Admits a request as its client sent it. Err is the answer: a refusal with its receipt, or what the same request was answered
    /// before under its idempotency key.
    pub async fn begin(&self, principal: &Principal, ask: Ask) -> Result<Begun, Box<Response<Outgoing>>> {
        let (gateway, view) = (&self.gateway, self.gateway.view.load_full());
        let refuse = |refusal: &Refusal| Box::new(pipeline::refuse(gateway, refusal));
        if !gateway.stands() {
            return Err(refuse(&pipeline::expired()));
        }
        // As the view in force has it: it may have been revoked since the shell began.
        let principal = principal_of(gateway, &view, principal.key_id()).map_err(|refusal| refuse(&refusal))?;
        let Some(mut obligation) = Obligation::begin(gateway, &view, principal.key(), ask.operation) else {
            return Err(refuse(&pipeline::overloaded()));
        };
        obligation.trace = gateway.begin_trace(&ask.headers);
        let Ask { dialect, operation, headers, body, client_body, target, passages, egress, translator } = ask;
        let (passages, egress) = (passages.into_iter().take(super::PASSAGES_MAX).collect(), egress.map(Arc::new));
        obligation.speak(Foreign { dialect, step: None, client_body, target, passages, egress, translator });
        let received = match receive(obligation, operation, &ours(&headers), Full::new(body)).await {
            Ok(received) => received,
            Err(refused) => {
                let (obligation, refusal, rates) = *refused;
                return Err(Box::new(pipeline::ended(obligation, End::refused(refusal.code), &refusal, rates).await));
            }
        };
        let admitted = match admit(received).await {
            Ok(admitted) => Box::new(admitted),
            Err(turned) => return Err(Box::new(pipeline::turned_away(turned).await)),
        };
        if let Some(guard) = admitted.idempotency()
            && let Err(refusal) = once::claim(gateway, admitted.obligation(), guard).await
        {
            return Err(Box::new(pipeline::withdrawn(admitted.into_rest(), refusal).await));
        }
        Ok(Begun { inner: self.clone(), admitted })
    }
}

impl Begun {
    pub fn receipt(&self) -> ReceiptId {
        self.admitted.obligation().id
    }

    fn foreign(&mut self) -> Option<&mut Foreign> {
        self.admitted.obligation_and_verdict().0.foreign()
    }

    /// A question is about to leave the site for it: whatever becomes of it, its receipt says so.
    pub fn left(&mut self, egress: Egress) {
        if let Some(foreign) = self.foreign() {
            foreign.left(egress);
        }
    }

    /// Asks the model what was admitted.
    pub async fn ask(self) -> Response<Outgoing> {
        let Begun { inner, admitted } = self;
        pipeline::dispatch(&inner.client, &mut Some(*admitted)).await
    }

    /// Asks the model with what was found, if tokens and money suffice for that.
    pub async fn ask_with(mut self, prompt: Prompt) -> Response<Outgoing> {
        let Prompt { body, passages, translator } = prompt;
        let Gateway { limits, bodies, .. } = &*self.inner.gateway;
        let grown = match collect(Full::new(body), limits.body_bytes_max, limits, bodies.share()).await {
            Ok(held) => self.admitted.grow(held).await,
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = grown {
            return self.refuse(refusal).await;
        }
        if let Some(foreign) = self.foreign() {
            foreign.give(passages);
            foreign.translator = translator;
        }
        self.ask().await
    }

    /// Answers without its model.
    pub async fn say(self, passages: Vec<String>, said: Said) -> Response<Outgoing> {
        self.ending().say(passages, said).await
    }

    pub async fn refuse(self, refusal: Refusal) -> Response<Outgoing> {
        self.ending().say(None, Said::Refused(refusal)).await
    }

    /// What was held goes back: no engine will use it.
    fn ending(self) -> Ending {
        let Rest { mut obligation, rates, idempotency, .. } = self.admitted.into_rest();
        obligation.hold = None;
        Ending { obligation, rates, idempotency }
    }
}
