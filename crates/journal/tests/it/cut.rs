//! The crash cut: a real ext4 on a loop file, a writer that is killed, and a copy of the backing file as the power would
//! have left it. Killing alone proves nothing, because the page cache survives the process; the copy leaves it out.
//!
//! Needs root, mkfs.ext4 and a loop device; says so and passes where they are not. Its negative control, the same
//! without fdatasync, must lose something.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use journal::{Disk, DiskFile, Journal, Options, RealDisk};
use tempfile::tempdir;

use crate::support::{block_on, boot, payload};

/// Holds a writer's second of records several times over.
const IMAGE_BYTES: u64 = 96 << 20;
const DIR: &str = "HOHEIT_JOURNAL_TEST_CUT_DIR";
const NO_SYNC: &str = "HOHEIT_JOURNAL_TEST_CUT_NO_SYNC";

fn cut_options() -> Options {
    Options { segment_bytes: 1 << 20, low_water_bytes: 0, ..Options::default() }
}

/// Real files whose contents are never synced.
struct NoSync;

struct NoSyncFile(Arc<dyn DiskFile>);

impl Disk for NoSync {
    fn create_dir(&self, dir: &Path) -> std::io::Result<()> {
        RealDisk.create_dir(dir)
    }
    fn list(&self, dir: &Path) -> std::io::Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn create(&self, path: &Path) -> std::io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(NoSyncFile(RealDisk.create(path)?)))
    }
    fn open(&self, path: &Path) -> std::io::Result<Arc<dyn DiskFile>> {
        RealDisk.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn free_bytes(&self, dir: &Path) -> std::io::Result<u64> {
        RealDisk.free_bytes(dir)
    }
}

impl DiskFile for NoSyncFile {
    fn size(&self) -> std::io::Result<u64> {
        self.0.size()
    }
    fn read_at(&self, into: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.0.read_at(into, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<usize> {
        self.0.write_at(bytes, offset)
    }
    fn allocate(&self, bytes: u64) -> std::io::Result<()> {
        self.0.allocate(bytes)
    }
    fn set_size(&self, bytes: u64) -> std::io::Result<()> {
        self.0.set_size(bytes)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        Ok(())
    }
    fn sync_all(&self) -> std::io::Result<()> {
        self.0.sync_all()
    }
}

/// The process that is killed: appends from sixteen tasks and prints each sequence number once it is acknowledged.
#[test]
fn writer_process() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let options = match std::env::var_os(NO_SYNC) {
        Some(_) => Options { disk: Arc::new(NoSync), ..cut_options() },
        None => cut_options(),
    };
    let (journal, _) = Journal::open(&dir, boot(1), options).unwrap();
    block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let journal = journal.clone();
            tasks.spawn(async move {
                loop {
                    let Ok(seq) = journal.append(payload(7)).await else { return };
                    writeln!(std::io::stderr(), "{seq}").unwrap();
                }
            });
        }
        tasks.join_next().await;
    });
}

fn run(command: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(command).args(arguments).output().map_err(|error| format!("{command}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// A mounted image; unmounted when it goes, whatever happened.
struct Mounted(PathBuf);

impl Mounted {
    fn new(image: &Path, at: PathBuf) -> Result<Self, String> {
        std::fs::create_dir(&at).map_err(|error| error.to_string())?;
        run("mount", &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()])?;
        Ok(Mounted(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let at = self.0.to_str().unwrap();
        if run("umount", &[at]).is_err() {
            let _ = run("umount", &["-l", at]);
        }
    }
}

/// So many acknowledgements show that the writer runs.
const RUNNING: u64 = 200;

/// One cut: the last sequence number that was acknowledged and the last that was found.
fn cut(folder: &Path, no_sync: bool, after: Duration) -> Result<(u64, u64), String> {
    let (image, copy) = (folder.join("image"), folder.join("copy"));
    let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
    file.set_len(IMAGE_BYTES).map_err(|error| error.to_string())?;
    run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()])?;
    let mounted = Mounted::new(&image, folder.join("mounted"))?;

    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "cut::writer_process", "--nocapture"]).env(DIR, mounted.0.join("journal"));
    if no_sync {
        command.env(NO_SYNC, "1");
    }
    let mut writer = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(writer.stderr.take().unwrap()).lines();
    let (runs, running) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let acknowledged = lines.map_while(Result::ok).filter_map(|line| line.parse::<u64>().ok());
        acknowledged
            .inspect(|seq| {
                if *seq == RUNNING {
                    runs.send(()).unwrap()
                }
            })
            .max()
            .unwrap_or(0)
    });
    // On a busy machine the writer needs a while to begin. An error means that it ended before.
    running.recv().unwrap();
    std::thread::sleep(after);
    writer.kill().unwrap();
    std::fs::copy(&image, &copy).unwrap();
    writer.wait().unwrap();
    let acknowledged = reading.join().unwrap();
    drop(mounted);

    let mounted = Mounted::new(&copy, folder.join("mounted-copy"))?;
    let (journal, recovered) =
        Journal::open(&mounted.0.join("journal"), boot(2), cut_options()).map_err(|error| error.to_string())?;
    let mut found = 0;
    for record in recovered.records() {
        let record = record.unwrap();
        assert_eq!((record.seq, &record.payload), (found + 1, &payload(7)));
        found = record.seq;
    }
    journal.close().unwrap();
    Ok((acknowledged, found))
}

/// Why a cut cannot be made on this machine, if it cannot.
fn cannot() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("needs a loop device".to_owned());
    }
    let folder = tempdir().unwrap();
    let image = folder.path().join("probe");
    std::fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let probe = run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()])
        .and_then(|()| Mounted::new(&image, folder.path().join("mounted")).map(drop));
    probe.err()
}

#[test]
fn a_cut_loses_nothing_that_was_acknowledged_and_without_fsync_it_does() {
    if let Some(reason) = cannot() {
        println!("skipped: {reason}");
        return;
    }
    for round in 0..2 {
        let folder = tempdir().unwrap();
        let (acknowledged, found) = cut(folder.path(), false, Duration::from_millis(100 + 211 * round)).unwrap();
        println!("with fdatasync: acknowledged {acknowledged}, found {found}");
        assert!(acknowledged >= RUNNING);
        assert!(found >= acknowledged, "acknowledged {acknowledged}, found {found}");
    }
    // Negative control: a durability test that cannot fail shows nothing.
    let lost = (0..4).any(|round| {
        let folder = tempdir().unwrap();
        let (acknowledged, found) =
            cut(folder.path(), true, Duration::from_millis(100 + 173 * round)).unwrap_or_else(|error| {
                // Unsynced bytes may also come out of order over more than one batch, which is refused as damage.
                assert!(error.contains("is damaged at byte"), "{error}");
                println!("without fdatasync: {error}");
                (1, 0)
            });
        println!("without fdatasync: acknowledged {acknowledged}, found {found}");
        found < acknowledged
    });
    assert!(lost, "the copy keeps what was never synced: this test shows nothing here");
}
