//! Indexes in memory, made when first asked, at most so many bytes together: the one that was not asked for longest goes first.
//! An index of an older version of its collection is none.

use super::index::Index;
use std::sync::{Arc, Mutex, PoisonError};
use types::{CollectionId, ProjectId};

pub(crate) struct Shelf {
    bytes_max: usize,
    /// Least lately asked first.
    indexes: Mutex<Vec<Arc<Index>>>,
    /// Making one takes a core and memory: one at a time.
    pub(crate) making: tokio::sync::Mutex<()>,
}

impl Shelf {
    pub(crate) fn new(bytes_max: usize) -> Shelf {
        Shelf { bytes_max, indexes: Mutex::default(), making: tokio::sync::Mutex::default() }
    }

    fn indexes(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Index>>> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, collection: CollectionId, version: u64) -> Option<Arc<Index>> {
        let mut indexes = self.indexes();
        let at = indexes.iter().position(|index| index.collection == collection && index.version == version)?;
        let index = indexes.remove(at);
        indexes.push(index.clone());
        Some(index)
    }

    /// Keeps an index, as long as there is room. The newest always stays: whoever asks for it needs it.
    pub(crate) fn put(&self, index: Arc<Index>) {
        let mut indexes = self.indexes();
        indexes.retain(|known| known.collection != index.collection);
        indexes.push(index);
        let mut held: usize = indexes.iter().map(|index| index.bytes()).sum();
        while held > self.bytes_max && indexes.len() > 1 {
            held -= indexes.remove(0).bytes();
        }
    }

    pub(crate) fn drop_collection(&self, collection: CollectionId) {
        self.indexes().retain(|index| index.collection != collection);
    }

    pub(crate) fn forget(&self, project: ProjectId) {
        self.indexes().retain(|index| index.project != project);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find::index::Opened;

    fn index(collection: u128, version: u64, text: &str) -> Arc<Index> {
        let vector = Some(vec![1.0; 1_000]);
        let passage = Opened { document: 0, number: 0, text: text.to_owned(), language: None, vector };
        let documents = vec![(types::FileId(1), crate::Attributes::default())];
        let of = (CollectionId(collection), version);
        Arc::new(Index::of(ProjectId(collection % 2), of, documents, &[passage]).unwrap())
    }

    #[test]
    fn the_least_lately_asked_goes_and_an_older_version_is_none() {
        let one = index(1, 1, "eins");
        let shelf = Shelf::new(one.bytes() * 2 + one.bytes() / 2);
        shelf.put(one.clone());
        shelf.put(index(2, 1, "zwei"));
        assert!(shelf.get(one.collection, 1).is_some());
        assert!(shelf.get(one.collection, 2).is_none());
        shelf.put(index(3, 1, "drei"));
        let there = |n| shelf.get(CollectionId(n), 1).is_some();
        assert_eq!([1, 2, 3].map(there), [true, false, true]);
        // A newer one of the same collection takes its place.
        shelf.put(index(3, 2, "drei"));
        assert!(shelf.get(CollectionId(3), 1).is_none() && there(1));
        shelf.forget(ProjectId(1));
        assert!(!there(1) && shelf.get(CollectionId(3), 2).is_none());
        // One that is larger than the shelf is there, alone.
        let small = Shelf::new(1);
        small.put(index(4, 1, "vier"));
        small.put(index(5, 1, "fünf"));
        assert!(small.get(CollectionId(4), 1).is_none() && small.get(CollectionId(5), 1).is_some());
        small.drop_collection(CollectionId(5));
        assert!(small.get(CollectionId(5), 1).is_none());
    }
}
