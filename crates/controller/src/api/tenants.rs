//! Tenants: customers. Only the operator makes them and sets their monthly budget.

use super::{Answer, Created, List, created};
use crate::Controller;
use crate::access::{Allowed, TenantCreate, TenantRead, TenantUpdate};
use crate::input::{self, Body, Id};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use types::snapshot::Tenant;
use types::{MicroEur, TenantId};
use utoipa::ToSchema;

/// A customer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub struct TenantBody {
    #[schema(value_type = String, example = "ten_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: TenantId,
    pub name: String,
    /// Micro-euro per calendar month (UTC); null is no limit.
    #[schema(value_type = Option<i64>)]
    pub budget_micro_eur: Option<MicroEur>,
}

impl From<Tenant> for TenantBody {
    fn from(tenant: Tenant) -> Self {
        Self { id: tenant.id, name: tenant.name, budget_micro_eur: tenant.budget }
    }
}

/// A customer to be made.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantNew {
    /// 1 to 64 printable characters.
    pub name: String,
    /// Micro-euro per calendar month (UTC); left out is no limit.
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub budget_micro_eur: Option<MicroEur>,
}

/// What to change; what is left out stays.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Micro-euro per calendar month (UTC); null takes the limit away.
    #[serde(default, deserialize_with = "input::nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>, minimum = 0)]
    pub budget_micro_eur: Option<Option<MicroEur>>,
}

/// Makes a tenant.
#[utoipa::path(post, path = "/api/v1/tenants", tag = "tenants", request_body = TenantNew,
    responses((status = 201, body = TenantBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    may: Allowed<TenantCreate>,
    State(controller): State<Controller>,
    Body(new): Body<TenantNew>,
) -> Created<TenantBody> {
    input::name("name", &new.name)?;
    input::amount("budget_micro_eur", new.budget_micro_eur)?;
    let mut turn = controller.turn().await;
    let id = controller.id(TenantId::from_parts);
    let entry = may.entry(&controller, id, Some(id), &new);
    let tenant = Tenant { id, name: new.name, budget: new.budget_micro_eur };
    controller.store().tenant_create(&tenant, &entry).await?;
    turn.publish().await?;
    created(tenant.into())
}

/// Lists the tenants that the caller sees.
#[utoipa::path(get, path = "/api/v1/tenants", tag = "tenants", responses((status = 200, body = List<TenantBody>)))]
pub async fn list(may: Allowed<TenantRead>, State(controller): State<Controller>) -> Answer<List<TenantBody>> {
    let tenants = controller.store().tenants().await?;
    Ok(List::of(tenants.into_iter().filter(|tenant| may.caller.sees(Some(tenant.id))), Into::into))
}

/// Shows a tenant.
#[utoipa::path(get, path = "/api/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path, description = "ten_…")),
    responses((status = 200, body = TenantBody), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn get(
    may: Allowed<TenantRead>,
    State(controller): State<Controller>,
    Id(id): Id<TenantId>,
) -> Answer<TenantBody> {
    Ok(Json(controller.tenant(&may.caller, id).await?.into()))
}

/// Changes a tenant's name or budget.
#[utoipa::path(patch, path = "/api/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path, description = "ten_…")),
    request_body = TenantPatch,
    responses((status = 200, body = TenantBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn update(
    may: Allowed<TenantUpdate>,
    State(controller): State<Controller>,
    Id(id): Id<TenantId>,
    Body(patch): Body<TenantPatch>,
) -> Answer<TenantBody> {
    let mut turn = controller.turn().await;
    let mut tenant = controller.tenant(&may.caller, id).await?;
    let entry = may.entry(&controller, id, Some(id), &patch);
    if let Some(name) = patch.name {
        input::name("name", &name)?;
        tenant.name = name;
    }
    if let Some(budget) = patch.budget_micro_eur {
        input::amount("budget_micro_eur", budget)?;
        tenant.budget = budget;
    }
    controller.store().tenant_update(&tenant, &entry).await?;
    turn.publish().await?;
    Ok(Json(tenant.into()))
}
