//! A desk in memory: for tests, for the twin and for measuring. It keeps the same promises as the controller's, and forgets
//! everything with its process.

use crate::ca::Issued;
use crate::site::{Desk, FullState, NumberedEvent, Redeem, Refusal, Run, Seen};
use crate::token::Token;
use crate::wire::{Command, Done};
use fleet::machine::Finding;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use types::{MachineId, UnixMillis};

#[derive(Debug, Default)]
pub struct MemoryDesk {
    desktop: Mutex<Desktop>,
    /// Counts what agents said.
    heard: watch::Sender<u64>,
}

/// Everything on it.
#[derive(Debug, Default)]
pub struct Desktop {
    tokens: BTreeMap<String, Slip>,
    pub issued: Vec<Issued>,
    pub revoked: BTreeSet<MachineId>,
    /// Numbers of certificates that others came after.
    pub withdrawn: BTreeSet<String>,
    pub states: BTreeMap<MachineId, FullState>,
    pub last_seen: BTreeMap<MachineId, UnixMillis>,
    /// Reports taken, and those among them with a full state.
    pub reports: u64,
    pub full_reports: u64,
    pub events: BTreeMap<MachineId, Vec<NumberedEvent>>,
    pub commands: BTreeMap<MachineId, Vec<Command>>,
    pub done: BTreeMap<MachineId, Vec<Done>>,
    pub runs: Vec<Run>,
    pub findings: Vec<(Option<MachineId>, Finding)>,
    /// As if the database were away.
    pub away: bool,
}

#[derive(Debug, Clone)]
struct Slip {
    machine: MachineId,
    serial: Option<String>,
    over_at: UnixMillis,
    key: Option<String>,
}

impl MemoryDesk {
    /// Notes a token for a machine, bound to its serial if that is known.
    pub fn expect(&self, token: &Token, machine: MachineId, serial: Option<&str>, over_at: UnixMillis) {
        let slip = Slip { machine, serial: serial.map(str::to_owned), over_at, key: None };
        self.look().tokens.insert(token.hash(), slip);
    }

    pub fn look(&self) -> MutexGuard<'_, Desktop> {
        self.desktop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something that agents say makes this so.
    pub async fn until(&self, mut so: impl FnMut(&Desktop) -> bool) {
        let mut heard = self.heard.subscribe();
        while !so(&self.look()) {
            heard.borrow_and_update();
            if so(&self.look()) || heard.changed().await.is_err() {
                return;
            }
        }
    }

    fn hear(&self) {
        self.heard.send_modify(|it| *it += 1);
    }
}

impl Desktop {
    fn here(&self) -> Result<(), Refusal> {
        if self.away { Err(Refusal::Unavailable("the desk is away".into())) } else { Ok(()) }
    }

    fn speaks(&self, machine: MachineId) -> Result<(), Refusal> {
        self.here()?;
        if self.revoked.contains(&machine) { Err(Refusal::Revoked) } else { Ok(()) }
    }

    /// The machine, over this certificate; those before it are withdrawn, since it is seen.
    fn heard(&mut self, machine: MachineId, certificate: &str) -> Result<(), Refusal> {
        self.speaks(machine)?;
        if self.withdrawn.contains(certificate) {
            return Err(Refusal::Revoked);
        }
        let own: Vec<String> =
            self.issued.iter().filter(|it| it.machine == machine).map(|it| it.number.clone()).collect();
        let at = own.iter().position(|number| number == certificate).unwrap_or(0);
        self.withdrawn.extend(own.into_iter().take(at));
        Ok(())
    }

    /// Codes of the findings about a machine, or about nobody, in their order.
    pub fn codes(&self, machine: Option<MachineId>) -> Vec<&str> {
        self.findings.iter().filter(|(of, _)| *of == machine).map(|(_, it)| it.code.as_str()).collect()
    }
}

impl Desk for MemoryDesk {
    async fn redeem(&self, asked: &Redeem) -> Result<MachineId, Refusal> {
        let mut desk = self.look();
        desk.here()?;
        let slip = desk.tokens.get_mut(&asked.token).ok_or(Refusal::TokenUnknown)?;
        let machine = slip.machine;
        if asked.now >= slip.over_at {
            return Err(Refusal::TokenExpired { machine: Some(machine) });
        }
        if let Some(want) = slip.serial.clone().filter(|want| *want != asked.serial) {
            return Err(Refusal::OtherSerial { machine: Some(machine), want });
        }
        match &slip.key {
            Some(key) if *key != asked.key => return Err(Refusal::TokenSpent { machine: Some(machine) }),
            Some(_) => {}
            None => slip.key = Some(asked.key.clone()),
        }
        desk.speaks(machine)?;
        Ok(machine)
    }

    async fn enrolled(&self, issued: &Issued) -> Result<(), Refusal> {
        let mut desk = self.look();
        desk.here()?;
        let before = desk.issued.iter().filter(|it| it.machine == issued.machine).map(|it| it.number.clone());
        let before: Vec<_> = before.collect();
        desk.withdrawn.extend(before);
        desk.issued.push(issued.clone());
        Ok(())
    }

    async fn issued(&self, issued: &Issued) -> Result<(), Refusal> {
        let mut desk = self.look();
        desk.here()?;
        desk.issued.push(issued.clone());
        Ok(())
    }

    async fn standing(&self, machine: MachineId, certificate: &str) -> Result<(), Refusal> {
        self.look().heard(machine, certificate)
    }

    async fn report(&self, seen: &Seen) -> Result<Vec<Command>, Refusal> {
        let mut desk = self.look();
        desk.heard(seen.machine, &seen.certificate)?;
        desk.reports += 1;
        desk.last_seen.insert(seen.machine, seen.at);
        if let Some(state) = &seen.state {
            desk.full_reports += 1;
            desk.states.insert(seen.machine, state.clone());
        }
        if !seen.events.is_empty() {
            let events = desk.events.entry(seen.machine).or_default();
            for event in &seen.events {
                if !events.iter().any(|it| (it.instance, it.number) == (event.instance, event.number)) {
                    events.push(event.clone());
                }
            }
        }
        if !seen.done.is_empty() {
            let over: BTreeSet<&str> = seen.done.iter().map(|it| it.id.as_str()).collect();
            desk.commands.entry(seen.machine).or_default().retain(|it| !over.contains(it.id.as_str()));
            desk.done.entry(seen.machine).or_default().extend(seen.done.iter().cloned());
        }
        let commands = desk.commands.get(&seen.machine).cloned().unwrap_or_default();
        drop(desk);
        self.hear();
        Ok(commands)
    }

    async fn validation(&self, run: &Run) -> Result<(), Refusal> {
        let mut desk = self.look();
        desk.heard(run.machine, &run.certificate)?;
        let key = (run.machine, run.validation.entry, run.validation.attempt);
        desk.runs.retain(|it| (it.machine, it.validation.entry, it.validation.attempt) != key);
        desk.runs.push(run.clone());
        drop(desk);
        self.hear();
        Ok(())
    }

    async fn finding(&self, machine: Option<MachineId>, finding: Finding) {
        self.look().findings.push((machine, finding));
        self.hear();
    }
}
