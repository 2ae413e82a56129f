//! `receipt` and `proof`: one receipt, one place in the log.

use crate::args::LogKeys;
use crate::files;
use crate::report::Report;
use crate::words::{Fault, Proved, Unproved};
use anyhow::Context as _;
use ledger::hash::Hash;
use ledger::note::Vkey;
use ledger::proof::{Policy, Proved as Place, TlogProof, TlogProofError};
use std::path::Path;

/// `receipt`: the signature by a key of the set and, if a proof is given, the place in the log.
pub fn check(jwt: &Path, proof: Option<&Path>, jwks: &Path, keys: &LogKeys) -> anyhow::Result<Report> {
    let (log, policy) = files::log_keys(keys)?;
    let jwks = files::jwks(jwks)?;
    let text = files::jwt(jwt)?;
    let proof_text = proof.map(files::text).transpose()?;
    let receipt = match ledger::receipt::verify(&text, &jwks) {
        Ok(receipt) => receipt,
        Err(error) => return Ok(Report::fault(Fault::Receipt { file: files::name(jwt), error })),
    };
    let claims = &receipt.claims;
    let mut report = Report::default();
    report.proved.push(Proved::Signed { receipt: claims.jti, site: claims.iss.to_string(), tenant: claims.sub });
    match (proof, proof_text) {
        (Some(path), Some(text)) => {
            let what = claims.jti.to_string();
            place(&mut report, &files::name(path), &text, &receipt.leaf, what, &log, &policy);
        }
        _ => report.unproved.push(Unproved::NotInLog),
    }
    report.unproved.push(Unproved::WhereAndCopies);
    Ok(report)
}

/// `proof`: the place in the log of a receipt that somebody signed, or of a bare leaf.
pub fn check_proof(proof: &Path, receipt: Option<&Path>, leaf: Option<&str>, keys: &LogKeys) -> anyhow::Result<Report> {
    let (log, policy) = files::log_keys(keys)?;
    let text = files::text(proof)?;
    let (leaf, what) = match (receipt, leaf) {
        (Some(path), _) => match ledger::receipt::parse(&files::jwt(path)?) {
            Ok(receipt) => (ledger::receipt::leaf(&receipt.signing_input), receipt.claims.jti.to_string()),
            Err(error) => return Ok(Report::fault(Fault::Receipt { file: files::name(path), error })),
        },
        (None, leaf) => {
            let hex = leaf.unwrap_or_default();
            (Hash::from_hex(hex).context("a leaf is 64 hex digits, 0-9 and a-f")?, format!("leaf {hex}"))
        }
    };
    let mut report = Report::default();
    place(&mut report, &files::name(proof), &text, &leaf, what, &log, &policy);
    if receipt.is_some() {
        report.unproved.push(Unproved::WhoSigned);
    }
    report.unproved.push(Unproved::WhereAndCopies);
    Ok(report)
}

/// A proof file of this leaf.
pub fn read(text: &str, leaf: &Hash, log: &Vkey, policy: &Policy) -> Result<Place, TlogProofError> {
    TlogProof::parse(text)?.verify(leaf, log, policy)
}

pub fn place(report: &mut Report, file: &str, text: &str, leaf: &Hash, what: String, log: &Vkey, policy: &Policy) {
    match read(text, leaf, log, policy) {
        Ok(place) => {
            let (index, size) = (place.index, place.checkpoint.size);
            report.proved.push(Proved::InLog { what, origin: place.checkpoint.origin, index, size });
            witnesses(report, place.cosigned);
        }
        Err(error) => report.faults.push(Fault::Proof { file: file.to_owned(), error }),
    }
}

pub fn witnesses(report: &mut Report, names: Vec<String>) {
    if names.is_empty() {
        report.unproved.push(Unproved::NoWitness);
    } else {
        report.proved.push(Proved::Witnessed { names });
    }
}
