//! A disk in memory that can fail at any operation and lose what was not synced, sector by sector.
//!
//! It is stricter than a real one: after a crash each 512-byte sector of each unsynced write is kept or lost on its own,
//! and of unsynced names any prefix is kept. And the property that all of the journal stands for, over it.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use journal::{AppendError, Appended, Disk, DiskFile, Journal, Options};
use proptest::prelude::*;

use crate::support::{block_on, boot, expected, options, payload, records};

const SECTOR: usize = 512;

/// What happens to one operation that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Fails and has no effect.
    Eio,
    /// Fails although it had its effect: "failed but maybe written".
    EioMaybe,
    Enospc,
    /// A write that writes half; any other operation is done.
    Short,
    Panic,
    /// The power fails: this and everything after it fails without effect.
    Crash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Rename,
    Remove,
    SyncDir,
    Write,
    Allocate,
    SetSize,
    SyncData,
    SyncAll,
}

type Decide = Box<dyn FnMut(Operation) -> Option<Fault> + Send>;

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Size(usize),
}

#[derive(Clone, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Naming {
    Set(PathBuf, usize),
    Unset(PathBuf),
}

#[derive(Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    names_durable: BTreeMap<PathBuf, usize>,
    names_unsynced: Vec<Naming>,
    decide: Option<Decide>,
    crashed: bool,
}

#[derive(Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<World>>);

struct SimulatedFile {
    disk: SimulatedDisk,
    inode: usize,
}

fn apply(change: &Change, bytes: &mut Vec<u8>) {
    match change {
        Change::Size(size) => bytes.resize(*size, 0),
        Change::Write { offset, bytes: written } => {
            let end = offset + written.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*offset..end].copy_from_slice(written);
        }
    }
}

fn rename(naming: &Naming, names: &mut BTreeMap<PathBuf, usize>) {
    match naming {
        Naming::Set(path, inode) => {
            names.retain(|_, it| it != inode);
            names.insert(path.clone(), *inode);
        }
        Naming::Unset(path) => {
            names.remove(path);
        }
    }
}

impl SimulatedDisk {
    /// Asks before every operation that changes something.
    pub fn decide(&self, decide: impl FnMut(Operation) -> Option<Fault> + Send + 'static) {
        self.world().decide = Some(Box::new(decide));
    }

    pub fn heal(&self) {
        self.world().decide = None;
    }

    /// What the same disk holds after the power failed now. `keep` is asked per sector and per name.
    pub fn crash(&self, mut keep: impl FnMut() -> bool) -> SimulatedDisk {
        let world = self.world();
        let mut after = World { names: world.names_durable.clone(), ..World::default() };
        for inode in &world.inodes {
            let mut bytes = inode.durable.clone();
            for change in &inode.unsynced {
                match change {
                    Change::Size(_) if keep() => apply(change, &mut bytes),
                    Change::Size(_) => {}
                    Change::Write { offset, bytes: written } => {
                        let mut at = 0;
                        while at < written.len() {
                            let part = (SECTOR - (offset + at) % SECTOR).min(written.len() - at);
                            if keep() {
                                let bytes_part = written[at..at + part].to_vec();
                                apply(&Change::Write { offset: offset + at, bytes: bytes_part }, &mut bytes);
                            }
                            at += part;
                        }
                    }
                }
            }
            after.inodes.push(Inode { now: bytes.clone(), durable: bytes, unsynced: Vec::new() });
        }
        for naming in &world.names_unsynced {
            if !keep() {
                break;
            }
            rename(naming, &mut after.names);
        }
        after.names_durable = after.names.clone();
        SimulatedDisk(Arc::new(Mutex::new(after)))
    }

    /// Everything that is visible now, as files of a disk on its own.
    pub fn copy(&self) -> SimulatedDisk {
        self.crash(|| true)
    }

    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let world = self.world();
        world.names.iter().map(|(path, inode)| (path.clone(), world.inodes[*inode].now.clone())).collect()
    }

    /// Changes a file behind the journal's back.
    pub fn meddle(&self, path: &Path, meddle: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        let inode = world.names[path];
        let inode = &mut world.inodes[inode];
        meddle(&mut inode.now);
        inode.durable = inode.now.clone();
        inode.unsynced.clear();
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Does the operation, unless it is decided otherwise. `effect` is told how much of a write to do.
    fn change<T>(&self, operation: Operation, effect: impl FnOnce(&mut World, bool) -> Result<T>) -> Result<T> {
        let mut world = self.world();
        if world.crashed {
            return Err(Error::other("the power has failed"));
        }
        let fault = world.decide.as_mut().and_then(|decide| decide(operation));
        match fault {
            None => effect(&mut world, false),
            Some(Fault::Short) => effect(&mut world, true),
            Some(Fault::EioMaybe) => {
                let _ = effect(&mut world, false);
                Err(Error::from_raw_os_error(5))
            }
            Some(Fault::Eio) => Err(Error::from_raw_os_error(5)),
            Some(Fault::Enospc) => Err(ErrorKind::StorageFull.into()),
            Some(Fault::Panic) => panic!("injected"),
            Some(Fault::Crash) => {
                world.crashed = true;
                Err(Error::other("the power fails"))
            }
        }
    }
}

impl Disk for SimulatedDisk {
    fn create_dir(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let world = self.world();
        let inside = world.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn DiskFile>> {
        let inode = self.change(Operation::Create, |world, _| {
            if world.names.contains_key(path) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            let inode = world.inodes.len();
            world.inodes.push(Inode::default());
            world.names.insert(path.to_owned(), inode);
            world.names_unsynced.push(Naming::Set(path.to_owned(), inode));
            Ok(inode)
        })?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>> {
        let inode = self.world().names.get(path).copied().ok_or(ErrorKind::NotFound)?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.change(Operation::Rename, |world, _| {
            let inode = *world.names.get(from).ok_or(ErrorKind::NotFound)?;
            let naming = Naming::Set(to.to_owned(), inode);
            rename(&naming, &mut world.names);
            world.names_unsynced.push(naming);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.change(Operation::Remove, |world, _| {
            world.names.remove(path).ok_or(ErrorKind::NotFound)?;
            world.names_unsynced.push(Naming::Unset(path.to_owned()));
            Ok(())
        })
    }

    fn sync_dir(&self, _: &Path) -> Result<()> {
        self.change(Operation::SyncDir, |world, _| {
            world.names_durable = world.names.clone();
            world.names_unsynced.clear();
            Ok(())
        })
    }

    fn free_bytes(&self, _: &Path) -> Result<u64> {
        Ok(1 << 40)
    }
}

impl SimulatedFile {
    fn unsynced(&self, operation: Operation, change: Change) -> Result<()> {
        self.disk.change(operation, |world, _| {
            let inode = &mut world.inodes[self.inode];
            apply(&change, &mut inode.now);
            inode.unsynced.push(change);
            Ok(())
        })
    }

    fn sync(&self, operation: Operation) -> Result<()> {
        self.disk.change(operation, |world, _| {
            let inode = &mut world.inodes[self.inode];
            inode.durable = inode.now.clone();
            inode.unsynced.clear();
            Ok(())
        })
    }
}

impl DiskFile for SimulatedFile {
    fn size(&self) -> Result<u64> {
        Ok(self.disk.world().inodes[self.inode].now.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize> {
        let world = self.disk.world();
        let from = world.inodes[self.inode].now.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        self.disk.change(Operation::Write, |world, short| {
            let bytes = if short { &bytes[..bytes.len().div_ceil(2)] } else { bytes };
            let change = Change::Write { offset: offset as usize, bytes: bytes.to_vec() };
            let inode = &mut world.inodes[self.inode];
            apply(&change, &mut inode.now);
            inode.unsynced.push(change);
            Ok(bytes.len())
        })
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        self.unsynced(Operation::Allocate, Change::Size(bytes as usize))
    }

    fn set_size(&self, bytes: u64) -> Result<()> {
        self.unsynced(Operation::SetSize, Change::Size(bytes as usize))
    }

    fn sync_data(&self) -> Result<()> {
        self.sync(Operation::SyncData)
    }

    fn sync_all(&self) -> Result<()> {
        self.sync(Operation::SyncAll)
    }
}

/// A disk that says it has synced and has not.
#[derive(Clone)]
struct LyingDisk(SimulatedDisk);

struct LyingFile(Arc<dyn DiskFile>);

impl Disk for LyingDisk {
    fn create_dir(&self, dir: &Path) -> Result<()> {
        self.0.create_dir(dir)
    }
    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        self.0.list(dir)
    }
    fn create(&self, path: &Path) -> Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(LyingFile(self.0.create(path)?)))
    }
    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>> {
        self.0.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> Result<()> {
        self.0.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.0.sync_dir(dir)
    }
    fn free_bytes(&self, dir: &Path) -> Result<u64> {
        self.0.free_bytes(dir)
    }
}

impl DiskFile for LyingFile {
    fn size(&self) -> Result<u64> {
        self.0.size()
    }
    fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize> {
        self.0.read_at(into, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        self.0.write_at(bytes, offset)
    }
    fn allocate(&self, bytes: u64) -> Result<()> {
        self.0.allocate(bytes)
    }
    fn set_size(&self, bytes: u64) -> Result<()> {
        self.0.set_size(bytes)
    }
    fn sync_data(&self) -> Result<()> {
        Ok(())
    }
    fn sync_all(&self) -> Result<()> {
        self.0.sync_all()
    }
}

pub const DIR: &str = "/simulated";

/// Opens without ending the test's process when the disk fails.
pub fn options_on(disk: impl Disk + 'static) -> Options {
    Options { disk: Arc::new(disk), on_fatal: Arc::new(|_| {}), ..options() }
}

/// Appends groups of the given sizes, waiting for each; the last sequence number that was acknowledged.
fn work(journal: &Journal, disk: &SimulatedDisk, groups: &[usize]) -> u64 {
    let (mut seq, mut acknowledged) = (0, 0);
    for &size in groups {
        let group: Vec<_> = (0..size as u64).map(|at| journal.append(payload(seq + 1 + at))).collect();
        seq += size as u64;
        for appended in group {
            match block_on(outcome_or_crash(appended, disk)) {
                Some(Ok(seq)) => acknowledged = acknowledged.max(seq),
                Some(Err(_)) | None => return acknowledged,
            }
        }
    }
    acknowledged
}

/// None: the power failed, and who waits for room on that disk waits for ever.
async fn outcome_or_crash(
    mut appended: Appended,
    disk: &SimulatedDisk,
) -> Option<std::result::Result<u64, AppendError>> {
    loop {
        if let Ok(outcome) = tokio::time::timeout(Duration::from_millis(20), &mut appended).await {
            return Some(outcome);
        }
        if disk.world().crashed {
            return None;
        }
    }
}

fn random(mut seed: u64, share: u64) -> impl FnMut() -> bool {
    move || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % 8 < share
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    // An ENOSPC in a write is a failure like EIO; where it only delays, `faults` looks at it.
    prop_oneof![Just(Fault::Eio), Just(Fault::EioMaybe), Just(Fault::Short), Just(Fault::Crash), Just(Fault::Crash)]
}

/// Two boots, each of which may be hit at one operation, recovery's own included; then a third must find everything that
/// was ever acknowledged, in order, and nothing that was not appended.
fn acknowledged_is_kept(
    lie: bool,
    boots: &[(Vec<usize>, u32, Fault, u64, u64)],
) -> std::result::Result<(), TestCaseError> {
    let mut disk = SimulatedDisk::default();
    let mut acknowledged: Vec<(u8, u64)> = Vec::new();
    for (number, (groups, at, fault, seed, share)) in (1u8..).zip(boots) {
        let (mut left, fault) = (*at, *fault);
        disk.decide(move |_| {
            left = left.checked_sub(1)?;
            (left == 0).then_some(fault)
        });
        let options = if lie { options_on(LyingDisk(disk.clone())) } else { options_on(disk.clone()) };
        if let Ok((journal, _)) = Journal::open(Path::new(DIR), boot(number), options) {
            acknowledged.push((number, work(&journal, &disk, groups)));
            // The power fails while the threads still work; their later operations reach a world that is no more.
            let after = disk.crash(random(*seed, *share));
            drop(journal);
            disk = after;
        } else {
            disk = disk.crash(random(*seed, *share));
        }
    }
    let (_journal, recovered) = Journal::open(Path::new(DIR), boot(99), options_on(disk))
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    let found = records(&recovered);
    let mut rest = &found[..];
    for (number, acknowledged) in acknowledged {
        let count = rest.iter().take_while(|it| it.incarnation == boot(number)).count();
        prop_assert_eq!(&rest[..count], &expected(number, 1..=count as u64)[..]);
        prop_assert!(count as u64 >= acknowledged, "boot {}: acknowledged {}, found {}", number, acknowledged, count);
        rest = &rest[count..];
    }
    prop_assert!(rest.is_empty());
    Ok(())
}

fn boots() -> impl Strategy<Value = Vec<(Vec<usize>, u32, Fault, u64, u64)>> {
    let boot = (prop::collection::vec(1..30usize, 0..12), 1..60u32, fault(), any::<u64>(), 0..9u64);
    prop::collection::vec(boot, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn no_crash_at_any_operation_loses_what_was_acknowledged(boots in boots()) {
        acknowledged_is_kept(false, &boots)?;
    }
}

#[test]
fn the_same_with_a_disk_that_does_not_sync_fails() {
    // The negative control: a durability test that cannot fail shows nothing.
    let lost = (0..20).any(|seed| {
        let boots = [(vec![10, 10, 10], 1000, Fault::Crash, seed, 4)];
        acknowledged_is_kept(true, &boots).is_err()
    });
    assert!(lost);
}
