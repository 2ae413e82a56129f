//! What the next boot makes of a journal that a crash left.

use crate::world::*;
use gateway::record::{Intent, Watermark, encode_watermark};
use serde_json::json;
use twin::engine::{Behaviour, ScriptedEngine};
use types::receipt::PolicyClaim;
use types::*;

/// An intent as the gateway writes it.
fn intent(id: ReceiptId) -> Intent {
    let now = SystemNow::millis();
    Intent {
        draft: ReceiptClaims {
            iss: "test".into(),
            jti: id,
            iat: now.seconds(),
            sub: TENANT,
            project: PROJECT,
            key: KEY,
            dialect: "openai".into(),
            operation: "chat.completions".into(),
            model: MODEL.into(),
            served_by: None,
            data_class: DataClass::Internal,
            policy: PolicyClaim { digest: "".into(), permit: true, rules: [].into() },
            usage: Usage::default(),
            usage_source: UsageSource::None,
            price_book: "".into(),
            cost_micro_eur: MicroEur(0),
            outcome: Outcome::Aborted,
            code: None,
            received_at: now,
            ended_at: now,
            request_commitment: String::new(),
            answer_commitment: None,
            passages: Default::default(),
            egress: None,
            opening: ledger::hash::Hash([3; 32]).b64url(),
            inc: IncarnationId(1),
            seq: 0,
            prev: String::new(),
            intent_inc: None,
        },
        price: types::snapshot::Price {
            model: "*".to_owned(),
            input: MicroEur(1_000_000),
            cached_input: MicroEur(0),
            output: MicroEur(1_000_000),
        },
        reserved: MicroEur(1_000),
    }
}

struct SystemNow;
impl SystemNow {
    fn millis() -> UnixMillis {
        gateway::Clock::now(&gateway::SystemClock::start())
    }
}

#[tokio::test]
async fn open_intents_end_as_unresolved_with_their_last_watermark() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let dir = folder.path().join("journal");
    std::fs::create_dir_all(&dir).unwrap();
    let crashed = IncarnationId(77);
    let options = journal::Options { segment_bytes: 1 << 20, low_water_bytes: 0, ..Default::default() };
    let (journal, _) = journal::Journal::open(&dir, crashed.0.to_be_bytes(), options).unwrap();
    for id in [1, 2] {
        journal.append(intent(ReceiptId(id)).encode().unwrap()).await.unwrap();
    }
    let usage = |output| Usage { input: 10, output, ..Usage::default() };
    for output in [3, 7] {
        journal.append(encode_watermark(&Watermark { receipt: ReceiptId(2), usage: usage(output) })).await.unwrap();
    }
    journal.close().unwrap();

    let engine = ScriptedEngine::start(Behaviour::tokens(2)).await.unwrap();
    let setup = || Setup::new().engine(&engine.url(), "DE");
    let world = setup().start_in(folder.clone()).await;
    let found = world.settle().await;
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|claims| claims.outcome == Outcome::Unresolved && claims.intent_inc == Some(crashed)));
    let by_id = |id| found.iter().find(|claims| claims.jti == ReceiptId(id)).unwrap();
    assert_eq!((by_id(1).usage.output, by_id(1).usage_source), (0, UsageSource::None));
    assert_eq!((by_id(2).usage.output, by_id(2).usage_source), (7, UsageSource::Watermark));
    assert_eq!(by_id(2).cost_micro_eur.0, 17);
    world.chat(json!({})).await;
    world.stop().await;
    // Another boot finds them resolved.
    let world = setup().start_in(folder).await;
    let again = world.receipts().await;
    assert_eq!(again.iter().filter(|claims| claims.outcome == Outcome::Unresolved).count(), 2);
    assert_eq!(again.len(), 3);
}

#[tokio::test]
async fn more_open_intents_than_the_queue_holds_leave_no_gap() {
    const OPEN: u128 = 150;
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let dir = folder.path().join("journal");
    std::fs::create_dir_all(&dir).unwrap();
    let options = journal::Options { segment_bytes: 1 << 20, low_water_bytes: 0, ..Default::default() };
    let (journal, _) = journal::Journal::open(&dir, IncarnationId(77).0.to_be_bytes(), options).unwrap();
    for id in 1..=OPEN {
        drop(journal.append(intent(ReceiptId(id)).encode().unwrap()));
    }
    journal.close().unwrap();
    // Their receipts are some 2 KB each, and 16 of them fit at once.
    let disk = crate::disk::GatedDisk::new();
    let setup = Setup::new().disk(&disk).journal(|journal| journal.queue_bytes_max = 68 << 10);
    let closed = disk.close();
    let open = async {
        disk.until_held().await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        drop(closed);
    };
    let (world, ()) = tokio::join!(setup.start_in(folder), open);
    let found = world.receipts().await;
    assert_eq!(found.len() as u128, OPEN);
    assert!(found.iter().all(|claims| claims.outcome == Outcome::Unresolved));
}
