//! Streams: every way to end, to frame and to lie.

use crate::client::{drain, events, post};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use twin::engine::{Behaviour, Request, ScriptedEngine, State};

fn ask(model: &str) -> Value {
    json!({
        "model": model,
        "messages": [{"role": "user", "content": "drei kleine Worte"}],
        "stream": true,
        "stream_options": {"include_usage": true, "continuous_usage_stats": true},
    })
}

/// Streams one answer; the bytes, whether it ended well, and what the engine saw.
async fn run(behaviour: &str) -> (Vec<u8>, bool, Request) {
    let engine = ScriptedEngine::start(behaviour.parse::<Behaviour>().unwrap()).await.unwrap();
    let (bytes, good) = drain(post(&engine, "/v1/chat/completions", &ask("scripted")).await.unwrap()).await;
    let seen = engine.until_ended(1).await.remove(0);
    (bytes, good, seen)
}

/// Running counts of output tokens, event by event.
fn running(events: &[String]) -> Vec<u64> {
    events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|event| event["usage"]["completion_tokens"].as_u64())
        .collect()
}

#[tokio::test]
async fn counts_are_what_the_script_says() {
    async fn check(behaviour: &str, expect: &[u64]) {
        let (bytes, good, seen) = run(behaviour).await;
        let events = events(&bytes);
        assert!(good, "{behaviour}");
        assert_eq!(running(&events), expect, "{behaviour}");
        assert_eq!(events.last().map(String::as_str), Some("[DONE]"), "{behaviour}");
        assert_eq!((seen.counted.input, seen.counted.output, seen.state), (3, 4, State::Completed), "{behaviour}");
    }
    check("tokens=4", &[0, 1, 2, 3, 4, 4, 4]).await;
    check("tokens=4 per-event=3", &[0, 3, 4, 4, 4]).await;
    check("tokens=4 usage=absent", &[]).await;
    check("tokens=4 usage=zero", &[0; 7]).await;
    check("tokens=4 usage=shrinking", &[4, 3, 2, 1, 0, 0, 4]).await;
    check("tokens=4 usage=too-large", &[100, 100, 200, 300, 400, 400, 400]).await;
    check("tokens=4 usage=final-differs", &[0, 1, 2, 3, 4, 4, 3]).await;
}

#[tokio::test]
async fn framing_changes_no_event() {
    let plain = events(&run("tokens=4").await.0);
    for framing in ["crlf", "split=1", "split=7 crlf", "split=4096"] {
        let (bytes, _, _) = run(&format!("tokens=4 {framing}")).await;
        assert_eq!(events(&bytes), plain, "{framing}");
    }
    assert!(run("tokens=4 crlf").await.0.windows(4).any(|four| four == b"\r\n\r\n"));
    let giant = events(&run("tokens=4 giant=100000").await.0);
    assert!(giant[1].len() >= 100_000);
    assert_eq!(running(&giant), running(&plain));
}

#[tokio::test]
async fn each_end() {
    struct Expect {
        good: bool,
        whole_events: usize,
        done: bool,
        output: u64,
        state: State,
    }
    async fn check(behaviour: &str, expect: Expect) {
        let (bytes, good, seen) = run(behaviour).await;
        let events = events(&bytes);
        assert_eq!(good, expect.good, "{behaviour}");
        assert_eq!(events.len(), expect.whole_events, "{behaviour}: {events:?}");
        assert_eq!(events.iter().any(|event| event == "[DONE]"), expect.done, "{behaviour}");
        assert_eq!((seen.counted.output, seen.state), (expect.output, expect.state), "{behaviour}");
    }
    let end = |good, whole_events, done, output, state| Expect { good, whole_events, done, output, state };
    check("tokens=4", end(true, 8, true, 4, State::Completed)).await;
    check("tokens=4 end=die-after-head", end(false, 0, false, 0, State::Died)).await;
    check("tokens=4 end=die-after:0", end(false, 1, false, 0, State::Died)).await;
    check("tokens=4 end=die-after:2", end(false, 3, false, 2, State::Died)).await;
    check("tokens=4 end=die-after:4", end(false, 5, false, 4, State::Died)).await;
    check("tokens=4 end=die-inside:2", end(false, 3, false, 3, State::Died)).await;
    check("tokens=4 end=half-line:2", end(true, 3, false, 3, State::Completed)).await;
    check("tokens=4 end=no-done", end(true, 7, false, 4, State::Completed)).await;
    check("tokens=4 end=error-after:2", end(true, 4, false, 2, State::Completed)).await;
    check("tokens=4 end=garbage-after:2", end(true, 9, true, 4, State::Completed)).await;
}

#[tokio::test]
async fn a_stepped_answer_moves_only_when_told() {
    let engine = ScriptedEngine::start("tokens=3 pace=step".parse::<Behaviour>().unwrap()).await.unwrap();
    let mut body = post(&engine, "/v1/chat/completions", &ask("scripted")).await.unwrap().into_body();
    let role = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(role.starts_with(b"data: "));
    assert_eq!(engine.requests()[0].counted.output, 0);
    engine.step(1);
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("tok0"));
    let seen = engine.requests().remove(0);
    assert_eq!((seen.counted.output, seen.state), (1, State::Running));
}

#[tokio::test]
async fn a_client_that_leaves_is_seen_at_each_event() {
    for events in 0..3 {
        let engine = ScriptedEngine::start("tokens=3 pace=step".parse::<Behaviour>().unwrap()).await.unwrap();
        let mut body = post(&engine, "/v1/chat/completions", &ask("scripted")).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        for _ in 0..events {
            engine.step(1);
            body.frame().await.unwrap().unwrap();
        }
        drop(body);
        let seen = engine.until_ended(1).await.remove(0);
        assert_eq!((seen.state, seen.counted.output), (State::Cancelled, events), "after {events} events");
    }
}

#[tokio::test]
async fn a_stall_lasts_until_released() {
    let engine = ScriptedEngine::start("tokens=4 end=stall-after:2".parse::<Behaviour>().unwrap()).await.unwrap();
    let answer = post(&engine, "/v1/chat/completions", &ask("scripted")).await.unwrap();
    let reading = tokio::spawn(drain(answer));
    engine.until(|requests| requests[0].events == 2).await;
    assert!(!reading.is_finished());
    engine.release();
    let (bytes, good) = reading.await.unwrap();
    assert!(good && events(&bytes).len() == 8);
}
