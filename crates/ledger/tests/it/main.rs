//! The ledger against others' implementations of the same specifications, and against its own mutations.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod acceptances;
mod hostile;
mod log;
mod notes;
mod receipts;
mod tiles;
mod tree;
mod world;
