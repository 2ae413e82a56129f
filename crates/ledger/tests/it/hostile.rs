//! Every text that the ledger reads comes from somebody who may be lying: no bytes panic, and what is read says the same
//! when it is written again, so that nothing has two spellings that two readers could take for two things.

use crate::world::Log;
use ledger::SigningKey;
use ledger::checkpoint::Checkpoint;
use ledger::jwks::Jwks;
use ledger::log::LogSigner;
use ledger::note::{Note, NoteSignature, NoteSigner, Vkey};
use ledger::proof::{Policy, TlogProof};
use ledger::tile::{Tile, parse_entries};
use ledger::{receipt, witness};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::sync::LazyLock;

const ORIGIN: &str = "log.hoheit.invalid/de-test-abcd2345/2026h2";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

/// One good text of each kind.
static GOOD: LazyLock<Vec<String>> = LazyLock::new(|| {
    let log = Log::of(300, 7);
    let signer = LogSigner::new(ORIGIN, key(1)).unwrap();
    let checkpoint = signer.checkpoint(&log.head);
    let proof = ledger::log::prove(77, &checkpoint, log.head.size, &log.tiles).unwrap();
    let proof = TlogProof { extra: Some(b"x".to_vec()), ..proof };
    let mut note = Note::parse(&checkpoint).unwrap();
    NoteSigner::new("witness.example", key(2)).unwrap().sign(&mut note);
    vec![
        proof.render(),
        note.to_string(),
        signer.vkey().to_string(),
        witness::render(3, &proof.hashes, &checkpoint),
        ledger::jwks::render(&[key(1).public(), key(2).public()]),
        "tile/entries/x001/x234/067.p/8".to_owned(),
        "tile/0/x001/067".to_owned(),
    ]
});

static SIGNER: LazyLock<LogSigner> = LazyLock::new(|| LogSigner::new(ORIGIN, key(1)).unwrap());

/// All readers at once, so that each also gets what was meant for another.
fn read(text: &str) {
    let vkey = SIGNER.vkey();
    if let Ok(proof) = TlogProof::parse(text) {
        assert_eq!(proof.render(), text);
        // Whether it holds is another matter; asking never panics.
        let _held = proof.verify(&ledger::hash::sha256(&[b"leaf"]), vkey, &Policy::none());
    }
    if let Ok(note) = Note::parse(text) {
        assert_eq!(note.to_string(), text);
        let _signed = note.verify(&[vkey]);
    }
    if let Ok(vkey) = text.parse::<Vkey>() {
        assert_eq!(vkey.to_string(), text);
    }
    if let Ok(signature) = text.parse::<NoteSignature>() {
        assert_eq!(signature.to_string(), text);
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.text(), text);
    }
    if let Ok(tile) = Tile::parse(text) {
        assert_eq!(tile.path(), text);
    }
    let _opened = Checkpoint::open(text, vkey);
    let _decided = witness::add_checkpoint(text, |_| Some(vkey), |_| None);
    let _claims = (receipt::parse(text).is_ok(), receipt::kid_of(text).is_ok(), receipt::claims_of(text).is_ok());
    if let Ok(jwks) = Jwks::parse(text) {
        let _found = jwks.find("kid");
        assert!(receipt::verify(text, &jwks).is_err());
    }
}

/// Entries that are read are written again as they were.
fn read_entries(bytes: &[u8]) {
    if let Some(entries) = parse_entries(bytes) {
        let again: Vec<u8> =
            entries.iter().flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry].concat()).collect();
        assert_eq!(again, bytes);
    }
}

/// The bytes that lenient readers skip.
#[test]
fn no_inserted_byte_makes_a_second_spelling() {
    for text in GOOD.iter() {
        for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            for byte in ["0", "+", " ", "\n", "="] {
                read(&[&text[..at], byte, &text[at..]].concat());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_panics(text in "\\PC{0,200}", lines in vec(select(vec![
        "c2sp.org/tlog-proof@v1", "index 0", "index 00", "extra AA==", "old 0", "", "\u{2014} a AAAAAAAA", "tile/8/000.p/0",
        ORIGIN, "0", "1", "18446744073709551615", "18446744073709551616", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "+1", "a+00000000+AQ==", "{\"keys\":[{}]}", "e30.e30.AA", "\u{0}", "tile/entries/x999/x999/x999/x999/x999/x999/x999/000",
    ]), 0..8)) {
        read(&text);
        read(&lines.join("\n"));
        read(&(lines.join("\n") + "\n"));
    }

    #[test]
    fn no_near_miss_panics_or_has_two_spellings(which: Index, at: Index, other: Index, byte in 0u8..0x80, cut: bool) {
        let text = which.get(&GOOD[..]);
        read(text);
        let mut bytes = text.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        // A dash of the signature line may be broken now: not text, and not read.
        if let Ok(near) = std::str::from_utf8(&bytes) {
            read(near);
        }
        let other = other.index(text.len());
        let (from, to) = (at.min(other), at.max(other));
        if let (Some(part), true) = (text.get(from..to), cut) {
            read(part);
            read(&text.replacen(part, "", 1));
            read(&text.replacen(part, &part.repeat(2), 1));
        }
    }

    #[test]
    fn no_bundle_of_entries_panics(bytes in vec(any::<u8>(), 0..300), entries in vec(vec(any::<u8>(), 0..40), 0..9), at: Index, byte: u8) {
        read_entries(&bytes);
        let mut whole: Vec<u8> =
            entries.iter().flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry].concat()).collect();
        prop_assert_eq!(parse_entries(&whole), Some(entries));
        if !whole.is_empty() {
            let at = at.index(whole.len());
            read_entries(&whole[..at]);
            whole[at] = byte;
            read_entries(&whole);
        }
    }
}
