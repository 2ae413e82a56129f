//! What the gateway writes into the journal, as bytes: intents, watermarks and receipts.
//!
//! An intent is durable before the first byte of an answer leaves; it carries the receipt as far as it is known then,
//! so that after a crash the same receipt can be finished as `unresolved`. A watermark is the running count of a
//! stream; nobody waits for it. A receipt is the signing input, fixed for ever, with the few columns that the store
//! indexes.
//!
//! The first byte tells the kind. The forms are ours alone and never leave the machine.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use types::snapshot::Price;
use types::{
    IncarnationId, KeyId, MicroEur, Outcome, ProjectId, ReceiptClaims, ReceiptId, TenantId, UnixMillis, Usage,
};

const INTENT: u8 = b'I';
const WATERMARK: u8 = b'W';
const RECEIPT: u8 = b'R';

/// The promise to write a receipt, made before dispatch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// As far as known: outcome, usage, cost and chain are those of a request that produced nothing.
    pub draft: ReceiptClaims,
    /// What rates it.
    pub price: Price,
    /// What was reserved; the receipt never costs more.
    pub reserved: MicroEur,
}

/// The running count of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    pub receipt: ReceiptId,
    pub usage: Usage,
}

/// A receipt as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedReceipt {
    pub id: ReceiptId,
    pub tenant: TenantId,
    pub project: ProjectId,
    pub key: KeyId,
    /// The incarnation of the chain, which is the boot that wrote it.
    pub inc: IncarnationId,
    pub chain_seq: u64,
    pub received_at: UnixMillis,
    pub cost: MicroEur,
    pub outcome: Outcome,
    pub signing_input: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    Intent(Box<Intent>),
    Watermark(Watermark),
    Receipt(FixedReceipt),
}

/// A record whose form this version does not know. The journal's checksum held, so the bytes are what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a journal record has a form that this version does not know: it was written by another version of hoheit")]
pub struct UnknownRecord;

/// An intent of an ordinary request has 1.2 kB; one that is longer grows its buffer once.
const INTENT_BYTES_USUAL: usize = 1_536;

pub fn encode_intent(intent: &Intent) -> Bytes {
    let mut bytes = Vec::with_capacity(INTENT_BYTES_USUAL);
    bytes.push(INTENT);
    bytes.extend_from_slice(&intent.draft.jti.0.to_be_bytes());
    serde_json::to_writer(&mut bytes, intent).expect("plain data into memory: nothing in it can fail to serialise");
    bytes.into()
}

/// What shipping has to know of a record, without reading more of it than that: it sees each one and keeps the receipts.
pub enum Shipping {
    Opens(ReceiptId),
    Nothing,
    Receipt(FixedReceipt),
}

pub fn decode_for_shipping(bytes: &[u8]) -> Result<Shipping, UnknownRecord> {
    match bytes.split_first() {
        Some((&INTENT, rest)) if rest.first() != Some(&b'{') && rest.len() > 16 => {
            Ok(Shipping::Opens(ReceiptId(id_at(rest, 0))))
        }
        _ => Ok(match decode(bytes)? {
            Record::Intent(intent) => Shipping::Opens(intent.draft.jti),
            Record::Watermark(_) => Shipping::Nothing,
            Record::Receipt(receipt) => Shipping::Receipt(receipt),
        }),
    }
}

pub fn encode_watermark(watermark: &Watermark) -> Bytes {
    let mut bytes = BytesMut::with_capacity(49);
    bytes.put_u8(WATERMARK);
    bytes.put_u128(watermark.receipt.0);
    let Usage { input, cached, output, reasoning } = watermark.usage;
    for count in [input, cached, output, reasoning] {
        bytes.put_u64(count);
    }
    bytes.freeze()
}

/// Tag, five ids, three numbers and the outcome stand before the signing input.
const RECEIPT_HEAD: usize = 1 + 5 * 16 + 3 * 8 + 1;

pub fn encode_receipt(receipt: &FixedReceipt) -> Bytes {
    let mut bytes = BytesMut::with_capacity(RECEIPT_HEAD + receipt.signing_input.len());
    bytes.put_u8(RECEIPT);
    for id in [receipt.id.0, receipt.tenant.0, receipt.project.0, receipt.key.0, receipt.inc.0] {
        bytes.put_u128(id);
    }
    bytes.put_u64(receipt.chain_seq);
    bytes.put_i64(receipt.received_at.0);
    bytes.put_i64(receipt.cost.0);
    bytes.put_u8(Outcome::ALL.iter().position(|o| *o == receipt.outcome).unwrap_or_default() as u8);
    bytes.put_slice(receipt.signing_input.as_bytes());
    bytes.freeze()
}

pub fn decode(bytes: &[u8]) -> Result<Record, UnknownRecord> {
    match bytes.split_first() {
        // As the first version wrote it, without the id in front; no id of this century begins with a brace.
        Some((&INTENT, rest)) if rest.first() == Some(&b'{') => {
            serde_json::from_slice(rest).map(Record::Intent).map_err(|_| UnknownRecord)
        }
        Some((&INTENT, rest)) if rest.len() > 16 => {
            let intent: Intent = serde_json::from_slice(&rest[16..]).map_err(|_| UnknownRecord)?;
            if intent.draft.jti.0 != id_at(rest, 0) {
                return Err(UnknownRecord);
            }
            Ok(Record::Intent(Box::new(intent)))
        }
        Some((&WATERMARK, rest)) if rest.len() == 48 => {
            let count = |at: usize| u64::from_be_bytes(rest[at..at + 8].try_into().unwrap_or_default());
            Ok(Record::Watermark(Watermark {
                receipt: ReceiptId(id_at(rest, 0)),
                usage: Usage { input: count(16), cached: count(24), output: count(32), reasoning: count(40) },
            }))
        }
        Some((&RECEIPT, rest)) if bytes.len() >= RECEIPT_HEAD => {
            let number = |at: usize| i64::from_be_bytes(rest[at..at + 8].try_into().unwrap_or_default());
            Ok(Record::Receipt(FixedReceipt {
                id: ReceiptId(id_at(rest, 0)),
                tenant: TenantId(id_at(rest, 16)),
                project: ProjectId(id_at(rest, 32)),
                key: KeyId(id_at(rest, 48)),
                inc: IncarnationId(id_at(rest, 64)),
                chain_seq: number(80) as u64,
                received_at: UnixMillis(number(88)),
                cost: MicroEur(number(96)),
                outcome: *Outcome::ALL.get(rest[104] as usize).ok_or(UnknownRecord)?,
                signing_input: String::from_utf8(rest[105..].to_vec()).map_err(|_| UnknownRecord)?,
            }))
        }
        _ => Err(UnknownRecord),
    }
}

fn id_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_be_bytes(bytes[at..at + 16].try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let receipt = FixedReceipt {
            id: ReceiptId(1),
            tenant: TenantId(2),
            project: ProjectId(3),
            key: KeyId(u128::MAX),
            inc: IncarnationId(5),
            chain_seq: 6,
            received_at: UnixMillis(7),
            cost: MicroEur(8),
            outcome: Outcome::Unresolved,
            signing_input: "abc.def".to_owned(),
        };
        assert_eq!(decode(&encode_receipt(&receipt)), Ok(Record::Receipt(receipt)));
        let watermark =
            Watermark { receipt: ReceiptId(9), usage: Usage { input: 1, cached: 2, output: 3, reasoning: 4 } };
        assert_eq!(decode(&encode_watermark(&watermark)), Ok(Record::Watermark(watermark)));
        for unknown in [&b""[..], b"X", b"W123", b"R123", b"I{}"] {
            assert_eq!(decode(unknown), Err(UnknownRecord));
        }
    }
}
