//! Waiting has an end, on either side: engines that say something and then nothing, clients that stop reading.

use crate::world::*;
use serde_json::json;
use std::io::Write;
use std::time::Duration;
use twin::engine::{Before, Behaviour, End, Framing, ScriptedEngine, State};
use types::{Code, Outcome};

/// A chunk that names the role and a comment are no token: the engine may still be given up for another.
#[tokio::test]
async fn f06_an_engine_that_only_names_its_role_is_given_up_for_another() {
    let comments = Framing { comments: true, ..Framing::default() };
    let mute = Behaviour { end: End::StallAfter(0), framing: comments, ..Behaviour::tokens(5) };
    let mute = ScriptedEngine::start(mute).await.unwrap();
    let good = ScriptedEngine::start(Behaviour::tokens(4)).await.unwrap();
    let setup = Setup::new().engine(&mute.url(), "DE").engine(&good.url(), "DE");
    let world = setup.limits(|limits| limits.first_token_timeout = Duration::from_millis(100)).start().await;
    let mut asked = 0;
    while mute.requests().is_empty() {
        asked += 1;
        let reply = world.chat(json!({"stream": true})).await;
        assert_eq!(reply.events().last().map(String::as_str), Some("[DONE]"));
        assert_eq!(reply.events().iter().filter(|event| event.contains("assistant")).count(), 1, "one role");
    }
    assert_eq!(mute.until_ended(1).await[0].state, State::Cancelled);
    let receipts = world.receipts().await;
    assert_eq!(receipts.len(), asked);
    for receipt in receipts {
        assert_eq!((receipt.outcome, receipt.usage.output), (Outcome::Completed, 4));
    }
}

#[tokio::test]
async fn an_answer_without_a_word_is_an_answer() {
    let engine = ScriptedEngine::start(Behaviour::tokens(0)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let events = world.chat(json!({"stream": true})).await.events();
    assert!(events[0].contains("assistant") && events.last().unwrap() == "[DONE]", "{events:?}");
    assert_eq!(world.receipts().await[0].outcome, Outcome::Completed);
    // Its finish reason is its beginning: what breaks after it is not tried again.
    let engine = ScriptedEngine::start(Behaviour { end: End::NoDone, ..Behaviour::tokens(0) }).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let events = world.chat(json!({"stream": true})).await.events();
    assert!(events.last().unwrap().contains("stream_broken"), "{events:?}");
    assert_eq!(world.receipts().await[0].outcome, Outcome::Partial);
}

/// One deadline for the request, whatever it does in the meantime: three attempts do not take three times as long.
#[tokio::test]
async fn f06_a_total_timeout_is_not_tried_again() {
    for stream in [false, true] {
        let hang = || ScriptedEngine::start(Behaviour::before(Before::Hang));
        let (one, other) = (hang().await.unwrap(), hang().await.unwrap());
        let setup = Setup::new().engine(&one.url(), "DE").engine(&other.url(), "DE");
        let world = setup.limits(|limits| limits.total_timeout = Duration::from_millis(200)).start().await;
        let reply = world.chat(json!({"stream": stream})).await;
        assert_eq!((reply.status, reply.code().as_str()), (504, "engine_timeout"));
        assert_eq!(one.requests().len() + other.requests().len(), 1, "stream {stream}");
        let receipts = world.receipts().await;
        assert_eq!((receipts[0].outcome, receipts[0].code), (Outcome::Failed, Some(Code::EngineTimeout)));
    }
}

/// More than the kernel's buffers of both sides hold, to a client that keeps its connection and reads nothing.
#[tokio::test]
async fn f09_a_client_that_stops_reading_gives_the_engine_back() {
    let text = "x".repeat(400_000);
    let engine = ScriptedEngine::start(Behaviour { text: Some(text), ..Behaviour::tokens(64) }).await.unwrap();
    let setup = Setup::new().engine(&engine.url(), "DE");
    let world = setup.limits(|limits| limits.write_stall_timeout = Duration::from_millis(100)).start().await;
    let mut socket = std::net::TcpStream::connect(world.url.trim_start_matches("http://")).unwrap();
    let body = chat(json!({"stream": true})).to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: {}\r\ncontent-length: {}\r\n\r\n",
        bearer(KEY),
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(body.as_bytes()).unwrap();
    assert_eq!(engine.until_ended(1).await[0].state, State::Cancelled);
    let receipts = world.receipts().await;
    assert_eq!((receipts.len(), receipts[0].outcome), (1, Outcome::Aborted));
    drop(socket);
}

/// A lane that has all the clients that it may have takes the next when one leaves: nobody's sockets use up the files that
/// engines and the journal need.
#[tokio::test]
async fn f09_more_clients_than_a_lane_may_have_wait_for_one_to_leave() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = Setup::new().limits(|limits| limits.connections_max = 1).start().await;
    let address = world.url.strip_prefix("http://").unwrap().to_owned();
    let ask = async |socket: &mut tokio::net::TcpStream| {
        socket.write_all(b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    };
    let answer = async |socket: &mut tokio::net::TcpStream| {
        let mut bytes = [0; 4_096];
        let read = socket.read(&mut bytes).await.unwrap();
        assert!(bytes[..read].starts_with(b"HTTP/1.1 401 "), "{:?}", &bytes[..read]);
    };
    let mut first = tokio::net::TcpStream::connect(&address).await.unwrap();
    ask(&mut first).await;
    answer(&mut first).await;
    let mut second = tokio::net::TcpStream::connect(&address).await.unwrap();
    ask(&mut second).await;
    // Whoever is served meanwhile is the first. Without the limit the second, which asked before, would have its answer by now.
    for _ in 0..20 {
        ask(&mut first).await;
        answer(&mut first).await;
    }
    let early = second.try_read(&mut [0; 1]);
    assert_eq!(early.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    answer(&mut second).await;
    world.stop().await;
}
