//! The snapshot: an immutable, versioned view of everything that admission and routing read. The controller publishes
//! it after every change, every gateway swaps it in whole. A gateway never reads half a change.
//!
//! What it is not: it holds no spent money and no rate-limit state (those move with every request) and no secret of a
//! tenant's key, only its keyed hash. It does hold engine credentials and is therefore never sent to tenants.

use crate::{
    Country, DataClass, EndpointFacts, EndpointId, EngineId, KeyId, MicroEur, ProjectId, RuleId, TenantId, UnixMillis,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Grows by one with each publication.
    pub version: u64,
    /// The site's name, `iss` of every receipt.
    pub site: String,
    pub tenants: Vec<Tenant>,
    pub projects: Vec<Project>,
    pub keys: Vec<Key>,
    pub endpoints: Vec<Endpoint>,
    pub engines: Vec<Engine>,
    pub rules: Vec<Rule>,
    pub price_book: PriceBook,
}

/// A snapshot as the controller publishes it: with the time for which it may be served. `ledger::snapshot` signs it, and a
/// gateway that hears nothing more of the store serves from it until then, and not longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Never goes back at one controller, also where its wall clock does.
    pub issued_at: UnixMillis,
    pub expires_at: UnixMillis,
    pub snapshot: Snapshot,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    /// Money per calendar month (UTC); none is no limit.
    pub budget: Option<MicroEur>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    pub id: ProjectId,
    pub tenant: TenantId,
    pub name: String,
    /// Default and floor of the data class.
    pub class: DataClass,
    /// If set, only endpoints in this country: a placement constraint without fallback.
    pub country: Option<Country>,
    pub budget: Option<MicroEur>,
    pub limits: Limits,
    /// 32 bytes, hex: keys the commitments in this project's receipts.
    pub commitment_key: String,
}

/// Speed limits; none is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    pub requests_per_minute: Option<u32>,
    pub tokens_per_minute: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub id: KeyId,
    pub project: ProjectId,
    pub name: String,
    /// HMAC-SHA-256 of the secret under the site's pepper, hex.
    pub secret_hash: String,
    pub revoked: bool,
    pub expires_at: Option<UnixMillis>,
    pub budget: Option<MicroEur>,
    pub limits: Limits,
}

/// A model under one set of facts. Its replicas are the engines that name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub id: EndpointId,
    pub model: String,
    pub facts: EndpointFacts,
    /// `sha256:<hex>`, where known.
    pub weights: Option<String>,
    /// Tokens of prompt and answer together.
    pub context_length: u64,
    /// The most tokens an answer may have; caps `max_tokens` and bounds reservations.
    pub output_tokens_max: u64,
    pub created_at: UnixMillis,
}

/// What an engine understands beyond plain OpenAI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// Plain OpenAI: `stream_options.include_usage` and nothing else.
    #[default]
    Openai,
    /// Running usage in every event, `cache_salt`.
    Vllm,
    /// Running usage in every event.
    Sglang,
    /// Ours: running usage in every event.
    Embedded,
    /// llama.cpp's server.
    LlamaServer,
    /// NVIDIA's container: which engine runs in it, it does not say.
    Nim,
    /// TensorRT-LLM's own server.
    TrtLlm,
    /// Dynamo's frontend, whatever works behind it.
    Dynamo,
}

/// For how long an engine may go on working on a request whose connection was closed. Closing it is the only way to cancel
/// that OpenAI's API has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorksOn {
    /// While the prompt is read.
    pub before_first_token_millis: u64,
    /// While tokens come.
    pub after_millis: u64,
}

impl WorksOn {
    /// It sees that nobody listens within a step.
    const NOT: WorksOn = WorksOn { before_first_token_millis: 0, after_millis: 0 };

    pub const fn millis(self, first_token: bool) -> u64 {
        if first_token { self.after_millis } else { self.before_first_token_millis }
    }
}

impl EngineKind {
    pub const ALL: [EngineKind; 8] = [
        EngineKind::Openai,
        EngineKind::Vllm,
        EngineKind::Sglang,
        EngineKind::Embedded,
        EngineKind::LlamaServer,
        EngineKind::Nim,
        EngineKind::TrtLlm,
        EngineKind::Dynamo,
    ];

    /// As in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            EngineKind::Openai => "openai",
            EngineKind::Vllm => "vllm",
            EngineKind::Sglang => "sglang",
            EngineKind::Embedded => "embedded",
            EngineKind::LlamaServer => "llama-server",
            EngineKind::Nim => "nim",
            EngineKind::TrtLlm => "trt-llm",
            EngineKind::Dynamo => "dynamo",
        }
    }

    /// Whether a stream carries a running count of its tokens, if it is asked to; others count at the end, if at all.
    pub const fn counts_as_it_goes(self) -> bool {
        match self {
            EngineKind::Vllm | EngineKind::Sglang | EngineKind::Embedded => true,
            EngineKind::Openai
            | EngineKind::LlamaServer
            | EngineKind::Nim
            | EngineKind::TrtLlm
            | EngineKind::Dynamo => false,
        }
    }

    /// What closing the connection leaves running. Measured by ai-dynamo/dynamo#14507, with long prompts: behind Dynamo's
    /// frontend a prefill ran on for 54.66 s (vLLM), 12.90 (TensorRT-LLM) and 11.34 (SGLang), and TensorRT-LLM kept its KV
    /// blocks after a handoff. Rounded up; where nobody knows what runs, as for TensorRT-LLM.
    pub const fn works_on(self) -> WorksOn {
        const CAREFUL: WorksOn = WorksOn { before_first_token_millis: 15_000, after_millis: 15_000 };
        match self {
            EngineKind::Vllm | EngineKind::Sglang | EngineKind::Embedded | EngineKind::LlamaServer => WorksOn::NOT,
            EngineKind::Dynamo => WorksOn { before_first_token_millis: 60_000, after_millis: 0 },
            EngineKind::TrtLlm | EngineKind::Nim | EngineKind::Openai => CAREFUL,
        }
    }
}

/// One running engine: a replica of its endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    pub id: EngineId,
    pub endpoint: EndpointId,
    /// Base URL without a trailing slash and without `/v1`.
    pub url: String,
    pub kind: EngineKind,
    /// The name the engine knows the model by, if it is another than ours.
    pub model_alias: Option<String>,
    /// Sent as `Authorization: Bearer`.
    pub credential: Option<String>,
    /// Cordoned: takes no new requests.
    pub cordoned: bool,
    /// Requests that it takes at once from each gateway; more wait there.
    #[serde(default = "slots_usual")]
    pub slots: u32,
}

/// vLLM's default of `max_num_seqs`: more would wait inside the engine, where nobody keeps them fair.
pub const SLOTS_USUAL: u32 = 256;

fn slots_usual() -> u32 {
    SLOTS_USUAL
}

/// Whose rule it is. An operator's rules may permit; a tenant's only forbid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub id: RuleId,
    /// None is the operator.
    pub tenant: Option<TenantId>,
    /// Unique per owner; what receipts and `policy explain` show.
    pub name: String,
    /// Cedar.
    pub text: String,
}

/// Prices by model, versioned as a whole. A book is never changed: a new one gets the next version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PriceBook {
    pub version: u64,
    pub prices: Vec<Price>,
}

/// Micro-euro per million tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// `*` is the price of models that have none of their own.
    pub model: String,
    pub input: MicroEur,
    pub cached_input: MicroEur,
    pub output: MicroEur,
}
