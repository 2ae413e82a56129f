//! SIGTERM under load: what runs may end, nothing new begins, and nothing is left for the next boot to repair.

use crate::client::Client;
use crate::site::{Site, text};
use http::Method;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use twin::engine::{Behaviour, Pace, ScriptedEngine, State};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f21_sigterm_lets_answers_end_and_leaves_nothing_open() {
    const OPEN: usize = 20;
    let engine = ScriptedEngine::start(Behaviour { pace: Pace::Step, ..Behaviour::tokens(3) }).await.unwrap();
    let mut site = Site::start(&["--no-model"]);
    site.engine(&engine.url(), "scripted");
    let customer = site.customer("Muster");
    let authorization = format!("Bearer {}", customer.key);
    let clients: Vec<_> = (0..OPEN)
        .map(|number| {
            let (url, authorization) = (site.chat_url(), authorization.clone());
            let body = json!({ "model": "scripted", "stream": number % 2 == 0,
                "messages": [{ "role": "user", "content": "Feierabend?" }] });
            tokio::spawn(async move {
                let headers = [("authorization", authorization.as_str())];
                Client::new().try_send(Method::POST, &url, &headers, &body.to_string()).await
            })
        })
        .collect();
    engine.until(|requests| requests.len() == OPEN).await;
    // Two that hold a connection and ask nothing: one that has asked before, one that never did.
    let address = site.url.trim_start_matches("http://").to_owned();
    let mut idle = Vec::new();
    for asks in [true, false] {
        let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
        if asks {
            socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
            assert!(socket.read(&mut [0; 4_096]).await.unwrap() > 0);
        }
        idle.push(socket);
    }
    site.terminate();
    // They are closed at once, while answers still run.
    for mut socket in idle {
        assert_eq!(socket.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }
    assert!(engine.requests().iter().all(|request| request.state == State::Running));
    // The port is closed before the requests end, so that a load balancer sends nobody here.
    let refused = Client::new();
    let begin = std::time::Instant::now();
    while refused.try_send(Method::GET, &site.path("/readyz"), &[], "").await.is_some() {
        assert!(begin.elapsed().as_secs() < 20, "new connections are still accepted");
        tokio::task::yield_now().await;
    }
    engine.step(OPEN * 3);
    for client in clients {
        let reply = client.await.unwrap().expect("an answer");
        assert!(reply.status == 200 && reply.whole, "{}", reply.status);
    }
    assert_eq!(site.wait(), Some(0));
    assert!(!site.log().contains("not every receipt reached the store"), "{}", site.log());

    site.boot();
    let receipts = site.cli(&["receipt", "list", "--tenant", &customer.tenant]);
    let outcomes: Vec<_> =
        receipts["data"].as_array().unwrap().iter().map(|row| text(&row["claims"]["outcome"])).collect();
    assert_eq!(outcomes, ["completed"; OPEN]);
    assert_eq!(site.stop(), Some(0));
}

/// Stopped and started three times under load, with clients that try again: each of their requests is answered whole in the
/// end, and whatever was acknowledged in any life is in the log of receipts once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f21_restarts_under_load_lose_nothing_for_clients_that_try_again() {
    const CLIENTS: usize = 8;
    let engine = ScriptedEngine::start(Behaviour::tokens(6)).await.unwrap();
    // A port of its own, so that clients find the next life.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut site = Site::start(&["--no-model", "--listen", &port.to_string()]);
    site.engine(&engine.url(), "scripted");
    let customer = site.customer("Muster");
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (url, over, key) = (site.chat_url(), over.clone(), customer.key.clone());
            tokio::spawn(async move {
                let (client, authorization) = (Client::new(), format!("Bearer {key}"));
                let (mut whole, mut receipts) = (0, Vec::new());
                while !over.load(Ordering::Relaxed) {
                    let body = json!({ "model": "scripted", "stream": number % 2 == 0,
                        "messages": [{ "role": "user", "content": format!("{number} {whole}") }] });
                    let headers = [("authorization", authorization.as_str())];
                    match client.try_send(Method::POST, &url, &headers, &body.to_string()).await {
                        Some(reply) if reply.status == 200 => {
                            // A stop lets an answer end; nobody gets half of one.
                            assert!(reply.whole, "{}", String::from_utf8_lossy(&reply.body));
                            receipts.push(reply.header("hoheit-receipt").to_owned());
                            whole += 1;
                        }
                        Some(reply) => assert_eq!((reply.status, reply.code().as_str()), (503, "not_ready")),
                        None => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
                receipts
            })
        })
        .collect();
    for life in 1..=3 {
        let seen = engine.requests().len();
        engine.until(|requests| requests.len() >= seen + 50 * life).await;
        assert_eq!(site.stop(), Some(0), "{}", site.log());
        site.boot();
    }
    let seen = engine.requests().len();
    engine.until(|requests| requests.len() >= seen + 50).await;
    over.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for client in clients {
        acknowledged.extend(client.await.unwrap());
    }
    assert_eq!(site.stop(), Some(0));
    let log = site.log();
    assert!(!log.contains("unresolved") && !log.contains("not every receipt"), "{log}");

    site.boot();
    let folder = site.export(&customer.tenant, "receipts");
    let mut stored: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".jwt")?.to_owned()))
        .collect();
    stored.sort_unstable();
    acknowledged.sort_unstable();
    let lost: Vec<_> = acknowledged.iter().filter(|id| stored.binary_search(id).is_err()).collect();
    assert!(lost.is_empty() && acknowledged.len() >= 4 * 50, "{lost:?} of {}", acknowledged.len());
    let produced = engine.requests().iter().filter(|request| request.state == State::Completed).count();
    assert_eq!(
        (stored.len(), acknowledged.len()),
        (produced, produced),
        "an answer without a receipt, or one with two"
    );
    assert_eq!(site.stop(), Some(0));
}
