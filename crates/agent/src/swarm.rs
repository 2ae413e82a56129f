//! Many simulated agents in one process, each with its own key, certificate and kept connection, speaking the real protocol over
//! real TLS. For the twin, and to measure what a site costs.

use crate::clock::Clock;
use crate::enrol::{Claim, EnrolError, enrol_in_memory, renew};
use crate::link::{Address, Link, LinkError};
use crate::report::Reporter;
use crate::token::Token;
use crate::wire::{Answer, Command, REPORT, Report, State, Taken, VALIDATION, ValidationReport};
use fleet::observed::{EventKind, GpuSeen};
use std::sync::Arc;
use tokio::time::Instant;
use types::MachineId;

/// One simulated agent.
pub struct Member {
    pub machine: MachineId,
    pub serial: String,
    /// What it says of its machine; change it, and the next report tells.
    pub state: State,
    link: Link,
    reporter: Reporter,
    clock: Arc<dyn Clock>,
    epoch: Instant,
}

/// A state with so many healthy GPUs, as of a DGX B200.
pub fn healthy(gpus: u32, serial: &str) -> State {
    let gpu = |index: u32| {
        let seen = GpuSeen {
            index,
            name: "NVIDIA B200".into(),
            serial: format!("{serial}-GPU{}", index + 1),
            memory_mib: 183_359,
            nvlinks_up: 18,
            temperature_c: 41,
            power_mw: 302_000,
            ..GpuSeen::default()
        };
        (format!("GPU-{serial}-{index}"), seen)
    };
    State { driver: "580.95.05".into(), gpus: (0..gpus).map(gpu).collect(), ..State::default() }
}

impl Member {
    /// Enrols with its token.
    pub async fn enrol(
        address: &Address,
        token: &Token,
        serial: &str,
        state: State,
        clock: Arc<dyn Clock>,
    ) -> Result<Member, EnrolError> {
        let claim = Claim { serial: serial.to_owned(), hostname: serial.to_ascii_lowercase() };
        let identity = enrol_in_memory(address, token, &claim, clock.clone()).await?;
        let link = Link::new(address.clone(), identity.tls(clock.clone())?);
        let machine = identity.holder.machine;
        let reporter = Reporter::new(machine, serial, &*clock);
        Ok(Member { machine, serial: serial.to_owned(), state, link, reporter, clock, epoch: Instant::now() })
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Something happens on its machine.
    pub fn event(&mut self, what: EventKind) {
        let at = self.millis();
        self.reporter.event(what, at);
    }

    /// A command ended.
    pub fn done(&mut self, id: &str, ok: bool, text: &str) {
        self.reporter.done(id, ok, text);
    }

    /// Reports once, again in full if the site asks, and renews when it is told to; what is new to do.
    pub async fn report(&mut self) -> Result<(Answer, Vec<Command>), EnrolError> {
        let mut commands = Vec::new();
        loop {
            let at = self.millis();
            let report: Report = self.reporter.next(self.state.clone(), &*self.clock, at);
            let answer: Answer = self.link.post(REPORT, &report).await?;
            commands.extend(self.reporter.answered(&report, &answer));
            if answer.renew {
                renew(None, &mut self.link, self.clock.clone()).await?;
            }
            if !answer.full || report.state.is_some() {
                return Ok((answer, commands));
            }
        }
    }

    /// Tells of a validation run; sender and serial are its own.
    pub async fn validation(&mut self, mut report: ValidationReport) -> Result<Taken, LinkError> {
        report.machine = self.machine;
        report.serial.clone_from(&self.serial);
        self.link.post(VALIDATION, &report).await
    }

    /// How often its connection was opened.
    pub fn connects(&self) -> u64 {
        self.link.connects
    }
}
