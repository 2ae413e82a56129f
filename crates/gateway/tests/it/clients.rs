//! Clients that leave, at every point where they can.

use crate::disk::GatedDisk;
use crate::world::*;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::json;
use twin::engine::{Before, Behaviour, End, Pace, ScriptedEngine, State};
use types::{Outcome, UsageSource};

/// Leaves after `events` tokens of the answer.
async fn leave_after(events: usize) {
    // Behind its last token it waits with the finish reason.
    let behaviour = Behaviour { pace: Pace::Step, end: End::StallAfter(8), ..Behaviour::tokens(8) };
    let engine = ScriptedEngine::start(behaviour).await.unwrap();
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
    let receipts = world.audit(&[&engine]).await;
    assert_eq!(receipts.len(), 1, "left after {events}");
    assert_eq!(receipts[0].outcome, Outcome::Aborted, "left after {events}");
    assert_eq!(receipts[0].usage.output, seen[0].counted.output, "left after {events}");
    if events > 0 {
        assert_eq!(receipts[0].usage_source, UsageSource::EngineRunning);
    }
}

#[tokio::test]
async fn f03_leaving_at_each_event_cancels_the_engine_and_bills_what_it_counted() {
    for events in 0..=8 {
        leave_after(events).await;
    }
}

/// All is there but `[DONE]`.
#[tokio::test]
async fn f03_leaving_after_the_finish_reason_or_the_usage_bills_the_whole_answer() {
    // The role, eight tokens, the finish reason, the usage.
    for (events, mark) in [(10, "\"finish_reason\":\"stop\""), (11, "\"choices\":[]")] {
        let behaviour = Behaviour { end: End::StallBehind(events), ..Behaviour::tokens(8) };
        let engine = ScriptedEngine::start(behaviour).await.unwrap();
        let world = Setup::new().engine(&engine.url(), "DE").start().await;
        let mut client = Client::ask(&world, json!({"stream": true, "stream_options": {"include_usage": true}}), &[]);
        client.read_until(mark).await;
        drop(client);
        let seen = engine.until_ended(1).await;
        assert_eq!((seen[0].state, seen[0].counted.output), (State::Cancelled, 8));
        let receipts = world.receipts().await;
        assert_eq!((receipts.len(), receipts[0].outcome, receipts[0].usage.output), (1, Outcome::Aborted, 8), "{mark}");
        assert_eq!(receipts[0].usage_source, UsageSource::EngineRunning, "{mark}");
    }
}

/// The whole answer is there and its receipt on its way to the disk: the receipt is written as it was closed.
#[tokio::test]
async fn f03_leaving_while_the_receipt_is_sealed() {
    let engine = ScriptedEngine::start(Behaviour { pace: Pace::Step, ..Behaviour::tokens(8) }).await.unwrap();
    let disk = GatedDisk::new();
    let world = Setup::new().engine(&engine.url(), "DE").disk(&disk).start().await;
    let mut client = Client::ask(&world, json!({"stream": true}), &[]);
    engine.step(2);
    client.read_until("tok0").await;
    let closed = disk.close();
    engine.step(100);
    client.read_until("\"finish_reason\":\"stop\"").await;
    engine.until_ended(1).await;
    disk.until_held().await;
    drop(client);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    drop(closed);
    let receipts = world.receipts().await;
    assert_eq!((receipts.len(), receipts[0].outcome, receipts[0].usage.output), (1, Outcome::Completed, 8));
    assert_eq!(receipts[0].usage_source, UsageSource::Engine);
}

/// A client of its own: dropping it closes its connection.
struct Client {
    call: Option<tokio::task::JoinHandle<http::Response<hyper::body::Incoming>>>,
    response: Option<http::Response<hyper::body::Incoming>>,
    text: String,
}

impl Client {
    fn ask(world: &World, more: serde_json::Value, headers: &[(&str, &str)]) -> Client {
        let auth = bearer(KEY);
        let mut all = vec![("authorization", auth.as_str())];
        all.extend_from_slice(headers);
        let body = Bytes::from(chat(more).to_string());
        let request = world.request(http::Method::POST, "/v1/chat/completions", &all, body);
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .build_http::<http_body_util::Full<Bytes>>();
        let call = tokio::spawn(async move { client.request(request).await.unwrap() });
        Client { call: Some(call), response: None, text: String::new() }
    }

    async fn read_until(&mut self, mark: &str) {
        if let Some(call) = self.call.take() {
            self.response = Some(call.await.unwrap());
        }
        while !self.text.contains(mark) {
            let frame = self.response.as_mut().unwrap().body_mut().frame().await.expect("the answer goes on").unwrap();
            self.text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }
}

#[tokio::test]
async fn f03_leaving_while_the_engine_works_on_a_whole_answer() {
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

/// After SIGTERM an answer has its time to end; then it is cut, and its receipt says so before the process is gone.
#[tokio::test]
async fn f21_an_answer_that_does_not_end_in_time_is_cut_and_has_its_receipt() {
    let engine = ScriptedEngine::start(Behaviour { pace: Pace::Step, ..Behaviour::tokens(3) }).await.unwrap();
    let setup = || Setup::new().engine(&engine.url(), "DE");
    let world = setup().limits(|limits| limits.drain_timeout = std::time::Duration::from_millis(20)).start().await;
    let folder = world.folder.clone();
    let body = Bytes::from(chat(json!({"stream": true})).to_string());
    let request = world.request(http::Method::POST, "/v1/chat/completions", &[("authorization", &bearer(KEY))], body);
    let client = world.client.clone();
    let call = tokio::spawn(async move { client.request(request).await.unwrap().into_body().collect().await });
    engine.until(|requests| requests.len() == 1).await;
    engine.step(1);
    world.stop().await;
    assert!(call.await.unwrap().is_err(), "half an answer does not look whole");
    assert_eq!(engine.until_ended(1).await[0].state, State::Cancelled);
    // One that was still open would be `unresolved` now.
    let receipts = setup().start_in(folder).await.receipts().await;
    assert_eq!(receipts.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::Aborted]);
}
