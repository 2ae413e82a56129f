//! Content is nowhere but in flight: not on disk, not in logs, not in metrics, not in receipts.
//!
//! Logs are at their loudest (`trace`), the process dies once in the middle, and the search is shown to find what is
//! there: a project's name, which is no content.

use crate::client::Client;
use crate::site::{Site, text};
use http::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use twin::engine::{Before, Behaviour, End, Script, ScriptedEngine};

const PROMPT: &str = "canary-prompt-5e1f";
const ANSWER: &str = "canary-answer-77aa";
const HEADER: &str = "canary-header-c0de";
/// What an engine says in its error, which repeats the prompt in real ones.
const COMPLAINT: &str = "canary-complaint-19fe";
const PLANTED: &str = "planted-project-name-3b3b";

/// Files under a folder that hold the text.
fn holders(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders(&path, text));
        } else if let Ok(bytes) = std::fs::read(&path)
            && memchr::memmem::find(&bytes, text.as_bytes()).is_some()
        {
            found.push(path.display().to_string());
        }
    }
    found
}

fn script() -> Script {
    Script::choose(|ask| {
        let answer = Behaviour { text: Some(ANSWER.to_owned()), ..Behaviour::tokens(3) };
        match ask.headers.get("x-request-id").map(|_| ask.model) {
            Some("garbage") => Behaviour::before(Before::Garbage(ANSWER.into())),
            Some("complains") => Behaviour::before(Before::Status {
                status: 400,
                retry_after: None,
                content_type: "application/json".into(),
                body: json!({ "error": { "message": format!("{COMPLAINT}: {PROMPT}") } }).to_string(),
            }),
            Some("broken") => Behaviour { end: End::GarbageAfter(1), ..answer },
            Some("stays-open") => Behaviour { end: End::StallAfter(1), ..answer },
            _ => answer,
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_is_found_nowhere() {
    let engine = ScriptedEngine::start(script()).await.unwrap();
    let mut site = Site::start_with(&["--no-model"], &[("HOHEIT_LOG", "trace")]);
    let models = ["good", "garbage", "complains", "broken", "stays-open"];
    for model in models {
        site.engine(&engine.url(), model);
    }
    site.engine_in(&engine.url(), "foreign", "US", "US");
    let tenant = site.tenant("Muster");
    let project = text(&site.cli(&["project", "create", PLANTED, "--tenant", &tenant])["id"]);
    let (_, key) = site.key(&project, &[]);
    let client = Client::new();
    let authorization = format!("Bearer {key}");
    let url = site.url.clone();
    let send = async |path: &str, class: &str, idempotency: &str, body: String| {
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
            ("user-agent", HEADER),
            ("x-anything", HEADER),
            ("cookie", HEADER),
            ("traceparent", HEADER),
            ("hoheit-data-class", class),
            ("idempotency-key", idempotency),
        ];
        client.try_send(Method::POST, &format!("{url}{path}"), &headers, &body).await.expect("an answer").status
    };
    let chat = |model: &str, stream: bool| {
        json!({ "model": model, "stream": stream, "user": PROMPT, "metadata": { "note": PROMPT }, "stop": [PROMPT],
            "tools": [{ "type": "function", "function": { "name": "f", "description": PROMPT } }],
            "messages": [{ "role": "system", "content": PROMPT }, { "role": "user", "content": [
                { "type": "text", "text": PROMPT }, { "type": "image_url", "image_url": { "url": PROMPT } }] }] })
        .to_string()
    };
    let chats = "/v1/chat/completions";
    for stream in [false, true] {
        for (model, status) in
            [("good", 200), ("garbage", 503), ("complains", 400), ("broken", if stream { 200 } else { 502 })]
        {
            assert_eq!(
                send(chats, "internal", &format!("{HEADER}-{model}-{stream}"), chat(model, stream)).await,
                status,
                "{model}"
            );
        }
    }
    // A repeat is answered from memory, never from disk.
    assert_eq!(send(chats, "internal", &format!("{HEADER}-good-false"), chat("good", false)).await, 200);
    let legacy = json!({ "model": "good", "prompt": PROMPT, "max_tokens": 3 }).to_string();
    assert_eq!(send("/v1/completions", "internal", HEADER, legacy).await, 200);
    let embedding = json!({ "model": "good", "input": [PROMPT] }).to_string();
    assert_eq!(send("/v1/embeddings", "internal", &format!("{HEADER}-e"), embedding).await, 200);
    // Refused before anything is dispatched: policy, class, syntax, types, an unknown path.
    assert_eq!(send(chats, "secret", &format!("{HEADER}-1"), chat("foreign", false)).await, 403);
    assert_eq!(send(chats, HEADER, &format!("{HEADER}-2"), chat("good", false)).await, 400);
    assert_eq!(send(chats, "internal", &format!("{HEADER}-3"), format!("{{{PROMPT}")).await, 400);
    let wrong = json!({ "model": "good", "messages": PROMPT, "max_tokens": PROMPT }).to_string();
    assert_eq!(send(chats, "internal", &format!("{HEADER}-4"), wrong).await, 400);
    assert_eq!(send(&format!("/v1/{HEADER}"), "internal", HEADER, PROMPT.to_owned()).await, 404);
    assert_eq!(send(&format!("/api/v1/{HEADER}"), "internal", HEADER, PROMPT.to_owned()).await, 404);

    let metrics = client.get(&site.path("/metrics"), &[]).await.body;
    // One is on its way when the process dies, so an intent without its receipt is on disk too: its first event was seen,
    // and none leaves before the intent is durable.
    let headers = [("authorization", authorization.as_str()), ("hoheit-data-class", "internal")];
    let open = client.opened(&site.chat_url(), &headers, &chat("stays-open", true)).await;
    site.kill();
    drop(open);
    let died = holders(&site.data(), PROMPT);
    assert!(died.is_empty(), "{died:?}");
    site.boot();

    // The last one was fixed by this start, and is shipped a moment after it.
    let list = || site.cli(&["receipt", "list", "--tenant", &tenant, "--limit", "1000"]);
    let count = |receipts: &Value| receipts["data"].as_array().unwrap().len();
    let begin = Instant::now();
    let mut receipts = list();
    while count(&receipts) < 15 && begin.elapsed() < Duration::from_secs(20) {
        receipts = list();
    }
    assert_eq!(count(&receipts), 15, "one for each request of a known principal");
    let export = site.export(&tenant, "export");
    let spoken = [
        ("receipts", receipts.to_string()),
        ("metrics", String::from_utf8(metrics.to_vec()).unwrap()),
        ("audit", site.cli(&["audit"]).to_string()),
        ("status", site.cli(&["status"]).to_string()),
    ];
    site.stop();
    let root = site.data();
    let secret = key.rsplit('_').next().unwrap();
    for canary in [PROMPT, ANSWER, HEADER, COMPLAINT, secret] {
        for folder in [root.as_path(), root.parent().unwrap(), export.as_path()] {
            let found = holders(folder, canary);
            assert!(found.is_empty(), "{canary} is in {found:?}");
        }
        for (place, text) in &spoken {
            assert!(!text.contains(canary), "{canary} is in {place}");
        }
    }
    assert!(site.log().len() > 10_000, "the log was not loud, so its silence proves nothing");
    let token = std::fs::read_to_string(root.join("admin-token")).unwrap();
    let found = holders(root.parent().unwrap(), token.trim());
    assert_eq!(found, [root.join("admin-token").display().to_string()], "the admin token is in one place");
    assert!(!holders(&root, PLANTED).is_empty(), "the search finds what is there");
}
