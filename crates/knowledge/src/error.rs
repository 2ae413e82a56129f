//! What can go wrong, by whose fault and whether to retry: [`KnowledgeError::code`] maps each to one public code.
//!
//! What is wrong with a document is no error of a call: it is the document's state ([`crate::Status::Failed`]), with the words of
//! [`crate::Finding`].

use crate::EmbedError;
use store::StoreError;
use types::Code;

#[derive(Debug, thiserror::Error)]
pub enum KnowledgeError {
    /// It does not exist, or belongs to another project: not told apart, on purpose.
    #[error("{what} does not exist")]
    NotFound { what: &'static str },
    /// A field of the call.
    #[error("{0}")]
    Invalid(String),
    #[error("{what} has more than {limit} bytes, which is the limit here: split it")]
    TooLarge { what: &'static str, limit: u64 },
    /// A quota of the project.
    #[error("there are {limit} {what} already, which is the limit here: delete some first")]
    TooMany { what: &'static str, limit: u64 },
    /// The project's key is gone, and with it all that it sealed.
    #[error(
        "the key of this project's content was destroyed: what was stored cannot be read any more, and nothing new is stored"
    )]
    Destroyed,
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The program that reads documents did not run: ours to mend.
    #[error("the reader of documents does not run")]
    Reader(#[source] std::io::Error),
    /// What is stored does not open under the project's key: damage, or a site secret that is not the one it was sealed with.
    #[error(
        "{what} does not open under this project's key: the site's secret was exchanged, or the database is damaged"
    )]
    Unreadable { what: &'static str },
    #[error("the index in memory: {0}")]
    Index(String),
    #[error(transparent)]
    Store(StoreError),
}

impl KnowledgeError {
    /// The public code, which carries status, fault and whether to retry.
    pub fn code(&self) -> Code {
        match self {
            KnowledgeError::NotFound { .. } => Code::NotFound,
            KnowledgeError::Invalid(_) => Code::InvalidRequest,
            KnowledgeError::TooLarge { .. } => Code::BodyTooLarge,
            KnowledgeError::TooMany { .. } | KnowledgeError::Destroyed => Code::Conflict,
            KnowledgeError::Embed(error) => error.code,
            KnowledgeError::Reader(_) | KnowledgeError::Unreadable { .. } | KnowledgeError::Index(_) => Code::Internal,
            KnowledgeError::Store(error) => error.code(),
        }
    }
}

impl From<StoreError> for KnowledgeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what } => KnowledgeError::NotFound { what },
            other => KnowledgeError::Store(other),
        }
    }
}

impl From<tantivy::TantivyError> for KnowledgeError {
    fn from(error: tantivy::TantivyError) -> Self {
        KnowledgeError::Index(error.to_string())
    }
}
