//! Engines that refuse, die and waste: where a request goes next, and who pays.

use crate::world::*;
use serde_json::{Value, json};
use twin::engine::{Before, Behaviour, End, ScriptedEngine};
use types::{Code, Outcome, UsageSource};

/// A refused connection and a reset one: another replica answers, and the request has one receipt.
#[tokio::test]
async fn f01_refused_or_reset_before_the_first_byte_another_replica_answers() {
    let reset = ScriptedEngine::start(Behaviour::before(Before::Refuse)).await.unwrap();
    let good = ScriptedEngine::start(Behaviour::tokens(4)).await.unwrap();
    let closed = twin::engine::closed_url().unwrap();
    let setup = Setup::new().engine(&closed, "DE").engine(&reset.url(), "DE").engine(&good.url(), "DE");
    let world = setup.start().await;
    let mut asked = 0;
    while reset.requests().is_empty() || asked < 10 {
        asked += 1;
        assert_eq!(world.chat(json!({"stream": asked % 2 == 0, "seed": asked})).await.status, 200);
    }
    let receipts = world.audit(&[&reset, &good]).await;
    assert_eq!(receipts.len(), asked);
    for receipt in receipts {
        assert_eq!((receipt.outcome, receipt.usage.output), (Outcome::Completed, 4));
    }
}

/// 40 requests bring a credit of 8 retries to the 10 of a quiet second: when everything fails, no more than that is added.
#[tokio::test]
async fn f01_retries_have_a_budget() {
    let mut engines = Vec::new();
    let mut setup = Setup::new().stop_the_clock();
    for _ in 0..20 {
        let engine = ScriptedEngine::start(Behaviour::before(Before::error(503))).await.unwrap();
        setup = setup.engine(&engine.url(), "DE");
        engines.push(engine);
    }
    let world = setup.start().await;
    for _ in 0..40 {
        assert_eq!(world.chat(json!({})).await.status, 502);
    }
    let sent: usize = engines.iter().map(|engine| engine.requests().len()).sum();
    assert_eq!(sent, 40 + 10 + 8);
    assert_eq!(world.metric("hoheit_engine_attempts_total"), 58);
    assert_eq!(world.audit(&engines.iter().collect::<Vec<_>>()).await.len(), 40);
}

/// The events of a stream by the standard's own rules, line by line: what an SDK sees. An event that is cut is none.
fn events_of(bytes: &[u8]) -> Vec<String> {
    let (mut events, mut data) = (Vec::new(), None::<String>);
    for line in String::from_utf8_lossy(bytes).lines() {
        match line.strip_prefix("data:") {
            _ if line.is_empty() => events.extend(data.take()),
            Some(value) => {
                let value = value.strip_prefix(' ').unwrap_or(value);
                data = Some(data.map_or(value.to_owned(), |data| format!("{data}\n{value}")));
            }
            None => {}
        }
    }
    events
}

/// Killed anywhere: the error is an event of its own, nothing is replayed elsewhere, and nobody hears `[DONE]`.
#[tokio::test]
async fn f02_an_engine_that_dies_after_its_first_token_is_not_replayed() {
    for end in [End::DieInside(1), End::DieInside(3), End::DieAfter(2), End::HalfLine(2), End::NoDone] {
        let dying = ScriptedEngine::start(Behaviour { end, ..Behaviour::tokens(5) }).await.unwrap();
        let other = ScriptedEngine::start(Behaviour { end, ..Behaviour::tokens(5) }).await.unwrap();
        let world = Setup::new().engine(&dying.url(), "DE").engine(&other.url(), "DE").start().await;
        let reply = world.chat(json!({"stream": true})).await;
        // Whatever a proxy on the way has cut: the error begins behind a blank line of its own.
        assert!(String::from_utf8_lossy(&reply.body).contains("\n\n\n\ndata: {\"error\""), "{end:?}");
        let events = events_of(&reply.body);
        let error: Value = serde_json::from_str(events.last().unwrap()).unwrap();
        assert_eq!((reply.status, error["error"]["code"].as_str()), (200, Some("stream_broken")), "{end:?}");
        for event in &events[..events.len() - 1] {
            let chunk: Value = serde_json::from_str(event).unwrap_or_else(|_| panic!("{end:?}: {event}"));
            assert!(chunk["error"].is_null() && chunk["choices"].is_array(), "{end:?}: {event}");
        }
        assert!(!events.iter().any(|event| event == "[DONE]"), "{end:?}");
        assert_eq!(dying.requests().len() + other.requests().len(), 1, "{end:?}: replayed");
        let receipts = world.audit(&[&dying, &other]).await;
        assert_eq!((receipts.len(), receipts[0].outcome), (1, Outcome::Partial));
        assert_eq!(receipts[0].code, Some(Code::StreamBroken));
    }
}

/// The engine that dies has read the prompt and says so; the tenant pays for the answer that came, the operator sees what
/// was for nothing.
#[tokio::test]
async fn f20_an_attempt_for_nothing_is_the_operators_cost() {
    let dying = Behaviour { end: End::DieAfter(0), prompt_tokens: Some(77), ..Behaviour::tokens(4) };
    let dying = ScriptedEngine::start(dying).await.unwrap();
    let good = Behaviour { prompt_tokens: Some(78), ..Behaviour::tokens(4) };
    let good = ScriptedEngine::start(good).await.unwrap();
    let world = Setup::new().engine(&dying.url(), "DE").engine(&good.url(), "DE").start().await;
    let mut asked = 0;
    while dying.requests().is_empty() {
        asked += 1;
        assert_eq!(world.chat(json!({"stream": true})).await.status, 200);
    }
    assert_eq!(world.metric("hoheit_attempts_wasted_total"), 1);
    assert_eq!(world.metric("hoheit_tokens_wasted_total{kind=\"input\"}"), 77);
    assert_eq!(world.metric("hoheit_tokens_wasted_total{kind=\"output\"}"), 0);
    assert_eq!(world.metric("hoheit_engine_attempts_total"), asked + 1);
    let receipts = world.audit(&[&dying, &good]).await;
    assert_eq!(receipts.len() as u64, asked);
    for receipt in receipts {
        assert_eq!((receipt.usage.input, receipt.usage.output), (78, 4));
        assert_eq!((receipt.usage_source, receipt.outcome), (UsageSource::Engine, Outcome::Completed));
        // 78 at 0.50 EUR and 4 at 2 EUR per million, once.
        assert_eq!(receipt.cost_micro_eur.0, 47);
    }
}
