//! A file becomes part of a collection: read in the child, cut, given vectors, sealed, stored. `processing` until all of that is
//! done, then its passages and `completed` are one transaction; what cannot be read is `failed` and says why.
//!
//! Asked again, a completed file stays as it is, and a failed one is tried again; one that is being read is told of. A completed
//! one that has no vectors is read once more by whoever brings an embedding endpoint, and is found by its words until then.
//!
//! If we crash here, the file is found `processing`: the next start, or the next call for it, reads it again.

use crate::collections::check_metadata;
use crate::embed::{self, Embed};
use crate::read::Document;
use crate::{DataKey, Finding, Inner, Knowledge, KnowledgeError, passages};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::{AttachedAs, AttachmentRow, NewPassage, ReadFile, ReadStored};
use types::{CollectionId, FileId, KeyId, ProjectId, UnixMillis};

const WHAT: &str = "this file in this collection";
const TEXT_CHARS_MAX: usize = 2_048;

/// What the one who attaches says of a document. What is not said is found in the document, where it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// Where people find it.
    pub url: Option<String>,
    pub title: Option<String>,
    /// `YYYY-MM-DD`.
    pub date: Option<String>,
    /// When it was last changed, `YYYY-MM-DD`.
    pub updated: Option<String>,
    /// ISO 639-1.
    pub language: Option<String>,
    pub metadata: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    Processing,
    Completed,
    /// `code` is one of [`Finding`]'s, or `embedding_failed`; the message says what to do.
    Failed {
        code: String,
        message: String,
    },
}

/// A file in a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub collection: CollectionId,
    pub file: FileId,
    pub status: Status,
    pub attached_at: UnixMillis,
    pub passages: u64,
    /// Bytes of its passages' text.
    pub bytes: u64,
    pub attributes: Attributes,
}

/// A file whose reading a crash cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    pub project: ProjectId,
    pub collection: CollectionId,
    pub file: FileId,
    /// On whose key its vectors were to be made, if that was said.
    pub on_key: Option<KeyId>,
}

/// A passage as it is sealed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SealedPassage {
    pub(crate) text: String,
    pub(crate) start: u32,
    pub(crate) page: Option<u32>,
    /// Of this passage, where its words tell.
    pub(crate) language: Option<String>,
}

pub(crate) fn passage_name(collection: CollectionId, file: FileId, number: u32) -> String {
    format!("passage/{collection}/{file}/{number}")
}

pub(crate) fn vector_name(collection: CollectionId, file: FileId, number: u32) -> String {
    format!("vector/{collection}/{file}/{number}")
}

fn attributes_name(collection: CollectionId, file: FileId) -> String {
    format!("attached/{collection}/{file}")
}

pub(crate) fn open_attributes(row: &AttachmentRow, key: &DataKey) -> Result<Attributes, KnowledgeError> {
    key.open_json(WHAT, &attributes_name(row.collection, row.file), &row.sealed)
}

fn attached(row: AttachmentRow, key: &DataKey) -> Result<Attached, KnowledgeError> {
    let attributes = open_attributes(&row, key)?;
    let status = match row.status {
        AttachedAs::Processing => Status::Processing,
        AttachedAs::Completed => Status::Completed,
        AttachedAs::Failed { code, message } => Status::Failed { code, message },
    };
    Ok(Attached {
        collection: row.collection,
        file: row.file,
        status,
        attached_at: row.attached_at,
        passages: row.passages,
        bytes: row.bytes,
        attributes,
    })
}

impl Attributes {
    fn check(&self) -> Result<(), KnowledgeError> {
        let invalid = |why: String| Err(KnowledgeError::Invalid(why));
        for text in [&self.url, &self.title].into_iter().flatten() {
            if text.chars().count() > TEXT_CHARS_MAX {
                return invalid(format!("url and title have at most {TEXT_CHARS_MAX} characters"));
            }
        }
        for date in [&self.date, &self.updated].into_iter().flatten() {
            if !crate::find::filters::is_date(date) {
                return invalid("a date is written YYYY-MM-DD".to_owned());
            }
        }
        if self.language.as_ref().is_some_and(|it| it.len() != 2 || !it.bytes().all(|b| b.is_ascii_lowercase())) {
            return invalid("a language is two small letters, as de or en".to_owned());
        }
        check_metadata(&self.metadata)
    }
}

/// Says that this process reads a file, until it is dropped.
struct Reading<'k> {
    inner: &'k Inner,
    of: (CollectionId, FileId),
}

impl<'k> Reading<'k> {
    fn begin(inner: &'k Inner, of: (CollectionId, FileId)) -> Option<Reading<'k>> {
        let first = inner.reading().insert(of);
        if first { Some(Reading { inner, of }) } else { None }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.inner.reading().remove(&self.of);
    }
}

impl Knowledge {
    /// Reads a file into a collection. The answer says how far it is: `completed`, or `failed` and why; `processing` where another
    /// call is reading it.
    pub async fn attach(
        &self,
        project: ProjectId,
        collection: CollectionId,
        file: FileId,
        attributes: Attributes,
        embed: Option<Embed<'_>>,
    ) -> Result<Attached, KnowledgeError> {
        self.attach_on(project, (collection, file), attributes, embed, None).await
    }

    /// The same, and remembers on whose key vectors are made: a start after a crash makes them on it, too.
    pub async fn attach_on(
        &self,
        project: ProjectId,
        (collection, file): (CollectionId, FileId),
        attributes: Attributes,
        embed: Option<Embed<'_>>,
        on_key: Option<KeyId>,
    ) -> Result<Attached, KnowledgeError> {
        attributes.check()?;
        let it = &self.inner;
        let (row, _) = it.collection(project, collection).await?;
        let (told, key) = it.file(project, file).await?;
        let of = (collection, file);
        let Some(_reading) = Reading::begin(it, of) else {
            return self.attached(project, collection, file).await;
        };
        let sealed = key.seal_json(&attributes_name(collection, file), &attributes);
        let known = it.store.knowledge_attach(project, of, (it.now(), on_key), sealed).await?;
        let own = known.as_ref().map_or(0, |known| known.passages);
        let done = known.filter(|known| known.status == AttachedAs::Completed);
        let again = done.is_some();
        let attributes = match done {
            None => attributes,
            Some(done) if embed.is_none() || it.store.knowledge_without_vector(project, of).await? == 0 => {
                return attached(done, &key);
            }
            // What was said first holds.
            Some(done) => open_attributes(&done, &key)?,
        };
        let most = it.limits.collection_passages_max;
        let room = most.saturating_sub(row.passages.saturating_sub(own));
        let made = it.passages_of(project, of, &key, &told.name, attributes, room, embed).await;
        let full = Err(Failure::Document(Finding::CollectionFull));
        let stored = match made {
            Ok(Made { bytes, passages, attributes }) => {
                let sealed = key.seal_json(&attributes_name(collection, file), &attributes);
                let read = ReadFile { bytes, sealed, passages, again };
                match it.store.knowledge_complete(project, of, read, most).await? {
                    ReadStored::Stored | ReadStored::Late => Ok(()),
                    ReadStored::Full => full,
                }
            }
            Err(failure) => Err(failure),
        };
        match stored {
            Ok(()) => {}
            // It stays as it was.
            Err(Failure::Document(_)) if again => {}
            Err(Failure::Ours(error)) if again => return Err(error),
            Err(Failure::Document(finding)) => {
                it.store.knowledge_fail(project, of, finding.code(), &finding.to_string()).await?;
            }
            Err(Failure::Ours(KnowledgeError::Embed(error))) => {
                // An engine's own words may quote the passage that it refused, and this lies in clear.
                let why = format!("the embedding endpoint: {}; attach the file again", error.code.as_str());
                it.store.knowledge_fail(project, of, "embedding_failed", &why).await?;
            }
            Err(Failure::Ours(error)) => return Err(error),
        }
        it.used(project, &row, &key).await?;
        self.attached(project, collection, file).await
    }

    pub async fn attached(
        &self,
        project: ProjectId,
        collection: CollectionId,
        file: FileId,
    ) -> Result<Attached, KnowledgeError> {
        let (_, key) = self.inner.collection(project, collection).await?;
        let row = self.inner.store.knowledge_attachment(project, collection, file).await?;
        attached(row.ok_or(KnowledgeError::NotFound { what: WHAT })?, &key)
    }

    /// All files of a collection.
    pub async fn attached_all(
        &self,
        project: ProjectId,
        collection: CollectionId,
    ) -> Result<Vec<Attached>, KnowledgeError> {
        let (_, key) = self.inner.collection(project, collection).await?;
        let rows = self.inner.store.knowledge_attachments(project, collection).await?;
        rows.into_iter().map(|row| attached(row, &key)).collect()
    }

    /// Takes a file out of a collection; the file stays. Works without the project's key, too.
    pub async fn detach(
        &self,
        project: ProjectId,
        collection: CollectionId,
        file: FileId,
    ) -> Result<(), KnowledgeError> {
        self.inner.store.knowledge_detach(project, collection, file).await?;
        self.inner.shelf().drop_collection(collection);
        Ok(())
    }

    /// Files whose reading a crash cut off, of all projects: each is to be given to [`Knowledge::resume`] at a start.
    pub async fn unfinished(&self) -> Result<Vec<Unfinished>, KnowledgeError> {
        let found = self.inner.store.knowledge_unfinished().await?;
        let of = |(project, collection, file, on_key)| Unfinished { project, collection, file, on_key };
        Ok(found.into_iter().map(of).collect())
    }

    /// Reads a file again, with what was said of it.
    pub async fn resume(&self, it: Unfinished, embed: Option<Embed<'_>>) -> Result<Attached, KnowledgeError> {
        let known = self.attached(it.project, it.collection, it.file).await?;
        self.attach_on(it.project, (it.collection, it.file), known.attributes, embed, it.on_key).await
    }
}

struct Made {
    bytes: u64,
    passages: Vec<NewPassage>,
    attributes: Attributes,
}

/// Why there are no passages: what is wrong with the document is its state, everything else is the call's error.
enum Failure {
    Document(Finding),
    Ours(KnowledgeError),
}

impl From<KnowledgeError> for Failure {
    fn from(error: KnowledgeError) -> Self {
        Failure::Ours(error)
    }
}

impl Inner {
    #[expect(
        clippy::too_many_arguments,
        reason = "one call, from file to sealed passages; a struct would be used once"
    )]
    async fn passages_of(
        &self,
        project: ProjectId,
        (collection, file): (CollectionId, FileId),
        key: &DataKey,
        name: &str,
        attributes: Attributes,
        room: u64,
        embed: Option<Embed<'_>>,
    ) -> Result<Made, Failure> {
        let content = self.file_content(project, file, Some(key)).await?;
        let document = self.reader.read(content).await.map_err(KnowledgeError::Reader)?.map_err(Failure::Document)?;
        let Document { title, text, pages, .. } = document;
        let pieces = passages::pieces(&text);
        if pieces.is_empty() {
            return Err(Failure::Document(Finding::NoText));
        }
        if pieces.len() as u64 > room {
            return Err(Failure::Document(Finding::CollectionFull));
        }
        let language = attributes.language.clone().or_else(|| crate::find::language::of(&text).map(str::to_owned));
        let vectors = match embed {
            Some(embed) => {
                let texts: Vec<&str> = pieces.iter().map(|piece| piece.text.as_str()).collect();
                embed::vectors(embed, &texts).await?
            }
            None => Vec::new(),
        };
        let bytes = pieces.iter().map(|piece| piece.text.len() as u64).sum();
        let seal = |(number, piece): (u32, passages::Piece)| {
            let vector = vectors.get(number as usize);
            let sealed = SealedPassage {
                page: page_of(&pages, piece.start),
                language: crate::find::language::of(&piece.text).map(str::to_owned).or_else(|| language.clone()),
                start: piece.start,
                text: piece.text,
            };
            NewPassage {
                number,
                sealed: key.seal_json(&passage_name(collection, file, number), &sealed),
                vector: vector.map_or_else(Vec::new, |vector| {
                    key.seal(&vector_name(collection, file, number), &embed::to_bytes(vector))
                }),
            }
        };
        let passages = (0..).zip(pieces).map(seal).collect();
        let title = attributes.title.clone().or(title).unwrap_or_else(|| name.to_owned());
        Ok(Made { bytes, passages, attributes: Attributes { title: Some(title), language, ..attributes } })
    }
}

/// The page that a place is on: pages are given by where they begin.
fn page_of(pages: &[u32], start: u32) -> Option<u32> {
    let before = pages.partition_point(|begin| *begin <= start);
    (!pages.is_empty()).then(|| u32::try_from(before.max(1)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::page_of;

    #[test]
    fn pages() {
        let check = |pages: &[u32], start, expect| assert_eq!(page_of(pages, start), expect, "{pages:?} {start}");
        check(&[], 5, None);
        check(&[0, 100, 100, 250], 0, Some(1));
        check(&[0, 100, 100, 250], 99, Some(1));
        check(&[0, 100, 100, 250], 100, Some(3));
        check(&[0, 100, 100, 250], 900, Some(4));
        check(&[3], 0, Some(1));
    }
}
