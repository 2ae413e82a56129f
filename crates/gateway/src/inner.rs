//! The door for other dialects, within the process: a principal, a body in OpenAI's form, and a translator of the answer.
//!
//! A shell (crate `partners`) knows how its clients ask; here its request becomes one like any other: same admission, same
//! budget, same receipt. What the receipt commits to are the bytes that the client sent and got, in its own dialect, because
//! the translator works before the answer is committed to and before it leaves.
//!
//! What it is not: a way around anything. There is no call here that reaches an engine without an obligation. If we crash
//! here: as in the pipeline; what a shell does between two inferences is its own matter.

mod step;

use crate::body::Outgoing;
use crate::dial::Dial;
use crate::dispatch::EngineClient;
use crate::fields::Operation;
use crate::gateway::Gateway;
use crate::pipeline;
use crate::receipt::{End, Obligation};
use crate::receive::{DATA_CLASS_HEADER, PRIORITY_HEADER, Principal, identify, principal_of, receive};
use crate::refusal::Refusal;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Response};
use http_body_util::Full;
use std::sync::Arc;
use types::receipt::Egress;
use types::snapshot::Price;
use types::{Code, KeyId};

pub use step::{Permission, Said, Step};

/// A wire format of the same pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    OpenAi,
    Sonar,
    Sap,
}

impl Dialect {
    /// As in receipts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Dialect::OpenAi => "openai",
            Dialect::Sonar => "sonar",
            Dialect::Sap => "sap",
        }
    }
}

/// Turns an answer in OpenAI's form into the client's.
pub trait Translator: Send + Sync {
    /// A whole answer.
    fn whole(&mut self, body: Bytes) -> Bytes;
    /// Whole events of a stream, never `[DONE]`; what becomes of them is appended.
    fn events(&mut self, events: &[u8], out: &mut BytesMut);
    /// The engine ended well: what is still held back, before the receipt is fixed.
    fn flush(&mut self, out: &mut BytesMut);
    /// The closing event; it leaves when the receipt is durable.
    fn last(&mut self) -> Bytes;
    /// In place of the closing event, where the answer broke off.
    fn broken(&mut self, code: Code, message: &str) -> Bytes;
}

/// The most passages that one receipt names: 32 hashes of 74 bytes are 2.4 KB of JSON, about as much as a receipt is otherwise.
pub const PASSAGES_MAX: usize = 32;

/// One inference, asked by a shell.
pub struct Ask {
    pub dialect: Dialect,
    pub operation: Operation,
    /// The client's: data class, priority, `Idempotency-Key` and `traceparent` are read, nothing else. A shell that makes several
    /// inferences of one request gives the `Idempotency-Key` to the last only.
    pub headers: HeaderMap,
    /// In OpenAI's form. A stream that shows usage asks for it itself (`stream_options.include_usage`).
    pub body: Bytes,
    /// As the client sent it: what the receipt commits to.
    pub client_body: Bytes,
    /// `sha256:<hex>` of the passages in the prompt, at most [`PASSAGES_MAX`].
    pub passages: Vec<String>,
    pub egress: Option<Egress>,
    /// None: the answer leaves in OpenAI's form.
    pub translator: Option<Box<dyn Translator>>,
}

/// What an obligation keeps of an [`Ask`].
pub(crate) struct Foreign {
    pub dialect: Dialect,
    /// What the receipt calls it, where no engine is asked.
    pub step: Option<&'static str>,
    pub client_body: Bytes,
    pub passages: Arc<[String]>,
    pub egress: Option<Arc<Egress>>,
    pub translator: Option<Box<dyn Translator>>,
}

/// A model that a key may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelShown {
    pub name: String,
    pub provider: String,
    pub context_length: u64,
    pub output_tokens_max: u64,
    pub created_at: types::UnixMillis,
    /// None: it has no price yet and is not served.
    pub price: Option<Price>,
}

/// The gateway, and connections to engines of its own, on whatever runtime asks.
#[derive(Clone)]
pub struct Inner {
    gateway: Arc<Gateway>,
    client: EngineClient,
}

impl Inner {
    pub fn new(gateway: Arc<Gateway>) -> Inner {
        let client = EngineClient::new(Dial::tcp(&gateway.limits));
        Inner { gateway, client }
    }

    /// Whose key the headers show, as `Authorization: Bearer hk_…`.
    pub fn identify(&self, headers: &HeaderMap) -> Result<Principal, Refusal> {
        self.stands()?;
        identify(&self.gateway, &self.gateway.view.load(), headers)
    }

    /// The principal of a key whose holder was authenticated otherwise. Asked anew for each request, so that a revoked key ends
    /// what was made of it.
    pub fn principal(&self, key: KeyId) -> Result<Principal, Refusal> {
        self.stands()?;
        principal_of(&self.gateway, &self.gateway.view.load(), key)
    }

    fn stands(&self) -> Result<(), Refusal> {
        if self.gateway.stands() { Ok(()) } else { Err(pipeline::expired()) }
    }

    /// The models that this key may ask with its project's class. One that policy refuses is not there.
    pub fn models(&self, principal: &Principal) -> Vec<ModelShown> {
        let view = self.gateway.view.load();
        let key = principal.key();
        let shown = |model: &crate::view::ModelEntry| {
            let verdict = view.verdict(key, key.project.class, model);
            let endpoint = &verdict.permitted.first()?.0.endpoint;
            Some(ModelShown {
                name: model.name.clone(),
                provider: endpoint.facts.provider.clone(),
                context_length: endpoint.context_length,
                output_tokens_max: endpoint.output_tokens_max,
                created_at: endpoint.created_at,
                price: view.price(&model.name).cloned(),
            })
        };
        view.models().filter_map(shown).collect()
    }

    /// One inference: 200 with the answer in the client's dialect, or a refusal in OpenAI's envelope, which the shell puts into
    /// its own words. `hoheit-receipt` names the receipt in both.
    pub async fn ask(&self, principal: &Principal, ask: Ask) -> Response<Outgoing> {
        let (gateway, view) = (&self.gateway, self.gateway.view.load_full());
        if !gateway.stands() {
            return pipeline::refuse(gateway, &pipeline::expired());
        }
        // As the view in force has it: it may have been revoked since the shell began.
        let principal = match principal_of(gateway, &view, principal.key_id()) {
            Ok(principal) => principal,
            Err(refusal) => return pipeline::refuse(gateway, &refusal),
        };
        let Some(mut obligation) = Obligation::begin(gateway, &view, principal.key(), ask.operation) else {
            return pipeline::refuse(gateway, &pipeline::overloaded());
        };
        obligation.trace = gateway.begin_trace(&ask.headers);
        let passages = ask.passages.into_iter().take(PASSAGES_MAX).collect();
        let Ask { dialect, client_body, translator, .. } = ask;
        let egress = ask.egress.map(Arc::new);
        obligation.speak(Foreign { dialect, step: None, client_body, passages, egress, translator });
        match receive(obligation, ask.operation, &ours(&ask.headers), Full::new(ask.body)).await {
            Ok(received) => pipeline::infer(gateway, &self.client, received).await,
            Err(refused) => {
                let (obligation, refusal, rates) = *refused;
                pipeline::ended(obligation, End::refused(refusal.code), &refusal, rates).await
            }
        }
    }
}

/// The client's headers that mean something here. Its length is that of another body.
fn ours(headers: &HeaderMap) -> HeaderMap {
    const OURS: [HeaderName; 3] = [
        HeaderName::from_static(DATA_CLASS_HEADER),
        HeaderName::from_static(PRIORITY_HEADER),
        HeaderName::from_static("idempotency-key"),
    ];
    OURS.into_iter().filter_map(|name| headers.get(&name).map(|value| (name, value.clone()))).collect()
}
