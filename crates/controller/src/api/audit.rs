//! The audit log: who changed what. Read only; entries are written by the changes themselves, in their transactions.

use super::{Answer, List};
use crate::Controller;
use crate::access::{Allowed, AuditRead};
use crate::input::{self, Query};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use types::audit::AuditEntry;
use types::{AuditId, TenantId, UnixMillis};
use utoipa::ToSchema;

/// One change.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct AuditBody {
    #[schema(value_type = String, example = "aud_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: AuditId,
    /// Milliseconds since 1970.
    #[schema(value_type = i64)]
    pub at: UnixMillis,
    /// `operator` for the admin token, otherwise the token's id.
    pub actor: String,
    /// For example `key.revoke`.
    pub action: String,
    /// The id of what was changed.
    pub object: String,
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// What changed, without secrets.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
}

impl From<AuditEntry> for AuditBody {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id,
            at: entry.at,
            actor: entry.actor,
            action: entry.action,
            object: entry.object,
            tenant: entry.tenant,
            detail: serde_json::from_str(&entry.detail).unwrap_or(serde_json::Value::String(entry.detail)),
        }
    }
}

/// Which entries to list, by id ascending.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditFilter {
    tenant: Option<TenantId>,
    after: Option<AuditId>,
    limit: Option<u32>,
}

/// Lists audit entries, oldest first. For the next page send the last id as `after`.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit",
    params(("tenant" = Option<String>, Query, description = "only what belongs to this tenant"),
        ("after" = Option<String>, Query, description = "only entries with a greater id"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, otherwise 100")),
    responses((status = 200, body = List<AuditBody>), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn list(
    may: Allowed<AuditRead>,
    State(controller): State<Controller>,
    Query(filter): Query<AuditFilter>,
) -> Answer<List<AuditBody>> {
    let scope = may.caller.scope(filter.tenant)?;
    if let Some(tenant) = filter.tenant {
        controller.tenant(&may.caller, tenant).await?;
    }
    let entries = controller.store().audit(filter.after, scope, input::limit(filter.limit)?).await?;
    Ok(List::of(entries, Into::into))
}
