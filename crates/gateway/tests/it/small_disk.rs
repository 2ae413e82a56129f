//! Failure 13 on a real file system that is full: a small tmpfs. Needs root to mount it; otherwise it says so and passes.

use crate::world::*;
use gateway::Readiness;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use twin::engine::{Behaviour, ScriptedEngine};
use types::Outcome;

/// A mounted file system of so many KiB; gone with this.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &Path, kib: u64) -> Result<Tmpfs, String> {
        std::fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let options = format!("size={kib}k");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        let mount = mount.map_err(|error| format!("mount: {error}"))?;
        match mount.status.success() {
            true => Ok(Tmpfs(at.to_owned())),
            false => Err(String::from_utf8_lossy(&mount.stderr).into_owned()),
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn f13_on_a_full_disk_nothing_is_admitted_nothing_is_lost_and_room_brings_it_back() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let disk = match Tmpfs::mount(&folder.path().join("journal"), 8 << 10) {
        Ok(disk) => disk,
        Err(why) => return println!("skipped: no tmpfs can be mounted here: {why}"),
    };
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let low_water = |journal: &mut journal::Options| {
        journal.segment_bytes = 1 << 20;
        journal.low_water_bytes = 2 << 20;
    };
    let world = Setup::new().engine(&engine.url(), "DE").journal(low_water).start_in(folder.clone()).await;
    assert_eq!(world.chat(json!({})).await.status, 200);
    // Somebody else fills it, to the last byte.
    let ballast = disk.0.join("ballast");
    let _until_it_is_full = Command::new("dd")
        .args(["if=/dev/zero", "bs=4096", "count=4096", "status=none"])
        .arg(format!("of={}", ballast.display()))
        .output();
    let turns = async |state: Readiness| {
        let waiting = async {
            while world.gateway.readiness() != state {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("never {state:?}"));
    };
    turns(Readiness::LowSpace).await;
    let refused = world.chat(json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "not_ready"));
    std::fs::remove_file(&ballast).unwrap();
    turns(Readiness::Ready).await;
    assert_eq!(world.chat(json!({})).await.status, 200);
    assert_eq!(engine.requests().len(), 2);
    let receipts = world.receipts().await;
    assert_eq!(receipts.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::Completed, Outcome::Completed]);
}
