//! Another dialect through the door within the process: one pipeline, one receipt, and commitments to what the client saw.

use crate::world::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Bytes, BytesMut};
use gateway::Operation;
use gateway::inner::{Ask, Begun, Dialect, Inner, PASSAGES_MAX, Prompt, Said, Step, Translator, Unreadable};
use http::HeaderMap;
use http_body_util::BodyExt;
use serde_json::json;
use twin::engine::{Behaviour, End, ScriptedEngine};
use types::receipt::Egress;
use types::{Code, MicroEur, Outcome};

/// A dialect that shouts: whole answers in capitals, events counted and held back until the end.
#[derive(Default)]
struct Shouting {
    events: usize,
}

impl Translator for Shouting {
    fn whole(&mut self, body: Bytes) -> Result<Bytes, Unreadable> {
        let text = String::from_utf8_lossy(&body).to_uppercase();
        if text.contains("MUMBLING") { Err(Unreadable) } else { Ok(text.into()) }
    }

    fn events(&mut self, events: &[u8], out: &mut BytesMut) {
        let text = String::from_utf8_lossy(events);
        self.events += text.matches("data: ").count();
        out.extend_from_slice(text.to_uppercase().as_bytes());
    }

    fn flush(&mut self, out: &mut BytesMut) {
        out.extend_from_slice(format!("data: held back, {} events\n\n", self.events).as_bytes());
    }

    fn last(&mut self) -> Bytes {
        Bytes::from_static(b"data: OVER\n\n")
    }

    fn broken(&mut self, code: Code, _: &str) -> Bytes {
        format!("data: broken, {}\n\n", code.as_str()).into()
    }
}

fn ask(stream: bool) -> Ask {
    Ask {
        dialect: Dialect::Sonar,
        operation: Operation::ChatCompletions,
        headers: HeaderMap::new(),
        body: chat(json!({"stream": stream})).to_string().into(),
        client_body: Bytes::from_static(b"AS THE CLIENT SAID IT"),
        target: String::new(),
        passages: vec!["sha256:aa".to_owned(), "sha256:bb".to_owned()],
        egress: Some(Egress {
            provider: "web.example".to_owned(),
            jurisdiction: "FR".parse().unwrap(),
            query_commitment: "c".to_owned(),
        }),
        translator: Some(Box::new(Shouting::default())),
    }
}

async fn asked(world: &World, ask: Ask) -> (u16, HeaderMap, Bytes) {
    let inner = Inner::new(world.gateway.clone());
    let principal = inner.principal(KEY).unwrap();
    let (head, body) = inner.ask(&principal, ask).await.into_parts();
    (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes())
}

fn committed(bytes: &[u8]) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[0x11; 32]);
    URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, bytes))
}

#[tokio::test]
async fn a_receipt_commits_to_what_the_client_sent_and_got_in_its_own_dialect() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let (status, headers, whole) = asked(&world, ask(false)).await;
    assert_eq!(status, 200);
    assert!(headers.contains_key("hoheit-receipt"));
    assert!(whole.starts_with(b"{\"") && whole.to_ascii_uppercase() == whole, "{whole:?}");
    let (status, _, stream) = asked(&world, ask(true)).await;
    assert_eq!(status, 200);
    let before_the_end = stream.strip_suffix(b"data: OVER\n\n").expect("the dialect's own closing event");
    let text = std::str::from_utf8(before_the_end).unwrap();
    let events = text.matches("DATA: ").count();
    assert!(text.ends_with(&format!("data: held back, {events} events\n\n")) && events >= 3, "{text}");
    assert!(!text.contains("[DONE]") && !text.contains("\"choices\""));
    let receipts = world.receipts().await;
    assert_eq!(receipts.len(), 2);
    for (receipt, answer) in receipts.iter().zip([&whole[..], before_the_end]) {
        assert_eq!((&*receipt.dialect, receipt.outcome), ("sonar", Outcome::Completed));
        assert_eq!(receipt.request_commitment, committed(b"AS THE CLIENT SAID IT"));
        assert_eq!(receipt.answer_commitment, Some(committed(answer)));
        assert_eq!(&*receipt.passages, ["sha256:aa", "sha256:bb"]);
        assert_eq!(receipt.egress.as_ref().unwrap().provider, "web.example");
        assert!(receipt.cost_micro_eur.0 > 0 && receipt.usage.output == 3);
    }
    assert_eq!((receipts[0].seq, receipts[1].seq), (1, 2));
}

#[tokio::test]
async fn what_breaks_off_is_said_in_the_dialect_and_nothing_held_back_is_taken_for_an_end() {
    let engine = ScriptedEngine::start(Behaviour { end: End::DieAfter(2), ..Behaviour::tokens(5) }).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let (_, _, stream) = asked(&world, ask(true)).await;
    let text = String::from_utf8(stream.to_vec()).unwrap();
    assert!(text.ends_with("data: broken, stream_broken\n\n"), "{text}");
    assert!(!text.contains("held back") && !text.contains("OVER"), "{text}");
    assert_eq!(world.receipts().await[0].outcome, Outcome::Partial);
}

#[tokio::test]
async fn a_refusal_is_receipted_in_the_dialect_and_a_revoked_key_has_no_door() {
    let world = Setup::new().start().await;
    let (status, headers, body) = asked(&world, ask(false)).await;
    assert_eq!(status, 404);
    assert!(headers.contains_key("hoheit-receipt") && body.starts_with(b"{\"error\""), "{body:?}");
    let inner = Inner::new(world.gateway.clone());
    let principal = inner.principal(KEY).unwrap();
    let mut snapshot = Setup::new().snapshot;
    snapshot.version = 2;
    snapshot.keys[0].revoked = true;
    world.gateway.publish(&signed(snapshot, types::UnixMillis(jiff_now()))).unwrap();
    assert_eq!(inner.principal(KEY).err().map(|refusal| refusal.code), Some(Code::KeyRevoked));
    let late = inner.ask(&principal, ask(false)).await;
    assert_eq!(late.status(), 401, "a principal that was made before the key was revoked");
    let receipts = world.receipts().await;
    assert_eq!(receipts.len(), 1);
    assert_eq!((&*receipts[0].dialect, receipts[0].outcome), ("sonar", Outcome::Refused));
}

/// The wall clock, for a snapshot that is younger than the first.
fn jiff_now() -> i64 {
    gateway::Clock::now(&gateway::SystemClock::start()).0
}

#[tokio::test]
async fn a_repeat_gets_the_same_answer_and_another_dialect_is_another_request() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let with_key = |dialect| {
        let mut ask = Ask { dialect, ..ask(true) };
        ask.headers.insert("idempotency-key", "job".parse().unwrap());
        // It is of another body, and means nothing here.
        ask.headers.insert("content-length", "99999999999".parse().unwrap());
        ask
    };
    let (_, first_headers, first) = asked(&world, with_key(Dialect::Sonar)).await;
    let (_, again_headers, again) = asked(&world, with_key(Dialect::Sonar)).await;
    assert_eq!((&first, &first_headers["hoheit-receipt"]), (&again, &again_headers["hoheit-receipt"]));
    assert!(first.ends_with(b"data: OVER\n\n"));
    assert_eq!(asked(&world, with_key(Dialect::Sap)).await.0, 422);
    assert_eq!(engine.requests().len(), 1);
    world.receipts().await;
}

/// What became of it on the way to the engine (a seed, a passage that was found) makes it no other request; what the client sent, and
/// where, does.
#[tokio::test]
async fn a_repeat_is_compared_by_what_the_client_sent() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let named = |seed: u64, client_body: &'static str, target: &str| {
        let body = chat(json!({"seed": seed})).to_string().into();
        let mut ask = Ask { body, client_body: client_body.into(), target: target.to_owned(), ..ask(false) };
        ask.headers.insert("idempotency-key", "job".parse().unwrap());
        ask
    };
    let (status, headers, first) = asked(&world, named(1, "one", "d1")).await;
    assert_eq!(status, 200);
    let (status, again, repeated) = asked(&world, named(2, "one", "d1")).await;
    assert_eq!((status, &again["hoheit-receipt"], repeated), (200, &headers["hoheit-receipt"], first));
    assert_eq!(asked(&world, named(1, "two", "d1")).await.0, 422);
    assert_eq!(asked(&world, named(1, "one", "d2")).await.0, 422);
    assert_eq!(engine.requests().len(), 1);
    world.receipts().await;
}

async fn begun(world: &World, ask: Ask) -> Result<Begun, u16> {
    let inner = Inner::new(world.gateway.clone());
    let begun = inner.begin(&inner.principal(KEY).unwrap(), ask).await;
    begun.map_err(|answer| answer.status().as_u16())
}

fn prompt(content: &str) -> Prompt {
    Prompt {
        body: chat(json!({"messages": [{"role": "user", "content": content}]})).to_string().into(),
        passages: vec!["sha256:cc".to_owned()],
        translator: None,
    }
}

fn egress(query: &str) -> Egress {
    Egress {
        provider: "web.example".to_owned(),
        jurisdiction: "FR".parse().unwrap(),
        query_commitment: query.to_owned(),
    }
}

#[tokio::test]
async fn what_was_begun_ends_in_one_receipt_however_it_ends() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let begin = async || begun(&world, ask(false)).await.unwrap();
    let mut asked = begin().await;
    asked.left(egress("asked"));
    let id = asked.receipt();
    assert_eq!(asked.ask_with(prompt("with what was found")).await.status(), 200);
    let mut answered = begin().await;
    answered.left(egress("answered"));
    assert_eq!(answered.say(vec![], Said::Whole("nothing".into())).await.status(), 200);
    let mut refused = begin().await;
    refused.left(egress("refused"));
    assert_eq!(refused.refuse(gateway::Refusal::new(Code::NotFound, "no")).await.status(), 404);
    let mut dropped = begin().await;
    dropped.left(egress("dropped"));
    drop(dropped);
    let changed = Prompt { body: chat(json!({"model": "another"})).to_string().into(), ..prompt("") };
    assert_eq!(begin().await.ask_with(changed).await.status(), 500, "a verdict is of one model");
    let receipts = world.receipts().await;
    let told = |at: usize| (receipts[at].outcome, receipts[at].egress.as_ref().unwrap().query_commitment.as_str());
    assert_eq!(
        [0, 1, 2, 3].map(told),
        [
            (Outcome::Completed, "asked"),
            (Outcome::Completed, "answered"),
            (Outcome::Refused, "refused"),
            (Outcome::Aborted, "dropped"),
        ]
    );
    assert_eq!((receipts[0].jti, receipts[0].passages.to_vec()), (id, vec!["sha256:cc".to_owned()]));
    assert!(receipts[0].cost_micro_eur.0 > 0 && receipts[0].policy.permit);
    assert!(receipts[1..].iter().all(|receipt| receipt.cost_micro_eur.0 == 0));
    assert_eq!((receipts[4].outcome, receipts.len()), (Outcome::Refused, 5));
    assert_eq!(engine.requests().len(), 1);
    assert!(String::from_utf8_lossy(&engine.requests()[0].body).contains("with what was found"));
}

/// What is held covers what is asked: a budget that has room for the question alone has none for ten pages of passages, and what was
/// held for the question comes back.
#[tokio::test]
async fn what_was_found_is_held_anew_and_nothing_stays_held() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new()
        .engine(&engine.url(), "DE")
        .edit(|snapshot| snapshot.keys[0].budget = Some(MicroEur(3_000)))
        .start()
        .await;
    let small =
        async || begun(&world, Ask { body: chat(json!({"max_tokens": 1})).to_string().into(), ..ask(false) }).await;
    let found = |bytes: usize| {
        let body = json!({"messages": [{"role": "user", "content": "x".repeat(bytes)}], "max_tokens": 1});
        Prompt { body: chat(body).to_string().into(), ..prompt("") }
    };
    // Half a micro-euro for a byte and for 512 of a template: more than the budget,
    assert_eq!(small().await.unwrap().ask_with(found(7_000)).await.status(), 429);
    // and as much as is there once what was held for the question is back.
    assert_eq!(small().await.unwrap().ask_with(found(5_000)).await.status(), 200);
    // Over and over: what each held is free again.
    for _ in 0..20 {
        drop(small().await.unwrap());
    }
    // While some are open, the next has no room: it is refused before anything is done for it.
    let mut open = Vec::new();
    let refused = loop {
        match small().await {
            Ok(begun) => open.push(begun),
            Err(status) => break status,
        }
        assert!(open.len() < 100, "nothing is held");
    };
    assert_eq!(refused, 429);
    assert_eq!((open.is_empty(), engine.requests().len()), (false, 1));
    drop(open);
    let receipts = world.receipts().await;
    // The passages that it began with, and not those that its model never got.
    assert_eq!((receipts[0].code, receipts[0].passages.len()), (Some(Code::BudgetExhausted), 2));
    let paid: Vec<_> =
        receipts.iter().filter(|receipt| receipt.cost_micro_eur.0 > 0).map(|receipt| receipt.seq).collect();
    assert_eq!(paid, [2]);
}

#[tokio::test]
async fn what_no_model_answers_has_its_place_before_anything_is_done_for_it() {
    let world = Setup::new().edit(|snapshot| snapshot.keys[0].limits.requests_per_minute = Some(3)).start().await;
    let inner = Inner::new(world.gateway.clone());
    let principal = inner.principal(KEY).unwrap();
    let named = |client_body: &'static str| {
        let mut step = Step { client_body: client_body.into(), ..step("search") };
        step.headers.insert("idempotency-key", "job".parse().unwrap());
        step
    };
    let mut opened = inner.open(&principal, named("one")).await.map_err(|answer| answer.status()).unwrap();
    opened.left(egress("query"));
    let busy = inner.open(&principal, named("one")).await.map(drop).unwrap_err();
    assert_eq!(busy.status(), 409);
    let first = opened.say(vec!["sha256:aa".to_owned()], Said::Whole("found".into())).await;
    let again = inner.open(&principal, named("one")).await.map(drop).unwrap_err();
    assert_eq!(
        (again.status().as_u16(), &again.headers()["hoheit-receipt"]),
        (200, &first.headers()["hoheit-receipt"])
    );
    assert!(again.headers().contains_key("idempotent-replayed"));
    assert_eq!(again.into_body().collect().await.unwrap().to_bytes(), "found");
    let over = inner.open(&principal, step("search")).await.map(drop).unwrap_err();
    assert_eq!(over.status(), 429);
    let receipts = world.receipts().await;
    let told: Vec<_> = receipts.iter().map(|receipt| (&*receipt.operation, receipt.outcome)).collect();
    assert_eq!(told, [("search", Outcome::Refused), ("search", Outcome::Completed), ("search", Outcome::Refused)]);
    assert_eq!(
        (receipts[1].egress.as_ref().unwrap().query_commitment.as_str(), receipts[1].passages.len()),
        ("query", 1)
    );
}

/// JSON that only who reads all of it finds out to be none: the status says so, and nobody pays.
#[tokio::test]
async fn an_answer_that_a_dialect_cannot_read_is_the_engines_failure() {
    let engine =
        ScriptedEngine::start(Behaviour { text: Some("mumbling".to_owned()), ..Behaviour::tokens(1) }).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let (status, headers, body) = asked(&world, ask(false)).await;
    assert_eq!(status, 502);
    assert!(headers.contains_key("hoheit-receipt") && body.starts_with(b"{\"error\""), "{body:?}");
    let receipts = world.receipts().await;
    assert_eq!(
        (receipts[0].outcome, receipts[0].code, receipts[0].cost_micro_eur.0),
        (Outcome::Failed, Some(Code::EngineFailed), 0)
    );
}

/// The limit's edge: one more is left out, not cut into.
#[tokio::test]
async fn a_receipt_names_so_many_passages_and_not_more() {
    let engine = ScriptedEngine::start(Behaviour::tokens(1)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let hash = |n: usize| format!("sha256:{n:064x}");
    for more in [0, 1] {
        let passages = (0..PASSAGES_MAX + more).map(hash).collect();
        assert_eq!(asked(&world, Ask { passages, ..ask(false) }).await.0, 200);
    }
    for receipt in world.receipts().await {
        assert_eq!(receipt.passages.to_vec(), (0..PASSAGES_MAX).map(hash).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn models_are_those_that_the_key_may_ask() {
    let engine = ScriptedEngine::start(Behaviour::tokens(1)).await.unwrap();
    let mut setup = Setup::new().engine(&engine.url(), "DE");
    // Another that is served, and that a rule forbids.
    let mut endpoint = setup.snapshot.endpoints[0].clone();
    (endpoint.id, endpoint.model) = (types::EndpointId(71), "hidden".to_owned());
    let mut replica = setup.snapshot.engines[0].clone();
    (replica.id, replica.endpoint) = (types::EngineId(81), endpoint.id);
    setup.snapshot.endpoints.push(endpoint);
    setup.snapshot.engines.push(replica);
    setup.snapshot.rules.push(types::snapshot::Rule {
        id: types::RuleId(1),
        tenant: None,
        name: "hides".to_owned(),
        text: "forbid (principal, action == Action::\"infer\", resource) when { resource.model == \"hidden\" };"
            .to_owned(),
    });
    let world = setup.start().await;
    let inner = Inner::new(world.gateway.clone());
    let models = inner.models(&inner.principal(KEY).unwrap());
    assert_eq!(models.len(), 1);
    assert_eq!((models[0].name.as_str(), models[0].context_length), (MODEL, 8_192));
    assert_eq!(models[0].price.as_ref().unwrap().output.0, 2_000_000);
    world.receipts().await;
}

fn step(operation: &'static str) -> Step {
    Step {
        dialect: Dialect::Sonar,
        operation,
        headers: HeaderMap::new(),
        client_body: Bytes::from_static(b"AS THE CLIENT SAID IT"),
        model: MODEL.to_owned(),
        passages: Vec::new(),
        egress: None,
    }
}

#[tokio::test]
async fn what_no_engine_answers_is_receipted_all_the_same() {
    let engine = ScriptedEngine::start(Behaviour::tokens(1)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    let inner = Inner::new(world.gateway.clone());
    let principal = inner.principal(KEY).unwrap();
    let say = async |said| {
        let (head, body) = inner.step(&principal, step("chat.completions"), said).await.into_parts();
        assert!(head.headers.contains_key("hoheit-receipt"));
        (head.status.as_u16(), body.collect().await.unwrap().to_bytes())
    };
    assert_eq!(say(Said::Whole("answer".into())).await, (200, "answer".into()));
    let stream = Said::Stream { events: "events".into(), closing: "end".into() };
    assert_eq!(say(stream).await, (200, "eventsend".into()));
    let refusal = gateway::Refusal::new(Code::InvalidRequest, "no").param("x");
    let (status, refused) = say(Said::Refused(refusal)).await;
    assert!(status == 400 && refused.starts_with(b"{\"error\""), "{refused:?}");
    let receipts = world.receipts().await;
    let outcomes: Vec<_> = receipts.iter().map(|receipt| receipt.outcome).collect();
    assert_eq!(outcomes, [Outcome::Completed, Outcome::Completed, Outcome::Refused]);
    let answers: Vec<_> = receipts.iter().map(|receipt| receipt.answer_commitment.clone()).collect();
    assert_eq!(answers, [Some(committed(b"answer")), Some(committed(b"events")), None]);
    for receipt in &receipts {
        assert_eq!((&*receipt.operation, &*receipt.model, receipt.cost_micro_eur.0), ("chat.completions", MODEL, 0));
        assert_eq!(receipt.request_commitment, committed(b"AS THE CLIENT SAID IT"));
        assert!(receipt.served_by.is_none());
    }
    assert_eq!(engine.requests().len(), 0);
}

#[tokio::test]
async fn a_question_leaves_only_by_a_rule_that_names_it_and_is_receipted_before() {
    let facts = types::EndpointFacts {
        country: "FR".parse().unwrap(),
        site: "web".to_owned(),
        operator: "Suche".to_owned(),
        provider: "suche.example".to_owned(),
        jurisdiction: "FR".parse().unwrap(),
        retention: types::Retention::None,
        attestation: "none".to_owned(),
    };
    let world = Setup::new().start().await;
    let inner = Inner::new(world.gateway.clone());
    let principal = inner.principal(KEY).unwrap();
    let refused = inner.may_search_web(&principal, &HeaderMap::new(), &facts).err().map(|refusal| refusal.code);
    assert_eq!(refused, Some(Code::PolicyRefused));
    let mut snapshot = Setup::new().snapshot;
    snapshot.version = 2;
    snapshot.rules.push(types::snapshot::Rule {
        id: types::RuleId(1),
        tenant: None,
        name: "web".to_owned(),
        text: "permit (principal, action == Action::\"search_web\", resource) when { context.class_level < 2 };"
            .to_owned(),
    });
    world.gateway.publish(&signed(snapshot, types::UnixMillis(jiff_now()))).unwrap();
    let permission = inner.may_search_web(&principal, &HeaderMap::new(), &facts).unwrap();
    let secret = HeaderMap::from_iter([("hoheit-data-class".parse().unwrap(), "secret".parse().unwrap())]);
    assert!(inner.may_search_web(&principal, &secret, &facts).is_err(), "a header raises the class here too");
    let query_commitment = inner.commitment(&principal, b"query");
    let egress = Egress { provider: facts.provider.clone(), jurisdiction: facts.jurisdiction, query_commitment };
    let step = Step { egress: Some((egress, permission)), ..step("search.web") };
    assert_eq!(inner.step(&principal, step, Said::Nothing).await.status(), 200);
    let receipts = world.receipts().await;
    assert_eq!((receipts.len(), &*receipts[0].operation, receipts[0].outcome), (1, "search.web", Outcome::Completed));
    let egress = receipts[0].egress.as_ref().unwrap();
    assert_eq!((egress.provider.as_str(), egress.query_commitment.clone()), ("suche.example", committed(b"query")));
    assert_eq!((receipts[0].policy.permit, receipts[0].policy.rules.to_vec()), (true, vec!["web".to_owned()]));
}
