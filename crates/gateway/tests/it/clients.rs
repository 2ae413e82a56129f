//! Clients that leave, at every point where they can.

use crate::world::*;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::json;
use twin::engine::{Before, Behaviour, Pace, ScriptedEngine, State};
use types::{Outcome, UsageSource};

/// Leaves after `events` events of the answer.
async fn leave_after(events: usize) {
    let engine = ScriptedEngine::start(Behaviour { pace: Pace::Step, ..Behaviour::tokens(8) }).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let body = Bytes::from(chat(json!({"stream": true})).to_string());
    let request = world.request(http::Method::POST, "/v1/chat/completions", &[("authorization", &bearer(KEY))], body);
    // A client of its own: dropping it closes its connection.
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<http_body_util::Full<Bytes>>();
    let call = tokio::spawn(async move { client.request(request).await });
    if events == 0 {
        engine.until(|requests| requests.len() == 1).await;
        call.abort();
    } else {
        engine.step(1);
        let mut response = call.await.unwrap().unwrap();
        let mut text = String::new();
        for seen in 1..=events {
            while text.matches("tok").count() < seen {
                let frame = response.body_mut().frame().await.unwrap().unwrap();
                text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
            }
            if seen < events {
                engine.step(1);
            }
        }
        drop(response);
    }
    let seen = engine.until_ended(1).await;
    assert_eq!(seen[0].state, State::Cancelled, "left after {events}");
    let receipts = world.receipts().await;
    assert_eq!(receipts.len(), 1, "left after {events}");
    assert_eq!(receipts[0].outcome, Outcome::Aborted, "left after {events}");
    assert_eq!(receipts[0].usage.output, seen[0].counted.output, "left after {events}");
    if events > 0 {
        assert_eq!(receipts[0].usage_source, UsageSource::EngineRunning);
    }
}

#[tokio::test]
async fn leaving_at_each_event_cancels_the_engine_and_bills_what_it_counted() {
    for events in 0..8 {
        leave_after(events).await;
    }
}

#[tokio::test]
async fn leaving_while_the_engine_works_on_a_whole_answer() {
    let engine = ScriptedEngine::start(Behaviour::before(Before::Hang)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let body = Bytes::from(chat(json!({})).to_string());
    let request = world.request(http::Method::POST, "/v1/chat/completions", &[("authorization", &bearer(KEY))], body);
    let client = world.client.clone();
    let call = tokio::spawn(async move { client.request(request).await });
    engine.until(|requests| requests.len() == 1).await;
    call.abort();
    assert_eq!(engine.until_ended(1).await[0].state, State::Cancelled);
    let receipts = world.receipts().await;
    assert_eq!((receipts.len(), receipts[0].outcome), (1, Outcome::Aborted));
}
