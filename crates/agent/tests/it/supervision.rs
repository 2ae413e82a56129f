//! Engines that die, that are told to, that hang on. The clock is paused: pauses take no time.

use agent::supervise::{Engine, Supervisor};
use std::path::Path;

fn engine(script: &str) -> Engine {
    Engine {
        name: "e".into(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        health: "http://127.0.0.1:1/health".into(),
        gpus: vec![3],
        exposed: false,
    }
}

async fn until(supervisor: &mut Supervisor, state: &str) {
    while supervisor.seen()[0].state != state {
        supervisor.changed().await;
    }
}

fn count(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("e.log")).unwrap().matches("started").count()
}

#[tokio::test(start_paused = true)]
async fn one_that_dies_five_times_is_given_up_and_can_be_told_to_try_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut supervisor = Supervisor::start(vec![engine("echo started; exit 7")], folder.path()).unwrap();
    until(&mut supervisor, "given_up").await;
    let seen = supervisor.seen();
    assert_eq!(seen[0].restarts, 4);
    assert_eq!(seen[0].note, "exit status: 7");
    assert_eq!(count(folder.path()), 5);
    assert_eq!(supervisor.restart(0), 0, "nobody uses this GPU");
    assert_eq!(supervisor.restart(3), 1);
    until(&mut supervisor, "waiting").await;
    until(&mut supervisor, "given_up").await;
    assert_eq!(count(folder.path()), 10);
    supervisor.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_runs_is_stopped_orderly() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap 'echo asked to end; exit 0' TERM; echo started; while :; do sleep 0.05; done";
    let mut supervisor = Supervisor::start(vec![engine(script)], folder.path()).unwrap();
    // It does not answer on its URL.
    until(&mut supervisor, "unhealthy").await;
    supervisor.run_all(false);
    until(&mut supervisor, "stopped").await;
    supervisor.run_all(true);
    until(&mut supervisor, "unhealthy").await;
    supervisor.stop().await;
    assert!(folder.path().join("e.log").exists());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut missing = engine("");
    missing.command = vec!["/nowhere/vllm".into()];
    let mut supervisor = Supervisor::start(vec![missing], folder.path()).unwrap();
    until(&mut supervisor, "given_up").await;
    assert!(supervisor.seen()[0].note.starts_with("/nowhere/vllm: "), "{:?}", supervisor.seen());
    supervisor.stop().await;
}
