//! Engines that fail in every way they can, and what the client and the receipt see of it.

use crate::world::*;
use serde_json::json;
use std::time::Duration;
use twin::engine::{Before, Behaviour, End, ScriptedEngine, UsageStory};
use types::{Code, Outcome, ReceiptClaims, UsageSource};

async fn one(behaviour: Behaviour, body: serde_json::Value) -> (Reply, ReceiptClaims) {
    let told = behaviour.usage;
    let engine = ScriptedEngine::start(behaviour).await.unwrap();
    let setup = Setup::new().engine(&engine.url(), "DE").limits(|limits| {
        limits.event_bytes_max = 100_000;
        limits.token_timeout = Duration::from_millis(300);
        limits.first_token_timeout = Duration::from_millis(600);
        limits.total_timeout = Duration::from_secs(5);
    });
    let world = setup.start().await;
    let reply = world.chat(body).await;
    // A count that is wrong and contradicts nothing is believed: nobody could tell.
    let mut receipts = match told {
        UsageStory::FinalDiffers => world.receipts().await,
        _ => world.audit(&[&engine]).await,
    };
    assert_eq!(receipts.len(), 1);
    (reply, receipts.remove(0))
}

const TWO_LINES: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
                         data: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"t\"}}]}\n\ndata: [DONE]\n\n";

#[tokio::test]
async fn f01_failures_before_the_first_token_are_typed() {
    let error = |status| Behaviour::before(Before::error(status));
    let cases = [
        (Behaviour::before(Before::Refuse), 503, Code::ReplicaUnavailable),
        (Behaviour::before(Before::Close), 503, Code::ReplicaUnavailable),
        (Behaviour::before(Before::Garbage("SMTP ready\r\n".into())), 503, Code::ReplicaUnavailable),
        // An event over two lines of data is one that nobody here has counted.
        (Behaviour::before(Before::Garbage(TWO_LINES.into())), 502, Code::EngineFailed),
        (error(500), 502, Code::EngineFailed),
        (error(301), 502, Code::EngineFailed),
        (error(401), 502, Code::EngineFailed),
        (error(403), 502, Code::EngineFailed),
        (error(404), 502, Code::EngineFailed),
        (error(400), 400, Code::InvalidRequest),
        (error(413), 413, Code::InvalidRequest),
        (error(415), 415, Code::InvalidRequest),
        (error(422), 422, Code::InvalidRequest),
        (error(405), 400, Code::InvalidRequest),
        (error(501), 400, Code::InvalidRequest),
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
async fn f07_retry_after_is_passed_on() {
    let (reply, _) = one(Behaviour::before(Before::busy("7")), json!({})).await;
    assert_eq!(reply.headers["retry-after"], "7");
    let (reply, _) = one(Behaviour::before(Before::busy("100000")), json!({})).await;
    assert_eq!(reply.headers["retry-after"], "300");
}

#[tokio::test]
async fn f02_broken_answers_that_are_not_streamed_deliver_nothing() {
    for end in [End::DieAfterHead, End::DieInside(0), End::HalfLine(0)] {
        let (reply, receipt) = one(Behaviour { end, ..Behaviour::tokens(5) }, json!({})).await;
        assert_eq!((reply.status, reply.code().as_str()), (502, "engine_failed"), "{end:?}");
        assert_eq!((receipt.outcome, receipt.usage.output), (Outcome::Failed, 0));
    }
}

#[tokio::test]
async fn f02_a_break_inside_a_stream_is_an_error_event_and_never_done() {
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
async fn f01_a_stream_that_dies_before_its_first_token_can_still_be_retried() {
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
async fn f01_never_the_same_replica_twice_and_at_most_three() {
    // A refusal that does not look like a crash: two of those are enough (f08).
    let mut engines = Vec::new();
    let mut setup = Setup::new();
    for _ in 0..5 {
        let engine = ScriptedEngine::start(Behaviour::before(Before::error(503))).await.unwrap();
        setup = setup.engine(&engine.url(), "DE");
        engines.push(engine);
    }
    let world = setup.start().await;
    assert_eq!(world.chat(json!({})).await.status, 502);
    let seen: Vec<usize> = engines.iter().map(|engine| engine.requests().len()).collect();
    assert_eq!((seen.iter().sum::<usize>(), seen.iter().max()), (3, Some(&1)), "{seen:?}");
    assert_eq!(world.audit(&engines.iter().collect::<Vec<_>>()).await.len(), 1);
}

#[tokio::test]
async fn f05_lies_about_usage_are_marked_and_never_overbill() {
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
        // The engine is of a kind that counts as it goes; where it does not the prompt was read all the same.
        assert_eq!(receipt.usage.input > 0, usage != UsageStory::Zero, "{usage:?}");
        assert_eq!((receipt.usage.output, receipt.usage_source), (output, source), "{usage:?}");
        assert_eq!(receipt.outcome, Outcome::Completed);
    }
}

/// A whole answer has one event, so what it holds is estimated by its text: 40 tokens of 229 bytes are 45 at five each.
#[tokio::test]
async fn f05_lies_about_a_whole_answer_bill_its_text() {
    let cases = [
        (UsageStory::Correct, 40, UsageSource::Engine),
        (UsageStory::FinalDiffers, 39, UsageSource::Engine),
        (UsageStory::Absent, 45, UsageSource::Estimated),
        (UsageStory::Zero, 45, UsageSource::Estimated),
        (UsageStory::TooLarge, 45, UsageSource::Estimated),
    ];
    for (usage, output, source) in cases {
        let (_, receipt) = one(Behaviour { usage, ..Behaviour::tokens(40) }, json!({})).await;
        // A count is believed, also of nothing; where there is none the prompt was read all the same.
        assert_eq!(receipt.usage.input > 0, usage != UsageStory::Zero, "{usage:?}");
        assert_eq!((receipt.usage.output, receipt.usage_source), (output, source), "{usage:?}");
        assert_eq!(receipt.outcome, Outcome::Completed);
    }
    // Never beyond what was reserved.
    let behaviour = Behaviour { usage: UsageStory::TooLarge, ignore_max_tokens: true, ..Behaviour::tokens(400) };
    let (_, receipt) = one(behaviour, json!({"max_tokens": 50})).await;
    assert_eq!((receipt.usage.output, receipt.usage_source), (50, UsageSource::Estimated));
    // A prompt that cannot be true says nothing about the answer.
    let behaviour = Behaviour { prompt_tokens: Some(1_000_000), ..Behaviour::tokens(40) };
    for stream in [false, true] {
        let behaviour = Behaviour { tokens_per_event: 8, ..behaviour.clone() };
        let (_, receipt) = one(behaviour, json!({"stream": stream})).await;
        assert_eq!((receipt.usage.output, receipt.usage_source), (40, UsageSource::Estimated), "{stream}");
        assert!(receipt.usage.input < 1_000, "{}", receipt.usage.input);
    }
}

/// A chat engine answers embeddings with 404. Whoever asks for them must not take its replicas from everyone.
#[tokio::test]
async fn f08_what_an_engine_does_not_offer_opens_no_breaker() {
    let cases = [(404, 502, "engine_failed"), (405, 400, "invalid_request"), (501, 400, "invalid_request")];
    for (status, told, code) in cases {
        let script = twin::engine::Script::choose(move |ask| match ask.path {
            "/v1/embeddings" => Behaviour::before(Before::error(status)),
            _ => Behaviour::tokens(2),
        });
        let engine = ScriptedEngine::start(script).await.unwrap();
        let world = Setup::new().engine(&engine.url(), "DE").start().await;
        for _ in 0..20 {
            let body = chat(json!({"input": "a"})).to_string();
            let reply = world.post_with("/v1/embeddings", &[("authorization", &bearer(KEY))], body).await;
            assert_eq!((reply.status, reply.code().as_str()), (told, code), "{status}");
        }
        assert_eq!(world.chat(json!({})).await.status, 200, "{status}");
    }
}

/// What one tenant can provoke takes no replica from the others, and is not sent to a second one.
#[tokio::test]
async fn f08_fifty_poisonous_requests_open_no_breaker() {
    for status in [400, 403, 404, 405, 415, 422, 501] {
        let poisoned = twin::engine::Script::queue(
            (0..50).map(|_| Behaviour::before(Before::error(status))),
            Behaviour::tokens(2),
        );
        let engine = ScriptedEngine::start(poisoned).await.unwrap();
        let world = Setup::new().engine(&engine.url(), "DE").start().await;
        for _ in 0..50 {
            assert_ne!(world.chat(json!({})).await.status, 200);
        }
        assert_eq!(engine.requests().len(), 50, "{status}: a request reached the engine more or less than once");
        assert_eq!(world.chat(json!({})).await.status, 200, "{status} opened the breaker");
        assert_eq!(world.receipts().await.len(), 51);
    }
}

#[tokio::test]
async fn f08_what_the_client_did_wrong_is_not_tried_elsewhere() {
    // A mistake in the request is told in the engine's words; a model that an engine does not have is the operator's.
    for (status, told) in [(400, 400), (413, 413), (415, 415), (422, 422), (404, 502), (501, 400)] {
        let bad = || ScriptedEngine::start(Behaviour::before(Before::error(status)));
        let (one, other) = (bad().await.unwrap(), bad().await.unwrap());
        let world = Setup::new().engine(&one.url(), "DE").engine(&other.url(), "DE").start().await;
        let reply = world.chat(json!({})).await;
        assert_eq!(reply.status, told, "{status}");
        let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert_eq!(message.contains(&format!("the script says {status}")), status == told, "{message}");
        assert_eq!(one.requests().len() + other.requests().len(), 1, "{status}");
        world.stop().await;
    }
}

/// Wrong for every request: others serve, and what is broken is soon left alone and shows in the metrics.
#[tokio::test]
async fn a_replica_with_a_wrong_credential_costs_nobody_an_answer() {
    let bad = ScriptedEngine::start(Behaviour::before(Before::error(401))).await.unwrap();
    let good = ScriptedEngine::start(Behaviour::tokens(2)).await.unwrap();
    let world = Setup::new().engine(&bad.url(), "DE").engine(&good.url(), "DE").start().await;
    for _ in 0..40 {
        assert_eq!(world.chat(json!({})).await.status, 200);
    }
    let turned_away = bad.requests().len();
    assert!((1..=8).contains(&turned_away), "{turned_away}");
    assert_eq!(world.metric("hoheit_engine_misfits_total{status=\"401\"}"), turned_away as u64);
    world.stop().await;
}

#[tokio::test]
async fn codes_that_frameworks_compare_are_passed_on_and_no_others() {
    let check = async |error: serde_json::Value, code: &str| {
        let before = Before::Status {
            status: 400,
            retry_after: None,
            content_type: "application/json".into(),
            body: error.to_string(),
        };
        let (reply, receipt) = one(Behaviour::before(before), json!({})).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code), "{error}");
        assert_eq!(receipt.code, Some(Code::InvalidRequest));
    };
    check(json!({"error": {"message": "m", "code": "context_length_exceeded"}}), "context_length_exceeded").await;
    check(
        json!({"error": {"message": "m", "type": "exceed_context_size_error", "code": 400}}),
        "context_length_exceeded",
    )
    .await;
    check(json!({"error": {"message": "m", "code": "unsupported_parameter"}}), "unsupported_parameter").await;
    check(json!({"error": {"message": "m", "code": "policy_refused"}}), "invalid_request").await;
    check(json!({"error": {"message": "m", "code": 400, "param": 7}}), "invalid_request").await;
    check(json!({"message": "m", "code": 400}), "invalid_request").await;
    check(json!("text"), "invalid_request").await;
}
