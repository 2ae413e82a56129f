//! The client against BMCs in memory, hostile ones, a captured DGX and somebody else's emulator.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

mod capture;
mod fixture;
mod hostile;
mod inventory;
mod many;
mod operations;
mod sushy;
mod sweeping;
mod tls;
