//! Reading the audit log. Entries are written by [`crate::change`] and by nothing else, and never changed.

use crate::database::{Columns, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::audit::AuditEntry;
use types::{AuditId, TenantId, UnixMillis};

macro_rules! select {
    () => {
        "SELECT id, at, actor, action, object, tenant, detail FROM audit "
    };
}

statements! {
    LIST = concat!(select!(), "WHERE id > $1 ORDER BY id LIMIT $2");
    LIST_OF = concat!(select!(), "WHERE tenant = $3 AND id > $1 ORDER BY id LIMIT $2");
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
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows = match tenant {
            Some(tenant) => self.database.rows(LIST_OF, values![after, limit, tenant]).await?,
            None => self.database.rows(LIST, values![after, limit]).await?,
        };
        rows.iter().map(|row| entry(row.columns())).collect()
    }
}
