//! Providers as partners: which tenant publishes under which name, and its share. What they earned is not here: it is a fold over
//! receipts.

use crate::database::{Columns, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::audit::AuditEntry;
use types::{Country, TenantId, UnixMillis};

macro_rules! select {
    () => {
        "SELECT tenant, provider, jurisdiction, operator, share_permille, created_at FROM partners "
    };
}

statements! {
    INSERT = "INSERT INTO partners (tenant, provider, jurisdiction, operator, share_permille, created_at)
              VALUES ($1, $2, $3, $4, $5, $6)";
    ONE = concat!(select!(), "WHERE tenant = $1");
    LIST = concat!(select!(), "ORDER BY tenant");
}

/// A tenant that publishes endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partner {
    pub tenant: TenantId,
    /// The fact `provider` of its endpoints; unique.
    pub provider: String,
    /// Whose law can compel it.
    pub jurisdiction: Country,
    /// Who runs its machines.
    pub operator: String,
    /// Of what its endpoints earn, in thousandths.
    pub share_permille: u16,
    pub created_at: UnixMillis,
}

fn partner(mut c: Columns<'_>) -> Result<Partner, StoreError> {
    Ok(Partner {
        tenant: c.parsed()?,
        provider: c.text()?,
        jurisdiction: c.parsed()?,
        operator: c.text()?,
        share_permille: u16::try_from(c.count()?)
            .map_err(|_| StoreError::Corrupt { what: "the share of a partner".to_owned() })?,
        created_at: UnixMillis(c.int()?),
    })
}

impl Store {
    pub async fn partner_create(&self, new: &Partner, entry: &AuditEntry) -> Result<(), StoreError> {
        let values = values![
            new.tenant,
            &new.provider,
            new.jurisdiction.as_str(),
            &new.operator,
            i64::from(new.share_permille),
            new.created_at
        ];
        let mut change = self.change().await?;
        let inserted = change.run(INSERT, values).await;
        inserted.map_err(|error| error.meaning("a partner with this tenant or provider", "this tenant"))?;
        change.commit(entry).await
    }

    pub async fn partner(&self, tenant: TenantId) -> Result<Option<Partner>, StoreError> {
        let rows = self.database.rows(ONE, values![tenant]).await?;
        rows.first().map(|row| partner(row.columns())).transpose()
    }

    pub async fn partners(&self) -> Result<Vec<Partner>, StoreError> {
        let rows = self.database.rows(LIST, values![]).await?;
        rows.iter().map(|row| partner(row.columns())).collect()
    }
}
