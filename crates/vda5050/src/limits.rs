//! How much of everything. What a robot sends beyond these is refused with a finding, what we would send is not sent.

/// One message. The largest honest one is a state with 1,000 node states of 200 bytes and as many action states: 400 kB.
pub const MESSAGE_BYTES_MAX: usize = 512 * 1024;

/// One string: names, ids and descriptions are under 200 bytes; a robot's translated error text may take a page.
pub const TEXT_BYTES_MAX: usize = 4 * 1024;

/// Entries of one array. A route through four halls passes about 300 nodes; each node has at most a handful of actions.
pub const ENTRIES_MAX: usize = 1_000;

/// Nodes of an order of ours: a route through four halls, three times over.
pub const NODES_MAX: usize = 1_000;

/// Actions of an order of ours: the longest task has three.
pub const ACTIONS_MAX: usize = 16;

/// A manufacturer or serial number, as it stands in a topic.
pub const NAME_BYTES_MAX: usize = 128;

/// Nodes released ahead of the robot: far enough to drive without stopping, near enough that a cancel ends soon.
pub const BASE_NODES: usize = 8;

/// The base is extended when so few released nodes are left.
pub const BASE_NODES_MIN: usize = 3;

/// So often is an order or instant action sent that nobody answered, the first time included.
pub const SENDS_MAX: u32 = 3;

/// So often is a retriable action begun anew before it is given up.
pub const RETRIES_MAX: u32 = 2;

/// Codes of findings that a session remembers in order not to repeat them; there are fewer kinds than this.
pub const CODES_MAX: usize = 64;

/// Unknown words named in one finding.
pub const WORDS_MAX: usize = 8;

/// Clocks that differ by more are a finding: five minutes, as Kerberos allows.
pub const CLOCK_SKEW_MS: i64 = 5 * 60 * 1_000;

/// How long a session waits; a site may choose others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// For an order or an instant action to show in a state, before it is sent again. States come at once by the rules.
    pub answer_ms: i64,
    /// For any state while online: it comes at least every 30 s, so two are missing and 10 s are slack.
    pub silence_ms: i64,
    /// From silence until its task is handed over: once more as long as a state may take.
    pub handover_ms: i64,
    /// From a broken connection until its task is handed over: a robot that changes its Wi-Fi cell is back in seconds.
    pub broken_ms: i64,
    /// The same finding of one robot is not told again for so long.
    pub repeat_ms: i64,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits { answer_ms: 10_000, silence_ms: 70_000, handover_ms: 30_000, broken_ms: 15_000, repeat_ms: 60_000 }
    }
}
