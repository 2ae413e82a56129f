//! The door for other dialects, within the process: a principal, a body in OpenAI's form, and a translator of the answer.
//!
//! A shell (crate `partners`) knows how its clients ask; here its request becomes one like any other: same admission, same
//! budget, same receipt. What the receipt commits to are the bytes that the client sent and got, in its own dialect, because
//! the translator works before the answer is committed to and before it leaves.
//!
//! What a shell does for a request before its model is asked costs money and may leave the site: an embedding, a search, a second
//! inference. So a shell begins a request ([`Inner::begin`], `inner/begun`; [`Inner::open`], `inner/step`, where no model will be asked)
//! before it does anything for it.
//!
//! What it is not: a way around anything. There is no call here that reaches an engine without an obligation. If we crash
//! here: as in the pipeline; what a shell does between two inferences is its own matter.

mod begun;
mod step;

use crate::body::{BodyError, Outgoing};
use crate::dial::Dial;
use crate::dispatch::EngineClient;
use crate::fields::Operation;
use crate::gateway::Gateway;
use crate::pipeline;
use crate::receive::{DATA_CLASS_HEADER, PRIORITY_HEADER, Principal, collect, fits, identify, principal_of};
use crate::refusal::Refusal;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, Response};
use std::sync::Arc;
use types::receipt::Egress;
use types::snapshot::Price;
use types::{Code, KeyId};

pub use crate::receive::Held;
pub use begun::{Begun, Prompt};
pub use step::{Opened, Permission, Said, Step};

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

/// An engine's answer that a dialect cannot read. It is told as the engine's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// Turns an answer in OpenAI's form into the client's.
pub trait Translator: Send + Sync {
    /// A whole answer.
    fn whole(&mut self, body: Bytes) -> Result<Bytes, Unreadable>;
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
    /// The client's: data class, priority, `Idempotency-Key` and `traceparent` are read, nothing else. What is made on the way to an
    /// answer has no `Idempotency-Key`; of several attempts at one answer each may have it, for one that fails frees it.
    pub headers: HeaderMap,
    /// In OpenAI's form. A stream that shows usage asks for it itself (`stream_options.include_usage`).
    pub body: Bytes,
    /// As the client sent it: what the receipt commits to, and what a repeat under an `Idempotency-Key` is compared with.
    pub client_body: Bytes,
    /// What of the client's address decides the answer beside the operation; empty if nothing does. It is compared, too.
    pub target: String,
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
    pub target: String,
    pub passages: Arc<[String]>,
    pub egress: Option<Arc<Egress>>,
    pub translator: Option<Box<dyn Translator>>,
}

impl Foreign {
    /// What the client sent and where: nobody needs it twice.
    pub(crate) fn take_sent(&mut self) -> (Bytes, String) {
        (std::mem::take(&mut self.client_body), std::mem::take(&mut self.target))
    }

    /// A question left the site.
    fn left(&mut self, egress: Egress) {
        self.egress = Some(Arc::new(egress));
    }

    fn give(&mut self, passages: Vec<String>) {
        self.passages = passages.into_iter().take(PASSAGES_MAX).collect();
    }
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

    /// A body of a request of known or unknown origin, within the bounds that the gateway has for its own: time, so many bytes, and
    /// all that is held at once. Its bytes count for as long as it is held.
    pub async fn read(
        &self,
        headers: &HeaderMap,
        body: impl http_body::Body<Data = Bytes, Error: Into<BodyError>> + Unpin,
        bytes_max: usize,
    ) -> Result<Held, Refusal> {
        fits(headers, bytes_max)?;
        collect(body, bytes_max, &self.gateway.limits, self.gateway.bodies.share()).await
    }

    /// One inference: 200 with the answer in the client's dialect, or a refusal in OpenAI's envelope, which the shell puts into
    /// its own words. `hoheit-receipt` names the receipt in both.
    pub async fn ask(&self, principal: &Principal, ask: Ask) -> Response<Outgoing> {
        match self.begin(principal, ask).await {
            Ok(begun) => begun.ask().await,
            Err(answer) => *answer,
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
