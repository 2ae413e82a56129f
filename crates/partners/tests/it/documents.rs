//! Files and vector stores in OpenAI's shape: made, listed, searched, deleted, and nobody else's.

use crate::world::*;
use knowledge::{Attributes, BoxFuture, EmbedError, Status};
use serde_json::{Value, json};
use std::time::Duration;
use twin::engine::Behaviour;
use types::{CollectionId, FileId, KeyId, ProjectId};

const TEXT: &str = "Die Kündigungsfrist beträgt vier Wochen zum Monatsende.";

#[tokio::test]
async fn a_file_comes_back_as_it_was_and_is_gone_when_deleted() {
    let world = World::start(Behaviour::default()).await;
    let first = world.upload(OURS, "eins.txt", TEXT).await;
    let second = world.upload(OURS, "zwei.txt", "zwei").await;
    let file = world.call(OURS, "GET", &format!("/v1/files/{first}"), Value::Null).await.json();
    assert_eq!(
        (&file["object"], &file["filename"], &file["bytes"]),
        (&json!("file"), &json!("eins.txt"), &json!(TEXT.len()))
    );
    let content = world.call(OURS, "GET", &format!("/v1/files/{first}/content"), Value::Null).await;
    assert_eq!(content.text(), TEXT);
    assert_eq!(content.headers["content-type"], "application/octet-stream");
    let list = world.call(OURS, "GET", "/v1/files?limit=1", Value::Null).await.json();
    assert_eq!((&list["data"][0]["id"], &list["has_more"]), (&json!(second), &json!(true)));
    let rest = world.call(OURS, "GET", &format!("/v1/files?limit=1&after={second}"), Value::Null).await.json();
    assert_eq!((&rest["data"][0]["id"], &rest["has_more"]), (&json!(first), &json!(false)));
    let gone = world.call(OURS, "DELETE", &format!("/v1/files/{first}"), Value::Null).await.json();
    assert_eq!((&gone["deleted"], &gone["object"]), (&json!(true), &json!("file")));
    assert_eq!(world.call(OURS, "GET", &format!("/v1/files/{first}"), Value::Null).await.status, 404);
}

#[tokio::test]
async fn an_upload_is_bounded_before_it_is_read_and_named_where_it_is_wrong() {
    let world = World::start(Behaviour::default()).await;
    let limit = (32 << 20) + (64 << 10);
    let declared = [("content-type", "multipart/form-data; boundary=B"), ("content-length", &format!("{}", limit + 1))];
    let reply = world.send(OURS, "POST", "/v1/files", &declared, b"--B--".to_vec()).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (413, &json!("body_too_large")));
    let check = async |content_type: &str, body: &[u8], param: &str| {
        let reply = world.send(OURS, "POST", "/v1/files", &[("content-type", content_type)], body.to_vec()).await;
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{}", reply.text());
    };
    check("application/json", b"{}", "file").await;
    check("multipart/form-data; boundary=B", b"--B\r\ncut", "file").await;
    let reply = world.upload_as(OURS, "a.txt", "a", "fine-tune").await;
    assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!("purpose")));
}

#[tokio::test]
async fn a_vector_store_is_searched_and_its_files_are_told() {
    let world = World::start(Behaviour::default()).await;
    let (store, file) = world
        .document(OURS, "frist.txt", TEXT, json!({"team": "hr", "year": 2026, "url": "https://a.example/f"}))
        .await;
    let path = |rest: &str| format!("/v1/vector_stores/{store}{rest}");
    let shown = world.call(OURS, "GET", &path(""), Value::Null).await.json();
    assert_eq!(
        (&shown["status"], &shown["file_counts"]["completed"], &shown["name"]),
        (&json!("completed"), &json!(1), &json!("frist.txt"))
    );
    let search = async |more: Value| {
        let mut body = json!({"query": "Kündigungsfrist"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.call(OURS, "POST", &path("/search"), body).await
    };
    let found = search(json!({})).await.json();
    assert_eq!((&found["data"][0]["file_id"], &found["data"][0]["content"][0]["text"]), (&json!(file), &json!(TEXT)));
    // What was said, and what was found in the document.
    let attributes =
        json!({"team": "hr", "year": "2026", "url": "https://a.example/f", "title": "frist.txt", "language": "de"});
    assert_eq!(found["data"][0]["attributes"], attributes);
    let filter = |value: &str| json!({"filters": {"type": "eq", "key": "team", "value": value}});
    assert_eq!(search(filter("hr")).await.json()["data"].as_array().unwrap().len(), 1);
    assert_eq!(search(filter("it")).await.json()["data"], json!([]));
    assert_eq!(search(json!({"filters": {"type": "ne", "key": "a", "value": "b"}})).await.status, 400);
    assert_eq!(search(json!({"max_num_results": 51})).await.status, 400);
    let files = world.call(OURS, "GET", &path("/files?filter=completed"), Value::Null).await.json();
    assert_eq!((&files["data"][0]["id"], &files["data"][0]["object"]), (&json!(file), &json!("vector_store.file")));
    let content = world.call(OURS, "GET", &path(&format!("/files/{file}/content")), Value::Null).await.json();
    assert_eq!(content["data"][0]["text"], TEXT);
    let modified = world.call(OURS, "POST", &path(""), json!({"name": "neu", "metadata": {"a": "b"}})).await.json();
    assert_eq!((&modified["name"], &modified["metadata"]["a"]), (&json!("neu"), &json!("b")));
    assert_eq!(
        world.call(OURS, "GET", "/v1/vector_stores", Value::Null).await.json()["data"].as_array().unwrap().len(),
        1
    );
    let detached = world.call(OURS, "DELETE", &path(&format!("/files/{file}")), Value::Null).await.json();
    assert_eq!(detached["object"], "vector_store.file.deleted");
    assert_eq!(search(json!({})).await.json()["data"], json!([]));
    let deleted = world.call(OURS, "DELETE", &path(""), Value::Null).await.json();
    assert_eq!((&deleted["deleted"], &deleted["object"]), (&json!(true), &json!("vector_store.deleted")));
    assert_eq!(world.call(OURS, "GET", &path(""), Value::Null).await.status, 404);
}

#[tokio::test]
async fn a_foreign_id_answers_like_an_unknown_one_on_every_path() {
    let world = World::start(Behaviour::default()).await;
    let (store, file) = world.document(OURS, "a.txt", TEXT, json!({})).await;
    let own = world.upload(THEIRS, "b.txt", "b").await;
    let unknown = ("vs_00000000000000000000000007", "file_00000000000000000000000007");
    for (method, path, body) in [
        ("GET", "/v1/files/{file}", Value::Null),
        ("GET", "/v1/files/{file}/content", Value::Null),
        ("DELETE", "/v1/files/{file}", Value::Null),
        ("GET", "/v1/vector_stores/{store}", Value::Null),
        ("POST", "/v1/vector_stores/{store}", json!({"name": "x"})),
        ("DELETE", "/v1/vector_stores/{store}", Value::Null),
        ("POST", "/v1/vector_stores/{store}/search", json!({"query": "x"})),
        ("POST", "/v1/vector_stores/{store}/files", json!({"file_id": own})),
        ("GET", "/v1/vector_stores/{store}/files", Value::Null),
        ("GET", "/v1/vector_stores/{store}/files/{file}", Value::Null),
        ("GET", "/v1/vector_stores/{store}/files/{file}/content", Value::Null),
        ("DELETE", "/v1/vector_stores/{store}/files/{file}", Value::Null),
        ("POST", "/v1/vector_stores", json!({"file_ids": ["{file}"]})),
        (
            "POST",
            "/chat/completions",
            json!({"model": "sonar", "vector_store_ids": ["{store}"], "messages": [{"role": "user", "content": "x"}]}),
        ),
        ("POST", "/search", json!({"query": "x", "vector_store_ids": ["{store}"]})),
    ] {
        let fill = |text: &str, (store, file): (&str, &str)| text.replace("{store}", store).replace("{file}", file);
        let ask = async |ids| {
            let body = serde_json::from_str(&fill(&body.to_string(), ids)).unwrap();
            let reply = world.call(THEIRS, method, &fill(path, ids), body).await;
            (reply.status, reply.text())
        };
        let (foreign, none) = (ask((&store, &file)).await, ask(unknown).await);
        assert_eq!(foreign, none, "{method} {path}");
        assert_eq!(foreign.0, 404, "{method} {path}: {}", foreign.1);
    }
    let (status, body) = {
        let reply = world.call(OURS, "GET", &format!("/v1/vector_stores/{store}/files/{file}"), Value::Null).await;
        (reply.status, reply.json())
    };
    assert_eq!((status, &body["status"]), (200, &json!("completed")), "it was touched by nobody");
}

/// Reads a file, and dies while the embedding endpoint is asked.
async fn cut_off(world: &World, of: (CollectionId, FileId), on_key: KeyId) {
    let (asked, mut hears) = tokio::sync::mpsc::channel(1);
    let never = move |_: Vec<String>| -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> {
        let asked = asked.clone();
        Box::pin(async move {
            asked.send(()).await.unwrap();
            std::future::pending().await
        })
    };
    let knowledge = &world.partners.parts().knowledge;
    let project = ProjectId(10 + OURS);
    let mut reading = Box::pin(knowledge.attach_on(project, of, Attributes::default(), Some(&never), Some(on_key)));
    tokio::select! {
        _ = &mut reading => unreachable!(),
        _ = hears.recv() => {}
    }
}

#[tokio::test]
async fn a_file_that_a_crash_cut_off_gets_its_vectors_on_the_key_of_who_had_it_read() {
    let setup = || Setup { embedding: true, ..Setup::default() };
    let world = World::with(Behaviour::default(), setup()).await;
    let made = world.call(OURS, "POST", "/v1/vector_stores", json!({"name": "c"})).await.json();
    let collection: CollectionId = made["id"].as_str().unwrap().parse().unwrap();
    let mut files = Vec::new();
    // The second one's key is not good any more.
    for (name, key) in [("eins.txt", KeyId(20 + OURS)), ("zwei.txt", KeyId(99))] {
        let file: FileId = world.upload(OURS, name, TEXT).await.parse().unwrap();
        cut_off(&world, (collection, file), key).await;
        files.push(file);
    }
    let (project, next) = (ProjectId(10 + OURS), world.again_with(setup()));
    let tending = tokio::spawn(next.clone().tend());
    let all_read = async {
        loop {
            let all = next.parts().knowledge.attached_all(project, collection).await.unwrap();
            if all.iter().all(|file| file.status == Status::Completed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all_read).await.unwrap();
    tending.abort();
    let bare =
        async |file: usize| world.store.knowledge_without_vector(project, (collection, files[file])).await.unwrap();
    assert_eq!((bare(0).await, bare(1).await), (0, 1));
    let embeddings = async || {
        let receipts = world.receipts().await;
        let made = receipts.iter().filter(|receipt| &*receipt.operation == "embeddings");
        made.map(|receipt| receipt.key).collect::<Vec<_>>()
    };
    assert_eq!(embeddings().await, [KeyId(20 + OURS)]);
    // Whoever attaches it again has the missing ones made.
    let path = format!("/v1/vector_stores/{collection}/files");
    let again = world.call(OURS, "POST", &path, json!({"file_id": files[1]})).await.json();
    assert_eq!(again["status"], "completed", "{again}");
    assert_eq!(bare(1).await, 0);
    assert_eq!(embeddings().await.len(), 2);
}
