//! The index of one collection, made of its sealed passages: words, vectors, and whose passage each place is. It holds no text;
//! what is found is read from the store again, so that nothing is found that is deleted.

use super::filters::Filters;
use super::vectors::Vectors;
use super::words::Words;
use crate::Attributes;
use std::sync::Arc;
use tantivy::TantivyError;
use types::{CollectionId, FileId, ProjectId};

/// A passage on its way into an index.
pub(crate) struct Opened {
    pub(crate) document: u32,
    pub(crate) number: u32,
    pub(crate) text: String,
    pub(crate) language: Option<String>,
    pub(crate) vector: Option<Vec<f32>>,
}

pub(crate) struct Index {
    pub(crate) project: ProjectId,
    pub(crate) collection: CollectionId,
    /// Of the collection, when it was made.
    pub(crate) version: u64,
    pub(crate) documents: Vec<(FileId, Attributes)>,
    /// Of each place: the document and the number of the passage in it.
    places: Vec<(u32, u32)>,
    words: Words,
    vectors: Vectors,
}

/// What each place and document takes beside words and vectors.
const PLACE_BYTES: usize = 16;
const DOCUMENT_BYTES: usize = 2_048;

/// Where a passage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Which of the indexes that were asked.
    pub(crate) index: usize,
    pub(crate) document: u32,
    pub(crate) number: u32,
}

impl Index {
    pub(crate) fn of(
        project: ProjectId,
        (collection, version): (CollectionId, u64),
        documents: Vec<(FileId, Attributes)>,
        passages: &[Opened],
    ) -> Result<Index, TantivyError> {
        let texts: Vec<(&str, Option<&str>)> =
            passages.iter().map(|passage| (passage.text.as_str(), passage.language.as_deref())).collect();
        let mut vectors = Vectors::default();
        for (place, passage) in (0..).zip(passages) {
            if let Some(vector) = &passage.vector {
                vectors.add(place, vector);
            }
        }
        let places = passages.iter().map(|passage| (passage.document, passage.number)).collect();
        Ok(Index { project, collection, version, documents, places, words: Words::of(&texts)?, vectors })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.words.bytes()
            + self.vectors.bytes()
            + self.places.len() * PLACE_BYTES
            + self.documents.len() * DOCUMENT_BYTES
    }

    pub(crate) fn has_vectors(&self) -> bool {
        !self.vectors.is_empty()
    }

    /// Of each place, whether it may be found.
    pub(crate) fn allowed(&self, filters: &Filters) -> Arc<[bool]> {
        let documents: Vec<bool> = self.documents.iter().map(|(_, document)| filters.allow(document)).collect();
        self.places.iter().map(|(document, _)| documents[*document as usize]).collect()
    }

    pub(crate) fn by_words(
        &self,
        index: usize,
        question: &str,
        allowed: &Arc<[bool]>,
        limit: usize,
    ) -> Result<Vec<(f32, Place)>, TantivyError> {
        Ok(self.placed(index, self.words.search(question, allowed, limit)?))
    }

    pub(crate) fn by_vector(&self, index: usize, vector: &[f32], allowed: &[bool], limit: usize) -> Vec<(f32, Place)> {
        self.placed(index, self.vectors.search(vector, allowed, limit))
    }

    fn placed(&self, index: usize, found: Vec<(f32, u32)>) -> Vec<(f32, Place)> {
        let place = |(score, place): (f32, u32)| {
            let (document, number) = *self.places.get(place as usize)?;
            Some((score, Place { index, document, number }))
        };
        found.into_iter().filter_map(place).collect()
    }
}
