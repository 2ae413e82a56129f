//! What a step asks the shell to do. All of it is idempotent under (machine, `entry`, `attempt`).

use crate::machine::{Finding, Machine};
use crate::order::OrderKind;
use serde::{Deserialize, Serialize};
use types::UnixMillis;

/// What to do. The executor answers with observations, never with a return value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    /// Make the order for this stay, unless it exists.
    OpenOrder {
        kind: OrderKind,
    },
    /// End the order of this stay: its machine needs it no more.
    CancelOrder,
    /// Ask the BMC for everything, soon.
    ReadInventory,
    PowerOn,
    /// Off and on again, for firmware that waits for it; installing cycles power as part of [`Action::Provision`].
    PowerCycle,
    PowerOff,
    /// Bring firmware to the baseline: components that differ.
    UpdateFirmware {
        components: Vec<String>,
    },
    /// Boot the installer with a one-time token for the agent.
    Provision,
    /// Have the agent run this suite.
    Validate {
        suite: String,
    },
    /// Sign the certificate and put it into the log.
    Certify,
    /// Tell placement and the agent: no new work / end what runs.
    StopWork,
    /// Restart the program on this GPU, once for the event of time `since`; answered with an event `restarted`.
    RestartEngine {
        gpu: u32,
        since: UnixMillis,
    },
    /// Answered with an event `reset`.
    ResetGpu {
        gpu: u32,
        since: UnixMillis,
    },
    /// Wake a person, once for (machine, `entry`, the finding's code and `about`): it is asked for as long as it holds.
    Page {
        finding: Finding,
    },
}

/// What one step decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The machine from now on; equal to the one before if nothing changed.
    pub next: Machine,
    pub actions: Vec<Action>,
    /// How many of `Observed::events` were decided on and can be forgotten.
    pub events_taken: usize,
}
