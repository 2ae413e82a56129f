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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;
    use crate::hash::leaf_hash;
    use crate::log::LogSigner;
    use crate::tree::{Frontier, HashReader, consistency_proof};
    use std::convert::Infallible;

    fn signer(name: &str, seed: u8) -> LogSigner {
        LogSigner::new(name, SigningKey::from_seed(&[seed; 32]).unwrap()).unwrap()
    }

    /// The tree whose leaf `n` is the byte `n + first`: another `first`, another history.
    struct Leaves(u8);

    impl HashReader for Leaves {
        type Error = Infallible;
        fn read(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
            let mut frontier = Frontier::default();
            (index << level..(index + 1) << level).for_each(|n| frontier.push(leaf_hash(&[n as u8 + self.0])));
            Ok(frontier.root())
        }
    }

    fn head(size: u64) -> TreeHead {
        TreeHead { size, root: tree::root(size, &Leaves(0)).unwrap() }
    }

    /// Asks a witness that saw `latest` of the log "ours.example" last.
    fn check(latest: Option<TreeHead>, body: &str, expect: Result<u64, u16>) {
        let ours = signer("ours.example", 1);
        let decision = add_checkpoint(body, |o| (o == "ours.example").then_some(ours.vkey()), |_| latest);
        let got = match &decision {
            Decision::Cosign(head) => Ok(head.size),
            Decision::Refuse(refusal) => Err(refusal.status()),
        };
        assert_eq!(got, expect, "{decision:?} to\n{body}");
    }

    fn body(old: u64, proof_from: u64, to: u64) -> String {
        let proof = consistency_proof(proof_from, to, &Leaves(0)).unwrap();
        render(old, &proof, &signer("ours.example", 1).checkpoint(&head(to)))
    }

    #[test]
    fn every_status() {
        // 200: first sight, growth, and the same again.
        check(None, &body(0, 0, 5), Ok(5));
        check(None, &body(0, 0, 0), Ok(0));
        check(Some(head(5)), &body(5, 5, 9), Ok(9));
        check(Some(head(5)), &body(5, 5, 5), Ok(5));
        // 400: no request at all, or old is larger than the checkpoint.
        for bad in
            ["", "old 5", "old x\n\n", &body(5, 5, 9).replace("old 5", "old 05"), &body(5, 5, 9).replace("old", "new")]
        {
            check(Some(head(5)), bad, Err(400));
        }
        check(Some(head(9)), &body(9, 0, 5), Err(400));
        let hash = EMPTY_ROOT.b64() + "\n";
        check(Some(head(5)), &body(5, 5, 9).replacen("old 5\n", &format!("old 5\n{}", hash.repeat(64)), 1), Err(400));
        // 403: not the log's key.
        let proof = consistency_proof(5, 9, &Leaves(0)).unwrap();
        check(Some(head(5)), &render(5, &proof, &signer("ours.example", 9).checkpoint(&head(9))), Err(403));
        check(Some(head(5)), &body(5, 5, 9).replacen("\n9\n", "\n8\n", 1), Err(403));
        // 404: not a log that we know.
        check(Some(head(5)), &render(5, &proof, &signer("other.example", 1).checkpoint(&head(9))), Err(404));
        // 409: another place than the latest.
        check(Some(head(5)), &body(4, 4, 9), Err(409));
        check(None, &body(5, 5, 9), Err(409));
        check(Some(head(5)), &body(0, 0, 9), Err(409));
        // 422: bad proof, same size with another root, proof where there is none, size 0 without the empty root.
        check(Some(head(5)), &body(5, 4, 9), Err(422));
        check(Some(head(5)), &body(5, 0, 9), Err(422));
        let fork = TreeHead { size: 5, root: tree::root(5, &Leaves(7)).unwrap() };
        check(Some(head(5)), &render(5, &[], &signer("ours.example", 1).checkpoint(&fork)), Err(422));
        check(None, &render(0, &proof, &signer("ours.example", 1).checkpoint(&head(9))), Err(422));
        let hollow = TreeHead { size: 0, root: fork.root };
        check(None, &render(0, &[], &signer("ours.example", 1).checkpoint(&hollow)), Err(422));
    }

    /// The scenario witnesses exist for: another history of the same log, correctly signed and provable in itself.
    #[test]
    fn f18_a_fork_is_refused() {
        let fork = TreeHead { size: 9, root: tree::root(9, &Leaves(7)).unwrap() };
        let proof = consistency_proof(5, 9, &Leaves(7)).unwrap();
        check(Some(head(5)), &render(5, &proof, &signer("ours.example", 1).checkpoint(&fork)), Err(422));
    }

    #[test]
    fn a_conflict_tells_the_size() {
        let refusal = Refusal::Conflict { latest: 5 };
        assert_eq!(refusal.body(), Some(("text/x.tlog.size", "5\n".to_owned())));
        assert_eq!(Refusal::Inconsistent.body(), None);
    }
}
