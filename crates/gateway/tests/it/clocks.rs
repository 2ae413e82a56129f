//! Failure 15: the wall clock jumps. It is a claim: nothing that waits, ends or is ordered depends on it, and somebody is
//! told.

use crate::world::*;
use prometheus_client::registry::Registry;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use twin::engine::{Behaviour, ScriptedEngine};
use types::{Outcome, UnixMillis};

const HOUR: i64 = 3_600_000;

fn jumps(world: &World) -> u64 {
    let mut registry = Registry::default();
    world.gateway.metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("hoheit_wall_clock_jumps_total "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn f15_a_clock_that_is_set_back_revives_no_key() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let clock = Arc::new(HandClock::start());
    let end = UnixMillis(gateway::Clock::now(&*clock).0 + 60_000);
    let world = Setup::new()
        .engine(&engine.url(), "DE")
        .clock(clock.clone())
        .edit(|snapshot| snapshot.keys[0].expires_at = Some(end))
        .start()
        .await;
    assert_eq!(world.chat(json!({})).await.status, 200);
    clock.advance(61_000);
    assert_eq!(world.chat(json!({})).await.code(), "key_expired");
    clock.set_wall(-24 * HOUR);
    assert_eq!(world.chat(json!({})).await.code(), "key_expired");
    assert_eq!(world.receipts().await.len(), 1);
}

#[tokio::test]
async fn f15_a_jump_is_told_and_changes_no_order_and_no_timeout() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let clock = Arc::new(HandClock::start());
    let world = Setup::new().engine(&engine.url(), "DE").clock(clock.clone()).start().await;
    for (turn, jump) in [0, -48 * HOUR, 100 * HOUR].into_iter().enumerate() {
        clock.set_wall(jump);
        assert_eq!(world.chat(json!({"stream": true})).await.status, 200);
        let told = async {
            while jumps(&world) < turn as u64 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), told).await.expect("the jump is counted");
    }
    // In the order in which they came, whatever their times say.
    let receipts = world.receipts().await;
    assert!(receipts.iter().all(|receipt| receipt.outcome == Outcome::Completed));
    assert_eq!(receipts.iter().map(|receipt| receipt.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(receipts[1].received_at < receipts[0].received_at && receipts[2].received_at > receipts[0].received_at);
}
