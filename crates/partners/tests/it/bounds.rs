//! Bodies: however many are sent to whichever shell, they share the room and the time that the gateway has for its own.

use crate::world::*;
use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body::Frame;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower::ServiceExt as _;
use twin::engine::Behaviour;
use types::KeyId;

/// Where bodies are read: with which type of content, and the code of a refusal at the place where the shell says it.
const READERS: [(&str, &str); 6] = [
    ("/chat/completions", "application/json"),
    ("/search", "application/json"),
    ("/async/chat/completions", "application/json"),
    ("/v1/vector_stores", "application/json"),
    ("/v1/files", "multipart/form-data; boundary=B"),
    ("/oauth/token", "application/x-www-form-urlencoded"),
];

fn request(path: &str, content_type: &str, body: Body) -> Request<Body> {
    Request::post(path)
        .header("authorization", format!("Bearer {}", key_text(KeyId(20 + OURS))))
        .header("content-type", content_type)
        .body(body)
        .unwrap()
}

#[tokio::test]
async fn all_bodies_share_the_gateways_room() {
    let limits = gateway::Limits { bodies_bytes_max: 1_000, ..gateway::Limits::default() };
    let world = World::with(Behaviour::tokens(1), Setup { limits, ..Setup::default() }).await;
    for (path, content_type) in READERS {
        let body = Body::from(" ".repeat(1_001));
        let reply = world.partners.router().oneshot(request(path, content_type, body)).await.unwrap();
        assert_eq!((reply.status().as_u16(), reply.headers()["retry-after"].to_str().unwrap()), (503, "1"), "{path}");
        // What was refused holds nothing.
        let body = Body::from(" ".repeat(1_000));
        let reply = world.partners.router().oneshot(request(path, content_type, body)).await.unwrap();
        assert_eq!(reply.status().as_u16(), 400, "{path}");
    }
}

/// Of a body that never comes to its end.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let world = World::start(Behaviour::tokens(1)).await;
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        KeyId(20 + OURS),
        key_text(KeyId(20 + OURS))
    );
    let granted = world.send(OURS, "POST", "/oauth/token", &[], form.into_bytes()).await.json();
    let bearer = format!("Bearer {}", granted["access_token"].as_str().unwrap());
    // From here on time goes by when nothing else does.
    tokio::time::pause();
    for (path, content_type) in READERS {
        let reply = world.partners.router().oneshot(request(path, content_type, Body::new(Endless))).await.unwrap();
        assert_eq!(reply.status().as_u16(), 408, "{path}");
    }
    let path = "/v2/inference/deployments/d00000000000000000000000001/chat/completions";
    let mut request = request(path, "application/json", Body::new(Endless));
    request.headers_mut().insert("authorization", bearer.parse().unwrap());
    let reply = world.partners.router().oneshot(request).await.unwrap();
    assert_eq!(reply.status().as_u16(), 408);
    assert!(reply.headers().contains_key("hoheit-receipt"));
}
