//! Budgets and limits under concurrency: what is reserved is at least what can be settled, so nothing is overshot.

use crate::world::*;
use serde_json::json;
use std::sync::Arc;
use twin::engine::{Behaviour, ScriptedEngine};
use types::{Code, MicroEur, Outcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_five_hundred_at_once_never_overshoot_the_last_cents() {
    const BUDGET: MicroEur = MicroEur(20_000);
    let behaviour = Behaviour { prompt_tokens: Some(10), ..Behaviour::tokens(50) };
    let engine = ScriptedEngine::start(behaviour).await.unwrap();
    let places = [0, 1, 2];
    for place in places {
        let world = Setup::new()
            .engine(&engine.url(), "DE")
            .edit(|snapshot| match place {
                0 => snapshot.tenants[0].budget = Some(BUDGET),
                1 => snapshot.projects[0].budget = Some(BUDGET),
                _ => snapshot.keys[0].budget = Some(BUDGET),
            })
            .start()
            .await;
        let world = Arc::new(world);
        let mut running = tokio::task::JoinSet::new();
        for index in 0..500 {
            let world = world.clone();
            running.spawn(async move { world.chat(json!({"stream": index % 2 == 0})).await });
        }
        let (mut served, mut refused) = (0, 0);
        while let Some(reply) = running.join_next().await {
            let reply = reply.unwrap();
            match reply.status {
                200 => served += 1,
                429 => {
                    refused += 1;
                    assert_eq!(reply.code(), "budget_exhausted");
                    assert!(reply.json()["error"]["message"].as_str().unwrap().contains("left"));
                    assert_eq!(reply.headers["x-should-retry"], "false");
                }
                other => panic!("{other}: {:?}", reply.body),
            }
        }
        let receipts = world.settle().await;
        let sum: i64 = receipts.iter().map(|receipt| receipt.cost_micro_eur.0).sum();
        assert!(sum <= BUDGET.0, "{sum} micro-euro were settled of {}", BUDGET.0);
        assert!(served > 0 && refused > 0, "{served} served, {refused} refused");
        let by_outcome = |outcome| receipts.iter().filter(|receipt| receipt.outcome == outcome).count();
        assert_eq!((by_outcome(Outcome::Completed), by_outcome(Outcome::Refused)), (served, refused));
        assert!(receipts.iter().all(|receipt| receipt.code.is_none_or(|code| code == Code::BudgetExhausted)));
        Arc::into_inner(world).unwrap().stop().await;
    }
}

#[tokio::test]
async fn requests_and_tokens_per_minute() {
    let engine = ScriptedEngine::start(Behaviour { prompt_tokens: Some(10), ..Behaviour::tokens(5) }).await.unwrap();
    let world = Setup::new()
        .engine(&engine.url(), "DE")
        .edit(|snapshot| snapshot.keys[0].limits.requests_per_minute = Some(3))
        .start()
        .await;
    for remaining in ["2", "1", "0"] {
        let reply = world.chat(json!({})).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers["x-ratelimit-limit-requests"], "3");
        assert_eq!(reply.headers["x-ratelimit-remaining-requests"], remaining);
    }
    let reply = world.chat(json!({})).await;
    assert_eq!((reply.status, reply.code().as_str()), (429, "rate_limited"));
    let wait: u64 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(world.receipts().await.len(), 4);

    let world = Setup::new()
        .engine(&engine.url(), "DE")
        .edit(|snapshot| snapshot.projects[0].limits.tokens_per_minute = Some(1_000))
        .stop_the_clock()
        .start()
        .await;
    // The bytes of the body, 512 of a template and 5 of the answer bound a request; 10 and 5 tokens are used, the rest
    // comes back, and the clock stands still.
    let bound = chat(json!({"max_tokens": 5})).to_string().len() as u64 + 512 + 5;
    for used in [0, 15, 30] {
        let reply = world.chat(json!({"max_tokens": 5})).await;
        assert_eq!(reply.status, 200);
        let left: u64 = reply.headers["x-ratelimit-remaining-tokens"].to_str().unwrap().parse().unwrap();
        assert_eq!(left, 1_000 - used - bound);
    }
    // A refusal takes nothing: what is left is what it was.
    let reply = world.chat(json!({"max_tokens": 64, "user": "x".repeat(800)})).await;
    assert_eq!((reply.status, reply.code().as_str()), (429, "rate_limited"));
    assert_eq!(reply.headers["x-ratelimit-remaining-tokens"], "955");
    world.stop().await;
}

#[tokio::test]
async fn a_large_request_runs_alone_and_is_paid_for_afterwards() {
    let engine = ScriptedEngine::start(Behaviour { prompt_tokens: Some(290), ..Behaviour::tokens(10) }).await.unwrap();
    let world = Setup::new()
        .engine(&engine.url(), "DE")
        .edit(|snapshot| snapshot.projects[0].limits.tokens_per_minute = Some(100))
        .stop_the_clock()
        .start()
        .await;
    // It could use some 700, more than a whole minute, and uses 300: 200 of them are a debt, two minutes' worth.
    assert_eq!(world.chat(json!({"max_tokens": 10})).await.status, 200);
    let reply = world.chat(json!({"max_tokens": 10})).await;
    assert_eq!((reply.status, reply.code().as_str()), (429, "rate_limited"));
    // The debt and a full bucket for the next of its kind.
    assert_eq!(reply.headers["retry-after"], "180");
    assert_eq!(reply.headers["x-ratelimit-remaining-tokens"], "0");
    world.stop().await;
}

#[tokio::test]
async fn headers_show_the_limit_that_ends_first() {
    let engine = ScriptedEngine::start(Behaviour::tokens(5)).await.unwrap();
    let world = Setup::new()
        .engine(&engine.url(), "DE")
        .edit(|snapshot| {
            snapshot.projects[0].limits.requests_per_minute = Some(2);
            snapshot.keys[0].limits.requests_per_minute = Some(50);
        })
        .stop_the_clock()
        .start()
        .await;
    let reply = world.chat(json!({})).await;
    assert_eq!(reply.headers["x-ratelimit-limit-requests"], "2");
    assert_eq!(reply.headers["x-ratelimit-remaining-requests"], "1");
    world.stop().await;
}

#[tokio::test]
async fn what_was_spent_before_a_restart_still_counts() {
    let engine = ScriptedEngine::start(Behaviour { prompt_tokens: Some(10), ..Behaviour::tokens(50) }).await.unwrap();
    let setup =
        || Setup::new().engine(&engine.url(), "DE").edit(|snapshot| snapshot.keys[0].budget = Some(MicroEur(600)));
    let world = setup().start().await;
    let folder = world.folder.clone();
    let mut served = 0;
    while world.chat(json!({})).await.status == 200 {
        served += 1;
    }
    assert!(served >= 1);
    world.stop().await;
    let world = setup().start_in(folder).await;
    assert_eq!(world.chat(json!({})).await.code(), "budget_exhausted");
    world.stop().await;
}
