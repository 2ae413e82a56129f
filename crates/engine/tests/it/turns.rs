//! Whose turn it is: requests interleave, long prompts do not block, the queue is bounded, who leaves costs nothing.
//! The gate holds the inference thread before each step, so that the order is the test's and not the machine's.

use crate::client::{Served, patient, said, serve};
use crate::tiny::{self, SCRIPT};
use engine::{Options, Step, StepKind};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// Held by the test: each step is announced and waits for permission. Once the permissions are dropped all run freely.
struct Gate {
    steps: Receiver<Step>,
    permits: Option<Sender<()>>,
}

impl Gate {
    fn new() -> (Self, Options) {
        let (announce, steps) = channel();
        let (permits, permitted) = channel();
        let permitted = Mutex::new(permitted);
        let on_step = Arc::new(move |step: Step| {
            let _ = announce.send(step);
            let _ = permitted.lock().unwrap().recv();
        });
        (Self { steps, permits: Some(permits) }, Options { on_step: Some(on_step), ..Options::default() })
    }

    /// Waits until the thread stands before a step.
    async fn next(&mut self) -> Step {
        patient(async {
            loop {
                match self.steps.try_recv() {
                    Ok(step) => return step,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await
    }

    fn permit(&self) {
        self.permits.as_ref().unwrap().send(()).unwrap();
    }

    fn open(&mut self) {
        self.permits = None;
    }

    /// Everything announced since.
    fn rest(&self) -> Vec<Step> {
        self.steps.try_iter().collect()
    }
}

fn ask(content: &str, max_tokens: usize) -> Value {
    json!({"model": "tiny", "temperature": 0, "max_tokens": max_tokens, "messages": [{"role": "user", "content": content}]})
}

async fn scripted(options: Options) -> (TempDir, Served) {
    let dir = tempfile::tempdir().unwrap();
    tiny::scripted(dir.path(), true);
    let served = serve(dir.path(), options).await;
    (dir, served)
}

#[tokio::test]
async fn two_requests_take_turns() {
    let (mut gate, options) = Gate::new();
    let (_dir, served) = scripted(Options { prefill_chunk: 10, ..options }).await;
    let served = Arc::new(served);
    let spawn = |content: String, max_tokens| {
        let served = served.clone();
        tokio::spawn(async move { said(&served.chat(ask(&content, max_tokens)).await) })
    };
    // A long prompt and a long answer first, then someone with a short question.
    let long = spawn("b".repeat(57), 30);
    let first = gate.next().await;
    assert_eq!(first, Step { request: 1, kind: StepKind::Prompt { tokens: 10 } });
    let short = spawn("x".into(), 5);
    served.until("sequences_accepted_total", 2).await;
    gate.permit();
    gate.open();
    let (long, short) = (long.await.unwrap(), short.await.unwrap());
    assert_eq!(short, &SCRIPT[..5]);
    assert_eq!(long, format!("{SCRIPT}a")[..30]);
    let steps = gate.rest();
    let order: Vec<u64> = steps.iter().map(|s| s.request).collect();
    // 60 tokens of the long prompt are 6 chunks, the first of them seen above: a turn each, until the short one is done.
    assert_eq!(order[..10], [1, 2, 1, 2, 1, 2, 1, 2, 1, 2]);
    assert!(order[10..].iter().all(|r| *r == 1));
    let prompts = |request| steps.iter().filter(move |s| s.request == request && s.kind != StepKind::Token).count();
    assert_eq!((prompts(1), prompts(2)), (5, 1));
    assert_eq!(steps.len(), 5 + 29 + 1 + 4);
    Arc::into_inner(served).unwrap().stop().await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_when_to_come_back() {
    let (mut gate, options) = Gate::new();
    let (_dir, served) = scripted(Options { sequences_max: 1, queue_max: 1, ..options }).await;
    let served = Arc::new(served);
    let spawn = || {
        let served = served.clone();
        tokio::spawn(async move { served.chat(ask("x", 5)).await })
    };
    let first = spawn();
    gate.next().await;
    let second = spawn();
    served.until("sequences_accepted_total", 2).await;
    let third = served.chat(ask("x", 5)).await;
    assert_eq!(third.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(third.headers["retry-after"], "1");
    assert_eq!(third.json()["error"]["code"], "engine_queue_full");
    gate.open();
    assert_eq!(said(&first.await.unwrap()), &SCRIPT[..5]);
    assert_eq!(said(&second.await.unwrap()), &SCRIPT[..5]);
    assert_eq!(said(&served.chat(ask("x", 5)).await), &SCRIPT[..5]);
    assert_eq!(served.count("refused_busy_total").await, 1);
    // One at a time, in order of arrival.
    let order: Vec<u64> = gate.rest().iter().map(|s| s.request).collect();
    assert!(order.is_sorted(), "{order:?}");
    Arc::into_inner(served).unwrap().stop().await;
}

#[tokio::test]
async fn places_are_free_when_an_answer_is_out() {
    let (_dir, served) = scripted(Options { sequences_max: 1, queue_max: 0, ..Options::default() }).await;
    for _ in 0..50 {
        assert_eq!(said(&served.chat(ask("x", 3)).await), SCRIPT[..1].to_owned() + "\u{FFFD}");
    }
    served.stop().await;
}

#[tokio::test]
async fn who_leaves_a_stream_stops_it_and_frees_the_place() {
    let (mut gate, options) = Gate::new();
    let (_dir, served) = scripted(Options { sequences_max: 1, queue_max: 0, ..options }).await;
    let mut body = ask("x", 200);
    body["stream"] = json!(true);
    let mut open = served.stream(&body).await;
    for _ in 0..5 {
        gate.next().await;
        gate.permit();
    }
    open.event().await.unwrap();
    open.event().await.unwrap();
    assert_eq!(served.count("sequences_running").await, 1);
    drop(open);
    step_until_cancelled(&mut gate, &served, 1).await;
    assert!(served.count("completion_tokens_total").await < 200);
    gate.open();
    assert_eq!(said(&served.chat(ask("x", 5)).await), &SCRIPT[..5]);
    served.stop().await;
}

/// A request that answers nothing yet, on a connection of its own: aborting it is leaving.
fn silent(served: &Served, content: &str) -> tokio::task::JoinHandle<()> {
    let (address, body) = (served.address, ask(content, 20).to_string().into());
    tokio::spawn(async move {
        crate::client::open(address, http::Method::POST, "/v1/chat/completions", body).await;
    })
}

#[tokio::test]
async fn who_leaves_while_the_prompt_is_read_stops_that_too() {
    let (mut gate, options) = Gate::new();
    let (_dir, served) = scripted(Options { sequences_max: 1, prefill_chunk: 1, ..options }).await;
    let request = silent(&served, &"b".repeat(200));
    gate.next().await;
    request.abort();
    gate.permit();
    step_until_cancelled(&mut gate, &served, 1).await;
    assert!(served.count("prompt_tokens_total").await < 200);
    assert_eq!(served.count("completion_tokens_total").await, 0);
    assert_eq!(served.count("sequences_running").await, 0);
    gate.open();
    assert_eq!(said(&served.chat(ask("x", 5)).await), &SCRIPT[..5]);
    served.stop().await;
}

#[tokio::test]
async fn who_leaves_the_queue_frees_the_place_at_once() {
    let (mut gate, options) = Gate::new();
    let (_dir, served) = scripted(Options { sequences_max: 1, queue_max: 1, ..options }).await;
    let mut body = ask("x", 200);
    body["stream"] = json!(true);
    let running = served.stream(&body).await;
    gate.next().await;
    let waiting = silent(&served, "x");
    served.until("sequences_accepted_total", 2).await;
    waiting.abort();
    gate.permit();
    step_until_cancelled(&mut gate, &served, 1).await;
    // The first still runs, and the place behind it can be taken again.
    assert_eq!(served.count("sequences_running").await, 1);
    let next = silent(&served, "x");
    served.until("sequences_accepted_total", 3).await;
    assert_eq!(served.count("refused_busy_total").await, 0);
    gate.open();
    assert_eq!(running.chunks().await.last().unwrap()["choices"][0]["finish_reason"], "length");
    next.await.unwrap();
    served.stop().await;
}

/// Lets single steps through, with a round trip through the server between them, until the leaving was noticed.
async fn step_until_cancelled(gate: &mut Gate, served: &Served, cancelled: u64) {
    for _ in 0..100 {
        if gate.steps.try_recv().is_ok() {
            gate.permit();
        }
        if served.count("sequences_cancelled_total").await == cancelled {
            return;
        }
    }
    patient(served.until("sequences_cancelled_total", cancelled)).await;
}

#[tokio::test]
async fn shutdown_lets_an_answer_end() {
    let (mut gate, options) = Gate::new();
    let (_dir, served) = scripted(options).await;
    let mut body = ask("x", 20);
    body["stream"] = json!(true);
    let open = served.stream(&body).await;
    gate.next().await;
    let stopping = tokio::spawn(served.stop());
    gate.open();
    assert_eq!(open.chunks().await.last().unwrap()["choices"][0]["finish_reason"], "length");
    stopping.await.unwrap();
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let (mut gate, options) = Gate::new();
    let (_dir, served) = scripted(Options { drain_timeout: std::time::Duration::from_millis(1), ..options }).await;
    let mut body = ask("x", 200);
    body["stream"] = json!(true);
    let open = served.stream(&body).await;
    gate.next().await;
    let stopping = tokio::spawn(served.stop());
    // The answer is cut while the thread is still held; then it finds nobody there.
    open.cut().await;
    gate.open();
    stopping.await.unwrap();
}
