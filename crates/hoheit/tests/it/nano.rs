//! The embedded engine behind the gateway: a model as small as its context, on a port that every user of the machine
//! can reach.

use crate::client::Client;
use crate::site::{Site, text};
use http::Method;
use serde_json::{Value, json};

fn chat(words: usize, more: Value) -> String {
    let mut body = json!({"model": "nano", "messages": [{"role": "user", "content": "Stadt ".repeat(words)}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

#[tokio::test]
async fn a_prompt_that_fits_is_answered_whoever_names_the_length() {
    let site = Site::start(&[]);
    let key = format!("Bearer {}", site.customer("muster").key);
    let client = Client::new();
    let ask = async |body: String| {
        client.try_send(Method::POST, &site.chat_url(), &[("authorization", &key)], &body).await.unwrap()
    };
    // The cap of an answer is half the context: this prompt is longer than the other half.
    let reply = ask(chat(110, json!({}))).await;
    assert_eq!(reply.status, 200, "{}", reply.json());
    let usage = &reply.json()["usage"];
    assert!(usage["prompt_tokens"].as_u64().unwrap() > 256, "{usage}");
    assert!(usage["total_tokens"].as_u64().unwrap() <= 512, "{usage}");
    // A number that the client named is not changed behind its back.
    let reply = ask(chat(110, json!({"max_tokens": 256}))).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "context_length_exceeded"));
    let reply = ask(chat(2_000, json!({}))).await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "context_length_exceeded"));
}

#[tokio::test]
async fn the_engines_port_answers_only_to_the_gateway() {
    let site = Site::start(&[]);
    let engines = site.cli(&["engine", "list"]);
    let engine = &engines["data"][0];
    assert_eq!((engine["kind"].as_str(), engine["credential"].as_bool()), (Some("embedded"), Some(true)), "{engines}");
    let url = text(&engine["url"]);
    let client = Client::new();
    let path = format!("{url}/v1/chat/completions");
    let reply = client.try_send(Method::POST, &path, &[], &chat(1, json!({}))).await.unwrap();
    assert_eq!((reply.status, reply.code().as_str()), (401, "invalid_api_key"));
    let key = format!("Bearer {}", site.customer("muster").key);
    let headers = [("authorization", key.as_str())];
    assert_eq!(client.try_send(Method::POST, &path, &headers, &chat(1, json!({}))).await.unwrap().status, 401);
    let reply = client.try_send(Method::POST, &site.chat_url(), &headers, &chat(1, json!({"max_tokens": 2}))).await;
    assert_eq!(reply.unwrap().status, 200);
}
