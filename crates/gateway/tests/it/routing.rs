//! Where requests go: to the replica that has read their beginning, never into another tenant's, and in turn if so told.

use crate::world::*;
use bytes::Bytes;
use gateway::{RoutingOptions, Strategy};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use twin::engine::{Behaviour, ScriptedEngine};

/// Six engines of one endpoint.
async fn six(strategy: Strategy) -> (World, Vec<ScriptedEngine>) {
    let mut engines = Vec::new();
    for _ in 0..6 {
        engines.push(ScriptedEngine::start(Behaviour::tokens(2)).await.unwrap());
    }
    (among(&engines, RoutingOptions { strategy, ..RoutingOptions::default() }).await, engines)
}

/// A gateway in front of them.
async fn among(engines: &[ScriptedEngine], routing: RoutingOptions) -> World {
    let mut setup = engines.iter().fold(Setup::new(), |setup, engine| setup.engine(&engine.url(), "DE"));
    setup.routing = routing;
    setup.start().await
}

/// A conversation of so many turns, each of some two blocks.
fn conversation(name: &str, turns: usize) -> Value {
    let said = |turn: usize| json!({"role": "user", "content": format!("{name} {turn} ").repeat(1_200)});
    json!({"model": MODEL, "messages": (0..turns).map(said).collect::<Vec<_>>()})
}

/// Tokens of prompts that routing thought were there, and the others.
fn routed(world: &World) -> [u64; 2] {
    let mut registry = prometheus_client::registry::Registry::default();
    world.gateway.metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    ["held", "new"].map(|prefix| {
        let name = format!("hoheit_routed_tokens_total{{prefix=\"{prefix}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    })
}

async fn ask(world: &World, key: types::KeyId, body: &Value) {
    let authorization = bearer(key);
    let headers = [("authorization", authorization.as_str())];
    let reply = world.post_with("/v1/chat/completions", &headers, Bytes::from(body.to_string())).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
}

#[tokio::test]
async fn a_conversation_stays_where_its_beginning_was_read() {
    let (world, engines) = six(Strategy::Prefix).await;
    for turns in 1..=8 {
        ask(&world, KEY, &conversation("a", turns)).await;
    }
    let at: Vec<usize> = engines.iter().map(|engine| engine.requests().len()).filter(|&count| count > 0).collect();
    assert_eq!(at, [8], "all turns at one engine");
    let [held, new] = routed(&world);
    assert!(held > 2 * new, "{held} {new}");
    // Ten others that share nothing with it do not all go there.
    for name in ["b", "c", "d", "e", "f", "g", "h", "i", "j", "k"] {
        ask(&world, KEY, &conversation(name, 1)).await;
    }
    assert!(engines.iter().filter(|engine| !engine.requests().is_empty()).count() >= 3);
    world.stop().await;
}

/// The same words of another tenant are another prompt: no tenant learns from where it is served what others ask.
#[tokio::test]
async fn tenants_share_no_prefix() {
    let (world, _engines) = six(Strategy::Prefix).await;
    let body = conversation("a", 6);
    ask(&world, KEY, &body).await;
    assert_eq!(routed(&world)[0], 0);
    ask(&world, OTHER_KEY, &body).await;
    assert_eq!(routed(&world)[0], 0, "another tenant's prompt was looked for");
    ask(&world, KEY, &body).await;
    assert!(routed(&world)[0] > 0, "the tenant's own is found");
    world.stop().await;
}

#[tokio::test]
async fn in_turn_if_so_told() {
    let (world, engines) = six(Strategy::RoundRobin).await;
    for _ in 0..12 {
        ask(&world, KEY, &conversation("a", 3)).await;
    }
    let counts: BTreeSet<usize> = engines.iter().map(|engine| engine.requests().len()).collect();
    assert_eq!(counts, BTreeSet::from([2]));
    assert_eq!(routed(&world)[0], 0, "nothing is remembered that is not used");
    world.stop().await;
}

/// Told that there are two, each sends a prompt that it has not seen where the other would.
#[tokio::test]
async fn gateways_that_know_of_each_other_agree_where_a_prompt_is_at_home() {
    let mut engines = Vec::new();
    for _ in 0..6 {
        engines.push(ScriptedEngine::start(Behaviour::tokens(2)).await.unwrap());
    }
    let routing = RoutingOptions { gateways: 2, ..RoutingOptions::default() };
    let (one, other) = (among(&engines, routing).await, among(&engines, routing).await);
    let asked = || engines.iter().map(|engine| engine.requests().len()).collect::<Vec<_>>();
    for number in 0..20 {
        let prompt = conversation(&format!("prompt {number}"), 1);
        ask(&one, KEY, &prompt).await;
        ask(&other, KEY, &prompt).await;
        assert!(asked().iter().all(|count| count % 2 == 0), "not where the other sent it: {:?}", asked());
    }
    assert!(asked().iter().filter(|count| **count > 0).count() > 2, "homes are spread: {:?}", asked());
    one.stop().await;
    other.stop().await;
}
