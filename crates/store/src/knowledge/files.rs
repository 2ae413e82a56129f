//! Files that a project uploaded, whole.

use super::{collections, lock, lock_open};
use crate::database::{Columns, int, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{CollectionId, FileId, ProjectId, UnixMillis};

statements! {
    INSERT = "INSERT INTO knowledge_files (id, project, created_at, bytes, sealed, content) VALUES ($1, $2, $3, $4, $5, $6)";
    LIST = "SELECT id, created_at, bytes, sealed FROM knowledge_files WHERE project = $1 ORDER BY id";
    ONE = "SELECT id, created_at, bytes, sealed FROM knowledge_files WHERE project = $1 AND id = $2";
    CONTENT = "SELECT content FROM knowledge_files WHERE project = $1 AND id = $2";
    HELD = "SELECT COUNT(*), CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM knowledge_files WHERE project = $1";
    IN_COLLECTIONS = "SELECT collection FROM knowledge_attachments WHERE project = $1 AND file = $2";
    DELETE_PASSAGES = "DELETE FROM knowledge_passages WHERE project = $1 AND file = $2 AND collection = $3";
    DELETE_ATTACHMENTS = "DELETE FROM knowledge_attachments WHERE project = $1 AND file = $2";
    DELETE = "DELETE FROM knowledge_files WHERE project = $1 AND id = $2";
}

/// A file as it is stored, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    pub id: FileId,
    pub created_at: UnixMillis,
    /// Of the content as it was uploaded.
    pub bytes: u64,
    pub sealed: Vec<u8>,
}

fn file(mut c: Columns<'_>) -> Result<FileRow, StoreError> {
    Ok(FileRow { id: c.parsed()?, created_at: UnixMillis(c.int()?), bytes: c.count()?, sealed: c.bytes()? })
}

pub(crate) const WHAT: &str = "this file";

/// What a project may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRoom {
    pub files_max: u64,
    /// Of all files together.
    pub bytes_max: u64,
}

/// What became of a file that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileStored {
    Stored,
    TooManyFiles,
    TooManyBytes,
}

fn held(rows: &[crate::database::Row]) -> Result<(u64, u64), StoreError> {
    let Some(row) = rows.first() else { return Ok((0, 0)) };
    let mut c = row.columns();
    Ok((c.count()?, c.count()?))
}

impl Store {
    pub async fn knowledge_file_create(
        &self,
        project: ProjectId,
        row: &FileRow,
        content: Vec<u8>,
        room: FileRoom,
    ) -> Result<FileStored, StoreError> {
        let bytes = int(row.bytes, "the size of a file")?;
        let (_place, mut session) = self.write_in_project().await?;
        lock_open(&mut session, project).await?;
        let (files, held) = held(&session.rows(HELD, values![project]).await?)?;
        if files >= room.files_max {
            return Ok(FileStored::TooManyFiles);
        }
        if held.saturating_add(row.bytes) > room.bytes_max {
            return Ok(FileStored::TooManyBytes);
        }
        let values = values![row.id, project, row.created_at, bytes, row.sealed.clone(), content];
        let made = session.run(INSERT, values).await;
        made.map_err(|error| error.meaning("a file of this id", "this project"))?;
        session.commit().await?;
        Ok(FileStored::Stored)
    }

    pub async fn knowledge_files(&self, project: ProjectId) -> Result<Vec<FileRow>, StoreError> {
        let rows = self.database.rows(LIST, values![project]).await?;
        rows.iter().map(|row| file(row.columns())).collect()
    }

    pub async fn knowledge_file(&self, project: ProjectId, id: FileId) -> Result<Option<FileRow>, StoreError> {
        let rows = self.database.rows(ONE, values![project, id]).await?;
        rows.first().map(|row| file(row.columns())).transpose()
    }

    pub async fn knowledge_file_content(&self, project: ProjectId, id: FileId) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.database.rows(CONTENT, values![project, id]).await?;
        rows.first().map(|row| row.columns().bytes()).transpose()
    }

    /// How many files a project has, and how many bytes they are together.
    pub async fn knowledge_files_held(&self, project: ProjectId) -> Result<(u64, u64), StoreError> {
        held(&self.database.rows(HELD, values![project]).await?)
    }

    /// Deletes a file and its passages in all collections.
    pub async fn knowledge_file_delete(&self, project: ProjectId, id: FileId) -> Result<(), StoreError> {
        let (_place, mut session) = self.write_in_project().await?;
        lock(&mut session, project).await?;
        for row in session.rows(IN_COLLECTIONS, values![project, id]).await? {
            let collection: CollectionId = row.columns().parsed()?;
            session.run(DELETE_PASSAGES, values![project, id, collection]).await?;
            session.run(collections::MOVE, values![project, collection]).await?;
        }
        session.run(DELETE_ATTACHMENTS, values![project, id]).await?;
        if session.run(DELETE, values![project, id]).await? == 0 {
            return Err(StoreError::NotFound { what: WHAT });
        }
        session.commit().await?;
        self.database.fold().await
    }
}
