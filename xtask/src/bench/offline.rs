//! What the log and its verifier do in a second: `cargo xtask bench journal | sealer | verify`. Each builds and runs the real
//! code in release mode on this machine's disk; what is measured stands in the examples of the crates themselves.

use crate::{process, root, screen};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

#[derive(Args)]
pub struct JournalOptions {
    /// Seconds for each number of writers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
}

#[derive(Args)]
pub struct SealerOptions {
    #[arg(long, default_value_t = 400_000)]
    receipts: u64,
}

#[derive(Args)]
pub struct VerifyOptions {
    #[arg(long, default_value_t = 1_000_000)]
    receipts: u64,
    /// Two files for each receipt instead of lines of one file.
    #[arg(long)]
    files: bool,
}

/// A folder below target/ that goes when this does; a million receipts are gigabytes.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Folder> {
        let path = root::target().join(format!("bench/{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

/// Builds an example in release mode; answers where it lies.
fn example(package: &str, name: &str) -> Result<PathBuf> {
    screen::step("building in release mode (the first time takes several minutes)");
    process::run(process::cargo().args(["build", "--release", "--package", package, "--example", name]))?;
    Ok(root::target().join("release/examples").join(name))
}

pub fn journal(options: &JournalOptions) -> Result<()> {
    let program = example("journal", "throughput")?;
    let folder = Folder::new("journal")?;
    process::run(Command::new(program).arg(&folder.0).arg(options.seconds.to_string()))
}

pub fn sealer(options: &SealerOptions) -> Result<()> {
    let program = example("controller", "sealing")?;
    let folder = Folder::new("sealer")?;
    process::run(Command::new(program).arg(&folder.0).arg(options.receipts.to_string()))
}

pub fn verify(options: &VerifyOptions) -> Result<()> {
    let program = example("verify", "export")?;
    process::run(process::cargo().args(["build", "--release", "--package", "verify"]))?;
    let folder = Folder::new("verify")?;
    screen::step(&format!("making an export of {} receipts", options.receipts));
    let mut make = Command::new(program);
    make.arg(&folder.0).arg(options.receipts.to_string()).args(options.files.then_some("files"));
    process::run(&mut make)?;
    screen::step("verifying it");
    let begin = Instant::now();
    let mut verify = Command::new(root::target().join("release/hoheit-verify"));
    verify.arg("chain").arg(&folder.0).arg("--json");
    verify.arg("--jwks").arg(folder.0.join("jwks.json")).arg("--log-key").arg(folder.0.join("log.vkey"));
    let said: Value = serde_json::from_str(&process::output(&mut verify)?)?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(said["result"] == "holds", "it does not hold: {said}");
    let figures = json!({
        "receipts": options.receipts,
        "form": if options.files { "files" } else { "bundle" },
        "bytes": size(&folder.0)?,
        "seconds": (seconds * 100.0).round() / 100.0,
        "receipts_per_second": (options.receipts as f64 / seconds).round(),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
    });
    println!("{figures}");
    Ok(())
}

fn size(folder: &Path) -> Result<u64> {
    let files = std::fs::read_dir(folder)?;
    files.map(|file| Ok(file?.metadata()?.len())).sum()
}
