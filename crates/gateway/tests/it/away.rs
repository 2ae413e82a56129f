//! Failure 16: the store is away. The gateway serves on its signed snapshot until that expires, and then nothing; receipts
//! wait in the journal.

use crate::switch::Away;
use crate::world::*;
use gateway::{PublishError, Readiness};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use twin::engine::{Behaviour, ScriptedEngine};
use types::{MicroEur, Outcome};

#[tokio::test]
async fn f16_without_the_store_it_serves_until_the_snapshot_expires_and_then_nothing() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let clock = Arc::new(HandClock::start());
    let setup = || Setup::new().engine(&engine.url(), "DE").clock(clock.clone());
    let snapshot = setup().snapshot;
    let world = setup().start().await;
    let folder = world.folder.clone();
    world.store.close().await;
    clock.advance(SNAPSHOT_TTL_MILLIS - 10_000);
    assert_eq!(world.chat(json!({})).await.status, 200);
    clock.advance(10_000);
    let refused = world.chat(json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "snapshot_expired"));
    assert!(!refused.headers.contains_key("hoheit-receipt"));
    let models = world.get("/v1/models", KEY).await;
    assert_eq!((models.status, models.code().as_str()), (503, "snapshot_expired"));
    assert_eq!(world.gateway.readiness(), Readiness::Expired);
    assert_eq!(engine.requests().len(), 1, "served beyond the snapshot's time");
    // The store is back: the controller renews, and it goes on.
    world.gateway.publish(&signed(snapshot, gateway::Clock::now(&*clock))).unwrap();
    assert_eq!(world.chat(json!({})).await.status, 200);
    world.abandon().await;
    // What nobody could ship was kept.
    let receipts = setup().start_in(folder).await.receipts().await;
    assert_eq!(receipts.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::Completed, Outcome::Completed]);
}

#[tokio::test]
async fn f16_a_snapshot_that_is_forged_or_older_does_not_come_into_force() {
    let world = Setup::new().start().await;
    let now = gateway::Clock::now(&gateway::SystemClock::start());
    let version = |version| {
        let mut snapshot = Setup::new().snapshot;
        snapshot.version = version;
        snapshot
    };
    world.gateway.publish(&signed(version(3), now)).unwrap();
    let older = world.gateway.publish(&signed(version(2), now)).unwrap_err();
    assert!(matches!(older, PublishError::Older { version: 2 }), "{older}");
    let mut forged = signed(version(4), now);
    let place = forged.len() - 1;
    forged[place] = b' ';
    assert!(matches!(world.gateway.publish(&forged).unwrap_err(), PublishError::Signed(_)));
    let mut foreign = version(5);
    foreign.site = "another".to_owned();
    assert!(matches!(world.gateway.publish(&signed(foreign, now)).unwrap_err(), PublishError::OtherSite(_)));
    assert_eq!(world.gateway.snapshot_version(), 3);
    // What is on the disk is what is in force, for its owner alone.
    let file = world.folder.path().join("snapshot-test");
    assert_eq!(std::fs::read(&file).unwrap(), signed(version(3), now));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    world.stop().await;
}

/// Waits until something has happened that nobody announces.
async fn until<T>(what: &str, mut happened: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(it) = happened().await {
                return it;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("never: {what}"))
}

#[tokio::test]
async fn f16_a_start_without_the_store_serves_from_the_snapshot_on_the_disk_and_joins_later() {
    let engine = ScriptedEngine::start(Behaviour { prompt_tokens: Some(10), ..Behaviour::tokens(3) }).await.unwrap();
    let away = Away::default();
    let setup = || {
        let rich = |snapshot: &mut types::Snapshot| snapshot.tenants[1].budget = Some(MicroEur(2_000));
        Setup::new().engine(&engine.url(), "DE").edit(rich).away(&away)
    };
    let other = async |world: &World| {
        let auth = bearer(OTHER_KEY);
        world.post_with("/v1/chat/completions", &[("authorization", &auth)], chat(json!({})).to_string()).await
    };
    let world = setup().start().await;
    let folder = world.folder.clone();
    assert_eq!(world.chat(json!({})).await.status, 200);
    assert_eq!(other(&world).await.status, 200);
    away.store(true, Ordering::Relaxed);
    // What is held of the budget is spent, and no more: the store granted all, since there is one gateway.
    assert_eq!(other(&world).await.status, 200);
    world.abandon().await;

    let world = setup().on_a_disk().start_in(folder).await;
    assert_eq!(world.chat(json!({})).await.status, 200);
    // The boot before holds a lease that nobody can close now: nothing of the budget is certain.
    let refused = other(&world).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "store_unavailable"));
    away.store(false, Ordering::Relaxed);
    until("it joins its site", async || (other(&world).await.status == 200).then_some(())).await;
    let receipts = world.receipts().await;
    assert!(receipts.iter().all(|it| matches!(it.outcome, Outcome::Completed | Outcome::Refused)));
    let completed = receipts.iter().filter(|it| it.outcome == Outcome::Completed).count();
    assert_eq!(completed, 5, "{receipts:?}");
    assert_eq!(engine.requests().len(), 5);
}

#[tokio::test]
async fn f16_without_the_store_no_more_of_a_budget_is_spent_than_is_held() {
    const BUDGET: MicroEur = MicroEur(4_000);
    let engine = ScriptedEngine::start(Behaviour { prompt_tokens: Some(10), ..Behaviour::tokens(50) }).await.unwrap();
    let away = Away::default();
    let world = Setup::new()
        .engine(&engine.url(), "DE")
        .edit(|snapshot| snapshot.tenants[0].budget = Some(BUDGET))
        .sharing(gateway::Sharing::Parts)
        .away(&away)
        .start()
        .await;
    assert_eq!(world.chat(json!({})).await.status, 200);
    away.store(true, Ordering::Relaxed);
    let mut served = 0;
    let refused = loop {
        let reply = world.chat(json!({})).await;
        if reply.status != 200 {
            break reply;
        }
        served += 1;
    };
    assert_eq!((refused.status, refused.code().as_str()), (503, "store_unavailable"));
    assert!(served > 0, "what was held could not be spent");
    away.store(false, Ordering::Relaxed);
    // With the store the rest is there again.
    until("a lease", async || (world.chat(json!({})).await.status == 200).then_some(())).await;
    let receipts = world.receipts().await;
    assert!(receipts.iter().map(|it| it.cost_micro_eur.0).sum::<i64>() <= BUDGET.0);
}
