//! Endpoints and models: what is offered, under which facts. Everybody who is known here may read them; that is the point.

use super::{Answer, List, engines};
use crate::access::{Allowed, EndpointRead, EndpointUpdate, ModelRead};
use crate::input::{self, Body, Id};
use crate::{Controller, Problem};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::snapshot::Endpoint;
use types::{Country, EndpointId, Retention, UnixMillis};
use utoipa::ToSchema;

/// A model under one set of facts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Endpoint)]
pub struct EndpointBody {
    #[schema(value_type = String, example = "end_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: EndpointId,
    pub model: String,
    /// Where its engines stand.
    #[schema(value_type = String)]
    pub country: Country,
    pub site: String,
    /// Who runs the machines.
    pub operator: String,
    /// Who offers the model.
    pub provider: String,
    /// Whose law can compel the provider.
    #[schema(value_type = String)]
    pub jurisdiction: Country,
    /// none, limited or unlimited.
    #[schema(value_type = String)]
    pub retention: Retention,
    pub attestation: String,
    /// `sha256:<hex>`, where known.
    pub weights: Option<String>,
    /// Tokens of prompt and answer together.
    pub context_length: u64,
    /// Tokens an answer may have at most.
    pub output_tokens_max: u64,
    /// Milliseconds since 1970.
    #[schema(value_type = i64)]
    pub created_at: UnixMillis,
    /// Engines that serve it and are not cordoned.
    pub replicas: usize,
}

/// A name that tenants ask for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Model)]
pub struct ModelBody {
    pub name: String,
    /// The endpoints that offer it.
    #[schema(value_type = Vec<String>)]
    pub endpoints: Vec<EndpointId>,
    /// Engines behind all of them that are not cordoned.
    pub replicas: usize,
}

/// What to change. Facts are not changed: other facts are another endpoint; register its engines anew.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointPatch {
    /// `sha256:<hex>` of the weights; null forgets it.
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub weights: Option<Option<String>>,
    /// Tokens of prompt and answer together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// Tokens an answer may have at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens_max: Option<u64>,
}

fn body(endpoint: Endpoint, replicas: &BTreeMap<EndpointId, usize>) -> EndpointBody {
    EndpointBody {
        replicas: replicas.get(&endpoint.id).copied().unwrap_or(0),
        id: endpoint.id,
        model: endpoint.model,
        country: endpoint.facts.country,
        site: endpoint.facts.site,
        operator: endpoint.facts.operator,
        provider: endpoint.facts.provider,
        jurisdiction: endpoint.facts.jurisdiction,
        retention: endpoint.facts.retention,
        attestation: endpoint.facts.attestation,
        weights: endpoint.weights,
        context_length: endpoint.context_length,
        output_tokens_max: endpoint.output_tokens_max,
        created_at: endpoint.created_at,
    }
}

async fn replicas(controller: &Controller) -> Result<BTreeMap<EndpointId, usize>, Problem> {
    let mut count = BTreeMap::new();
    for engine in controller.store().engines().await?.into_iter().filter(|engine| !engine.cordoned) {
        *count.entry(engine.endpoint).or_insert(0) += 1;
    }
    Ok(count)
}

/// Lists endpoints with their facts.
#[utoipa::path(get, path = "/api/v1/endpoints", tag = "endpoints", responses((status = 200, body = List<EndpointBody>)))]
pub async fn list(_may: Allowed<EndpointRead>, State(controller): State<Controller>) -> Answer<List<EndpointBody>> {
    let replicas = replicas(&controller).await?;
    Ok(List::of(controller.store().endpoints().await?, |endpoint| body(endpoint, &replicas)))
}

/// Shows an endpoint.
#[utoipa::path(get, path = "/api/v1/endpoints/{id}", tag = "endpoints", params(("id" = String, Path, description = "end_…")),
    responses((status = 200, body = EndpointBody), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn get(
    _may: Allowed<EndpointRead>,
    State(controller): State<Controller>,
    Id(id): Id<EndpointId>,
) -> Answer<EndpointBody> {
    let endpoint = controller.store().endpoint(id).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(body(endpoint, &replicas(&controller).await?)))
}

/// Changes what is known about an endpoint's weights and lengths.
#[utoipa::path(patch, path = "/api/v1/endpoints/{id}", tag = "endpoints", params(("id" = String, Path, description = "end_…")),
    request_body = EndpointPatch,
    responses((status = 200, body = EndpointBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn update(
    may: Allowed<EndpointUpdate>,
    State(controller): State<Controller>,
    Id(id): Id<EndpointId>,
    Body(patch): Body<EndpointPatch>,
) -> Answer<EndpointBody> {
    let mut turn = controller.turn().await;
    let mut endpoint = controller.store().endpoint(id).await?.ok_or_else(Problem::not_found)?;
    let entry = may.entry(&controller, id, None, &patch);
    if let Some(weights) = patch.weights {
        input::digest("weights", weights.as_deref())?;
        endpoint.weights = weights;
    }
    endpoint.context_length = patch.context_length.unwrap_or(endpoint.context_length);
    endpoint.output_tokens_max = patch.output_tokens_max.unwrap_or(endpoint.output_tokens_max);
    engines::lengths(endpoint.context_length, endpoint.output_tokens_max)?;
    controller.store().endpoint_update(&endpoint, &entry).await?;
    turn.publish().await?;
    Ok(Json(body(endpoint, &replicas(&controller).await?)))
}

/// Lists models: the names that tenants ask for.
#[utoipa::path(get, path = "/api/v1/models", tag = "models", responses((status = 200, body = List<ModelBody>)))]
pub async fn models(_may: Allowed<ModelRead>, State(controller): State<Controller>) -> Answer<List<ModelBody>> {
    let replicas = replicas(&controller).await?;
    let mut models: BTreeMap<String, ModelBody> = BTreeMap::new();
    for endpoint in controller.store().endpoints().await? {
        let name = endpoint.model;
        let model = models.entry(name.clone()).or_insert(ModelBody { name, endpoints: Vec::new(), replicas: 0 });
        model.endpoints.push(endpoint.id);
        model.replicas += replicas.get(&endpoint.id).copied().unwrap_or(0);
    }
    Ok(List::of(models.into_values(), |model| model))
}
