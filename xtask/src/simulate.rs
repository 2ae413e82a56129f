//! `cargo xtask simulate`: more seeds of the simulation than a change has to pass.

use crate::process;
use anyhow::Result;
use clap::Args;

#[derive(Args)]
pub struct Options {
    /// How many runs of about a thousand requests.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Print everything that happens: for one seed that fails.
    #[arg(long)]
    trace: bool,
}

pub fn run(options: &Options) -> Result<()> {
    let mut simulate = process::cargo();
    simulate.args(["run", "--quiet", "--package", "simulation", "--"]);
    simulate.args(["--seeds", &options.seeds.to_string(), "--from", &options.from.to_string()]);
    if options.trace {
        simulate.arg("--trace");
    }
    process::run(&mut simulate)
}
