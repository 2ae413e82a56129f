//! What engines of each kind are asked, and that what is reserved covers whatever they answer.

use crate::world::*;
use serde_json::{Value, json};
use twin::engine::{Behaviour, ScriptedEngine};
use types::snapshot::{EngineKind, Snapshot};
use types::{MicroEur, Outcome, UsageSource};

/// As small as nano: any prompt of a few sentences and the cap of an answer do not fit together.
fn nano(kind: EngineKind) -> impl FnOnce(&mut Snapshot) {
    move |snapshot| {
        snapshot.engines[0].kind = kind;
        (snapshot.endpoints[0].context_length, snapshot.endpoints[0].output_tokens_max) = (512, 256);
    }
}

fn long() -> Value {
    json!({"messages": [{"role": "user", "content": "word ".repeat(300)}]})
}

#[tokio::test]
async fn a_length_that_the_client_did_not_name_never_turns_a_prompt_away() {
    for (kind, named) in [(EngineKind::Embedded, true), (EngineKind::Openai, false), (EngineKind::Vllm, false)] {
        let engine = ScriptedEngine::start(Behaviour::tokens(200)).await.unwrap();
        let world = Setup::new().engine(&engine.url(), "DE").edit(nano(kind)).start().await;
        assert_eq!(world.chat(long()).await.status, 200);
        let mut asked = long();
        asked["max_tokens"] = json!(300);
        assert_eq!(world.chat(asked).await.status, 200);
        let sent: Vec<Value> = engine.requests().iter().map(|request| request.json()).collect();
        assert_eq!(sent[0].get("max_tokens"), None, "{kind:?}");
        assert_eq!(sent[0].get("max_tokens_fitting"), named.then_some(&json!(256)), "{kind:?}");
        assert_eq!((&sent[1]["max_tokens"], sent[1].get("max_tokens_fitting")), (&json!(256), None), "{kind:?}");
        for receipt in world.receipts().await {
            assert_eq!((receipt.outcome, receipt.usage.output), (Outcome::Completed, 200));
            assert_eq!(receipt.usage_source, UsageSource::Engine);
        }
    }
}

/// 512 tokens of input at 0.50 EUR and as many of output as were reserved at 2 EUR per million.
#[tokio::test]
async fn what_an_engine_makes_of_an_open_length_never_costs_more_than_was_reserved() {
    for (kind, reserved) in [(EngineKind::Openai, 512), (EngineKind::Embedded, 256)] {
        let bound = 256 + 2 * reserved;
        for tokens in [reserved as u64, reserved as u64 + 1, 5_000] {
            let behaviour =
                Behaviour { prompt_tokens: Some(512), ignore_max_tokens: true, ..Behaviour::tokens(tokens) };
            let engine = ScriptedEngine::start(behaviour).await.unwrap();
            let budget = |budget: i64| {
                let setup = Setup::new().engine(&engine.url(), "DE").edit(nano(kind));
                setup.edit(move |snapshot| snapshot.keys[0].budget = Some(MicroEur(budget))).start()
            };
            let world = budget(bound - 1).await;
            assert_eq!(world.chat(long()).await.code(), "budget_exhausted", "{kind:?}");
            world.stop().await;
            let world = budget(bound).await;
            assert_eq!(world.chat(long()).await.status, 200, "{kind:?} {tokens}");
            let cost = world.receipts().await[0].cost_micro_eur.0;
            assert!(cost <= bound, "{kind:?} {tokens}: {cost} of {bound}");
        }
    }
}

#[tokio::test]
async fn engines_are_asked_for_usage_as_their_kind_knows_it() {
    for (kind, running) in [(EngineKind::Openai, false), (EngineKind::Vllm, true), (EngineKind::Embedded, true)] {
        let engine = ScriptedEngine::start(Behaviour::tokens(4)).await.unwrap();
        let world =
            Setup::new().engine(&engine.url(), "DE").edit(|snapshot| snapshot.engines[0].kind = kind).start().await;
        for options in [json!({"include_obfuscation": false}), Value::Null] {
            let reply = world.chat(json!({"stream": true, "stream_options": options})).await;
            assert!(!reply.events().iter().any(|event| event.contains("usage")), "{kind:?}: nobody asked");
        }
        let sent: Vec<Value> =
            engine.requests().iter().map(|request| request.json()["stream_options"].clone()).collect();
        let mut expect = json!({"include_usage": true});
        if running {
            expect["continuous_usage_stats"] = json!(true);
        }
        assert_eq!(sent[1], expect, "{kind:?}");
        expect["include_obfuscation"] = json!(false);
        assert_eq!(sent[0], expect, "{kind:?}");
        for receipt in world.receipts().await {
            assert_eq!((receipt.usage.output, receipt.usage_source), (4, UsageSource::Engine), "{kind:?}");
        }
    }
}
