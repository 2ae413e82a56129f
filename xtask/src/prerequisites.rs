//! What a command needs and the machine may lack: Debian packages, a test runner, the SDKs. Each is got once; a marker
//! under `.xtask/` with a hash of what was asked for says so, and nothing is asked or done twice.
//!
//! If we are killed in the middle, the marker is missing and the step runs again; each step may run twice.

use crate::{process, root, screen};
use anyhow::{Context, Result, bail};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::process::Command;

/// A program, and the Debian package that brings it.
pub struct Needed {
    pub program: &'static str,
    pub package: &'static str,
    /// Where else it may lie than in PATH: a folder in which any subfolder's `bin` may hold it.
    pub versions: Option<&'static str>,
}

impl Needed {
    pub const fn of(program: &'static str, package: &'static str) -> Needed {
        Needed { program, package, versions: None }
    }

    fn here(&self) -> bool {
        let versioned = || {
            let folders = std::fs::read_dir(self.versions?).ok()?;
            folders.flatten().find(|folder| folder.path().join("bin").join(self.program).is_file())
        };
        process::found(self.program).is_some() || versioned().is_some()
    }
}

/// Gets what is missing: installed where we may, otherwise named in an error that a person can act on.
pub fn debian(needed: &[Needed]) -> Result<()> {
    let missing: Vec<&str> = needed.iter().filter(|one| !one.here()).map(|one| one.package).collect();
    install(&missing)
}

fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if process::found("apt-get").is_none() || !rustix::process::geteuid().is_root() {
        bail!("missing on this machine: {}. As root: {by_hand}", packages.join(", "));
    }
    screen::step(&format!("installing {} (once)", packages.join(", ")));
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        // A run level of 1 keeps Debian from starting the servers that it installs.
        apt.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").arg("-qq").args(arguments);
        process::output(&mut apt)
    };
    once("apt-update", "", || apt(&["update"]).map(|_| ()))?;
    let arguments = [&["install", "-y", "--no-install-recommends"], packages].concat();
    apt(&arguments).with_context(|| format!("by hand: {by_hand}"))?;
    Ok(())
}

/// The test runner. True if it can be used; without a registry the tests still run, with cargo's own runner.
pub fn nextest() -> bool {
    if process::output(process::cargo().args(["nextest", "--version"])).is_ok() {
        return true;
    }
    screen::step("installing cargo-nextest (once; a few minutes)");
    let installed = process::run(process::cargo().args(["install", "--locked", "--quiet", "cargo-nextest"]));
    if let Err(error) = &installed {
        screen::step(&format!("without it: {error:#}; the tests run under `cargo test`"));
    }
    installed.is_ok()
}

/// The SDKs that outside developers use, at the versions that `tests/sdk` and `tests/aicore` pin, and what asks our API everything.
pub fn sdks() -> Result<()> {
    let sdk = root::path().join("tests/sdk");
    debian(&[Needed::of("python3", "python3"), Needed::of("node", "nodejs"), Needed::of("npm", "npm")])?;
    let requirements = sdk.join("requirements.txt");
    python("python", "venv", &requirements, "Python's SDKs of OpenAI and Perplexity")?;
    python("openapi", "openapi", &root::path().join("tests/openapi/requirements.txt"), "schemathesis")?;
    python("sushy", "sushy", &root::path().join("tests/redfish/requirements.txt"), "sushy-tools")?;
    python("vda5050", "vda5050", &root::path().join("tests/vda5050/requirements.txt"), "Python's jsonschema")?;
    node("node", &sdk, "npm's SDKs of OpenAI and Perplexity")?;
    node("node-aicore", &root::path().join("tests/aicore"), "npm's SAP AI SDK")
}

/// What a folder's lock file names, into its `node_modules`.
fn node(name: &str, folder: &Path, what: &str) -> Result<()> {
    once(name, &read(&folder.join("package-lock.json"))?, || {
        screen::step(&format!("{what} into {}/node_modules (once)", folder.display()));
        let mut npm = Command::new("npm");
        process::output(npm.args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(folder)).map(|_| ())
    })
}

/// One package of PyPI at one version in an environment of its own, `.xtask/NAME`.
pub fn package(name: &str, version: &str) -> Result<()> {
    environment(name, name, &format!("{name}=={version}"), &[format!("{name}=={version}")], name)
}

/// Packages in an environment of their own, `.xtask/FOLDER`.
fn python(name: &str, folder: &str, requirements: &Path, what: &str) -> Result<()> {
    let asked = ["-r".to_owned(), requirements.display().to_string()];
    environment(name, folder, &read(requirements)?, &asked, what)
}

fn environment(name: &str, folder: &str, content: &str, asked: &[String], what: &str) -> Result<()> {
    once(name, content, || {
        screen::step(&format!("{what} into .xtask/{folder} (once)"));
        let venv = root::tools().join(folder);
        let make = || process::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
        if make().is_err() {
            // Debian's Python comes without it.
            install(&["python3-venv"])?;
            make()?;
        }
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(asked);
        process::output(&mut pip).map(|_| ())
    })
}

/// Does `work` unless it was done for exactly this content.
fn once(name: &str, content: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut hasher = DefaultHasher::new();
    (root::path(), content).hash(&mut hasher);
    let hash = format!("{:016x}\n", hasher.finish());
    let marker = root::tools().join(format!("{name}.done"));
    if std::fs::read_to_string(&marker).is_ok_and(|done| done == hash) {
        return Ok(());
    }
    std::fs::create_dir_all(root::tools())?;
    work()?;
    std::fs::write(&marker, hash).with_context(|| format!("write {}", marker.display()))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}
