//! The whole site in one thread: the real gateway and its journal, engines, a database and customers on a simulated
//! network (turmoil), in virtual time, with chance from one seed. A run of a thousand requests meets some seventy faults:
//! lost, held and one-way links, crashes of gateway and engines, power failures that tear writes, EIO, a full disk, a
//! database that refuses or does not say what it did, clients that leave. Then the invariants are checked ([`check`]).
//!
//! What it is not: it is not in the product and does not replace the tests that kill a real process on a real disk. SQL,
//! threads, TLS and the kernel's sockets are not in it; the journal is turned by hand (`journal::Crank`).
//!
//! The order of everything follows from the seed: one thread, `biased` selects, and no clock or dice but ours.

pub mod check;
mod clock;
mod customers;
mod dice;
mod disk;
mod engines;
mod faults;
mod patient;
mod run;
mod site;
mod trace;
mod vault;

pub use run::{ORDINARY, Report, Size, run};
