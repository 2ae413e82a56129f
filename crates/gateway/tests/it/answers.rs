//! Good answers: what the client sees, what the engine got, what the receipt says.

use crate::world::*;
use serde_json::json;
use twin::engine::{Behaviour, Framing, ScriptedEngine};
use types::{Outcome, UsageSource};

#[tokio::test]
async fn a_whole_answer_is_forwarded_and_receipted() {
    let engine = ScriptedEngine::start(Behaviour { prompt_tokens: Some(9), ..Behaviour::tokens(5) }).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let reply =
        world.chat(json!({"temperature": 0.5, "tools": [{"type": "function", "function": {"name": "f"}}]})).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["usage"]["completion_tokens"], 5);
    let sent = engine.requests()[0].json();
    assert_eq!(sent["tools"][0]["function"]["name"], "f");
    assert_eq!((&sent["temperature"], &sent["max_tokens"]), (&json!(0.5), &json!(64)));
    assert!(engine.requests()[0].headers.get("authorization").is_none(), "the tenant's key went to the engine");
    let id = reply.receipt();
    let shown = world.get(&format!("/v1/receipts/{id}"), KEY).await;
    assert_eq!((shown.status, shown.json()["id"].as_str()), (200, Some(id.as_str())));
    let receipts = world.receipts().await;
    assert_eq!(receipts.len(), 1);
    let receipt = &receipts[0];
    assert_eq!(receipt.jti.to_string(), id);
    assert_eq!((receipt.outcome, receipt.usage_source), (Outcome::Completed, UsageSource::Engine));
    assert_eq!((receipt.usage.input, receipt.usage.output), (9, 5));
    // 9 tokens at 0.50 EUR and 5 at 2 EUR per million are 14.5 micro-euro, rounded up.
    assert_eq!(receipt.cost_micro_eur.0, 15);
    assert_eq!(receipt.served_by.as_ref().unwrap().country.as_str(), "DE");
    assert!(receipt.policy.permit && !receipt.policy.rules.is_empty());
}

/// A handshake for each request, with TLS, would cost more than all the rest.
#[tokio::test]
async fn connections_to_engines_are_used_again_by_whole_answers_and_by_streams() {
    for stream in [false, true] {
        let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
        let world = Setup::new().engine(&engine.url(), "DE").start().await;
        for _ in 0..8 {
            assert_eq!(world.chat(json!({"stream": stream})).await.status, 200);
        }
        // One is enough if each stream's last bytes are here before its receipt is durable; that they are late eight times
        // out of eight is not.
        assert!(engine.connections() < 8, "stream: {stream}, {} connections", engine.connections());
    }
}

#[tokio::test]
async fn usage_is_forced_and_hidden_from_a_client_that_did_not_ask() {
    let engine = ScriptedEngine::start(Behaviour::tokens(4)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let reply = world.chat(json!({"stream": true})).await;
    assert_eq!(reply.headers["content-type"], "text/event-stream; charset=utf-8");
    let events = reply.events();
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    assert!(!events.iter().any(|event| event.contains("usage")), "{events:#?}");
    let sent = engine.requests()[0].json();
    assert_eq!(sent["stream_options"], json!({"include_usage": true, "continuous_usage_stats": true}));

    let asked = world.chat(json!({"stream": true, "stream_options": {"include_usage": true}})).await.events();
    let with_usage: Vec<_> = asked.iter().filter(|event| event.contains("\"usage\":{")).collect();
    assert_eq!(with_usage.len(), 1, "{asked:#?}");
    assert!(with_usage[0].contains("\"completion_tokens\":4"));

    let receipts = world.receipts().await;
    for receipt in &receipts {
        assert_eq!((receipt.outcome, receipt.usage.output), (Outcome::Completed, 4));
        assert_eq!(receipt.usage_source, UsageSource::Engine);
    }
    assert_eq!(receipts.len(), 2);
}

#[tokio::test]
async fn f11_any_framing_of_a_stream_gives_the_same_answer() {
    let framings = [
        Framing::default(),
        Framing { crlf: true, ..Framing::default() },
        Framing { split: Some(1), ..Framing::default() },
        Framing { split: Some(7), crlf: true, comments: true, ..Framing::default() },
        Framing { giant: Some(200_000), ..Framing::default() },
    ];
    for framing in framings {
        let engine = ScriptedEngine::start(Behaviour { framing, ..Behaviour::tokens(6) }).await.unwrap();
        let world = Setup::new().engine(&engine.url(), "DE").start().await;
        let reply = world.chat(json!({"stream": true})).await;
        let text = String::from_utf8(reply.body.to_vec()).unwrap().replace("\r\n", "\n");
        assert!(text.ends_with("data: [DONE]\n\n"), "{framing:?}");
        for token in ["tok0", "tok5"] {
            assert!(text.contains(token), "{framing:?}: {token} is missing");
        }
        let receipts = world.receipts().await;
        assert_eq!((receipts[0].outcome, receipts[0].usage.output), (Outcome::Completed, 6), "{framing:?}");
    }
}

#[tokio::test]
async fn completions_embeddings_and_models() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let auth = bearer(KEY);
    let auth = [("authorization", auth.as_str())];
    let text = world.post_with("/v1/completions", &auth, json!({"model": MODEL, "prompt": "a b"}).to_string()).await;
    assert_eq!((text.status, text.json()["usage"]["completion_tokens"].as_u64()), (200, Some(3)));
    let vectors = world.post_with("/v1/embeddings", &auth, json!({"model": MODEL, "input": "a b"}).to_string()).await;
    assert_eq!(vectors.status, 200);
    assert!(vectors.json()["data"][0]["embedding"].is_array() || vectors.json()["data"][0]["embedding"].is_string());
    let models = world.get("/v1/models", KEY).await.json();
    assert_eq!(models["data"][0]["id"], MODEL);
    assert_eq!(world.get("/v1/models/scripted", KEY).await.json()["id"], MODEL);
    assert_eq!(world.get("/v1/models/unknown", KEY).await.status, 404);
    let receipts = world.receipts().await;
    let operations: Vec<_> = receipts.iter().map(|receipt| &*receipt.operation).collect();
    assert_eq!(operations, ["completions", "embeddings"]);
}

#[tokio::test]
async fn an_idempotent_repeat_is_the_same_request() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let auth = bearer(KEY);
    for stream in [false, true] {
        let name = format!("job-{stream}");
        let headers = [("authorization", auth.as_str()), ("idempotency-key", name.as_str())];
        let body = chat(json!({"stream": stream})).to_string();
        let first = world.post_with("/v1/chat/completions", &headers, body.clone()).await;
        let again = world.post_with("/v1/chat/completions", &headers, body).await;
        assert_eq!((first.status, again.status), (200, 200));
        assert_eq!((first.receipt(), &first.body), (again.receipt(), &again.body));
        assert_eq!(again.headers["idempotent-replayed"], "true");
        let other = chat(json!({"stream": stream, "seed": 1})).to_string();
        let other = world.post_with("/v1/chat/completions", &headers, other).await;
        assert_eq!((other.status, other.code().as_str()), (422, "idempotency_mismatch"));
    }
    assert_eq!(engine.requests().len(), 2);
    let receipts = world.receipts().await;
    let completed = receipts.iter().filter(|receipt| receipt.outcome == Outcome::Completed).count();
    assert_eq!((receipts.len(), completed), (4, 2));
}

#[tokio::test]
async fn what_is_not_ours_goes_to_the_fallback() {
    let world = Setup::new().start().await;
    assert_eq!(world.get("/healthz", KEY).await.body, "fallback");
    assert_eq!(world.get("/v1/nothing", KEY).await.status, 404);
    assert_eq!(world.get("/v1/chat/completions", KEY).await.status, 405);
    assert!(world.receipts().await.is_empty());
}

/// The first endpoint of a model may be one that this key never sees.
#[tokio::test]
async fn a_model_is_described_by_an_endpoint_that_may_serve_the_key() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let setup = Setup::new().engine(&engine.url(), "US").engine(&engine.url(), "DE");
    let world = setup
        .edit(|snapshot| {
            (snapshot.endpoints[0].facts.provider, snapshot.endpoints[0].context_length) = ("abroad".into(), 99);
        })
        .start()
        .await;
    for model in
        [&world.get("/v1/models", KEY).await.json()["data"][0], &world.get("/v1/models/scripted", KEY).await.json()]
    {
        assert_eq!((&model["owned_by"], &model["context_length"]), (&json!("provider"), &json!(8_192)));
    }
    world.stop().await;
}
