//! A passage: what retrieval finds, what a model is given, what an answer cites and what a receipt names by its hash.
//!
//! It holds content, so it stands in no receipt, log line or snapshot; only its hash does.

use crate::{CollectionId, FileId};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    pub collection: CollectionId,
    pub file: FileId,
    /// Which passage of the file, from 0.
    pub number: u32,
    /// The document's title, or its file name.
    pub title: String,
    /// Where people find the document: what was said at upload, else `hoheit://<collection>/<file>#<number>`.
    pub url: String,
    pub text: String,
    /// Where the passage begins in the document's text, in characters, and its page where there are pages (from 1).
    pub start: u32,
    pub page: Option<u32>,
    /// The document's date, `YYYY-MM-DD`, where it is known.
    pub date: Option<String>,
    /// `de`, `en` or another ISO 639-1 code, where it is known.
    pub language: Option<String>,
    /// `sha256:<hex>` of `text` in UTF-8: what the receipt names.
    pub hash: String,
}
