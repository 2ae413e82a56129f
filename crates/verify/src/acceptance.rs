//! `acceptance`: a machine's certificate: who signed it, that it does not contradict itself, its place in the log, and
//! whether it is of the machine whose serial number the reader gives.
//!
//! What it is not: it judges no threshold. Which tests a machine of this kind must pass is between operator and customer;
//! the certificate shows each with its threshold and value, and this prints how many there are.

use crate::args::LogKeys;
use crate::files;
use crate::receipt::place;
use crate::report::Report;
use crate::words::{Fault, Proved, Unproved};
use std::path::Path;

pub fn check(
    jwt: &Path,
    proof: Option<&Path>,
    serials: &[String],
    jwks: &Path,
    keys: &LogKeys,
) -> anyhow::Result<Report> {
    let (log, policy) = files::log_keys(keys)?;
    let jwks = files::jwks(jwks)?;
    let text = files::jwt(jwt)?;
    let proof_text = proof.map(files::text).transpose()?;
    let certificate = match ledger::acceptance::verify(&text, &jwks) {
        Ok(certificate) => certificate,
        Err(error) => return Ok(Report::fault(Fault::Acceptance { file: files::name(jwt), error })),
    };
    let claims = &certificate.claims;
    let mut report = Report::default();
    report.proved.push(Proved::Accepted {
        certificate: claims.jti,
        site: claims.iss.clone(),
        machine: claims.machine,
        kind: claims.kind.clone(),
        slot: claims.slot.clone(),
    });
    let passed = claims.tests.iter().filter(|test| test.outcome == "passed").count();
    report.proved.push(Proved::Tests {
        passed,
        skipped: claims.tests.len() - passed,
        serials: claims.serials.len(),
        firmware: claims.firmware.len(),
        tasks: claims.work.len(),
    });
    let missing = serials.iter().filter(|wanted| !claims.serials.values().any(|serial| serial == *wanted));
    report.faults.extend(missing.map(|serial| Fault::Serial { serial: serial.clone() }));
    match serials.is_empty() {
        true => report.unproved.push(Unproved::ThisMachine),
        false => report.proved.push(Proved::Serials { serials: serials.to_vec() }),
    }
    match (proof, proof_text) {
        (Some(path), Some(text)) => {
            let what = claims.jti.to_string();
            place(&mut report, &files::name(path), &text, &certificate.leaf, what, &log, &policy);
        }
        _ => report.unproved.push(Unproved::NotInLog),
    }
    report.unproved.push(Unproved::StillSo);
    Ok(report)
}
