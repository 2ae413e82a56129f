//! What the site remembers of each agent between two reports: about 200 bytes, lost with the process.

use crate::wire::REPORT_EVERY_MS;
use std::collections::BTreeMap;
use std::time::Duration;
use types::{MachineId, UnixMillis};

/// A finding of one kind about one machine is said again after this.
pub(super) const FINDING_AGAIN_MS: i64 = 10 * 60 * 1_000;

/// How much agents may ask of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// What agents are told.
    pub report_every: Duration,
    /// Messages that one machine may send at once: its events, a validation's progress and a report, several times over.
    pub burst: u32,
    /// And then one in this time, on average: ten times as often as it is told.
    pub refill: Duration,
    /// Of machines: 1,250 agents, each connecting anew before the old connection is seen dead: three times 1,250, rounded up.
    pub connections_max: usize,
    /// Of which nobody knows yet whose they are, and of those who enrol: 1,250 agents at once after a restart of ours, and some.
    pub strangers_max: usize,
    /// Of these, from one address: a machine has one, a gateway before a hall of them a few at a time, since each takes
    /// milliseconds.
    pub strangers_address_max: usize,
    /// Who has no certificate asks by then, and is closed after the answer.
    pub stranger: Duration,
    /// Enrolments at once; each costs two signatures and a transaction.
    pub enrolments_max: usize,
    /// TLS must be done by then.
    pub handshake: Duration,
    /// A connection without a request for so long is closed: six report intervals.
    pub idle: Duration,
    /// A clock that is wrong by more is a finding: TLS and logs begin to suffer at a minute.
    pub skew_ms_max: i64,
}

impl Default for Limits {
    fn default() -> Self {
        let report_every = Duration::from_millis(REPORT_EVERY_MS);
        Limits {
            report_every,
            burst: 20,
            refill: report_every / 10,
            connections_max: 4_096,
            strangers_max: 2_048,
            strangers_address_max: 64,
            stranger: Duration::from_secs(5),
            enrolments_max: 32,
            handshake: Duration::from_secs(10),
            idle: report_every * 6,
            skew_ms_max: 60_000,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Sessions {
    machines: BTreeMap<MachineId, Session>,
    said: BTreeMap<(Option<MachineId>, &'static str), UnixMillis>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    pub instance: u64,
    /// The instance before: if it speaks again, there are two.
    pub before: Option<u64>,
    pub number: u64,
    pub digest: String,
    pub events_taken: u64,
    /// Messages sent ahead of their time, in milliseconds of it; and when that was counted.
    debt_ms: i64,
    counted_at: UnixMillis,
}

impl Session {
    /// Whether one more message is within what a machine may send.
    fn admit(&mut self, limits: &Limits, now: UnixMillis) -> bool {
        let refill = i64::try_from(limits.refill.as_millis()).unwrap_or(i64::MAX);
        let passed = (now.0 - self.counted_at.0).max(0);
        self.counted_at = now;
        self.debt_ms = (self.debt_ms - passed).max(0);
        if self.debt_ms + refill > refill.saturating_mul(i64::from(limits.burst)) {
            return false;
        }
        self.debt_ms += refill;
        true
    }
}

impl Sessions {
    pub fn of(&mut self, machine: MachineId) -> &mut Session {
        self.machines.entry(machine).or_default()
    }

    pub fn admit(&mut self, machine: MachineId, limits: &Limits, now: UnixMillis) -> bool {
        self.of(machine).admit(limits, now)
    }

    /// Whether this finding is to be passed on. At most (machines + 1) times a dozen codes are remembered.
    pub fn say(&mut self, machine: Option<MachineId>, code: &'static str, now: UnixMillis) -> bool {
        let last = self.said.entry((machine, code)).or_insert(UnixMillis(i64::MIN / 2));
        if now.0 - last.0 < FINDING_AGAIN_MS {
            return false;
        }
        *last = now;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_may_send_its_burst_and_then_its_rate() {
        let limits = Limits::default();
        let mut session = Session::default();
        let start = 1_000_000;
        let sent = (0..100).filter(|_| session.admit(&limits, UnixMillis(start))).count();
        assert_eq!(sent, 20);
        assert!(!session.admit(&limits, UnixMillis(start + 999)));
        assert!(session.admit(&limits, UnixMillis(start + 1_000)));
        assert!(!session.admit(&limits, UnixMillis(start + 1_000)));
        // A clock that steps back gives nothing and takes nothing.
        assert!(!session.admit(&limits, UnixMillis(start)));
    }

    #[test]
    fn findings_are_said_once_in_ten_minutes() {
        let mut sessions = Sessions::default();
        let machine = Some(MachineId(1));
        assert!(sessions.say(machine, "a", UnixMillis(0)));
        assert!(!sessions.say(machine, "a", UnixMillis(FINDING_AGAIN_MS - 1)));
        assert!(sessions.say(machine, "b", UnixMillis(1)));
        assert!(sessions.say(None, "a", UnixMillis(1)));
        assert!(sessions.say(machine, "a", UnixMillis(FINDING_AGAIN_MS)));
    }
}
