//! Candle's decoders behind one face: a [`Decoder`] holds the weights, a [`Session`] the key-value cache of one request
//! (and a handle on the shared weights). A session is dropped with its request, and its cache with it.
//!
//! Cloning candle's networks copies handles, not weights. Two GGUF networks are different: candle's quantised Qwen2
//! cannot be cloned at all, and its quantised Qwen3 carries room for 4,096 positions in every copy. They run from a fixed
//! number of copies made at start ([`GGUF_QWEN_SESSIONS`]), and a session goes back to the shelf after use.

use candle_core::{Device, Result, Tensor};
use candle_transformers::models::{llama, quantized_llama, quantized_qwen2, quantized_qwen3, qwen2, qwen3};

/// Copies of a Qwen GGUF: 2, so that nobody waits for another's whole answer, at twice the memory.
pub(crate) const GGUF_QWEN_SESSIONS: usize = 2;

/// candle's quantised Qwen2 keeps every mask it ever made, one per (rows, position). Read in whole chunks of this many rows
/// and single rows, which need no mask, a copy keeps context² / 2 bytes at most: 8 MiB at 4,096 positions.
const GGUF_QWEN2_ROWS: usize = 32;

/// Weights that answers are generated with.
pub(crate) enum Decoder {
    Llama { network: llama::Llama, empty: llama::Cache },
    Qwen2(qwen2::ModelForCausalLM),
    Qwen3(qwen3::ModelForCausalLM),
    GgufLlama(quantized_llama::ModelWeights),
    GgufQwen2(Vec<quantized_qwen2::ModelWeights>),
    GgufQwen3(Vec<quantized_qwen3::ModelWeights>),
}

/// The state of one request inside a network: its key-value cache.
pub(crate) enum Session {
    Llama { network: llama::Llama, cache: llama::Cache },
    Qwen2(qwen2::ModelForCausalLM),
    Qwen3(qwen3::ModelForCausalLM),
    GgufLlama(quantized_llama::ModelWeights),
    GgufQwen2(quantized_qwen2::ModelWeights),
    GgufQwen3(quantized_qwen3::ModelWeights),
}

impl Decoder {
    /// A session with an empty cache; `None` while all copies are in use.
    pub(crate) fn open(&mut self) -> Option<Session> {
        Some(match self {
            Self::Llama { network, empty } => Session::Llama { network: network.clone(), cache: empty.clone() },
            Self::Qwen2(network) => Session::Qwen2(network.clone()),
            Self::Qwen3(network) => Session::Qwen3(network.clone()),
            Self::GgufLlama(network) => Session::GgufLlama(network.clone()),
            Self::GgufQwen2(shelf) => Session::GgufQwen2(shelf.pop()?),
            Self::GgufQwen3(shelf) => Session::GgufQwen3(shelf.pop()?),
        })
    }

    /// Takes a session back: its cache is emptied here and nowhere else.
    pub(crate) fn close(&mut self, session: Session) {
        match (self, session) {
            (Self::GgufQwen2(shelf), Session::GgufQwen2(mut network)) => {
                network.clear_kv_cache();
                shelf.push(network);
            }
            (Self::GgufQwen3(shelf), Session::GgufQwen3(mut network)) => {
                network.clear_kv_cache();
                shelf.push(network);
            }
            _ => {}
        }
    }

    /// How many sessions can be open at once; `None` where only memory limits it.
    pub(crate) fn sessions_max(&self) -> Option<usize> {
        match self {
            Self::GgufQwen2(shelf) => Some(shelf.len()),
            Self::GgufQwen3(shelf) => Some(shelf.len()),
            _ => None,
        }
    }
}

impl Session {
    /// Feeds tokens that start at `position` and returns the scores of the token after the last of them.
    pub(crate) fn forward(&mut self, tokens: &[u32], position: usize) -> Result<Vec<f32>> {
        if let Self::GgufQwen2(_) = self
            && !matches!(tokens.len(), 1 | GGUF_QWEN2_ROWS)
        {
            return self.forward_in_rows(tokens, position);
        }
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        let scores = match self {
            Self::Llama { network, cache } => network.forward(&input, position, cache)?,
            Self::Qwen2(network) => network.forward(&input, position)?,
            Self::Qwen3(network) => network.forward(&input, position)?,
            Self::GgufLlama(network) => network.forward(&input, position)?,
            Self::GgufQwen2(network) => network.forward(&input, position)?,
            Self::GgufQwen3(network) => network.forward(&input, position)?,
        };
        scores.flatten_all()?.to_vec1()
    }
    fn forward_in_rows(&mut self, tokens: &[u32], position: usize) -> Result<Vec<f32>> {
        let (mut read, mut scores) = (0, Vec::new());
        while read < tokens.len() {
            let rows = if tokens.len() - read >= GGUF_QWEN2_ROWS { GGUF_QWEN2_ROWS } else { 1 };
            scores = self.forward(&tokens[read..read + rows], position + read)?;
            read += rows;
        }
        Ok(scores)
    }
}
