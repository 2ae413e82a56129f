//! Writes an export of many receipts, to see how long `hoheit-verify chain` takes over it.
//!
//! `cargo run -p verify --release --example export DIR RECEIPTS [files]`
//!
//! One chain, each receipt linked to the one before, signed, and proved under the log's last checkpoint; as lines of one
//! file, or as two files for each with `files`. The texts are made by the functions that the site uses; only the way
//! through gateway and database is missing.

#![expect(clippy::unwrap_used, reason = "a tool for measurements may end with a panic")]

use ledger::SigningKey;
use ledger::hash::{Hash, sha256};
use ledger::log::{self, LEAVES_MAX, LogSigner};
use ledger::receipt::{self, EncodedHeader};
use ledger::tile::TileSource;
use ledger::tree::TreeHead;
use serde_json::json;
use std::collections::HashMap;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use types::{IncarnationId, KeyId, ProjectId, ReceiptClaims, ReceiptId, TenantId, UnixMillis};

const START: i64 = 1_795_000_000_000;
const TENANT: TenantId = TenantId(0xa);

/// The log's files, in memory.
#[derive(Default)]
struct Tiles(HashMap<String, Vec<u8>>);

impl TileSource for Tiles {
    type Error = String;
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).cloned().ok_or_else(|| path.to_owned())
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let out = PathBuf::from(arguments.next().expect("DIR"));
    let count: u64 = arguments.next().expect("RECEIPTS").parse().expect("RECEIPTS is a number");
    let files = arguments.next().is_some_and(|word| word == "files");
    std::fs::create_dir_all(&out).unwrap();
    let (signer, log_signer) = (key(7), LogSigner::new("log.hoheit.invalid/bench", key(1)).unwrap());
    let (ids, inputs) = chain(&signer, count);
    let leaves: Vec<Hash> = inputs.iter().map(|input| receipt::leaf(input)).collect();
    let (mut tiles, mut head) = (Tiles::default(), TreeHead::EMPTY);
    for leaves in leaves.chunks(LEAVES_MAX) {
        let appended = log::append(&head, &tiles, leaves).unwrap();
        tiles.0.extend(appended.files);
        head = appended.head;
    }
    let note = log_signer.checkpoint(&head);
    let mut lines =
        (!files).then(|| BufWriter::with_capacity(1 << 20, std::fs::File::create(out.join("receipts.jsonl")).unwrap()));
    for (index, (id, input)) in (0..).zip(ids.iter().zip(&inputs)) {
        let jwt = receipt::jwt(input, &signer);
        let proof = log::prove(index, &note, head.size, &tiles).unwrap().render();
        match &mut lines {
            Some(lines) => writeln!(lines, "{}", json!({ "jwt": jwt, "proof": proof })).unwrap(),
            None => {
                std::fs::write(out.join(format!("{id}.jwt")), jwt).unwrap();
                std::fs::write(out.join(format!("{id}.tlog-proof")), proof).unwrap();
            }
        }
    }
    if let Some(lines) = &mut lines {
        lines.flush().unwrap();
    }
    let summary = json!({ "format": "hoheit-export/v1", "tenant": TENANT, "receipts": count });
    std::fs::write(out.join("export.json"), summary.to_string()).unwrap();
    std::fs::write(out.join("jwks.json"), ledger::jwks::render(&[signer.public()])).unwrap();
    std::fs::write(out.join("log.vkey"), log_signer.vkey().to_string()).unwrap();
}

/// Ids and signing inputs of a chain of receipts of the usual size.
fn chain(signer: &SigningKey, count: u64) -> (Vec<ReceiptId>, Vec<String>) {
    let digest = format!("sha256:{}", Hash::ZERO);
    let claims = json!({
        "iss": "de-bench-muc1", "jti": ReceiptId(1), "iat": START / 1000, "sub": TENANT, "project": ProjectId(1),
        "key": KeyId(1), "dialect": "openai", "operation": "chat.completions", "model": "qwen3-32b",
        "served_by": {
            "endpoint": "end_00000000000000000000000001", "weights": digest, "provider": "Muster Rechenzentrum GmbH",
            "jurisdiction": "DE", "operator": "Muster Rechenzentrum GmbH", "site": "de-bench-muc1", "country": "DE",
            "machine": "eng_00000000000000000000000001", "retention": "none", "attestation": "none"
        },
        "data_class": "internal", "policy": {"digest": digest, "permit": true, "rules": ["internal-in-europe"]},
        "usage": {"input": 121, "cached": 96, "output": 64, "reasoning": 0}, "usage_source": "engine",
        "price_book": digest, "cost_micro_eur": 56, "outcome": "completed", "received_at": START, "ended_at": START,
        "request_commitment": Hash::ZERO.b64url(), "answer_commitment": Hash::ZERO.b64url(),
        "opening": Hash::ZERO.b64url(), "inc": IncarnationId(0x1c), "seq": 1, "prev": Hash::ZERO.b64url()
    });
    let mut claims: ReceiptClaims = serde_json::from_value(claims).unwrap();
    let header = EncodedHeader::new(&signer.kid()).unwrap();
    let mut prev = Hash::ZERO;
    let mut one = |seq: u64| {
        let own = sha256(&[&seq.to_be_bytes()]);
        claims.received_at = UnixMillis(START + seq as i64 / 10);
        claims.jti = ReceiptId::from_parts(claims.received_at, own.0[..10].try_into().unwrap());
        (claims.opening, claims.seq, claims.prev) = (own.b64url(), seq, prev.b64url());
        let text = header.signing_input(&claims).unwrap().0;
        prev = receipt::leaf(&text);
        (claims.jti, text)
    };
    (1..=count).map(&mut one).unzip()
}
