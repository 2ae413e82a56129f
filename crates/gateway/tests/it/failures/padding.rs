//! Streams whose frames tell nothing of what is in them.

use crate::world::*;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::json;
use std::collections::BTreeSet;
use twin::engine::{Behaviour, Pace, ScriptedEngine};
use types::{DataClass, Outcome};

/// The sizes of the frames of a stream, an event each, as far as `[DONE]`, and its bytes.
async fn frames(world: &World, engine: &ScriptedEngine, class: &str) -> (Vec<usize>, Vec<u8>, http::HeaderMap) {
    let auth = bearer(KEY);
    let headers = [("authorization", auth.as_str()), ("hoheit-data-class", class)];
    let body = Bytes::from(chat(json!({"stream": true})).to_string());
    let asked = world.send(world.request(http::Method::POST, "/v1/chat/completions", &headers, body));
    engine.step(1);
    let response = asked.await;
    let (head, mut body) = response.into_parts();
    let (mut sizes, mut bytes) = (Vec::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        if data.as_ref() != b"data: [DONE]\n\n" {
            sizes.push(data.len());
        }
        bytes.extend_from_slice(&data);
        engine.step(1);
    }
    (sizes, bytes, head.headers)
}

#[tokio::test]
async fn streams_of_confidential_data_are_padded_and_others_are_as_they_were() {
    let text = "a word of some length".to_owned();
    let behaviour = Behaviour { pace: Pace::Step, text: Some(text), ..Behaviour::tokens(40) };
    let engine = ScriptedEngine::start(behaviour).await.unwrap();
    let world = |from| Setup::new().engine(&engine.url(), "DE").limits(move |limits| limits.pad_from = from).start();
    let default = world(gateway::Limits::default().pad_from).await;
    let (padded, bytes, headers) = frames(&default, &engine, "confidential").await;
    let (plain, as_before, plain_headers) = frames(&default, &engine, "internal").await;
    assert_eq!(
        (&headers["cache-control"], &plain_headers["cache-control"]),
        (&"no-store, no-transform".parse().unwrap(), &"no-store".parse::<http::HeaderValue>().unwrap())
    );
    assert!(padded.iter().all(|size| size % 256 == 0), "{padded:?}");
    assert!(plain.iter().any(|size| size % 256 != 0), "{plain:?}");
    // What is left without the comments is the stream as it would have been.
    let text = String::from_utf8(bytes).unwrap();
    let (comments, events): (Vec<&str>, Vec<&str>) =
        text.split_inclusive("\n\n").partition(|event| event.starts_with(':'));
    assert_eq!(events.concat().into_bytes(), as_before);
    assert!(comments.len() >= 40 && comments.iter().all(|it| it[1..].trim_end().bytes().all(|byte| byte == b'.')));
    let sizes: BTreeSet<usize> = padded.into_iter().collect();
    assert!(sizes.len() <= 4, "{sizes:?}");
    for receipt in default.audit(&[&engine]).await {
        assert_eq!((receipt.outcome, receipt.usage.output), (Outcome::Completed, 40));
    }
    // Switched off, or on for all.
    for (from, class, pads) in [(None, "secret", false), (Some(DataClass::Public), "internal", true)] {
        let world = world(from).await;
        let (_, bytes, _) = frames(&world, &engine, class).await;
        assert_eq!(bytes.windows(3).any(|it| it == b"\n:."), pads, "{class}");
        world.stop().await;
    }
}

/// A repeat under an idempotency key is the same bytes, and its way is told the same.
#[tokio::test]
async fn a_padded_stream_that_is_replayed_may_not_be_compressed_either() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let auth = bearer(KEY);
    for (class, stream, caching) in [
        ("confidential", true, Some("no-store, no-transform")),
        ("internal", true, Some("no-store")),
        ("confidential", false, None),
    ] {
        let key = format!("{class} {stream}");
        let headers = [("authorization", auth.as_str()), ("hoheit-data-class", class), ("idempotency-key", &key)];
        let body = chat(json!({"stream": stream})).to_string();
        let first = world.post_with("/v1/chat/completions", &headers, body.clone()).await;
        let again = world.post_with("/v1/chat/completions", &headers, body).await;
        assert!(again.headers.contains_key("idempotent-replayed") && again.body == first.body);
        for reply in [first, again] {
            let told = reply.headers.get("cache-control").map(|value| value.to_str().unwrap());
            assert_eq!(told, caching, "{key}");
        }
    }
    assert_eq!(engine.requests().len(), 3);
    world.receipts().await;
}
