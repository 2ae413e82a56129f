//! The gateway against scripted engines, a real journal, a real SQLite and real sockets.
//!
//! Every test ends in [`world::World::receipts`], which stops the gateway and checks the journal's invariant: each
//! admitted request has exactly one receipt, chains are gapless.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod answers;
mod clients;
mod disk;
mod durability;
mod engines;
mod idempotency;
mod kinds;
mod money;
mod paths;
mod queue;
mod recovery;
mod refusals;
mod routing;
mod stalls;
mod world;
