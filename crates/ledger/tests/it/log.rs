//! Appending, proving from tiles, and proof files.

use crate::tree::heads;
use crate::world::{Log, Tiles, entries, entry};
use ledger::SigningKey;
use ledger::cosignature::Cosigner;
use ledger::hash::{Hash, leaf_hash};
use ledger::log::{self, AppendError, LEAVES_MAX, LogSigner};
use ledger::note::Note;
use ledger::proof::{Policy, TlogProof, TlogProofError};
use ledger::tile::{TileHashes, tiles_for};
use ledger::tree::{Frontier, TreeHead, consistency_proof, verify_consistency};
use proptest::prelude::*;

fn signer() -> LogSigner {
    LogSigner::new("log.hoheit.invalid/de-test-abcd2345/2026h2", SigningKey::from_seed(&[1; 32]).unwrap()).unwrap()
}

fn head_of(size: u64) -> TreeHead {
    let mut frontier = Frontier::default();
    (0..size).for_each(|n| frontier.push(leaf_hash(&entry(n).0)));
    frontier.head()
}

#[test]
fn leaf_by_leaf_and_in_steps_is_the_same_log() {
    let heads = heads();
    let mut one_by_one = Log::empty();
    for size in 1..=300u64 {
        one_by_one.grow(1);
        assert_eq!(one_by_one.head, heads[size as usize]);
    }
    for step in [2, 7, 100, 255, 256, 257, 300] {
        let log = Log::of(300, step);
        assert_eq!(log.head, heads[300]);
        assert!(log.tiles.0.iter().all(|(path, bytes)| one_by_one.tiles.0[path] == *bytes), "steps of {step}");
    }
}

#[test]
fn writes_exactly_the_tiles_of_the_new_size() {
    for (old, by) in [(0, 0), (0, 1), (0, 256), (1, 254), (255, 1), (255, 2), (256, 1), (300, 600), (65_530, 10)] {
        let mut log = Log::of(old, 60_000);
        let appended = log.grow(by);
        let mut expect: Vec<String> = tiles_for(old, old + by).iter().map(|tile| tile.path()).collect();
        expect.sort();
        assert_eq!(appended.files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), expect, "{old}+{by}");
        assert_eq!(appended.head, head_of(old + by));
        for path in &appended.obsolete {
            assert!(log.tiles.0.remove(path).is_some(), "{path} is not there to delete");
        }
        // With the obsolete ones gone, everything can still be read, proved and continued.
        if old > 0 {
            let size = log.head.size;
            let proof = consistency_proof(old, size, &TileHashes { source: &log.tiles, size }).unwrap();
            verify_consistency(&head_of(old), &log.head, &proof).unwrap();
        }
        log.grow(3);
        assert_eq!(log.head, head_of(old + by + 3));
    }
}

/// A crash after some files: the same leaves again, perhaps with more behind them, write the same bytes.
#[test]
fn an_interrupted_append_is_repeated_with_the_same_bytes() {
    let log = Log::of(300, 300);
    let first = log.append(&entries(300..700)).unwrap();
    let longer = log.append(&entries(300..900)).unwrap();
    let mut torn = log.clone();
    torn.tiles.0.extend(first.files.iter().take(first.files.len() / 2).cloned());
    assert_eq!(torn.append(&entries(300..700)).unwrap(), first);
    for (path, bytes) in &first.files {
        let again = longer.files.iter().find(|(other, _)| other == path);
        assert!(again.is_none_or(|(_, other)| other == bytes), "{path}");
    }
}

#[test]
fn a_damaged_log_is_not_signed_over() {
    let log = Log::of(700, 700);
    let damaged = |path: &str, change: fn(&mut Vec<u8>)| {
        let mut log = log.clone();
        change(log.tiles.0.get_mut(path).unwrap());
        log.append(&entries(700..701)).unwrap_err()
    };
    let flip = |bytes: &mut Vec<u8>| bytes[5] ^= 1;
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1);
    assert!(matches!(damaged("tile/0/002.p/188", flip), AppendError::Damaged { size: 700 }));
    assert!(matches!(damaged("tile/1/000.p/2", flip), AppendError::Damaged { size: 700 }));
    assert!(matches!(damaged("tile/0/002.p/188", cut), AppendError::Tile(_)));
    assert!(matches!(damaged("tile/entries/002.p/188", cut), AppendError::Tile(_)));
    assert!(matches!(damaged("tile/entries/002.p/188", flip), AppendError::Entries { .. }));
    let mut missing = log.clone();
    missing.tiles.0.remove("tile/0/002.p/188");
    assert!(matches!(missing.append(&[]), Err(AppendError::Tile(_))));
    let rolled_back = Log { head: head_of(701), ..log.clone() };
    assert!(rolled_back.append(&[]).is_err());
    let other = Log { head: TreeHead { root: Hash::ZERO, ..log.head }, ..log.clone() };
    assert!(matches!(other.append(&[]), Err(AppendError::Damaged { .. })));
    assert!(matches!(log.append(&vec![Hash::ZERO; LEAVES_MAX + 1]), Err(AppendError::TooMany)));
}

#[test]
fn proof_files() {
    let signer = signer();
    for size in [1, 2, 255, 256, 257, 1_000, 70_000u64] {
        let log = Log::of(size, 60_000);
        let note = signer.checkpoint(&log.head);
        for index in [0, size / 3, size - 1] {
            let proof = log::prove(index, &note, size, &log.tiles).unwrap();
            let text = proof.render();
            let read = TlogProof::parse(&text).unwrap();
            assert_eq!(read, proof);
            let proved = read.verify(&entry(index), signer.vkey(), &Policy::none()).unwrap();
            assert_eq!((proved.index, proved.checkpoint.head()), (index, log.head));
            assert!(read.verify(&entry(index + 1), signer.vkey(), &Policy::none()).is_err(), "another leaf");
        }
        assert!(log::prove(size, &note, size, &log.tiles).is_err());
    }
}

/// sovereignty.md: with a 1,000-leaf tree and one witness, the file has about 800 bytes.
#[test]
fn a_proof_file_is_small() {
    let log = Log::of(1_000, 1_000);
    let cosigner = Cosigner::new("witness.example/w", SigningKey::from_seed(&[2; 32]).unwrap()).unwrap();
    let mut note = Note::parse(&signer().checkpoint(&log.head)).unwrap();
    note.signatures.push(cosigner.sign(&note, 1_790_000_000));
    let proof = log::prove(123, &note.to_string(), 1_000, &log.tiles).unwrap();
    assert!(proof.render().len() < 900, "{}", proof.render().len());
}

#[test]
fn witnesses_and_quorum() {
    let (log, signer) = (Log::of(10, 10), signer());
    let witness =
        |n: u8| Cosigner::new(&format!("witness.example/{n}"), SigningKey::from_seed(&[100 + n; 32]).unwrap()).unwrap();
    let mut note = Note::parse(&signer.checkpoint(&log.head)).unwrap();
    for n in [1, 2] {
        note.signatures.push(witness(n).sign(&note, 1_790_000_000));
    }
    let policy = |quorum| Policy { witnesses: (1..=3).map(|n| witness(n).vkey.clone()).collect(), quorum };
    let proof = log::prove(4, &note.to_string(), 10, &log.tiles).unwrap();
    let proved = proof.verify(&entry(4), signer.vkey(), &policy(2)).unwrap();
    assert_eq!(proved.cosigned, ["witness.example/1", "witness.example/2"]);
    let few = proof.verify(&entry(4), signer.vkey(), &policy(3));
    assert_eq!(few, Err(TlogProofError::Quorum { got: 2, wanted: 3 }));
    // The log's own signature is not a witness's.
    let own = Policy { witnesses: vec![signer.vkey().clone()], quorum: 2 };
    assert!(proof.verify(&entry(4), signer.vkey(), &own).is_err());
    // A witness's signature that does not fit rejects, even beyond the quorum.
    note.signatures[2].bytes[70] ^= 1;
    let proof = TlogProof { checkpoint: note.to_string(), ..proof };
    assert!(matches!(proof.verify(&entry(4), signer.vkey(), &policy(1)), Err(TlogProofError::Cosignature(_))));
    assert!(proof.verify(&entry(4), signer.vkey(), &Policy::none()).is_ok(), "unknown witnesses are ignored");
}

#[test]
fn proof_files_that_are_refused() {
    let (log, signer) = (Log::of(10, 10), signer());
    let proof = log::prove(4, &signer.checkpoint(&log.head), 10, &log.tiles).unwrap();
    let good = proof.render();
    let first = proof.hashes[0].b64();
    for (bad, why) in [
        (good.replace("@v1", "@v2"), "another version"),
        (good.replace("index 4", "index 04"), "leading zero"),
        (good.replace("index 4", "index +4"), "plus"),
        (good.replace("index 4", "index -1"), "minus"),
        (good.replace("index 4\n", ""), "no index"),
        (good.replace("index 4\n", "index 4\nextra AA==\n"), "extra at the wrong place"),
        (good.replace("index 4\n", "extra AA==\nextra AA==\nindex 4\n"), "two extras"),
        (good.replace(&first, &first[..40]), "a short hash"),
        (good.replace("\n\n", "\n"), "no empty line"),
        (good.replace(&first, &vec![first.as_str(); 64].join("\n")), "too many hashes"),
        (good.replace('\n', "\r\n"), "other line ends"),
        (format!("\n{good}"), "a line before"),
        (String::new(), "nothing"),
    ] {
        assert_eq!(TlogProof::parse(&bad), Err(TlogProofError::Form), "{why}");
    }
    let extra = TlogProof { extra: Some(b"hint".to_vec()), ..proof };
    let read = TlogProof::parse(&extra.render()).unwrap();
    assert_eq!(read.extra.as_deref(), Some(b"hint".as_slice()));
    assert!(read.verify(&entry(4), signer.vkey(), &Policy::none()).is_ok());
}

#[test]
fn a_checkpoint_needs_its_tiles() {
    let none = Tiles::default();
    assert!(log::prove(0, "", 2, &none).is_err());
    let mut log = Log::of(300, 300);
    log.tiles.0.remove("tile/0/000");
    assert!(log::prove(3, "", 300, &log.tiles).is_err());
    assert!(log::prove(299, "", 300, &log.tiles).is_ok(), "this path does not touch the tile that is gone");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A proof file with any byte changed shows the same as before, or nothing: never something else.
    #[test]
    fn no_changed_byte_proves_something_else(place: prop::sample::Index, byte in 0x0au8..0x7f) {
        let (log, signer) = (Log::of(300, 300), signer());
        let proof = log::prove(123, &signer.checkpoint(&log.head), 300, &log.tiles).unwrap();
        let mut bytes = proof.render().into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let changed = String::from_utf8(bytes).ok().and_then(|text| TlogProof::parse(&text).ok());
        if let Some(proved) = changed.and_then(|p| p.verify(&entry(123), signer.vkey(), &Policy::none()).ok()) {
            prop_assert_eq!((proved.index, proved.checkpoint.head()), (123, log.head));
        }
    }

    /// In whatever steps a log grows, it is the same log.
    #[test]
    fn steps_do_not_matter(steps in prop::collection::vec(0u64..400, 1..6)) {
        let mut log = Log::empty();
        steps.iter().for_each(|by| { log.grow(*by); });
        prop_assert_eq!(log.head, head_of(log.head.size));
        for tile in tiles_for(0, log.head.size) {
            prop_assert!(log.tiles.0.contains_key(&tile.path()));
        }
    }
}
