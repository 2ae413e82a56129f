//! What is wrong with a document, in words for the one who uploaded it: what it is, and what to do. None holds content.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    #[error("The file is empty: upload it again.")]
    Empty,
    #[error(
        "The file is {found}, whatever its name says, and is not read here: upload PDF, DOCX, HTML, Markdown, plain text or CSV."
    )]
    Unsupported { found: String },
    #[error("The file is {found}: unpack it and upload the documents in it one by one.")]
    Archive { found: String },
    #[error("The file is encrypted: take the password off and upload it again.")]
    Encrypted,
    #[error(
        "The file expands to far more than its size, as a decompression bomb does: save the document anew and upload that."
    )]
    Bomb,
    #[error("The document has more text than one document may have here (8 MiB): split it.")]
    TooMuchText,
    #[error("The file is damaged and cannot be read as {what}: save it anew, or as another kind, and upload that.")]
    Damaged { what: String },
    #[error(
        "There is no text in the document. If it is scanned, run text recognition (OCR) over it and upload the result."
    )]
    NoText,
    #[error("Reading the document took too long: split it, or save it as a simpler kind.")]
    TooSlow,
    #[error("Reading the document took more memory than it may: split it, or save it as a simpler kind.")]
    TooMuchMemory,
    #[error("Reading the document broke off, as damaged or hostile files make it: save it anew, or as another kind.")]
    Crashed,
    #[error(
        "The collection has no room for this document's passages: use another collection, or delete documents in it."
    )]
    CollectionFull,
}

impl Finding {
    /// Stable: programs may compare it.
    pub fn code(&self) -> &'static str {
        match self {
            Finding::Empty => "empty_file",
            Finding::Unsupported { .. } => "unsupported_file",
            Finding::Archive { .. } => "archive_file",
            Finding::Encrypted => "encrypted_file",
            Finding::Bomb => "bomb_file",
            Finding::TooMuchText => "too_much_text",
            Finding::Damaged { .. } => "damaged_file",
            Finding::NoText => "no_text",
            Finding::TooSlow => "too_slow",
            Finding::TooMuchMemory => "too_much_memory",
            Finding::Crashed => "reader_crashed",
            Finding::CollectionFull => "collection_full",
        }
    }

    /// A file that begins like this kind and does not go on like it.
    pub(crate) fn damaged(what: &str) -> Finding {
        Finding::Damaged { what: what.to_owned() }
    }
}
