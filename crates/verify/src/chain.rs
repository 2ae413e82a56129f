//! `chain`: a tenant's export. Every receipt and proof holds, all rows are one tenant's, and each chain (one boot of one
//! gateway) is numbered from 1 without gap or double, each receipt naming the leaf of the one before.
//!
//! A chain that was cut at its end looks whole, and so does an export without one of its chains: only the operator's
//! signed statement could show that, so the result says that it was not proved.

use crate::args::LogKeys;
use crate::files;
use crate::receipt;
use crate::report::Report;
use crate::words::{Fault, Proved, Unproved};
use anyhow::Context as _;
use ledger::hash::Hash;
use ledger::note::Vkey;
use ledger::proof::{Policy, Proved as Place};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use types::{IncarnationId, ReceiptClaims, TenantId};

/// One row of the export whose signature holds.
struct Row {
    file: String,
    claims: ReceiptClaims,
    leaf: Hash,
}

/// `export.json`: whose export it is and, if stated, of how many receipts.
#[derive(serde::Deserialize)]
struct Export {
    tenant: TenantId,
    receipts: Option<u64>,
}

pub fn check(dir: &Path, jwks: &Path, keys: &LogKeys) -> anyhow::Result<Report> {
    let (log, policy) = files::log_keys(keys)?;
    let jwks = files::jwks(jwks)?;
    let jwts = list(dir, "jwt")?;
    anyhow::ensure!(!jwts.is_empty(), "{} holds no receipts (files ending in .jwt)", dir.display());

    let mut report = Report::default();
    let mut rows = Vec::new();
    for path in &jwts {
        let file = files::name(path);
        match ledger::receipt::verify(&files::jwt(path)?, &jwks) {
            Ok(verified) => rows.push(Row { file, claims: verified.claims, leaf: verified.leaf }),
            Err(error) => report.faults.push(Fault::Receipt { file, error }),
        }
    }
    let export = export(dir, &mut report.faults)?;
    if let Some(stated) = export.as_ref().and_then(|export| export.receipts).filter(|n| *n != jwts.len() as u64) {
        report.faults.push(Fault::Count { stated, found: jwts.len() });
    }
    names_and_tenant(&rows, export.map(|export| export.tenant), &mut report.faults);
    let chains = links(&rows, &mut report.faults);
    places(dir, &jwts, &rows, (&log, &policy), &mut report)?;
    if let Some(first) = rows.first() {
        let proved = Proved::Chains { tenant: first.claims.sub, receipts: rows.len(), chains };
        report.proved.insert(0, proved);
    }
    report.unproved.push(Unproved::TailOfChains);
    report.unproved.push(Unproved::WhereAndCopies);
    Ok(report)
}

/// The files of this kind, by name.
fn list(dir: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read the folder {}", dir.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read the folder {}", dir.display()))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn export(dir: &Path, faults: &mut Vec<Fault>) -> anyhow::Result<Option<Export>> {
    let path = dir.join("export.json");
    if !path.exists() {
        return Ok(None);
    }
    match serde_json::from_str(&files::text(&path)?) {
        Ok(export) => Ok(Some(export)),
        Err(error) => {
            faults.push(Fault::Export { error: error.to_string() });
            Ok(None)
        }
    }
}

/// Each file is named as the receipt in it, and all are of one tenant: the export's, or else the first row's.
fn names_and_tenant(rows: &[Row], tenant: Option<TenantId>, faults: &mut Vec<Fault>) {
    let Some(expected) = tenant.or(rows.first().map(|row| row.claims.sub)) else { return };
    for Row { file, claims, .. } in rows {
        if *file != format!("{}.jwt", claims.jti) {
            faults.push(Fault::Name { file: file.clone(), says: claims.jti });
        }
        if claims.sub != expected {
            faults.push(Fault::Foreign { file: file.clone(), tenant: claims.sub, expected });
        }
    }
}

/// Numbers and links, chain by chain; returns each chain's last number.
fn links(rows: &[Row], faults: &mut Vec<Fault>) -> Vec<(IncarnationId, u64)> {
    let mut ids: BTreeMap<_, &Row> = BTreeMap::new();
    let mut chains: BTreeMap<(TenantId, IncarnationId), BTreeMap<u64, &Row>> = BTreeMap::new();
    for row in rows {
        let chain = chains.entry((row.claims.sub, row.claims.inc)).or_default();
        let double = chain.insert(row.claims.seq, row).or_else(|| ids.get(&row.claims.jti).copied());
        ids.insert(row.claims.jti, row);
        if let Some(other) = double {
            faults.push(Fault::Double { file: row.file.clone(), other: other.file.clone() });
        }
    }
    for ((_, inc), chain) in &chains {
        let mut before: (u64, Option<Hash>) = (0, Some(Hash::ZERO));
        for (seq, row) in chain {
            if *seq == 0 {
                faults.push(Fault::Link { file: row.file.clone() });
                continue;
            }
            if *seq != before.0 + 1 {
                faults.push(Fault::Gap { inc: *inc, first: before.0 + 1, last: seq - 1 });
                before.1 = None; // What the missing one was is not known, so its link is not judged.
            }
            if before.1.is_some_and(|leaf| row.claims.prev != leaf.b64url()) {
                faults.push(Fault::Link { file: row.file.clone() });
            }
            before = (*seq, Some(row.leaf));
        }
    }
    chains.iter().filter_map(|((_, inc), chain)| Some((*inc, *chain.last_key_value()?.0))).collect()
}

/// The proofs: each holds for the receipt of its name, and no two checkpoints of one size differ.
fn places(
    dir: &Path,
    jwts: &[PathBuf],
    rows: &[Row],
    (log, policy): (&Vkey, &Policy),
    report: &mut Report,
) -> anyhow::Result<()> {
    let rows: BTreeMap<&str, &Row> = rows.iter().map(|row| (row.file.as_str(), row)).collect();
    let mut found: Vec<(String, Place)> = Vec::new();
    for path in list(dir, "tlog-proof")? {
        let file = files::name(&path);
        let receipt = path.with_extension("jwt");
        let Some(row) = rows.get(files::name(&receipt).as_str()) else {
            // A receipt that is there and does not hold has its own fault already.
            if !jwts.contains(&receipt) {
                report.faults.push(Fault::Orphan { file });
            }
            continue;
        };
        match receipt::read(&files::text(&path)?, &row.leaf, log, policy) {
            Ok(place) => found.push((file, place)),
            Err(error) => report.faults.push(Fault::Proof { file, error }),
        }
    }
    let mut heads: BTreeMap<u64, (&str, Hash)> = BTreeMap::new();
    for (file, place) in &found {
        let (size, root) = (place.checkpoint.size, place.checkpoint.root);
        let (other, seen) = *heads.entry(size).or_insert((file, root));
        if seen != root {
            report.faults.push(Fault::Fork { size, file: file.clone(), other: other.to_owned() });
        }
    }
    let mut indexes: BTreeMap<u64, &str> = BTreeMap::new();
    for (file, place) in &found {
        // Two receipts have two leaves: one place cannot hold both unless the log was changed in between.
        if let Some(other) = indexes.insert(place.index, file) {
            report.faults.push(Fault::Rewritten { index: place.index, file: file.clone(), other: other.to_owned() });
        }
    }
    if let Some((size, _)) = heads.last_key_value() {
        let origin = log.name().to_owned();
        report.proved.push(Proved::Sealed { receipts: found.len(), origin, size: *size });
        // Each proof met the policy's quorum of all, so the names are the same for each.
        let names: BTreeSet<String> = found.iter().flat_map(|(_, place)| place.cosigned.iter().cloned()).collect();
        receipt::witnesses(report, names.into_iter().collect());
    }
    if heads.len() > 1 {
        report.unproved.push(Unproved::BetweenCheckpoints { sizes: heads.len() });
    }
    if found.len() < rows.len() {
        report.unproved.push(Unproved::Unsealed { receipts: rows.len() - found.len() });
    }
    Ok(())
}
