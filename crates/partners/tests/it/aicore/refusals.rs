//! What is refused, in which of the two shapes.

use super::client::{Client, completion};
use super::world::*;
use serde_json::{Value, json};
use types::{Code, MicroEur, Outcome};

/// One of the two shapes, and nothing of the other.
fn assert_shape(body: &Value, orchestration: bool) {
    let error = &body["error"];
    let has = |name: &str| error.get(name).is_some();
    assert!(error["message"].is_string());
    match orchestration {
        true => assert!(error["code"].is_u64() && has("request_id") && has("location") && !has("requestId"), "{body}"),
        false => assert!(error["code"].is_string() && has("requestId") && has("target") && !has("location"), "{body}"),
    }
}

#[tokio::test]
async fn modules_placeholders_and_bodies() {
    let world = World::start(vec![model("nano", says("Hello"))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let with = |name: &str, module: Value| {
        let mut body = completion("nano", "Hi", json!({}));
        body["config"]["modules"][name] = module;
        body
    };
    let mut reference = completion("nano", "Hi", json!({}));
    reference["config"]["modules"]["prompt_templating"]["prompt"] = json!({"template_ref": {"id": "x"}});
    let mut refused = Vec::new();
    let shoes = json!({"providers": [{"type": "sap_data_privacy_integration", "method": "anonymization",
        "entities": [{"type": "profile-shoe-size"}]}]});
    for (name, body) in [
        ("refused_filtering", with("filtering", json!({"input": {"filters": [{"type": "azure_content_safety"}]}}))),
        ("refused_translation", with("translation", json!({"input": {"type": "sap_document_translation"}}))),
        ("refused_module_unknown", with("telepathy", json!({}))),
        ("refused_entity_unknown", with("masking", shoes)),
        ("refused_template_ref", reference),
        ("refused_placeholder_missing", completion("nano", "Hi {{?who}}", json!({}))),
        ("refused_placeholder_unused", completion("nano", "Hi", json!({"who": "x"}))),
        ("refused_model_unknown", completion("gone", "Hi", json!({}))),
    ] {
        let reply = client.complete(&body).await;
        assert_eq!(reply.status, 400, "{name}");
        refused.push(reply.headers["hoheit-receipt"].to_str().unwrap().to_owned());
        assert_shape(&reply.json(), true);
        insta::assert_snapshot!(name, reply.exchange);
    }
    assert!(world.engine(0).requests().is_empty(), "nothing of it reached the engine");
    // Every request of a known principal leaves one receipt, also one that the shell refuses by itself.
    let receipts = world.receipts().await;
    assert_eq!(receipts.iter().map(|receipt| receipt.jti.to_string()).collect::<Vec<_>>(), refused);
    for receipt in &receipts {
        assert_eq!((&*receipt.dialect, &*receipt.operation), ("sap", "chat.completions"));
        assert_eq!((receipt.outcome, receipt.cost_micro_eur.0), (Outcome::Refused, 0));
        assert!(!receipt.request_commitment.is_empty());
    }
}

/// What no inference is leaves none: a stranger's request, a list, a path that there is not. And what the shell refuses has its place
/// among the requests per minute.
#[tokio::test]
async fn which_refusals_leave_a_receipt() {
    let world = World::with(vec![model("nano", says("Hello"))], |snapshot| {
        snapshot.projects[0].limits.requests_per_minute = Some(1);
    })
    .await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let nowhere = "/v2/inference/deployments/d00000000000000000000000001";
    let stranger = client.with_token(None).post(&format!("{nowhere}/v2/completion"), &json!({})).await;
    let list = client.get("/v2/lm/deployments/nonsense").await;
    let path = client.post(&format!("{nowhere}/v2/poems"), &json!({})).await;
    let method = client.get(&format!("{nowhere}/v2/completion")).await;
    for reply in [&stranger, &list, &path, &method] {
        assert!(!reply.headers.contains_key("hoheit-receipt"), "{}", reply.exchange);
    }
    let group = client.in_group("nowhere").post(&format!("{nowhere}/embeddings"), &json!({})).await;
    let over = client.post(&format!("{nowhere}/v2/completion"), &json!({})).await;
    assert_eq!((group.status, over.status), (404, 429));
    assert_shape(&over.json(), true);
    let named = [&group, &over].map(|reply| reply.headers["hoheit-receipt"].to_str().unwrap());
    let receipts = world.receipts().await;
    assert_eq!(receipts.iter().map(|receipt| receipt.jti.to_string()).collect::<Vec<_>>(), named);
    let told: Vec<_> = receipts.iter().map(|receipt| (&*receipt.operation, receipt.code.unwrap())).collect();
    assert_eq!(told, [("embeddings", Code::NotFound), ("chat.completions", Code::RateLimited)]);
}

/// Both of SAP's clients try 429 again: it always says when.
#[tokio::test]
async fn too_many_in_both_shapes() {
    let world = World::with(vec![model("nano", says("Hello"))], |snapshot| {
        snapshot.projects[0].limits.requests_per_minute = Some(1);
    })
    .await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    assert_eq!(client.complete(&completion("nano", "Hi", json!({}))).await.status, 200);
    let orchestration = client.complete(&completion("nano", "Hi", json!({}))).await;
    let deployment = client.deployment("foundation-models", "azure-openai", None).await;
    let chat = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let api = client.post(&format!("{deployment}/chat/completions"), &chat).await;
    for (reply, shape) in [(&orchestration, true), (&api, false)] {
        assert_eq!(reply.status, 429);
        assert_shape(&reply.json(), shape);
        let seconds: u64 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert!(reply.headers.contains_key("hoheit-receipt"), "refused, and receipted");
    }
    let budget = World::with(vec![model("nano", says("Hello"))], |snapshot| {
        snapshot.tenants[0].budget = Some(MicroEur(1));
    })
    .await;
    let client = Client::of(&budget.url, &KEY.to_string(), &key_text(KEY)).await;
    let broke = client.complete(&completion("nano", "Hi", json!({}))).await;
    assert_eq!((broke.status, broke.headers["retry-after"].to_str().unwrap()), (429, "3600"));
    insta::assert_snapshot!("budget_exhausted", broke.exchange);
}
