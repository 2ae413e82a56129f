//! Everything of the transparency log that is text: notes, keys, checkpoints, proofs, witness requests, tile paths, key
//! sets, receipts. Nothing panics, and what is read has one spelling.

#![no_main]

use ledger::checkpoint::Checkpoint;
use ledger::jwks::Jwks;
use ledger::note::{Note, NoteSignature, Vkey};
use ledger::proof::{Policy, TlogProof};
use ledger::tile::Tile;
use ledger::{receipt, witness};
use std::sync::LazyLock;

const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
static LOG: LazyLock<Vkey> = LazyLock::new(|| VKEY.parse().expect("a key"));

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(proof) = TlogProof::parse(text) {
        assert_eq!(proof.render(), text);
        let _held = proof.verify(&ledger::hash::sha256(&[b"leaf"]), &LOG, &Policy::none());
    }
    if let Ok(note) = Note::parse(text) {
        assert_eq!(note.to_string(), text);
        let _signed = note.verify(&[&LOG]);
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
    let _opened = Checkpoint::open(text, &LOG);
    let _decided = witness::add_checkpoint(text, |_| Some(&*LOG), |_| None);
    let _read = (receipt::parse(text).is_ok(), receipt::claims_of(text).is_ok());
    if let Ok(jwks) = Jwks::parse(text) {
        let _found = jwks.find("kid");
    }
});
