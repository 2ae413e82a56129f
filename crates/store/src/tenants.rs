//! Tenants. A tenant is never deleted: its receipts name it.

use crate::database::{Columns, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::TenantId;
use types::audit::AuditEntry;
use types::snapshot::Tenant;

macro_rules! select {
    () => {
        "SELECT id, name, budget FROM tenants "
    };
}

statements! {
    INSERT = "INSERT INTO tenants (id, name, budget) VALUES ($1, $2, $3)";
    UPDATE = "UPDATE tenants SET name = $2, budget = $3 WHERE id = $1";
    ONE = concat!(select!(), "WHERE id = $1");
    LIST = concat!(select!(), "ORDER BY id");
}

pub(crate) const EVERY: &str = LIST;
const DOUBLED: &str = "a tenant of this name";
const WHAT: &str = "this tenant";

pub(crate) fn tenant(mut c: Columns<'_>) -> Result<Tenant, StoreError> {
    Ok(Tenant { id: c.parsed()?, name: c.text()?, budget: c.money_opt()? })
}

impl Store {
    pub async fn tenant_create(&self, new: &Tenant, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        let inserted = change.run(INSERT, values![new.id, &new.name, new.budget]).await;
        inserted.map_err(|error| error.meaning(DOUBLED, WHAT))?;
        change.commit(entry).await
    }

    pub async fn tenant(&self, id: TenantId) -> Result<Option<Tenant>, StoreError> {
        let rows = self.database.rows(ONE, values![id]).await?;
        rows.first().map(|row| tenant(row.columns())).transpose()
    }

    pub async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let rows = self.database.rows(LIST, values![]).await?;
        rows.iter().map(|row| tenant(row.columns())).collect()
    }

    /// Sets name and budget.
    pub async fn tenant_update(&self, to: &Tenant, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        let updated = change.run_on(WHAT, UPDATE, values![to.id, &to.name, to.budget]).await;
        updated.map_err(|error| error.meaning(DOUBLED, WHAT))?;
        change.commit(entry).await
    }
}
