//! hoheit-verify over a whole world on disk: what was not touched holds, and each way of touching it is found.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod mutations;
mod program;
mod words;
mod world;
