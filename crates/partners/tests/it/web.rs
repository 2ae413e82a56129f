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
    World::with(behaviour, Setup { web: Some(provider.clone()), rules, ..Setup::default() }).await
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

/// A provider that is away, or says nothing that passes the filters, takes no place; one page takes one.
#[tokio::test]
async fn documents_fill_the_places_that_the_web_leaves() {
    let sources = async |fails: bool, more: Value| {
        let provider = played(fails);
        let world = world(&provider, vec![RULE]).await;
        for number in 0..6 {
            let text = format!("Das Wetter im Büro {number} ist immer gut.");
            world.document(OURS, &format!("{number}.txt"), &text, json!({"language": "de"})).await;
        }
        let mut body = ask(more);
        body["search_mode"] = json!("web");
        let reply = world.call(OURS, "POST", "/chat/completions", body).await.json();
        let told = provider.told.lock().unwrap().len();
        let of = |source: &str| {
            let results = reply["search_results"].as_array().unwrap();
            results.iter().filter(|result| result["source"] == source).count()
        };
        (of("attachment"), of("web"), told)
    };
    assert_eq!(sources(true, json!({})).await, (5, 0, 1));
    assert_eq!(sources(false, json!({"search_language_filter": ["de"]})).await, (5, 0, 1));
    assert_eq!(sources(false, json!({})).await, (4, 1, 1));
    // One place, and a document has it: nothing leaves for an answer that would be thrown away.
    assert_eq!(sources(false, json!({"num_search_results": 1})).await, (1, 0, 0));
}

/// Admission stands before the egress: what is refused has told nobody anything.
#[tokio::test]
async fn nothing_leaves_for_what_is_not_admitted() {
    type Edit = fn(&mut types::Snapshot);
    let edits: [(&str, Edit); 2] = [
        ("budget_exhausted", |snapshot| snapshot.tenants[0].budget = Some(types::MicroEur(1))),
        ("rate_limited", |snapshot| snapshot.keys[0].limits.requests_per_minute = Some(1)),
    ];
    for (code, edit) in edits {
        let provider = played(false);
        let web: Option<Arc<dyn WebSearch>> = Some(provider.clone());
        let setup = Setup { web, rules: vec![RULE], edit: Some(edit), ..Setup::default() };
        let world = World::with(Behaviour::tokens(1), setup).await;
        assert_eq!(world.call(OURS, "POST", "/search", json!({"query": "Wetter"})).await.status, 200);
        let reply = world.call(OURS, "POST", "/chat/completions", ask(json!({"search_mode": "web"}))).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (429, &json!(code)));
        // A search has no price, and a place among the requests.
        let search = world.call(OURS, "POST", "/search", json!({"query": "Wetter", "search_mode": "web"})).await;
        assert_eq!(search.status, if code == "rate_limited" { 429 } else { 200 });
        let told = if code == "rate_limited" { vec![] } else { vec!["Wetter"] };
        assert_eq!(*provider.told.lock().unwrap(), told);
    }
}

/// Documents are searched with the question before, where the last is short. The web is told the last message and nothing else.
#[tokio::test]
async fn only_the_last_message_leaves() {
    let provider = played(false);
    let world = world(&provider, vec![RULE]).await;
    world.document(OURS, "geburtstag.txt", "Der Geburtstag von Erika ist im Mai.", json!({})).await;
    let messages = json!([
        {"role": "user", "content": "Wann ist der Geburtstag von Erika?"},
        {"role": "assistant", "content": "Im Mai."},
        {"role": "user", "content": "Und das Wetter?"},
    ]);
    let reply =
        world.call(OURS, "POST", "/chat/completions", ask(json!({"messages": messages, "search_mode": "web"}))).await;
    assert_eq!(*provider.told.lock().unwrap(), ["Und das Wetter?"]);
    let titles = reply.json()["search_results"].clone();
    assert_eq!((titles.as_array().unwrap().len(), &titles[0]["source"]), (2, &json!("attachment")), "{titles}");
}

/// Also where no model was asked, and where several queries left.
#[tokio::test]
async fn what_left_stands_in_every_receipt_of_its_request() {
    let provider = played(false);
    let world = world(&provider, vec![RULE]).await;
    let nothing = json!({"search_mode": "web", "search_domain_filter": ["example.org"]});
    let absent = world.call(OURS, "POST", "/chat/completions", ask(nothing)).await;
    assert_eq!(absent.json()["grounding"]["absent"], true);
    let search = json!({"query": ["Wetter", "Regen"], "search_mode": "web"});
    assert_eq!(world.call(OURS, "POST", "/search", search).await.status, 200);
    // None leaves: none is said to have left.
    assert_eq!(world.call(OURS, "POST", "/search", json!({"query": "Wetter"})).await.status, 200);
    let committed = |text: &str| {
        use base64::Engine as _;
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[0x11; 32]);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()))
    };
    let receipts = world.receipts().await;
    let told: Vec<_> = receipts
        .iter()
        .map(|receipt| (&*receipt.operation, receipt.egress.as_ref().map(|egress| egress.query_commitment.clone())))
        .collect();
    assert_eq!(
        told,
        [
            ("search.web", Some(committed("Wie wird das Wetter?"))),
            ("chat.completions", Some(committed("Wie wird das Wetter?"))),
            ("search.web", Some(committed("Wetter"))),
            ("search.web", Some(committed("Regen"))),
            ("search", Some(committed("Wetter\nRegen"))),
            ("search", None),
        ]
    );
}
