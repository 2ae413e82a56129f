//! Notes, vkeys and checkpoints against signed_note and tlog_tiles.

use crate::world::Log;
use ledger::SigningKey;
use ledger::checkpoint::Checkpoint;
use ledger::hash::b64;
use ledger::log::LogSigner;
use ledger::note::{KeyKind, Note, NoteError, NoteSigner, Vkey, VkeyError};
use signed_note::{StandardSigner, StandardVerifier, VerifierList};

const VECTOR_VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const VECTOR: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
const ORIGIN: &str = "log.hoheit.invalid/de-test-abcd2345/2026h2";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn oracle(vkey: &Vkey) -> VerifierList {
    VerifierList::new(vec![Box::new(StandardVerifier::new(&vkey.to_string()).unwrap())])
}

#[test]
fn the_specifications_vector() {
    let vkey: Vkey = VECTOR_VKEY.parse().unwrap();
    assert_eq!(vkey.to_string(), VECTOR_VKEY);
    assert_eq!((vkey.name(), vkey.id(), vkey.kind()), ("example.com/foo", 0x530d_903a, KeyKind::Ed25519));
    let note = Note::parse(VECTOR).unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    assert_eq!(note.to_string(), VECTOR);
    assert_eq!(note.verify(&[&vkey]).unwrap(), [&vkey]);
}

#[test]
fn the_oracle_verifies_ours() {
    let signer = NoteSigner::new("example.org/n", key(1)).unwrap();
    for text in ["one\n", "two\n\nparagraphs\n", "\n", "Grüße, 東京\n"] {
        let mut note = Note::new(text).unwrap();
        signer.sign(&mut note);
        let theirs = signed_note::Note::from_bytes(note.to_string().as_bytes()).unwrap();
        let (known, unknown) = theirs.verify(&oracle(&signer.vkey)).unwrap();
        assert_eq!((known.len(), unknown.len()), (1, 0), "{text:?}");
        assert_eq!(theirs.text(), text.as_bytes());
    }
}

#[test]
fn we_verify_the_oracles() {
    let vkey = Vkey::ed25519("example.org/n", &key(1).public()).unwrap();
    let typed = [&[1u8], [1u8; 32].as_slice()].concat();
    let secret = format!("PRIVATE+KEY+example.org/n+{:08x}+{}", vkey.id(), b64(&typed));
    let signer = StandardSigner::new(&secret).unwrap();
    let mut theirs = signed_note::Note::new(b"theirs\n", &[]).unwrap();
    theirs.add_sigs(&[&signer]).unwrap();
    let note = Note::parse(&String::from_utf8(theirs.to_bytes()).unwrap()).unwrap();
    assert_eq!(note.verify(&[&vkey]).unwrap(), [&vkey]);
}

/// Both read or both refuse. Where we are stricter than the specification's floor, it says so.
#[test]
fn both_refuse_the_same_forms() {
    let line = VECTOR.rsplit_once("\n\n").unwrap().1;
    for (bad, why) in [
        ("".to_owned(), "empty"),
        ("text\n".to_owned(), "no signatures"),
        ("text\n\n".to_owned(), "no signature lines"),
        (VECTOR.trim_end().to_owned(), "no line end at the end"),
        (VECTOR.replace('\u{2014}', "-"), "hyphen for dash"),
        (VECTOR.replace("foo Uw2", "foo  Uw2"), "two spaces"),
        (VECTOR.replace("example.com/foo", ""), "no name"),
        (VECTOR.replace("example.com/foo", "a+b"), "plus in a name"),
        (VECTOR.replace("aQM=", "aQM"), "no padding"),
        (VECTOR.replace("This is", "This\tis"), "control character in the text"),
        (format!("{VECTOR}extra line\n"), "a line that is no signature"),
        (format!("{VECTOR}\n"), "an empty line after the signatures"),
        (VECTOR.replace("\n\n", "\n"), "no empty line"),
        (format!("text\n\n{}", line.repeat(101)), "too many signatures"),
        ("text\n\n\u{2014} name AAAA\n".to_owned(), "shorter than a key id"),
    ] {
        assert!(Note::parse(&bad).is_err(), "ours: {why}");
        assert!(signed_note::Note::from_bytes(bad.as_bytes()).is_err(), "theirs: {why}");
    }
}

#[test]
fn who_signed() {
    let (one, two) = (NoteSigner::new("a.example", key(1)).unwrap(), NoteSigner::new("b.example", key(2)).unwrap());
    let mut note = Note::new("text\n").unwrap();
    one.sign(&mut note);
    assert_eq!(note.verify(&[&two.vkey]), Err(NoteError::Unsigned), "an unknown signature does not count");
    two.sign(&mut note);
    assert_eq!(note.verify(&[&one.vkey, &two.vkey]).unwrap().len(), 2);
    two.sign(&mut note);
    assert_eq!(note.verify(&[&two.vkey]).unwrap().len(), 1, "the same signer twice is one");
    note.signatures[1].bytes[0] ^= 1;
    assert_eq!(note.verify(&[&one.vkey]).unwrap().len(), 1, "unknown and broken is ignored");
    let broken = note.verify(&[&one.vkey, &two.vkey]);
    assert_eq!(broken, Err(NoteError::Signature("b.example".to_owned())), "known and broken rejects the note");
    // A key that claims the name of another has another id.
    let thief = NoteSigner::new("a.example", key(9)).unwrap();
    let mut note = Note::new("text\n").unwrap();
    thief.sign(&mut note);
    assert_eq!(note.verify(&[&one.vkey]), Err(NoteError::Unsigned));
}

#[test]
fn vkeys_that_are_refused() {
    let ml_dsa = {
        let typed = [&[6u8], [5u8; 1_312].as_slice()].concat();
        let digest = ledger::hash::sha256(&[b"w.example\n", &typed]).0;
        format!("w.example+{}+{}", ledger::hash::hex(&digest[..4]), b64(&typed))
    };
    assert_eq!(ml_dsa.parse::<Vkey>().unwrap().kind(), KeyKind::MlDsa44);
    let cosigner = Vkey::cosigner("w.example", &key(4).public()).unwrap();
    assert_eq!(cosigner.to_string().parse::<Vkey>(), Ok(cosigner));
    for (bad, expect) in [
        ("", VkeyError::Form),
        ("name", VkeyError::Form),
        ("example.com/foo+530d903a", VkeyError::Form),
        ("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2", VkeyError::Form),
        ("example.com/bar+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", VkeyError::Id),
        ("example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", VkeyError::Id),
        ("example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", VkeyError::Id),
        ("example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", VkeyError::Kind(2)),
        ("example com+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", VkeyError::Form),
    ] {
        assert_eq!(bad.parse::<Vkey>().unwrap_err(), expect, "{bad}");
    }
}

#[test]
fn checkpoints_as_the_oracle_reads_them() {
    let signer = LogSigner::new(ORIGIN, key(1)).unwrap();
    let log = Log::of(300, 77);
    let note = signer.checkpoint(&log.head);
    let ours = Checkpoint::open(&note, signer.vkey()).unwrap();
    assert_eq!((ours.origin.as_str(), ours.head()), (ORIGIN, log.head));
    let parsed = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    parsed.verify(&oracle(signer.vkey())).unwrap();
    let theirs = tlog_tiles::Checkpoint::from_bytes(parsed.text()).unwrap();
    assert_eq!((theirs.origin(), theirs.size(), theirs.hash().0), (ORIGIN, 300, log.head.root.0));
    assert_eq!(theirs.to_bytes(), ours.text().as_bytes());
    // The same tree is signed with the same bytes, whenever.
    assert_eq!(signer.checkpoint(&log.head), note);
}

#[test]
fn checkpoints_that_are_refused() {
    let root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let good = format!("o.example/l\n0\n{root}\n");
    assert!(Checkpoint::parse(&good).is_ok());
    for bad in [
        good.replace("\n0\n", "\n00\n"),
        good.replace("\n0\n", "\n+0\n"),
        good.replace("\n0\n", "\n-1\n"),
        good.replace("\n0\n", "\n18446744073709551616\n"),
        good.replace("\n0\n", "\n\n"),
        good.replace("U=\n", "U\n"),
        good.replace("FU=", "FV="),
        good.replace("o.example/l", ""),
        good.replace("o.example/l", "o example"),
        good.replace("o.example/l", "o+example"),
        format!("{good}extension\n"),
        good.trim_end().to_owned(),
        String::new(),
    ] {
        assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
    }
    let (ours, other) = (LogSigner::new(ORIGIN, key(1)).unwrap(), LogSigner::new("o.example/l", key(2)).unwrap());
    let note = other.checkpoint(&Log::empty().head);
    assert!(Checkpoint::open(&note, ours.vkey()).is_err(), "another log's");
    assert!(
        Checkpoint { origin: "x".into(), size: 0, root: Log::empty().head.root }
            .sign(&NoteSigner::new(ORIGIN, key(1)).unwrap())
            .is_err()
    );
    // Our key under our name over another origin: the origin must be the key's name.
    let mut note = Note::new(&good).unwrap();
    NoteSigner::new(ORIGIN, key(1)).unwrap().sign(&mut note);
    assert!(Checkpoint::open(&note.to_string(), ours.vkey()).is_err());
}
