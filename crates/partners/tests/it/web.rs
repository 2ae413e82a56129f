//! A provider of web searches, played by a test: asked only where client, operator and policy say so, and never before a receipt.

use crate::world::*;
use knowledge::BoxFuture;
use partners::web::{WebError, WebResult, WebSearch};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use twin::engine::Behaviour;
use types::{EndpointFacts, Outcome, Retention};

/// Answers every query with one page, and remembers what it was told.
struct Played {
    facts: EndpointFacts,
    told: Mutex<Vec<String>>,
    fails: bool,
}

impl WebSearch for Played {
    fn facts(&self) -> &EndpointFacts {
        &self.facts
    }

    fn search<'a>(&'a self, query: &'a str, _: usize) -> BoxFuture<'a, Result<Vec<WebResult>, WebError>> {
        self.told.lock().unwrap().push(query.to_owned());
        let result = WebResult {
            title: "Seite".to_owned(),
            url: "https://web.example/seite".to_owned(),
            text: "Das Wetter wird gut.".to_owned(),
            date: Some("2026-11-27".to_owned()),
        };
        let fails = self.fails;
        Box::pin(async move { if fails { Err(WebError("away".to_owned())) } else { Ok(vec![result]) } })
    }
}

fn played(fails: bool) -> Arc<Played> {
    let facts = EndpointFacts {
        country: "FR".parse().unwrap(),
        site: "web".to_owned(),
        operator: "Suche".to_owned(),
        provider: "suche.example".to_owned(),
        jurisdiction: "FR".parse().unwrap(),
        retention: Retention::Limited,
        attestation: "none".to_owned(),
    };
    Arc::new(Played { facts, told: Mutex::default(), fails })
}

const RULE: &str = "permit (principal, action == Action::\"search_web\", resource) \
    when { resource.provider == \"suche.example\" && context.class_level < 2 };";

async fn world(provider: &Arc<Played>, rules: Vec<&'static str>) -> World {
    let behaviour = Behaviour { text: Some("Gut [1].".to_owned()), ..Behaviour::tokens(1) };
    World::with(behaviour, Setup { web: Some(provider.clone()), rules, embedding: false }).await
}

fn ask(more: Value) -> Value {
    let mut body = json!({"model": "sonar", "messages": [{"role": "user", "content": "Wie wird das Wetter?"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn nothing_leaves_unless_all_three_say_so() {
    let provider = played(false);
    // No rule; a rule for any action, which does not mean this one.
    for rules in [vec![], vec!["permit (principal, action, resource);"]] {
        let world = world(&provider, rules).await;
        let reply = world.call(OURS, "POST", "/chat/completions", ask(json!({"search_mode": "web"}))).await.json();
        assert_eq!(reply["grounding"]["absent"], true);
    }
    let world = world(&provider, vec![RULE]).await;
    // The client does not say so; the data is of a class that the rule does not cover.
    assert_eq!(world.call(OURS, "POST", "/chat/completions", ask(json!({}))).await.json()["grounding"]["absent"], true);
    let body = ask(json!({"search_mode": "web"})).to_string().into_bytes();
    let raised = world.send(OURS, "POST", "/chat/completions", &[("hoheit-data-class", "confidential")], body).await;
    assert_eq!(raised.json()["grounding"]["absent"], true);
    assert!(provider.told.lock().unwrap().is_empty());
    assert!(world.receipts().await.iter().all(|receipt| receipt.egress.is_none()));
}

#[tokio::test]
async fn what_leaves_is_one_query_and_two_receipts_say_so() {
    let provider = played(false);
    let world = world(&provider, vec![RULE]).await;
    let reply = world.call(OURS, "POST", "/chat/completions", ask(json!({"search_mode": "web"}))).await.json();
    assert_eq!(reply["citations"], json!(["https://web.example/seite"]));
    assert_eq!(reply["search_results"][0]["source"], "web");
    assert_eq!(*provider.told.lock().unwrap(), ["Wie wird das Wetter?"]);
    let search = world.call(OURS, "POST", "/search", json!({"query": "Wetter", "search_mode": "web"})).await.json();
    assert_eq!(search["results"][0]["url"], "https://web.example/seite");
    let receipts = world.receipts().await;
    let operations: Vec<_> = receipts.iter().map(|receipt| (&*receipt.operation, receipt.outcome)).collect();
    let completed = |operation| (operation, Outcome::Completed);
    assert_eq!(operations, ["search.web", "chat.completions", "search.web", "search"].map(completed));
    // The step's receipt, fixed before the query left, and the answer's commit to the same query.
    let (step, answer) = (receipts[0].egress.as_ref().unwrap(), receipts[1].egress.as_ref().unwrap());
    assert_eq!((step, step.provider.as_str(), step.jurisdiction.as_str()), (answer, "suche.example", "FR"));
    assert_eq!(receipts[0].policy.rules.to_vec(), ["rule-0"]);
    assert_eq!(receipts[1].passages.len(), 1);
}

#[tokio::test]
async fn a_provider_that_is_away_leaves_the_documents() {
    let provider = played(true);
    let world = world(&provider, vec![RULE]).await;
    world.document(OURS, "wetter.txt", "Das Wetter im Büro ist immer gut.", json!({})).await;
    let reply = world.call(OURS, "POST", "/chat/completions", ask(json!({"search_mode": "web"}))).await.json();
    assert_eq!(reply["search_results"][0]["source"], "attachment", "{reply}");
    assert_eq!(provider.told.lock().unwrap().len(), 1);
}
