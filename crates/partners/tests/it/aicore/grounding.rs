//! Grounding on the project's collections.

use super::client::{Client, completion};
use super::world::*;
use serde_json::{Value, json};

fn grounded(collections: &Value) -> Value {
    let mut body =
        completion("nano", "{{?question}}\n{{?found}}", json!({"question": "Wie viele Urlaubstage gibt es?"}));
    body["config"]["modules"]["grounding"] = json!({"type": "document_grounding_service", "config": {
        "filters": [{"id": "f", "data_repository_type": "vector", "data_repositories": collections,
            "search_config": {"max_chunk_count": 2}}],
        "placeholders": {"input": ["question"], "output": "found"}}});
    body
}

#[tokio::test]
async fn the_passages_are_in_the_prompt_and_in_the_receipt() {
    let world = World::start(vec![model("nano", says("30 Tage."))]).await;
    let collection =
        world.document(PROJECT, "Alle Beschäftigten haben 30 Tage Urlaub im Jahr, also 30 Urlaubstage.").await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let reply = client.complete(&grounded(&json!(["*"]))).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    insta::assert_snapshot!("completion_grounded", reply.exchange);
    let seen = world.engine(0).requests()[0].json();
    assert!(seen["messages"][0]["content"].as_str().unwrap().contains("30 Tage Urlaub"), "{seen}");
    let receipts = world.receipts().await;
    assert_eq!(receipts.last().unwrap().passages.len(), 1);
    assert!(receipts.last().unwrap().passages[0].starts_with("sha256:"));
    assert_eq!(client.complete(&grounded(&json!([collection]))).await.status, 200);
}

#[tokio::test]
async fn another_projects_documents_are_not_there() {
    let world = World::start(vec![model("nano", says("Keine Ahnung."))]).await;
    let collection = world.document(OTHER_PROJECT, "Geheim: Urlaubstage gibt es keine.").await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let reply = client.complete(&grounded(&json!(["*"]))).await;
    assert_eq!(reply.json()["intermediate_results"]["grounding"]["message"], "no document matched");
    let seen = String::from_utf8(world.engine(0).requests()[0].body.to_vec()).unwrap();
    assert!(!seen.contains("Geheim"), "{seen}");
    let named = client.complete(&grounded(&json!([collection]))).await;
    assert_eq!((named.status, &named.json()["error"]["location"]), (404, &json!("Grounding Module")));
    let id = json!(collection).as_str().unwrap().to_owned();
    insta::assert_snapshot!("completion_grounding_unknown", named.exchange.replace(&id, "vs_…"));
}
