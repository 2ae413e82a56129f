//! An entry of the audit log: who changed what at the control API. Every mutation writes exactly one, in the same
//! transaction as the change.

use crate::{AuditId, TenantId, UnixMillis};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    pub id: AuditId,
    pub at: UnixMillis,
    /// `operator` for the admin token, otherwise the token's id.
    pub actor: String,
    /// `tenant.create`, `key.revoke`: the same words as in policy and in the CLI.
    pub action: String,
    /// The id of what was changed.
    pub object: String,
    /// The tenant it belongs to, if any.
    pub tenant: Option<TenantId>,
    /// What changed, without secrets, as JSON text.
    pub detail: String,
}
