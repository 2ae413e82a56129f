//! The gateway against scripted engines, a real journal, a real SQLite and real sockets.
//!
//! Every test ends in [`world::World::receipts`], which stops the gateway and checks the journal's invariant: each
//! admitted request has exactly one receipt, chains are gapless.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod answers;
mod away;
mod clients;
mod clocks;
mod disk;
mod durability;
mod engines;
mod failures;
mod forks;
mod idempotency;
mod inner;
mod kinds;
mod money;
mod paths;
mod queue;
mod recovery;
mod refusals;
mod repeats;
mod routing;
mod shared;
mod small_disk;
mod stalls;
mod switch;
mod world;
