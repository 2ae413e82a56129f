//! tlog-proof@v1: one file that shows offline that a leaf is in the log: index, path and signed checkpoint together.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64, not authenticated, optional>
//! index <n>
//! <hash, the leaf's sibling first>
//!
//! <checkpoint with its signatures>
//! ```
//!
//! `extra` is carried and never trusted: nothing covers it.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::{self, Hash, leaf_hash};
use crate::note::{Note, NoteError, Vkey};
use crate::tree::{self, PROOF_HASHES_MAX, ProofError};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// The leaf's place in the log, from 0.
    pub index: u64,
    pub hashes: Vec<Hash>,
    /// The whole signed note, verbatim.
    pub checkpoint: String,
    pub extra: Option<Vec<u8>>,
}

/// How many of which witnesses must have cosigned. Without witnesses the log's own signature stands alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    pub witnesses: Vec<Vkey>,
    pub quorum: usize,
}

impl Policy {
    /// No witnesses asked for: this shows nothing about split views, and callers say so.
    pub fn none() -> Policy {
        Policy::default()
    }
}

/// What a proof shows once it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    pub index: u64,
    pub checkpoint: Checkpoint,
    /// Names of the policy's witnesses that cosigned.
    pub cosigned: Vec<String>,
}

/// A checkpoint whose signatures hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub checkpoint: Checkpoint,
    /// Names of the policy's witnesses that cosigned.
    pub cosigned: Vec<String>,
}

/// Why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    #[error("not a tlog-proof (first line \"{FIRST_LINE}\", then index, hashes, an empty line and a checkpoint)")]
    Form,
    #[error("the proof's checkpoint does not hold: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("a cosignature does not hold: {0}")]
    Cosignature(#[source] NoteError),
    #[error("{got} of the {wanted} witnesses that the policy asks for cosigned")]
    Quorum { got: usize, wanted: usize },
    #[error("the leaf is not at its place in the log: {0}")]
    Inclusion(#[from] ProofError),
}

impl TlogProof {
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(64 + 45 * self.hashes.len() + self.checkpoint.len());
        text += FIRST_LINE;
        if let Some(extra) = &self.extra {
            text += &format!("\nextra {}", hash::b64(extra));
        }
        text += &format!("\nindex {}\n", self.index);
        for hash in &self.hashes {
            hash::b64_into(&hash.0, &mut text);
            text.push('\n');
        }
        text + "\n" + &self.checkpoint
    }

    pub fn parse(text: &str) -> Result<TlogProof, TlogProofError> {
        let read = || {
            let (head, checkpoint) = text.split_once("\n\n")?;
            let mut lines = head.split('\n').peekable();
            lines.next().filter(|line| *line == FIRST_LINE)?;
            let extra = match lines.peek()?.strip_prefix("extra ") {
                Some(extra) => Some(hash::from_b64(extra)?),
                None => None,
            };
            if extra.is_some() {
                lines.next();
            }
            let index = lines.next()?.strip_prefix("index ")?.parse().ok()?;
            let hashes: Vec<Hash> = lines.map(Hash::from_b64).collect::<Option<_>>()?;
            Some(TlogProof { index, hashes, checkpoint: checkpoint.to_owned(), extra })
        };
        let proof = read().filter(|proof| proof.hashes.len() <= PROOF_HASHES_MAX);
        // One spelling per proof: leading zeros and plus signs are refused with the rest.
        proof.filter(|proof| proof.render() == text).ok_or(TlogProofError::Form)
    }

    /// Checks everything: the log's signature, the witnesses' quorum, and the path from `leaf` (the 32-byte entry, see
    /// [`crate::receipt::leaf`]) to the checkpoint's root.
    pub fn verify(&self, leaf: &Hash, log: &Vkey, policy: &Policy) -> Result<Proved, TlogProofError> {
        let Opened { checkpoint, cosigned } = self.open(log, policy)?;
        self.leads_to(leaf, &checkpoint)?;
        Ok(Proved { index: self.index, checkpoint, cosigned })
    }

    /// Checks the checkpoint alone: the log's signature and the witnesses' quorum. A function of the checkpoint's text, so
    /// who checks many proofs under one checkpoint asks once, and then only whether each [leads to](Self::leads_to) it.
    pub fn open(&self, log: &Vkey, policy: &Policy) -> Result<Opened, TlogProofError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, log)?;
        let cosigned = self.cosigners(policy)?;
        if cosigned.len() < policy.quorum {
            return Err(TlogProofError::Quorum { got: cosigned.len(), wanted: policy.quorum });
        }
        Ok(Opened { checkpoint, cosigned })
    }

    /// Checks the path from `leaf` to the root of this proof's checkpoint, which was opened.
    pub fn leads_to(&self, leaf: &Hash, checkpoint: &Checkpoint) -> Result<(), TlogProofError> {
        Ok(tree::verify_inclusion(&leaf_hash(&leaf.0), self.index, &checkpoint.head(), &self.hashes)?)
    }

    fn cosigners(&self, policy: &Policy) -> Result<Vec<String>, TlogProofError> {
        let note = Note::parse(&self.checkpoint).map_err(CheckpointError::from)?;
        let witnesses: Vec<&Vkey> = policy.witnesses.iter().collect();
        match note.verify(&witnesses) {
            Ok(signers) => Ok(signers.iter().map(|signer| signer.name().to_owned()).collect()),
            Err(NoteError::Unsigned) => Ok(Vec::new()),
            Err(error) => Err(TlogProofError::Cosignature(error)),
        }
    }
}
