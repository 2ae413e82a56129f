//! A machine: three orthogonal facts about it (lifecycle, health, scheduling), what was asked for, and what was decided.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use types::{AcceptanceId, MachineId, UnixMillis};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word that states, metrics, documents and the database use.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            pub fn from_word(word: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Where in its life a machine is. One file per state in this crate (`lifecycle/`) and a page in docs/runbooks.
    Lifecycle {
        /// In the site file; not on the premises.
        Planned = "planned",
        /// On the premises, its serial scanned, in custody.
        Received = "received",
        /// In its slot, torqued and cabled as the cable plan says.
        Installed = "installed",
        /// Its BMC answers and it has power.
        Powered = "powered",
        /// Its inventory is the bill of materials, its firmware the baseline, its agent has enrolled.
        Provisioned = "provisioned",
        /// Every test of its suite passed.
        Validated = "validated",
        /// A signed certificate is in the log: capacity.
        Accepted = "accepted",
        /// No new work; what runs may end.
        Drain = "drain",
        /// Somebody works on it.
        Repair = "repair",
        /// Gone for good.
        Retired = "retired",
    }
}

words! {
    /// How a machine is.
    Health {
        Healthy = "healthy",
        /// Works, with something to look at.
        Degraded = "degraded",
        /// Must not carry work.
        Faulted = "faulted",
    }
}

words! {
    /// Whether placement may use it; only ever `Open` for an accepted machine.
    Scheduling {
        Open = "open",
        /// No new work.
        Cordoned = "cordoned",
        /// No new work, and what runs is being ended.
        Draining = "draining",
    }
}

words! {
    /// What kind of server.
    MachineKind {
        /// 8 B200 in one NVLink domain; 10U, 142.4 kg.
        DgxB200 = "dgx-b200",
        /// 8 RTX PRO without NVLink.
        RtxPro = "rtx-pro",
    }
}

/// What was asked for; from the site file and from people. Changes raise `generation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    pub generation: u64,
    pub kind: MachineKind,
    /// `hall/row/rack/u11`: where it stands or shall stand; unique.
    pub slot: String,
    /// The scalable unit or other group that is brought up together.
    pub unit: String,
    /// What can fail at once: its leaf switch and its power feeds, for the limit on automatic drains.
    pub domains: Vec<String>,
    /// The exclusive zone that it stands in, if the site file draws one around its rack: one task at a time. Else the rack is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The bill of materials: part (`chassis`, `gpu1` … `gpu8`, `psu1` …) to serial number. Empty until known: then what is
    /// scanned at receipt becomes the bill.
    pub serials: BTreeMap<String, String>,
    /// Parts that must be there, by kind of part: `gpu` 8, `psu` 6, `nic` 10.
    pub parts: BTreeMap<String, u32>,
    /// Firmware component to the version that it must have.
    pub firmware: BTreeMap<String, String>,
    /// Whether it must boot as signed, and nothing else; none where the site file does not say.
    #[serde(default)]
    pub secure_boot: Option<bool>,
    /// The validation suite that it must pass.
    pub suite: String,
    /// True: in service. False: out, for good.
    pub wanted: bool,
    /// A person asked for a drain, and why.
    pub drain: Option<String>,
}

/// What was decided. Persisted; changed by a step and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub id: MachineId,
    pub lifecycle: Lifecycle,
    pub health: Health,
    pub scheduling: Scheduling,
    /// How many states it has entered: the name of this stay in its state, for idempotent actions.
    pub entry: u64,
    /// When it entered its state.
    pub since: UnixMillis,
    /// How often this state's work was begun anew after a failure.
    pub attempt: u32,
    /// Why it does not go on by itself; a person must act.
    pub hold: Option<Finding>,
    /// Why it is in this state, in words.
    pub reason: String,
    /// The certificate that holds; none before acceptance and after a repair began.
    pub certificate: Option<AcceptanceId>,
    /// What it must be repaired for, while it drains and is in repair.
    pub repair: Option<Finding>,
    /// Faults that took it out of service, oldest first; bounded by [`FAULTS_KEPT_MAX`].
    pub faults: Vec<FaultMark>,
    /// What was decided on events lately, oldest first: repeats escalate. Bounded by [`MEASURES_KEPT_MAX`].
    #[serde(default)]
    pub measures: Vec<Measure>,
    /// The last time that a person let it go on in this stay; a new stay begins without.
    #[serde(default)]
    pub released: Option<Release>,
    /// The run that it passed when it became valid: its certificate speaks of that one and of no other.
    #[serde(default)]
    pub passed: Option<Passed>,
}

impl Machine {
    /// A machine that was just put into the site file.
    pub fn planned(id: MachineId, now: UnixMillis) -> Machine {
        Machine {
            id,
            lifecycle: Lifecycle::Planned,
            health: Health::Healthy,
            scheduling: Scheduling::Cordoned,
            entry: 1,
            since: now,
            attempt: 0,
            hold: None,
            reason: "in the site file".to_owned(),
            certificate: None,
            repair: None,
            faults: Vec::new(),
            measures: Vec::new(),
            released: None,
            passed: None,
        }
    }
}

/// A machine with more is quarantined long before; 32 marks of about 40 bytes are 1.3 kB of its row.
pub const FAULTS_KEPT_MAX: usize = 32;

/// A fault that took the machine out of service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultMark {
    pub at: UnixMillis,
    /// The finding's code: `xid_79`, `agent_silent`; `validation` for a failed suite.
    pub cause: String,
    #[serde(default)]
    pub about: String,
    /// A person drained it while it waited for its permit: a fault like any other, and no automatic drain.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_person: bool,
}

/// An event repeats its kind for days on a bad GPU: 64 marks of about 80 bytes are 5 kB of the row, and more than the
/// escalation ever counts.
pub const MEASURES_KEPT_MAX: usize = 64;

/// What an event was answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// The event's time: its name for what is done about it.
    pub at: UnixMillis,
    /// `xid_31`, `thermal`, `link_down` …
    pub cause: String,
    /// `gpu3`, a failure domain's name; empty for the machine as a whole.
    pub about: String,
    /// The GPU's index as the driver counts, where it is about one.
    pub gpu: Option<u32>,
    pub action: crate::xid::XidAction,
    /// Asked for and not yet seen done.
    pub open: bool,
}

/// The name of a validation run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    pub suite: String,
    /// The machine's, in `provisioned`.
    pub entry: u64,
    pub attempt: u32,
}

/// A person let a held machine go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The code of the finding that held it.
    pub code: String,
    pub by: String,
    pub reason: String,
    pub at: UnixMillis,
}

/// Something to look at, on a machine or an order. The code is stable, the text is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// For example `serial_differs`, `time_limit`, `test_failed`; each has a line in the runbook of its state.
    pub code: String,
    /// What it is about: a part (`gpu3`), a failure domain, a test; empty for the machine as a whole.
    #[serde(default)]
    pub about: String,
    pub text: String,
    pub at: UnixMillis,
}

impl Finding {
    pub fn new(code: &str, about: &str, text: impl Into<String>, at: UnixMillis) -> Finding {
        Finding { code: code.to_owned(), about: about.to_owned(), text: text.into(), at }
    }
}
