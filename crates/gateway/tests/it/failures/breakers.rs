//! Full engines are left alone for as long as they say, and are not broken ones.

use crate::world::*;
use gateway::{Clock, SystemClock};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use twin::engine::{Before, Behaviour, Script, ScriptedEngine};
use types::UnixMillis;

/// A clock whose monotonic time the test sets.
#[derive(Clone)]
struct SetClock(Arc<(SystemClock, AtomicU64)>);

impl SetClock {
    fn new() -> Self {
        SetClock(Arc::new((SystemClock::start(), AtomicU64::new(1))))
    }

    fn forward(&self, millis: u64) {
        self.0.1.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixMillis {
        self.0.0.now()
    }

    fn monotonic_millis(&self) -> u64 {
        self.0.1.load(Ordering::Relaxed)
    }

    fn random(&self, bytes: &mut [u8]) {
        self.0.0.random(bytes);
    }
}

fn closed(world: &World) -> u64 {
    world.metric("hoheit_replicas{breaker=\"closed\"}")
}

#[tokio::test]
async fn f07_a_full_replica_is_left_alone_for_as_long_as_it_says() {
    let full = ScriptedEngine::start(Script::queue([Behaviour::before(Before::busy("7"))], Behaviour::tokens(2)));
    let (full, free) = (full.await.unwrap(), ScriptedEngine::start(Behaviour::tokens(2)).await.unwrap());
    let clock = SetClock::new();
    let mut setup = Setup::new().engine(&full.url(), "DE").engine(&free.url(), "DE");
    setup.clock = Arc::new(clock.clone());
    let world = setup.start().await;
    while full.requests().is_empty() {
        assert_eq!(world.chat(json!({})).await.status, 200);
    }
    clock.forward(6_999);
    for _ in 0..20 {
        assert_eq!(world.chat(json!({})).await.status, 200);
    }
    assert_eq!((full.requests().len(), closed(&world)), (1, 2), "asked while it rested, or taken for broken");
    clock.forward(1);
    while full.requests().len() == 1 {
        assert_eq!(world.chat(json!({})).await.status, 200);
    }
    world.audit(&[&full, &free]).await;
}

/// The client hears of the first that takes work again, and the engines hear nothing meanwhile.
#[tokio::test]
async fn f07_when_all_are_full_the_client_is_told_until_when() {
    let one = ScriptedEngine::start(Behaviour::before(Before::busy("9"))).await.unwrap();
    let other = ScriptedEngine::start(Behaviour::before(Before::busy("100000"))).await.unwrap();
    let clock = SetClock::new();
    let mut setup = Setup::new().engine(&one.url(), "DE").engine(&other.url(), "DE");
    setup.clock = Arc::new(clock.clone());
    let world = setup.start().await;
    for (wait, forward) in [("9", 0), ("9", 2_000), ("7", 0)] {
        let reply = world.chat(json!({})).await;
        assert_eq!((reply.status, reply.code().as_str()), (429, "engine_overloaded"));
        assert_eq!(
            (reply.headers["retry-after"].as_bytes(), reply.headers["x-should-retry"].as_bytes()),
            (wait.as_bytes(), &b"true"[..])
        );
        clock.forward(forward);
    }
    assert_eq!((one.requests().len(), other.requests().len(), closed(&world)), (1, 1, 2));
    // 300 s is the longest that anybody is left alone.
    clock.forward(300_000);
    assert_eq!(world.chat(json!({})).await.status, 429);
    assert_eq!(other.requests().len(), 2);
    assert_eq!(world.audit(&[&one, &other]).await.len(), 4);
}

#[tokio::test]
async fn f07_no_number_of_429s_opens_a_breaker() {
    let engine = ScriptedEngine::start(Behaviour::before(Before::error(429))).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    for _ in 0..50 {
        assert_eq!(world.chat(json!({})).await.code(), "engine_overloaded");
    }
    assert_eq!((engine.requests().len(), closed(&world)), (50, 1));
    assert_eq!(world.audit(&[&engine]).await.len(), 50);
}

/// An open breaker asks with one request whether the engine is back. "Full" is no yes.
#[tokio::test]
async fn f07_a_probe_that_is_answered_429_leaves_the_breaker_open() {
    let mut turns = vec![Behaviour::before(Before::error(500)); 5];
    turns.push(Behaviour::before(Before::error(429)));
    let engine = ScriptedEngine::start(Script::queue(turns, Behaviour::tokens(2))).await.unwrap();
    let clock = SetClock::new();
    let mut setup = Setup::new().engine(&engine.url(), "DE");
    setup.clock = Arc::new(clock.clone());
    let world = setup.start().await;
    let ask = async |status: u16, seen: usize| {
        assert_eq!(world.chat(json!({"seed": seen})).await.status, status);
        assert_eq!(engine.requests().len(), seen);
    };
    for seen in 1..=5 {
        ask(502, seen).await;
    }
    ask(503, 5).await;
    clock.forward(1_000);
    ask(429, 6).await;
    ask(503, 6).await;
    assert_eq!(world.metric("hoheit_replicas{breaker=\"open\"}"), 1);
    clock.forward(1_000);
    ask(200, 7).await;
    assert_eq!(closed(&world), 1);
    assert_eq!(world.audit(&[&engine]).await.len(), 9);
}
