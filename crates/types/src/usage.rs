//! Tokens of one request, and who said so.

use serde::{Deserialize, Serialize};

/// Token counts as the engine reports them: `cached` is a part of `input`, `reasoning` a part of `output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Usage {
    pub input: u64,
    pub cached: u64,
    pub output: u64,
    pub reasoning: u64,
}

/// Where the counts come from. A receipt always says; an auditor treats them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The engine's final count.
    Engine,
    /// The engine's last running count before the stream ended early.
    EngineRunning,
    /// The last durable watermark before a crash.
    Watermark,
    /// The engine gave none that can be believed; the reserved bound is not billed, only what was seen to be produced.
    Estimated,
    /// Nothing was dispatched, or nothing was produced.
    None,
}
