//! Engines that are full: who waits, who is next, and how waiting ends.

use crate::world::*;
use bytes::Bytes;
use http_body_util::Full;
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinHandle;
use twin::engine::{Behaviour, Pace, ScriptedEngine};
use types::{Code, KeyId, Outcome};

/// An engine with so many slots whose answers of one token wait for a step.
async fn full(slots: u32, edit: impl FnOnce(&mut gateway::Limits)) -> (ScriptedEngine, World) {
    let engine = ScriptedEngine::start(Behaviour { pace: Pace::Step, ..Behaviour::tokens(1) }).await.unwrap();
    let setup = Setup::new().engine(&engine.url(), "DE").limits(edit);
    let world = setup.edit(|snapshot| snapshot.engines[0].slots = slots).start().await;
    (engine, world)
}

type Call = JoinHandle<(u16, String, Option<String>)>;

/// Asks on a connection of its own; aborting the task closes it. `name` is found again in the engine's log.
fn ask(world: &World, key: KeyId, name: &str, headers: &[(&str, &str)]) -> Call {
    let bearer = bearer(key);
    let headers: Vec<_> = [("authorization", &*bearer)].into_iter().chain(headers.iter().copied()).collect();
    let body = Bytes::from(chat(json!({"stream": true, "user": name})).to_string());
    let request = world.request(http::Method::POST, "/v1/chat/completions", &headers, body);
    let client =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http::<Full<Bytes>>();
    tokio::spawn(async move {
        let reply = World::read(client.request(request).await.unwrap()).await;
        let code = if reply.status == 200 { String::new() } else { reply.code() };
        let retry_after = reply.headers.get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        (reply.status, code, retry_after)
    })
}

async fn waiting(world: &World, count: usize) {
    let there = async {
        while world.waiting() != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), there).await.is_err() {
        panic!("{} wait, not {count}", world.waiting());
    }
}

fn names(engine: &ScriptedEngine) -> Vec<String> {
    let name =
        |body: &[u8]| serde_json::from_slice::<serde_json::Value>(body).unwrap()["user"].as_str().unwrap().to_owned();
    engine.requests().iter().map(|request| name(&request.body)).collect()
}

/// Ends what the engine works on, one after the other, and returns the order in which requests came to it.
async fn let_go(engine: &ScriptedEngine, count: usize) -> Vec<String> {
    for ended in engine.requests().iter().filter(|it| it.state != twin::engine::State::Running).count()..count {
        engine.step(1);
        engine.until_ended(ended + 1).await;
    }
    names(engine)
}

/// One tenant floods a full engine; another's two requests do not wait for the flood but for their turn.
#[tokio::test]
async fn a_flood_does_not_push_another_tenant_back() {
    let (engine, world) = full(1, |_| {}).await;
    let mut calls = Vec::new();
    for number in 0..12 {
        calls.push(ask(&world, KEY, &format!("flood-{number}"), &[]));
        match number {
            0 => drop(engine.until(|requests| requests.len() == 1).await),
            number => waiting(&world, number).await,
        }
    }
    for number in 0..2 {
        calls.push(ask(&world, OTHER_KEY, &format!("small-{number}"), &[]));
        waiting(&world, 12 + number).await;
    }
    let order = let_go(&engine, 14).await;
    let place = |name: &str| order.iter().position(|it| it == name).unwrap();
    assert!(place("small-0") <= 2 && place("small-1") <= 4, "{order:?}");
    for call in calls {
        assert_eq!(call.await.unwrap().0, 200);
    }
    let receipts = world.receipts().await;
    assert_eq!(receipts.len(), 14);
    assert!(receipts.iter().all(|receipt| receipt.outcome == Outcome::Completed));
}

#[tokio::test]
async fn interactive_goes_before_batch_however_it_is_said() {
    let (engine, world) = full(1, |_| {}).await;
    let first = ask(&world, KEY, "first", &[]);
    engine.until(|requests| requests.len() == 1).await;
    let mut calls = vec![first];
    for (name, priority) in [("batch-0", "batch"), ("batch-1", "batch"), ("keyboard-0", "interactive")] {
        calls.push(ask(&world, KEY, name, &[("hoheit-priority", priority)]));
        waiting(&world, calls.len() - 1).await;
    }
    // As OpenAI says it, in the body.
    let body = chat(json!({"service_tier": "flex", "user": "flex"})).to_string();
    let bearer = bearer(KEY);
    let flex = world.request(http::Method::POST, "/v1/chat/completions", &[("authorization", &bearer)], body.into());
    let client = world.client.clone();
    let flex = tokio::spawn(async move { World::read(client.request(flex).await.unwrap()).await.status });
    waiting(&world, 4).await;
    calls.push(ask(&world, KEY, "keyboard-1", &[]));
    waiting(&world, 5).await;
    let order = let_go(&engine, 6).await;
    assert_eq!(order, ["first", "keyboard-0", "keyboard-1", "batch-0", "batch-1", "flex"]);
    assert!(engine.requests().iter().any(|it| String::from_utf8_lossy(&it.body).contains("\"service_tier\":\"flex\"")));
    for call in calls {
        assert_eq!(call.await.unwrap().0, 200);
    }
    assert_eq!(flex.await.unwrap(), 200);
    let reply = world
        .post_with(
            "/v1/chat/completions",
            &[("authorization", &bearer), ("hoheit-priority", "now")],
            chat(json!({})).to_string(),
        )
        .await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "invalid_request"));
    world.receipts().await;
}

#[tokio::test]
async fn the_queue_is_full_at_its_limit_and_not_before() {
    let (engine, world) = full(1, |limits| (limits.queue_waiting_max, limits.queue_waiting_tenant_max) = (3, 2)).await;
    let mut calls = vec![ask(&world, KEY, "running", &[])];
    engine.until(|requests| requests.len() == 1).await;
    for number in 1..=2 {
        calls.push(ask(&world, KEY, "waits", &[]));
        waiting(&world, number).await;
    }
    let turned_away = (429, "engine_overloaded".to_owned(), Some("5".to_owned()));
    assert_eq!(ask(&world, KEY, "one too many of its tenant", &[]).await.unwrap(), turned_away);
    calls.push(ask(&world, OTHER_KEY, "waits", &[]));
    waiting(&world, 3).await;
    assert_eq!(ask(&world, OTHER_KEY, "one too many", &[]).await.unwrap(), turned_away);
    let_go(&engine, 4).await;
    for call in calls {
        assert_eq!(call.await.unwrap().0, 200);
    }
    let receipts = world.receipts().await;
    let ended = |outcome, code| receipts.iter().filter(|it| (it.outcome, it.code) == (outcome, code)).count();
    assert_eq!(ended(Outcome::Completed, None), 4);
    assert_eq!(ended(Outcome::Failed, Some(Code::EngineOverloaded)), 2);
    assert_eq!(receipts.len(), 6);
}

#[tokio::test]
async fn waiting_has_an_end() {
    let (engine, world) = full(1, |limits| limits.queue_wait_max = Duration::from_millis(50)).await;
    let running = ask(&world, KEY, "running", &[]);
    engine.until(|requests| requests.len() == 1).await;
    let (status, code, retry_after) = ask(&world, KEY, "waits", &[]).await.unwrap();
    assert_eq!((status, code.as_str(), retry_after.as_deref()), (429, "engine_overloaded", Some("5")));
    engine.step(1);
    assert_eq!(running.await.unwrap().0, 200);
    assert_eq!(engine.requests().len(), 1, "it was never sent");
    assert_eq!(world.receipts().await.len(), 2);
}

/// Whoever leaves makes room at once and is free of charge; what it held of the budget is there for others.
#[tokio::test]
async fn who_leaves_while_waiting_gives_place_and_money_back() {
    let engine = ScriptedEngine::start(Behaviour { pace: Pace::Step, ..Behaviour::tokens(1) }).await.unwrap();
    // What one request reserves is (body + 512) x 0.5 + 64 x 2 micro-euro, some 450: two fit, three do not.
    let setup = Setup::new().engine(&engine.url(), "DE").limits(|limits| limits.queue_waiting_max = 1);
    let setup = setup.edit(|snapshot| {
        snapshot.engines[0].slots = 1;
        snapshot.tenants[0].budget = Some(types::MicroEur(1_200));
    });
    let world = setup.start().await;
    let running = ask(&world, KEY, "running", &[]);
    engine.until(|requests| requests.len() == 1).await;
    for _ in 0..5 {
        let leaves = ask(&world, KEY, "leaves", &[]);
        waiting(&world, 1).await;
        leaves.abort();
        waiting(&world, 0).await;
    }
    let stays = ask(&world, KEY, "stays", &[]);
    waiting(&world, 1).await;
    engine.step(2);
    assert_eq!((running.await.unwrap().0, stays.await.unwrap().0), (200, 200));
    assert_eq!(engine.requests().len(), 2);
    let receipts = world.receipts().await;
    let aborted: Vec<_> = receipts.iter().filter(|it| it.outcome == Outcome::Aborted).collect();
    assert_eq!((receipts.len(), aborted.len()), (7, 5));
    assert!(aborted.iter().all(|it| it.cost_micro_eur.0 == 0 && it.served_by.is_none()));
}

/// A slot that a new snapshot opens goes to whoever waits.
#[tokio::test]
async fn an_engine_that_is_added_takes_those_who_wait() {
    let (engine, world) = full(1, |_| {}).await;
    let mut calls = vec![ask(&world, KEY, "running", &[])];
    engine.until(|requests| requests.len() == 1).await;
    calls.push(ask(&world, KEY, "waits", &[]));
    waiting(&world, 1).await;
    let more = Setup::new().engine(&engine.url(), "DE").edit(|snapshot| {
        snapshot.version = 2;
        snapshot.engines[0].slots = 2;
    });
    world.gateway.publish(&signed(more.snapshot, gateway::Clock::now(&gateway::SystemClock::start()))).unwrap();
    engine.until(|requests| requests.len() == 2).await;
    engine.step(2);
    for call in calls {
        assert_eq!(call.await.unwrap().0, 200);
    }
    world.receipts().await;
}

/// A site that scales up and down names new engines all the time: what is remembered is those that are in force, and those
/// where a request still runs.
#[tokio::test]
async fn engines_and_endpoints_that_are_gone_are_forgotten() {
    let (engine, world) = full(1, |_| {}).await;
    let publish = |version: u64, edit: &dyn Fn(&mut types::Snapshot)| {
        let mut snapshot = Setup::new().engine(&engine.url(), "DE").snapshot;
        snapshot.version = version;
        edit(&mut snapshot);
        world.gateway.publish(&signed(snapshot, gateway::Clock::now(&gateway::SystemClock::start()))).unwrap();
    };
    let running = ask(&world, KEY, "running", &[]);
    engine.until(|requests| requests.len() == 1).await;
    for number in 0..20 {
        publish(2 + number, &|snapshot| {
            snapshot.endpoints[0].id.0 += 100 + u128::from(number);
            snapshot.engines[0].endpoint = snapshot.endpoints[0].id;
            snapshot.engines[0].id.0 += 100 + u128::from(number);
        });
    }
    // The one in force, and the first, where a request runs.
    assert_eq!(world.gateway.known(), (2, 2));
    // Now the first is back, cordoned: it may take requests again. The lane lets go of an answer a moment after it was read.
    let cordon = |version: u64| publish(version, &|snapshot| snapshot.engines[0].cordoned = true);
    cordon(30);
    engine.step(1);
    assert_eq!(running.await.unwrap().0, 200);
    let settled = (31..10_000).any(|version| {
        cordon(version);
        std::thread::yield_now();
        world.gateway.known() == (1, 1)
    });
    assert!(settled, "{:?}", world.gateway.known());
    world.receipts().await;
}

/// After SIGTERM those who wait are still let go; then the gateway stops.
#[tokio::test]
async fn draining_lets_those_who_wait_go() {
    let (engine, world) = full(1, |_| {}).await;
    let mut calls = vec![ask(&world, KEY, "running", &[])];
    engine.until(|requests| requests.len() == 1).await;
    calls.push(ask(&world, KEY, "waits", &[]));
    waiting(&world, 1).await;
    world.gateway.drain();
    engine.step(2);
    for call in calls {
        assert_eq!(call.await.unwrap().0, 200);
    }
    let receipts = world.receipts().await;
    assert!(receipts.len() == 2 && receipts.iter().all(|it| it.outcome == Outcome::Completed));
}
