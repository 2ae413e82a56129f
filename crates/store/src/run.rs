//! A run: receipts of one project and one boot at consecutive places of the log, as the bytes of one row. Pure: no SQL.
//!
//! A row of its own for each receipt, with an index for each of its places, made the database the dearest part of a
//! request. A run writes one row for up to [`RECEIPTS_MAX`] receipts, and says in a few numbers where a search has to look.
//!
//! The bytes of a receipt: `id 16 | key 16 | journal_seq 8 | chain_seq 8 | received_at 8 | cost 8 | year 4 | month 1 |
//! outcome 1 + text | signing input 4 + text`, integers big-endian, then the next.

use crate::StoreError;
use crate::ship::ShippedReceipt;
use std::collections::{BTreeMap, BTreeSet};
use types::{IncarnationId, KeyId, MicroEur, Month, ProjectId, ReceiptId, TenantId, UnixMillis};

/// Receipts in one run: at 2 KB each, half a megabyte is read to hand out one.
pub(crate) const RECEIPTS_MAX: usize = 256;

/// Whose receipts, and of which boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub tenant: TenantId,
    pub project: ProjectId,
    pub inc: IncarnationId,
}

/// The receipts of a batch in runs. The order within a run is the batch's.
pub(crate) fn gather<'a>(rows: &[&'a ShippedReceipt]) -> Vec<(Owner, Vec<&'a ShippedReceipt>)> {
    let mut by_owner: BTreeMap<Owner, Vec<&ShippedReceipt>> = BTreeMap::new();
    for &row in rows {
        by_owner.entry(owner(row)).or_default().push(row);
    }
    let pieces = |(owner, rows): (Owner, Vec<&'a ShippedReceipt>)| -> Vec<_> {
        rows.chunks(RECEIPTS_MAX).map(|piece| (owner, piece.to_vec())).collect()
    };
    by_owner.into_iter().flat_map(pieces).collect()
}

fn owner(row: &ShippedReceipt) -> Owner {
    Owner { tenant: row.tenant, project: row.project, inc: row.inc }
}

/// The least and the greatest.
pub(crate) fn span(rows: &[&ShippedReceipt], of: impl Fn(&ShippedReceipt) -> u64) -> (u64, u64) {
    let places = || rows.iter().map(|row| of(row));
    (places().min().unwrap_or(0), places().max().unwrap_or(0))
}

/// The second in which an id was made; what an index of runs by their ids goes by.
pub(crate) fn second(id: ReceiptId) -> i64 {
    i64::try_from((id.0 >> 80) / 1_000).expect("48 bits of milliseconds")
}

pub(crate) fn seconds(rows: &[&ShippedReceipt]) -> BTreeSet<i64> {
    rows.iter().map(|row| second(row.id)).collect()
}

/// What each key spent in each month.
pub(crate) fn costs(rows: &[&ShippedReceipt]) -> BTreeMap<(Month, KeyId), MicroEur> {
    let mut sums: BTreeMap<_, MicroEur> = BTreeMap::new();
    for row in rows {
        let sum = sums.entry((row.month, row.key)).or_default();
        *sum = sum.saturating_add(row.cost);
    }
    sums
}

pub(crate) fn ids(rows: &[&ShippedReceipt]) -> Vec<u8> {
    rows.iter().flat_map(|row| row.id.0.to_be_bytes()).collect()
}

pub(crate) fn leaves(rows: &[&ShippedReceipt]) -> Vec<u8> {
    rows.iter().flat_map(|row| row.leaf).collect()
}

/// Where in a run an id stands.
pub(crate) fn position(ids: &[u8], id: ReceiptId) -> Option<usize> {
    ids.chunks_exact(16).position(|bytes| bytes == id.0.to_be_bytes())
}

/// Bytes of a receipt beside its texts.
const FIXED_BYTES: usize = 2 * 16 + 4 * 8 + 5 + 1 + 4;

pub(crate) fn encode(rows: &[&ShippedReceipt]) -> Vec<u8> {
    let bytes = rows.iter().map(|row| FIXED_BYTES + row.outcome.len() + row.signing_input.len()).sum();
    let mut into = Vec::with_capacity(bytes);
    for row in rows {
        into.extend_from_slice(&row.id.0.to_be_bytes());
        into.extend_from_slice(&row.key.0.to_be_bytes());
        into.extend_from_slice(&row.journal_seq.to_be_bytes());
        into.extend_from_slice(&row.chain_seq.to_be_bytes());
        into.extend_from_slice(&row.received_at.0.to_be_bytes());
        into.extend_from_slice(&row.cost.0.to_be_bytes());
        into.extend_from_slice(&row.month.year.to_be_bytes());
        into.push(row.month.month);
        // An outcome is one of six words, and a signing input is shorter than a journal's record.
        into.push(row.outcome.len() as u8);
        into.extend_from_slice(row.outcome.as_bytes());
        into.extend_from_slice(&(row.signing_input.len() as u32).to_be_bytes());
        into.extend_from_slice(row.signing_input.as_bytes());
    }
    into
}

/// The receipts of a run, in its order.
pub(crate) fn decode(owner: Owner, mut rows: &[u8], leaves: &[u8]) -> Result<Vec<ShippedReceipt>, StoreError> {
    let mut receipts = Vec::with_capacity(leaves.len() / 32);
    for leaf in leaves.chunks_exact(32) {
        receipts.push(one(owner, &mut rows, leaf).ok_or_else(damaged)?);
    }
    if rows.is_empty() { Ok(receipts) } else { Err(damaged()) }
}

fn damaged() -> StoreError {
    StoreError::Corrupt { what: "a run of receipts is not what was written".to_owned() }
}

fn one(owner: Owner, rows: &mut &[u8], leaf: &[u8]) -> Option<ShippedReceipt> {
    let Owner { tenant, project, inc } = owner;
    Some(ShippedReceipt {
        id: ReceiptId(u128::from_be_bytes(take(rows)?)),
        tenant,
        project,
        key: KeyId(u128::from_be_bytes(take(rows)?)),
        inc,
        journal_seq: u64::from_be_bytes(take(rows)?),
        chain_seq: u64::from_be_bytes(take(rows)?),
        received_at: UnixMillis(i64::from_be_bytes(take(rows)?)),
        cost: MicroEur(i64::from_be_bytes(take(rows)?)),
        month: Month { year: i32::from_be_bytes(take(rows)?), month: take::<1>(rows)?[0] },
        outcome: {
            let bytes = usize::from(take::<1>(rows)?[0]);
            text(rows, bytes)?
        },
        signing_input: {
            let bytes = u32::from_be_bytes(take(rows)?) as usize;
            text(rows, bytes)?
        },
        leaf: leaf.try_into().ok()?,
    })
}

fn take<const N: usize>(rows: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = rows.split_first_chunk::<N>()?;
    *rows = rest;
    Some(*head)
}

fn text(rows: &mut &[u8], bytes: usize) -> Option<String> {
    let (head, rest) = rows.split_at_checked(bytes)?;
    *rows = rest;
    Some(std::str::from_utf8(head).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(n: u64, tenant: u128) -> ShippedReceipt {
        ShippedReceipt {
            id: ReceiptId::from_parts(UnixMillis(1_000 * n as i64), [n as u8; 10]),
            tenant: TenantId(tenant),
            project: ProjectId(3),
            key: KeyId(u128::from(n % 2)),
            inc: IncarnationId(5),
            journal_seq: 2 * n,
            chain_seq: n,
            received_at: UnixMillis(-7),
            month: Month { year: 2026, month: 11 },
            cost: MicroEur(10),
            outcome: "completed".to_owned(),
            signing_input: "a.b".repeat(n as usize),
            leaf: [n as u8; 32],
        }
    }

    #[test]
    fn there_and_back() {
        let receipts: Vec<_> = (1..=5).map(|n| receipt(n, 1)).collect();
        let rows: Vec<_> = receipts.iter().collect();
        let (bytes, leaves) = (encode(&rows), leaves(&rows));
        assert_eq!(decode(owner(rows[0]), &bytes, &leaves).unwrap(), receipts);
        assert_eq!(position(&ids(&rows), receipts[3].id), Some(3));
        assert_eq!(position(&ids(&rows), ReceiptId(1)), None);
        assert_eq!(span(&rows, |row| row.journal_seq), (2, 10));
        assert_eq!(seconds(&rows), (1..=5).collect());
        let spent: Vec<_> = costs(&rows).into_iter().map(|((_, key), cost)| (key.0, cost.0)).collect();
        assert_eq!(spent, [(0, 20), (1, 30)]);
    }

    #[test]
    fn cut_or_longer_bytes_are_no_run() {
        let receipts: Vec<_> = (1..=3).map(|n| receipt(n, 1)).collect();
        let rows: Vec<_> = receipts.iter().collect();
        let (mut bytes, leaves) = (encode(&rows), leaves(&rows));
        for cut in 0..bytes.len() {
            assert!(decode(owner(rows[0]), &bytes[..cut], &leaves).is_err(), "{cut}");
        }
        bytes.push(0);
        assert!(decode(owner(rows[0]), &bytes, &leaves).is_err());
    }

    #[test]
    fn runs_have_one_owner_and_a_bounded_length() {
        let receipts: Vec<_> = (0..=RECEIPTS_MAX as u64).flat_map(|n| [receipt(n, 2), receipt(n, 1)]).collect();
        let rows: Vec<_> = receipts.iter().collect();
        let runs = gather(&rows);
        let shape: Vec<_> = runs.iter().map(|(owner, rows)| (owner.tenant.0, rows.len())).collect();
        assert_eq!(shape, [(1, RECEIPTS_MAX), (1, 1), (2, RECEIPTS_MAX), (2, 1)]);
        assert!(runs.iter().all(|(_, rows)| rows.is_sorted_by_key(|row| row.chain_seq)));
    }
}
