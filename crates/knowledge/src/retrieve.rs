//! Questions to passages. The project's collections are looked up, never named by the question; each hit is read from the store
//! under the project's id once more before it is answered.
//!
//! Over several collections, lists of words are merged by their scores, which are computed from each collection's own statistics:
//! near enough to rank by, not the same as one large collection. Cosines compare exactly.

use crate::attach::{SealedPassage, open_attributes, passage_name, vector_name};
use crate::embed::{self, Embed};
use crate::find::filters::Filters;
use crate::find::fuse::fuse;
use crate::find::index::{Index, Opened, Place};
use crate::{DataKey, Inner, Knowledge, KnowledgeError};
use std::sync::Arc;
use store::{AttachedAs, CollectionRow};
use types::{CollectionId, FileId, Passage, ProjectId};

/// Collections that one question may be asked of: each may have to be indexed first.
const COLLECTIONS_MAX: usize = 32;

/// A question's characters: some pages, as when a whole document asks for what is like it.
const QUESTION_CHARS_MAX: usize = 8_000;

/// Passages of one answer, as OpenAI's search has at most 50.
pub(crate) const TOP_MAX: usize = 50;

/// How deep each list is before they are made one: what stands beyond in both adds next to nothing (1 / (60 + 100)).
const CANDIDATES: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// By words alone.
    Bm25,
    /// By vectors alone.
    Embeddings,
    /// By both; where there is no embedding endpoint, or no vectors, by words.
    #[default]
    Hybrid,
}

#[derive(Debug, Clone, Default)]
pub struct Query {
    pub text: String,
    /// Empty: all of the project's.
    pub collections: Vec<CollectionId>,
    /// How many passages at most.
    pub top: usize,
    pub mode: Mode,
    pub filters: Filters,
}

/// A passage, and how well it fits. Scores compare within one answer: BM25's, cosines, or of a hybrid question the fused rank, 1
/// for the first of both lists.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub passage: Passage,
    pub score: f32,
}

impl Query {
    fn check(&self) -> Result<(), KnowledgeError> {
        let invalid = |why: String| Err(KnowledgeError::Invalid(why));
        if self.text.trim().is_empty() || self.text.chars().count() > QUESTION_CHARS_MAX {
            return invalid(format!("a question has 1 to {QUESTION_CHARS_MAX} characters"));
        }
        if !(1..=TOP_MAX).contains(&self.top) {
            return invalid(format!("between 1 and {TOP_MAX} passages can be asked for"));
        }
        if self.collections.len() > COLLECTIONS_MAX {
            return invalid(format!("at most {COLLECTIONS_MAX} collections can be asked at once"));
        }
        self.filters.check()
    }
}

impl Knowledge {
    /// The passages of this project that fit the question best, best first.
    pub async fn retrieve(
        &self,
        project: ProjectId,
        query: &Query,
        embed: Option<Embed<'_>>,
    ) -> Result<Vec<Found>, KnowledgeError> {
        query.check()?;
        if query.mode == Mode::Embeddings && embed.is_none() {
            return Err(KnowledgeError::Invalid("there is no embedding endpoint: ask by words".to_owned()));
        }
        let it = &self.inner;
        let (rows, Some(key)) = (it.asked(project, query).await?, it.vault.key(project).await?) else {
            return Ok(Vec::new());
        };
        let mut indexes = Vec::with_capacity(rows.len());
        for row in &rows {
            it.used(project, row, &key).await?;
            if let Some(index) = it.index(project, row).await? {
                indexes.push(index);
            }
        }
        let by_vector = query.mode != Mode::Bm25 && indexes.iter().any(|index| index.has_vectors());
        let vector = match embed {
            Some(embed) if by_vector => embed::vectors(embed, &[&query.text]).await?.pop(),
            _ => None,
        };
        let best = best(&indexes, query, vector.as_deref())?;
        let mut found = Vec::with_capacity(best.len());
        for (score, place) in best {
            if let Some(passage) = it.found(project, &indexes[place.index], place, &key).await? {
                found.push(Found { passage, score });
            }
        }
        // Destroyed while we looked: then nothing was found.
        it.vault.key(project).await?;
        Ok(found)
    }

    /// All passages of a file in a collection, in order.
    pub async fn passages(
        &self,
        project: ProjectId,
        collection: CollectionId,
        file: FileId,
    ) -> Result<Vec<Passage>, KnowledgeError> {
        let attached = self.attached(project, collection, file).await?;
        let (_, key) = self.inner.collection(project, collection).await?;
        let rows = self.inner.store.knowledge_passages(project, collection, file).await?;
        let open = |row: store::PassageRow| {
            let name = passage_name(collection, file, row.number);
            let sealed: SealedPassage = key.open_json("a passage", &name, &row.sealed)?;
            Ok(passage((collection, file, row.number), sealed, &attached.attributes))
        };
        rows.into_iter().map(open).collect()
    }
}

fn best(indexes: &[Arc<Index>], query: &Query, vector: Option<&[f32]>) -> Result<Vec<(f32, Place)>, KnowledgeError> {
    let (mut words, mut near) = (Vec::new(), Vec::new());
    for (number, index) in indexes.iter().enumerate() {
        let allowed = index.allowed(&query.filters);
        if query.mode != Mode::Embeddings {
            words.extend(index.by_words(number, &query.text, &allowed, CANDIDATES)?);
        }
        if let Some(vector) = vector {
            near.extend(index.by_vector(number, vector, &allowed, CANDIDATES));
        }
    }
    for list in [&mut words, &mut near] {
        list.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        list.truncate(CANDIDATES);
    }
    Ok(match (query.mode, vector) {
        (Mode::Hybrid, Some(_)) => fuse(&[words, near], query.top),
        (Mode::Embeddings, _) => near.into_iter().take(query.top).collect(),
        _ => words.into_iter().take(query.top).collect(),
    })
}

fn passage(
    (collection, file, number): (CollectionId, FileId, u32),
    sealed: SealedPassage,
    document: &crate::Attributes,
) -> Passage {
    let own = || format!("hoheit://{collection}/{file}#{number}");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, sealed.text.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Passage {
        collection,
        file,
        number,
        title: document.title.clone().unwrap_or_default(),
        url: document.url.clone().unwrap_or_else(own),
        text: sealed.text,
        start: sealed.start,
        page: sealed.page,
        date: document.date.clone(),
        language: document.language.clone().or(sealed.language),
        hash: format!("sha256:{hex}"),
    }
}

impl Inner {
    /// The collections that are asked: those that were named, each of them this project's, or all.
    async fn asked(&self, project: ProjectId, query: &Query) -> Result<Vec<CollectionRow>, KnowledgeError> {
        if query.collections.is_empty() {
            let mut rows = self.store.knowledge_collections(project, self.now()).await?;
            rows.retain(|row| row.completed > 0);
            if rows.len() > COLLECTIONS_MAX {
                let why = format!("this project has more than {COLLECTIONS_MAX} collections: name those to be asked");
                return Err(KnowledgeError::Invalid(why));
            }
            return Ok(rows);
        }
        let mut rows: Vec<CollectionRow> = Vec::with_capacity(query.collections.len());
        for id in &query.collections {
            if !rows.iter().any(|row| row.id == *id) {
                rows.push(self.collection(project, *id).await?.0);
            }
        }
        Ok(rows)
    }

    /// The index of a collection: from the shelf, or made of its passages. None: there is no key, so there is nothing to index.
    async fn index(&self, project: ProjectId, row: &CollectionRow) -> Result<Option<Arc<Index>>, KnowledgeError> {
        if let Some(index) = self.shelf().get(row.id, row.version) {
            return Ok(Some(index));
        }
        let _one_at_a_time = self.shelf().making.lock().await;
        if let Some(index) = self.shelf().get(row.id, row.version) {
            return Ok(Some(index));
        }
        // In this order: if the key is destroyed after it was read, the shelf does not keep what we make with it.
        self.shelf().begin(project, row.id);
        let Some(key) = self.vault.key(project).await? else { return Ok(None) };
        let (mut documents, mut passages) = (Vec::new(), Vec::new());
        for attached in self.store.knowledge_attachments(project, row.id).await? {
            if attached.status != AttachedAs::Completed {
                continue;
            }
            let document = u32::try_from(documents.len()).unwrap_or(u32::MAX);
            documents.push((attached.file, open_attributes(&attached, &key)?));
            for stored in self.store.knowledge_passages(project, row.id, attached.file).await? {
                let (file, number) = (attached.file, stored.number);
                let name = passage_name(row.id, file, number);
                let sealed: SealedPassage = key.open_json("a passage", &name, &stored.sealed)?;
                let vector = match stored.vector.as_slice() {
                    [] => None,
                    vector => embed::from_bytes(&key.open("a vector", &vector_name(row.id, file, number), vector)?),
                };
                passages.push(Opened { document, number, text: sealed.text, language: sealed.language, vector });
            }
        }
        let of = (row.id, row.version);
        let made = tokio::task::spawn_blocking(move || Index::of(project, of, documents, &passages)).await;
        let index = Arc::new(made.map_err(|_| KnowledgeError::Index("making it broke off".to_owned()))??);
        self.shelf().put(index.clone());
        Ok(Some(index))
    }

    /// A hit, read again. None: it was deleted meanwhile.
    async fn found(
        &self,
        project: ProjectId,
        index: &Index,
        place: Place,
        key: &DataKey,
    ) -> Result<Option<Passage>, KnowledgeError> {
        let (file, attributes) = &index.documents[place.document as usize];
        let of = (index.collection, *file);
        let Some(row) = self.store.knowledge_passage(project, of, place.number).await? else { return Ok(None) };
        let name = passage_name(index.collection, *file, place.number);
        let sealed: SealedPassage = key.open_json("a passage", &name, &row.sealed)?;
        Ok(Some(passage((index.collection, *file, place.number), sealed, attributes)))
    }
}
