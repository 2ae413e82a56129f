//! `hoheit`: one binary. `up` serves; every other command is a client of the control API or of `/v1`.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 wrong usage (clap's own, and what only we can see is wrong).

mod cli;
mod up;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A sovereign AI cloud: every request leaves a signed receipt.
#[derive(Debug, Parser)]
#[command(name = "hoheit", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "\
Start here:
  hoheit up --data ./site                     serve, with an embedded engine
  export HOHEIT_DATA=./site                   where the admin token is found
  hoheit tenant create \"Muster GmbH\"          a customer; then `project create`, `key create`
  hoheit chat \"Was ist ein Beleg?\"            with HOHEIT_API_KEY set

Connection: HOHEIT_URL (http://127.0.0.1:8080), HOHEIT_TOKEN, or HOHEIT_DATA for DIR/admin-token.")]
struct Hoheit {
    #[command(subcommand)]
    command: Command,
}

/// A request makes about a hundred small allocations and a few of some kilobytes; glibc tidies its lists at each of the
/// latter (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The command of the child that reads documents.
const READ_DOCUMENT: &str = "read-document";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: gateway, control API, log and an embedded engine, all in one folder.
    Up(up::Options),
    /// Read one document from standard input: what `up` starts for each upload, within bounds of its own.
    #[command(name = READ_DOCUMENT, hide = true)]
    ReadDocument,
    #[command(flatten)]
    Client(cli::Command),
}

fn main() -> ExitCode {
    let done = match Hoheit::parse().command {
        Command::Up(options) => up::run(options).map_err(|error| cli::Failure::failed(format!("{error:#}"))),
        Command::ReadDocument => return knowledge::read::child(knowledge::Limits::default().text_bytes_max),
        Command::Client(command) => cli::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit)
        }
    }
}

#[cfg(test)]
mod tests;
