//! Bodies that are too large, too deep, or ask for too much: refused before anything is held or dispatched.

use crate::world::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use twin::engine::{Behaviour, ScriptedEngine};
use types::{Code, Outcome};

async fn raw(world: &World, head: &str, body: &[u8]) -> String {
    let mut socket = tokio::net::TcpStream::connect(world.url.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: {}\r\n{head}\r\n",
        bearer(KEY)
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A body of this many bytes.
fn sized(bytes: usize) -> String {
    let empty = chat(json!({"user": ""})).to_string().len();
    chat(json!({"user": "x".repeat(bytes - empty)})).to_string()
}

/// The length is believed before a byte of the body is there, and counted where there is none. The edge is exact.
#[tokio::test]
async fn f10_a_body_beyond_the_limit_is_refused_before_it_is_held() {
    const LIMIT: usize = 2_000;
    let engine = ScriptedEngine::start(Behaviour::tokens(2)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").limits(|limits| limits.body_bytes_max = LIMIT).start().await;
    // Nothing of the body is ever sent.
    let answer = raw(&world, &format!("content-length: {}\r\n", LIMIT + 1), b"").await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
    let chunked = |bytes: usize| format!("{bytes:x}\r\n{}\r\n0\r\n\r\n", sized(bytes)).into_bytes();
    let answer = raw(&world, "transfer-encoding: chunked\r\n", &chunked(LIMIT + 1)).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
    assert!(engine.requests().is_empty());
    let answer = raw(&world, "transfer-encoding: chunked\r\n", &chunked(LIMIT)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = raw(&world, &format!("content-length: {LIMIT}\r\n"), sized(LIMIT).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let receipts = world.audit(&[&engine]).await;
    let codes: Vec<_> = receipts.iter().map(|receipt| receipt.code).collect();
    assert_eq!(codes, [Some(Code::BodyTooLarge), Some(Code::BodyTooLarge), None, None]);
}

/// 64 levels pass, 65 do not, and a hundred thousand are no deeper for us.
#[tokio::test]
async fn f10_json_has_a_depth_and_answers_have_a_length() {
    let engine = ScriptedEngine::start(Behaviour::tokens(2)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let auth = bearer(KEY);
    let post =
        async |body: String| world.post_with("/v1/chat/completions", &[("authorization", auth.as_str())], body).await;
    // The object itself is the first level.
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        format!(r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"a"}}],"metadata":{open}{close}}}"#)
    };
    assert_eq!(post(nested(64)).await.status, 200);
    for levels in [65, 100_000] {
        let reply = post(nested(levels)).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "invalid_json"), "{levels}");
    }
    // Tokens: what is asked beyond the model's cap is cut to it, nonsense is refused.
    assert_eq!(post(chat(json!({"max_tokens": 1_000_000})).to_string()).await.status, 200);
    for (member, value) in [("max_tokens", json!(-1)), ("max_tokens", json!(0)), ("n", json!(129)), ("n", json!(1.5))] {
        let mut body = chat(json!({}));
        body[member] = value.clone();
        assert_eq!(post(body.to_string()).await.code(), "invalid_request", "{member} {value}");
    }
    let sent: Vec<Value> = engine.requests().iter().map(|request| request.json()).collect();
    assert_eq!((sent.len(), &sent[1]["max_tokens"]), (2, &json!(64)));
    let receipts = world.audit(&[&engine]).await;
    let refused = receipts.iter().filter(|receipt| receipt.outcome == Outcome::Refused).count();
    assert_eq!((receipts.len(), refused), (8, 6));
}
