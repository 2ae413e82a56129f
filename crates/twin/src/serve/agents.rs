//! Agents: a machine that booted the installer gets a token, enrols, and from then on reports, with its own key and its own
//! kept connection over mutual TLS. What it is told it does at once: suites pass unless something is broken.

use super::iron::Iron;
use super::{ServeError, World, faults};
use agent::clock::SystemClock;
use agent::enrol::EnrolError;
use agent::link::LinkError;
use agent::swarm::{self, Member};
use agent::token::Token;
use agent::wire::{Command, CommandKind, State, ValidationReport};
use fleet::observed::{EventKind, GpuSeen, TestOutcome, TestResult};
use http::Method;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use types::MachineId;

/// How often BMCs are looked at for an installer that was booted: a real one takes minutes to come up.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A new machine reports so often until it was told what to prove; the site takes one message a second.
const NEW_EVERY: Duration = Duration::from_secs(1);
/// After a site that did not answer, or asked for patience.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Machines that enrol at once: half of what the site takes, so that nobody has to come again.
const ENROLLING_MAX: usize = 16;

/// Looks for machines that boot the installer, and gives each its agent, until the twin stops.
pub async fn run(world: Arc<World>, there: Vec<usize>) {
    let enrolling = Arc::new(tokio::sync::Semaphore::new(ENROLLING_MAX));
    let mut has = vec![false; world.irons.len()];
    let mut lives = tokio::task::JoinSet::new();
    let mut begin: Vec<usize> = there;
    loop {
        for at in begin.drain(..) {
            has[at] = true;
            lives.spawn(life(world.clone(), at, enrolling.clone()));
        }
        let mut stopping = world.stopping();
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stopping.wait_for(|stop| *stop) => break,
        }
        while let Some(ended) = lives.try_join_next() {
            // Its certificate is withdrawn: a machine that boots the installer again begins anew.
            if let Ok(at) = ended {
                has[at] = false;
            }
        }
        begin.extend((0..has.len()).filter(|at| !has[*at] && world.irons[*at].is_installing()));
    }
    lives.shutdown().await;
}

/// One agent's life; ends when the site does not believe it any more.
async fn life(world: Arc<World>, at: usize, enrolling: Arc<tokio::sync::Semaphore>) -> usize {
    let iron = &world.irons[at];
    let mut member = loop {
        let turn = enrolling.acquire().await;
        match enrol(&world, iron, world.ids[at]).await {
            Ok(member) => break member,
            Err(error) => world.complain(&error),
        }
        drop(turn);
        tokio::time::sleep(RETRY_AFTER).await;
    };
    world.tally.agents.fetch_add(1, Ordering::Relaxed);
    let mut proved = false;
    loop {
        let pause = match iron.has_power() && !iron.broken().iter().any(faults::Fault::hangs) {
            false => RETRY_AFTER,
            true => match report(&world, iron, &mut member, &mut proved).await {
                Ok(next) if proved => next,
                Ok(next) => next.min(NEW_EVERY),
                Err(EnrolError::Link(error)) if !error.again() => {
                    world.complain(&ServeError::Agent(error.to_string()));
                    return at;
                }
                Err(error) => {
                    world.complain(&ServeError::Agent(error.to_string()));
                    RETRY_AFTER
                }
            },
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = iron.happened.notified() => {}
        }
    }
}

async fn enrol(world: &World, iron: &Iron, id: MachineId) -> Result<Member, ServeError> {
    let path = format!("/api/v1/machines/{id}/agent-token");
    let made = world.api.value(&world.token, Method::POST, &path, Some(&serde_json::json!({}))).await?;
    let text = made["token"].as_str().unwrap_or_default();
    let token = Token::parse(text).map_err(|error| ServeError::Answer { path, why: error.to_string() })?;
    let mut state = swarm::healthy(iron.gpus, &iron.serial);
    read_gpus(iron, &mut state);
    let enrolled = Member::enrol(&world.agents, &token, &iron.serial, state, Arc::new(SystemClock)).await;
    enrolled.map_err(|error| ServeError::Agent(error.to_string()))
}

/// Reports once and does what it is told; when to report again.
async fn report(world: &World, iron: &Iron, member: &mut Member, proved: &mut bool) -> Result<Duration, EnrolError> {
    read_gpus(iron, &mut member.state);
    for event in iron.take_events() {
        member.event(event);
    }
    let (answer, commands) = member.report().await?;
    world.tally.reports.fetch_add(1, Ordering::Relaxed);
    for command in &commands {
        obey(world, iron, member, command).await?;
        *proved |= matches!(command.what, CommandKind::RunSuite { .. });
    }
    // Done what it was told: the site is waiting for the word.
    Ok(if commands.is_empty() { Duration::from_millis(answer.next_ms) } else { Duration::ZERO })
}

/// What the driver reads of the GPUs that are in the machine now: one that was exchanged is another.
fn read_gpus(iron: &Iron, state: &mut State) {
    let serials = iron.gpu_serials();
    let gpus = std::mem::take(&mut state.gpus);
    let now = gpus.into_iter().map(|(uuid, gpu)| match serials.get(gpu.index as usize) {
        Some(serial) if *serial != gpu.serial => (format!("GPU-{serial}"), GpuSeen { serial: serial.clone(), ..gpu }),
        _ => (uuid, gpu),
    });
    state.gpus = now.collect();
}

async fn obey(world: &World, iron: &Iron, member: &mut Member, command: &Command) -> Result<(), LinkError> {
    match &command.what {
        CommandKind::RunSuite { suite, entry, attempt, .. } => {
            let run = ValidationReport {
                machine: member.machine,
                serial: String::new(),
                suite: suite.clone(),
                entry: *entry,
                attempt: *attempt,
                age_ms: 1,
                ended: true,
                tests: tests(iron),
            };
            // Told until it is taken.
            while let Err(error) = member.validation(run.clone()).await {
                if !error.again() {
                    return Err(error);
                }
                tokio::time::sleep(RETRY_AFTER).await;
            }
            world.tally.suites.fetch_add(1, Ordering::Relaxed);
        }
        CommandKind::RestartEngine { gpu, since } => {
            faults::restarted(iron, *gpu);
            member.event(EventKind::Restarted { gpu: *gpu, since: *since });
        }
        CommandKind::ResetGpu { gpu, since } => {
            faults::reset(iron, *gpu);
            member.event(EventKind::Reset { gpu: *gpu, since: *since });
        }
        CommandKind::StopWork { .. } => (member.state.stopped, member.state.running) = (true, 0),
        CommandKind::ResumeWork => member.state.stopped = false,
    }
    member.done(&command.id, true, "");
    Ok(())
}

/// What a suite finds: all well, or the part that is broken.
fn tests(iron: &Iron) -> Vec<TestResult> {
    let broken = iron.broken().iter().find(|fault| fault.shows_in_suite()).map(|fault| fault.part.clone());
    let test = |name: &str, threshold: &str, value: &str| TestResult {
        name: name.to_owned(),
        outcome: TestOutcome::Passed,
        threshold: threshold.to_owned(),
        value: value.to_owned(),
        millis: 1,
    };
    let mut tests = vec![
        test("memory", ">= 1 GB/s", "212 GB/s"),
        test("disk", ">= 1000 MB/s", "6210 MB/s"),
        test("disk latency", "<= 10 ms", "0.2 ms"),
        test("processors agree", "", "the same on all"),
        test("dcgm", "", "passed"),
        test("dcgm long", "", "passed"),
    ];
    if let Some(part) = broken {
        let found = TestResult { outcome: TestOutcome::Failed, ..test(&part, "", "failed") };
        tests.push(found);
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::super::iron::Trees;
    use super::*;

    /// The site compares what the driver reads with its bill: an agent that repeats what was there before the exchange would hold
    /// its machine.
    #[test]
    fn an_agent_reads_the_gpus_that_are_there_now() {
        let site = fleet::site::read(crate::factory::site_named("munich").unwrap(), None).site.unwrap();
        let planned = &site.machines()[0];
        let iron = Iron::new(planned, 0, &mut Trees::default());
        let note = super::super::iron::note(planned, 0);
        let mut state = swarm::healthy(iron.gpus, &iron.serial);
        let serials = |state: &State| {
            let gpus = state.gpus.values().map(|gpu| (format!("gpu{}", gpu.index + 1), gpu.serial.clone()));
            gpus.collect::<std::collections::BTreeMap<_, _>>()
        };
        let uuids = |state: &State| state.gpus.keys().cloned().collect::<Vec<_>>();
        read_gpus(&iron, &mut state);
        let before = serials(&state);
        assert_eq!(before.len(), 8);
        assert!(before.iter().all(|(part, serial)| note[part] == *serial), "{before:?}");
        let old = uuids(&state);
        let new = iron.exchange("gpu3");
        read_gpus(&iron, &mut state);
        let mut expected = before.clone();
        expected.insert("gpu3".to_owned(), new);
        assert_eq!(serials(&state), expected);
        assert_eq!(uuids(&state).iter().filter(|uuid| !old.contains(uuid)).count(), 1, "another GPU has another UUID");
        let settled = state.clone();
        read_gpus(&iron, &mut state);
        assert_eq!(state, settled);
    }
}
