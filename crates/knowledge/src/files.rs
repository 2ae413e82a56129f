//! Files as they were uploaded: kept whole and sealed, read when they are attached to a collection.

use crate::collections::NAME_CHARS_MAX;
use crate::{DataKey, Inner, Knowledge, KnowledgeError};
use serde::{Deserialize, Serialize};
use store::{FileRoom, FileRow, FileStored};
use types::{FileId, ProjectId, UnixMillis};

/// What is said of a file when it is uploaded; nothing is decided by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFile {
    pub name: String,
    /// As the client declares it. What the file is, its bytes say.
    #[serde(default)]
    pub content_type: Option<String>,
    /// OpenAI's word: `assistants`, `user_data`.
    pub purpose: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub id: FileId,
    pub name: String,
    pub content_type: Option<String>,
    pub purpose: String,
    pub bytes: u64,
    pub created_at: UnixMillis,
}

const WHAT: &str = "this file";

fn sealed_name(id: FileId) -> String {
    format!("file/{id}")
}

fn content_name(id: FileId) -> String {
    format!("file/{id}/content")
}

fn file(row: FileRow, key: &DataKey) -> Result<File, KnowledgeError> {
    let told: NewFile = key.open_json(WHAT, &sealed_name(row.id), &row.sealed)?;
    Ok(File {
        id: row.id,
        name: told.name,
        content_type: told.content_type,
        purpose: told.purpose,
        bytes: row.bytes,
        created_at: row.created_at,
    })
}

impl Knowledge {
    /// Whether a file of this length would be taken: to be asked with the declared length, before anything is read.
    pub fn file_fits(&self, bytes: u64) -> Result<(), KnowledgeError> {
        let limit = self.inner.limits.file_bytes_max;
        if bytes > limit { Err(KnowledgeError::TooLarge { what: "this file", limit }) } else { Ok(()) }
    }

    /// Stores a file. What it is is found out when it is attached.
    pub async fn file_put(&self, project: ProjectId, new: NewFile, bytes: &[u8]) -> Result<File, KnowledgeError> {
        self.file_fits(bytes.len() as u64)?;
        if new.name.chars().count() > NAME_CHARS_MAX || new.name.is_empty() {
            return Err(KnowledgeError::Invalid(format!("a file's name has 1 to {NAME_CHARS_MAX} characters")));
        }
        let it = &self.inner;
        let room = FileRoom { files_max: it.limits.project_files_max, bytes_max: it.limits.project_bytes_max };
        let key = it.vault.key_or_new(project).await?;
        let now = it.now();
        let id = FileId::from_parts(now, it.random());
        let row =
            FileRow { id, created_at: now, bytes: bytes.len() as u64, sealed: key.seal_json(&sealed_name(id), &new) };
        match it.store.knowledge_file_create(project, &row, key.seal(&content_name(id), bytes), room).await? {
            FileStored::Stored => file(row, &key),
            FileStored::TooManyFiles => Err(KnowledgeError::TooMany { what: "files", limit: room.files_max }),
            FileStored::TooManyBytes => {
                Err(KnowledgeError::TooMany { what: "bytes in this project's files", limit: room.bytes_max })
            }
        }
    }

    /// All of a project's, oldest first.
    pub async fn files(&self, project: ProjectId) -> Result<Vec<File>, KnowledgeError> {
        let Some(key) = self.inner.vault.key(project).await? else { return Ok(Vec::new()) };
        let rows = self.inner.store.knowledge_files(project).await?;
        rows.into_iter().map(|row| file(row, &key)).collect()
    }

    pub async fn file(&self, project: ProjectId, id: FileId) -> Result<File, KnowledgeError> {
        Ok(self.inner.file(project, id).await?.0)
    }

    /// The bytes as they were uploaded.
    pub async fn file_content(&self, project: ProjectId, id: FileId) -> Result<Vec<u8>, KnowledgeError> {
        let key = self.inner.vault.key(project).await?;
        self.inner.file_content(project, id, key.as_ref()).await
    }

    /// Deletes a file, and its passages wherever it is attached. Works without the project's key, too.
    pub async fn file_delete(&self, project: ProjectId, id: FileId) -> Result<(), KnowledgeError> {
        self.inner.store.knowledge_file_delete(project, id).await?;
        // Its words are in indexes of collections that it was in; they are made anew when asked.
        self.inner.shelf.forget(project);
        Ok(())
    }
}

impl Inner {
    pub(crate) async fn file(&self, project: ProjectId, id: FileId) -> Result<(File, DataKey), KnowledgeError> {
        let key = self.vault.key(project).await?;
        match (self.store.knowledge_file(project, id).await?, key) {
            (Some(row), Some(key)) => Ok((file(row, &key)?, key)),
            _ => Err(KnowledgeError::NotFound { what: WHAT }),
        }
    }

    pub(crate) async fn file_content(
        &self,
        project: ProjectId,
        id: FileId,
        key: Option<&DataKey>,
    ) -> Result<Vec<u8>, KnowledgeError> {
        match (self.store.knowledge_file_content(project, id).await?, key) {
            (Some(sealed), Some(key)) => key.open(WHAT, &content_name(id), &sealed),
            _ => Err(KnowledgeError::NotFound { what: WHAT }),
        }
    }
}
