//! Rules: Cedar policies. The operator's may permit; a tenant's only forbid, and bind only that tenant's requests.
//!
//! A rule is checked alone and then compiled together with all others before it is written: a bundle that no gateway
//! can load is never stored.

use super::{Answer, Created, List, created};
use crate::access::{Allowed, RuleCreate, RuleDelete, RuleRead};
use crate::input::{self, Body, Id, Query};
use crate::{Controller, Problem};
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use types::snapshot::Rule;
use types::{Code, RuleId, TenantId};
use utoipa::ToSchema;

/// The longest rule: some thousand lines of Cedar; longer is generated, and wants to be several rules.
const RULE_BYTES_MAX: usize = 64 * 1_024;

/// A rule.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rule)]
pub struct RuleBody {
    /// Null for a rule that ships with Hoheit: part of every bundle, not to be removed.
    #[schema(value_type = Option<String>, example = "rul_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: Option<RuleId>,
    /// Null is the operator's.
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// What receipts and `policy explain` show.
    pub name: String,
    /// Cedar.
    pub text: String,
}

impl From<Rule> for RuleBody {
    fn from(rule: Rule) -> Self {
        Self { id: Some(rule.id), tenant: rule.tenant, name: rule.name, text: rule.text }
    }
}

/// A rule to be made.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleNew {
    /// Whose it is; left out is the caller's tenant, or the operator's.
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// Unique per owner.
    pub name: String,
    /// Cedar; a tenant's rule only forbids.
    pub text: String,
}

/// Which rules to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleFilter {
    tenant: Option<TenantId>,
}

fn unfit(error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::RuleInvalid, error.to_string())
}

/// Adds a rule.
#[utoipa::path(post, path = "/api/v1/rules", tag = "rules", request_body = RuleNew,
    responses((status = 201, body = RuleBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    may: Allowed<RuleCreate>,
    State(controller): State<Controller>,
    Body(new): Body<RuleNew>,
) -> Created<RuleBody> {
    input::name("name", &new.name)?;
    if new.text.len() > RULE_BYTES_MAX {
        return Err(Problem::invalid(format!("text: at most {RULE_BYTES_MAX} bytes; split it into several rules.")));
    }
    let mut turn = controller.turn().await;
    let owner = may.caller.scope(new.tenant)?;
    if let Some(tenant) = owner {
        controller.tenant(&may.caller, tenant).await?;
    }
    policy::check_rule(owner, &new.name, &new.text).map_err(unfit)?;
    let id = controller.id(RuleId::from_parts);
    let entry = may.entry(&controller, id, owner, &new);
    let rule = Rule { id, tenant: owner, name: new.name, text: new.text };
    let mut rules = controller.store().rules().await?;
    if rules.iter().any(|other| other.tenant == rule.tenant && other.name == rule.name) {
        return Err(Problem::conflict("A rule of this name exists. Remove it first, or choose another name."));
    }
    rules.push(rule.clone());
    policy::Bundle::compile(&rules).map_err(unfit)?;
    controller.store().rule_put(&rule, &entry).await?;
    turn.publish().await?;
    created(rule.into())
}

/// Lists rules: those that ship with Hoheit and the operator's, which apply to everybody, and those of the tenants that the
/// caller sees.
#[utoipa::path(get, path = "/api/v1/rules", tag = "rules",
    params(("tenant" = Option<String>, Query, description = "only the operator's and this tenant's")),
    responses((status = 200, body = List<RuleBody>), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn list(
    may: Allowed<RuleRead>,
    State(controller): State<Controller>,
    Query(filter): Query<RuleFilter>,
) -> Answer<List<RuleBody>> {
    if let Some(tenant) = filter.tenant {
        controller.tenant(&may.caller, tenant).await?;
    }
    let scope = may.caller.scope(filter.tenant)?;
    let rules = controller.store().rules().await?;
    let seen = |rule: &Rule| rule.tenant.is_none() || scope.is_none() || rule.tenant == scope;
    let shipped = policy::base_rules().into_iter().map(|(name, text)| RuleBody { id: None, tenant: None, name, text });
    let written = rules.into_iter().filter(seen).map(RuleBody::from);
    Ok(List::of(shipped.chain(written), |rule| rule))
}

/// Removes a rule.
#[utoipa::path(delete, path = "/api/v1/rules/{id}", tag = "rules", params(("id" = String, Path, description = "rul_…")),
    responses((status = 204), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn remove(
    may: Allowed<RuleDelete>,
    State(controller): State<Controller>,
    Id(id): Id<RuleId>,
) -> Result<StatusCode, Problem> {
    let mut turn = controller.turn().await;
    let mut rules = controller.store().rules().await?;
    let place = rules.iter().position(|rule| rule.id == id).ok_or_else(Problem::not_found)?;
    let rule = rules.remove(place);
    may.caller.require(rule.tenant)?;
    let entry = may.entry(&controller, id, rule.tenant, &serde_json::json!({ "name": rule.name, "text": rule.text }));
    controller.store().rule_remove(id, &entry).await?;
    turn.publish().await?;
    Ok(StatusCode::NO_CONTENT)
}
