//! What an append does to a log: which tiles and bundles to write, and the checkpoint to publish after them.
//!
//! Decided here, done elsewhere: the sealer writes all files of [`Appended`] durably, then commits the new size, then
//! publishes the checkpoint. If we crash after some files: they are rewritten with the same bytes, since an append is a
//! function of the old tree and the leaves; nobody was told of the new size yet.
//!
//! The old tree is recomputed from the tiles that the append reads and compared with the head that was signed. A log
//! whose files were damaged or rolled back is therefore never signed over.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::{Hash, leaf_hash};
use crate::key::SigningKey;
use crate::note::{NoteSigner, Vkey};
use crate::proof::TlogProof;
use crate::tile::{self, Tile, TileError, TileHashes, TileLevel, TileSource};
use crate::tree::{self, ProveError, TreeHead};
use std::collections::BTreeMap;

/// Leaves per append. 10,000 a second sealed four times a second are 2,500; the rest is room to catch up.
pub const LEAVES_MAX: usize = 65_536;

/// The log's key and name.
pub struct LogSigner {
    signer: NoteSigner,
}

impl LogSigner {
    pub fn new(origin: &str, key: SigningKey) -> Result<LogSigner, CheckpointError> {
        Ok(LogSigner { signer: NoteSigner::new(origin, key)? })
    }

    pub fn origin(&self) -> &str {
        self.signer.vkey.name()
    }

    /// What auditors need to know of the log; publish it where they trust it.
    pub fn vkey(&self) -> &Vkey {
        &self.signer.vkey
    }

    /// The signed checkpoint of a tree.
    pub fn checkpoint(&self, head: &TreeHead) -> String {
        let checkpoint = Checkpoint { origin: self.origin().to_owned(), size: head.size, root: head.root };
        checkpoint.sign(&self.signer).expect("the origin is the signer's name and a name holds no control character")
    }
}

/// What to write, in any order, before the new head is committed and its checkpoint published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    pub head: TreeHead,
    /// Path below the log's prefix and content: hash tiles and entry bundles.
    pub files: Vec<(String, Vec<u8>)>,
    /// Partial tiles and bundles of the old size that full ones now replace; readers fall back, so they may be deleted.
    pub obsolete: Vec<String>,
}

/// Why nothing was appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError<E> {
    #[error(transparent)]
    Tile(#[from] TileError<E>),
    #[error("the log's files do not lead to the root that was signed for size {size}: damaged or rolled back")]
    Damaged { size: u64 },
    #[error("an entry bundle at the end of the log does not belong to its tile: {path}")]
    Entries { path: String },
    #[error("at most {LEAVES_MAX} leaves at once")]
    TooMany,
}

/// Appends leaves (32-byte entries) to the tree `old`, whose tiles `source` reads.
pub fn append<S: TileSource>(old: &TreeHead, source: &S, leaves: &[Hash]) -> Result<Appended, AppendError<S::Error>> {
    if leaves.len() > LEAVES_MAX {
        return Err(AppendError::TooMany);
    }
    if tree::root(old.size, &TileHashes { source, size: old.size })? != old.root {
        return Err(AppendError::Damaged { size: old.size });
    }
    let size = old.size + leaves.len() as u64;
    let mut files = BTreeMap::new();

    let mut entries = edge_entries(old.size, source)?;
    entries.extend(leaves);
    for (place, bundle) in entries.chunks(256).enumerate() {
        if !leaves.is_empty() {
            let tile = Tile::entries(old.size / 256 + place as u64, bundle.len() as u16);
            files.insert(tile.path(), tile::render_entries(bundle));
        }
    }

    // Level by level: what a tile of this level lacked, then one hash per newly full tile for the level above.
    let mut fresh: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(&leaf.0)).collect();
    for level in 0..8u8 {
        if fresh.is_empty() {
            break;
        }
        let before = old.size >> (8 * level);
        let mut hashes = match before % 256 {
            0 => Vec::new(),
            width => tile::read_hashes(source, Tile::hashes(level, before / 256, width as u16))?,
        };
        hashes.append(&mut fresh);
        for (place, chunk) in hashes.chunks(256).enumerate() {
            let tile = Tile::hashes(level, before / 256 + place as u64, chunk.len() as u16);
            files.insert(tile.path(), tile::render_hashes(chunk));
            if tile.is_full() {
                fresh.push(tile::fold(chunk));
            }
        }
    }

    let overlay = Overlay { files: &files, below: source };
    let root = tree::root(size, &TileHashes { source: overlay, size })?;
    let obsolete = obsolete(old.size, size);
    Ok(Appended { head: TreeHead { size, root }, files: files.into_iter().collect(), obsolete })
}

/// The proof file for the leaf at `index`, under a published checkpoint of the tree that `source` reads.
pub fn prove<S: TileSource>(
    index: u64,
    checkpoint_note: &str,
    size: u64,
    source: &S,
) -> Result<TlogProof, ProveError<TileError<S::Error>>> {
    let hashes = tree::inclusion_proof(index, size, &TileHashes { source, size })?;
    Ok(TlogProof { index, hashes, checkpoint: checkpoint_note.to_owned(), extra: None })
}

/// The leaves of the last, partial bundle, checked against the tile above it.
fn edge_entries<S: TileSource>(size: u64, source: &S) -> Result<Vec<Hash>, AppendError<S::Error>> {
    let width = (size % 256) as u16;
    if width == 0 {
        return Ok(Vec::new());
    }
    let bundle = Tile::entries(size / 256, width);
    let entries = tile::read_entries(source, bundle)?;
    let hashes = tile::read_hashes(source, Tile::hashes(0, size / 256, width))?;
    let leaves: Option<Vec<Hash>> = entries.iter().map(|entry| Hash::from_slice(entry)).collect();
    match leaves {
        Some(leaves) if tile::entry_hashes(&entries) == hashes => Ok(leaves),
        _ => Err(AppendError::Entries { path: bundle.path() }),
    }
}

/// The old size's partial tiles whose place is full now.
fn obsolete(old: u64, new: u64) -> Vec<String> {
    let mut paths = Vec::new();
    for level in 0..8u8 {
        let (before, after) = (old >> (8 * level), new >> (8 * level));
        let width = (before % 256) as u16;
        if width == 0 || after < (before / 256 + 1) * 256 {
            continue;
        }
        paths.push(Tile { level: TileLevel::Hashes(level), index: before / 256, width }.path());
        if level == 0 {
            paths.push(Tile::entries(before / 256, width).path());
        }
    }
    paths
}

/// New files before old ones.
struct Overlay<'a, S> {
    files: &'a BTreeMap<String, Vec<u8>>,
    below: &'a S,
}

impl<S: TileSource> TileSource for Overlay<'_, S> {
    type Error = S::Error;
    fn read(&self, path: &str) -> Result<Vec<u8>, S::Error> {
        self.files.get(path).map_or_else(|| self.below.read(path), |bytes| Ok(bytes.clone()))
    }
}
