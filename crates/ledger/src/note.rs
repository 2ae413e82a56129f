//! signed-note v1: a text, an empty line, and one line per signature: `— name base64(key id || signature)`.
//!
//! Also the verifier keys (vkeys) that name a signer: `name+hex(key id)+base64(type || public key)`. Types 0x01
//! (Ed25519), 0x04 (Ed25519 cosignature) and 0x06 (ML-DSA-44 cosignature) are recognised; 0x06 is read and printed but
//! not yet verified here, so it never counts as a signature.
//!
//! A signature of an unknown key is ignored: notes gather witnesses' signatures that a reader need not know. A
//! signature that claims a known key and does not fit rejects the whole note.

use crate::cosignature;
use crate::hash::{self, sha256};
use crate::key::{self, SigningKey};
use std::fmt;
use std::str::FromStr;

/// A checkpoint with 100 cosignatures has about 20 kB.
pub const NOTE_BYTES_MAX: usize = 1_000_000;
/// The specification asks for at least 16.
pub const SIGNATURES_MAX: usize = 100;

/// Why a text is not a note, or not one that the verifier believes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("not a signed note: text, an empty line, then lines \"— name base64\"")]
    Form,
    #[error("\"{0}\" is not a name of a key: it must not be empty or hold spaces or \"+\"")]
    Name(String),
    #[error("the signature of \"{0}\" does not fit the text")]
    Signature(String),
    #[error("no signature by a key that is trusted here")]
    Unsigned,
}

/// Why a text is not a verifier key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VkeyError {
    #[error("a verifier key looks like name+0123abcd+base64")]
    Form,
    #[error("the key's type 0x{0:02x} is not known here (0x01, 0x04 and 0x06 are)")]
    Kind(u8),
    #[error("the key id in the text does not fit name and key: it was mistyped or changed")]
    Id,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Ed25519,
    /// Ed25519 over `cosignature/v1`, time and checkpoint.
    Cosignature,
    /// ML-DSA-44 over a subtree: recognised, not verified.
    MlDsa44,
}

impl KeyKind {
    fn byte(self) -> u8 {
        match self {
            KeyKind::Ed25519 => 0x01,
            KeyKind::Cosignature => 0x04,
            KeyKind::MlDsa44 => 0x06,
        }
    }

    fn public_bytes(self) -> usize {
        if self == KeyKind::MlDsa44 { 1_312 } else { 32 }
    }
}

/// A verifier key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vkey {
    name: String,
    id: u32,
    kind: KeyKind,
    public: Vec<u8>,
}

impl Vkey {
    /// The verifier key of an Ed25519 public key.
    pub fn ed25519(name: &str, public: &[u8; 32]) -> Result<Vkey, NoteError> {
        Vkey::new(name, KeyKind::Ed25519, public.to_vec())
    }

    /// The verifier key of a witness. A key that cosigns must sign nothing else.
    pub fn cosigner(name: &str, public: &[u8; 32]) -> Result<Vkey, NoteError> {
        Vkey::new(name, KeyKind::Cosignature, public.to_vec())
    }

    fn new(name: &str, kind: KeyKind, public: Vec<u8>) -> Result<Vkey, NoteError> {
        if !is_name(name) {
            return Err(NoteError::Name(name.to_owned()));
        }
        let digest = sha256(&[name.as_bytes(), b"\n", &[kind.byte()], &public]).0;
        let id = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        Ok(Vkey { name: name.to_owned(), id, kind, public })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The public key, where it is Ed25519's.
    pub fn public(&self) -> Option<&[u8; 32]> {
        self.public.as_slice().try_into().ok()
    }

    /// True if `signature` (without the key id) is this key's over the note's text.
    fn fits(&self, text: &str, signature: &[u8]) -> bool {
        match (self.kind, self.public()) {
            (KeyKind::Ed25519, Some(public)) => {
                signature.try_into().is_ok_and(|signature| key::verify(public, text.as_bytes(), signature))
            }
            (KeyKind::Cosignature, Some(public)) => cosignature::verify(public, text, signature).is_some(),
            _ => false,
        }
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = [&[self.kind.byte()], self.public.as_slice()].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.id, hash::b64(&typed))
    }
}

impl FromStr for Vkey {
    type Err = VkeyError;

    fn from_str(text: &str) -> Result<Vkey, VkeyError> {
        // Base64 may hold "+", names and ids may not.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VkeyError::Form);
        };
        let typed = hash::from_b64(key).ok_or(VkeyError::Form)?;
        let (&byte, public) = typed.split_first().ok_or(VkeyError::Form)?;
        let kinds = [KeyKind::Ed25519, KeyKind::Cosignature, KeyKind::MlDsa44];
        let kind = kinds.into_iter().find(|kind| kind.byte() == byte).ok_or(VkeyError::Kind(byte))?;
        if public.len() != kind.public_bytes() {
            return Err(VkeyError::Form);
        }
        let vkey = Vkey::new(name, kind, public.to_vec()).map_err(|_| VkeyError::Form)?;
        if format!("{:08x}", vkey.id) == id { Ok(vkey) } else { Err(VkeyError::Id) }
    }
}

/// A signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    pub name: String,
    pub id: u32,
    /// Without the key id.
    pub bytes: Vec<u8>,
}

impl fmt::Display for NoteSignature {
    /// The line without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.to_be_bytes().as_slice(), &self.bytes].concat();
        write!(f, "\u{2014} {} {}", self.name, hash::b64(&bytes))
    }
}

impl FromStr for NoteSignature {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<NoteSignature, NoteError> {
        let (name, bytes) = line.strip_prefix("\u{2014} ").and_then(|l| l.split_once(' ')).ok_or(NoteError::Form)?;
        if !is_name(name) {
            return Err(NoteError::Name(name.to_owned()));
        }
        let bytes = hash::from_b64(bytes).ok_or(NoteError::Form)?;
        let (id, bytes) = bytes.split_first_chunk::<4>().ok_or(NoteError::Form)?;
        if bytes.is_empty() {
            return Err(NoteError::Form);
        }
        Ok(NoteSignature { name: name.to_owned(), id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
    }
}

/// A text with signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    pub signatures: Vec<NoteSignature>,
}

impl Note {
    /// A note without signatures yet.
    pub fn new(text: &str) -> Result<Note, NoteError> {
        let clean = text.chars().all(|c| c == '\n' || !c.is_control());
        if !text.ends_with('\n') || !clean || text.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Form);
        }
        Ok(Note { text: text.to_owned(), signatures: Vec::new() })
    }

    pub fn parse(note: &str) -> Result<Note, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Form);
        }
        // The text may hold empty lines: the last one separates.
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Form)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
        if lines.split('\n').count() > SIGNATURES_MAX || lines.chars().any(|c| c != '\n' && c.is_control()) {
            return Err(NoteError::Form);
        }
        let signatures = lines.split('\n').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Note { signatures, ..Note::new(&format!("{text}\n"))? })
    }

    /// What is signed; ends with a line end.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures of these keys. Each must fit if it is there, and at least one must be there.
    pub fn verify<'a>(&self, trusted: &[&'a Vkey]) -> Result<Vec<&'a Vkey>, NoteError> {
        let mut signers: Vec<&'a Vkey> = Vec::new();
        for signature in &self.signatures {
            let names = |vkey: &&&'a Vkey| vkey.name == signature.name && vkey.id == signature.id;
            let Some(vkey) = trusted.iter().find(names) else { continue };
            if vkey.kind == KeyKind::MlDsa44 {
                continue;
            }
            if !vkey.fits(&self.text, &signature.bytes) {
                return Err(NoteError::Signature(signature.name.clone()));
            }
            // The same key twice is one signer.
            if !signers.contains(vkey) {
                signers.push(vkey);
            }
        }
        if signers.is_empty() { Err(NoteError::Unsigned) } else { Ok(signers) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// A key that signs notes under a name.
pub struct NoteSigner {
    pub vkey: Vkey,
    key: SigningKey,
}

impl NoteSigner {
    pub fn new(name: &str, key: SigningKey) -> Result<NoteSigner, NoteError> {
        Ok(NoteSigner { vkey: Vkey::ed25519(name, &key.public())?, key })
    }

    pub fn sign(&self, note: &mut Note) {
        let bytes = self.key.sign(note.text.as_bytes()).to_vec();
        note.signatures.push(NoteSignature { name: self.vkey.name.clone(), id: self.vkey.id, bytes });
    }
}

/// A key's name: not empty, no Unicode spaces, no plus.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('+') && !name.chars().any(|c| c.is_whitespace() || c.is_control())
}
