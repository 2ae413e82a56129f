//! All automation of the house: `cargo xtask …`. It decides nothing about the product; it builds, starts, measures and
//! counts. Standard library and four small crates only, so that the first command of a stranger starts soon.
//!
//! Whatever it starts is ended by its process id, also when a step fails; if xtask itself is killed, `setpriv` has told
//! the kernel to end its children.

mod bench;
mod demo;
mod fuzz;
mod http;
mod openapi;
mod prerequisites;
mod process;
mod root;
mod screen;
mod simulate;
mod site;
mod soak;
mod test;
mod tidy;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, tests, shows and measures Hoheit.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Gets what the tests need, once, and runs them all.
    Test(test::Options),
    /// Shows the idea in a minute: builds, starts, asks, refuses, and verifies offline.
    Demo(demo::Options),
    /// Measures.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Feeds a parser whatever coverage suggests; needs nightly Rust and cargo-fuzz.
    Fuzz(fuzz::Options),
    /// Runs seeds of the simulation: the whole site on a network, a disk and a clock that are not real.
    Simulate(simulate::Options),
    /// An hour of mixed load on the release build: memory flat, no receipt lost, chains verify.
    Soak(soak::Options),
    /// Prints the numbers of the house: files, functions, packages. They fail nothing.
    Tidy,
    /// Writes the OpenAPI description anew from the code.
    Openapi,
}

#[derive(Subcommand)]
enum BenchCommand {
    /// CPU per request, requests per second and delay: direct, nginx as proxy, Hoheit with everything on.
    Gateway(bench::Options),
    /// Durable records per second of the journal, by writers.
    Journal(bench::offline::JournalOptions),
    /// Receipts per second that the store takes and the sealer seals.
    Sealer(bench::offline::SealerOptions),
    /// How long `hoheit-verify chain` takes over an export.
    Verify(bench::offline::VerifyOptions),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Bench(BenchCommand::Gateway(options)) => bench::gateway(&options),
        Command::Bench(BenchCommand::Journal(options)) => bench::offline::journal(&options),
        Command::Bench(BenchCommand::Sealer(options)) => bench::offline::sealer(&options),
        Command::Bench(BenchCommand::Verify(options)) => bench::offline::verify(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::Tidy => tidy::run(),
        Command::Openapi => openapi::run(),
    }
}
