//! `cargo xtask fuzz TARGET`: one of the targets in `fuzz/` for a while, with cargo-fuzz on nightly. Not a part of the
//! tests: the property tests of the same guarantees are.

use crate::{process, root};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::process::Command;

#[derive(Debug, Args)]
pub struct Options {
    /// One of those that fuzz/README.md lists.
    target: String,
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

pub fn run(options: &Options) -> Result<()> {
    let known = targets()?;
    if !known.contains(&options.target) {
        bail!("there is no target {:?}: one of {}", options.target, known.join(", "));
    }
    let mut fuzz = Command::new("cargo");
    // Out of this build's own settings: another toolchain, another folder.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO")) {
        if name != "CARGO_HOME" && name != "CARGO_BUILD_JOBS" && name != "CARGO_TARGET_DIR" {
            fuzz.env_remove(name);
        }
    }
    fuzz.env_remove("RUSTUP_TOOLCHAIN");
    fuzz.args(["+nightly", "fuzz", "run", "--fuzz-dir"]).arg(root::path().join("fuzz")).arg(&options.target);
    // A body may have 32 MiB; what is interesting happens far below that.
    fuzz.arg("--").arg(format!("-max_total_time={}", options.seconds)).arg("-max_len=8192");
    process::run(fuzz.current_dir(root::path()))
        .context("it needs nightly Rust and cargo-fuzz: see fuzz/README.md; what it found is in fuzz/artifacts")
}

/// The names in `fuzz/targets`.
fn targets() -> Result<Vec<String>> {
    let folder = root::path().join("fuzz/targets");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| Some(entry.path().file_stem()?.to_string_lossy().into_owned())).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing builds them with every change, so at least their list holds together.
    #[test]
    fn every_target_is_declared_and_explained() {
        let read = |path: &str| std::fs::read_to_string(root::path().join(path)).unwrap();
        let (manifest, page) = (read("fuzz/Cargo.toml"), read("fuzz/README.md"));
        let names = targets().unwrap();
        assert!(names.len() >= 7, "{names:?}");
        for name in &names {
            assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "fuzz/Cargo.toml lacks {name}");
            assert!(page.contains(&format!("| `{name}` |")), "fuzz/README.md lacks {name}");
        }
        assert_eq!(manifest.matches("[[bin]]").count(), names.len());
    }
}
