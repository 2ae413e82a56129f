//! The engine from outside: tiny models written by the test, served on a free port, spoken to over HTTP. No test sleeps
//! to wait for something; where order matters the test holds the inference thread by its step hook.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod answers;
mod bad_input;
mod client;
mod damaged;
mod embeddings;
mod gguf;
mod leaving;
mod tiny;
mod turns;
