//! Reading the audit log. Entries are written by [`crate::change`] and by nothing else, and never changed.

use crate::database::{Columns, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::audit::AuditEntry;
use types::{AuditId, TenantId, UnixMillis};

statements! {
    LIST = "SELECT id, at, actor, action, object, tenant, detail FROM audit
            WHERE ($1 IS NULL OR id > $1) AND ($2 IS NULL OR tenant = $2) ORDER BY id LIMIT $3";
}

fn entry(mut c: Columns<'_>) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        id: c.parsed()?,
        at: UnixMillis(c.int()?),
        actor: c.text()?,
        action: c.text()?,
        object: c.text()?,
        tenant: c.parsed_opt()?,
        detail: c.text()?,
    })
}

impl Store {
    /// Entries after the given one, by id, which is by time; of one tenant or of all.
    pub async fn audit(
        &self,
        after: Option<AuditId>,
        tenant: Option<TenantId>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let rows = self.database.rows(LIST, values![after, tenant, limit]).await?;
        rows.iter().map(|row| entry(row.columns())).collect()
    }
}
