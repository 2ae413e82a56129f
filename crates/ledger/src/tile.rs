//! tlog-tiles: how the tree lies in files. A tile of level L holds up to 256 hashes of the tree's level 8·L; a full one
//! is 8,192 bytes and never changes. An entry bundle holds the entries under a level-0 tile: a big-endian 16-bit length
//! before each, 34 bytes for one of ours.
//!
//! Partial tiles are written for every published size and may be deleted once the full tile is there; readers here
//! therefore fall back from a partial tile to the full one.

use crate::hash::{Hash, leaf_hash, node_hash};
use crate::tree::HashReader;
use std::fmt;
use std::str::FromStr;

/// Hashes in a full tile, entries in a full bundle.
pub const WIDTH_FULL: u16 = 256;

/// Which part of the tree, by tlog-tiles' coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    pub level: TileLevel,
    pub index: u64,
    /// 1..=256; 256 is a full tile.
    pub width: u16,
}

/// Entry bundles share the coordinates of level 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileLevel {
    Entries,
    /// 0..=63 by the specification; 0..=7 is all that 2^64 leaves can use.
    Hashes(u8),
}

/// The text is not the path of a tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a tile's path looks like tile/0/x001/234 or tile/0/000.p/17 or tile/entries/000")]
pub struct TilePathError;

impl Tile {
    pub fn hashes(level: u8, index: u64, width: u16) -> Tile {
        Tile { level: TileLevel::Hashes(level), index, width }
    }

    pub fn entries(index: u64, width: u16) -> Tile {
        Tile { level: TileLevel::Entries, index, width }
    }

    pub fn is_full(&self) -> bool {
        self.width == WIDTH_FULL
    }

    /// The same place, full.
    pub fn full(self) -> Tile {
        Tile { width: WIDTH_FULL, ..self }
    }

    /// The path below the log's prefix, without a leading slash: `tile/0/x001/234.p/17`.
    pub fn path(&self) -> String {
        self.to_string()
    }

    pub fn parse(path: &str) -> Result<Tile, TilePathError> {
        path.parse()
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            TileLevel::Entries => f.write_str("tile/entries/")?,
            TileLevel::Hashes(level) => write!(f, "tile/{level}/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        while let Some(group) = groups.pop() {
            if groups.is_empty() { write!(f, "{group:03}")? } else { write!(f, "x{group:03}/")? }
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// Accepts only what [`Tile::path`] writes: a server that also answers other spellings can be made to cache twice.
impl FromStr for Tile {
    type Err = TilePathError;

    fn from_str(path: &str) -> Result<Tile, TilePathError> {
        let number = |text: &str| text.parse::<u16>().ok();
        let read = || {
            let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
            let level = match level {
                "entries" => TileLevel::Entries,
                level => TileLevel::Hashes(level.parse().ok().filter(|l| *l <= 63)?),
            };
            let (place, width) = match rest.split_once(".p/") {
                Some((place, width)) => (place, number(width).filter(|w| (1..WIDTH_FULL).contains(w))?),
                None => (rest, WIDTH_FULL),
            };
            let mut index = 0u64;
            for group in place.split('/') {
                let group = group.strip_prefix('x').unwrap_or(group);
                let group = number(group).filter(|g| *g < 1000)?;
                index = index.checked_mul(1000)?.checked_add(u64::from(group))?;
            }
            Some(Tile { level, index, width })
        };
        read().filter(|tile| tile.path() == path).ok_or(TilePathError)
    }
}

/// The tiles of a tree of `size` that a tree of `old_size` has not: what an append writes. Entry bundles included.
pub fn tiles_for(old_size: u64, size: u64) -> Vec<Tile> {
    let mut tiles = Vec::new();
    for level in 0..8u8 {
        let (old, new) = (old_size >> (8 * level), size >> (8 * level));
        if new == old {
            break;
        }
        for index in old / 256..new.div_ceil(256) {
            let width = (new - index * 256).min(256) as u16;
            if level == 0 {
                tiles.push(Tile::entries(index, width));
            }
            tiles.push(Tile::hashes(level, index, width));
        }
    }
    tiles
}

/// Gives the bytes of a tile or bundle by its path (see [`Tile::path`]): a folder, a web server, a map in a test.
pub trait TileSource {
    type Error;
    fn read(&self, path: &str) -> Result<Vec<u8>, Self::Error>;
}

impl<S: TileSource> TileSource for &S {
    type Error = S::Error;
    fn read(&self, path: &str) -> Result<Vec<u8>, S::Error> {
        (*self).read(path)
    }
}

/// Why a tile's content is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError<E> {
    #[error("{path} could not be read")]
    Read {
        path: String,
        #[source]
        source: E,
    },
    #[error("{path} has {bytes} bytes, which is not a tile or bundle of its width")]
    Damaged { path: String, bytes: usize },
    #[error("node {index} of level {level} is not complete in a tree of {size}")]
    Outside { level: u8, index: u64, size: u64 },
}

/// Reads a tile; if it is partial and gone, reads the full one in its place and cuts it to the width.
pub fn read_hashes<S: TileSource>(source: &S, tile: Tile) -> Result<Vec<Hash>, TileError<S::Error>> {
    let (path, bytes) = read_either(source, tile)?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    let width = Tile::parse(&path).map_or(0, |tile| usize::from(tile.width));
    if hashes.len() != width || !rest.is_empty() {
        return Err(TileError::Damaged { path, bytes: bytes.len() });
    }
    Ok(hashes.iter().take(usize::from(tile.width)).copied().map(Hash).collect())
}

/// Reads a bundle in the same way.
pub fn read_entries<S: TileSource>(source: &S, tile: Tile) -> Result<Vec<Vec<u8>>, TileError<S::Error>> {
    let (path, bytes) = read_either(source, tile)?;
    let width = Tile::parse(&path).map_or(0, |tile| usize::from(tile.width));
    match parse_entries(&bytes) {
        Some(mut entries) if entries.len() == width => {
            entries.truncate(usize::from(tile.width));
            Ok(entries)
        }
        _ => Err(TileError::Damaged { path, bytes: bytes.len() }),
    }
}

fn read_either<S: TileSource>(source: &S, tile: Tile) -> Result<(String, Vec<u8>), TileError<S::Error>> {
    let path = tile.path();
    match source.read(&path) {
        Ok(bytes) => Ok((path, bytes)),
        Err(error) if tile.is_full() => Err(TileError::Read { path, source: error }),
        Err(error) => match source.read(&tile.full().path()) {
            Ok(bytes) => Ok((tile.full().path(), bytes)),
            Err(_) => Err(TileError::Read { path, source: error }),
        },
    }
}

/// The bytes of a hash tile.
pub fn render_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The bytes of an entry bundle, ours: every entry is a leaf of 32 bytes.
pub fn render_entries(leaves: &[Hash]) -> Vec<u8> {
    leaves.iter().flat_map(|leaf| [0, 32].into_iter().chain(leaf.0)).collect()
}

/// The entries of a bundle, whoever wrote it; none if it is cut short.
pub fn parse_entries(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry.to_vec());
        bytes = rest;
    }
    bytes.is_empty().then_some(entries)
}

/// The root of the complete subtree over these hashes; their number is a power of two.
pub fn fold(hashes: &[Hash]) -> Hash {
    match hashes {
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len() / 2);
            node_hash(&fold(left), &fold(right))
        }
    }
}

/// The leaf hashes of a bundle.
pub fn entry_hashes(entries: &[Vec<u8>]) -> Vec<Hash> {
    entries.iter().map(|entry| leaf_hash(entry)).collect()
}

/// The tree of `size` as it lies in tiles. Reads are not cached: a proof touches at most one tile per level.
pub struct TileHashes<S> {
    pub source: S,
    pub size: u64,
}

impl<S: TileSource> HashReader for TileHashes<S> {
    type Error = TileError<S::Error>;

    fn read(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        let outside = TileError::Outside { level, index, size: self.size };
        // The node must be complete, else its hash would change with the next leaf.
        if level >= 64 || index >= self.size >> level {
            return Err(outside);
        }
        let (tile_level, within) = (level / 8, level % 8);
        // The first hash of the tile's level that the node covers, and how many.
        let (first, count) = (index << within, 1usize << within);
        let wide = (self.size >> (8 * u32::from(tile_level))) - first / 256 * 256;
        let tile = Tile::hashes(tile_level, first / 256, wide.min(256) as u16);
        let hashes = read_hashes(&self.source, tile)?;
        let place = (first % 256) as usize;
        hashes.get(place..place + count).map(fold).ok_or(outside)
    }
}
