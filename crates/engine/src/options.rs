//! What a host may set. Every limit has a name and a default whose comment shows the arithmetic.

use std::sync::Arc;
use std::time::Duration;

/// What is about to run on the inference thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The request's number, counted from 1 in order of admission.
    pub request: u64,
    pub kind: StepKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// A part of the prompt.
    Prompt { tokens: usize },
    /// One generated token.
    Token,
    /// One text to embed.
    Embed,
}

/// Called on the inference thread before each step. Tests see the order of turns with it, and hold it.
pub type OnStep = Arc<dyn Fn(Step) + Send + Sync>;

/// How an engine runs.
#[derive(Clone)]
pub struct Options {
    /// The model's name in requests; by default the name of its folder or file.
    pub name: Option<String>,
    /// Asked of every caller as `Authorization: Bearer`, but not for `/health`. None on a loopback port means that every
    /// user of the machine may ask, past any policy of the gateway in front.
    pub bearer: Option<String>,
    /// Requests that may wait. 64 at some 20 answers a minute on a laptop are three minutes: longer than a caller waits.
    pub queue_max: usize,
    /// Requests that take turns. 4, because each holds a key-value cache (Llama 1B at 4,096 tokens: 4,096 x 16 layers x
    /// 512 x 2 x 4 bytes = 256 MiB) and each takes a share of the speed.
    pub sequences_max: usize,
    /// Threads of the matrix kernels; by default candle's choice, one per physical core.
    pub threads: Option<usize>,
    /// Positions prepared at most, whatever the model was trained for. 16,384, because the cache of a Llama 8B is then
    /// 16,384 x 32 layers x 1,024 x 2 x 4 bytes = 4 GiB per request: what a laptop has.
    pub context_max: usize,
    /// Prompt tokens read per turn. 32 rows read the weights once, as one row does, so that a turn of prompt costs the
    /// others a few tokens' time and not 32.
    pub prefill_chunk: usize,
    /// Open connections; more wait in the kernel. Four times what can be admitted, for keep-alive and health checks.
    pub connections_max: usize,
    /// A request body. 8 MiB are some two million tokens: more than any context, less than memory.
    pub body_bytes_max: usize,
    /// A request's head must arrive within this time, counted from the end of the one before. Longer than the 90 s that
    /// hyper's client keeps an idle connection, so that it is the client who closes and no request meets a closed door.
    pub head_timeout: Duration,
    /// A request's body must arrive within this time: 8 MiB at 300 KiB a second.
    pub body_timeout: Duration,
    /// After shutdown begins, answers under way may take this long.
    pub drain_timeout: Duration,
    pub on_step: Option<OnStep>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: None,
            bearer: None,
            queue_max: 64,
            sequences_max: 4,
            threads: None,
            context_max: 16_384,
            prefill_chunk: 32,
            connections_max: 272,
            body_bytes_max: 8 << 20,
            head_timeout: Duration::from_secs(120),
            body_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            on_step: None,
        }
    }
}
