//! Invariant 1 and what it stands on: no byte of an answer before its intent is durable, no end of one before its receipt
//! is, and a disk that stands still or is full turns requests away without leaving a gap.
//!
//! The disk is held by the test. That something does not happen is shown by waiting for a moment: on a slow machine such
//! a test passes when it should fail, never the other way round.

use crate::disk::GatedDisk;
use crate::world::*;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use twin::engine::{Before, Behaviour, Pace, ScriptedEngine};
use types::snapshot::Rule;
use types::{Code, Outcome};

/// Long enough for an answer that nothing holds back.
const MOMENT: Duration = Duration::from_millis(200);

fn chat_request(
    world: &World,
    more: serde_json::Value,
    headers: &[(&str, &str)],
) -> http::Request<http_body_util::Full<Bytes>> {
    let auth = bearer(KEY);
    let mut all = vec![("authorization", auth.as_str())];
    all.extend_from_slice(headers);
    world.request(http::Method::POST, "/v1/chat/completions", &all, Bytes::from(chat(more).to_string()))
}

#[tokio::test]
async fn no_byte_of_an_answer_before_its_intent_is_durable() {
    for stream in [false, true] {
        let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
        let disk = GatedDisk::new();
        let world = Setup::new().engine(&engine.url(), "DE").disk(&disk).start().await;
        let closed = disk.close();
        let mut call = tokio::spawn(world.client.request(chat_request(&world, json!({"stream": stream}), &[])));
        engine.until(|requests| requests.first().is_some_and(|it| it.counted.output == 3)).await;
        disk.until_held().await;
        assert!(tokio::time::timeout(MOMENT, &mut call).await.is_err(), "an answer began (stream: {stream})");
        drop(closed);
        let reply = World::read(call.await.unwrap().unwrap()).await;
        assert_eq!(reply.status, 200);
        assert_eq!(world.receipts().await.len(), 1);
    }
}

#[tokio::test]
async fn no_done_before_its_receipt_is_durable() {
    let engine = ScriptedEngine::start(Behaviour { pace: Pace::Step, ..Behaviour::tokens(3) }).await.unwrap();
    let disk = GatedDisk::new();
    let world = Setup::new().engine(&engine.url(), "DE").disk(&disk).start().await;
    let call = tokio::spawn(world.client.request(chat_request(&world, json!({"stream": true}), &[])));
    engine.step(2);
    let mut response = call.await.unwrap().unwrap();
    // The intent is durable: the answer has begun. From here on nothing is.
    let closed = disk.close();
    engine.step(100);
    let mut text = String::new();
    let mut read = async |text: &mut String| {
        let frame = response.body_mut().frame().await?.unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        Some(())
    };
    while !text.contains("\"finish_reason\":\"stop\"") {
        read(&mut text).await.unwrap();
    }
    engine.until_ended(1).await;
    disk.until_held().await;
    assert!(tokio::time::timeout(MOMENT, read(&mut text)).await.is_err(), "the stream went on: {text}");
    assert!(!text.contains("[DONE]"), "{text}");
    drop(closed);
    while read(&mut text).await.is_some() {}
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(world.receipts().await[0].outcome, Outcome::Completed);
}

#[tokio::test]
async fn no_whole_answer_before_its_receipt_is_durable() {
    let engine = ScriptedEngine::start(Behaviour::before(Before::Hang)).await.unwrap();
    let disk = GatedDisk::new();
    let world = Setup::new().engine(&engine.url(), "DE").disk(&disk).start().await;
    let mut call = tokio::spawn(world.client.request(chat_request(&world, json!({}), &[])));
    engine.until(|requests| requests.len() == 1).await;
    disk.until_passed(1).await;
    let closed = disk.close();
    engine.release();
    engine.until_ended(1).await;
    disk.until_held().await;
    assert!(tokio::time::timeout(MOMENT, &mut call).await.is_err(), "an answer left before its receipt was durable");
    drop(closed);
    assert_eq!(World::read(call.await.unwrap().unwrap()).await.status, 200);
    assert_eq!(world.receipts().await[0].outcome, Outcome::Completed);
}

/// The same for a refusal, whose receipt is all that it has.
#[tokio::test]
async fn no_refusal_before_its_receipt_is_durable() {
    let disk = GatedDisk::new();
    let world = Setup::new().disk(&disk).start().await;
    let closed = disk.close();
    let mut call = tokio::spawn(world.client.request(chat_request(&world, json!({"model": "nobody"}), &[])));
    disk.until_held().await;
    assert!(tokio::time::timeout(MOMENT, &mut call).await.is_err());
    drop(closed);
    assert_eq!(World::read(call.await.unwrap().unwrap()).await.status, 404);
    let receipts = world.receipts().await;
    // What a caller writes into the model's place does not stand in a receipt for ever.
    assert_eq!((&*receipts[0].model, receipts[0].code), ("(unknown)", Some(Code::ModelNotFound)));
}

#[tokio::test]
async fn a_flood_while_the_disk_stands_still_leaves_no_gap() {
    // Room for 16 promises of 4 KiB each.
    flood(Setup::new(), 68 << 10, json!({"max_tokens": "x"}), 400).await;
}

/// Receipts that name many rules take more than the room that was promised to them, and are written all the same.
#[tokio::test]
async fn a_flood_of_large_receipts_leaves_no_gap() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let rules: Vec<Rule> = (0..90)
        .map(|place| Rule {
            id: types::RuleId(100 + place),
            tenant: Some(TENANT),
            name: format!("{place:02}-{}", "x".repeat(60)),
            text: "forbid (principal, action, resource);".to_owned(),
        })
        .collect();
    // A receipt is some 11 KB. Of two queues that differ by 5 at least one has room for a promise and not for the receipt.
    for queue_bytes_max in [68 << 10, 73 << 10] {
        let rules = rules.clone();
        let setup = Setup::new().engine(&engine.url(), "DE").edit(|snapshot| snapshot.rules.extend(rules));
        flood(setup, queue_bytes_max, json!({}), 403).await;
    }
}

/// Two hundred requests that are refused with this status, on a disk that stands still.
async fn flood(setup: Setup, queue_bytes_max: usize, more: serde_json::Value, status: u16) {
    let disk = GatedDisk::new();
    let world = setup.disk(&disk).journal(|journal| journal.queue_bytes_max = queue_bytes_max).start().await;
    let world = Arc::new(world);
    let closed = disk.close();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (world, more) = (world.clone(), more.clone());
        calls.spawn(async move { world.chat(more).await });
    }
    // Whoever found no room is told so at once; the others wait for the disk.
    let mut turned_away = 0;
    // On a busy machine the first may take its time; when all is silent for a second after it, nobody else is told.
    let mut patience = Duration::from_secs(60);
    while let Ok(Some(reply)) = tokio::time::timeout(patience, calls.join_next()).await {
        patience = 5 * MOMENT;
        let reply = reply.unwrap();
        assert_eq!((reply.status, reply.code().as_str()), (503, "not_ready"));
        assert_eq!(reply.headers["retry-after"], "1");
        assert!(reply.headers.get("hoheit-receipt").is_none(), "a receipt was promised");
        turned_away += 1;
    }
    let owed = 200 - turned_away;
    assert!((1..=60).contains(&owed), "{owed} were let in");
    drop(closed);
    let mut refused = Vec::new();
    while let Some(reply) = calls.join_next().await {
        let reply = reply.unwrap();
        assert_eq!(reply.status, status);
        refused.push(reply.receipt());
    }
    refused.sort_unstable();
    let receipts = world.settle().await;
    let mut found: Vec<_> = receipts.iter().map(|receipt| receipt.jti.to_string()).collect();
    found.sort_unstable();
    assert_eq!(found, refused);
    // And it is over.
    assert_eq!(world.chat(more).await.status, status);
    Arc::into_inner(world).unwrap().stop().await;
}

/// Sends the head of a request whose body never comes, and reads the answer.
async fn without_a_body(world: &World, bytes: usize) -> String {
    let mut socket = tokio::net::TcpStream::connect(world.url.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: {}\r\ncontent-length: {bytes}\r\n\r\n",
        bearer(KEY)
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let length = tokio::time::timeout(Duration::from_secs(5), socket.read(&mut answer)).await;
    let length = length.expect("an answer before the body").unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn f13_a_disk_that_is_nearly_full_is_not_filled_with_refusals() {
    let disk = GatedDisk::new();
    disk.set_free(0);
    let world = Setup::new().disk(&disk).journal(|journal| journal.low_water_bytes = 1).start().await;
    assert_eq!(world.gateway.readiness(), gateway::Readiness::LowSpace);
    let written = disk.passed();
    for _ in 0..3 {
        let reply = world.chat(json!({})).await;
        assert_eq!((reply.status, reply.code().as_str()), (503, "not_ready"));
        assert!(reply.headers.get("hoheit-receipt").is_none());
    }
    // Said before the body is read.
    assert!(without_a_body(&world, 1_000).await.starts_with("HTTP/1.1 503 "));
    // Who reads is still answered.
    assert_eq!(world.get("/v1/receipts", KEY).await.status, 200);
    assert_eq!(disk.passed(), written, "something was written");
    assert!(world.receipts().await.is_empty());
}

#[tokio::test]
async fn requests_per_minute_are_counted_before_the_body_is_read() {
    let world = Setup::new().edit(|snapshot| snapshot.keys[0].limits.requests_per_minute = Some(1)).start().await;
    assert_eq!(world.chat(json!({})).await.status, 404);
    let answer = without_a_body(&world, 30 << 20).await;
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("x-ratelimit-remaining-requests: 0"), "{answer}");
    let receipts = world.receipts().await;
    let codes: Vec<_> = receipts.iter().map(|receipt| receipt.code).collect();
    assert_eq!(codes, [Some(Code::ModelNotFound), Some(Code::RateLimited)]);
}

#[tokio::test]
async fn bodies_together_are_bounded() {
    let engine = ScriptedEngine::start(Behaviour::before(Before::Hang)).await.unwrap();
    let setup = Setup::new().engine(&engine.url(), "DE").limits(|limits| limits.bodies_bytes_max = 10_000);
    let world = setup.start().await;
    let large = || json!({"user": "x".repeat(6_000)});
    // The first is held while its engine works.
    let first = tokio::spawn(world.client.request(chat_request(&world, large(), &[])));
    engine.until(|requests| requests.len() == 1).await;
    let reply = world.chat(large()).await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "not_ready"));
    assert_eq!(reply.headers["retry-after"], "1");
    engine.release();
    assert_eq!(World::read(first.await.unwrap().unwrap()).await.status, 200);
    // A small one was never in the way, and the room is free again.
    assert_eq!(world.chat(large()).await.status, 200);
    let receipts = world.receipts().await;
    let outcomes: Vec<_> = receipts.iter().map(|receipt| receipt.outcome).collect();
    assert_eq!(outcomes, [Outcome::Refused, Outcome::Completed, Outcome::Completed]);
}

/// A client that leaves while its receipt is on its way to the disk has been billed: its repeat gets the answer.
#[tokio::test]
async fn an_answer_that_was_billed_is_there_for_the_repeat() {
    for stream in [false, true] {
        let behaviour = Behaviour { before: Before::Hang, ..Behaviour::tokens(3) };
        let engine = ScriptedEngine::start(behaviour).await.unwrap();
        let disk = GatedDisk::new();
        let world = Setup::new().engine(&engine.url(), "DE").disk(&disk).start().await;
        let repeatable = [("idempotency-key", "job")];
        let request = chat_request(&world, json!({"stream": stream}), &repeatable);
        // A client of its own: dropping it closes its connection.
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .build_http::<http_body_util::Full<Bytes>>();
        let call = tokio::spawn(async move { client.request(request).await.unwrap().into_body().collect().await });
        engine.until(|requests| requests.len() == 1).await;
        // Before the key was claimed, and with the engine's name.
        disk.until_passed(2).await;
        let closed = disk.close();
        engine.release();
        engine.until_ended(1).await;
        disk.until_held().await;
        call.abort();
        tokio::time::sleep(MOMENT).await;
        let repeat = tokio::spawn(world.client.request(chat_request(&world, json!({"stream": stream}), &repeatable)));
        tokio::time::sleep(MOMENT).await;
        assert_eq!(engine.requests().len(), 1, "the repeat ran (stream: {stream})");
        drop(closed);
        let running = World::read(repeat.await.unwrap().unwrap()).await;
        assert_eq!((running.status, running.code().as_str()), (409, "idempotency_running"));
        let repeat = chat_request(&world, json!({"stream": stream}), &repeatable);
        let reply = World::read(world.send(repeat).await).await;
        assert_eq!((reply.status, reply.headers["idempotent-replayed"].as_bytes()), (200, &b"true"[..]));
        let receipts = world.receipts().await;
        let billed: Vec<_> = receipts.iter().filter(|receipt| receipt.cost_micro_eur.0 > 0).collect();
        assert_eq!(billed.len(), 1, "stream: {stream}");
        assert_eq!((billed[0].jti.to_string(), billed[0].outcome), (reply.receipt(), Outcome::Completed));
    }
}

/// A site that admits nothing has no next batch to wait for: what the sealer covers later goes all the same.
#[tokio::test]
async fn what_is_sealed_leaves_the_disk_without_another_request() {
    let engine = ScriptedEngine::start(Behaviour::tokens(2)).await.unwrap();
    let world =
        Setup::new().engine(&engine.url(), "DE").journal(|journal| journal.segment_bytes = 16 << 10).start().await;
    for _ in 0..20 {
        assert_eq!(world.chat(json!({})).await.status, 200);
    }
    assert_eq!(world.settle().await.len(), 20);
    let folder = world.folder.path().join("journal");
    let oldest = || {
        let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|it| it == "segment")).min().unwrap()
    };
    let first = oldest();
    world.store.seal(0, &(0..20).collect::<Vec<_>>(), 20, "checkpoint").await.unwrap();
    let gone = async {
        while first.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("sealed segments are released");
    world.stop().await;
}
