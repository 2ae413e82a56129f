//! Failure 12: a request under an idempotency key is made once, also across a restart and between two gateways.

use crate::world::*;
use serde_json::{Value, json};
use std::sync::Arc;
use twin::engine::{Before, Behaviour, ScriptedEngine};
use types::Outcome;

async fn ask(world: &World, key: &str, more: Value) -> Reply {
    let auth = bearer(KEY);
    let headers = [("authorization", auth.as_str()), ("idempotency-key", key)];
    world.post_with("/v1/chat/completions", &headers, chat(more).to_string()).await
}

fn refusal(reply: &Reply) -> (u16, String) {
    (reply.status, reply.code())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn names(reply: &Reply, receipt: &str) -> bool {
    reply.json()["error"]["message"].as_str().unwrap().contains(receipt)
}

#[tokio::test]
async fn f12_after_a_restart_a_repeat_is_told_which_receipt_it_has() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let setup = || Setup::new().engine(&engine.url(), "DE");
    let world = setup().start().await;
    let folder = world.folder.clone();
    let first = ask(&world, "job", json!({})).await;
    assert_eq!(first.status, 200);
    world.stop().await;
    let world = setup().start_in(folder).await;
    let again = ask(&world, "job", json!({})).await;
    assert_eq!(refusal(&again), refused(409, "idempotency_answered"));
    assert!(names(&again, &first.receipt()), "{:?}", again.body);
    assert_eq!(refusal(&ask(&world, "job", json!({"seed": 1})).await), refused(422, "idempotency_mismatch"));
    assert_eq!(engine.requests().len(), 1, "the repeat ran");
    assert_eq!(ask(&world, "another", json!({})).await.status, 200);
    let receipts = world.receipts().await;
    let completed = receipts.iter().filter(|receipt| receipt.outcome == Outcome::Completed).count();
    assert_eq!((completed, receipts.len()), (2, 4));
}

#[tokio::test]
async fn f12_of_two_gateways_that_race_for_a_key_one_dispatches() {
    for round in 0..5 {
        let behaviour = Behaviour { before: Before::Hang, ..Behaviour::tokens(3) };
        let engine = ScriptedEngine::start(behaviour).await.unwrap();
        let setup = |name| Setup::new().engine(&engine.url(), "DE").named(name);
        let one = setup("one").start().await;
        let two = setup("two").start_in(one.folder.clone()).await;
        let (one, two) = (Arc::new(one), Arc::new(two));
        let mut answers = tokio::task::JoinSet::new();
        for world in [&one, &two] {
            let world = world.clone();
            answers.spawn(async move { ask(&world, "job", json!({})).await });
        }
        // The engine holds what reaches it, so the first to be answered is the one that lost.
        let lost = answers.join_next().await.unwrap().unwrap();
        assert_eq!(refusal(&lost), refused(409, "idempotency_running"), "round {round}");
        engine.release();
        let won = answers.join_next().await.unwrap().unwrap();
        assert_eq!(won.status, 200);
        // Whoever has the answer replays it, the other one names its receipt.
        one.settle().await;
        two.settle().await;
        let again = [ask(&one, "job", json!({})).await, ask(&two, "job", json!({})).await];
        let replays = again.iter().filter(|reply| reply.status == 200 && reply.receipt() == won.receipt()).count();
        let told = again.iter().filter(|reply| reply.code() == "idempotency_answered").collect::<Vec<_>>();
        assert_eq!((replays, told.len()), (1, 1), "round {round}");
        assert!(names(told[0], &won.receipt()));
        assert_eq!(engine.requests().len(), 1, "round {round}: dispatched twice");
        Arc::into_inner(two).unwrap().receipts().await;
        let receipts = Arc::into_inner(one).unwrap().receipts().await;
        assert_eq!(receipts.iter().filter(|receipt| receipt.outcome == Outcome::Completed).count(), 1);
        assert_eq!(receipts.len(), 3);
    }
}

#[tokio::test]
async fn f12_a_key_whose_gateway_died_is_resolved_by_its_recovery() {
    let behaviour = Behaviour { before: Before::Hang, ..Behaviour::tokens(3) };
    let engine = ScriptedEngine::start(behaviour).await.unwrap();
    let setup = || {
        let drain = |limits: &mut gateway::Limits| limits.drain_timeout = std::time::Duration::ZERO;
        Setup::new().engine(&engine.url(), "DE").limits(drain)
    };
    let world = Arc::new(setup().start().await);
    let folder = world.folder.clone();
    let asking = {
        let world = world.clone();
        let auth = bearer(KEY);
        let request = world.request(
            http::Method::POST,
            "/v1/chat/completions",
            &[("authorization", auth.as_str()), ("idempotency-key", "job")],
            chat(json!({})).to_string().into(),
        );
        let client = world.client.clone();
        tokio::spawn(async move { client.request(request).await.is_ok() })
    };
    engine.until(|requests| requests.len() == 1).await;
    Arc::into_inner(world).unwrap().crash().await;
    drop(asking.await);
    engine.release();
    let world = setup().start_in(folder).await;
    let found = world.settle().await;
    assert_eq!(found.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::Unresolved]);
    let again = ask(&world, "job", json!({})).await;
    assert_eq!(refusal(&again), refused(409, "idempotency_answered"));
    assert!(names(&again, &found[0].jti.to_string()) && names(&again, "stopped while it ran"));
    assert_eq!(engine.requests().len(), 1);
    assert_eq!(world.receipts().await.len(), 2);
}

#[tokio::test]
async fn f12_without_the_store_a_key_is_refused_and_the_rest_is_served() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let folder = world.folder.clone();
    world.store.close().await;
    assert_eq!(refusal(&ask(&world, "job", json!({})).await), refused(503, "store_unavailable"));
    assert_eq!(world.chat(json!({})).await.status, 200);
    assert_eq!(engine.requests().len(), 1, "a promise that cannot be kept was given");
    world.abandon().await;
    let world = Setup::new().engine(&engine.url(), "DE").start_in(folder).await;
    let receipts = world.receipts().await;
    assert_eq!(receipts.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::Refused, Outcome::Completed]);
}

#[tokio::test]
async fn f12_a_request_that_failed_may_be_made_again() {
    let engine = ScriptedEngine::start(Behaviour { before: Before::error(400), ..Behaviour::tokens(3) }).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    for asked in 1..=2 {
        assert_eq!(ask(&world, "job", json!({})).await.status, 400);
        assert_eq!(engine.requests().len(), asked);
    }
    let receipts = world.receipts().await;
    assert!(receipts.iter().all(|receipt| receipt.outcome == Outcome::Failed) && receipts.len() == 2);
}
