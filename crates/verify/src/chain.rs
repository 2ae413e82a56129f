//! `chain`: a tenant's export. Every receipt and proof holds, all rows are one tenant's, and each chain (one boot of one
//! gateway) is numbered from 1 without gap or double, each receipt naming the leaf of the one before.
//!
//! A chain that was cut at its end looks whole, and so does an export without one of its chains: only the operator's
//! signed statement could show that, so the result says that it was not proved.

use crate::args::LogKeys;
use crate::crew::{self, Row, Trust};
use crate::export::{Label, Pieces};
use crate::files;
use crate::receipt;
use crate::report::Report;
use crate::words::{Fault, Proved, Unproved};
use ledger::hash::Hash;
use ledger::note::Vkey;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use types::{IncarnationId, TenantId};

/// `export.json`: whose export it is and, if stated, of how many receipts.
#[derive(serde::Deserialize)]
struct Export {
    tenant: TenantId,
    receipts: Option<u64>,
}

pub fn check(dir: &Path, jwks: &Path, keys: &LogKeys) -> anyhow::Result<Report> {
    let (log, policy) = files::log_keys(keys)?;
    let jwks = files::jwks(jwks)?;
    let mut pieces = Pieces::of(dir)?;
    let found = crew::check(&mut pieces, Trust { jwks: &jwks, log: &log, policy: &policy })?;
    let mut report = Report { faults: found.faults, ..Report::default() };
    report.faults.extend(pieces.orphans.drain(..).map(|file| Fault::Orphan { file }));
    let export = export(dir, &mut report.faults)?;
    if let Some(stated) = export.as_ref().and_then(|export| export.receipts).filter(|n| *n != pieces.given()) {
        report.faults.push(Fault::Count { stated, found: pieces.given() });
    }
    let rows = found.rows;
    names_and_tenant(&rows, export.map(|export| export.tenant), &mut report.faults);
    let chains = links(&rows, &mut report.faults);
    if let Some(first) = rows.first() {
        report.proved.push(Proved::Chains { tenant: first.sub, receipts: rows.len(), chains });
    }
    places(&rows, &log, found.cosigned, &mut report);
    report.unproved.push(Unproved::TailOfChains);
    report.unproved.push(Unproved::WhereAndCopies);
    Ok(report)
}

fn export(dir: &Path, faults: &mut Vec<Fault>) -> anyhow::Result<Option<Export>> {
    let path = dir.join("export.json");
    if !path.exists() {
        return Ok(None);
    }
    match serde_json::from_str(&files::text(&path)?) {
        Ok(export) => Ok(Some(export)),
        Err(error) => {
            faults.push(Fault::Export { file: files::name(&path), error: error.to_string() });
            Ok(None)
        }
    }
}

/// Each file is named as the receipt in it, and all are of one tenant: the export's, or else the first row's.
fn names_and_tenant(rows: &[Row], tenant: Option<TenantId>, faults: &mut Vec<Fault>) {
    let Some(expected) = tenant.or(rows.first().map(|row| row.sub)) else { return };
    for Row { label, jti, sub, .. } in rows {
        if let Label::File(name) = label
            && **name != format!("{jti}.jwt")
        {
            faults.push(Fault::Name { file: label.to_string(), says: *jti });
        }
        if *sub != expected {
            faults.push(Fault::Foreign { file: label.to_string(), tenant: *sub, expected });
        }
    }
}

/// Numbers and links, chain by chain; returns each chain's last number.
fn links(rows: &[Row], faults: &mut Vec<Fault>) -> Vec<(IncarnationId, u64)> {
    let place = |row: &Row| (row.sub, row.inc, row.seq);
    let double = |row: &Row, other: &Row| Fault::Double { file: row.label.to_string(), other: other.label.to_string() };
    // Stable sorts: of two in one place the one that was found first comes first.
    let mut by_id: Vec<&Row> = rows.iter().collect();
    by_id.sort_by_key(|row| row.jti);
    for pair in by_id.windows(2).filter(|pair| pair[0].jti == pair[1].jti && place(pair[0]) != place(pair[1])) {
        faults.push(double(pair[1], pair[0]));
    }
    let mut in_order: Vec<&Row> = rows.iter().collect();
    in_order.sort_by_key(|row| place(row));
    let mut ends = Vec::new();
    for chain in in_order.chunk_by(|a, b| (a.sub, a.inc) == (b.sub, b.inc)) {
        let mut before: (u64, Option<Hash>) = (0, Some(Hash::ZERO));
        for twins in chain.chunk_by(|a, b| a.seq == b.seq) {
            twins.windows(2).for_each(|pair| faults.push(double(pair[1], pair[0])));
            let row = twins[twins.len() - 1];
            if row.seq == 0 {
                faults.push(Fault::Link { file: row.label.to_string() });
                continue;
            }
            if row.seq != before.0 + 1 {
                faults.push(Fault::Gap { inc: row.inc, first: before.0 + 1, last: row.seq - 1 });
                before.1 = None; // What the missing one was is not known, so its link is not judged.
            }
            if before.1.is_some_and(|leaf| row.prev != Some(leaf)) {
                faults.push(Fault::Link { file: row.label.to_string() });
            }
            before = (row.seq, Some(row.leaf));
        }
        ends.extend(chain.last().map(|row| (row.inc, row.seq)));
    }
    ends
}

/// The proofs, each of which holds: no two checkpoints of one size differ, and no place holds two receipts.
fn places(rows: &[Row], log: &Vkey, cosigned: BTreeSet<String>, report: &mut Report) {
    let mut sealed: Vec<_> = rows.iter().filter_map(|row| Some((row.place?, row))).collect();
    let mut heads: BTreeMap<u64, (&Row, Hash)> = BTreeMap::new();
    for (place, row) in &sealed {
        let (other, seen) = *heads.entry(place.size).or_insert((row, place.root));
        if seen != place.root {
            let (file, other) = (row.label.proof(), other.label.proof());
            report.faults.push(Fault::Fork { size: place.size, file, other });
        }
    }
    // Two receipts have two leaves: one place cannot hold both unless the log was changed in between.
    sealed.sort_by_key(|(place, _)| place.index);
    for pair in sealed.windows(2).filter(|pair| pair[0].0.index == pair[1].0.index) {
        let (file, other) = (pair[1].1.label.proof(), pair[0].1.label.proof());
        report.faults.push(Fault::Rewritten { index: pair[1].0.index, file, other });
    }
    if let Some((size, _)) = heads.last_key_value() {
        let origin = log.name().to_owned();
        report.proved.push(Proved::Sealed { receipts: sealed.len(), origin, size: *size });
        // Each proof met the policy's quorum of all, so the names are the same for each.
        receipt::witnesses(report, cosigned.into_iter().collect());
    }
    if heads.len() > 1 {
        report.unproved.push(Unproved::BetweenCheckpoints { sizes: heads.len() });
    }
    if sealed.len() < rows.len() {
        report.unproved.push(Unproved::Unsealed { receipts: rows.len() - sealed.len() });
    }
}
