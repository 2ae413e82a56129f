//! Failure 18, where the gateway meets it: the store knows another receipt for a place than the journal does. It stops, says
//! so, and heals nothing by itself.

use crate::world::*;
use gateway::Readiness;
use serde_json::json;
use std::time::Duration;
use store::ShippedReceipt;
use twin::engine::{Behaviour, ScriptedEngine};
use types::{MicroEur, ReceiptId};

#[tokio::test]
async fn f18_two_receipts_for_one_place_stop_the_gateway_and_stay_as_they_are() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let folder = world.folder.clone();
    assert_eq!(world.chat(json!({})).await.status, 200);
    let first = world.settle().await.remove(0);
    // Somebody else has written, in this boot's name, what stands at the next place of the tenant's chain.
    let forged = ShippedReceipt {
        id: ReceiptId(first.jti.0 + 1),
        tenant: first.sub,
        project: first.project,
        key: first.key,
        inc: first.inc,
        journal_seq: 1_000_000,
        chain_seq: first.seq + 1,
        received_at: first.received_at,
        month: first.received_at.month(),
        cost: MicroEur(1),
        outcome: "completed".to_owned(),
        signing_input: "another.history".to_owned(),
        leaf: [9; 32],
    };
    assert_eq!(world.store.ship(std::slice::from_ref(&forged)).await.unwrap(), 1);
    assert_eq!(world.chat(json!({})).await.status, 200);
    let forked = async {
        while world.gateway.readiness() != Readiness::Forked {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), forked).await.expect("the fork is met when it is shipped");
    for _ in 0..3 {
        let refused = world.chat(json!({})).await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "not_ready"));
        assert_eq!(world.gateway.readiness(), Readiness::Forked);
    }
    assert_eq!(engine.requests().len(), 2, "it served on a log that contradicts itself");
    // Nothing was overwritten on either side: the store has what it had, the journal both of its own.
    let stored = world.store.receipt(forged.id).await.unwrap().unwrap();
    assert_eq!(stored.signing_input, forged.signing_input);
    world.abandon().await;
    let options = journal::Options { low_water_bytes: 0, ..Default::default() };
    let (_journal, recovered) = journal::Journal::open(&folder.path().join("journal"), [0xee; 16], options).unwrap();
    let receipts = recovered.records().filter(|record| {
        let record = gateway::record::decode(&record.as_ref().unwrap().payload).unwrap();
        matches!(record, gateway::record::Record::Receipt(_))
    });
    assert_eq!(receipts.count(), 2);
}
