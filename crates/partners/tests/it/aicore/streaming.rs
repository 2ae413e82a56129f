//! `/v2/completion` as a stream.

use super::client::{Client, completion};
use super::orchestration::fallback;
use super::world::*;
use serde_json::{Value, json};
use twin::engine::{Before, Behaviour, End};
use types::Outcome;

fn streamed(mut body: Value, options: Value) -> Value {
    body["config"]["stream"] = json!({"enabled": true});
    body["config"]["stream"].as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn event_by_event() {
    let world = World::start(vec![model("nano", Behaviour::tokens(3))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let reply = client.complete(&streamed(completion("nano", "Hi {{?x}}", json!({"x": "y"})), json!({}))).await;
    assert_eq!(reply.status, 200);
    insta::assert_snapshot!("stream", reply.exchange);
    assert_eq!(reply.text(), "tok0 tok1 tok2");
    let reasons: Vec<Value> =
        reply.chunks()[1..].iter().map(|event| event["final_result"]["choices"][0]["finish_reason"].clone()).collect();
    assert_eq!(reasons.last().unwrap(), "stop");
    assert!(reasons[..reasons.len() - 1].iter().all(|reason| reason == ""), "{reasons:?}");
    let receipts = world.receipts().await;
    assert_eq!((receipts[0].outcome, receipts[0].usage.output), (Outcome::Completed, 3));
}

#[tokio::test]
async fn chunks_and_delimiters() {
    let world =
        World::start(vec![model("nano", Behaviour { text: Some("ab. cd".into()), tokens: 5, ..Behaviour::default() })])
            .await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let body = streamed(completion("nano", "Hi", json!({})), json!({"chunk_size": 10, "delimiters": ["."]}));
    let reply = client.complete(&body).await;
    insta::assert_snapshot!("stream_chunks", reply.exchange);
    let chunks = reply.chunks();
    for event in &chunks[1..chunks.len() - 1] {
        let content = event["final_result"]["choices"][0]["delta"]["content"].as_str().unwrap();
        assert!(content.ends_with('.') && content.chars().count() >= 10, "{content:?}");
    }
    assert_eq!(reply.text(), "ab. cd ab. cd ab. cd ab. cd ab. cd");
}

#[tokio::test]
async fn pseudonyms_in_a_stream() {
    let engine = Behaviour { text: Some("an MASKED_EMAIL_1,".into()), tokens: 4, ..Behaviour::default() };
    let world = World::start(vec![model("nano", engine)]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let mut body = streamed(completion("nano", "{{?to}}", json!({"to": "erika@example.de"})), json!({"chunk_size": 5}));
    body["config"]["modules"]["masking"] = json!({"providers": [{"type": "sap_data_privacy_integration",
        "method": "pseudonymization", "entities": [{"type": "profile-email"}]}]});
    let reply = client.complete(&body).await;
    insta::assert_snapshot!("stream_pseudonyms", reply.exchange);
    let one = "an erika@example.de,";
    assert_eq!(reply.text(), [one; 4].join(" "));
}

#[tokio::test]
async fn a_stream_that_breaks_ends_in_an_error_and_no_done() {
    let world = World::start(vec![model("nano", Behaviour { end: End::DieAfter(2), ..Behaviour::tokens(5) })]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let reply = client.complete(&streamed(completion("nano", "Hi", json!({})), json!({}))).await;
    insta::assert_snapshot!("stream_broken", reply.exchange);
    let last: Value = serde_json::from_str(reply.events().last().unwrap()).unwrap();
    assert_eq!((&last["error"]["code"], &last["error"]["location"]), (&json!(502), &json!("LLM Module")));
    assert!(!reply.body.contains("[DONE]"));
    assert_eq!(world.receipts().await[0].outcome, Outcome::Partial);
}

#[tokio::test]
async fn in_a_stream_only_a_model_that_there_is_not_goes_on() {
    let broken = Behaviour::before(Before::error(500));
    let world = World::start(vec![model("nano", Behaviour::tokens(1)), model("broken", broken)]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let reply = client.complete(&streamed(fallback(&["gone", "nano"]), json!({}))).await;
    assert_eq!(reply.status, 200);
    insta::assert_snapshot!("stream_fallback", reply.exchange);
    assert_eq!(reply.chunks()[0]["intermediate_failures"][0]["code"], 400);
    let reply = client.complete(&streamed(fallback(&["broken", "nano"]), json!({}))).await;
    assert!(reply.status >= 500, "{}", reply.body);
    assert!(reply.json()["error"].is_object());
}
