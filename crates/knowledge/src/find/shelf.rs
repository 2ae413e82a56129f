//! Indexes in memory, made when first asked, at most so many bytes together: the one that was not asked for longest goes first.
//! An index of an older version of its collection is none.
//!
//! What is taken off while it is being made is not put there when it is done: it was made of what is deleted or, if the project's
//! key is destroyed, must not be anywhere any more.

use super::index::Index;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use types::{CollectionId, ProjectId};

#[derive(Default)]
struct Held {
    /// Least lately asked first.
    indexes: Vec<Arc<Index>>,
    /// What is being made, unless it was taken off meanwhile.
    making: Option<(ProjectId, CollectionId)>,
}

pub(crate) struct Shelf {
    bytes_max: usize,
    held: Mutex<Held>,
    /// Making one takes a core and memory: one at a time.
    pub(crate) making: tokio::sync::Mutex<()>,
}

impl Shelf {
    pub(crate) fn new(bytes_max: usize) -> Shelf {
        Shelf { bytes_max, held: Mutex::default(), making: tokio::sync::Mutex::default() }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Said under [`Shelf::making`], before the project's key and what the index is made of are read.
    pub(crate) fn begin(&self, project: ProjectId, collection: CollectionId) {
        self.held().making = Some((project, collection));
    }

    /// Whose indexes are here.
    pub(crate) fn projects(&self) -> BTreeSet<ProjectId> {
        self.held().indexes.iter().map(|index| index.project).collect()
    }

    pub(crate) fn get(&self, collection: CollectionId, version: u64) -> Option<Arc<Index>> {
        let indexes = &mut self.held().indexes;
        let at = indexes.iter().position(|index| index.collection == collection && index.version == version)?;
        let index = indexes.remove(at);
        indexes.push(index.clone());
        Some(index)
    }

    /// Keeps an index that was begun, as long as there is room. The newest always stays: whoever asks for it needs it.
    pub(crate) fn put(&self, index: Arc<Index>) {
        let mut held = self.held();
        if held.making.take() != Some((index.project, index.collection)) {
            return;
        }
        let indexes = &mut held.indexes;
        indexes.retain(|known| known.collection != index.collection);
        indexes.push(index);
        let mut bytes: usize = indexes.iter().map(|index| index.bytes()).sum();
        while bytes > self.bytes_max && indexes.len() > 1 {
            bytes -= indexes.remove(0).bytes();
        }
    }

    pub(crate) fn drop_collection(&self, collection: CollectionId) {
        self.take_off(|_, of| of == collection);
    }

    pub(crate) fn forget(&self, project: ProjectId) {
        self.take_off(|of, _| of == project);
    }

    fn take_off(&self, goes: impl Fn(ProjectId, CollectionId) -> bool) {
        let mut held = self.held();
        held.indexes.retain(|index| !goes(index.project, index.collection));
        held.making = held.making.filter(|(project, collection)| !goes(*project, *collection));
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

    fn put(shelf: &Shelf, index: Arc<Index>) {
        shelf.begin(index.project, index.collection);
        shelf.put(index);
    }

    #[test]
    fn what_is_taken_off_while_it_is_made_is_not_kept() {
        let shelf = Shelf::new(usize::MAX);
        let one = index(1, 1, "eins");
        for takes_off in [Shelf::forget as fn(&Shelf, ProjectId), |shelf, _| shelf.drop_collection(CollectionId(1))] {
            shelf.begin(one.project, one.collection);
            takes_off(&shelf, one.project);
            shelf.put(one.clone());
            assert!(shelf.get(one.collection, 1).is_none());
        }
        // Others' deeds do not touch it.
        shelf.begin(one.project, one.collection);
        shelf.forget(ProjectId(7));
        shelf.drop_collection(CollectionId(7));
        shelf.put(one.clone());
        assert!(shelf.get(one.collection, 1).is_some());
        assert_eq!(shelf.projects(), BTreeSet::from([one.project]));
    }

    #[test]
    fn the_least_lately_asked_goes_and_an_older_version_is_none() {
        let one = index(1, 1, "eins");
        let shelf = Shelf::new(one.bytes() * 2 + one.bytes() / 2);
        put(&shelf, one.clone());
        put(&shelf, index(2, 1, "zwei"));
        assert!(shelf.get(one.collection, 1).is_some());
        assert!(shelf.get(one.collection, 2).is_none());
        put(&shelf, index(3, 1, "drei"));
        let there = |n| shelf.get(CollectionId(n), 1).is_some();
        assert_eq!([1, 2, 3].map(there), [true, false, true]);
        // A newer one of the same collection takes its place.
        put(&shelf, index(3, 2, "drei"));
        assert!(shelf.get(CollectionId(3), 1).is_none() && there(1));
        shelf.forget(ProjectId(1));
        assert!(!there(1) && shelf.get(CollectionId(3), 2).is_none());
        // One that is larger than the shelf is there, alone.
        let small = Shelf::new(1);
        put(&small, index(4, 1, "vier"));
        put(&small, index(5, 1, "fünf"));
        assert!(small.get(CollectionId(4), 1).is_none() && small.get(CollectionId(5), 1).is_some());
        small.drop_collection(CollectionId(5));
        assert!(small.get(CollectionId(5), 1).is_none());
    }
}
