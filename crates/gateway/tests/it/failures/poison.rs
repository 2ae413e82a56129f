//! Requests that break engines, and requests that only engines refuse.

use crate::world::*;
use serde_json::json;
use twin::engine::{Before, Behaviour, End, Script, ScriptedEngine};
use types::{Code, Outcome};

/// Breaks whenever the prompt says so.
fn fragile(breaks: Behaviour) -> Script {
    Script::choose(move |ask| match std::str::from_utf8(ask.body).unwrap().contains("poison") {
        true => breaks.clone(),
        false => Behaviour::tokens(2),
    })
}

async fn engines(count: usize, script: impl Fn() -> Script) -> (Vec<ScriptedEngine>, Setup) {
    let (mut engines, mut setup) = (Vec::new(), Setup::new());
    for _ in 0..count {
        let engine = ScriptedEngine::start(script()).await.unwrap();
        setup = setup.engine(&engine.url(), "DE");
        engines.push(engine);
    }
    (engines, setup)
}

fn poison(more: serde_json::Value) -> serde_json::Value {
    let mut body = json!({"messages": [{"role": "user", "content": "poison"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn f08_a_request_that_broke_two_engines_is_not_sent_to_a_third() {
    let breaks = [
        Behaviour::before(Before::Refuse),
        Behaviour::before(Before::Close),
        Behaviour::before(Before::error(500)),
        Behaviour { end: End::DieAfterHead, ..Behaviour::tokens(2) },
    ];
    for behaviour in breaks {
        let (engines, setup) = engines(5, || fragile(behaviour.clone())).await;
        let world = setup.start().await;
        let broken = || engines.iter().map(|engine| engine.requests().len()).sum::<usize>();
        for (outcome, seen) in [(Outcome::Failed, 2), (Outcome::Refused, 2), (Outcome::Refused, 2)] {
            let reply = world.chat(poison(json!({}))).await;
            assert_eq!((reply.status, reply.code().as_str()), (422, "request_quarantined"), "{behaviour:?}");
            assert_eq!(reply.headers["x-should-retry"], "false");
            assert_eq!(broken(), seen, "{behaviour:?}");
            let receipts = world.settle().await;
            let last = receipts.last().unwrap();
            assert_eq!((last.outcome, last.code), (outcome, Some(Code::RequestQuarantined)));
        }
        assert_eq!(world.metric("hoheit_errors_total{code=\"request_quarantined\"}"), 3);
        // All replicas stay up, other requests are served, and another tenant's same words are its own matter.
        assert_eq!(world.metric("hoheit_replicas{breaker=\"closed\"}"), 5);
        assert_eq!(world.chat(json!({})).await.status, 200);
        let other = bearer(OTHER_KEY);
        let body = chat(poison(json!({}))).to_string();
        let before = broken();
        world.post_with("/v1/chat/completions", &[("authorization", other.as_str())], body).await;
        assert!(broken() > before, "held back for another tenant's doing");
        world.audit(&engines.iter().collect::<Vec<_>>()).await;
    }
}

/// After the first token nothing is tried again by us; a client that does it breaks the engine twice, and not a third time.
#[tokio::test]
async fn f08_breaking_streams_after_their_first_token_counts_too() {
    let (engines, setup) = engines(1, || fragile(Behaviour { end: End::DieAfter(1), ..Behaviour::tokens(3) })).await;
    let world = setup.start().await;
    for (status, seen) in [(200, 1), (200, 3), (422, 4)] {
        assert_eq!(world.chat(poison(json!({"stream": true}))).await.status, status);
        assert_eq!(engines[0].requests().len(), seen);
        // It is up again.
        assert_eq!(world.chat(json!({})).await.status, 200);
    }
    world.audit(&engines.iter().collect::<Vec<_>>()).await;
}

/// An engine that fails everybody speaks against itself: nobody's request is held back for it.
#[tokio::test]
async fn f08_a_site_whose_engines_are_all_down_holds_nobodys_request_back() {
    let (engines, setup) = engines(2, || Script::always(Behaviour::before(Before::error(500)))).await;
    let world = setup.stop_the_clock().start().await;
    let mut held = 0;
    for seed in 0..20 {
        for _ in 0..2 {
            held += usize::from(world.chat(json!({"seed": seed})).await.code() == "request_quarantined");
        }
    }
    // Only who met both engines at their first failure: one request, and its repeat.
    assert!(held <= 2, "{held}");
    world.audit(&engines.iter().collect::<Vec<_>>()).await;
}

/// What failed once and then went well was chance.
#[tokio::test]
async fn f08_an_answer_clears_a_request() {
    for stream in [false, true] {
        let turns = |first: u16| {
            let mut turns = vec![Behaviour::before(Before::error(first)), Behaviour::tokens(2)];
            turns.extend([Behaviour::before(Before::error(500)), Behaviour::tokens(2)]);
            Script::queue(turns, Behaviour::tokens(2))
        };
        let engine = ScriptedEngine::start(turns(500)).await.unwrap();
        let world = Setup::new().engine(&engine.url(), "DE").start().await;
        for status in [502, 200, 502, 200, 200] {
            assert_eq!(world.chat(json!({"stream": stream})).await.status, status);
        }
        world.audit(&[&engine]).await;
    }
}
