//! The site's half: who may speak, for whom, and how much. The controller mounts it on a listener of its own and implements
//! [`Desk`] over its store; nothing here knows SQL.
//!
//! What is believed of a message: its sender, from the certificate; what it says about that sender's machine; nothing about any
//! other, and no time. A message that claims more is refused whole, and a finding says so. Findings of one kind about one machine
//! are passed on once in ten minutes, whatever the machine does.
//!
//! What happens if we crash here: what is kept in memory is the digest of each machine's last state and its counters. After a
//! start the first report of each agent is answered with "in full, please", and events whose receipt the agent did not hear of come
//! again with the same numbers; [`Desk::report`] gets (instance, number) with each to take it once.

mod answer;
mod listen;
mod session;
mod strangers;

pub use listen::serve;
pub use session::Limits;

use crate::ca::{Authority, Issued};
use crate::clock::Clock;
use crate::wire::{Command, Done, EngineSeen};
use fleet::machine::Finding;
use fleet::observed::{AgentSeen, EventKind, Validation};
use session::Sessions;
use std::future::Future;
use std::sync::{Arc, Mutex};
use types::{MachineId, UnixMillis};

/// Codes of findings and refusals; each has a line in docs/agent.md.
pub mod code {
    pub const TOKEN_UNKNOWN: &str = "agent_token_unknown";
    pub const TOKEN_EXPIRED: &str = "agent_token_expired";
    pub const TOKEN_SPENT: &str = "agent_token_spent";
    pub const TOKEN_OTHER_SERIAL: &str = "agent_token_other_serial";
    pub const NO_CERTIFICATE: &str = "agent_no_certificate";
    pub const CERTIFICATE_OVER: &str = "agent_certificate_over";
    pub const REVOKED: &str = "agent_revoked";
    pub const OTHER_MACHINE: &str = "agent_other_machine";
    pub const OTHER_SERIAL: &str = "agent_other_serial";
    pub const TWO_INSTANCES: &str = "agent_two_instances";
    pub const OLD_REPORT: &str = "agent_old_report";
    pub const CLOCK_OFF: &str = "agent_clock_off";
    pub const TOO_LARGE: &str = "agent_too_large";
    pub const TOO_MANY: &str = "agent_too_many";
    pub const MALFORMED: &str = "agent_malformed";
    pub const UNAVAILABLE: &str = "agent_site_unavailable";
    pub const ENGINE_GIVEN_UP: &str = "agent_engine_given_up";
}

/// What the controller does for agents. Every method may be called again with the same arguments and must then say the same.
pub trait Desk: Send + Sync + 'static {
    /// Spends a token, in one transaction: it exists, is not over at `now`, is not bound to another serial, and was not spent by
    /// another key. The first key that spends it is remembered; the same key is answered the same until the token is over.
    fn redeem(&self, asked: &Redeem) -> impl Future<Output = Result<MachineId, Refusal>> + Send;

    /// Remembers the certificate of a machine that enrolled, before the machine gets it. From here on those that its agent had are
    /// withdrawn: who enrols anew may be the one who comes after a thief.
    fn enrolled(&self, issued: &Issued) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Remembers a certificate that follows another, before its machine gets it. The other is withdrawn when this one was seen, not
    /// before: the answer may be lost.
    fn issued(&self, issued: &Issued) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Whether this certificate's machine may speak: [`Refusal::Revoked`] if it is retired or the certificate is withdrawn.
    /// Asked before every renewal; reports and validations carry the certificate themselves.
    fn standing(&self, machine: MachineId, certificate: &str) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Takes what was seen, and answers what the machine is to do now. Of 1,250 agents it is called 125 times a second, most times
    /// with nothing but the time in it: keep that in memory and write it rarely.
    fn report(&self, seen: &Seen) -> impl Future<Output = Result<Vec<Command>, Refusal>> + Send;

    /// Takes a validation run, running or ended.
    fn validation(&self, run: &Run) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Something to look at; of no machine if it is not known which one it was.
    fn finding(&self, machine: Option<MachineId>, finding: Finding) -> impl Future<Output = ()> + Send;
}

/// A token to be spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redeem {
    /// [`crate::token::Token::hash`].
    pub token: String,
    /// SHA-256 of the public key that asks, hex.
    pub key: String,
    /// As the machine says.
    pub serial: String,
    pub hostname: String,
    pub now: UnixMillis,
}

/// A report, with what is ours in it: the sender and the times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub machine: MachineId,
    /// Number of the certificate that it came with.
    pub certificate: String,
    pub at: UnixMillis,
    pub skew_ms: i64,
    /// The whole state, if it changed since the last report that the site has taken.
    pub state: Option<FullState>,
    /// Not seen before by this process.
    pub events: Vec<NumberedEvent>,
    pub done: Vec<Done>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullState {
    pub agent: AgentSeen,
    pub running: u32,
    pub stopped: bool,
    pub engines: Vec<EngineSeen>,
    /// Why there is nothing about GPUs, if there is not.
    pub no_nvml: Option<String>,
}

/// An event; (machine, instance, number) names it for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedEvent {
    pub instance: u64,
    pub number: u64,
    pub at: UnixMillis,
    pub what: EventKind,
}

/// A validation run, with its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub machine: MachineId,
    pub certificate: String,
    pub validation: Validation,
}

/// Why the desk says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no such token: it was mistyped, or made by another site")]
    TokenUnknown,
    #[error("the token is over; make a new one for this machine")]
    TokenExpired { machine: Option<MachineId> },
    #[error("the token was spent by another key; make a new one, and find out who has this one")]
    TokenSpent { machine: Option<MachineId> },
    #[error("the token is for the machine with serial {want}")]
    OtherSerial { machine: Option<MachineId>, want: String },
    #[error("this machine's certificate is withdrawn")]
    Revoked,
    /// Ours; ask again.
    #[error("the site cannot store it now")]
    Unavailable(String),
}

/// The site, ready to serve.
pub struct Site<D> {
    desk: D,
    authority: Authority,
    clock: Arc<dyn Clock>,
    limits: Limits,
    sessions: Mutex<Sessions>,
    enrolments: tokio::sync::Semaphore,
    /// Names and addresses under which agents reach the listener.
    names: Vec<String>,
}

impl<D: Desk> Site<D> {
    pub fn new(
        desk: D,
        authority: Authority,
        names: Vec<String>,
        limits: Limits,
        clock: Arc<dyn Clock>,
    ) -> Arc<Site<D>> {
        let enrolments = tokio::sync::Semaphore::new(limits.enrolments_max);
        Arc::new(Site { desk, authority, clock, limits, sessions: Mutex::default(), enrolments, names })
    }

    pub fn desk(&self) -> &D {
        &self.desk
    }

    /// A new one-time token. The desk stores `hash`, its machine and when it is over; the text goes to the machine and nowhere else.
    pub fn make_token(&self) -> crate::token::Token {
        let mut secret = [0; 32];
        self.clock.random(&mut secret);
        crate::token::Token::new(secret, self.authority.pin())
    }
}
