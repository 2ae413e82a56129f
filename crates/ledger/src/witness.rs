//! tlog-witness: the rules by which a witness cosigns, as a pure decision. A witness holds one head per log and signs
//! only what continues it, so an operator who shows two customers two logs needs two witnesses to lie.
//!
//! The shell around this file reads the stored head, decides, and for [`Decision::Cosign`] stores the new head
//! *atomically against the one it read* before it answers. If we crash after storing and before answering, the log
//! asks again, gets 409 with the size, and continues. The other order could cosign two histories.

use crate::checkpoint::Checkpoint;
use crate::hash::{EMPTY_ROOT, Hash};
use crate::note::{Note, Vkey};
use crate::tree::{self, PROOF_HASHES_MAX, TreeHead};

/// The body of `add-checkpoint`: proof lines of 45 bytes and a checkpoint. Anything longer is no request.
pub const REQUEST_BYTES_MAX: usize = 65_536;

/// A parsed `add-checkpoint` request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub old_size: u64,
    pub proof: Vec<Hash>,
    pub note: Note,
    pub checkpoint: Checkpoint,
}

/// The body is not an `add-checkpoint` request: answer 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an add-checkpoint request: \"old <size>\", at most {PROOF_HASHES_MAX} hashes, an empty line, a checkpoint"
)]
pub struct RequestError;

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// 200: store this head for the origin, then answer with a cosignature line.
    Cosign(TreeHead),
    Refuse(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 400: not a request, or `old` is larger than the checkpoint.
    Malformed,
    /// 404: a log that this witness does not know.
    UnknownOrigin,
    /// 403: no signature of the log's key.
    Unsigned,
    /// 409: `old` is not what this witness saw last; the answer tells what that was.
    Conflict { latest: u64 },
    /// 422: the checkpoint does not continue what this witness saw.
    Inconsistent,
}

impl Refusal {
    pub fn status(self) -> u16 {
        match self {
            Refusal::Malformed => 400,
            Refusal::Unsigned => 403,
            Refusal::UnknownOrigin => 404,
            Refusal::Conflict { .. } => 409,
            Refusal::Inconsistent => 422,
        }
    }

    /// Content type and body, where the protocol fixes them.
    pub fn body(self) -> Option<(&'static str, String)> {
        match self {
            Refusal::Conflict { latest } => Some(("text/x.tlog.size", format!("{latest}\n"))),
            _ => None,
        }
    }
}

impl Request {
    pub fn parse(body: &str) -> Result<Request, RequestError> {
        let read = || {
            let (head, note) = body.split_once("\n\n")?;
            let mut lines = head.split('\n');
            let old = lines.next()?.strip_prefix("old ")?;
            let old_size: u64 = old.parse().ok()?;
            let proof: Vec<Hash> = lines.map(Hash::from_b64).collect::<Option<_>>()?;
            let note = Note::parse(note).ok()?;
            let checkpoint = Checkpoint::parse(note.text()).ok()?;
            let sound = old_size.to_string() == old && proof.len() <= PROOF_HASHES_MAX;
            sound.then_some(Request { old_size, proof, note, checkpoint })
        };
        if body.len() > REQUEST_BYTES_MAX { Err(RequestError) } else { read().ok_or(RequestError) }
    }
}

/// Decides on a body. `log` gives the key of a known origin; `latest` the head that this witness signed last for it,
/// none if it never did.
pub fn add_checkpoint<'a>(
    body: &str,
    log: impl Fn(&str) -> Option<&'a Vkey>,
    latest: impl Fn(&str) -> Option<TreeHead>,
) -> Decision {
    let Ok(request) = Request::parse(body) else { return Decision::Refuse(Refusal::Malformed) };
    let origin = &request.checkpoint.origin;
    match log(origin) {
        None => Decision::Refuse(Refusal::UnknownOrigin),
        Some(vkey) => decide(latest(origin).unwrap_or(TreeHead::EMPTY), vkey, &request),
    }
}

/// The rules for a known log.
pub fn decide(latest: TreeHead, log: &Vkey, request: &Request) -> Decision {
    let new = request.checkpoint.head();
    match check(latest, log, request) {
        Ok(()) => Decision::Cosign(new),
        Err(refusal) => Decision::Refuse(refusal),
    }
}

fn check(latest: TreeHead, log: &Vkey, request: &Request) -> Result<(), Refusal> {
    let new = request.checkpoint.head();
    if request.checkpoint.origin != log.name() {
        return Err(Refusal::UnknownOrigin);
    }
    request.note.verify(&[log]).map_err(|_| Refusal::Unsigned)?;
    if request.old_size > new.size {
        return Err(Refusal::Malformed);
    }
    if request.old_size != latest.size {
        return Err(Refusal::Conflict { latest: latest.size });
    }
    if new.size == 0 && new.root != EMPTY_ROOT {
        return Err(Refusal::Inconsistent);
    }
    // Also refuses: equal size with another root, and a proof where there is nothing to prove.
    tree::verify_consistency(&latest, &new, &request.proof).map_err(|_| Refusal::Inconsistent)
}

/// A log's request to a witness, as text.
pub fn render(old_size: u64, proof: &[Hash], checkpoint_note: &str) -> String {
    let lines: String = proof.iter().map(|hash| hash.b64() + "\n").collect();
    format!("old {old_size}\n{lines}\n{checkpoint_note}")
}
