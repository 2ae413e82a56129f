//! Budgets: what may be spent this month, and what receipts say was spent. Changed at the tenant, project or key.
//!
//! Spent is the sum of receipts that have reached the store; what gateways hold in reservations, or have not shipped
//! yet, is not in it.

use super::{Answer, List};
use crate::Controller;
use crate::access::{Allowed, BudgetRead};
use crate::input::Query;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::{MicroEur, TenantId};
use utoipa::ToSchema;

/// One limit and what is left of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Budget)]
pub struct BudgetBody {
    /// tenant, project or key.
    pub level: String,
    /// The id of the tenant, project or key.
    pub id: String,
    pub name: String,
    #[schema(value_type = String)]
    pub tenant: TenantId,
    /// The calendar month in UTC, as 2026-11.
    pub month: String,
    /// Micro-euro; null is no limit.
    #[schema(value_type = Option<i64>)]
    pub limit_micro_eur: Option<MicroEur>,
    /// Micro-euro that receipts of this month add up to.
    #[schema(value_type = i64)]
    pub spent_micro_eur: MicroEur,
    /// Micro-euro; null is no limit.
    #[schema(value_type = Option<i64>)]
    pub left_micro_eur: Option<MicroEur>,
}

/// Whose budgets to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetFilter {
    tenant: Option<TenantId>,
}

/// Lists this month's budgets of tenants, projects and keys.
#[utoipa::path(get, path = "/api/v1/budgets", tag = "budgets",
    params(("tenant" = Option<String>, Query, description = "only this tenant's")),
    responses((status = 200, body = List<BudgetBody>), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn list(
    may: Allowed<BudgetRead>,
    State(controller): State<Controller>,
    Query(filter): Query<BudgetFilter>,
) -> Answer<List<BudgetBody>> {
    let scope = may.caller.scope(filter.tenant)?;
    if let Some(tenant) = filter.tenant {
        controller.tenant(&may.caller, tenant).await?;
    }
    let store = controller.store();
    let month = controller.now().month();
    let mut spent: BTreeMap<u128, MicroEur> = BTreeMap::new();
    for row in store.spent(month).await? {
        // Ids of different kinds are different numbers: all are drawn with 80 random bits.
        for id in [row.tenant.0, row.project.0, row.key.0] {
            let sum = spent.entry(id).or_default();
            *sum = sum.saturating_add(row.cost);
        }
    }
    let mut rows = Vec::new();
    let mut row = |level: &str, id: String, number: u128, name: String, tenant, limit: Option<MicroEur>| {
        let spent = spent.get(&number).copied().unwrap_or_default();
        rows.push(BudgetBody {
            level: level.to_owned(),
            id,
            name,
            tenant,
            month: month.to_string(),
            limit_micro_eur: limit,
            spent_micro_eur: spent,
            left_micro_eur: limit.map(|limit| limit.saturating_sub(spent).max(MicroEur::ZERO)),
        });
    };
    let keys = store.keys(None).await?;
    let projects = store.projects(scope).await?;
    for tenant in store.tenants().await?.into_iter().filter(|tenant| scope.is_none_or(|scope| scope == tenant.id)) {
        row("tenant", tenant.id.to_string(), tenant.id.0, tenant.name, tenant.id, tenant.budget);
        for project in projects.iter().filter(|project| project.tenant == tenant.id) {
            row("project", project.id.to_string(), project.id.0, project.name.clone(), tenant.id, project.budget);
            for key in keys.iter().filter(|key| key.project == project.id) {
                row("key", key.id.to_string(), key.id.0, key.name.clone(), tenant.id, key.budget);
            }
        }
    }
    Ok(List::of(rows, |row| row))
}
