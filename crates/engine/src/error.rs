//! Why a model could not be loaded. Each message names the file, says what is wrong with it and what to do; nothing
//! here is ever matched by its text. Errors of a request are another story (`api/refusal.rs`).

use std::path::{Path, PathBuf};

/// A model that cannot be served, with the file to look at.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file that the model needs is not there.
    #[error("{}: {what}. {remedy}", path.display())]
    Missing { path: PathBuf, what: String, remedy: String },
    /// A file is there and does not hold what it should.
    #[error("{}: {what}. {remedy}", path.display())]
    Damaged { path: PathBuf, what: String, remedy: String },
    /// The file is whole, and this engine cannot run what it describes.
    #[error("{}: {what}. {remedy}", path.display())]
    Unsupported { path: PathBuf, what: String, remedy: String },
    /// The operating system refused to read it.
    #[error("{}: cannot be read: {source}. Check the path and its permissions", path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

const FETCH_AGAIN: &str = "Copy or download the file again";

impl LoadError {
    pub(crate) fn missing(path: &Path, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Missing { path: path.to_owned(), what: what.into(), remedy: remedy.into() }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into(), remedy: FETCH_AGAIN.into() }
    }

    pub(crate) fn unsupported(path: &Path, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Unsupported { path: path.to_owned(), what: what.into(), remedy: remedy.into() }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}
