//! What was seen of a machine: by its BMC, its agent, a scan, an order. Nothing here is believed for ever; each carries
//! the time at which it was seen.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::UnixMillis;

/// Everything known about one machine, newest only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observed {
    /// Serial number as scanned when it was received, and by whom.
    pub custody: Option<Custody>,
    /// The present order for this machine, as far as it is: `None` if there is none.
    pub order: Option<OrderSeen>,
    pub bmc: Option<BmcSeen>,
    /// Why its BMC does not say or do what is asked; none while it does.
    pub bmc_trouble: Option<BmcTrouble>,
    /// The firmware updates that its BMC was asked for last.
    pub updates: Option<Updates>,
    pub agent: Option<AgentSeen>,
    /// The suite that its agent would not begin, the last one.
    pub refused: Option<SuiteRefused>,
    /// The newest validation run.
    pub validation: Option<Validation>,
    /// The newest acceptance certificate of this machine that is stored, of whichever entry.
    pub certified: Option<Certified>,
    /// Workloads that run on it now, as placement and the agent say.
    pub running: u32,
    /// Events not yet decided on, oldest first.
    pub events: Vec<Event>,
}

/// Who had the machine in hands, and what they read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Custody {
    pub serial: String,
    /// A person's token or a robot's `manufacturer/serial`.
    pub by: String,
    pub at: UnixMillis,
    /// SHA-256 of the photograph, hex.
    pub photo: Option<String>,
}

/// How far an order is, for the machine that waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderSeen {
    /// The machine's `entry` for which it was made.
    pub entry: u64,
    pub state: crate::order::OrderState,
    pub finding: Option<String>,
}

/// What the BMC said when last asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BmcSeen {
    /// When it last answered.
    pub at: UnixMillis,
    /// Since when it has not, if it does not.
    pub silent_since: Option<UnixMillis>,
    pub inventory: Inventory,
}

/// Why a BMC does not say or do what is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BmcTrouble {
    /// `not_set`, `unusable`, `unreachable`, `slow`, `certificate`, `credentials`, `answer`, or `deed` where it answers and did not
    /// do what is wanted.
    pub kind: String,
    pub text: String,
    /// Since when it is of this kind.
    pub since: UnixMillis,
    /// When it is asked again by itself; none where a person must set something first.
    pub next_try: Option<UnixMillis>,
}

/// Firmware updates of one stay and attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updates {
    /// The machine's, in `powered`.
    pub entry: u64,
    pub attempt: u32,
    pub components: BTreeMap<String, Update>,
    /// When the machine was last restarted for them.
    pub restarted_at: Option<UnixMillis>,
}

/// How far the update of one component is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// When it was seen to be so; of what the machine was restarted for, when it was seen to wait for that.
    pub at: UnixMillis,
    pub state: UpdateState,
    /// What the BMC calls it; none where it answered at once.
    pub task: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    Running,
    /// The BMC is done with it. An inventory of afterwards that shows the old version means that it waits for a restart.
    Ended,
    /// The BMC says that it has not begun: it waits for a restart, or for another update to end.
    Staged,
    Failed(String),
}

/// An agent would not begin a suite: it does not know it, or cannot read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteRefused {
    pub suite: String,
    /// The machine's entry and attempt for which it was to run.
    pub entry: u64,
    pub attempt: u32,
    /// The agent's words.
    pub text: String,
    pub at: UnixMillis,
}

/// Inventory over Redfish, reduced to what is decided on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inventory {
    pub manufacturer: String,
    pub model: String,
    /// The chassis' serial number.
    pub serial: String,
    pub uuid: String,
    pub power: Power,
    pub secure_boot: Option<bool>,
    /// `gpu1` … to the part.
    pub parts: BTreeMap<String, Part>,
    /// Firmware component to version.
    pub firmware: BTreeMap<String, String>,
    /// What the BMC itself complains about, worst first, at most 32 lines.
    pub complaints: Vec<String>,
}

impl Inventory {
    /// How many parts of a kind there are. The chassis is no part of itself: it is there if it has a serial number.
    pub fn count(&self, kind: &str) -> usize {
        match kind {
            "chassis" => usize::from(!self.serial.is_empty()),
            _ => self.parts.values().filter(|part| part.kind == kind).count(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    On,
    Off,
    /// In between, or not said.
    #[default]
    Unknown,
}

/// One part of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    /// `gpu`, `psu`, `nic`, `dimm`, `drive`, `cpu`, `nvswitch`.
    pub kind: String,
    pub model: String,
    pub serial: String,
    /// False if the BMC says critical or absent.
    pub healthy: bool,
}

/// What the agent last said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSeen {
    pub at: UnixMillis,
    /// The chassis serial that the agent reads by itself (DMI), to compare with the BMC's.
    pub serial: String,
    pub driver: String,
    /// GPU UUID to what NVML says.
    pub gpus: BTreeMap<String, GpuSeen>,
    /// Agent's clock minus ours, milliseconds.
    pub clock_skew_ms: i64,
}

/// One GPU, as NVML says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuSeen {
    pub index: u32,
    pub name: String,
    pub serial: String,
    pub memory_mib: u64,
    pub ecc_uncorrected: u64,
    pub ecc_corrected: u64,
    /// Rows remapped for uncorrectable errors, and whether a remap is pending or failed.
    pub rows_remapped: u32,
    pub remap_failed: bool,
    pub nvlinks_up: u32,
    pub temperature_c: u32,
    pub power_mw: u64,
    pub throttled: bool,
}

/// A run of a validation suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validation {
    pub suite: String,
    /// The machine's `entry` and attempt for which it ran.
    pub entry: u64,
    pub attempt: u32,
    pub begun_at: UnixMillis,
    /// None while it runs.
    pub ended_at: Option<UnixMillis>,
    pub tests: Vec<TestResult>,
}

impl Validation {
    /// Whether it is the run of this name.
    pub fn is(&self, passed: &crate::machine::Passed) -> bool {
        (self.suite.as_str(), self.entry, self.attempt) == (passed.suite.as_str(), passed.entry, passed.attempt)
    }
}

/// One test, with what was wanted and what came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestResult {
    pub name: String,
    pub outcome: TestOutcome,
    /// As in the suite: `>= 2400 GB/s`; empty if the exit status decides.
    pub threshold: String,
    /// What was measured, with its unit; or the last lines of what it printed.
    pub value: String,
    pub millis: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestOutcome {
    Passed,
    Failed,
    TimedOut,
    /// What it needs is not on this machine; the suite says whether that is allowed.
    Skipped,
}

/// A certificate is signed and stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// The machine's `entry`, in `validated`, for which it was signed.
    pub entry: u64,
    pub certificate: types::AcceptanceId,
    /// A checkpoint covers it: only then does it count.
    pub sealed: bool,
}

/// Something that happened on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: UnixMillis,
    pub what: EventKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// An XID of NVIDIA's driver, on the GPU with this index.
    Xid {
        code: u16,
        gpu: u32,
        driver: String,
    },
    /// A switch, feed or link that this machine sees fail; `domain` is a failure domain's name.
    LinkDown {
        domain: String,
        port: String,
    },
    /// It works again; also said of each link that is up when the agent starts, for what was missed.
    LinkUp {
        domain: String,
        port: String,
    },
    /// The agent restarted the program, or reset this GPU, for the event of this time.
    Restarted {
        gpu: u32,
        since: UnixMillis,
    },
    Reset {
        gpu: u32,
        since: UnixMillis,
    },
    /// A part is gone or critical.
    Part {
        part: String,
        text: String,
    },
    /// Too hot, or throttled for longer than the agent allows.
    Thermal {
        gpu: u32,
        temperature_c: u32,
    },
}
