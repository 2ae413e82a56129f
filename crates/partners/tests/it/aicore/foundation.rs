//! Foundation models: OpenAI's bodies at a deployment.

use super::client::Client;
use super::world::*;
use serde_json::json;
use types::Outcome;

#[tokio::test]
async fn chat_with_and_without_a_model_in_the_body() {
    let world = World::start(vec![model("nano", says("Hello"))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let deployment = client.deployment("foundation-models", "azure-openai", Some("nano")).await;
    let path = format!("{deployment}/chat/completions?api-version=2024-10-21");
    let body = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8});
    let reply = client.post(&path, &body).await;
    assert_eq!(reply.status, 200);
    insta::assert_snapshot!("chat", reply.exchange);
    let mut named = body.clone();
    named["model"] = json!("nano");
    assert_eq!(client.post(&path, &named).await.status, 200);
    named["model"] = json!("gpt-4o");
    let refused = client.post(&path, &named).await;
    assert_eq!(refused.status, 400);
    insta::assert_snapshot!("chat_of_another_model", refused.exchange);
    let preview = format!("{deployment}/chat/completions?api-version=2025-03-01-preview");
    assert_eq!(client.post(&preview, &body).await.status, 200);
    assert_eq!(client.post(&format!("{deployment}/chat/completions"), &body).await.status, 200);
    assert_eq!(client.post(&format!("{deployment}/chat/completions?api-version=7"), &body).await.status, 400);
    let opensource = client.deployment("foundation-models", "aicore-opensource", Some("nano")).await;
    assert_eq!(client.post(&format!("{opensource}/chat/completions"), &body).await.status, 200);
    let orchestration = client.deployment("orchestration", "orchestration", None).await;
    assert_eq!(client.post(&format!("{orchestration}/chat/completions"), &body).await.status, 404);
    assert_eq!(client.post(&format!("{deployment}/v2/completion"), &body).await.status, 404);
    let receipts = world.receipts().await;
    assert!(receipts.iter().all(|it| it.dialect == "sap"));
    let (answered, refused): (Vec<_>, Vec<_>) = receipts.iter().partition(|it| it.outcome == Outcome::Completed);
    assert!(answered.len() == 5 && answered.iter().all(|it| it.cost_micro_eur.0 > 0));
    // Another model, a version that is none, and two deployments of the other kind.
    assert!(refused.len() == 4 && refused.iter().all(|it| it.outcome == Outcome::Refused));
}

#[tokio::test]
async fn a_stream_is_openais() {
    let world = World::start(vec![model("nano", says("Hello"))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let deployment = client.deployment("foundation-models", "azure-openai", Some("nano")).await;
    let body = json!({"messages": [{"role": "user", "content": "Hi"}], "stream": true});
    let reply = client.post(&format!("{deployment}/chat/completions?api-version=2024-10-21"), &body).await;
    insta::assert_snapshot!("chat_stream", reply.exchange);
    assert!(reply.body.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn vectors() {
    let world = World::start(vec![model("embed", says(""))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let deployment = client.deployment("foundation-models", "azure-openai", Some("embed")).await;
    let reply = client.post(&format!("{deployment}/embeddings?api-version=2024-10-21"), &json!({"input": "Hi"})).await;
    assert_eq!(reply.status, 200);
    insta::assert_snapshot!("embeddings_of_a_model", reply.exchange);
    let by_orchestration = client.deployment("orchestration", "orchestration", None).await;
    let body = json!({
        "config": {"modules": {
            "embeddings": {"model": {"name": "embed", "params": {"encoding_format": "float"}}},
            "masking": {"providers": [{"type": "sap_data_privacy_integration", "method": "anonymization",
                "entities": [{"type": "profile-email"}]}]},
        }},
        "input": {"text": ["write to erika@example.de", "two"], "type": "document"},
    });
    let reply = client.post(&format!("{by_orchestration}/v2/embeddings"), &body).await;
    assert_eq!(reply.status, 200);
    insta::assert_snapshot!("embeddings", reply.exchange);
    let seen = String::from_utf8(world.engine(0).requests().last().unwrap().body.to_vec()).unwrap();
    assert!(seen.contains("MASKED_EMAIL") && !seen.contains("erika"), "{seen}");
}
