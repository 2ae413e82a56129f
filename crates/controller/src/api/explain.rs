//! Which endpoints may serve this, and why not the others: policy's answer to a question that nobody has asked yet.
//!
//! It asks the same `policy::Bundle` as the gateway, compiled from the same store. It says nothing about health, load,
//! budgets or limits.

use super::Answer;
use crate::access::{Allowed, PolicyExplain};
use crate::input::Body;
use crate::{Controller, Problem};
use axum::Json;
use axum::extract::State;
use policy::{Bundle, Question};
use serde::{Deserialize, Serialize};
use types::{Country, DataClass, EndpointId, KeyId, ProjectId, Retention, TenantId};
use utoipa::ToSchema;

/// A question. Name a key or a project.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainQuestion {
    #[schema(value_type = Option<String>)]
    pub key: Option<KeyId>,
    #[schema(value_type = Option<String>)]
    pub project: Option<ProjectId>,
    /// As the header Hoheit-Data-Class; left out is the project's. Never below the project's.
    #[schema(value_type = Option<String>)]
    pub class: Option<DataClass>,
    /// Only endpoints of this model.
    pub model: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    #[schema(value_type = String)]
    pub tenant: TenantId,
    #[schema(value_type = String)]
    pub project: ProjectId,
    #[schema(value_type = Option<String>)]
    pub key: Option<KeyId>,
    /// The class that decides: what was asked, raised to the project's floor.
    #[schema(value_type = String)]
    pub class: DataClass,
    /// The project's country, if it is bound to one.
    #[schema(value_type = Option<String>)]
    pub country: Option<Country>,
    /// `sha256:<hex>` of the rules that decided, as receipts carry it.
    pub policy: String,
    pub endpoints: Vec<ExplainedEndpoint>,
}

/// One endpoint, and what policy says about it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedEndpoint {
    #[schema(value_type = String)]
    pub endpoint: EndpointId,
    pub model: String,
    #[schema(value_type = String)]
    pub country: Country,
    pub operator: String,
    pub provider: String,
    #[schema(value_type = String)]
    pub jurisdiction: Country,
    #[schema(value_type = String)]
    pub retention: Retention,
    pub permit: bool,
    /// The rules that decided; `residency` is the project's country. Empty and refused: no rule permits.
    pub rules: Vec<String>,
}

/// Explains what policy permits for a key or a project.
#[utoipa::path(post, path = "/api/v1/policy/explain", tag = "policy", request_body = ExplainQuestion,
    responses((status = 200, body = Explanation), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn explain(
    may: Allowed<PolicyExplain>,
    State(controller): State<Controller>,
    Body(question): Body<ExplainQuestion>,
) -> Answer<Explanation> {
    let project = match (question.key, question.project) {
        (Some(key), None) => controller.key(&may.caller, key).await?.1,
        (None, Some(project)) => controller.project(&may.caller, project).await?,
        _ => return Err(Problem::invalid("Name either key or project.")),
    };
    let class = question.class.unwrap_or(project.class).max(project.class);
    let store = controller.store();
    let bundle = Bundle::compile(&store.rules().await?).map_err(Problem::internal)?;
    let endpoints = store.endpoints().await?;
    let asked = |model: &str| question.model.as_deref().is_none_or(|wanted| wanted == model);
    let endpoints: Vec<_> = endpoints
        .into_iter()
        .filter(|endpoint| asked(&endpoint.model))
        .map(|endpoint| {
            let decision = bundle.decide(&Question {
                tenant: project.tenant,
                project: project.id,
                // A rule that names a key cannot match a question about the whole project.
                key: question.key.unwrap_or(KeyId(0)),
                class,
                country: project.country,
                model: &endpoint.model,
                endpoint: endpoint.id,
                facts: &endpoint.facts,
            });
            ExplainedEndpoint {
                endpoint: endpoint.id,
                model: endpoint.model,
                country: endpoint.facts.country,
                operator: endpoint.facts.operator,
                provider: endpoint.facts.provider,
                jurisdiction: endpoint.facts.jurisdiction,
                retention: endpoint.facts.retention,
                permit: decision.permit,
                rules: decision.rules,
            }
        })
        .collect();
    if let (Some(model), true) = (&question.model, endpoints.is_empty()) {
        return Err(Problem::new(
            types::Code::ModelNotFound,
            format!("No endpoint offers {model:?}. List the models with GET /api/v1/models."),
        ));
    }
    Ok(Json(Explanation {
        tenant: project.tenant,
        project: project.id,
        key: question.key,
        class,
        country: project.country,
        policy: bundle.digest().to_owned(),
        endpoints,
    }))
}
