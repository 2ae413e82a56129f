//! How many receipts a second the store takes and the sealer seals; and, if asked, a tenant's export to verify.
//!
//! `cargo run -p controller --release --example sealing FOLDER RECEIPTS [EXPORT]`
//!
//! The real code on a real disk: receipts of the usual size are shipped to SQLite in batches of 1,000, then sealed into
//! tiles, each batch with its fsyncs, its signed checkpoint and its row in the store. First half of them by the sealer's
//! own loop, which keeps 250 ms between checkpoints, then the rest as fast as it goes. EXPORT becomes what
//! `hoheit receipt export --bundle` writes: the same functions make signature and proof. FOLDER must not hold a site.

#![expect(clippy::unwrap_used, reason = "a measurement may end with a panic")]

use controller::seal::{Progress, SealerParts, recover, run, seal_once};
use ledger::SigningKey;
use ledger::hash::Hash;
use ledger::log::LogSigner;
use ledger::receipt::EncodedHeader;
use serde_json::json;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::tiles::TileFiles;
use store::{ReceiptFilter, ShippedReceipt, Store};
use types::{IncarnationId, KeyId, MicroEur, ProjectId, ReceiptClaims, ReceiptId, TenantId, UnixMillis};

const START: i64 = 1_795_000_000_000;
const BATCH: u64 = 1_000;
const TENANT: TenantId = TenantId(0xa);
const INC: IncarnationId = IncarnationId(0x1c);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().expect("FOLDER"));
    let receipts: u64 = arguments.next().expect("RECEIPTS").parse().expect("RECEIPTS is a number");
    let export = arguments.next().map(PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&folder, receipts, export.as_deref()));
}

async fn measure(folder: &Path, receipts: u64, export: Option<&Path>) {
    let store = Store::open(&format!("sqlite://{}/hoheit.db", folder.display())).await.unwrap();
    let parts = SealerParts {
        store: store.clone(),
        tiles: TileFiles::open(folder.join("log")).unwrap(),
        signer: Arc::new(LogSigner::new("log.hoheit.invalid/bench", key(1)).unwrap()),
        progress: Progress::default(),
        fault: None,
    };
    recover(&parts).await.unwrap();
    store.incarnation_begin("bench", INC, UnixMillis(START)).await.unwrap();
    let (mut shipped, mut making, mut shipping) = (Shipped::new(), Duration::ZERO, Duration::ZERO);
    let mut figures = serde_json::Map::new();
    for target in [receipts / 2, receipts] {
        while shipped.seq < target {
            let begin = Instant::now();
            let rows: Vec<_> = (0..BATCH.min(target - shipped.seq)).map(|_| shipped.next()).collect();
            making += begin.elapsed();
            let begin = Instant::now();
            store.ship(&rows).await.unwrap();
            shipping += begin.elapsed();
        }
        let before = size(&store).await;
        let begin = Instant::now();
        let name = match target == receipts {
            false => {
                in_its_rhythm(&parts, target).await;
                "leaves_per_second_in_rhythm"
            }
            true => {
                while seal_once(&parts).await.unwrap() > 0 {}
                "leaves_per_second"
            }
        };
        figures.insert(name.to_owned(), rate(target - before, begin.elapsed()).into());
    }
    assert_eq!(size(&store).await, receipts);
    figures.insert("receipts".to_owned(), receipts.into());
    figures.insert("receipts_shipped_per_second".to_owned(), rate(receipts, shipping).into());
    figures.insert("receipts_made_per_second".to_owned(), rate(receipts, making).into());
    if let Some(out) = export {
        let begin = Instant::now();
        write_export(&parts, out, receipts).await;
        figures.insert("receipts_exported_per_second".to_owned(), rate(receipts, begin.elapsed()).into());
    }
    store.close().await;
    println!("{}", serde_json::Value::from(figures));
}

/// The sealer's own loop, until it has sealed so many.
async fn in_its_rhythm(parts: &SealerParts, target: u64) {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let sealer = tokio::spawn(run(parts.clone(), async move {
        let _ended = stopped.await;
    }));
    while size(&parts.store).await < target {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stop);
    sealer.await.unwrap().unwrap();
}

async fn size(store: &Store) -> u64 {
    store.tree_head().await.unwrap().map_or(0, |(size, _)| size)
}

fn rate(count: u64, in_time: Duration) -> u64 {
    (count as f64 / in_time.as_secs_f64()) as u64
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

/// A chain of receipts, as a gateway would ship it.
struct Shipped {
    seq: u64,
    prev: Hash,
    header: EncodedHeader,
    claims: ReceiptClaims,
}

impl Shipped {
    fn new() -> Shipped {
        let claims = json!({
            "iss": "de-bench-muc1", "jti": ReceiptId(1), "iat": START / 1000, "sub": TENANT, "project": ProjectId(1),
            "key": KeyId(1), "dialect": "openai", "operation": "chat.completions", "model": "qwen3-32b",
            "served_by": {
                "endpoint": "end_00000000000000000000000001", "weights": format!("sha256:{}", Hash::ZERO),
                "provider": "Muster Rechenzentrum GmbH", "jurisdiction": "DE", "operator": "Muster Rechenzentrum GmbH",
                "site": "de-bench-muc1", "country": "DE", "machine": "eng_00000000000000000000000001",
                "retention": "none", "attestation": "none"
            },
            "data_class": "internal",
            "policy": {"digest": format!("sha256:{}", Hash::ZERO), "permit": true, "rules": ["internal-in-europe"]},
            "usage": {"input": 121, "cached": 96, "output": 64, "reasoning": 0}, "usage_source": "engine",
            "price_book": format!("sha256:{}", Hash::ZERO), "cost_micro_eur": 56, "outcome": "completed",
            "received_at": START, "ended_at": START, "request_commitment": Hash::ZERO.b64url(),
            "answer_commitment": Hash::ZERO.b64url(), "opening": Hash::ZERO.b64url(), "inc": INC, "seq": 1,
            "prev": Hash::ZERO.b64url()
        });
        let claims = serde_json::from_value(claims).unwrap();
        Shipped { seq: 0, prev: Hash::ZERO, header: EncodedHeader::new(&key(7).kid()).unwrap(), claims }
    }

    fn next(&mut self) -> ShippedReceipt {
        self.seq += 1;
        // Ten thousand a second, so that each second holds as many as a busy site's.
        let received_at = UnixMillis(START + self.seq as i64 / 10);
        let own = ledger::hash::sha256(&[&self.seq.to_be_bytes()]);
        let claims = &mut self.claims;
        claims.jti = ReceiptId::from_parts(received_at, own.0[..10].try_into().unwrap());
        (claims.received_at, claims.ended_at, claims.iat) = (received_at, received_at, received_at.0 / 1000);
        claims.opening = own.b64url();
        (claims.seq, claims.prev) = (self.seq, self.prev.b64url());
        let signing_input = self.header.signing_input(claims).unwrap().0;
        self.prev = ledger::receipt::leaf(&signing_input);
        ShippedReceipt {
            id: claims.jti,
            tenant: TENANT,
            project: claims.project,
            key: claims.key,
            inc: INC,
            journal_seq: 2 * self.seq,
            chain_seq: self.seq,
            received_at,
            month: received_at.month(),
            cost: MicroEur(56),
            outcome: "completed".to_owned(),
            signing_input,
            leaf: self.prev.0,
        }
    }
}

/// What the control API answers and the command line writes, page by page.
async fn write_export(parts: &SealerParts, out: &Path, receipts: u64) {
    std::fs::create_dir_all(out).unwrap();
    let mut file = BufWriter::with_capacity(1 << 20, std::fs::File::create(out.join("receipts.jsonl")).unwrap());
    let signer = Arc::new(key(7));
    let mut after = None;
    loop {
        let filter = ReceiptFilter { tenant: TENANT, project: None, after, limit: 1_000 };
        let page = parts.store.receipts(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        let lines: Vec<_> = page
            .chunks(250)
            .map(|rows| {
                let (rows, tiles, signer) = (rows.to_vec(), parts.tiles.clone(), signer.clone());
                tokio::task::spawn_blocking(move || {
                    let line = |row: &store::StoredReceipt| {
                        let jwt = ledger::receipt::jwt(&row.signing_input, &signer);
                        let proof = tiles.proof(row.leaf_index.unwrap()).unwrap();
                        format!("{}\n", json!({ "jwt": jwt, "proof": proof }))
                    };
                    rows.iter().map(line).collect::<String>()
                })
            })
            .collect();
        for lines in lines {
            file.write_all(lines.await.unwrap().as_bytes()).unwrap();
        }
    }
    file.flush().unwrap();
    let summary = json!({ "format": "hoheit-export/v1", "tenant": TENANT, "receipts": receipts });
    std::fs::write(out.join("export.json"), summary.to_string()).unwrap();
    std::fs::write(out.join("jwks.json"), ledger::jwks::render(&[signer.public()])).unwrap();
    std::fs::write(out.join("log.vkey"), parts.signer.vkey().to_string()).unwrap();
}
