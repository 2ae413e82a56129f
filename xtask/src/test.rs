//! `cargo xtask test`: everything that a change has to pass, and nothing that it need not.

use crate::prerequisites::{self, Needed};
use crate::{process, root, screen};
use anyhow::Result;
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

#[derive(Args)]
pub struct Options {
    /// Leave out what takes long or has to be installed: no lints, no SDKs, no PostgreSQL. Tests that need them say that they are skipped.
    #[arg(long)]
    quick: bool,
    /// Passed on to the runner, for example a part of a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub fn run(options: &Options) -> Result<()> {
    let begin = Instant::now();
    if !options.quick {
        // Where this machine may not be changed, the tests that need these skip and say so.
        let postgres = Needed { versions: Some("/usr/lib/postgresql"), ..Needed::of("initdb", "postgresql") };
        for got in [prerequisites::debian(&[postgres, Needed::of("mosquitto", "mosquitto")]), prerequisites::sdks()] {
            if let Err(error) = got {
                eprintln!("{} {error:#}", screen::bad("skipping tests:"));
            }
        }
    }
    let linted = !options.quick && options.rest.is_empty();
    if linted {
        form()?;
    }
    let nextest = prerequisites::nextest();
    if has_doc_tests(&root::path().join("crates"))? {
        process::run(process::cargo().args(["test", "--workspace", "--doc"]))?;
    }
    let mut runner = process::cargo();
    match nextest {
        true => runner.args(["nextest", "run", "--workspace"]),
        false => runner.args(["test", "--workspace", "--lib", "--bins", "--tests"]),
    };
    if linted && let Some(driver) = clippy_driver() {
        // The lints run in the same compilation as the tests: a pass of `cargo clippy` would check every dependency once more.
        // This is cargo's own way to wrap the compiler for members of the workspace, and how `cargo clippy` itself does it.
        screen::step("building with clippy's driver: lints and tests in one pass");
        runner.env("RUSTC_WORKSPACE_WRAPPER", driver);
    }
    if !options.quick && sdks_here() {
        // With this a test of the SDKs fails where it would skip.
        runner.env("HOHEIT_TEST_SDK", "required");
    }
    runner.args(&options.rest);
    let result = process::run(&mut runner);
    screen::step(&format!("tests took {} s", begin.elapsed().as_secs()));
    result
}

/// Form. Without the component it is said, and nothing is checked.
fn form() -> Result<()> {
    if process::output(process::cargo().args(["fmt", "--version"])).is_err() {
        eprintln!("{} this toolchain has no cargo fmt", screen::bad("skipping a check:"));
        return Ok(());
    }
    screen::step("cargo fmt --all --check");
    process::run(process::cargo().args(["fmt", "--all", "--check"]))
}

/// The compiler with clippy's lints in it. Only lints that the workspace names fail; what a newer compiler adds to its own list
/// is shown.
fn clippy_driver() -> Option<PathBuf> {
    let driver = process::found("clippy-driver");
    let works = driver.as_ref().is_some_and(|path| process::output(Command::new(path).arg("--version")).is_ok());
    if !works {
        eprintln!("{} this toolchain has no clippy", screen::bad("skipping a check:"));
    }
    driver.filter(|_| works)
}

fn sdks_here() -> bool {
    root::tools().join("venv/bin/python").exists() && root::path().join("tests/sdk/node_modules/openai").exists()
}

/// True if any documentation holds an example that would run. Building doc tests links each crate once more, so it is
/// done only where there is one.
fn has_doc_tests(folder: &Path) -> Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = match path.is_dir() {
            true => has_doc_tests(&path)?,
            false if path.extension().is_some_and(|extension| extension == "rs") => {
                runs_an_example(&fs::read_to_string(&path)?)
            }
            false => false,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn runs_an_example(source: &str) -> bool {
    let fences = source.lines().map(str::trim_start).filter_map(|line| {
        line.strip_prefix("//!")
            .or_else(|| line.strip_prefix("///"))
            .map(str::trim)
            .and_then(|line| line.strip_prefix("```"))
    });
    fences.step_by(2).any(|language| matches!(language, "" | "rust" | "should_panic" | "no_run" | "compile_fail"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_found() {
        assert!(runs_an_example("/// ```\n/// let x = 1;\n/// ```\n"));
        assert!(!runs_an_example("//! ```text\n//! a picture\n//! ```\nfn f() {}"));
    }
}
