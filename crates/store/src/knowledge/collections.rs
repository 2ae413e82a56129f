//! Collections of one project.

use super::{lock, lock_open};
use crate::database::{Columns, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{CollectionId, ProjectId, UnixMillis};

macro_rules! select {
    () => {
        "SELECT id, created_at, last_active_at, expires_at, version, sealed,
         (SELECT COUNT(*) FROM knowledge_attachments AS a WHERE a.collection = c.id AND a.status = 'processing'),
         (SELECT COUNT(*) FROM knowledge_attachments AS a WHERE a.collection = c.id AND a.status = 'completed'),
         (SELECT COUNT(*) FROM knowledge_attachments AS a WHERE a.collection = c.id AND a.status = 'failed'),
         (SELECT CAST(COALESCE(SUM(a.passages), 0) AS BIGINT) FROM knowledge_attachments AS a WHERE a.collection = c.id),
         (SELECT CAST(COALESCE(SUM(a.bytes), 0) AS BIGINT) FROM knowledge_attachments AS a WHERE a.collection = c.id)
         FROM knowledge_collections AS c "
    };
}

statements! {
    INSERT = "INSERT INTO knowledge_collections (id, project, created_at, last_active_at, expires_at, version, sealed)
              VALUES ($1, $2, $3, $4, $5, 0, $6)";
    /// One whose time is over is as good as deleted.
    ONE = concat!(select!(), "WHERE c.project = $1 AND c.id = $2 AND (c.expires_at IS NULL OR c.expires_at > $3)");
    LIST = concat!(select!(), "WHERE c.project = $1 AND (c.expires_at IS NULL OR c.expires_at > $2) ORDER BY c.id");
    COUNT = "SELECT COUNT(*) FROM knowledge_collections WHERE project = $1";
    UPDATE = "UPDATE knowledge_collections SET sealed = $3, last_active_at = $4, expires_at = $5
              WHERE project = $1 AND id = $2";
    TOUCH = "UPDATE knowledge_collections SET last_active_at = $3, expires_at = $4 WHERE project = $1 AND id = $2";
    MOVE = "UPDATE knowledge_collections SET version = version + 1 WHERE project = $1 AND id = $2";
    DELETE_PASSAGES = "DELETE FROM knowledge_passages WHERE project = $1 AND collection = $2";
    DELETE_ATTACHMENTS = "DELETE FROM knowledge_attachments WHERE project = $1 AND collection = $2";
    DELETE = "DELETE FROM knowledge_collections WHERE project = $1 AND id = $2";
    /// For sweeping, of all projects.
    EXPIRED = "SELECT project, id FROM knowledge_collections WHERE expires_at <= $1 ORDER BY expires_at LIMIT 100";
}

/// A collection as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionRow {
    pub id: CollectionId,
    pub created_at: UnixMillis,
    pub last_active_at: UnixMillis,
    pub expires_at: Option<UnixMillis>,
    /// Moves with each change of its passages.
    pub version: u64,
    pub sealed: Vec<u8>,
    /// Files in it, by state.
    pub processing: u64,
    pub completed: u64,
    pub failed: u64,
    pub passages: u64,
    /// Bytes of its passages' text.
    pub bytes: u64,
}

fn collection(mut c: Columns<'_>) -> Result<CollectionRow, StoreError> {
    Ok(CollectionRow {
        id: c.parsed()?,
        created_at: UnixMillis(c.int()?),
        last_active_at: UnixMillis(c.int()?),
        expires_at: c.time_opt()?,
        version: c.count()?,
        sealed: c.bytes()?,
        processing: c.count()?,
        completed: c.count()?,
        failed: c.count()?,
        passages: c.count()?,
        bytes: c.count()?,
    })
}

pub(crate) const WHAT: &str = "this collection";

impl Store {
    /// False: the project has `max` already, those whose time is over among them.
    pub async fn knowledge_collection_create(
        &self,
        project: ProjectId,
        id: CollectionId,
        (now, expires_at): (UnixMillis, Option<UnixMillis>),
        sealed: Vec<u8>,
        max: u64,
    ) -> Result<bool, StoreError> {
        let (_place, mut session) = self.write_in_project().await?;
        lock_open(&mut session, project).await?;
        if session.number(COUNT, values![project]).await? >= max {
            return Ok(false);
        }
        let made = session.run(INSERT, values![id, project, now, now, expires_at, sealed]).await;
        made.map_err(|error| error.meaning("a collection of this id", "this project"))?;
        session.commit().await?;
        Ok(true)
    }

    pub async fn knowledge_collections(
        &self,
        project: ProjectId,
        now: UnixMillis,
    ) -> Result<Vec<CollectionRow>, StoreError> {
        let rows = self.database.rows(LIST, values![project, now]).await?;
        rows.iter().map(|row| collection(row.columns())).collect()
    }

    pub async fn knowledge_collection(
        &self,
        project: ProjectId,
        id: CollectionId,
        now: UnixMillis,
    ) -> Result<Option<CollectionRow>, StoreError> {
        let rows = self.database.rows(ONE, values![project, id, now]).await?;
        rows.first().map(|row| collection(row.columns())).transpose()
    }

    /// How many a project has, those whose time is over among them.
    pub async fn knowledge_collections_count(&self, project: ProjectId) -> Result<u64, StoreError> {
        let rows = self.database.rows(COUNT, values![project]).await?;
        rows.first().map_or(Ok(0), |row| row.columns().count())
    }

    pub async fn knowledge_collection_update(
        &self,
        project: ProjectId,
        id: CollectionId,
        sealed: Vec<u8>,
        active_at: UnixMillis,
        expires_at: Option<UnixMillis>,
    ) -> Result<(), StoreError> {
        let mut session = self.database.write().await?;
        match session.run(UPDATE, values![project, id, sealed, active_at, expires_at]).await? {
            0 => Err(StoreError::NotFound { what: WHAT }),
            _ => session.commit().await,
        }
    }

    /// It was used: its time runs anew.
    pub async fn knowledge_collection_touch(
        &self,
        project: ProjectId,
        id: CollectionId,
        active_at: UnixMillis,
        expires_at: Option<UnixMillis>,
    ) -> Result<(), StoreError> {
        let mut session = self.database.write().await?;
        session.run(TOUCH, values![project, id, active_at, expires_at]).await?;
        session.commit().await
    }

    /// Deletes a collection with its passages; the files stay.
    pub async fn knowledge_collection_delete(&self, project: ProjectId, id: CollectionId) -> Result<(), StoreError> {
        let (_place, mut session) = self.write_in_project().await?;
        lock(&mut session, project).await?;
        for sql in [DELETE_PASSAGES, DELETE_ATTACHMENTS] {
            session.run(sql, values![project, id]).await?;
        }
        if session.run(DELETE, values![project, id]).await? == 0 {
            return Err(StoreError::NotFound { what: WHAT });
        }
        session.commit().await?;
        self.database.fold().await
    }

    /// Collections whose time is over, a hundred at most.
    pub async fn knowledge_collections_expired(
        &self,
        now: UnixMillis,
    ) -> Result<Vec<(ProjectId, CollectionId)>, StoreError> {
        let rows = self.database.rows(EXPIRED, values![now]).await?;
        let pair = |row: &crate::database::Row| {
            let mut c = row.columns();
            Ok((c.parsed()?, c.parsed()?))
        };
        rows.iter().map(pair).collect()
    }
}
