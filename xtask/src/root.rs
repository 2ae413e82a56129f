//! Where things lie. Everything that xtask writes is under `target/` or `.xtask/`, both ignored by git.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn path() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies inside the repository")
}

/// The folder that cargo builds into.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => path().join(folder),
        None => path().join("target"),
    }
}

/// What xtask installed for itself.
pub fn tools() -> PathBuf {
    path().join(".xtask")
}
