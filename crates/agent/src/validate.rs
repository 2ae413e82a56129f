//! Validation: a suite is data, its run is a list of results as the fleet keeps them.
//!
//! A run decides nothing about the machine. It cannot hang (every test has a time limit, and its whole process group is killed at
//! it), cannot fill memory (of what a test prints the last lines are kept) and leaves nothing behind.

pub mod builtin;
pub mod dcgm;
pub mod run;
pub mod suite;

pub use run::{Place, run};
pub use suite::{Suite, SuiteError};
