//! Engines that fail in every way they can, and what the client and the receipt see of it.

use crate::world::*;
use serde_json::json;
use std::time::Duration;
use twin::engine::{Before, Behaviour, End, ScriptedEngine, UsageStory};
use types::{Code, Outcome, ReceiptClaims, UsageSource};

async fn one(behaviour: Behaviour, body: serde_json::Value) -> (Reply, ReceiptClaims) {
    let engine = ScriptedEngine::start(behaviour).await.unwrap();
    let setup = Setup::new().engine(&engine.url(), "DE").limits(|limits| {
        limits.event_bytes_max = 100_000;
        limits.token_timeout = Duration::from_millis(300);
        limits.first_token_timeout = Duration::from_millis(600);
        limits.total_timeout = Duration::from_secs(5);
    });
    let world = setup.start().await;
    let reply = world.chat(body).await;
    let mut receipts = world.receipts().await;
    assert_eq!(receipts.len(), 1);
    (reply, receipts.remove(0))
}

#[tokio::test]
async fn failures_before_the_first_token_are_typed() {
    let error = |status| Behaviour::before(Before::error(status));
    let cases = [
        (Behaviour::before(Before::Refuse), 503, Code::ReplicaUnavailable),
        (Behaviour::before(Before::Close), 503, Code::ReplicaUnavailable),
        (Behaviour::before(Before::Garbage("SMTP ready\r\n".into())), 503, Code::ReplicaUnavailable),
        (error(500), 502, Code::EngineFailed),
        (error(404), 502, Code::EngineFailed),
        (error(401), 502, Code::EngineFailed),
        (error(400), 400, Code::InvalidRequest),
        (error(422), 422, Code::InvalidRequest),
        (error(429), 429, Code::EngineOverloaded),
        (Behaviour::before(Before::busy("7")), 429, Code::EngineOverloaded),
        (Behaviour::before(Before::html()), 502, Code::EngineFailed),
    ];
    for (behaviour, status, code) in cases {
        for stream in [false, true] {
            let (reply, receipt) = one(behaviour.clone(), json!({"stream": stream})).await;
            assert_eq!((reply.status, reply.code().as_str()), (status, code.as_str()), "{:?}", behaviour.before);
            assert_eq!((receipt.outcome, receipt.code), (Outcome::Failed, Some(code)));
            assert_eq!(receipt.cost_micro_eur.0, 0);
        }
    }
}

#[tokio::test]
async fn retry_after_is_passed_on() {
    let (reply, _) = one(Behaviour::before(Before::busy("7")), json!({})).await;
    assert_eq!(reply.headers["retry-after"], "7");
    let (reply, _) = one(Behaviour::before(Before::busy("100000")), json!({})).await;
    assert_eq!(reply.headers["retry-after"], "300");
}

#[tokio::test]
async fn broken_answers_that_are_not_streamed_deliver_nothing() {
    for end in [End::DieAfterHead, End::DieInside(0), End::HalfLine(0)] {
        let (reply, receipt) = one(Behaviour { end, ..Behaviour::tokens(5) }, json!({})).await;
        assert_eq!((reply.status, reply.code().as_str()), (502, "engine_failed"), "{end:?}");
        assert_eq!((receipt.outcome, receipt.usage.output), (Outcome::Failed, 0));
    }
}

#[tokio::test]
async fn a_break_inside_a_stream_is_an_error_event_and_never_done() {
    let ends = [
        (End::DieInside(2), 2),
        (End::DieAfter(3), 3),
        (End::HalfLine(2), 2),
        (End::NoDone, 5),
        (End::ErrorAfter(2), 2),
        (End::GarbageAfter(2), 2),
        (End::StallAfter(2), 2),
    ];
    for (end, delivered) in ends {
        let (reply, receipt) = one(Behaviour { end, ..Behaviour::tokens(5) }, json!({"stream": true})).await;
        let events = reply.events();
        let last: serde_json::Value =
            serde_json::from_str(events.last().unwrap()).unwrap_or_else(|_| panic!("{events:?}"));
        let code = if matches!(end, End::StallAfter(_)) { Code::EngineTimeout } else { Code::StreamBroken };
        assert_eq!(last["error"]["code"], code.as_str(), "{end:?}");
        assert!(!events.iter().any(|event| event == "[DONE]"), "{end:?}");
        assert_eq!((receipt.outcome, receipt.code), (Outcome::Partial, Some(code)), "{end:?}");
        assert_eq!(receipt.usage.output, delivered, "{end:?}: {receipt:?}");
    }
}

#[tokio::test]
async fn a_stream_that_dies_before_its_first_token_can_still_be_retried() {
    let bad = ScriptedEngine::start(Behaviour { end: End::DieAfterHead, ..Behaviour::tokens(5) }).await.unwrap();
    let good = ScriptedEngine::start(Behaviour::tokens(4)).await.unwrap();
    let world = Setup::new().engine(&bad.url(), "DE").engine(&good.url(), "DE").start().await;
    for _ in 0..4 {
        let reply = world.chat(json!({"stream": true})).await;
        assert_eq!(reply.events().last().map(String::as_str), Some("[DONE]"));
    }
    for receipt in world.receipts().await {
        assert_eq!((receipt.outcome, receipt.usage.output), (Outcome::Completed, 4));
    }
}

#[tokio::test]
async fn never_the_same_replica_twice_and_at_most_three() {
    let mut engines = Vec::new();
    let mut setup = Setup::new();
    for _ in 0..5 {
        let engine = ScriptedEngine::start(Behaviour::before(Before::Refuse)).await.unwrap();
        setup = setup.engine(&engine.url(), "DE");
        engines.push(engine);
    }
    let world = setup.start().await;
    assert_eq!(world.chat(json!({})).await.status, 503);
    let seen: Vec<usize> = engines.iter().map(|engine| engine.requests().len()).collect();
    assert_eq!((seen.iter().sum::<usize>(), seen.iter().max()), (3, Some(&1)), "{seen:?}");
    assert_eq!(world.receipts().await.len(), 1);
}

#[tokio::test]
async fn lies_about_usage_are_marked_and_never_overbill() {
    let cases = [
        (UsageStory::Correct, 5, UsageSource::Engine),
        (UsageStory::Absent, 5, UsageSource::Estimated),
        (UsageStory::Zero, 5, UsageSource::Estimated),
        (UsageStory::TooLarge, 5, UsageSource::Estimated),
        (UsageStory::Shrinking, 5, UsageSource::Estimated),
        (UsageStory::FinalDiffers, 5, UsageSource::Estimated),
    ];
    for (usage, output, source) in cases {
        let (_, receipt) = one(Behaviour { usage, ..Behaviour::tokens(5) }, json!({"stream": true})).await;
        assert_eq!((receipt.usage.output, receipt.usage_source), (output, source), "{usage:?}");
        assert_eq!(receipt.outcome, Outcome::Completed);
    }
}

/// A chat engine answers embeddings with 404. Whoever asks for them must not take its replicas from everyone.
#[tokio::test]
async fn what_an_engine_does_not_offer_closes_no_breaker() {
    for status in [404, 405, 501] {
        let script = twin::engine::Script::choose(move |ask| match ask.path {
            "/v1/embeddings" => Behaviour::before(Before::error(status)),
            _ => Behaviour::tokens(2),
        });
        let engine = ScriptedEngine::start(script).await.unwrap();
        let world = Setup::new().engine(&engine.url(), "DE").start().await;
        for _ in 0..20 {
            let body = chat(json!({"input": "a"})).to_string();
            let reply = world.post_with("/v1/embeddings", &[("authorization", &bearer(KEY))], body).await;
            assert_eq!((reply.status, reply.code().as_str()), (502, "engine_failed"), "{status}");
        }
        assert_eq!(world.chat(json!({})).await.status, 200, "{status}");
    }
}

#[tokio::test]
async fn fifty_poisonous_requests_close_no_breaker() {
    let engine = ScriptedEngine::start(twin::engine::Script::queue(
        (0..50).map(|_| Behaviour::before(Before::error(400))),
        Behaviour::tokens(2),
    ))
    .await
    .unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    for _ in 0..50 {
        assert_eq!(world.chat(json!({})).await.status, 400);
    }
    assert_eq!(world.chat(json!({})).await.status, 200);
    assert_eq!(world.receipts().await.len(), 51);
}
