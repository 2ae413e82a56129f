//! What a receipt claims: the payload of the JWT that every request of a known principal leaves behind.
//!
//! It holds no content: prompt and answer appear only as keyed commitments. It is signed by the site's receipt key and
//! bound into the log by `ledger`; this file only fixes the words and their JSON form.
//!
//! Field order is the wire order. The signing input is fixed when the receipt is journalled and is never serialised
//! again, so a later field added here changes no receipt that exists.

use crate::{
    Code, Country, DataClass, EndpointId, IncarnationId, KeyId, MicroEur, ProjectId, ReceiptId, Retention, TenantId,
    UnixMillis, Usage, UsageSource,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// How a request ended. Every request of a known principal ends in exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The whole answer was delivered.
    Completed,
    /// The engine broke off after the first byte of the answer.
    Partial,
    /// The client left.
    Aborted,
    /// Admission said no; nothing was dispatched.
    Refused,
    /// Dispatched, and no byte of an answer came.
    Failed,
    /// Found open after a crash.
    Unresolved,
}

impl Outcome {
    pub const ALL: [Outcome; 6] = [
        Outcome::Completed,
        Outcome::Partial,
        Outcome::Aborted,
        Outcome::Refused,
        Outcome::Failed,
        Outcome::Unresolved,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Partial => "partial",
            Outcome::Aborted => "aborted",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
            Outcome::Unresolved => "unresolved",
        }
    }
}

/// What policy said, and by which rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyClaim {
    /// `sha256:<hex>` of the rule bundle that decided.
    pub digest: Arc<str>,
    /// True if an endpoint was permitted. A request that never reached policy carries `false` and no rules.
    pub permit: bool,
    /// Names of the rules that decided, as `hoheit policy explain` prints them.
    pub rules: Arc<[String]>,
}

/// Where the request was served: facts of the endpoint at the time. Absent when nothing was dispatched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedBy {
    pub endpoint: EndpointId,
    /// `sha256:<hex>` of the weights, where the operator stated or measured it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub weights: Option<String>,
    pub provider: String,
    pub jurisdiction: Country,
    pub operator: String,
    pub site: String,
    pub country: Country,
    /// The engine's id: which replica.
    pub machine: String,
    pub retention: Retention,
    pub attestation: String,
}

/// A question that left the site: who was asked, and a commitment to what. Never the question itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    /// The provider's name, as the rule names it that allowed it.
    pub provider: String,
    pub jurisdiction: Country,
    /// HMAC-SHA-256 over the outgoing query under the project's commitment key.
    pub query_commitment: String,
}

/// The claims, in wire order. What is the same for many requests is shared, not copied: a gateway writes thousands a second.
/// 32-byte values are base64url without padding, digests `sha256:<hex>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptClaims {
    /// The site that issued it.
    pub iss: Arc<str>,
    pub jti: ReceiptId,
    /// Seconds, as RFC 7519 asks; the exact times are in `received_at` and `ended_at`.
    pub iat: i64,
    /// The tenant.
    pub sub: TenantId,
    pub project: ProjectId,
    pub key: KeyId,
    /// `openai`, `sonar`, `sap`: of what the client sent and got. An inference that a shell made on the way, such as the embedding
    /// of a question, has the dialect of the question.
    pub dialect: Cow<'static, str>,
    /// `chat.completions`, `completions`, `embeddings`; where no engine is asked also `search`, and `search.web` for a query that
    /// leaves the site.
    pub operation: Cow<'static, str>,
    /// As asked for, cut to 128 bytes; `(unknown)` where there is no model of that name: what a caller writes there would
    /// otherwise stand in receipts for ever.
    pub model: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub served_by: Option<Arc<ServedBy>>,
    pub data_class: DataClass,
    pub policy: PolicyClaim,
    pub usage: Usage,
    pub usage_source: UsageSource,
    /// `sha256:<hex>` of the price book that rates it.
    pub price_book: Arc<str>,
    /// What it cost, by that price book.
    pub cost_micro_eur: MicroEur,
    pub outcome: Outcome,
    /// Why, where the outcome is not `completed`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<Code>,
    pub received_at: UnixMillis,
    pub ended_at: UnixMillis,
    /// HMAC-SHA-256 over the bytes of the request, as the client sent them in its dialect, under the project's commitment key.
    pub request_commitment: String,
    /// The same over the bytes of the answer that were handed to the client's connection: of a stream without its closing
    /// event (`[DONE]` or an error), which leaves only after this receipt is durable.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub answer_commitment: Option<String>,
    /// What a grounded answer's model was given: `sha256:<hex>` of the text of each passage, in their order in the prompt.
    #[serde(skip_serializing_if = "no_passages", default)]
    pub passages: Arc<[String]>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub egress: Option<Arc<Egress>>,
    /// 32 random bytes that make the leaf hiding.
    pub opening: String,
    /// The chain: which boot of which gateway.
    pub inc: IncarnationId,
    /// Gapless per tenant and incarnation, from 1.
    pub seq: u64,
    /// The leaf of the receipt before it in the chain; 32 zero bytes for the first.
    pub prev: String,
    /// Only for `unresolved`: the boot in whose journal the open intent was found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub intent_inc: Option<IncarnationId>,
}

fn no_passages(passages: &Arc<[String]>) -> bool {
    passages.is_empty()
}
