//! What agent and site say to each other: JSON over HTTP/1.1 over mutual TLS, always asked by the agent.
//!
//! | path | asks | answers |
//! |---|---|---|
//! | `/agent/v1/enrol` | [`Enrol`], without a certificate | [`Certified`] |
//! | `/agent/v1/renew` | [`Renew`] | [`Certified`] |
//! | `/agent/v1/report` | [`Report`] | [`Answer`] |
//! | `/agent/v1/validation` | [`ValidationReport`] | [`Taken`] |
//!
//! Anything else is a [`Refused`] with a status. Fields may be added under one version; the path's number changes when one is
//! removed or means something else. Times of the agent's clock appear once, as `sent_at`, to measure how wrong it is; everything
//! else is an age in milliseconds.

use fleet::observed::{EventKind, GpuSeen, TestResult};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::{MachineId, UnixMillis};

pub const ENROL: &str = "/agent/v1/enrol";
pub const RENEW: &str = "/agent/v1/renew";
pub const REPORT: &str = "/agent/v1/report";
pub const VALIDATION: &str = "/agent/v1/validation";

/// How often an agent reports when nothing happens; the site may ask for less. 1,250 agents: 125 reports a second. A machine
/// is silent after three: half a minute.
pub const REPORT_EVERY_MS: u64 = 10_000;
/// At most so many GPUs in one machine: twice the densest server.
pub const GPUS_MAX: usize = 16;
/// Events in one report; what is left goes with the next. An XID storm of a dying GPU is a few a second.
pub const EVENTS_MAX: usize = 64;
/// Events that wait for a site that does not answer; then the oldest go. 1,024 of about 200 bytes: 200 kB.
pub const EVENTS_KEPT_MAX: usize = 1_024;
/// Engines that one agent keeps: one for each GPU, twice.
pub const ENGINES_MAX: usize = 32;
/// Commands in one answer.
pub const COMMANDS_MAX: usize = 16;
/// Tests of one suite.
pub const TESTS_MAX: usize = 128;
/// Any text that somebody else wrote: a test's last lines, a reason.
pub const TEXT_MAX: usize = 2_000;
/// A serial number, a host's or an engine's name.
pub const NAME_MAX: usize = 128;
/// 16 GPUs of about 450 bytes, 64 events of 200, 32 engines of 300, 16 results of 2,000: 62 kB.
pub const REPORT_BYTES_MAX: usize = 64 * 1024;
/// A request for a certificate is about 600 bytes in base64, a token 100.
pub const ENROL_BYTES_MAX: usize = 8 * 1024;
/// 128 tests of up to 2,000 bytes and their names.
pub const VALIDATION_BYTES_MAX: usize = 384 * 1024;
/// 16 commands, one of them with a suite's text.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// A suite as text.
pub const SUITE_BYTES_MAX: usize = 64 * 1024;

/// Asks for the first certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    pub token: String,
    /// PKCS #10, DER, base64.
    pub csr: String,
    /// The chassis serial that the machine reads by itself.
    pub serial: String,
    pub hostname: String,
}

/// Asks for the next certificate, with the present one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    pub csr: String,
}

/// A certificate, and whom to believe from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    pub machine: MachineId,
    /// PEM.
    pub certificate: String,
    /// PEM of every authority that the site may show: more than one while it changes from one to the next.
    pub authorities: String,
    pub now: UnixMillis,
}

/// Says how the machine is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub machine: MachineId,
    pub serial: String,
    /// Random, made when this agent started.
    pub instance: u64,
    /// Counts this instance's reports from 1. The same number is the same report, sent again.
    pub number: u64,
    pub sent_at: UnixMillis,
    /// Of the state, see [`State::digest`].
    pub digest: String,
    /// In full, when it changed or was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Sighting>,
    /// Commands that ended since they were told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<Done>,
}

/// How the machine is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The driver's version; empty without one.
    pub driver: String,
    /// Why there is nothing about GPUs, if there is not.
    pub no_nvml: Option<String>,
    pub gpus: BTreeMap<String, GpuSeen>,
    pub engines: Vec<EngineSeen>,
    /// Workloads that run.
    pub running: u32,
    /// No new work: it was told so.
    pub stopped: bool,
}

impl State {
    /// Names this state among all states of its machine: 16 bytes of SHA-256 over its JSON, in hex.
    pub fn digest(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &json);
        hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A process that the agent keeps alive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EngineSeen {
    pub name: String,
    /// `starting`, `healthy`, `unhealthy`, `waiting`, `given_up`, `stopped`.
    pub state: String,
    pub restarts: u32,
    /// Where it listens.
    pub url: String,
    /// What it last ended with.
    pub note: String,
}

/// An event with its number in its instance: the site takes each once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    pub number: u64,
    /// How long ago, when the report was sent.
    pub age_ms: u64,
    #[serde(flatten)]
    pub what: EventKind,
}

/// What the site makes of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub now: UnixMillis,
    /// When to report again, if nothing happens.
    pub next_ms: u64,
    /// The site does not know the state of this digest: send it in full.
    #[serde(default, skip_serializing_if = "is_false")]
    pub full: bool,
    /// Two thirds of the certificate's life are over, by the site's clock.
    #[serde(default, skip_serializing_if = "is_false")]
    pub renew: bool,
    /// Every event up to this number is stored.
    pub events_taken: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Command>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What the agent is to do. Told again until its result arrives; done once for each id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Names it for ever, for example `validate/3/1`: verb, the machine's `entry`, `attempt`.
    pub id: String,
    #[serde(flatten)]
    pub what: CommandKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum CommandKind {
    RunSuite {
        suite: String,
        /// TOML; without it the suite of that name that the agent brings.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        entry: u64,
        attempt: u32,
    },
    /// Once for the event of time `since`; answered with an event `restarted`.
    RestartEngine { gpu: u32, since: UnixMillis },
    /// Answered with an event `reset`.
    ResetGpu { gpu: u32, since: UnixMillis },
    /// Begin nothing new.
    StopWork { reason: String },
    /// Work may begin again.
    ResumeWork,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub id: String,
    pub ok: bool,
    pub text: String,
    /// Not done only because something else is: told again later, it is begun.
    #[serde(default, skip_serializing_if = "is_false")]
    pub later: bool,
}

/// How far a validation run is, or what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationReport {
    pub machine: MachineId,
    pub serial: String,
    pub suite: String,
    pub entry: u64,
    pub attempt: u32,
    /// How long ago it began.
    pub age_ms: u64,
    pub ended: bool,
    pub tests: Vec<TestResult>,
}

/// It is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    pub now: UnixMillis,
}

/// No, and why. The code is stable, the text is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {text}")]
pub struct Refused {
    pub code: String,
    pub text: String,
    /// Whether the same may be asked again later.
    pub again: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_compact_and_survives_the_wire() {
        let mut report = Report {
            machine: MachineId(7),
            serial: "S1".into(),
            instance: 1,
            number: 2,
            sent_at: UnixMillis(3),
            digest: State::default().digest(),
            state: None,
            events: Vec::new(),
            done: Vec::new(),
        };
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.len() < 200, "{} bytes: {text}", text.len());
        report.events.push(Sighting {
            number: 1,
            age_ms: 5,
            what: EventKind::Xid { code: 79, gpu: 3, driver: "580.1".into() },
        });
        report.state = Some(State::default());
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn the_fullest_report_fits_its_limit() {
        let gpu = GpuSeen { name: "x".repeat(64), serial: "s".repeat(32), power_mw: u64::MAX, ..GpuSeen::default() };
        let state = State {
            driver: "d".repeat(NAME_MAX),
            gpus: (0..GPUS_MAX).map(|at| (format!("GPU-{at:036}"), gpu.clone())).collect(),
            engines: vec![
                EngineSeen { name: "n".repeat(64), note: "n".repeat(200), ..EngineSeen::default() };
                ENGINES_MAX
            ],
            ..State::default()
        };
        let what = EventKind::Xid { code: 79, gpu: 3, driver: "d".repeat(32) };
        let report = Report {
            machine: MachineId(u128::MAX >> 1),
            serial: "s".repeat(NAME_MAX),
            instance: u64::MAX,
            number: u64::MAX,
            sent_at: UnixMillis(i64::MAX),
            digest: state.digest(),
            state: Some(state),
            events: vec![Sighting { number: u64::MAX, age_ms: u64::MAX, what }; EVENTS_MAX],
            done: vec![Done { id: "i".repeat(64), ok: false, text: "t".repeat(TEXT_MAX), later: true }; COMMANDS_MAX],
        };
        let bytes = serde_json::to_vec(&report).unwrap().len();
        assert!(bytes <= REPORT_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn commands_are_flat() {
        let command = Command { id: "reset/3/0".into(), what: CommandKind::ResetGpu { gpu: 2, since: UnixMillis(5) } };
        assert_eq!(
            serde_json::to_string(&command).unwrap(),
            r#"{"id":"reset/3/0","command":"reset_gpu","gpu":2,"since":5}"#
        );
    }
}
