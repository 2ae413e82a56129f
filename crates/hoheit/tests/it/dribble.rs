//! Not a test: what a thousand clients that dribble cost the others. That they cost nobody an answer is shown by the
//! gateway's `f09_…` tests; here it is measured, for `docs/performance.md`:
//!
//! ```sh
//! cargo build --release -p hoheit
//! HOHEIT_MEASURED=target/release/hoheit cargo nextest run -p hoheit --run-ignored only --no-capture what_dribblers_cost
//! ```

use crate::client::Client;
use crate::site::Site;
use http::Method;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use twin::engine::{Behaviour, Script, ScriptedEngine};

const DRIBBLERS: usize = 1_000;
const CLIENTS: usize = 4;
const REQUESTS_EACH: usize = 1_000;

/// A third each by headers, by bodies, by reading an answer of a megabyte.
async fn dribblers(address: &str, key: &str) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for number in 0..DRIBBLERS {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        let mut socket = socket.connect(address.parse().unwrap()).await.unwrap();
        let body = json!({ "model": "scripted", "stream": true, "user": "long",
            "messages": [{ "role": "user", "content": "hi" }] })
        .to_string();
        let head = |length: usize| {
            format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {key}\r\ncontent-length: {length}\r\n"
            )
        };
        let sent = match number % 3 {
            0 => format!("{}x-slow: ", head(10)),
            1 => format!("{}\r\n", head(100_000)),
            _ => format!("{}\r\n{body}", head(body.len())),
        };
        socket.write_all(sent.as_bytes()).await.unwrap();
        sockets.push(socket);
    }
    sockets
}

/// Percentiles of healthy requests, in milliseconds.
async fn healthy(site: &Site, key: &str) -> (f64, f64) {
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (url, authorization) = (site.chat_url(), format!("Bearer {key}"));
            tokio::spawn(async move {
                let client = Client::new();
                let body =
                    json!({ "model": "scripted", "messages": [{ "role": "user", "content": "hi" }] }).to_string();
                let mut times = Vec::new();
                for _ in 0..REQUESTS_EACH {
                    let begin = Instant::now();
                    let headers = [("authorization", authorization.as_str())];
                    let reply = client.try_send(Method::POST, &url, &headers, &body).await.unwrap();
                    assert!(reply.status == 200 && reply.whole);
                    times.push(begin.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await.unwrap());
    }
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e3;
    (at(50), at(99))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for docs/performance.md"]
async fn what_dribblers_cost() {
    let script = Script::choose(|ask| match std::str::from_utf8(ask.body).unwrap().contains("long") {
        true => Behaviour { text: Some("x".repeat(16 << 10)), ..Behaviour::tokens(64) },
        false => Behaviour::tokens(3),
    });
    let engine = ScriptedEngine::start(script).await.unwrap();
    let site = Site::start(&["--no-model"]);
    site.engine(&engine.url(), "scripted");
    let (customer, slow) = (site.customer("Muster"), site.customer("Langsam"));
    let address = site.url.trim_start_matches("http://").to_owned();
    let _warm = healthy(&site, &customer.key).await;
    for round in 1..=3 {
        let (p50, p99) = healthy(&site, &customer.key).await;
        println!("round {round}: without p50 {p50:.2} ms, p99 {p99:.2} ms");
        let mut sockets = dribblers(&address, &slow.key).await;
        let dribble = tokio::spawn(async move {
            loop {
                for socket in &mut sockets {
                    // One that was cut is cut.
                    let _ = socket.try_write(b"x");
                    let _ = socket.try_read(&mut [0]);
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        let (p50, p99) = healthy(&site, &customer.key).await;
        println!("round {round}: with {DRIBBLERS} p50 {p50:.2} ms, p99 {p99:.2} ms");
        dribble.abort();
    }
}
