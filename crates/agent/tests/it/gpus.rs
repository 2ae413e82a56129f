//! NVML through a stub of ours (tests/stub/nvml.rs), compiled here and opened by its path.

use agent::nvml::Gpus;
use agent::report::Reporter;
use agent::wire::State;
use fleet::observed::EventKind;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use types::MachineId;

/// Compiled once; each test takes a copy, because a library that is opened by another path is another library.
static STUB: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libnvml.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stub/nvml.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let made = Command::new(rustc)
        .args(["--crate-type", "cdylib", "--edition", "2024", "--crate-name", "nvml", "-A", "nonstandard_style", "-o"])
        .arg(&library)
        .arg(&source)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (folder, library)
});

/// A driver whose script is in the test's hands.
pub struct Driver {
    folder: tempfile::TempDir,
}

impl Driver {
    pub fn with(script: &str) -> Driver {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(&STUB.1, folder.path().join("libnvml.so")).unwrap();
        let driver = Driver { folder };
        driver.becomes(script);
        driver
    }

    /// The script in one rename: the library never reads half of it.
    pub fn becomes(&self, script: &str) {
        fs::write(self.folder.path().join("next"), script).unwrap();
        fs::rename(self.folder.path().join("next"), self.folder.path().join("nvml.script")).unwrap();
    }

    /// A driver that is not loaded yet; [`Driver::load`] does it.
    pub fn unloaded(script: &str) -> Driver {
        let driver = Driver::with(script);
        fs::rename(driver.library(), driver.folder.path().join("unloaded")).unwrap();
        driver
    }

    pub fn load(&self) {
        fs::rename(self.folder.path().join("unloaded"), self.library()).unwrap();
    }

    pub fn library(&self) -> PathBuf {
        self.folder.path().join("libnvml.so")
    }

    fn open(&self) -> Gpus {
        Gpus::open(Some(&self.library())).unwrap()
    }
}

#[test]
fn eight_gpus_with_all_that_is_told_of_them() {
    let driver = Driver::with("driver 580.95.05\ngpus 8\n");
    let gpus = driver.open();
    assert_eq!(gpus.driver, "580.95.05");
    let look = gpus.look();
    assert_eq!((look.links.len(), look.links.iter().all(|it| it.up)), (8 * 18, true));
    let seen = look.gpus;
    assert_eq!(seen.len(), 8);
    let (uuid, gpu) = seen.iter().nth(3).unwrap();
    assert_eq!(uuid, "GPU-00000000-0000-0000-0000-000000000003");
    assert_eq!((gpu.index, gpu.name.as_str(), gpu.serial.as_str()), (3, "NVIDIA B200", "1650000000003"));
    assert_eq!((gpu.memory_mib, gpu.nvlinks_up, gpu.temperature_c, gpu.power_mw), (183_359, 18, 41, 302_000));
    assert!(!gpu.throttled && !gpu.remap_failed);

    driver.becomes("gpus 8\necc 3 1 20\nremap 3 2 1\nlinks 3 17\nhot 3 91\nlost 5\n");
    let look = gpus.look();
    let down: Vec<_> = look.links.iter().filter(|it| !it.up).map(|it| (&*it.domain, &*it.port)).collect();
    assert_eq!(down, [("nvlink", "gpu3:17")]);
    let seen = look.gpus;
    assert_eq!(seen.len(), 7, "one does not answer");
    let gpu = &seen["GPU-00000000-0000-0000-0000-000000000003"];
    assert_eq!((gpu.ecc_uncorrected, gpu.ecc_corrected), (1, 20));
    assert_eq!((gpu.rows_remapped, gpu.remap_failed), (2, true));
    assert_eq!((gpu.nvlinks_up, gpu.temperature_c, gpu.throttled), (17, 91, true));
}

#[tokio::test]
async fn an_xid_arrives_as_an_event() {
    let driver = Driver::with("driver 580.1\ngpus 8\n");
    let mut watch = driver.open().watch().unwrap();
    driver.becomes("driver 580.1\ngpus 8\nxid 3 79\nxid 5 48\n");
    let first = watch.events.recv().await.unwrap();
    assert_eq!(first, EventKind::Xid { code: 79, gpu: 3, driver: "580.1".into() });
    let second = watch.events.recv().await.unwrap();
    assert_eq!(second, EventKind::Xid { code: 48, gpu: 5, driver: "580.1".into() });
    // And goes into the next report.
    let clock = agent::clock::SystemClock;
    let mut reporter = Reporter::new(MachineId(1), "S1", &clock);
    reporter.event(first.clone(), 5);
    assert_eq!(reporter.next(State::default(), &clock, 7).events[0].what, first);
}

/// A GPU that is lost fails the wait for the events of all, and cannot be listened to: of the others they come all the same.
#[tokio::test]
async fn a_wait_that_fails_and_a_gpu_that_is_lost_silence_no_other() {
    let driver = Driver::with("driver 580.1\ngpus 8\n");
    let mut watch = driver.open().watch().unwrap();
    driver.becomes("driver 580.1\ngpus 8\nlost 3\ndeaf 2\nxid 5 48\n");
    let event = watch.events.recv().await.unwrap();
    assert_eq!(event, EventKind::Xid { code: 48, gpu: 5, driver: "580.1".into() });
    // Begun without it from the first.
    let lost = Driver::with("driver 580.1\ngpus 8\nlost 0\nxid 7 94\n");
    let event = lost.open().watch().unwrap().events.recv().await.unwrap();
    assert_eq!(event, EventKind::Xid { code: 94, gpu: 7, driver: "580.1".into() });
    let mute = Driver::with("driver 580.1\ngpus 8\nmute\n");
    assert!(mute.open().watch().is_err());
}

#[test]
fn a_machine_without_a_library_says_so() {
    let missing = Gpus::open(Some(Path::new("/nowhere/libnvidia-ml.so.1"))).unwrap_err();
    assert!(missing.to_string().starts_with("no NVML: /nowhere/libnvidia-ml.so.1: "), "{missing}");
}
