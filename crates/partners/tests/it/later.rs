//! Questions whose answers are fetched later: asked once, answered once, sealed, failed when their process died, forgotten in time.

use crate::world::*;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use twin::engine::{Before, Behaviour};

const PATH: &str = "/async/chat/completions";
const MARK: &str = "Wolkenkuckucksheim";

fn ask(text: &str, key: Option<&str>) -> Value {
    let request = json!({"model": "sonar", "messages": [{"role": "user", "content": text}]});
    json!({"request": request, "idempotency_key": key})
}

async fn world(behaviour: Behaviour) -> World {
    let world = World::start(behaviour).await;
    world.document(OURS, "a.txt", &format!("Der Ort heißt {MARK}."), json!({})).await;
    world
}

/// Fetched until it has ended.
async fn ended(world: &World, id: &str) -> Value {
    let fetch = async {
        loop {
            let shown = world.call(OURS, "GET", &format!("{PATH}/{id}"), Value::Null).await.json();
            if shown["status"] == "COMPLETED" || shown["status"] == "FAILED" {
                return shown;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), fetch).await.unwrap()
}

fn id(shown: &Value) -> String {
    shown["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_answer_is_fetched_and_lies_sealed() {
    let world = world(Behaviour { text: Some(format!("{MARK} [1].")), ..Behaviour::tokens(1) }).await;
    let taken = world.call(OURS, "POST", &format!("/sonar{PATH}"), ask("Wie heißt der Ort?", None)).await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    let done = ended(&world, &id(&taken.json())).await;
    assert_eq!(done["status"], "COMPLETED", "{done}");
    assert_eq!(done["response"]["choices"][0]["message"]["content"], format!("{MARK} [1]."));
    let receipts = world.receipts().await;
    assert_eq!((receipts.len(), &done["response"]["receipt"]), (1, &json!(receipts[0].jti)));
    let foreign = world.call(THEIRS, "GET", &format!("{PATH}/{}", id(&done)), Value::Null).await;
    let unknown = world.call(THEIRS, "GET", &format!("{PATH}/async_00000000000000000000000007"), Value::Null).await;
    assert_eq!((foreign.status, foreign.body), (404, unknown.body));
    assert_eq!(world.call(THEIRS, "GET", PATH, Value::Null).await.json()["requests"], json!([]));
    not_in_clear(&world);
}

/// Neither question nor answer nor document is in the database's files in clear.
fn not_in_clear(world: &World) {
    for entry in std::fs::read_dir(world.folder.path()).unwrap().flatten() {
        if entry.path().is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            let found = bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes());
            assert!(!found, "{:?} holds it in clear", entry.path());
        }
    }
}

#[tokio::test]
async fn a_key_of_the_client_makes_it_one_question() {
    let world = world(Behaviour { text: Some("Ja [1].".to_owned()), ..Behaviour::tokens(1) }).await;
    let first = world.call(OURS, "POST", PATH, ask("Wie heißt der Ort?", Some("k"))).await.json();
    let again = world.call(OURS, "POST", PATH, ask("Wie heißt der Ort?", Some("k"))).await.json();
    assert_eq!(id(&first), id(&again));
    let other = world.call(OURS, "POST", PATH, ask("Wie heißt die Zeit?", Some("k"))).await;
    assert_eq!((other.status, &other.json()["error"]["code"]), (422, &json!("idempotency_mismatch")));
    ended(&world, &id(&first)).await;
    assert_eq!(world.engine.requests().len(), 1);
    assert_ne!(id(&world.call(OURS, "POST", PATH, ask("Wie heißt der Ort?", Some("l"))).await.json()), id(&first));
    // As a header it says the same; what it cannot say is refused.
    let send = async |key: &str| {
        let body = ask("Wie heißt der Ort?", None).to_string().into_bytes();
        world.send(OURS, "POST", PATH, &[("idempotency-key", key)], body).await
    };
    let by_header = send("h").await.json();
    assert_eq!(id(&send("h").await.json()), id(&by_header));
    assert_eq!(ended(&world, &id(&by_header)).await["status"], "COMPLETED");
    let wrong = send(&"k".repeat(256)).await;
    assert_eq!((wrong.status, &wrong.json()["error"]["param"]), (400, &json!("Idempotency-Key")));
    let list = world.call(OURS, "GET", &format!("{PATH}?limit=2"), Value::Null).await.json();
    assert_eq!(list["requests"].as_array().unwrap().len(), 2);
    let next = list["next_token"].as_str().unwrap();
    let rest = world.call(OURS, "GET", &format!("{PATH}?limit=1&next_token={next}"), Value::Null).await.json();
    assert_eq!((id(&rest["requests"][0]), &rest["next_token"]), (id(&first), &Value::Null));
}

#[tokio::test]
async fn what_its_engine_refuses_fails_and_says_why() {
    let world = world(Behaviour::before(Before::error(400))).await;
    let taken = world.call(OURS, "POST", PATH, ask("Wie heißt der Ort?", None)).await.json();
    let failed = ended(&world, &id(&taken)).await;
    assert_eq!((&failed["status"], &failed["response"]), (&json!("FAILED"), &Value::Null));
    assert!(!failed["error_message"].as_str().unwrap().is_empty());
    assert_eq!(
        world
            .call(
                OURS,
                "POST",
                PATH,
                json!({"request": {"model": "gone", "messages": [{"role": "user", "content": "x"}]}})
            )
            .await
            .status,
        404
    );
    assert_eq!(world.call(OURS, "POST", PATH, json!({})).await.status, 400);
}

/// Each open question is a task: there are so many of a project and not more, and another project has its own.
#[tokio::test]
async fn open_questions_are_bounded() {
    let world = world(Behaviour::before(Before::Hang)).await;
    for _ in 0..64 {
        assert_eq!(world.call(OURS, "POST", PATH, ask("Wie heißt der Ort?", None)).await.status, 200);
    }
    let over = world.call(OURS, "POST", PATH, ask("Wie heißt der Ort?", None)).await;
    assert_eq!((over.status, &over.json()["error"]["code"]), (429, &json!("rate_limited")));
    assert!(over.headers.contains_key("retry-after"));
    assert_eq!(world.call(THEIRS, "POST", PATH, ask("Wie heißt der Ort?", None)).await.status, 200);
}

/// An engine's words may quote what it was asked: its client reads them, and they lie sealed like an answer.
#[tokio::test]
async fn why_it_failed_is_told_and_lies_sealed() {
    let said = format!("prompt too long near: {MARK}");
    let body = json!({"error": {"message": said, "code": "invalid_request"}}).to_string();
    let before = Before::Status { status: 400, retry_after: None, content_type: "application/json".into(), body };
    let world = world(Behaviour::before(before)).await;
    let taken = world.call(OURS, "POST", PATH, ask("Wie heißt der Ort?", Some("k"))).await.json();
    let failed = ended(&world, &id(&taken)).await;
    assert_eq!((&failed["status"], &failed["error_message"]), (&json!("FAILED"), &json!(said)));
    // A repeat of the question is told the same.
    let again = world.call(OURS, "POST", PATH, ask("Wie heißt der Ort?", Some("k"))).await.json();
    assert_eq!((id(&again), &again["error_message"]), (id(&failed), &json!(said)));
    not_in_clear(&world);
}

#[tokio::test]
async fn found_open_after_a_crash_it_has_failed_and_says_so() {
    let mut world = world(Behaviour::before(Before::Hang)).await;
    let taken = world.call(OURS, "POST", PATH, ask("Wie heißt der Ort?", None)).await.json();
    let path = format!("{PATH}/{}", id(&taken));
    world.engine.until(|requests| requests.len() == 1).await;
    // The process goes on in this test, but nobody speaks for the question in the time that passes for those who look.
    world.partners = world.again();
    assert_ne!(world.call(OURS, "GET", &path, Value::Null).await.json()["status"], "FAILED");
    world.ahead.store(60_000, Ordering::Relaxed);
    let failed = world.call(OURS, "GET", &path, Value::Null).await.json();
    assert_eq!(failed["status"], "FAILED", "{failed}");
    assert!(failed["error_message"].as_str().unwrap().contains("ended before the answer"), "{failed}");
}

/// What nobody asks for is done all the same: the answer is not only hidden, its row is gone.
#[tokio::test]
async fn what_is_over_is_forgotten_without_a_request() {
    let world = world(Behaviour { text: Some("Ja [1].".to_owned()), ..Behaviour::tokens(1) }).await;
    let taken = world.call(OURS, "POST", PATH, ask("Wie heißt der Ort?", None)).await.json();
    let id = id(&ended(&world, &id(&taken)).await).parse().unwrap();
    world.ahead.store(7 * 86_400_000 + 1, Ordering::Relaxed);
    let keeper = tokio::spawn(world.partners.clone().tend());
    let project = types::ProjectId(10 + OURS);
    let gone = async {
        while world.store.asked(project, id, types::UnixMillis(0)).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone).await.unwrap();
    keeper.abort();
}

#[tokio::test]
async fn an_answer_is_kept_for_a_week() {
    let world = world(Behaviour { text: Some("Ja [1].".to_owned()), ..Behaviour::tokens(1) }).await;
    let done = world.call(OURS, "POST", PATH, ask("Wie heißt der Ort?", None)).await.json();
    let path = format!("{PATH}/{}", id(&ended(&world, &id(&done)).await));
    const WEEK: i64 = 7 * 86_400_000;
    world.ahead.store(WEEK - 60_000, Ordering::Relaxed);
    assert_eq!(world.call(OURS, "GET", &path, Value::Null).await.status, 200);
    world.ahead.store(WEEK + 1, Ordering::Relaxed);
    assert_eq!(world.call(OURS, "GET", &path, Value::Null).await.status, 404);
}
