//! SIGTERM under load: what runs may end, nothing new begins, and nothing is left for the next boot to repair.

use crate::client::Client;
use crate::site::{Site, text};
use http::Method;
use serde_json::json;
use twin::engine::{Behaviour, Pace, ScriptedEngine};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_answers_end_and_leaves_nothing_open() {
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
    site.terminate();
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
