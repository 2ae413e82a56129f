//! Refusals: the right status and code, a receipt where the principal is known, none where it is not.

use crate::world::*;
use serde_json::json;
use twin::engine::{Behaviour, ScriptedEngine};
use types::{Code, DataClass, Outcome};

#[tokio::test]
async fn strangers_leave_no_receipt() {
    let world = Setup::new()
        .edit(|snapshot| {
            snapshot.keys[1].revoked = true;
            let mut expired = snapshot.keys[0].clone();
            expired.id = types::KeyId(99);
            expired.expires_at = Some(types::UnixMillis(1));
            snapshot.keys.push(expired);
        })
        .start()
        .await;
    let unknown = bearer(types::KeyId(77));
    let wrong = format!("{}y", &bearer(KEY)[..bearer(KEY).len() - 1]);
    let (revoked, expired) = (bearer(OTHER_KEY), bearer(types::KeyId(99)));
    let cases = [
        (None, "key_missing"),
        (Some("Basic abc"), "key_missing"),
        (Some("Bearer "), "key_missing"),
        (Some("Bearer sk-123"), "key_invalid"),
        (Some("Bearer hk_short_x"), "key_invalid"),
        (Some(unknown.as_str()), "key_invalid"),
        (Some(wrong.as_str()), "key_invalid"),
        (Some(revoked.as_str()), "key_revoked"),
        (Some(expired.as_str()), "key_expired"),
    ];
    let mut invalid = Vec::new();
    for (authorization, code) in cases {
        let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        let reply = world.post_with("/v1/chat/completions", &headers, chat(json!({})).to_string()).await;
        assert_eq!((reply.status, reply.code().as_str()), (401, code), "{authorization:?}");
        assert!(reply.headers.get("hoheit-receipt").is_none());
        if code == "key_invalid" {
            invalid.push(reply.body);
        }
    }
    assert!(invalid.windows(2).all(|pair| pair[0] == pair[1]), "invalid keys can be told apart");
    assert!(world.receipts().await.is_empty());
}

#[tokio::test]
async fn bad_requests_of_a_known_principal_are_receipted() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").limits(|limits| limits.body_bytes_max = 1_000).start().await;
    let auth = bearer(KEY);
    let send = |headers: Vec<(&'static str, String)>, body: String| {
        let (world, auth) = (&world, auth.clone());
        async move {
            let mut all: Vec<(&str, &str)> = vec![("authorization", auth.as_str())];
            all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
            world.post_with("/v1/chat/completions", &all, body).await
        }
    };
    let good = chat(json!({})).to_string();
    let cases = [
        (vec![], "{".to_owned(), 400, "invalid_json"),
        (vec![], chat(json!({"model": "nobody"})).to_string(), 404, "model_not_found"),
        (vec![], chat(json!({"max_tokens": "x"})).to_string(), 400, "invalid_request"),
        (vec![], chat(json!({"user": "x".repeat(1_000)})).to_string(), 413, "body_too_large"),
        (vec![("hoheit-data-class", "top".to_owned())], good.clone(), 400, "data_class_unknown"),
        (vec![("idempotency-key", "k".repeat(256))], good.clone(), 400, "invalid_request"),
    ];
    let expected = cases.len();
    for (headers, body, status, code) in cases {
        let reply = send(headers, body).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
        reply.receipt();
    }
    assert!(engine.requests().is_empty(), "something was dispatched");
    let receipts = world.receipts().await;
    assert_eq!(receipts.len(), expected);
    assert!(receipts.iter().all(|receipt| receipt.outcome == Outcome::Refused && receipt.cost_micro_eur.0 == 0));
}

#[tokio::test]
async fn policy_refuses_with_the_deciding_rules() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "US").start().await;
    let auth = bearer(KEY);
    let headers = [("authorization", auth.as_str()), ("hoheit-data-class", "secret")];
    let reply = world.post_with("/v1/chat/completions", &headers, chat(json!({})).to_string()).await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "policy_refused"));
    assert!(engine.requests().is_empty());
    let receipts = world.receipts().await;
    assert_eq!((receipts[0].outcome, receipts[0].code), (Outcome::Refused, Some(Code::PolicyRefused)));
    assert_eq!(receipts[0].data_class, DataClass::Secret);
    assert!(!receipts[0].policy.permit && !receipts[0].policy.rules.is_empty());
}

#[tokio::test]
async fn residency_has_no_fallback() {
    let foreign = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let closed = twin::engine::closed_url().unwrap();
    let german = |snapshot: &mut types::Snapshot| {
        snapshot.projects[0].country = Some(types::Country::DE);
        snapshot.projects[0].class = DataClass::Public;
    };
    // Only foreign replicas are left: a typed 503 with a receipt.
    let world = Setup::new().engine(&foreign.url(), "US").edit(german).start().await;
    let reply = world.chat(json!({})).await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "residency_unavailable"));
    let receipts = world.receipts().await;
    assert_eq!((receipts[0].outcome, receipts[0].code), (Outcome::Refused, Some(Code::ResidencyUnavailable)));
    // The German replica is down and a foreign one is up: still never the foreign one.
    let world = Setup::new().engine(&closed, "DE").engine(&foreign.url(), "US").edit(german).start().await;
    let reply = world.chat(json!({})).await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "replica_unavailable"));
    assert!(foreign.requests().is_empty(), "data left the country");
    assert_eq!(world.receipts().await[0].outcome, Outcome::Failed);
}

#[tokio::test]
async fn a_foreign_receipt_answers_like_one_that_does_not_exist() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let id = world.chat(json!({})).await.receipt();
    assert_eq!(world.get(&format!("/v1/receipts/{id}"), KEY).await.status, 200);
    let foreign = world.get(&format!("/v1/receipts/{id}"), OTHER_KEY).await;
    let unknown = world.get(&format!("/v1/receipts/{}", types::ReceiptId(1)), OTHER_KEY).await;
    let malformed = world.get("/v1/receipts/nonsense", OTHER_KEY).await;
    let shape = |reply: &Reply| {
        let mut headers = reply.headers.clone();
        headers.remove("date");
        (reply.status, headers, reply.body.clone())
    };
    assert_eq!(foreign.status, 404);
    assert_eq!(shape(&foreign), shape(&unknown));
    assert_eq!(shape(&foreign), shape(&malformed));
    assert_eq!(world.get("/v1/receipts", KEY).await.json()["data"].as_array().unwrap().len(), 1);
    assert!(world.get("/v1/receipts", OTHER_KEY).await.json()["data"].as_array().unwrap().is_empty());
    world.stop().await;
}

#[tokio::test]
async fn f09_headers_beyond_the_limit_and_slow_ones_end_the_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = Setup::new()
        .limits(|limits| {
            limits.header_bytes_max = 8_192;
            limits.header_timeout = std::time::Duration::from_millis(200);
        })
        .start()
        .await;
    // Just beyond our limit, far beyond hyper's buffer, and more headers than the limit.
    let many: Vec<String> = (0..150).map(|place| format!("x-{place}: y\r\n")).collect();
    for (headers, code) in [
        (format!("x-huge: {}\r\n", "x".repeat(8_192)), "headers_too_large"),
        (format!("x-huge: {}\r\n", "x".repeat(60_000)), ""),
        (many.concat(), ""),
    ] {
        let mut socket = tokio::net::TcpStream::connect(world.url.trim_start_matches("http://")).await.unwrap();
        socket
            .write_all(format!("GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains(code), "{answer}");
    }
    let mut socket = tokio::net::TcpStream::connect(world.url.trim_start_matches("http://")).await.unwrap();
    socket.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut rest = Vec::new();
    // The server ends it; without its timer this read would never return.
    socket.read_to_end(&mut rest).await.unwrap();
    world.stop().await;
}
