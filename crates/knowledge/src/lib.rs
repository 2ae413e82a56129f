//! Collections of a project's documents: files to passages, passages to an index, questions to passages; and the data keys that all
//! of it is sealed with.
//!
//! What it is not: it answers nothing and asks no model by itself; embeddings come through a function that the caller brings
//! ([`Embed`]). It has no SQL: rows are the store's. How good its retrieval is, and how fast, is in `docs/knowledge.md`.
//!
//! Every call names the project, and nothing in a document or a question can name another one: an id of another project is
//! answered as an unknown one ([`KnowledgeError::NotFound`]).
//!
//! If we crash here: a file's passages and its `completed` are one transaction; a file found `processing` at a start is read
//! again ([`Knowledge::unfinished`], [`Knowledge::resume`]). Indexes live in memory only, and are made anew when asked.

mod attach;
mod collections;
mod embed;
mod error;
mod files;
mod find;
mod limits;
mod passages;
pub mod read;
mod retrieve;
mod vault;

pub use attach::{Attached, Attributes, Status, Unfinished};
pub use collections::{Collection, NewCollection};
pub use embed::{BoxFuture, Embed, EmbedError};
pub use error::KnowledgeError;
pub use files::{File, NewFile};
pub use find::filters::Filters;
pub use limits::Limits;
pub use passages::{Piece, pieces};
pub use read::{Finding, ReaderProgram};
pub use retrieve::{Found, Mode, Query};
pub use vault::{DataKey, Vault};

use find::shelf::Shelf;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use store::Store;
use types::{CollectionId, FileId, ProjectId, UnixMillis};

/// Wall-clock time, as ids and rows carry it.
pub type Now = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// Fills a buffer with bytes that nobody can foresee: keys and nonces are made of it.
pub type FillRandom = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// What [`Knowledge`] works with.
pub struct Parts {
    pub store: Store,
    /// The site's secret: the key that wraps data keys is derived from it. Whoever loses it loses every project's content.
    pub kek: [u8; 32],
    pub clock: Now,
    pub random: FillRandom,
    /// The program that reads documents, in a process of its own.
    pub reader: ReaderProgram,
    pub limits: Limits,
}

/// All collections of a site. Clones share indexes.
#[derive(Clone)]
pub struct Knowledge {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    vault: Vault,
    clock: Now,
    random: FillRandom,
    reader: read::Reader,
    limits: Limits,
    shelf: Arc<Shelf>,
    /// Files that this process is reading now.
    reading: Mutex<HashSet<(CollectionId, FileId)>>,
}

impl Knowledge {
    pub fn new(parts: Parts) -> Knowledge {
        let shelf = Arc::new(Shelf::new(parts.limits.index_bytes_max));
        let vault = Vault::new(&parts, shelf.clone());
        let reader = read::Reader::new(parts.reader, &parts.limits);
        let (store, clock, random, limits) = (parts.store, parts.clock, parts.random, parts.limits);
        let reading = Mutex::default();
        Knowledge { inner: Arc::new(Inner { store, vault, clock, random, reader, limits, shelf, reading }) }
    }

    /// The data keys of projects, for whatever else is stored of their content.
    pub fn vault(&self) -> &Vault {
        &self.inner.vault
    }

    /// Whether something of this project is in this process's memory.
    pub fn in_memory(&self, project: ProjectId) -> bool {
        self.inner.shelf.projects().contains(&project)
    }

    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }
}

impl Inner {
    fn now(&self) -> UnixMillis {
        (self.clock)()
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.random)(&mut bytes);
        bytes
    }

    fn reading(&self) -> std::sync::MutexGuard<'_, HashSet<(CollectionId, FileId)>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
