//! Questions: from documents to a checked answer, whole and streamed, and what the receipts say of it.

use crate::world::*;
use dialects::grounding::Language;
use serde_json::{Value, json};
use twin::engine::{Before, Behaviour, End};
use types::{Outcome, ReceiptClaims};

const HANDBOOK: &str =
    "Beschäftigte haben Anspruch auf 30 Tage Urlaub im Jahr. In der Probezeit gilt eine Frist von zwei Wochen.";

fn says(text: &str) -> Behaviour {
    Behaviour { text: Some(text.to_owned()), ..Behaviour::tokens(1) }
}

fn ask(more: Value) -> Value {
    let mut body =
        json!({"model": "sonar", "messages": [{"role": "user", "content": "Wie viele Tage Urlaub gibt es?"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn handbook(behaviour: Behaviour) -> World {
    let world = World::start(behaviour).await;
    let attributes = json!({"url": "https://intern.example/handbuch", "title": "Handbuch", "date": "2026-03-01"});
    world.document(OURS, "handbuch.txt", HANDBOOK, attributes).await;
    world
}

fn operations(receipts: &[ReceiptClaims]) -> Vec<(String, Outcome)> {
    receipts.iter().map(|receipt| (receipt.operation.to_string(), receipt.outcome)).collect()
}

#[tokio::test]
async fn an_answer_rests_on_what_was_found_and_its_receipt_names_it() {
    let world = handbook(says("Es sind 30 Tage [1][4]. Mehr weiß ich nicht.")).await;
    for path in ["/chat/completions", "/sonar/chat/completions"] {
        let reply = world.call(OURS, "POST", path, ask(json!({}))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let answer = reply.json();
        assert_eq!(answer["choices"][0]["message"]["content"], "Es sind 30 Tage [1]. Mehr weiß ich nicht. [unbelegt]");
        assert_eq!(answer["citations"], json!(["https://intern.example/handbuch"]));
        assert_eq!((&answer["model"], &answer["search_results"][0]["title"]), (&json!("sonar"), &json!("Handbuch")));
        assert_eq!(answer["grounding"]["foreign"], 1);
        // Two micro-euro for the token of the answer, one for each word of the prompt.
        let usage = &answer["usage"];
        let input = usage["prompt_tokens"].as_u64().unwrap();
        assert_eq!(usage["cost"]["total_cost"], (input + 2) as f64 / 1e6);
        assert_eq!((&usage["num_search_queries"], &usage["search_context_size"]), (&json!(1), &json!("low")));
    }
    let prompt = world.engine.requests()[0].json();
    let task = prompt["messages"][1]["content"].as_str().unwrap().to_owned();
    assert!(task.contains(HANDBOOK) && task.contains("<passage number=\"1\" title=\"Handbuch\""), "{task}");
    assert_eq!(prompt["model"], MODEL);
    let receipts = world.receipts().await;
    let whole = ("chat.completions".to_owned(), Outcome::Completed);
    assert_eq!(operations(&receipts), [whole.clone(), whole]);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, HANDBOOK.as_bytes());
    let hash = format!("sha256:{}", ledger::hash::hex(digest.as_ref()));
    for receipt in &receipts {
        assert_eq!((&*receipt.dialect, receipt.passages.to_vec()), ("sonar", vec![hash.clone()]));
        assert!(receipt.egress.is_none());
    }
}

#[tokio::test]
async fn a_stream_is_checked_on_its_way() {
    let world = handbook(Behaviour { text: Some("30 Tage [1].".to_owned()), ..Behaviour::tokens(3) }).await;
    let reply = world.call(OURS, "POST", "/chat/completions", ask(json!({"stream": true}))).await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().ends_with("data: [DONE]\n\n"));
    let events = reply.events();
    let told: String = events.iter().map(|event| event["choices"][0]["delta"]["content"].as_str().unwrap()).collect();
    assert_eq!(told, "30 Tage [1]. 30 Tage [1]. 30 Tage [1].");
    let last = events.last().unwrap();
    assert_eq!((&last["choices"][0]["message"]["content"], &last["status"]), (&json!(told), &json!("COMPLETED")));
    assert!(last["usage"]["cost"]["total_cost"].as_f64().unwrap() > 0.0);
    assert_eq!(last["grounding"]["uncited"], 0);
    assert!(!reply.receipt().is_empty());
}

#[tokio::test]
async fn what_breaks_off_ends_in_an_error_and_not_in_done() {
    let world = handbook(Behaviour { end: End::DieAfter(2), ..Behaviour::tokens(5) }).await;
    let text = world.call(OURS, "POST", "/chat/completions", ask(json!({"stream": true}))).await.text();
    assert!(text.contains("event: error\ndata: {\"error\":") && !text.contains("[DONE]"), "{text}");
    assert_eq!(world.receipts().await[0].outcome, Outcome::Partial);
}

#[tokio::test]
async fn where_nothing_is_found_no_model_is_asked_and_a_receipt_says_so() {
    let world = handbook(says("Das weiß ich auch so.")).await;
    let nothing = json!({"messages": [{"role": "user", "content": "Quantenchromodynamik?"}]});
    let reply = world.call(OURS, "POST", "/chat/completions", ask(nothing.clone())).await;
    assert_eq!(
        (reply.status, &reply.json()["choices"][0]["message"]["content"]),
        (200, &json!(Language::German.absent()))
    );
    let streamed = ask(json!({"stream": true, "messages": nothing["messages"]}));
    let stream = world.call(OURS, "POST", "/chat/completions", streamed).await;
    assert!(stream.text().contains(Language::German.absent()) && stream.text().ends_with("data: [DONE]\n\n"));
    // A filter that nothing passes is as good as nothing.
    let filtered = ask(json!({"search_domain_filter": ["example.org"]}));
    assert_eq!(world.call(OURS, "POST", "/chat/completions", filtered).await.json()["grounding"]["absent"], true);
    assert_eq!(world.engine.requests().len(), 0);
    let receipts = world.receipts().await;
    assert_eq!(operations(&receipts), vec![("chat.completions".to_owned(), Outcome::Completed); 3]);
    assert!(receipts.iter().all(|receipt| receipt.cost_micro_eur.0 == 0 && &*receipt.model == MODEL));
}

#[tokio::test]
async fn a_refusal_has_openais_envelope_and_a_receipt() {
    let world = handbook(says("x")).await;
    let check = async |body: Value, status: u16, code: &str, param: Value| {
        let reply = world.call(OURS, "POST", "/chat/completions", body.clone()).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &error["code"], &error["param"]), (status, &json!(code), &param), "{body}");
        assert!(!reply.receipt().is_empty());
    };
    check(ask(json!({"search_mode": "academic"})), 400, "invalid_request", json!("search_mode")).await;
    check(ask(json!({"model": "gpt-4"})), 404, "model_not_found", json!("model")).await;
    check(ask(json!({"vector_store_ids": ["vs_unknown"]})), 404, "not_found", Value::Null).await;
    let garbage = world.send(OURS, "POST", "/chat/completions", &[], b"{".to_vec()).await;
    assert_eq!((garbage.status, &garbage.json()["error"]["code"]), (400, &json!("invalid_json")));
    let outcomes: Vec<_> = world.receipts().await.iter().map(|receipt| receipt.outcome).collect();
    assert_eq!(outcomes, [Outcome::Refused; 4]);
    let stranger = axum::http::Request::post("/chat/completions").body(axum::body::Body::from("{}")).unwrap();
    let response = tower::ServiceExt::oneshot(world.partners.router(), stranger).await.unwrap();
    assert_eq!(response.status(), 401);
}

#[tokio::test]
async fn without_a_search_the_model_answers_alone() {
    let world = handbook(says("Ohne Beleg.")).await;
    let reply = world.call(OURS, "POST", "/chat/completions", ask(json!({"disable_search": true}))).await.json();
    assert_eq!(reply["choices"][0]["message"]["content"], "Ohne Beleg.");
    assert_eq!((&reply["citations"], reply.get("grounding")), (&json!([]), None));
    assert_eq!(reply["usage"]["num_search_queries"], 0);
    let prompt = world.engine.requests()[0].json();
    assert_eq!(prompt["messages"].as_array().unwrap().len(), 1);
    assert!(world.receipts().await[0].passages.is_empty());
}

#[tokio::test]
async fn questions_that_could_follow_are_an_inference_of_their_own() {
    let world = handbook(says("Wer zahlt das?")).await;
    let reply =
        world.call(OURS, "POST", "/chat/completions", ask(json!({"return_related_questions": true}))).await.json();
    assert_eq!(reply["related_questions"], json!(["Wer zahlt das?"]));
    assert_eq!(world.engine.requests().len(), 2);
    assert_eq!(world.receipts().await.len(), 2);
}

#[tokio::test]
async fn embeddings_are_receipted_too_and_their_cost_is_shown() {
    let world = World::with(says("Ja [1]."), Setup { embedding: true, ..Setup::default() }).await;
    world.document(OURS, "handbuch.txt", HANDBOOK, json!({})).await;
    let reply = world.call(OURS, "POST", "/chat/completions", ask(json!({}))).await.json();
    let cost = &reply["usage"]["cost"];
    assert_eq!(cost["search_queries_cost"], 0.000006, "six words");
    let receipts = world.receipts().await;
    let operations: Vec<_> = receipts.iter().map(|receipt| (&*receipt.dialect, &*receipt.operation)).collect();
    assert_eq!(operations, [("openai", "embeddings"), ("sonar", "embeddings"), ("sonar", "chat.completions")]);
    let asked: i64 = receipts[1..].iter().map(|receipt| receipt.cost_micro_eur.0).sum();
    assert_eq!(cost["total_cost"], asked as f64 / 1e6, "what is shown is what is booked");
}

/// The client's body decides, and it decides before anything costs: what an engine is asked differs each time.
#[tokio::test]
async fn a_repeat_costs_nothing_again() {
    let setup = Setup { embedding: true, ..Setup::default() };
    let world = World::with(says("30 Tage [1].\nWer zahlt das?"), setup).await;
    world.document(OURS, "handbuch.txt", HANDBOOK, json!({})).await;
    let send = async |path: &str, key: &str, body: Value| {
        world.send(OURS, "POST", path, &[("idempotency-key", key)], body.to_string().into_bytes()).await
    };
    let question = ask(json!({"return_related_questions": true}));
    let streamed = ask(json!({"stream": true}));
    let nothing = ask(json!({"search_domain_filter": ["example.org"]}));
    let search = json!({"query": "Urlaub"});
    for (path, key, body) in [
        ("/chat/completions", "whole", question),
        ("/chat/completions", "stream", streamed),
        ("/chat/completions", "nothing", nothing),
        ("/search", "search", search),
    ] {
        let first = send(path, key, body.clone()).await;
        assert_eq!(first.status, 200, "{key}: {}", first.text());
        if key == "whole" {
            // What is made on the way is not taken for the request itself.
            assert_eq!(first.json()["related_questions"], json!(["Wer zahlt das?"]));
        }
        let (asked, receipts) = (world.engine.requests().len(), world.receipts().await.len());
        let again = send(path, key, body.clone()).await;
        assert_eq!((again.status, again.receipt()), (200, first.receipt()), "{key}: {}", again.text());
        assert_eq!(
            (again.headers["idempotent-replayed"].to_str().unwrap(), &again.body),
            ("true", &first.body),
            "{key}"
        );
        let mut other = body;
        other["messages"] = json!([{"role": "user", "content": "Und wie viele Tage gibt es nicht?"}]);
        other["query"] = json!("anderes");
        let refused = send(path, key, other).await;
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (422, &json!("idempotency_mismatch")), "{key}");
        assert_eq!(world.engine.requests().len(), asked, "{key}: nothing is asked of any engine again");
        assert_eq!(world.receipts().await.len(), receipts + 1, "{key}: the refusal's");
    }
}

/// What a budget has no room for is refused before the question's embedding is made, for which it has.
#[tokio::test]
async fn what_is_not_admitted_costs_no_embedding() {
    let edit: fn(&mut types::Snapshot) = |snapshot| snapshot.projects[0].budget = Some(types::MicroEur(900));
    let world = World::with(says("Ja [1]."), Setup { embedding: true, edit: Some(edit), ..Setup::default() }).await;
    world.document(OURS, "handbuch.txt", HANDBOOK, json!({})).await;
    let reply = world.call(OURS, "POST", "/chat/completions", ask(json!({}))).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (429, &json!("budget_exhausted")));
    assert_eq!(world.engine.requests().len(), 1, "the document's");
    let operations: Vec<_> = world.receipts().await.iter().map(|receipt| receipt.operation.to_string()).collect();
    assert_eq!(operations, ["embeddings", "chat.completions"]);
}

/// What only we filter, whatever retrieval gave: hosts that are left out, and paths.
#[tokio::test]
async fn no_passage_that_a_filter_leaves_out_reaches_the_model() {
    let world = handbook(says("x")).await;
    for filter in
        [json!(["-intern.example"]), json!(["intern.example/personal"]), json!(["-www.intern.example/handbuch"])]
    {
        let reply = world.call(OURS, "POST", "/chat/completions", ask(json!({"search_domain_filter": filter}))).await;
        assert_eq!(reply.json()["grounding"]["absent"], true, "{filter}");
        let search = json!({"query": "Urlaub", "search_domain_filter": filter});
        assert_eq!(world.call(OURS, "POST", "/search", search).await.json()["results"], json!([]), "{filter}");
    }
    assert!(world.engine.requests().is_empty());
    assert!(world.receipts().await.iter().all(|receipt| receipt.passages.is_empty()));
    let kept = ask(json!({"search_domain_filter": ["intern.example/handbuch", "-intern.example/personal"]}));
    assert_eq!(
        world.call(OURS, "POST", "/chat/completions", kept).await.json()["citations"].as_array().unwrap().len(),
        1
    );
}

/// "Not in the documents" would be untrue where they have it and the model has no room for it.
#[tokio::test]
async fn what_was_found_and_does_not_fit_is_not_said_to_be_absent() {
    let edit: fn(&mut types::Snapshot) = |snapshot| snapshot.endpoints[0].context_length = 100;
    let world = World::with(says("x"), Setup { edit: Some(edit), ..Setup::default() }).await;
    world.document(OURS, "lang.txt", &HANDBOOK.repeat(3), json!({})).await;
    let reply = world.call(OURS, "POST", "/chat/completions", ask(json!({}))).await;
    assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!("model")), "{}", reply.text());
    assert!(world.engine.requests().is_empty());
    assert_eq!(world.receipts().await[0].outcome, Outcome::Refused);
}

/// JSON for who only skips over it, as the gateway does: half of a surrogate pair is no text. What cannot be checked does not leave.
#[tokio::test]
async fn an_answer_that_cannot_be_read_is_no_answer() {
    let body = r#"{"choices":[{"message":{"role":"assistant","content":"30 Tage [7] \ud83d"}}]}"#;
    let before =
        Before::Status { status: 200, retry_after: None, content_type: "application/json".into(), body: body.into() };
    let world = handbook(Behaviour::before(before)).await;
    let reply = world.call(OURS, "POST", "/chat/completions", ask(json!({}))).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (502, &json!("engine_failed")));
    assert_eq!(world.receipts().await[0].outcome, Outcome::Failed);
}

#[tokio::test]
async fn search_gives_results_and_asks_no_model() {
    let world = handbook(says("x")).await;
    let reply = world.call(OURS, "POST", "/search", json!({"query": ["Urlaub", "Probezeit"], "max_results": 3})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let results = reply.json()["results"].clone();
    assert_eq!(results.as_array().unwrap().len(), 1);
    assert_eq!((&results[0]["title"], &results[0]["date"]), (&json!("Handbuch"), &json!("2026-03-01")));
    assert!(results[0]["snippet"].as_str().unwrap().contains("30 Tage"));
    let none = world.call(OURS, "POST", "/sonar/search", json!({"query": "Quantenchromodynamik"})).await;
    assert_eq!(none.json()["results"], json!([]));
    assert_eq!(world.call(OURS, "POST", "/search", json!({})).await.status, 400);
    assert_eq!(world.engine.requests().len(), 0);
    let receipts = world.receipts().await;
    let outcomes: Vec<_> =
        receipts.iter().map(|receipt| (&*receipt.operation, receipt.outcome, receipt.passages.len())).collect();
    assert_eq!(
        outcomes,
        [("search", Outcome::Completed, 1), ("search", Outcome::Completed, 0), ("search", Outcome::Refused, 0)]
    );
}
