//! `/v2/completion`, whole answers: templates, masking, fallback, and what their receipts say.

use super::client::{Client, completion};
use super::world::*;
use serde_json::{Value, json};
use twin::engine::{Before, Behaviour, Script};
use types::Outcome;

#[tokio::test]
async fn a_template_a_history_and_an_answer() {
    let world = World::start(vec![model("nano", says("Hello"))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let mut body = completion("nano", "Hi {{?name}}, in {{ ?language }}", json!({"name": "Erika"}));
    let templating = &mut body["config"]["modules"]["prompt_templating"];
    templating["prompt"]["defaults"] = json!({"language": "German"});
    templating["model"] = json!({"name": "nano", "version": "latest", "params": {"max_tokens": 9, "temperature": 0.5},
        "timeout": 60, "max_retries": 2});
    body["messages_history"] = json!([{"role": "system", "content": "Be brief."}]);
    let reply = client.complete(&body).await;
    assert_eq!(reply.status, 200);
    insta::assert_snapshot!("completion", reply.exchange);
    let asked = world.engine(0).requests()[0].json();
    let expect =
        json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi Erika, in German"}]);
    assert_eq!((&asked["messages"], &asked["temperature"]), (&expect, &json!(0.5)));
    // One receipt, which commits to what the client sent and got.
    let receipts = world.receipts().await;
    assert_eq!(receipts.len(), 1);
    let committed = |text: &str| {
        use base64::Engine as _;
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[0x11; 32]);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()))
    };
    assert_eq!((&*receipts[0].dialect, receipts[0].outcome), ("sap", Outcome::Completed));
    assert_eq!(receipts[0].request_commitment, committed(&body.to_string()));
    assert_eq!(receipts[0].answer_commitment, Some(committed(&reply.body)));
    assert_eq!(reply.headers["hoheit-receipt"].to_str().unwrap(), receipts[0].jti.to_string());
}

fn masked(method: &str) -> Value {
    let mut body = completion(
        "nano",
        "Schreibe {{?to}} wegen {{?iban}}.",
        json!({
        "to": "erika.mustermann@example.de", "iban": "DE89 3704 0044 0532 0130 00"}),
    );
    body["config"]["modules"]["masking"] = json!({"providers": [{"type": "sap_data_privacy_integration", "method": method,
        "entities": [{"type": "profile-email"}, {"type": "profile-iban"}]}]});
    body
}

#[tokio::test]
async fn the_model_sees_pseudonyms_and_the_client_does_not() {
    let world = World::start(vec![model("nano", says("An MASKED_EMAIL_1: MASKED_IBAN_1 stimmt."))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let reply = client.complete(&masked("pseudonymization")).await;
    insta::assert_snapshot!("completion_pseudonyms", reply.exchange);
    let seen = String::from_utf8(world.engine(0).requests()[0].body.to_vec()).unwrap();
    assert!(!seen.contains("erika") && !seen.contains("3704"), "{seen}");
    let content = &reply.json()["final_result"]["choices"][0]["message"]["content"];
    assert_eq!(content, "An erika.mustermann@example.de: DE89 3704 0044 0532 0130 00 stimmt.");
}

#[tokio::test]
async fn what_was_anonymised_stays_so() {
    let world = World::start(vec![model("nano", says("An MASKED_EMAIL: gut."))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let reply = client.complete(&masked("anonymization")).await;
    insta::assert_snapshot!("completion_anonymous", reply.exchange);
    let content = &reply.json()["final_result"]["choices"][0]["message"]["content"];
    assert_eq!(content, "An MASKED_EMAIL: gut.");
}

/// Configurations of these models, best first.
pub fn fallback(models: &[&str]) -> Value {
    let one = |model: &&str| completion(model, "Hi", json!({}))["config"]["modules"].clone();
    json!({"config": {"modules": models.iter().map(one).collect::<Vec<_>>()}})
}

#[tokio::test]
async fn the_next_configuration_answers_where_the_first_cannot() {
    let broken = Behaviour::before(Before::error(500));
    let world = World::start(vec![model("broken", broken), model("nano", says("Hello"))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let reply = client.complete(&fallback(&["gone", "broken", "nano"])).await;
    assert_eq!(reply.status, 200);
    insta::assert_snapshot!("completion_fallback", reply.exchange);
    let failures = reply.json()["intermediate_failures"].clone();
    assert_eq!(failures[0]["code"], 400, "a model that there is not");
    assert!(failures[1]["code"].as_u64().unwrap() >= 500);
    // Each attempt has its receipt, the refused one too.
    let outcomes: Vec<Outcome> = world.receipts().await.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [Outcome::Refused, Outcome::Failed, Outcome::Completed]);
}

#[tokio::test]
async fn when_all_fail_their_errors_are_a_list_and_the_last_is_the_status() {
    let world = World::start(vec![model("broken", Behaviour::before(Before::error(500)))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let reply = client.complete(&fallback(&["broken", "gone"])).await;
    assert_eq!(reply.status, 400);
    insta::assert_snapshot!("completion_all_failed", reply.exchange);
    // What the caller has to mend is not tried elsewhere.
    let refusing = Behaviour::before(Before::error(422));
    let world = World::start(vec![model("refusing", refusing), model("nano", says("Hello"))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let reply = client.complete(&fallback(&["refusing", "nano"])).await;
    assert_eq!(reply.status, 422);
    assert!(reply.json()["error"].is_object());
    assert!(world.engine(1).requests().is_empty());
}

#[tokio::test]
async fn a_version_that_there_is_not_goes_on_to_the_next() {
    let world = World::start(vec![model("nano", says("Hello"))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let mut body = fallback(&["nano", "nano"]);
    body["config"]["modules"][0]["prompt_templating"]["model"]["version"] = json!("2024-08-06");
    let reply = client.complete(&body).await;
    assert_eq!(reply.status, 200);
    assert!(reply.json()["intermediate_failures"][0]["message"].as_str().unwrap().contains("2024-08-06"));
}

/// A model that does not answer in the time that the configuration gives it: 408, or the next one.
#[tokio::test]
async fn time_runs_out() {
    let world = World::start(vec![model("slow", Behaviour::before(Before::Hang)), model("nano", says("Hello"))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let mut body = fallback(&["slow", "nano"]);
    body["config"]["modules"][0]["prompt_templating"]["model"]["timeout"] = json!(1);
    let reply = client.complete(&body).await;
    assert_eq!((reply.status, &reply.json()["intermediate_failures"][0]["code"]), (200, &json!(408)));
    body["config"]["modules"].as_array_mut().unwrap().pop();
    let reply = client.complete(&body).await;
    assert_eq!(reply.status, 408);
    insta::assert_snapshot!("completion_timeout", reply.exchange);
    // Given up as if the client had left: the engine is told, and the receipt that the answer names says so.
    world.engine(0).until_ended(2).await;
    let named = reply.headers["hoheit-receipt"].to_str().unwrap();
    let receipts = world.receipts().await;
    let receipt = receipts.iter().find(|receipt| receipt.jti.to_string() == named).expect("its receipt");
    assert_eq!(receipt.outcome, Outcome::Aborted);
}

/// The client's body decides. What an engine is asked differs each time where values are invented in place of the client's.
#[tokio::test]
async fn a_repeat_is_the_same_request_whatever_becomes_of_it() {
    let broken = Behaviour::before(Before::error(500));
    let world = World::start(vec![model("nano", says("Hello")), model("broken", broken)]).await;
    let document = "Alle Beschäftigten haben 30 Tage Urlaub im Jahr.";
    world.document(PROJECT, document).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let mut invented = masked("pseudonymization");
    invented["config"]["modules"]["masking"]["providers"][0]["entities"] = json!([
        {"type": "profile-email", "replacement_strategy": {"method": "fabricated_data"}}, {"type": "profile-iban"}]);
    let mut grounded = completion("nano", "{{?q}} {{?found}}", json!({"q": "Wie viele Tage Urlaub?"}));
    grounded["config"]["modules"]["grounding"] = json!({"type": "document_grounding_service", "config": {
        "filters": [{"id": "f", "data_repository_type": "vector", "data_repositories": ["*"]}],
        "placeholders": {"input": ["q"], "output": "found"}}});
    for (key, body) in [("one", invented), ("two", grounded), ("three", fallback(&["gone", "broken", "nano"]))] {
        let repeating = client.repeating(key);
        let first = repeating.complete(&body).await;
        assert_eq!(first.status, 200, "{key}: {}", first.body);
        let again = repeating.complete(&body).await;
        assert_eq!((again.status, &again.headers["hoheit-receipt"]), (200, &first.headers["hoheit-receipt"]), "{key}");
        assert_eq!(
            (again.headers["idempotent-replayed"].to_str().unwrap(), &again.body),
            ("true", &first.body),
            "{key}"
        );
        let other = repeating.complete(&completion("nano", "Something else", json!({}))).await;
        assert_eq!(other.status, 422, "{key}: {}", other.body);
    }
    assert_eq!(world.engine(0).requests().len(), 3);
    let seen = String::from_utf8(world.engine(0).requests()[1].body.to_vec()).unwrap();
    assert!(seen.contains(document), "{seen}");
    // Of two deployments the same body asks for two things.
    let chat = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let (azure, opensource) = (
        client.deployment("foundation-models", "azure-openai", Some("nano")).await,
        client.deployment("foundation-models", "aicore-opensource", Some("nano")).await,
    );
    let repeating = client.repeating("four");
    assert_eq!(repeating.post(&format!("{azure}/chat/completions"), &chat).await.status, 200);
    assert_eq!(repeating.post(&format!("{opensource}/chat/completions"), &chat).await.status, 422);
}

/// JSON for who only skips over it: half of a surrogate pair is no text. The status says what the body says.
#[tokio::test]
async fn an_answer_that_cannot_be_read_has_the_status_of_a_failure() {
    let unread = |body: &str| {
        Behaviour::before(Before::Status {
            status: 200,
            retry_after: None,
            content_type: "application/json".into(),
            body: body.into(),
        })
    };
    let world = World::start(vec![
        model("odd", unread(r#"{"choices":[{"message":{"content":"\ud83d"}}]}"#)),
        model("embed", unread(r#"{"data":[],"model":"\ud83d"}"#)),
        model("nano", says("Hello")),
    ])
    .await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let reply = client.complete(&fallback(&["odd"])).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (502, &json!(502)), "{}", reply.body);
    assert!(reply.headers.contains_key("hoheit-receipt"));
    // So the next configuration is asked.
    assert_eq!(client.complete(&fallback(&["odd", "nano"])).await.status, 200);
    let deployment = client.deployment("orchestration", "orchestration", None).await;
    let body = json!({"config": {"modules": {"embeddings": {"model": {"name": "embed"}}}}, "input": {"text": "a"}});
    assert_eq!(client.post(&format!("{deployment}/v2/embeddings"), &body).await.status, 502);
    let outcomes: Vec<Outcome> = world.receipts().await.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [Outcome::Failed, Outcome::Failed, Outcome::Completed, Outcome::Failed]);
}

#[tokio::test]
async fn tools_and_formats_reach_the_engine() {
    let world = World::start(vec![model("nano", Script::always(says("Hello")))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let mut body = completion("nano", "Wetter?", json!({}));
    let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]);
    body["config"]["modules"]["prompt_templating"]["prompt"]["tools"] = tools.clone();
    body["config"]["modules"]["prompt_templating"]["prompt"]["response_format"] = json!({"type": "text"});
    let reply = client.complete(&body).await;
    assert_eq!(reply.status, 200);
    insta::assert_snapshot!("completion_tool_call", reply.exchange);
    let asked = world.engine(0).requests()[0].json();
    assert_eq!((&asked["tools"], &asked["response_format"]), (&tools, &json!({"type": "text"})));
}
