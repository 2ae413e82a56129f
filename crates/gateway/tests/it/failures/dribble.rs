//! Clients that take their time: by headers, by bodies, by reading. They hold a socket, and nobody up.

use crate::world::*;
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use twin::engine::{Behaviour, Script, ScriptedEngine};
use types::{Code, Outcome};

async fn socket(world: &World) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // As little as the kernel gives, so that a reader that dribbles is felt early.
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.connect(world.url.trim_start_matches("http://").parse().unwrap()).await.unwrap()
}

fn head(length: usize) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: {}\r\ncontent-length: {length}\r\n\r\n",
        bearer(OTHER_KEY)
    )
}

/// Still ours: neither closed nor reset.
fn open(socket: &TcpStream) -> bool {
    match socket.try_read(&mut [0]) {
        Ok(0) => false,
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// 490 by headers, 490 by bodies, 20 by reading an answer of 8 MB, twice what the kernel holds for one socket. Each gets on by a byte between two healthy
/// requests; all of these are answered, and all thousand are still there afterwards.
#[tokio::test]
async fn f09_a_thousand_dribbling_sockets_hold_nobody_up() {
    let script = Script::choose(|ask| match std::str::from_utf8(ask.body).unwrap().contains("long") {
        true => Behaviour { text: Some("x".repeat(128 << 10)), ..Behaviour::tokens(64) },
        false => Behaviour::tokens(3),
    });
    let engine = ScriptedEngine::start(script).await.unwrap();
    let long = Duration::from_secs(600);
    let world = Setup::new()
        .engine(&engine.url(), "DE")
        .limits(|limits| {
            (limits.header_timeout, limits.body_grace, limits.body_timeout) = (long, long, long);
            limits.write_stall_timeout = long;
        })
        .start()
        .await;
    let (mut headers, mut bodies, mut readers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..490 {
        let (mut by_headers, mut by_body) = (socket(&world).await, socket(&world).await);
        by_headers.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nx-slow: ").await.unwrap();
        by_body.write_all(head(100_000).as_bytes()).await.unwrap();
        headers.push(by_headers);
        bodies.push(by_body);
    }
    for _ in 0..20 {
        let mut reader = socket(&world).await;
        let body = chat(json!({"stream": true, "user": "long"})).to_string();
        reader.write_all(head(body.len()).as_bytes()).await.unwrap();
        reader.write_all(body.as_bytes()).await.unwrap();
        reader.readable().await.unwrap();
        readers.push(reader);
    }
    for healthy in 0..100 {
        for socket in headers.iter_mut().chain(&mut bodies) {
            socket.write_all(b"x").await.unwrap();
        }
        assert!(readers.iter().all(open), "before healthy request {healthy}");
        let reply = world.chat(json!({"stream": healthy % 2 == 0})).await;
        assert_eq!(reply.status, 200);
    }
    assert!(headers.iter().chain(&bodies).chain(&readers).all(open), "somebody was cut: nothing was shown");
    // Headers say nothing about who asks; a body is a request of a known key.
    assert_eq!(world.gateway.open_requests(), 510, "a reader was never held up");
    drop((headers, bodies, readers));
    let receipts = world.audit(&[&engine]).await;
    let mine: Vec<_> = receipts.iter().filter(|receipt| receipt.sub == TENANT).collect();
    assert!(mine.len() == 100 && mine.iter().all(|receipt| receipt.outcome == Outcome::Completed));
    // Gone in the middle of its body, a request is refused; in the middle of its answer, it is aborted.
    let others = receipts.iter().filter(|receipt| receipt.sub == OTHER_TENANT);
    let (refused, aborted): (Vec<_>, Vec<_>) = others.partition(|receipt| receipt.outcome == Outcome::Refused);
    let left = aborted.iter().filter(|receipt| receipt.outcome == Outcome::Aborted).count();
    assert_eq!((refused.len() + aborted.len(), left >= 20), (510, true));
}

/// A body below the rate is cut behind the grace, however long whole bodies may take.
#[tokio::test]
async fn f09_a_body_has_a_least_rate() {
    let engine = ScriptedEngine::start(Behaviour::tokens(2)).await.unwrap();
    let world = Setup::new()
        .engine(&engine.url(), "DE")
        .limits(|limits| {
            (limits.body_grace, limits.body_timeout) = (Duration::from_millis(100), Duration::from_secs(600));
            limits.body_bytes_per_second_min = 1_000_000;
        })
        .start()
        .await;
    let mut socket = socket(&world).await;
    socket.write_all(head(100_000).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|it| it == b"\r\n\r\n") {
        // It may be cut between two bytes.
        let _ = socket.write_all(b"x").await;
        let mut some = [0; 1_024];
        match socket.try_read(&mut some) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&some[..read]),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let receipts = world.audit(&[&engine]).await;
    assert_eq!((receipts.len(), receipts[0].code), (1, Some(Code::RequestTimeout)));
}
