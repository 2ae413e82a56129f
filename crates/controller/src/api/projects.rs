//! Projects: parts of a tenant with their own class, country, budget and limits.

use super::{Answer, Created, List, created};
use crate::access::{Allowed, ProjectCreate, ProjectRead, ProjectUpdate};
use crate::input::{self, Body, Id, Query};
use crate::{Controller, Problem};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::snapshot::{Limits, Project};
use types::{Country, DataClass, MicroEur, ProjectId, TenantId, UnixMillis};
use utoipa::ToSchema;

/// A part of a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Project)]
pub struct ProjectBody {
    #[schema(value_type = String, example = "prj_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: ProjectId,
    #[schema(value_type = String)]
    pub tenant: TenantId,
    pub name: String,
    /// public, internal, confidential or secret: default and floor of every request.
    #[schema(value_type = String, example = "internal")]
    pub class: DataClass,
    /// ISO 3166-1 alpha-2. If set, only endpoints in this country, without fallback.
    #[schema(value_type = Option<String>, example = "DE")]
    pub country: Option<Country>,
    /// Micro-euro per calendar month (UTC); null is no limit.
    #[schema(value_type = Option<i64>)]
    pub budget_micro_eur: Option<MicroEur>,
    /// Null is no limit.
    pub requests_per_minute: Option<u32>,
    /// Tokens of prompt and answer together; null is no limit.
    pub tokens_per_minute: Option<u64>,
    /// Milliseconds since 1970: the instance that it was has been deleted, and nothing is made in it any more. Null: it is open.
    #[schema(value_type = Option<i64>)]
    pub closed_at: Option<UnixMillis>,
}

impl From<Project> for ProjectBody {
    fn from(project: Project) -> Self {
        Self {
            id: project.id,
            tenant: project.tenant,
            name: project.name,
            class: project.class,
            country: project.country,
            budget_micro_eur: project.budget,
            requests_per_minute: project.limits.requests_per_minute,
            tokens_per_minute: project.limits.tokens_per_minute,
            closed_at: None,
        }
    }
}

impl Controller {
    /// Refuses what would be made or changed in a closed project.
    pub(super) async fn open(&self, project: ProjectId) -> Result<(), Problem> {
        match self.store().project_closed(project).await? {
            None => Ok(()),
            Some(_) => Err(Problem::conflict(
                "This project is closed: the service instance that it was has been deleted. Order another instance, or make \
                 another project.",
            )),
        }
    }
}

/// A project to be made.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectNew {
    #[schema(value_type = String)]
    pub tenant: TenantId,
    /// 1 to 64 printable characters.
    pub name: String,
    /// public, internal, confidential or secret; left out is internal.
    #[schema(value_type = Option<String>)]
    pub class: Option<DataClass>,
    /// ISO 3166-1 alpha-2; left out is any country that policy permits.
    #[schema(value_type = Option<String>)]
    pub country: Option<Country>,
    /// Micro-euro per calendar month (UTC); left out is no limit.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub budget_micro_eur: Option<MicroEur>,
    pub requests_per_minute: Option<u32>,
    pub tokens_per_minute: Option<u64>,
}

/// What to change; what is left out stays, null takes a limit away.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub class: Option<DataClass>,
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub country: Option<Option<Country>>,
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub budget_micro_eur: Option<Option<MicroEur>>,
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub requests_per_minute: Option<Option<u32>>,
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub tokens_per_minute: Option<Option<u64>>,
}

/// Which projects to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectFilter {
    tenant: Option<TenantId>,
}

/// Makes a project.
#[utoipa::path(post, path = "/api/v1/projects", tag = "projects", request_body = ProjectNew,
    responses((status = 201, body = ProjectBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    may: Allowed<ProjectCreate>,
    State(controller): State<Controller>,
    Body(new): Body<ProjectNew>,
) -> Created<ProjectBody> {
    input::name("name", &new.name)?;
    input::amount("budget_micro_eur", new.budget_micro_eur)?;
    let mut turn = controller.turn().await;
    let tenant = controller.tenant(&may.caller, new.tenant).await?;
    let id = controller.id(ProjectId::from_parts);
    let entry = may.entry(&controller, id, Some(tenant.id), &new);
    let project = Project {
        id,
        tenant: tenant.id,
        name: new.name,
        class: new.class.unwrap_or(DataClass::Internal),
        country: new.country,
        budget: new.budget_micro_eur,
        limits: Limits { requests_per_minute: new.requests_per_minute, tokens_per_minute: new.tokens_per_minute },
        commitment_key: controller.random32().iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    controller.store().project_create(&project, &entry).await?;
    turn.publish().await?;
    created(project.into())
}

/// Lists projects, of one tenant or of all that the caller sees.
#[utoipa::path(get, path = "/api/v1/projects", tag = "projects",
    params(("tenant" = Option<String>, Query, description = "only this tenant's")),
    responses((status = 200, body = List<ProjectBody>), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn list(
    may: Allowed<ProjectRead>,
    State(controller): State<Controller>,
    Query(filter): Query<ProjectFilter>,
) -> Answer<List<ProjectBody>> {
    let scope = may.caller.scope(filter.tenant)?;
    if let Some(tenant) = filter.tenant {
        controller.tenant(&may.caller, tenant).await?;
    }
    let closed: BTreeMap<_, _> = controller.store().projects_closed().await?.into_iter().collect();
    Ok(List::of(controller.store().projects(scope).await?, |project| ProjectBody {
        closed_at: closed.get(&project.id).copied(),
        ..project.into()
    }))
}

/// Shows a project.
#[utoipa::path(get, path = "/api/v1/projects/{id}", tag = "projects", params(("id" = String, Path, description = "prj_…")),
    responses((status = 200, body = ProjectBody), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn get(
    may: Allowed<ProjectRead>,
    State(controller): State<Controller>,
    Id(id): Id<ProjectId>,
) -> Answer<ProjectBody> {
    let project = controller.project(&may.caller, id).await?;
    let closed_at = controller.store().project_closed(id).await?;
    Ok(Json(ProjectBody { closed_at, ..project.into() }))
}

/// Changes a project.
#[utoipa::path(patch, path = "/api/v1/projects/{id}", tag = "projects", params(("id" = String, Path, description = "prj_…")),
    request_body = ProjectPatch,
    responses((status = 200, body = ProjectBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn update(
    may: Allowed<ProjectUpdate>,
    State(controller): State<Controller>,
    Id(id): Id<ProjectId>,
    Body(patch): Body<ProjectPatch>,
) -> Answer<ProjectBody> {
    let mut turn = controller.turn().await;
    let mut project = controller.project(&may.caller, id).await?;
    controller.open(id).await?;
    let entry = may.entry(&controller, id, Some(project.tenant), &patch);
    if let Some(name) = patch.name {
        input::name("name", &name)?;
        project.name = name;
    }
    if let Some(budget) = patch.budget_micro_eur {
        input::amount("budget_micro_eur", budget)?;
        project.budget = budget;
    }
    project.class = patch.class.unwrap_or(project.class);
    project.country = patch.country.unwrap_or(project.country);
    project.limits.requests_per_minute = patch.requests_per_minute.unwrap_or(project.limits.requests_per_minute);
    project.limits.tokens_per_minute = patch.tokens_per_minute.unwrap_or(project.limits.tokens_per_minute);
    controller.store().project_update(&project, &entry).await?;
    turn.publish().await?;
    Ok(Json(project.into()))
}
