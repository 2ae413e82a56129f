//! tlog-cosignature, Ed25519: a witness's statement that at a time it saw a checkpoint consistent with every earlier
//! one. The signature in the note is eight bytes of POSIX seconds, big-endian, and the Ed25519 signature over
//! `cosignature/v1`, that time and the whole checkpoint text.
//!
//! The witness's name is not covered by the signature, hence one key per name and nothing else signed with it.

use crate::key::{self, SigningKey};
use crate::note::{Note, NoteError, NoteSignature, Vkey};

/// A witness's key under its name.
pub struct Cosigner {
    pub vkey: Vkey,
    key: SigningKey,
}

impl Cosigner {
    pub fn new(name: &str, key: SigningKey) -> Result<Cosigner, NoteError> {
        Ok(Cosigner { vkey: Vkey::cosigner(name, &key.public())?, key })
    }

    /// The line that a witness answers. The caller has checked and persisted the checkpoint before this is called: a
    /// crash in between costs a cosignature, the other order could give two that contradict.
    pub fn sign(&self, note: &Note, posix_seconds: u64) -> NoteSignature {
        let signature = self.key.sign(message(note.text(), posix_seconds).as_bytes());
        let bytes = [posix_seconds.to_be_bytes().as_slice(), &signature].concat();
        NoteSignature { name: self.vkey.name().to_owned(), id: self.vkey.id(), bytes }
    }
}

/// The time of the cosignature, if it fits.
pub fn verify(public: &[u8; 32], checkpoint_text: &str, bytes: &[u8]) -> Option<u64> {
    let (time, signature) = bytes.split_first_chunk::<8>()?;
    let time = u64::from_be_bytes(*time);
    let signature = signature.try_into().ok()?;
    key::verify(public, message(checkpoint_text, time).as_bytes(), signature).then_some(time)
}

fn message(checkpoint_text: &str, posix_seconds: u64) -> String {
    format!("cosignature/v1\ntime {posix_seconds}\n{checkpoint_text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_and_text_are_covered() {
        let cosigner = Cosigner::new("witness.example/w1", SigningKey::from_seed(&[3; 32]).unwrap()).unwrap();
        let note = Note::new("origin\n1\nroot\n").unwrap();
        let line = cosigner.sign(&note, 1_790_000_000);
        let public = cosigner.vkey.public().unwrap();
        assert_eq!(verify(public, note.text(), &line.bytes), Some(1_790_000_000));
        assert_eq!(verify(public, "origin\n2\nroot\n", &line.bytes), None);
        assert_eq!(verify(public, note.text(), &line.bytes[..71]), None);
        let mut later = line.bytes.clone();
        later[7] ^= 1;
        assert_eq!(verify(public, note.text(), &later), None);
    }

    #[test]
    fn counts_as_a_signature_of_the_note() {
        let cosigner = Cosigner::new("witness.example/w1", SigningKey::from_seed(&[3; 32]).unwrap()).unwrap();
        let mut note = Note::new("origin\n1\nroot\n").unwrap();
        note.signatures.push(cosigner.sign(&note, 7));
        let note = Note::parse(&note.to_string()).unwrap();
        assert_eq!(note.verify(&[&cosigner.vkey]).unwrap(), vec![&cosigner.vkey]);
        // The same key as a plain Ed25519 one has another id: the signature does not count for it.
        let plain = Vkey::ed25519("witness.example/w1", cosigner.vkey.public().unwrap()).unwrap();
        assert_eq!(note.verify(&[&plain]), Err(NoteError::Unsigned));
    }
}
