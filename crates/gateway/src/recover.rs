//! What a boot does with the journals of earlier boots: ship every receipt (shipping is idempotent), and finish every
//! intent that has none as `unresolved`, with the last durable watermark as its usage.
//!
//! If we crash here: nothing is lost and nothing is doubled. Shipped receipts are shipped again and found; an intent is
//! open until a receipt of its id is in the journal, whichever boot wrote it.

use crate::record::{Intent, Record, Shipping, UnknownRecord, decode, decode_for_shipping};
use crate::settle::cost;
use crate::shelf::Shelf;
use crate::ship::row;
use journal::AppendError;
use std::collections::BTreeMap;
use store::{ShipError, StoreError};
use types::{IncarnationId, Outcome, ReceiptClaims, ReceiptId, UnixMillis, Usage, UsageSource};

/// Rows per statement batch: at about 2 KB a receipt, one megabyte.
const SHIP_BATCH: usize = 512;

/// Why a gateway cannot make sense of its journal.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("the journal cannot be read: {0}")]
    Read(#[from] journal::ReadError),
    #[error(transparent)]
    Unknown(#[from] UnknownRecord),
    #[error("receipts of an earlier boot cannot be shipped: {0}")]
    Ship(#[from] ShipError),
    #[error("unresolved requests could not be written to the journal: {0}")]
    Append(AppendError),
    #[error("the store: {0}")]
    Store(#[from] StoreError),
}

impl RecoverError {
    /// The store is away: what could not be done now can be done later.
    pub fn is_away(&self) -> bool {
        let error = match self {
            RecoverError::Ship(ShipError::Store(error)) | RecoverError::Store(error) => error,
            _ => return false,
        };
        matches!(error, StoreError::Unavailable(_))
    }
}

/// An intent without a receipt.
pub struct OpenIntent {
    intent: Intent,
    inc: IncarnationId,
    usage: Option<Usage>,
}

/// The intents of earlier boots that have no receipt, in the order of their ids.
pub fn find_open(
    records: impl Iterator<Item = Result<journal::Record, journal::ReadError>>,
) -> Result<BTreeMap<ReceiptId, OpenIntent>, RecoverError> {
    let mut open = BTreeMap::new();
    for record in records {
        let record = record?;
        match decode(&record.payload)? {
            Record::Intent(intent) => {
                let inc = IncarnationId(u128::from_be_bytes(record.incarnation));
                open.insert(intent.draft.jti, OpenIntent { intent: *intent, inc, usage: None });
            }
            Record::Watermark(mark) => {
                if let Some(entry) = open.get_mut(&mark.receipt) {
                    entry.usage = Some(mark.usage);
                }
            }
            Record::Receipt(receipt) => drop(open.remove(&receipt.id)),
        }
    }
    Ok(open)
}

/// Ships all receipts of earlier boots.
pub async fn ship_all(
    store: &dyn Shelf,
    records: impl Iterator<Item = Result<journal::Record, journal::ReadError>>,
) -> Result<(), RecoverError> {
    let mut rows = Vec::new();
    for record in records {
        let record = record?;
        if let Shipping::Receipt(receipt) = decode_for_shipping(&record.payload)? {
            rows.push(row(receipt, record.seq));
        }
        if rows.len() >= SHIP_BATCH {
            store.ship(&rows).await?;
            rows.clear();
        }
    }
    store.ship(&rows).await?;
    Ok(())
}

/// The receipts of open intents.
pub fn unresolved(open: BTreeMap<ReceiptId, OpenIntent>, now: UnixMillis) -> Vec<ReceiptClaims> {
    open.into_values()
        .map(|OpenIntent { intent, inc, usage }| {
            let source = if usage.is_some() { UsageSource::Watermark } else { UsageSource::None };
            let usage = usage.unwrap_or_default();
            ReceiptClaims {
                iat: now.seconds(),
                usage,
                usage_source: source,
                cost_micro_eur: cost(&intent.price, &usage, intent.reserved),
                outcome: Outcome::Unresolved,
                code: None,
                ended_at: now,
                intent_inc: Some(inc),
                ..intent.draft
            }
        })
        .collect()
}
