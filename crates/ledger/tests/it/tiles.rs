//! Paths and contents of tiles against tlog_tiles.

use crate::world::{Log, entry};
use ledger::hash::{Hash, leaf_hash};
use ledger::tile::{Tile, TileLevel, parse_entries, tiles_for};

const SIZES: [u64; 8] = [0, 1, 255, 256, 257, 65_535, 65_536, 70_000];

fn theirs(tile: &Tile) -> String {
    let (level, data) = match tile.level {
        TileLevel::Entries => (0, true),
        TileLevel::Hashes(level) => (level, false),
    };
    let path = tlog_tiles::Tile::new(8, level, tile.index, u32::from(tile.width), data).path();
    // tlog_tiles names the height and calls entries "data"; C2SP's paths do neither.
    path.replace("tile/8/data/", "tile/entries/").replace("tile/8/", "tile/")
}

#[test]
fn paths_are_as_the_oracle_writes_them() {
    for index in [0, 1, 999, 1_000, 1_234_067, 999_999, 1_000_000, u64::MAX >> 8] {
        for width in [1, 17, 255, 256] {
            for tile in [Tile::hashes(0, index, width), Tile::hashes(7, index, width), Tile::entries(index, width)] {
                assert_eq!(tile.path(), theirs(&tile));
                assert_eq!(Tile::parse(&tile.path()), Ok(tile));
            }
        }
    }
    assert_eq!(Tile::hashes(3, 1_234_067, 256).path(), "tile/3/x001/x234/067");
}

#[test]
fn the_set_of_tiles_is_the_oracles() {
    let sorted = |mut paths: Vec<String>| {
        paths.sort();
        paths
    };
    for old in SIZES {
        for new in SIZES.into_iter().filter(|new| *new >= old) {
            let ours = tiles_for(old, new);
            let hashes: Vec<String> = ours.iter().filter(|t| t.level != TileLevel::Entries).map(Tile::path).collect();
            let oracle = tlog_tiles::Tile::new_tiles(8, old, new);
            let oracle: Vec<String> = oracle.iter().map(|t| t.path().replace("tile/8/", "tile/")).collect();
            assert_eq!(sorted(hashes), sorted(oracle), "{old} to {new}");
        }
    }
}

/// The example of the specification, and of sovereignty.md.
#[test]
fn seventy_thousand() {
    let tiles = tiles_for(0, 70_000);
    let count = |level, full: bool| tiles.iter().filter(|t| t.level == level && t.is_full() == full).count();
    let partial = |level| tiles.iter().find(|t| t.level == level && !t.is_full()).map(|t| t.width);
    for level in [TileLevel::Entries, TileLevel::Hashes(0)] {
        assert_eq!((count(level, true), partial(level)), (273, Some(112)));
    }
    assert_eq!((count(TileLevel::Hashes(1), true), partial(TileLevel::Hashes(1))), (1, Some(17)));
    assert_eq!((count(TileLevel::Hashes(2), true), partial(TileLevel::Hashes(2))), (0, Some(1)));
    assert_eq!(
        tiles_for(0, 256).iter().map(Tile::path).collect::<Vec<_>>(),
        ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
    );
}

/// What an append writes is exactly the set of tiles, and their bytes are the hashes and entries of the tree.
#[test]
fn contents() {
    for (size, step) in [(1, 1), (255, 100), (256, 256), (257, 3), (600, 7), (70_000, 30_000)] {
        let log = Log::of(size, step);
        for tile in tiles_for(0, size) {
            let bytes = &log.tiles.0[&tile.path()];
            let first = tile.index * 256;
            match tile.level {
                TileLevel::Hashes(0) => {
                    let hashes = (first..first + u64::from(tile.width)).flat_map(|n| leaf_hash(&entry(n).0).0);
                    assert!(bytes.iter().copied().eq(hashes), "{tile}");
                }
                TileLevel::Hashes(_) => assert_eq!(bytes.len(), 32 * usize::from(tile.width), "{tile}"),
                TileLevel::Entries => {
                    let entries = parse_entries(bytes).unwrap();
                    assert_eq!(entries.len(), usize::from(tile.width));
                    assert_eq!(bytes.len(), 34 * entries.len(), "ours are 34 bytes each");
                    assert!(entries.iter().zip(first..).all(|(e, n)| *e == entry(n).0), "{tile}");
                }
            }
        }
    }
}

/// tlog_tiles reads our tiles, authenticates them against our root and proves from them.
#[test]
fn the_oracle_proves_from_our_tiles() {
    use ledger::tree::inclusion_proof;
    struct Reader<'a>(&'a Log);
    impl tlog_tiles::TileReader for Reader<'_> {
        fn height(&self) -> u8 {
            8
        }
        fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
            let path = |tile: &tlog_tiles::Tile| tile.path().replace("tile/8/", "tile/");
            Ok(tiles.iter().map(|tile| self.0.tiles.0[&path(tile)].clone()).collect())
        }
        fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
    }
    for size in [1, 255, 256, 257, 70_000u64] {
        let log = Log::of(size, 60_000);
        let root = tlog_tiles::Hash(log.head.root.0);
        let reader = Reader(&log);
        let hashes = tlog_tiles::TileHashReader::new(size, root, &reader);
        for index in [0, size / 2, size - 1] {
            let theirs = tlog_tiles::prove_record(size, index, &hashes).unwrap();
            let theirs: Vec<Hash> = theirs.iter().map(|h| Hash(h.0)).collect();
            let ours = inclusion_proof(index, size, &ledger::tile::TileHashes { source: &log.tiles, size }).unwrap();
            assert_eq!(ours, theirs, "{index} in {size}");
        }
    }
}

#[test]
fn near_misses_of_paths_are_refused() {
    for bad in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/+1/000",
        "tile/64/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p/1/",
        "tile/0/001/234",
        "tile/0/x001",
        "tile/0/x000/001",
        "tile/0/001/x234",
        "tile/0/x1/234",
        "tile/0/../000",
        "tile/data/000",
        "/tile/0/000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
    ] {
        assert!(Tile::parse(bad).is_err(), "{bad}");
    }
}
