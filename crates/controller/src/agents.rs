//! The site's desk for agents, over the store: tokens, certificates, what agents see, and what their machines are to do.
//!
//! What it is not: it terminates no TLS and decides who may speak for whom (`agent::site` does both), and it decides nothing
//! about a machine: reports become observations, and a step follows.
//!
//! Of 1,250 agents that report every ten seconds most say only that they are there. That is kept here and written
//! twice a minute ([`AgentDesk::flush`]). If we crash before, the agents were silent for so long, which is a tenth of the
//! limit.

use crate::controller::FillRandom;
use crate::reconcile::{Bell, Wanted, Wants};
use agent::ca::Issued;
use agent::site::{Desk, Redeem, Refusal, Run, Seen};
use agent::wire::{Command, CommandKind, Done};
use fleet::action::Action;
use fleet::machine::{Finding, Lifecycle};
use fleet::observed::{Event, SuiteRefused};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{AgentCertificate, FleetEvent, Observation, Redeemed, Store, StoreError};
use types::{MachineId, UnixMillis};

/// How often presence is written: twice a minute for 1,250 machines is one transaction of 1,250 small updates.
pub const FLUSH_EVERY: Duration = Duration::from_secs(30);

/// A certificate that was found good is believed for so long: a withdrawal is heard within a minute, and 1,250 machines are 21
/// look-ups a second.
pub const STANDING_MILLIS: i64 = 60_000;

/// A clock that moved by more against ours than what is stored is stored again, though nothing else of its agent changed: a thirtieth
/// of the skew that holds a machine (5 min), and a hundred times what the way of a report makes of a clock that is right.
pub const SKEW_MOVED_MILLIS: i64 = 10_000;

/// Clones are one desk.
#[derive(Clone)]
pub struct AgentDesk(Arc<Inner>);

struct Inner {
    store: Store,
    wants: Wants,
    bell: Bell,
    heard: Mutex<Heard>,
}

/// What is kept of agents between two writes.
#[derive(Default)]
struct Heard {
    alive: BTreeMap<MachineId, UnixMillis>,
    /// The skew that is stored of each machine.
    skews: BTreeMap<MachineId, i64>,
    /// Machines whose agents say that they begin nothing new.
    stopped: BTreeMap<MachineId, bool>,
    /// The certificate of each machine that was last found good, and when.
    good: BTreeMap<MachineId, (String, UnixMillis)>,
}

fn away(error: StoreError) -> Refusal {
    tracing::warn!(%error, "an agent's word could not be stored; it says it again");
    Refusal::Unavailable(error.to_string())
}

impl AgentDesk {
    pub fn new(store: Store, wants: Wants, bell: Bell) -> AgentDesk {
        AgentDesk(Arc::new(Inner { store, wants, bell, heard: Mutex::default() }))
    }

    /// Writes who was heard since the last time.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let heard = std::mem::take(&mut self.heard().alive);
        let heard: Vec<_> = heard.into_iter().collect();
        if heard.is_empty() { Ok(()) } else { self.0.store.agents_alive(&heard).await }
    }

    /// Writes who was heard until it is dropped.
    pub async fn keep_flushing(self) {
        loop {
            tokio::time::sleep(FLUSH_EVERY).await;
            if let Err(error) = self.flush().await {
                tracing::warn!(%error, "agents' presence could not be stored");
            }
        }
    }

    /// Whether this certificate may speak, from the store at most once a minute.
    async fn speaks(&self, machine: MachineId, certificate: &str, now: UnixMillis) -> Result<(), Refusal> {
        let known = self.heard().good.get(&machine).cloned();
        let same = known.as_ref().is_some_and(|(good, _)| good == certificate);
        if known.is_some_and(|(_, at)| same && now.0 - at.0 < STANDING_MILLIS) {
            return Ok(());
        }
        self.standing(machine, certificate).await?;
        if !same {
            // A certificate that follows another is in its agent's hands: nobody needs the others any more.
            let withdrawn = self.0.store.agent_supersede(machine, certificate).await.map_err(away)?;
            if withdrawn > 0 {
                tracing::info!(%machine, withdrawn, "certificates before the one that its agent shows are withdrawn");
            }
        }
        self.heard().good.insert(machine, (certificate.to_owned(), now));
        Ok(())
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self, seen: &Seen) -> Result<(), StoreError> {
        let machine = seen.machine;
        if let Some(state) = &seen.state {
            self.heard().stopped.insert(machine, state.stopped);
            let (mut agent, skew_ms) = (state.agent.clone(), seen.skew_ms);
            (agent.at, agent.clock_skew_ms) = (seen.at, skew_ms);
            let seen = [
                (machine, seen.at, Observation::Agent(agent)),
                (machine, seen.at, Observation::Running(state.running)),
            ];
            self.0.store.observe(&seen).await?;
            self.heard().skews.insert(machine, skew_ms);
            self.0.bell.ring();
        } else {
            self.heard().alive.insert(machine, seen.at);
            self.take_skew(seen).await?;
        }
        let mut events: Vec<(u64, u64, Event)> = Vec::with_capacity(seen.events.len());
        for event in &seen.events {
            events.push((event.instance, event.number, Event { at: event.at, what: event.what.clone() }));
        }
        if !events.is_empty() {
            self.0.store.agent_events(machine, &events).await?;
            self.0.bell.ring();
        }
        // A reset or a restart that was done comes as an event of its own.
        for done in seen.done.iter().filter(|done| !done.ok) {
            tracing::warn!(%machine, command = %done.id, text = done.text, "an agent could not do what it was told");
            if !done.later {
                self.refused(seen, done).await?;
            }
        }
        Ok(())
    }

    /// What a machine wants. After a start nobody has said it yet; then its row does, because an agent says a thing once.
    async fn wanted(&self, machine: MachineId) -> Result<Option<Wanted>, StoreError> {
        if let Some(wanted) = self.0.wants.of(machine) {
            return Ok(Some(wanted));
        }
        let row = self.0.store.machine(machine).await?;
        Ok(row.map(|row| {
            let (lifecycle, entry, attempt) = (row.machine.lifecycle, row.machine.entry, row.machine.attempt);
            Wanted { machine, slot: row.spec.slot, lifecycle, entry, attempt, actions: row.wants }
        }))
    }

    /// A suite that its agent will not begin, however often it is told: its machine's step must see it, and people.
    async fn refused(&self, seen: &Seen, done: &Done) -> Result<(), StoreError> {
        let machine = seen.machine;
        let Some(wanted) = self.wanted(machine).await? else { return Ok(()) };
        let of = |action: &Action| match action {
            Action::Validate { suite } if done.id == validate_id(&wanted) => Some(suite.clone()),
            _ => None,
        };
        let Some(suite) = wanted.actions.iter().find_map(of) else { return Ok(()) };
        let (entry, attempt, text) = (wanted.entry, wanted.attempt, done.text.clone());
        let refused = SuiteRefused { suite, entry, attempt, text, at: seen.at };
        // The answer to a report may be lost; then it is said again.
        let before = self.0.store.observed(machine).await?.refused;
        if before.is_some_and(|before| SuiteRefused { at: refused.at, ..before } == refused) {
            return Ok(());
        }
        let text = format!("suite_refused: {}: {}", refused.suite, refused.text);
        self.0.store.observe(&[(machine, seen.at, Observation::Refused(refused))]).await?;
        let event = FleetEvent { seq: 0, at: seen.at, machine: Some(machine), kind: "agent".to_owned(), text };
        self.0.store.fleet_event(&event).await?;
        self.0.bell.ring();
        Ok(())
    }

    /// A clock was set, well or badly, and nothing else changed: the step that holds a machine for its clock must see it.
    async fn take_skew(&self, seen: &Seen) -> Result<(), StoreError> {
        let (machine, skew_ms) = (seen.machine, seen.skew_ms);
        let stored = self.heard().skews.get(&machine).copied();
        if stored.is_some_and(|stored| stored.saturating_sub(skew_ms).saturating_abs() <= SKEW_MOVED_MILLIS) {
            return Ok(());
        }
        // Nothing is stored of an agent before its first whole state, which carries its skew.
        let Some(mut agent) = self.0.store.agent_seen(machine).await? else { return Ok(()) };
        (agent.at, agent.clock_skew_ms) = (seen.at, skew_ms);
        self.0.store.observe(&[(machine, seen.at, Observation::Agent(agent))]).await?;
        self.heard().skews.insert(machine, skew_ms);
        self.0.bell.ring();
        Ok(())
    }

    /// What the machine is to do now, from what its last step wants.
    fn commands(&self, machine: MachineId) -> Vec<Command> {
        // Nothing is known of what it is for: whoever reconciles says it.
        let Some(wanted) = self.0.wants.of(machine) else { return Vec::new() };
        let mut commands: Vec<Command> = wanted.actions.iter().filter_map(|action| command(&wanted, action)).collect();
        if !wanted.actions.contains(&Action::StopWork) {
            commands.extend(self.resume(&wanted));
        }
        commands
    }

    /// A machine that stopped, and is in service again. In a repair nothing begins: somebody has his hands in it.
    fn resume(&self, wanted: &Wanted) -> Option<Command> {
        let stopped = self.heard().stopped.get(&wanted.machine) == Some(&true);
        let resumes = stopped && wanted.lifecycle == Lifecycle::Accepted;
        // An agent does a command of one name once: each time in service is another.
        resumes.then(|| Command { id: format!("resume/{}", wanted.entry), what: CommandKind::ResumeWork })
    }
}

/// The name of the validation run of this stay and attempt.
fn validate_id(wanted: &Wanted) -> String {
    format!("validate/{}/{}", wanted.entry, wanted.attempt)
}

fn command(wanted: &Wanted, action: &Action) -> Option<Command> {
    let (entry, attempt) = (wanted.entry, wanted.attempt);
    let (id, what) = match action {
        Action::Validate { suite } => {
            let run = CommandKind::RunSuite { suite: suite.clone(), text: None, entry, attempt };
            (validate_id(wanted), run)
        }
        Action::RestartEngine { gpu, since } => {
            (format!("restart/{gpu}/{}", since.0), CommandKind::RestartEngine { gpu: *gpu, since: *since })
        }
        Action::ResetGpu { gpu, since } => {
            (format!("reset/{gpu}/{}", since.0), CommandKind::ResetGpu { gpu: *gpu, since: *since })
        }
        Action::StopWork => {
            (format!("stop/{entry}"), CommandKind::StopWork { reason: "this machine is being drained".to_owned() })
        }
        _ => return None,
    };
    Some(Command { id, what })
}

impl Desk for AgentDesk {
    async fn redeem(&self, asked: &Redeem) -> Result<MachineId, Refusal> {
        let spent =
            self.0.store.agent_redeem(&asked.token, &asked.key, &asked.serial, asked.now).await.map_err(away)?;
        match spent {
            Redeemed::For(machine) => Ok(machine),
            Redeemed::Unknown => Err(Refusal::TokenUnknown),
            Redeemed::Expired(machine) => Err(Refusal::TokenExpired { machine: Some(machine) }),
            Redeemed::Spent(machine) => Err(Refusal::TokenSpent { machine: Some(machine) }),
            Redeemed::OtherSerial(machine, want) => Err(Refusal::OtherSerial { machine: Some(machine), want }),
        }
    }

    async fn enrolled(&self, issued: &Issued) -> Result<(), Refusal> {
        let (machine, not_after) = (issued.machine, issued.not_after);
        let certificate = AgentCertificate { machine, not_after, revoked: false };
        let withdrawn = self.0.store.agent_enrol(&issued.number, &certificate).await.map_err(away)?;
        // What was believed of another is not believed for a minute more.
        self.heard().good.remove(&machine);
        if withdrawn > 0 {
            tracing::warn!(%machine, withdrawn, "an agent enrolled anew; the certificates before are withdrawn");
        }
        Ok(())
    }

    async fn issued(&self, issued: &Issued) -> Result<(), Refusal> {
        let certificate = AgentCertificate { machine: issued.machine, not_after: issued.not_after, revoked: false };
        self.0.store.agent_certify(&issued.number, &certificate).await.map_err(away)
    }

    async fn standing(&self, machine: MachineId, certificate: &str) -> Result<(), Refusal> {
        let known = self.0.store.agent_certificate(certificate).await.map_err(away)?;
        match known.filter(|known| known.machine == machine && !known.revoked) {
            Some(_) => {}
            None => return Err(Refusal::Revoked),
        }
        let row = self.0.store.machine(machine).await.map_err(away)?;
        match row.is_some_and(|row| row.machine.lifecycle != Lifecycle::Retired) {
            true => Ok(()),
            false => Err(Refusal::Revoked),
        }
    }

    async fn report(&self, seen: &Seen) -> Result<Vec<Command>, Refusal> {
        self.speaks(seen.machine, &seen.certificate, seen.at).await?;
        self.take(seen).await.map_err(away)?;
        Ok(self.commands(seen.machine))
    }

    async fn validation(&self, run: &Run) -> Result<(), Refusal> {
        self.standing(run.machine, &run.certificate).await?;
        let seen = run.validation.ended_at.unwrap_or(run.validation.begun_at);
        match self.0.store.validation(run.machine, seen, &run.validation).await.map_err(away)? {
            true => self.0.bell.ring(),
            // Taken, or its agent would send it for ever.
            false => {
                let (entry, attempt) = (run.validation.entry, run.validation.attempt);
                tracing::info!(machine = %run.machine, entry, attempt, "a validation run that nobody waits for was dropped");
            }
        }
        Ok(())
    }

    async fn finding(&self, machine: Option<MachineId>, finding: Finding) {
        let shown = machine.map(|machine| machine.to_string()).unwrap_or_default();
        tracing::warn!(finding = %finding.code, machine = shown, text = finding.text, "something to look at about an agent");
        let text = format!("{}: {}", finding.code, finding.text);
        let event = FleetEvent { seq: 0, at: finding.at, machine, kind: "agent".to_owned(), text };
        if let Err(error) = self.0.store.fleet_event(&event).await {
            tracing::warn!(%error, "a finding about an agent could not be stored");
        }
    }
}

/// A clock that the desk's listener shares with the rest of this process.
#[derive(Clone)]
pub struct DeskClock {
    pub now: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
    pub random: FillRandom,
}

impl std::fmt::Debug for DeskClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeskClock")
    }
}

impl agent::clock::Clock for DeskClock {
    fn now(&self) -> UnixMillis {
        (self.now)()
    }

    fn random(&self, bytes: &mut [u8]) {
        (self.random)(bytes);
    }
}
