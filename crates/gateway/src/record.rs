//! What the gateway writes into the journal, as bytes: intents, watermarks and receipts.
//!
//! An intent is durable before the first byte of an answer leaves; it carries the receipt as far as it is known then,
//! so that after a crash the same receipt can be finished as `unresolved`. A watermark is the running count of a
//! stream; nobody waits for it. A receipt is the signing input, fixed for ever, with the few columns that the store
//! indexes.
//!
//! The first byte tells the kind. The forms are ours alone and never leave the machine.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{BufMut, Bytes, BytesMut};
use ledger::hash::Hash;
use serde::Deserialize;
use types::snapshot::Price;
use types::{
    IncarnationId, KeyId, MicroEur, Outcome, ProjectId, ReceiptClaims, ReceiptId, TenantId, UnixMillis, Usage,
};

pub(crate) const INTENT: u8 = b'J';
/// As the first two versions wrote it.
const INTENT_JSON: u8 = b'I';
const WATERMARK: u8 = b'W';
const RECEIPT: u8 = b'Q';
/// As the first three versions wrote it, without the leaf.
const RECEIPT_BARE: u8 = b'R';

/// The promise to write a receipt, made before dispatch.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Intent {
    /// As far as known: outcome, usage, cost and chain are those of a request that produced nothing.
    pub draft: ReceiptClaims,
    /// What rates it.
    pub price: Price,
    /// What was reserved; the receipt never costs more.
    pub reserved: MicroEur,
}

impl Intent {
    /// As it stands in the journal; none if its opening or its commitment is not what a gateway writes.
    pub fn encode(&self) -> Option<Bytes> {
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok();
        let commitment = match self.draft.request_commitment.as_str() {
            "" => None,
            text => Some(bytes(text)?),
        };
        let of = IntentOf {
            receipt: self.draft.jti,
            received_at: self.draft.received_at,
            opening: &bytes(&self.draft.opening)?,
            request_commitment: commitment.as_ref(),
            reserved: self.reserved,
        };
        Some(encode_intent(of, &IntentFrame::new(&self.draft, &self.price)))
    }
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
    /// Made when the receipt was fixed, for the chain; shipping takes it from here.
    pub leaf: Hash,
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

/// What is the same in the intents of all requests of one key to one replica, written once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentFrame(Box<[u8]>);

impl IntentFrame {
    /// Of the draft only what [`encode_intent`] does not write itself is used.
    pub fn new(draft: &ReceiptClaims, price: &Price) -> IntentFrame {
        let bytes =
            serde_json::to_vec(&(draft, price)).expect("plain data into memory: nothing in it can fail to serialise");
        IntentFrame(bytes.into())
    }
}

/// Tag, id, time, opening, whether there is a commitment and which, and what was reserved stand before the frame.
const INTENT_HEAD: usize = 1 + 16 + 8 + 32 + 1 + 32 + 8;

/// What an intent says of its request alone.
#[derive(Debug, Clone, Copy)]
pub struct IntentOf<'a> {
    pub receipt: ReceiptId,
    pub received_at: UnixMillis,
    pub opening: &'a [u8; 32],
    pub request_commitment: Option<&'a [u8; 32]>,
    pub reserved: MicroEur,
}

pub fn encode_intent(of: IntentOf<'_>, frame: &IntentFrame) -> Bytes {
    let mut bytes = BytesMut::with_capacity(INTENT_HEAD + frame.0.len());
    bytes.put_u8(INTENT);
    bytes.put_u128(of.receipt.0);
    bytes.put_i64(of.received_at.0);
    bytes.put_slice(of.opening);
    bytes.put_u8(of.request_commitment.is_some().into());
    bytes.put_slice(of.request_commitment.unwrap_or(&[0; 32]));
    bytes.put_i64(of.reserved.0);
    bytes.put_slice(&frame.0);
    bytes.freeze()
}

fn decode_intent(bytes: &[u8]) -> Option<Intent> {
    let (head, frame) = bytes.split_at_checked(INTENT_HEAD - 1)?;
    let (draft, price): (ReceiptClaims, Price) = serde_json::from_slice(frame).ok()?;
    let number = |at: usize| i64::from_be_bytes(head[at..at + 8].try_into().unwrap_or_default());
    let received_at = UnixMillis(number(16));
    let draft = ReceiptClaims {
        jti: ReceiptId(id_at(head, 0)),
        iat: received_at.seconds(),
        received_at,
        ended_at: received_at,
        opening: URL_SAFE_NO_PAD.encode(&head[24..56]),
        request_commitment: if head[56] == 0 { String::new() } else { URL_SAFE_NO_PAD.encode(&head[57..89]) },
        ..draft
    };
    Some(Intent { draft, price, reserved: MicroEur(number(89)) })
}

/// What shipping has to know of a record, without reading more of it than that: it sees each one and keeps the receipts.
pub enum Shipping {
    Opens(ReceiptId),
    Nothing,
    Receipt(FixedReceipt),
}

pub fn decode_for_shipping(bytes: &[u8]) -> Result<Shipping, UnknownRecord> {
    match bytes.split_first() {
        Some((&INTENT | &INTENT_JSON, rest)) if rest.first() != Some(&b'{') && rest.len() > 16 => {
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

/// Tag, five ids, three numbers and the outcome stand before the leaf, and that before the signing input.
const RECEIPT_HEAD: usize = 1 + 5 * 16 + 3 * 8 + 1;
const LEAF_BYTES: usize = 32;

pub fn encode_receipt(receipt: &FixedReceipt) -> Bytes {
    let mut bytes = BytesMut::with_capacity(RECEIPT_HEAD + LEAF_BYTES + receipt.signing_input.len());
    bytes.put_u8(RECEIPT);
    for id in [receipt.id.0, receipt.tenant.0, receipt.project.0, receipt.key.0, receipt.inc.0] {
        bytes.put_u128(id);
    }
    bytes.put_u64(receipt.chain_seq);
    bytes.put_i64(receipt.received_at.0);
    bytes.put_i64(receipt.cost.0);
    bytes.put_u8(Outcome::ALL.iter().position(|o| *o == receipt.outcome).unwrap_or_default() as u8);
    bytes.put_slice(&receipt.leaf.0);
    bytes.put_slice(receipt.signing_input.as_bytes());
    bytes.freeze()
}

pub fn decode(bytes: &[u8]) -> Result<Record, UnknownRecord> {
    match bytes.split_first() {
        // As the first version wrote it, without the id in front; no id of this century begins with a brace.
        Some((&INTENT, rest)) => decode_intent(rest).map(|it| Record::Intent(Box::new(it))).ok_or(UnknownRecord),
        Some((&INTENT_JSON, rest)) if rest.first() == Some(&b'{') => {
            serde_json::from_slice(rest).map(Record::Intent).map_err(|_| UnknownRecord)
        }
        // As the second version wrote it.
        Some((&INTENT_JSON, rest)) if rest.len() > 16 => {
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
        Some((tag @ (&RECEIPT | &RECEIPT_BARE), rest)) if bytes.len() >= RECEIPT_HEAD => {
            let text = match *tag {
                RECEIPT => rest.get(RECEIPT_HEAD - 1 + LEAF_BYTES..).ok_or(UnknownRecord)?,
                _ => &rest[RECEIPT_HEAD - 1..],
            };
            let signing_input = String::from_utf8(text.to_vec()).map_err(|_| UnknownRecord)?;
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
                leaf: match *tag {
                    RECEIPT => {
                        Hash::from_slice(&rest[RECEIPT_HEAD - 1..RECEIPT_HEAD - 1 + LEAF_BYTES]).ok_or(UnknownRecord)?
                    }
                    _ => ledger::receipt::leaf(&signing_input),
                },
                signing_input,
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
            leaf: ledger::receipt::leaf("abc.def"),
            signing_input: "abc.def".to_owned(),
        };
        let bytes = encode_receipt(&receipt);
        // As versions wrote it that left the leaf to the shipper.
        let bare = [&b"R"[..], &bytes[1..RECEIPT_HEAD], &bytes[RECEIPT_HEAD + LEAF_BYTES..]].concat();
        assert_eq!(decode(&bare), Ok(Record::Receipt(receipt.clone())));
        assert_eq!(decode(&bytes), Ok(Record::Receipt(receipt)));
        let text = r#"{"iss":"s","jti":"rcp_00000000000000000000000007","iat":1,"sub":"ten_00000000000000000000000001",
            "project":"prj_00000000000000000000000001","key":"key_00000000000000000000000001","dialect":"openai",
            "operation":"completions","model":"m","data_class":"internal","policy":{"digest":"d","permit":true,"rules":["r"]},
            "usage":{"input":0,"cached":0,"output":0,"reasoning":0},"usage_source":"none","price_book":"p","cost_micro_eur":0,
            "outcome":"aborted","received_at":1999,"ended_at":1999,"request_commitment":"AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM",
            "opening":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI","inc":"inc_00000000000000000000000001","seq":0,"prev":""}"#;
        let price = Price { model: "m".to_owned(), input: MicroEur(1), cached_input: MicroEur(2), output: MicroEur(3) };
        let intent = Intent { draft: serde_json::from_str(text).unwrap(), price, reserved: MicroEur(-4) };
        let none = Intent {
            draft: ReceiptClaims { request_commitment: String::new(), ..intent.draft.clone() },
            ..intent.clone()
        };
        for intent in [intent, none] {
            let bytes = intent.encode().unwrap();
            assert_eq!(decode(&bytes), Ok(Record::Intent(Box::new(intent))));
            assert!((1..bytes.len()).all(|cut| decode(&bytes[..cut]).is_err()), "a part of an intent is none");
        }
        let watermark =
            Watermark { receipt: ReceiptId(9), usage: Usage { input: 1, cached: 2, output: 3, reasoning: 4 } };
        assert_eq!(decode(&encode_watermark(&watermark)), Ok(Record::Watermark(watermark)));
        for unknown in [&b""[..], b"X", b"W123", b"R123", b"Q123", b"I{}", b"J"] {
            assert_eq!(decode(unknown), Err(UnknownRecord));
        }
    }
}
