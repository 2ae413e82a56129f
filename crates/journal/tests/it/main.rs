//! The journal from outside: what a caller may rely on, on real files and on disks that fail.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bell;
mod crank;
mod cut;
mod everyday;
mod faults;
mod hostile;
mod recovery;
mod simulated;
mod support;
