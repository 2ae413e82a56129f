//! Hanging up on an engine: what it cancels depends on the engine's kind.

use crate::world::*;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::json;
use twin::engine::{Before, Behaviour, End, ScriptedEngine, State};
use types::snapshot::EngineKind;
use types::{Outcome, UsageSource};

/// A fake engine of a kind: it works on where the kind does.
async fn fake(kind: EngineKind, speaks: bool) -> ScriptedEngine {
    let runs_on = kind.works_on().millis(speaks) > 0;
    let behaviour = match speaks {
        false => Behaviour { runs_on, ..Behaviour::before(Before::Hang) },
        true => Behaviour { runs_on, end: End::StallAfter(2), ..Behaviour::tokens(6) },
    };
    ScriptedEngine::start(behaviour).await.unwrap()
}

#[tokio::test]
async fn f04_what_hanging_up_does_not_stop_counts_as_load_and_is_billed_as_far_as_it_was_read() {
    for kind in EngineKind::ALL {
        for speaks in [false, true] {
            let engine = fake(kind, speaks).await;
            let world =
                Setup::new().engine(&engine.url(), "DE").edit(|snapshot| snapshot.engines[0].kind = kind).start().await;
            let body = Bytes::from(chat(json!({"stream": true})).to_string());
            let auth = bearer(KEY);
            let request =
                world.request(http::Method::POST, "/v1/chat/completions", &[("authorization", auth.as_str())], body);
            // A client of its own: dropping it closes its connection.
            let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                .build_http::<http_body_util::Full<Bytes>>();
            let call = tokio::spawn(async move { client.request(request).await.unwrap() });
            engine.until(|requests| requests.len() == 1).await;
            if speaks {
                let mut response = call.await.unwrap();
                let mut text = String::new();
                while !text.contains("tok1") {
                    let frame = response.body_mut().frame().await.unwrap().unwrap();
                    text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
                }
                drop(response);
            } else {
                call.abort();
            }
            let runs_on = kind.works_on().millis(speaks) > 0;
            let left = if runs_on { State::RunsOn } else { State::Cancelled };
            engine.until(|requests| requests[0].state == left).await;
            let receipts = world.settle().await;
            // Billed is what we read; what the engine does after that nobody has ordered. An engine of a kind that reports
            // no running count is estimated by what passed.
            let counted = if speaks { 2 } else { 0 };
            assert_eq!((receipts.len(), receipts[0].outcome), (1, Outcome::Aborted), "{kind:?}");
            assert_eq!(receipts[0].usage.output, counted, "{kind:?} {speaks}");
            // Who leaves before an engine has counted has still had the prompt read.
            assert_eq!(receipts[0].usage.input > 0, speaks, "{kind:?} {speaks}");
            if !speaks {
                assert_eq!((receipts[0].usage_source, receipts[0].cost_micro_eur.0), (UsageSource::None, 0));
            }
            // The next request sees the load that is really there.
            let held = world.metric("hoheit_requests_at_engines");
            assert_eq!(held, u64::from(runs_on), "{kind:?} {speaks}");
            engine.release();
            let seen = engine.until_ended(1).await;
            assert_eq!(seen[0].state, if runs_on { State::RanOn } else { State::Cancelled });
            assert_eq!(seen.len(), 1, "nothing is sent twice");
            world.stop().await;
        }
    }
}

/// A replica that still works for a client that left is the more loaded one.
#[tokio::test]
async fn f04_the_next_request_goes_where_nobody_works_on() {
    let behaviour =
        |kind: EngineKind| Behaviour { runs_on: kind == EngineKind::Dynamo, ..Behaviour::before(Before::Hang) };
    let (busy, free) = (ScriptedEngine::start(behaviour(EngineKind::Dynamo)).await.unwrap(), Behaviour::tokens(2));
    let free = ScriptedEngine::start(free).await.unwrap();
    let world = Setup::new()
        .engine(&busy.url(), "DE")
        .engine(&free.url(), "DE")
        .edit(|snapshot| snapshot.engines[0].kind = EngineKind::Dynamo)
        .start()
        .await;
    while busy.requests().is_empty() {
        let body = Bytes::from(chat(json!({})).to_string());
        let auth = bearer(KEY);
        let request =
            world.request(http::Method::POST, "/v1/chat/completions", &[("authorization", auth.as_str())], body);
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .build_http::<http_body_util::Full<Bytes>>();
        let call = tokio::spawn(async move { client.request(request).await.unwrap() });
        let at_one = async {
            while busy.requests().is_empty() && !call.is_finished() {
                tokio::task::yield_now().await
            }
        };
        at_one.await;
        call.abort();
    }
    engine_left(&busy).await;
    world.settle().await;
    for _ in 0..20 {
        assert_eq!(world.chat(json!({})).await.status, 200);
    }
    assert_eq!(busy.requests().len(), 1, "the one that still works was asked again");
    world.audit(&[&busy, &free]).await;
}

async fn engine_left(engine: &ScriptedEngine) {
    engine.until(|requests| requests[0].state == State::RunsOn).await;
}
