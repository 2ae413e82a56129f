//! Every limit of the gateway by name, with its arithmetic. All can be set by the embedding program; the defaults fit a
//! laptop and a site alike.

use std::time::Duration;
use types::DataClass;

#[derive(Debug, Clone)]
pub struct Limits {
    /// A prompt of 1 M tokens at 4 bytes is 4 MB; images inline take the rest.
    pub body_bytes_max: usize,
    /// Bodies of all requests together: 16 of the largest, or 10,000 of 52 KB. Each is held until its answer begins, and
    /// once more as it was edited for the engine: 1 GiB.
    pub bodies_bytes_max: usize,
    /// Request line and headers together. hyper wants at least 8 KiB; SDKs send below 2 KiB, proxies add as much again.
    pub header_bytes_max: usize,
    /// More headers than any SDK sends (12 to 20) with room for proxies.
    pub headers_max: usize,
    /// From accept to the last header byte, and between requests of one connection.
    pub header_timeout: Duration,
    /// From the last header byte to the last body byte: 32 MiB at 10 Mbit/s take 27 s.
    pub body_timeout: Duration,
    /// Behind a grace, a body arrives at least so fast, counted from its beginning: a modem does five times that. Who dribbles
    /// below it holds a place for the grace, not for the whole body timeout.
    pub body_bytes_per_second_min: u64,
    /// Until the rate counts: a lost packet or two, and a hand-over between two cells.
    pub body_grace: Duration,
    /// A client that takes nothing of its answer for so long has left without a word: a train's tunnel is half of it.
    pub write_stall_timeout: Duration,
    /// To the engine: a machine in the same hall answers within a round trip; 2 s is a lost SYN and its repeat.
    pub connect_timeout: Duration,
    /// Without a slot of a replica: a person gives up after half a minute, and an SDK asks again.
    pub queue_wait_max: Duration,
    /// Requests that wait for one model: half of all that may be open, so that a model that is asked for too much leaves
    /// room for the others.
    pub queue_waiting_max: usize,
    /// Of one tenant: what an engine with 256 slots and answers of ten seconds lets go in 40 s, more than the longest wait.
    pub queue_waiting_tenant_max: usize,
    /// To the first token of a stream: a 128k prompt prefills in a minute on a loaded engine, and queues before that.
    pub first_token_timeout: Duration,
    /// Between two events: the slowest healthy engine sends one per 200 ms; 60 s is 300 times that.
    pub token_timeout: Duration,
    /// For the whole answer, all attempts together: 100k tokens at 30 a second take 56 minutes.
    pub total_timeout: Duration,
    /// A non-streamed answer: 100k tokens of 6 bytes with logprobs of 100 bytes are 10 MB.
    pub answer_bytes_max: usize,
    /// One SSE event: a token with 20 top logprobs is 4 KB; a tool call in one piece may be larger.
    pub event_bytes_max: usize,
    /// Clients connected to one lane: further ones wait in the kernel's backlog. Each is one open file, and one more towards its
    /// engine; `hoheit up` divides what the kernel allows.
    pub connections_max: usize,
    /// Requests at once; each holds its body and about 30 KB, and room for its receipt in the journal's queue (40 MiB of
    /// its 64).
    pub requests_max: usize,
    /// A running count becomes durable after so many tokens, or
    pub watermark_tokens: u64,
    /// after so much time, whichever comes first: what a crash can lose of one request.
    pub watermark_interval: Duration,
    /// How long an idempotency key is remembered: the day in which a client may repeat a job.
    pub idempotency_ttl: Duration,
    /// Answers kept for replay, in memory only and with what it takes to find them: 64 MiB are 15,000 answers of 4 KB, or
    /// 160,000 that were too large to keep and are only known by their key.
    pub idempotency_bytes_max: usize,
    /// What one answer may take of it.
    pub idempotency_answer_bytes_max: usize,
    /// Streams of data of this class and above are padded against length analysis; none: no stream is.
    pub pad_from: Option<DataClass>,
    /// After SIGTERM: requests may end by themselves for so long, then they are cut.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes_max: 32 << 20,
            bodies_bytes_max: 512 << 20,
            header_bytes_max: 32 << 10,
            headers_max: 100,
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(60),
            body_bytes_per_second_min: 1 << 10,
            body_grace: Duration::from_secs(10),
            write_stall_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(2),
            queue_wait_max: Duration::from_secs(30),
            queue_waiting_max: 5_000,
            queue_waiting_tenant_max: 1_000,
            first_token_timeout: Duration::from_secs(300),
            token_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(3_600),
            answer_bytes_max: 16 << 20,
            event_bytes_max: 1 << 20,
            connections_max: 10_000,
            requests_max: 10_000,
            watermark_tokens: 64,
            watermark_interval: Duration::from_secs(1),
            idempotency_ttl: Duration::from_secs(86_400),
            idempotency_bytes_max: 64 << 20,
            idempotency_answer_bytes_max: 1 << 20,
            pad_from: Some(DataClass::Confidential),
            drain_timeout: Duration::from_secs(25),
        }
    }
}

/// Choices of one prompt (`n`): OpenAI's own bound is 128.
pub const CHOICES_MAX: u64 = 128;

/// Tokens that a chat template adds to what the body says: default system prompt, date line, tool preamble. The longest
/// published template (Llama 3.1 with tools) adds about 250; twice that.
pub const TEMPLATE_TOKENS_MAX: u64 = 512;

/// What an answer whose length nobody named must have room for, or its length is left to the engine: 1,024 tokens are 700
/// words, which most answers of a chat do not reach.
pub const ANSWER_TOKENS_MIN: u64 = 1_024;

/// Room that each open request holds in the journal's queue for its receipt: a receipt is about 2 KB, and one with long
/// names twice that. A larger one is taken all the same.
pub const RECEIPT_ROOM_BYTES: usize = 4 << 10;

/// Names of deciding rules in a receipt: 100 of 64 bytes are 6.4 KB. Nobody reads more, and no number of rules makes a
/// receipt larger than the journal takes.
pub const RECEIPT_RULES_MAX: usize = 100;

/// How much of a model name goes into a receipt.
pub const MODEL_NAME_BYTES_MAX: usize = 128;

/// OpenAI's bound for an idempotency key is 255 characters.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
