//! The embedded engine: real transformers on the CPU, from local files, behind OpenAI's HTTP API like any other engine.
//!
//! What it is: candle's networks (Llama, Qwen2, Qwen3 from safetensors or GGUF; BERT for embeddings), a scheduler that
//! lets requests take turns, and a small HTTP server. What it is not: a fast engine. Requests are interleaved and not
//! batched together (candle takes one position per batch), tools, JSON mode and log probabilities are refused, and
//! nothing is cached between requests. vLLM and its kind are registered by URL instead.
//!
//! The parts: `model` turns a path into a network, `turn` runs it, `api` speaks HTTP, `engine` ties them together. A
//! request crosses them once: `api` (async) → `turn` (its own thread) → `api`.

mod api;
mod engine;
mod error;
mod model;
mod options;
mod turn;

pub use engine::{Engine, ModelInfo, ModelKind};
pub use error::LoadError;
pub use options::{OnStep, Options, Step, StepKind};
