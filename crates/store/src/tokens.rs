//! Control tokens: bearers of rights at the control API, stored as a keyed hash. Revoking is one-way, as with keys.

use crate::database::{Columns, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use serde::{Deserialize, Serialize};
use types::audit::AuditEntry;
use types::{TenantId, TokenId, UnixMillis};

macro_rules! select {
    () => {
        "SELECT id, name, role, tenant, secret_hash, revoked, expires_at FROM tokens "
    };
}

statements! {
    INSERT = "INSERT INTO tokens (id, name, role, tenant, secret_hash, revoked, expires_at)
              VALUES ($1, $2, $3, $4, $5, $6, $7)";
    UPDATE = "UPDATE tokens SET name = $2, revoked = (revoked OR $3), expires_at = $4 WHERE id = $1";
    ONE = concat!(select!(), "WHERE id = $1");
    LIST = concat!(select!(), "ORDER BY id");
}

const DOUBLED: &str = "a token of this id";
const WHAT: &str = "this token";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlToken {
    pub id: TokenId,
    pub name: String,
    /// A role of `policy::control`, as text.
    pub role: String,
    /// None is the operator's.
    pub tenant: Option<TenantId>,
    /// HMAC-SHA-256 of the secret under the site's pepper, hex.
    pub secret_hash: String,
    pub revoked: bool,
    pub expires_at: Option<UnixMillis>,
}

fn token(mut c: Columns<'_>) -> Result<ControlToken, StoreError> {
    Ok(ControlToken {
        id: c.parsed()?,
        name: c.text()?,
        role: c.text()?,
        tenant: c.parsed_opt()?,
        secret_hash: c.text()?,
        revoked: c.flag()?,
        expires_at: c.time_opt()?,
    })
}

impl Store {
    pub async fn token_create(&self, new: &ControlToken, entry: &AuditEntry) -> Result<(), StoreError> {
        let values = values![new.id, &new.name, &new.role, new.tenant, &new.secret_hash, new.revoked, new.expires_at];
        let mut change = self.change().await?;
        change.run(INSERT, values).await.map_err(|error| error.meaning(DOUBLED, "this tenant"))?;
        change.commit(entry).await
    }

    pub async fn token(&self, id: TokenId) -> Result<Option<ControlToken>, StoreError> {
        let rows = self.database.rows(ONE, values![id]).await?;
        rows.first().map(|row| token(row.columns())).transpose()
    }

    pub async fn tokens(&self) -> Result<Vec<ControlToken>, StoreError> {
        let rows = self.database.rows(LIST, values![]).await?;
        rows.iter().map(|row| token(row.columns())).collect()
    }

    /// Sets name and expiry; `revoked` only ever becomes true. Role, tenant and secret are for life.
    pub async fn token_update(&self, to: &ControlToken, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        change.run_on(WHAT, UPDATE, values![to.id, &to.name, to.revoked, to.expires_at]).await?;
        change.commit(entry).await
    }
}
