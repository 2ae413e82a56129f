//! Files in collections, and how far reading them has come. A file's passages and its `completed` are one transaction; what is
//! found `processing` at a start is read again.

use super::passages::{self, NewPassage};
use super::{collections, lock, lock_open};
use crate::database::{Columns, int, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{CollectionId, FileId, KeyId, ProjectId, UnixMillis};

macro_rules! select {
    () => {
        "SELECT collection, file, status, attached_at, passages, bytes, code, message, sealed FROM knowledge_attachments "
    };
}

statements! {
    /// Only of a collection and a file that are this project's.
    INSERT = "INSERT INTO knowledge_attachments (project, collection, file, status, attached_at, passages, bytes, sealed, on_key)
              SELECT c.project, c.id, f.id, 'processing', $4, 0, 0, $5, $6
              FROM knowledge_collections AS c CROSS JOIN knowledge_files AS f
              WHERE c.project = $1 AND c.id = $2 AND f.project = $1 AND f.id = $3";
    ONE = concat!(select!(), "WHERE project = $1 AND collection = $2 AND file = $3");
    LIST = concat!(select!(), "WHERE project = $1 AND collection = $2 ORDER BY file");
    RESTART = "UPDATE knowledge_attachments SET status = 'processing', attached_at = $4, sealed = $5, on_key = $6,
               code = NULL, message = NULL WHERE project = $1 AND collection = $2 AND file = $3";
    COMPLETE = "UPDATE knowledge_attachments SET status = 'completed', passages = $4, bytes = $5, sealed = $6,
                code = NULL, message = NULL WHERE project = $1 AND collection = $2 AND file = $3 AND status = $7";
    /// Of the other files.
    HELD = "SELECT CAST(COALESCE(SUM(passages), 0) AS BIGINT) FROM knowledge_attachments
            WHERE project = $1 AND collection = $2 AND file <> $3";
    FAIL = "UPDATE knowledge_attachments SET status = 'failed', passages = 0, bytes = 0, code = $4, message = $5
            WHERE project = $1 AND collection = $2 AND file = $3 AND status = 'processing'";
    RESEAL = "UPDATE knowledge_attachments SET sealed = $4 WHERE project = $1 AND collection = $2 AND file = $3";
    DELETE = "DELETE FROM knowledge_attachments WHERE project = $1 AND collection = $2 AND file = $3";
    /// For a start, of all projects.
    UNFINISHED = "SELECT a.project, a.collection, a.file, a.on_key FROM knowledge_attachments AS a
                  JOIN projects AS p ON p.id = a.project WHERE a.status = 'processing' AND p.closed_at IS NULL
                  ORDER BY a.attached_at LIMIT 1000";
}

/// How far a file has come in a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachedAs {
    Processing,
    Completed,
    /// Code and text say why; they hold no content.
    Failed {
        code: String,
        message: String,
    },
}

/// A file in a collection, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentRow {
    pub collection: CollectionId,
    pub file: FileId,
    pub status: AttachedAs,
    pub attached_at: UnixMillis,
    pub passages: u64,
    pub bytes: u64,
    pub sealed: Vec<u8>,
}

fn attachment(mut c: Columns<'_>) -> Result<AttachmentRow, StoreError> {
    let (collection, file, status) = (c.parsed()?, c.parsed()?, c.text()?);
    let (attached_at, passages, bytes) = (UnixMillis(c.int()?), c.count()?, c.count()?);
    let (code, message) = (c.text_opt()?.unwrap_or_default(), c.text_opt()?.unwrap_or_default());
    let status = match status.as_str() {
        "processing" => AttachedAs::Processing,
        "completed" => AttachedAs::Completed,
        "failed" => AttachedAs::Failed { code, message },
        _ => return Err(StoreError::Corrupt { what: "the state of a file".to_owned() }),
    };
    Ok(AttachmentRow { collection, file, status, attached_at, passages, bytes, sealed: c.bytes()? })
}

const WHAT: &str = "this file in this collection";

/// A file as it was read.
#[derive(Debug, Clone)]
pub struct ReadFile {
    /// Of the passages' text.
    pub bytes: u64,
    /// What is known of it now.
    pub sealed: Vec<u8>,
    pub passages: Vec<NewPassage>,
    /// It had been read before, and these passages take the place of those.
    pub again: bool,
}

/// What became of a file that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStored {
    Stored,
    /// It was detached meanwhile, or somebody else has read it; nothing is stored.
    Late,
    /// The collection has no room for so many passages; nothing is stored.
    Full,
}

/// A file whose reading was cut off, and on whose key its vectors were to be made.
pub type UnfinishedRow = (ProjectId, CollectionId, FileId, Option<KeyId>);

impl Store {
    /// Begins to read a file into a collection, also one that was begun or failed before. Answers what there was. `on_key` is on
    /// whose key its vectors are made.
    pub async fn knowledge_attach(
        &self,
        project: ProjectId,
        (collection, file): (CollectionId, FileId),
        (now, on_key): (UnixMillis, Option<KeyId>),
        sealed: Vec<u8>,
    ) -> Result<Option<AttachmentRow>, StoreError> {
        let (_place, mut session) = self.write_in_project().await?;
        lock_open(&mut session, project).await?;
        let known = session.rows(ONE, values![project, collection, file]).await?;
        let known = known.first().map(|row| attachment(row.columns())).transpose()?;
        match known.as_ref().map(|row| &row.status) {
            None => {
                let made = session.run(INSERT, values![project, collection, file, now, sealed, on_key]).await;
                if made.map_err(|error| error.meaning(WHAT, WHAT))? == 0 {
                    return Err(StoreError::NotFound { what: WHAT });
                }
            }
            Some(AttachedAs::Completed) => return Ok(known),
            Some(_) => {
                session.run(RESTART, values![project, collection, file, now, sealed, on_key]).await?;
            }
        }
        session.commit().await?;
        Ok(known)
    }

    pub async fn knowledge_attachment(
        &self,
        project: ProjectId,
        collection: CollectionId,
        file: FileId,
    ) -> Result<Option<AttachmentRow>, StoreError> {
        let rows = self.database.rows(ONE, values![project, collection, file]).await?;
        rows.first().map(|row| attachment(row.columns())).transpose()
    }

    pub async fn knowledge_attachments(
        &self,
        project: ProjectId,
        collection: CollectionId,
    ) -> Result<Vec<AttachmentRow>, StoreError> {
        let rows = self.database.rows(LIST, values![project, collection]).await?;
        rows.iter().map(|row| attachment(row.columns())).collect()
    }

    /// All passages of a file, how many bytes of text they are, what is known of it now, and that it is read: one transaction. A
    /// collection holds at most `passages_max`.
    pub async fn knowledge_complete(
        &self,
        project: ProjectId,
        (collection, file): (CollectionId, FileId),
        read: ReadFile,
        passages_max: u64,
    ) -> Result<ReadStored, StoreError> {
        let ReadFile { bytes, sealed, passages: found, again } = read;
        let (found_count, was) = (found.len() as u64, if again { "completed" } else { "processing" });
        let (count, bytes) = (int(found_count, "the number of passages")?, int(bytes, "the size of passages")?);
        let (_place, mut session) = self.write_in_project().await?;
        lock(&mut session, project).await?;
        let values = values![project, collection, file, count, bytes, sealed, was];
        if session.run(COMPLETE, values).await? == 0 {
            return Ok(ReadStored::Late);
        }
        let held = session.number(HELD, values![project, collection, file]).await?;
        if held.saturating_add(found_count) > passages_max {
            return Ok(ReadStored::Full);
        }
        session.run(passages::DELETE_OF, values![project, collection, file]).await?;
        for passage in found {
            let values = values![collection, file, passage.number, project, passage.sealed, passage.vector];
            session.run(passages::INSERT, values).await?;
        }
        session.run(collections::MOVE, values![project, collection]).await?;
        session.commit().await?;
        Ok(ReadStored::Stored)
    }

    /// A file cannot be read: why, in words without content. False: it was detached meanwhile.
    pub async fn knowledge_fail(
        &self,
        project: ProjectId,
        (collection, file): (CollectionId, FileId),
        code: &str,
        message: &str,
    ) -> Result<bool, StoreError> {
        let mut session = self.database.write().await?;
        let failed = session.run(FAIL, values![project, collection, file, code, message]).await? == 1;
        session.commit().await?;
        Ok(failed)
    }

    /// What was said about a file is said anew.
    pub async fn knowledge_attachment_update(
        &self,
        project: ProjectId,
        (collection, file): (CollectionId, FileId),
        sealed: Vec<u8>,
    ) -> Result<(), StoreError> {
        let (_place, mut session) = self.write_in_project().await?;
        lock(&mut session, project).await?;
        if session.run(RESEAL, values![project, collection, file, sealed]).await? == 0 {
            return Err(StoreError::NotFound { what: WHAT });
        }
        session.run(collections::MOVE, values![project, collection]).await?;
        session.commit().await
    }

    /// Takes a file's passages out of a collection; the file stays.
    pub async fn knowledge_detach(
        &self,
        project: ProjectId,
        collection: CollectionId,
        file: FileId,
    ) -> Result<(), StoreError> {
        let (_place, mut session) = self.write_in_project().await?;
        lock(&mut session, project).await?;
        session.run(passages::DELETE_OF, values![project, collection, file]).await?;
        if session.run(DELETE, values![project, collection, file]).await? == 0 {
            return Err(StoreError::NotFound { what: WHAT });
        }
        session.run(collections::MOVE, values![project, collection]).await?;
        session.commit().await?;
        self.database.fold().await
    }

    /// Files that were being read when a process ended, of all projects.
    pub async fn knowledge_unfinished(&self) -> Result<Vec<UnfinishedRow>, StoreError> {
        let rows = self.database.rows(UNFINISHED, values![]).await?;
        let of = |row: &crate::database::Row| {
            let mut c = row.columns();
            Ok((c.parsed()?, c.parsed()?, c.parsed()?, c.parsed_opt()?))
        };
        rows.iter().map(of).collect()
    }
}
