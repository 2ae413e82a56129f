//! Collections of a project: made, listed, changed, deleted, and those whose time is over swept away.

use crate::find::shelf::Shelf;
use crate::{DataKey, Inner, Knowledge, KnowledgeError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::CollectionRow;
use types::{CollectionId, ProjectId, UnixMillis};

const DAY_MS: i64 = 86_400_000;

/// How often its use is written down: an expiry is in days, so an hour is exact enough, and a question is a read.
const TOUCH_EVERY_MS: i64 = 3_600_000;

/// As OpenAI's: pairs of metadata, and characters of a key and of a value.
pub(crate) const METADATA_PAIRS_MAX: usize = 16;
pub(crate) const METADATA_KEY_CHARS_MAX: usize = 64;
pub(crate) const METADATA_VALUE_CHARS_MAX: usize = 512;
pub(crate) const NAME_CHARS_MAX: usize = 512;
const EXPIRES_DAYS_MAX: u32 = 3_650;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewCollection {
    pub name: String,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// It goes so many days after its last use. None: never.
    #[serde(default)]
    pub expires_after_days: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    pub id: CollectionId,
    pub name: String,
    pub metadata: BTreeMap<String, String>,
    pub expires_after_days: Option<u32>,
    pub created_at: UnixMillis,
    pub last_active_at: UnixMillis,
    pub expires_at: Option<UnixMillis>,
    /// Files in it, by state.
    pub processing: u64,
    pub completed: u64,
    pub failed: u64,
    pub passages: u64,
    /// Bytes of its passages' text.
    pub bytes: u64,
}

pub(crate) fn sealed_name(id: CollectionId) -> String {
    format!("collection/{id}")
}

pub(crate) fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), KnowledgeError> {
    let long = |(key, value): (&String, &String)| {
        key.is_empty()
            || key.chars().count() > METADATA_KEY_CHARS_MAX
            || value.chars().count() > METADATA_VALUE_CHARS_MAX
    };
    if metadata.len() > METADATA_PAIRS_MAX || metadata.iter().any(long) {
        return Err(KnowledgeError::Invalid(format!(
            "metadata is at most {METADATA_PAIRS_MAX} pairs, a key of at most {METADATA_KEY_CHARS_MAX} characters and a value of at \
             most {METADATA_VALUE_CHARS_MAX}"
        )));
    }
    Ok(())
}

impl NewCollection {
    fn check(&self) -> Result<(), KnowledgeError> {
        if self.name.chars().count() > NAME_CHARS_MAX {
            return Err(KnowledgeError::Invalid(format!("a name has at most {NAME_CHARS_MAX} characters")));
        }
        if self.expires_after_days.is_some_and(|days| !(1..=EXPIRES_DAYS_MAX).contains(&days)) {
            return Err(KnowledgeError::Invalid(format!("a collection expires after 1 to {EXPIRES_DAYS_MAX} days")));
        }
        check_metadata(&self.metadata)
    }

    fn expires_at(&self, active: UnixMillis) -> Option<UnixMillis> {
        self.expires_after_days.map(|days| UnixMillis(active.0.saturating_add(i64::from(days) * DAY_MS)))
    }
}

fn collection(row: CollectionRow, key: &DataKey) -> Result<Collection, KnowledgeError> {
    let told: NewCollection = key.open_json("the collection", &sealed_name(row.id), &row.sealed)?;
    Ok(Collection {
        id: row.id,
        name: told.name,
        metadata: told.metadata,
        expires_after_days: told.expires_after_days,
        created_at: row.created_at,
        last_active_at: row.last_active_at,
        expires_at: row.expires_at,
        processing: row.processing,
        completed: row.completed,
        failed: row.failed,
        passages: row.passages,
        bytes: row.bytes,
    })
}

pub(crate) const WHAT: &str = "this collection";

impl Knowledge {
    pub async fn collection_create(
        &self,
        project: ProjectId,
        new: NewCollection,
    ) -> Result<Collection, KnowledgeError> {
        new.check()?;
        let it = &self.inner;
        let limit = it.limits.project_collections_max;
        let key = it.vault.key_or_new(project).await?;
        let now = it.now();
        let id = CollectionId::from_parts(now, it.random());
        let sealed = key.seal_json(&sealed_name(id), &new);
        if !it.store.knowledge_collection_create(project, id, (now, new.expires_at(now)), sealed, limit).await? {
            return Err(KnowledgeError::TooMany { what: "collections", limit });
        }
        self.collection(project, id).await
    }

    /// All of a project's, oldest first.
    pub async fn collections(&self, project: ProjectId) -> Result<Vec<Collection>, KnowledgeError> {
        let Some(key) = self.inner.vault.key(project).await? else { return Ok(Vec::new()) };
        let rows = self.inner.store.knowledge_collections(project, self.inner.now()).await?;
        rows.into_iter().map(|row| collection(row, &key)).collect()
    }

    pub async fn collection(&self, project: ProjectId, id: CollectionId) -> Result<Collection, KnowledgeError> {
        let (row, key) = self.inner.collection(project, id).await?;
        collection(row, &key)
    }

    /// Says name, metadata and expiry anew.
    pub async fn collection_update(
        &self,
        project: ProjectId,
        id: CollectionId,
        new: NewCollection,
    ) -> Result<Collection, KnowledgeError> {
        new.check()?;
        let it = &self.inner;
        let (_, key) = it.collection(project, id).await?;
        let (sealed, now) = (key.seal_json(&sealed_name(id), &new), it.now());
        it.store.knowledge_collection_update(project, id, sealed, now, new.expires_at(now)).await?;
        self.collection(project, id).await
    }

    /// Deletes a collection and its passages; the files stay. Works without the project's key, too.
    pub async fn collection_delete(&self, project: ProjectId, id: CollectionId) -> Result<(), KnowledgeError> {
        self.inner.store.knowledge_collection_delete(project, id).await?;
        self.inner.shelf.drop_collection(id);
        Ok(())
    }

    /// Deletes collections whose time is over, a hundred at most; answers how many. And forgets what is in memory of projects
    /// whose key another process destroyed. To be called now and then.
    pub async fn sweep(&self) -> Result<usize, KnowledgeError> {
        for project in self.inner.shelf.projects() {
            match self.inner.vault.key(project).await {
                // Whoever learns of it forgets.
                Ok(_) | Err(KnowledgeError::Destroyed) => {}
                Err(error) => return Err(error),
            }
        }
        let expired = self.inner.store.knowledge_collections_expired(self.inner.now()).await?;
        for (project, id) in &expired {
            match self.collection_delete(*project, *id).await {
                Ok(()) | Err(KnowledgeError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(expired.len())
    }
}

impl Inner {
    /// A collection of this project, and the key to it.
    pub(crate) async fn collection(
        &self,
        project: ProjectId,
        id: CollectionId,
    ) -> Result<(CollectionRow, DataKey), KnowledgeError> {
        let key = self.vault.key(project).await?;
        let row = self.store.knowledge_collection(project, id, self.now()).await?;
        match (row, key) {
            (Some(row), Some(key)) => Ok((row, key)),
            _ => Err(KnowledgeError::NotFound { what: WHAT }),
        }
    }

    /// Its time runs anew.
    pub(crate) async fn used(
        &self,
        project: ProjectId,
        row: &CollectionRow,
        key: &DataKey,
    ) -> Result<(), KnowledgeError> {
        let now = self.now();
        if row.expires_at.is_none() || now.0 - row.last_active_at.0 < TOUCH_EVERY_MS {
            return Ok(());
        }
        let told: NewCollection = key.open_json("the collection", &sealed_name(row.id), &row.sealed)?;
        Ok(self.store.knowledge_collection_touch(project, row.id, now, told.expires_at(now)).await?)
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.shelf
    }
}
