//! A log in memory: leaves by number, tiles in a map.

use ledger::hash::{Hash, sha256};
use ledger::log::{self, AppendError, Appended};
use ledger::tile::TileSource;
use ledger::tree::TreeHead;
use std::collections::BTreeMap;

/// Entry number `n` of every log in these tests.
pub fn entry(n: u64) -> Hash {
    sha256(&[b"entry", &n.to_be_bytes()])
}

pub fn entries(range: std::ops::Range<u64>) -> Vec<Hash> {
    range.map(entry).collect()
}

#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Tiles(pub BTreeMap<String, Vec<u8>>);

impl TileSource for Tiles {
    type Error = String;
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).cloned().ok_or_else(|| format!("no {path}"))
    }
}

#[derive(Clone)]
pub struct Log {
    pub head: TreeHead,
    pub tiles: Tiles,
}

impl Log {
    pub fn empty() -> Log {
        Log { head: TreeHead::EMPTY, tiles: Tiles::default() }
    }

    /// A log of `size` entries, appended in steps of `step`.
    pub fn of(size: u64, step: u64) -> Log {
        let mut log = Log::empty();
        while log.head.size < size {
            log.grow(step.min(size - log.head.size));
        }
        log
    }

    pub fn append(&self, leaves: &[Hash]) -> Result<Appended, AppendError<String>> {
        log::append(&self.head, &self.tiles, leaves)
    }

    pub fn grow(&mut self, by: u64) -> Appended {
        let appended = self.append(&entries(self.head.size..self.head.size + by)).unwrap();
        for (path, bytes) in &appended.files {
            let before = self.tiles.0.insert(path.clone(), bytes.clone());
            assert!(before.is_none_or(|before| before == *bytes), "{path} was written twice with different bytes");
        }
        self.head = appended.head;
        appended
    }
}
