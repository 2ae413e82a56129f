//! A thread for each core, each checking pieces of an export: signature, place in the log. What ties receipts together is
//! judged afterwards, in [`crate::chain`], over what is kept here: a few numbers of each, not its text.
//!
//! Every signature of every receipt is checked. One thing is not done twice: a checkpoint's own signatures are checked
//! once for each text of a checkpoint, however many proofs carry it; byte for byte the same text has the same answer.
//! The order of threads changes nothing: results are put back into the order of the pieces.

use crate::export::{Label, Piece, Pieces};
use crate::words::Fault;
use ledger::hash::Hash;
use ledger::jwks::Jwks;
use ledger::note::Vkey;
use ledger::proof::{Opened, Policy, TlogProof, TlogProofError};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use types::{IncarnationId, ReceiptId, TenantId};

/// More threads than this do not check a disk's worth of receipts faster.
const THREADS_MAX: usize = 64;
/// Checkpoints that a thread remembers: a site signs four a second, so an export meets few in a row.
const CHECKPOINTS_MAX: usize = 4_096;

/// Whom to believe.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    pub jwks: &'a Jwks,
    pub log: &'a Vkey,
    pub policy: &'a Policy,
}

/// What is kept of a receipt whose signature holds.
#[derive(Debug)]
pub struct Row {
    pub label: Label,
    pub jti: ReceiptId,
    pub sub: TenantId,
    pub inc: IncarnationId,
    pub seq: u64,
    /// None if the claim is no hash.
    pub prev: Option<Hash>,
    pub leaf: Hash,
    pub place: Option<Place>,
}

/// Where a proof that holds shows the receipt, and under which checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub index: u64,
    pub size: u64,
    pub root: Hash,
}

/// What a crew found, in the order of the pieces.
#[derive(Debug, Default)]
pub struct Found {
    pub rows: Vec<Row>,
    pub faults: Vec<Fault>,
    /// Names of the witnesses that cosigned.
    pub cosigned: BTreeSet<String>,
}

#[derive(Default)]
struct Hand {
    /// By the number of the piece.
    rows: Vec<(u64, Row)>,
    faults: Vec<(u64, Fault)>,
    cosigned: BTreeSet<String>,
    checkpoints: HashMap<String, Result<Opened, TlogProofError>>,
}

/// Checks every piece. An error means that a piece could not be read.
pub fn check(pieces: &mut Pieces, trust: Trust<'_>) -> anyhow::Result<Found> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let pieces = Mutex::new(pieces);
    let work = || -> anyhow::Result<Hand> {
        let mut hand = Hand::default();
        loop {
            // The lock is held while a batch is found, not while it is checked.
            let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).take()?;
            let Some((first, batch)) = next else { return Ok(hand) };
            for (number, piece) in (first..).zip(&batch) {
                hand.piece(number, piece, trust)?;
            }
        }
    };
    let hands = std::thread::scope(|scope| {
        let crew: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = crew.into_iter().map(|one| match one.join() {
            Ok(hand) => hand,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ended.collect::<anyhow::Result<Vec<Hand>>>()
    })?;
    let (mut rows, mut faults, mut cosigned) = (Vec::new(), Vec::new(), BTreeSet::new());
    for hand in hands {
        rows.extend(hand.rows);
        faults.extend(hand.faults);
        cosigned.extend(hand.cosigned);
    }
    rows.sort_by_key(|(number, _)| *number);
    faults.sort_by_key(|(number, _)| *number);
    let rows = rows.into_iter().map(|(_, row)| row).collect();
    Ok(Found { rows, faults: faults.into_iter().map(|(_, fault)| fault).collect(), cosigned })
}

impl Hand {
    fn piece(&mut self, number: u64, piece: &Piece, trust: Trust<'_>) -> anyhow::Result<()> {
        let label = piece.label();
        let evidence = match piece.read()? {
            Ok(evidence) => evidence,
            Err(fault) => {
                self.faults.push((number, fault));
                return Ok(());
            }
        };
        let receipt = match ledger::receipt::verify(&evidence.jwt, trust.jwks) {
            Ok(receipt) => receipt,
            // Its proof, if there is one, is not looked at: this fault is enough.
            Err(error) => {
                self.faults.push((number, Fault::Receipt { file: label.to_string(), error }));
                return Ok(());
            }
        };
        let place = match evidence.proof.map(|proof| self.place(&proof, &receipt.leaf, trust)) {
            Some(Ok(place)) => Some(place),
            Some(Err(error)) => {
                self.faults.push((number, Fault::Proof { file: label.proof(), error }));
                None
            }
            None => None,
        };
        let claims = receipt.claims;
        let prev = Hash::from_b64url(&claims.prev);
        let (jti, sub, inc, seq) = (claims.jti, claims.sub, claims.inc, claims.seq);
        self.rows.push((number, Row { label, jti, sub, inc, seq, prev, leaf: receipt.leaf, place }));
        Ok(())
    }

    fn place(&mut self, text: &str, leaf: &Hash, trust: Trust<'_>) -> Result<Place, TlogProofError> {
        let proof = TlogProof::parse(text)?;
        if !self.checkpoints.contains_key(&proof.checkpoint) {
            if self.checkpoints.len() >= CHECKPOINTS_MAX {
                self.checkpoints.clear();
            }
            let opened = proof.open(trust.log, trust.policy);
            self.cosigned.extend(opened.iter().flat_map(|opened| opened.cosigned.iter().cloned()));
            self.checkpoints.insert(proof.checkpoint.clone(), opened);
        }
        let opened =
            self.checkpoints.get(&proof.checkpoint).expect("put there above").as_ref().map_err(Clone::clone)?;
        proof.leads_to(leaf, &opened.checkpoint)?;
        Ok(Place { index: proof.index, size: opened.checkpoint.size, root: opened.checkpoint.root })
    }
}
