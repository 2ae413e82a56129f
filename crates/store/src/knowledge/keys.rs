//! Data keys of projects, wrapped. One is made when a project first stores something; destroyed, it stays so.

use crate::database::values;
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{ProjectId, UnixMillis};

statements! {
    INSERT = "INSERT INTO knowledge_keys (project, wrapped, made_at) VALUES ($1, $2, $3) ON CONFLICT (project) DO NOTHING";
    GET = "SELECT wrapped FROM knowledge_keys WHERE project = $1";
    DESTROY = "UPDATE knowledge_keys SET wrapped = $2, destroyed_at = $3 WHERE project = $1 AND destroyed_at IS NULL";
}

/// What there is of a project's data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataKeyRow {
    Missing,
    Wrapped(Vec<u8>),
    Destroyed,
}

fn key(rows: &[crate::database::Row]) -> Result<DataKeyRow, StoreError> {
    let Some(row) = rows.first() else { return Ok(DataKeyRow::Missing) };
    let wrapped = row.columns().bytes()?;
    Ok(if wrapped.is_empty() { DataKeyRow::Destroyed } else { DataKeyRow::Wrapped(wrapped) })
}

impl Store {
    pub async fn knowledge_key(&self, project: ProjectId) -> Result<DataKeyRow, StoreError> {
        key(&self.database.rows(GET, values![project]).await?)
    }

    /// Stores a key for a project that has none; answers which one it has then. Of two who make one at once, one's is kept.
    pub async fn knowledge_key_make(
        &self,
        project: ProjectId,
        wrapped: Vec<u8>,
        now: UnixMillis,
    ) -> Result<DataKeyRow, StoreError> {
        let mut session = self.database.write().await?;
        let made = session.run(INSERT, values![project, wrapped, now]).await;
        made.map_err(|error| error.meaning("this project's key", "this project"))?;
        let found = key(&session.rows(GET, values![project]).await?)?;
        session.commit().await?;
        Ok(found)
    }

    /// Overwrites a project's key. A project that never had one is marked, so that it gets none later.
    pub async fn knowledge_key_destroy(&self, project: ProjectId, now: UnixMillis) -> Result<(), StoreError> {
        let mut session = self.database.write().await?;
        let made = session.run(INSERT, values![project, Vec::new(), now]).await;
        made.map_err(|error| error.meaning("this project's key", "this project"))?;
        session.run(DESTROY, values![project, Vec::new(), now]).await?;
        session.commit().await?;
        self.database.fold().await
    }
}
