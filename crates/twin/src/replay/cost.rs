//! What a step of an engine costs in time. Fitted to measurements of NVIDIA Dynamo's mock engine (prefill of one request of
//! 64 to 65,536 tokens; decode of 1 to 256 sequences); the tests hold the model against those tables.
//!
//! What it is not: any particular GPU. It is the shape that counts: prefill costs tokens and a little more than
//! proportionally, decode costs a floor and grows with the memory that is read.

/// Tokens that one step reads or makes at most.
pub const BATCH_TOKENS_MAX: u64 = 8_192;

/// Sequences that one engine runs at most; the others wait.
pub const SEQUENCES_MAX: usize = 256;

/// KV blocks of 512 tokens that one engine keeps: 1,048,576 tokens.
pub const BLOCKS_MAX: usize = 2_048;

/// Milliseconds to read so many tokens of prompts in one step: 16.5 to begin with, 15.2 a thousand, and 0.42 for the square.
pub fn prefill_millis(tokens: u64) -> f64 {
    if tokens == 0 {
        return 0.0;
    }
    let thousands = tokens as f64 / 1_000.0;
    16.5 + 15.2 * thousands + 0.42 * thousands * thousands
}

/// Milliseconds to make one token for each running sequence, by the tokens that they have in memory together: from 5.74 at
/// nothing, rising by 54 times the part of the memory that is read, a little less than proportionally.
pub fn decode_millis(context_tokens: u64) -> f64 {
    let part = (context_tokens as f64 / (BLOCKS_MAX as f64 * 512.0)).min(1.0);
    5.74 + 54.0 * part - 26.0 * part * part
}
