//! API keys. A key keeps its project and its secret for life, and revoking is one-way: an update that was read before a
//! revocation and written after it does not bring the key back.

use crate::database::{Columns, values};
use crate::projects::{self, limits, tokens_per_minute};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::audit::AuditEntry;
use types::snapshot::Key;
use types::{KeyId, ProjectId, UnixMillis};

macro_rules! select {
    () => {
        "SELECT id, project, name, secret_hash, revoked, expires_at, budget, requests_per_minute, tokens_per_minute
         FROM keys "
    };
}

statements! {
    INSERT = "INSERT INTO keys
              (id, project, name, secret_hash, revoked, expires_at, budget, requests_per_minute, tokens_per_minute)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    UPDATE = "UPDATE keys SET name = $3, revoked = (revoked OR $4), expires_at = $5, budget = $6,
              requests_per_minute = $7, tokens_per_minute = $8 WHERE id = $1 AND project = $2";
    EXPIRE = "UPDATE keys SET expires_at = $2 WHERE id = $1 AND (expires_at IS NULL OR expires_at > $2)";
    END = "UPDATE keys SET revoked = TRUE WHERE id = $1";
    END_OF = "UPDATE keys SET revoked = TRUE WHERE project = $1";
    ONE = concat!(select!(), "WHERE id = $1");
    LIST = concat!(select!(), "ORDER BY id");
    LIST_OF = concat!(select!(), "WHERE project = $1 ORDER BY id");
}

pub(crate) const EVERY: &str = LIST;
const DOUBLED: &str = "a key of this id";
const WHAT: &str = "this key";

pub(crate) fn key(mut c: Columns<'_>) -> Result<Key, StoreError> {
    Ok(Key {
        id: c.parsed()?,
        project: c.parsed()?,
        name: c.text()?,
        secret_hash: c.text()?,
        revoked: c.flag()?,
        expires_at: c.time_opt()?,
        budget: c.money_opt()?,
        limits: limits(&mut c)?,
    })
}

pub(crate) fn insert_values(new: &Key) -> Result<Vec<crate::database::Value>, StoreError> {
    Ok(values![
        new.id,
        new.project,
        &new.name,
        &new.secret_hash,
        new.revoked,
        new.expires_at,
        new.budget,
        new.limits.requests_per_minute,
        tokens_per_minute(&new.limits)?,
    ])
}

impl Store {
    pub async fn key_create(&self, new: &Key, entry: &AuditEntry) -> Result<(), StoreError> {
        let values = insert_values(new)?;
        let mut change = self.change().await?;
        projects::open(&mut change, new.project).await?;
        change.run(INSERT, values).await.map_err(|error| error.meaning(DOUBLED, "this project"))?;
        change.commit(entry).await
    }

    /// Creates `new` and lets `old` expire at `old_expires_at` unless it expires earlier: one change, one entry.
    pub async fn key_rotate(
        &self,
        new: &Key,
        old: KeyId,
        old_expires_at: UnixMillis,
        entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        let values = insert_values(new)?;
        let mut change = self.change().await?;
        let known = change.rows(ONE, values![old]).await?;
        let known = known.first().map(|row| key(row.columns())).transpose()?;
        if known.is_none_or(|known| known.project != new.project) {
            return Err(StoreError::NotFound { what: WHAT });
        }
        projects::open(&mut change, new.project).await?;
        change.run(INSERT, values).await.map_err(|error| error.meaning(DOUBLED, "this project"))?;
        change.run(EXPIRE, values![old, old_expires_at]).await?;
        change.commit(entry).await
    }

    pub async fn key(&self, id: KeyId) -> Result<Option<Key>, StoreError> {
        let rows = self.database.rows(ONE, values![id]).await?;
        rows.first().map(|row| key(row.columns())).transpose()
    }

    /// Of one project or of all, by id.
    pub async fn keys(&self, of: Option<ProjectId>) -> Result<Vec<Key>, StoreError> {
        let rows = match of {
            Some(of) => self.database.rows(LIST_OF, values![of]).await?,
            None => self.database.rows(LIST, values![]).await?,
        };
        rows.iter().map(|row| key(row.columns())).collect()
    }

    /// Sets name, expiry, budget and limits; `revoked` only ever becomes true.
    pub async fn key_update(&self, to: &Key, entry: &AuditEntry) -> Result<(), StoreError> {
        let values = values![
            to.id,
            to.project,
            &to.name,
            to.revoked,
            to.expires_at,
            to.budget,
            to.limits.requests_per_minute,
            tokens_per_minute(&to.limits)?,
        ];
        let mut change = self.change().await?;
        change.run_on(WHAT, UPDATE, values).await.map_err(|error| error.meaning(DOUBLED, WHAT))?;
        change.commit(entry).await
    }
}
