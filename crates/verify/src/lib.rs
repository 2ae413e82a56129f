//! `hoheit-verify`: what an auditor runs. It checks receipts, proofs, a tenant's export, a machine's acceptance and a whole log, offline, with
//! nothing but files that it is given and two things that its user must have from elsewhere: the site's key set and the
//! log's verifier key.
//!
//! What it is not: it asks no server, reads no clock, and decides nothing about money or policy. It says what follows
//! from the files and, as plainly, what does not ([`words`]).
//!
//! Read it in this order: [`args`], then [`receipt`], [`chain`] (over [`export`] and [`crew`]), [`acceptance`] and [`log`], one file per
//! command; the arithmetic is in the crate `ledger`. Three endings: 0 it holds, 1 it does not, 2 it could not be checked.

pub mod acceptance;
pub mod args;
pub mod chain;
pub mod crew;
pub mod export;
pub mod files;
pub mod log;
pub mod receipt;
pub mod report;
pub mod words;

use clap::Parser as _;
use std::ffi::OsString;

/// What the program says and how it ends. Only `main` touches the process, so tests run all of it in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub code: u8,
    pub stdout: String,
    pub stderr: String,
}

/// Runs one command line; the first word is the program's name.
pub fn run(words: impl IntoIterator<Item = OsString>) -> Ending {
    match args::Args::try_parse_from(words) {
        Ok(args) => report::ending(check(&args.command), args.json, args.lang),
        // Help and version are not errors: clap gives them code 0 and standard output. Bad arguments end with 2.
        Err(error) if error.use_stderr() => {
            Ending { code: 2, stdout: String::new(), stderr: error.render().to_string() }
        }
        Err(text) => Ending { code: 0, stdout: text.render().to_string(), stderr: String::new() },
    }
}

/// An error means: could not be checked. What was checked and does not hold is in the report.
fn check(command: &args::Command) -> anyhow::Result<report::Report> {
    match command {
        args::Command::Receipt { jwt, proof, jwks, log } => receipt::check(jwt, proof.as_deref(), jwks, log),
        args::Command::Proof { proof, receipt, leaf, log } => {
            receipt::check_proof(proof, receipt.as_deref(), leaf.as_deref(), log)
        }
        args::Command::Chain { dir, jwks, log } => chain::check(dir, jwks, log),
        args::Command::Acceptance { jwt, proof, serial, jwks, log } => {
            acceptance::check(jwt, proof.as_deref(), serial, jwks, log)
        }
        args::Command::Log { dir, log_key, since } => log::check(dir, log_key, since.as_deref()),
    }
}
