//! Engines: running replicas. Adding one finds the endpoint with the same model and facts, or makes it.
//!
//! Engines are the operator's and the installer's matter; tenants see endpoints, which are the facts without the
//! addresses and credentials.

use super::{Answer, Created, List, created};
use crate::access::{Allowed, EngineCreate, EngineDelete, EngineRead, EngineUpdate};
use crate::input::{self, Body, Id};
use crate::{Controller, Problem};
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use types::facts::EndpointFacts;
use types::snapshot::{Endpoint, Engine, EngineKind, SLOTS_USUAL};
use types::{Country, EndpointId, EngineId, Retention};
use utoipa::ToSchema;

/// What an answer may have at most, where the operator says nothing: long enough for chat, short enough that a
/// reservation (at 10 EUR per million tokens: 4 cents) does not eat a small budget.
const OUTPUT_TOKENS_MAX_DEFAULT: u64 = 4_096;
/// Prompt and answer together, where the operator says nothing: what engines commonly start with.
const CONTEXT_LENGTH_DEFAULT: u64 = 32_768;
/// Ten times the longest context on offer anywhere in 2026; more is a typing error.
const CONTEXT_LENGTH_MAX: u64 = 100_000_000;

/// A running engine. Its credential is never shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Engine)]
pub struct EngineBody {
    #[schema(value_type = String, example = "eng_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: EngineId,
    #[schema(value_type = String)]
    pub endpoint: EndpointId,
    /// Base URL, without `/v1`.
    pub url: String,
    /// openai, vllm, sglang, embedded, llama-server, nim, trt-llm or dynamo.
    #[schema(value_type = String)]
    pub kind: EngineKind,
    pub model_alias: Option<String>,
    /// Whether a credential is stored.
    pub credential: bool,
    /// Takes no new requests.
    pub cordoned: bool,
    /// Requests that it takes at once from each gateway; more wait there, fair between tenants.
    pub slots: u32,
}

impl From<Engine> for EngineBody {
    fn from(engine: Engine) -> Self {
        Self {
            id: engine.id,
            endpoint: engine.endpoint,
            url: engine.url,
            kind: engine.kind,
            model_alias: engine.model_alias,
            credential: engine.credential.is_some(),
            cordoned: engine.cordoned,
            slots: engine.slots,
        }
    }
}

/// An engine to be registered, with the facts of its endpoint.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EngineNew {
    /// http or https, a host, optionally `/v1` at the end.
    pub url: String,
    /// The name that tenants ask for.
    pub model: String,
    /// Where the engine stands: ISO 3166-1 alpha-2.
    #[schema(value_type = String, example = "DE")]
    pub country: Country,
    /// The site it stands in; left out is this site.
    pub site: Option<String>,
    /// Who runs the machine.
    pub operator: String,
    /// Who offers the model.
    pub provider: String,
    /// Whose law can compel the provider: ISO 3166-1 alpha-2.
    #[schema(value_type = String, example = "DE")]
    pub jurisdiction: Country,
    /// What the provider keeps: none, limited or unlimited; left out is none.
    #[schema(value_type = Option<String>)]
    pub retention: Option<Retention>,
    /// How the machine proves what it is; left out is none.
    pub attestation: Option<String>,
    /// `sha256:<hex>` of the weights.
    pub weights: Option<String>,
    /// Tokens of prompt and answer together; left out is 32768.
    pub context_length: Option<u64>,
    /// Tokens an answer may have at most; left out is 4096.
    pub output_tokens_max: Option<u64>,
    /// openai, vllm, sglang, embedded, llama-server, nim, trt-llm or dynamo; left out is openai.
    #[schema(value_type = Option<String>)]
    pub kind: Option<EngineKind>,
    /// The name the engine knows the model by, if it is another.
    pub model_alias: Option<String>,
    /// Requests that it takes at once from each gateway; left out is 256, vLLM's own default.
    pub slots: Option<u32>,
    /// Sent to the engine as `Authorization: Bearer`. Never shown again.
    #[serde(skip_serializing)]
    pub credential: Option<String>,
}

/// What to change; what is left out stays.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnginePatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub kind: Option<EngineKind>,
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub model_alias: Option<Option<String>>,
    #[serde(default, deserialize_with = "input::nullable", skip_serializing)]
    #[schema(value_type = Option<String>)]
    pub credential: Option<Option<String>>,
    /// True takes no new requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cordoned: Option<bool>,
    /// Requests that it takes at once from each gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
}

/// None would be a cordon by another name; the most is what a gateway has open in all, ten times over.
const SLOTS_MAX: u32 = 100_000;

fn slots(slots: u32) -> Result<u32, Problem> {
    match slots {
        1..=SLOTS_MAX => Ok(slots),
        _ => Err(Problem::invalid(format!("slots: 1 to {SLOTS_MAX} requests at once; to take none, cordon it."))),
    }
}

/// A credential goes into a header: visible ASCII only.
fn credential(text: Option<&str>) -> Result<(), Problem> {
    match text {
        Some(text) if text.is_empty() || text.len() > 4_096 || !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(Problem::invalid("credential: 1 to 4096 visible ASCII characters; it is sent in a header."))
        }
        _ => Ok(()),
    }
}

/// Answer and context lengths that can hold together.
pub(super) fn lengths(context_length: u64, output_tokens_max: u64) -> Result<(), Problem> {
    if !(1..=CONTEXT_LENGTH_MAX).contains(&context_length) {
        return Err(Problem::invalid(format!("context_length: 1 to {CONTEXT_LENGTH_MAX} tokens.")));
    }
    if !(1..=context_length).contains(&output_tokens_max) {
        return Err(Problem::invalid("output_tokens_max: at least 1 token and at most context_length."));
    }
    Ok(())
}

impl EngineNew {
    fn facts(&self, site: &str) -> Result<EndpointFacts, Problem> {
        let facts = EndpointFacts {
            country: self.country,
            site: self.site.clone().unwrap_or_else(|| site.to_owned()),
            operator: self.operator.clone(),
            provider: self.provider.clone(),
            jurisdiction: self.jurisdiction,
            retention: self.retention.unwrap_or_default(),
            attestation: self.attestation.clone().unwrap_or_else(|| "none".to_owned()),
        };
        input::name("model", &self.model)?;
        input::name("site", &facts.site)?;
        input::name("operator", &facts.operator)?;
        input::name("provider", &facts.provider)?;
        input::name("attestation", &facts.attestation)?;
        Ok(facts)
    }
}

/// Registers an engine: a replica of the endpoint with this model and these facts.
#[utoipa::path(post, path = "/api/v1/engines", tag = "engines", request_body = EngineNew,
    responses((status = 201, body = EngineBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    may: Allowed<EngineCreate>,
    State(controller): State<Controller>,
    Body(new): Body<EngineNew>,
) -> Created<EngineBody> {
    let mut turn = controller.turn().await;
    let id = controller.id(EngineId::from_parts);
    let entry = may.entry(&controller, id, None, &new);
    let (endpoint, mut engine) = checked(&controller, id, new)?;
    engine.endpoint = controller.store().engine_add(&endpoint, &engine, &entry).await?;
    turn.publish().await?;
    created(engine.into())
}

/// An engine and its endpoint, checked. Which endpoint it serves is found when it is stored.
pub(super) fn checked(controller: &Controller, id: EngineId, new: EngineNew) -> Result<(Endpoint, Engine), Problem> {
    let url = input::engine_url(&new.url)?;
    let facts = new.facts(&controller.parts().site)?;
    input::digest("weights", new.weights.as_deref())?;
    if let Some(alias) = &new.model_alias {
        input::name("model_alias", alias)?;
    }
    credential(new.credential.as_deref())?;
    let slots = slots(new.slots.unwrap_or(SLOTS_USUAL))?;
    let context_length = new.context_length.unwrap_or(CONTEXT_LENGTH_DEFAULT);
    let output_tokens_max = new.output_tokens_max.unwrap_or(OUTPUT_TOKENS_MAX_DEFAULT.min(context_length));
    lengths(context_length, output_tokens_max)?;
    let endpoint = Endpoint {
        id: controller.id(EndpointId::from_parts),
        model: new.model,
        facts,
        weights: new.weights,
        context_length,
        output_tokens_max,
        created_at: controller.now(),
    };
    let engine = Engine {
        id,
        endpoint: endpoint.id,
        url,
        kind: new.kind.unwrap_or_default(),
        model_alias: new.model_alias,
        credential: new.credential,
        cordoned: false,
        slots,
    };
    Ok((endpoint, engine))
}

/// Lists engines.
#[utoipa::path(get, path = "/api/v1/engines", tag = "engines", responses((status = 200, body = List<EngineBody>)))]
pub async fn list(may: Allowed<EngineRead>, State(controller): State<Controller>) -> Answer<List<EngineBody>> {
    // Addresses are the site's own; a tenant's auditor reads endpoints, which are the facts without them.
    let engines = if may.caller.sees(None) { controller.store().engines().await? } else { Vec::new() };
    Ok(List::of(engines, Into::into))
}

async fn engine(controller: &Controller, id: EngineId) -> Result<Engine, Problem> {
    controller.store().engine(id).await?.ok_or_else(Problem::not_found)
}

/// Shows an engine.
#[utoipa::path(get, path = "/api/v1/engines/{id}", tag = "engines", params(("id" = String, Path, description = "eng_…")),
    responses((status = 200, body = EngineBody), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn get(
    may: Allowed<EngineRead>,
    State(controller): State<Controller>,
    Id(id): Id<EngineId>,
) -> Answer<EngineBody> {
    may.caller.require(None)?;
    Ok(Json(engine(&controller, id).await?.into()))
}

/// Changes an engine: its address, its credential, or whether it takes new requests.
#[utoipa::path(patch, path = "/api/v1/engines/{id}", tag = "engines", params(("id" = String, Path, description = "eng_…")),
    request_body = EnginePatch,
    responses((status = 200, body = EngineBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn update(
    may: Allowed<EngineUpdate>,
    State(controller): State<Controller>,
    Id(id): Id<EngineId>,
    Body(patch): Body<EnginePatch>,
) -> Answer<EngineBody> {
    let mut turn = controller.turn().await;
    let mut engine = engine(&controller, id).await?;
    let entry = may.entry(&controller, id, None, &patch);
    if let Some(url) = &patch.url {
        engine.url = input::engine_url(url)?;
    }
    if let Some(alias) = patch.model_alias {
        if let Some(alias) = &alias {
            input::name("model_alias", alias)?;
        }
        engine.model_alias = alias;
    }
    if let Some(new) = patch.credential {
        credential(new.as_deref())?;
        engine.credential = new;
    }
    if let Some(new) = patch.slots {
        engine.slots = slots(new)?;
    }
    engine.kind = patch.kind.unwrap_or(engine.kind);
    engine.cordoned = patch.cordoned.unwrap_or(engine.cordoned);
    controller.store().engine_update(&engine, &entry).await?;
    turn.publish().await?;
    Ok(Json(engine.into()))
}

/// Removes an engine. Its endpoint stays: receipts name it.
#[utoipa::path(delete, path = "/api/v1/engines/{id}", tag = "engines", params(("id" = String, Path, description = "eng_…")),
    responses((status = 204), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn remove(
    may: Allowed<EngineDelete>,
    State(controller): State<Controller>,
    Id(id): Id<EngineId>,
) -> Result<StatusCode, Problem> {
    let mut turn = controller.turn().await;
    let engine = engine(&controller, id).await?;
    let entry = may.entry(&controller, id, None, &serde_json::json!({ "endpoint": engine.endpoint }));
    controller.store().engine_remove(id, &entry).await?;
    turn.publish().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_hold_together() {
        assert!(lengths(32_768, 4_096).is_ok());
        assert!(lengths(1, 1).is_ok());
        for (context, output) in [(0, 0), (0, 1), (10, 0), (10, 11), (CONTEXT_LENGTH_MAX + 1, 1)] {
            assert!(lengths(context, output).is_err(), "{context} {output}");
        }
    }

    #[test]
    fn slots_have_an_end() {
        assert_eq!((slots(1).ok(), slots(SLOTS_MAX).ok()), (Some(1), Some(SLOTS_MAX)));
        assert!(slots(0).is_err() && slots(SLOTS_MAX + 1).is_err());
    }

    #[test]
    fn a_credential_is_never_in_the_audit_entry() {
        let new: EngineNew = serde_json::from_value(serde_json::json!({
            "url": "http://e", "model": "m", "country": "DE", "operator": "o", "provider": "p", "jurisdiction": "DE",
            "credential": "canary" }))
        .unwrap();
        assert!(!serde_json::to_string(&new).unwrap().contains("canary"));
        let patch: EnginePatch = serde_json::from_value(serde_json::json!({ "credential": "canary" })).unwrap();
        assert!(!serde_json::to_string(&patch).unwrap().contains("canary"));
        assert!(credential(Some("a b")).is_err() && credential(Some("a\r\nb")).is_err() && credential(None).is_ok());
    }
}
