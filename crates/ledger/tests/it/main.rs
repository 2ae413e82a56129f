//! The ledger against others' implementations of the same specifications, and against its own mutations.

mod log;
mod notes;
mod receipts;
mod tiles;
mod tree;
mod world;
