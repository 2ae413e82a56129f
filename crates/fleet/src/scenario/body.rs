//! A machine of iron: what is true of it, from which BMC and agent tell what they tell.

use super::script::{PartChange, TestWill, Voice};
use crate::action::Action;
use crate::machine::{Machine, Spec};
use crate::observed::{
    AgentSeen, BmcSeen, Certified, Event, EventKind, GpuSeen, Inventory, Observed, Part, Power, TestOutcome,
    TestResult, Validation,
};
use std::collections::BTreeMap;
use types::{AcceptanceId, UnixMillis};

/// A burn-in in these stories; the real one takes days.
const VALIDATION_MILLIS: i64 = 3_600_000;

pub(super) struct Body {
    pub serial: String,
    /// What a scanner reads, if not the serial number.
    pub label: Option<String>,
    pub racked: bool,
    power: bool,
    parts: BTreeMap<String, Part>,
    firmware: BTreeMap<String, String>,
    pub firmware_stuck: bool,
    pub bmc: Voice,
    pub agent: Voice,
    /// When a silent agent speaks again by itself.
    pub agent_back: Option<UnixMillis>,
    enrolled: bool,
    /// Entry and attempt of the suite that its agent runs; gone with the agent.
    suite: Option<(u64, u32)>,
    pub will: TestWill,
    /// None: a program that does not end.
    pub running: Option<u32>,
}

impl Body {
    pub fn new(spec: &Spec) -> Body {
        let of = |name: &str| name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let part = |(name, serial): (&String, &String)| {
            let part = Part { kind: of(name), model: String::new(), serial: serial.clone(), healthy: true };
            (name.clone(), part)
        };
        Body {
            serial: spec.serials["chassis"].clone(),
            label: None,
            racked: false,
            power: false,
            parts: spec.serials.iter().filter(|(name, _)| *name != "chassis").map(part).collect(),
            firmware: spec.firmware.keys().map(|name| (name.clone(), "1.0".to_owned())).collect(),
            firmware_stuck: false,
            bmc: Voice::Well,
            agent: Voice::Well,
            agent_back: None,
            enrolled: false,
            suite: None,
            will: TestWill::Passes,
            running: Some(0),
        }
    }

    pub fn change(&mut self, name: &str, how: &PartChange) -> Result<(), String> {
        let part = self.parts.get_mut(name).ok_or_else(|| format!("no part {name}"))?;
        match how {
            PartChange::Serial(serial) => part.serial.clone_from(serial),
            PartChange::Faulty => part.healthy = false,
            PartChange::Gone => _ = self.parts.remove(name),
        }
        Ok(())
    }

    /// A new part in the place of the old one, or of nothing.
    pub fn exchange(&mut self, name: &str, serial: &str) {
        let kind = name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let part = Part { kind, model: String::new(), serial: serial.to_owned(), healthy: true };
        self.parts.insert(name.to_owned(), part);
    }

    /// Tells what is seen of it now.
    pub fn observe(&mut self, seen: &mut Observed, now: UnixMillis) {
        if self.agent_back.is_some_and(|at| at <= now) {
            self.agent_back = None;
            self.agent = Voice::Well;
        }
        if self.agent == Voice::Silent {
            self.suite = None;
        }
        if self.racked {
            match (&self.bmc, &mut seen.bmc) {
                (Voice::Silent, Some(bmc)) => bmc.silent_since = bmc.silent_since.or(Some(now)),
                (Voice::Silent, None) => {}
                (voice, bmc) => *bmc = Some(BmcSeen { at: now, silent_since: None, inventory: self.inventory(voice) }),
            }
        }
        if self.power && self.enrolled && self.agent != Voice::Silent {
            seen.agent = Some(self.agent_seen(now));
        }
        seen.running = self.running.unwrap_or(1);
        if let Some(run) = &mut seen.validation
            && run.ended_at.is_none()
            && self.suite == Some((run.entry, run.attempt))
            && now.0 - run.begun_at.0 >= VALIDATION_MILLIS
        {
            run.ended_at = Some(now);
            run.tests.push(self.test());
        }
    }

    fn inventory(&self, voice: &Voice) -> Inventory {
        Inventory {
            serial: if let Voice::Serial(serial) = voice { serial.clone() } else { self.serial.clone() },
            power: if self.power { Power::On } else { Power::Off },
            parts: self.parts.clone(),
            firmware: self.firmware.clone(),
            ..Inventory::default()
        }
    }

    fn agent_seen(&self, now: UnixMillis) -> AgentSeen {
        let gpus = self.parts.iter().filter(|(_, part)| part.kind == "gpu").map(|(name, part)| {
            let index = name.trim_start_matches("gpu").parse::<u32>().map_or(0, |number| number.saturating_sub(1));
            let gpu = GpuSeen {
                index,
                name: "NVIDIA B200".to_owned(),
                serial: part.serial.clone(),
                nvlinks_up: 18,
                ..GpuSeen::default()
            };
            (format!("GPU-{}", part.serial), gpu)
        });
        AgentSeen {
            at: now,
            serial: if let Voice::Serial(serial) = &self.agent { serial.clone() } else { self.serial.clone() },
            driver: "570.124.06".to_owned(),
            gpus: gpus.collect(),
            clock_skew_ms: if let Voice::Clock(skew) = self.agent { skew } else { 0 },
        }
    }

    fn test(&self) -> TestResult {
        let (outcome, value) = match self.will {
            TestWill::Passes => (TestOutcome::Passed, "2510 GB/s"),
            TestWill::Fails => (TestOutcome::Failed, "1800 GB/s"),
            TestWill::Hangs => (TestOutcome::TimedOut, ""),
        };
        let (name, threshold) = ("nvbandwidth".to_owned(), ">= 2400 GB/s".to_owned());
        TestResult { name, outcome, threshold, value: value.to_owned(), millis: VALIDATION_MILLIS as u64 }
    }

    /// Does what a step asks for; orders and pages are the world's.
    pub fn execute(&mut self, action: &Action, spec: &Spec, machine: &Machine, seen: &mut Observed, now: UnixMillis) {
        match action {
            Action::PowerOn => self.power = true,
            Action::PowerOff => self.power = false,
            Action::UpdateFirmware { components } if !self.firmware_stuck => {
                for name in components {
                    self.firmware.insert(name.clone(), spec.firmware[name].clone());
                }
            }
            Action::Provision => self.enrolled = true,
            // Once, however often it is asked.
            Action::Validate { .. } if self.suite == Some((machine.entry, machine.attempt)) => {}
            Action::Validate { suite } => {
                self.suite = Some((machine.entry, machine.attempt));
                seen.validation = Some(Validation {
                    suite: suite.clone(),
                    entry: machine.entry,
                    attempt: machine.attempt,
                    begun_at: now,
                    ended_at: None,
                    tests: Vec::new(),
                });
            }
            Action::Certify => {
                // Signed when first asked, sealed by the time it is asked again.
                let sealed = seen.certified.as_ref().is_some_and(|it| it.entry == machine.entry);
                let certificate = AcceptanceId((machine.id.0 << 32) | u128::from(machine.entry));
                seen.certified = Some(Certified { entry: machine.entry, certificate, sealed });
            }
            Action::StopWork => self.running = self.running.map(|_| 0),
            Action::RestartEngine { gpu, since } => {
                seen.events.push(Event { at: now, what: EventKind::Restarted { gpu: *gpu, since: *since } });
            }
            Action::ResetGpu { gpu, since } => {
                seen.events.push(Event { at: now, what: EventKind::Reset { gpu: *gpu, since: *since } });
            }
            Action::UpdateFirmware { .. }
            | Action::ReadInventory
            | Action::PowerCycle
            | Action::OpenOrder { .. }
            | Action::CancelOrder
            | Action::Page { .. } => {}
        }
    }
}
