//! A disk in memory that outlives the gateway on it. When the power fails it loses what was not synced, sector by sector,
//! and of unsynced names it keeps any prefix; and on demand it fails an operation, with or without effect, or is full.

use crate::dice::Dice;
use journal::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTOR: usize = 512;

/// EIO.
const IO_ERROR: i32 = 5;

/// Undoes one change that is not synced.
enum Undo {
    Bytes {
        offset: usize,
        before: Vec<u8>,
    },
    /// The size before, and what was cut off.
    Size {
        before: usize,
        cut: Vec<u8>,
    },
}

#[derive(Default)]
struct Inode {
    bytes: Vec<u8>,
    unsynced: Vec<Undo>,
}

enum Naming {
    Set(PathBuf, usize),
    Unset(PathBuf),
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Naming::Set(path, inode) => {
                names.retain(|_, it| it != inode);
                names.insert(path.clone(), *inode);
            }
            Naming::Unset(path) => {
                names.remove(path);
            }
        }
    }
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    names_durable: BTreeMap<PathBuf, usize>,
    names_unsynced: Vec<Naming>,
    /// After so many more changes one fails; true: although it had its effect.
    fails: Option<(u64, bool)>,
    full: bool,
    lies: bool,
}

#[derive(Clone, Default)]
pub struct VirtualDisk(Arc<Mutex<State>>);

struct VirtualFile {
    disk: VirtualDisk,
    inode: usize,
}

impl VirtualDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of the next changes fails, once.
    pub fn fail_after(&self, changes: u64, maybe: bool) {
        self.state().fails = Some((changes, maybe));
    }

    /// Has no room for more files' contents.
    pub fn fill(&self, full: bool) {
        self.state().full = full;
    }

    pub fn heal(&self) {
        let mut state = self.state();
        (state.fails, state.full) = (None, false);
    }

    /// From now on says that it has synced and has not: what nothing may survive. For the test of the test.
    pub fn lie(&self) {
        self.state().lies = true;
    }

    /// The power fails. Who held files must be gone.
    pub fn lose_power(&self, dice: &mut Dice) {
        let mut state = self.state();
        // Of what was not synced: nothing, all, or a part is kept.
        let keep_in_a_thousand = [0, 500, 900, 1_000][dice.below(4) as usize];
        for inode in &mut state.inodes {
            while let Some(undo) = inode.unsynced.pop() {
                undo.on(&mut inode.bytes, || !dice.in_a_thousand(keep_in_a_thousand));
            }
        }
        let State { names, names_durable, names_unsynced, .. } = &mut *state;
        for naming in names_unsynced.drain(..).take_while(|_| dice.in_a_thousand(keep_in_a_thousand)) {
            naming.apply(names_durable);
        }
        *names = names_durable.clone();
        (state.fails, state.full) = (None, false);
    }

    fn change<T>(&self, effect: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.state();
        match state.fails.take() {
            Some((0, maybe)) => {
                if maybe {
                    let _ = effect(&mut state);
                }
                Err(Error::from_raw_os_error(IO_ERROR))
            }
            Some((left, maybe)) => {
                state.fails = Some((left - 1, maybe));
                effect(&mut state)
            }
            None => effect(&mut state),
        }
    }
}

impl Undo {
    fn on(self, bytes: &mut Vec<u8>, mut undone: impl FnMut() -> bool) {
        match self {
            Undo::Size { before, cut } => {
                if undone() {
                    bytes.resize(before.saturating_sub(cut.len()), 0);
                    bytes.extend_from_slice(&cut);
                }
            }
            Undo::Bytes { offset, before } => {
                let mut at = 0;
                while at < before.len() {
                    let part = (SECTOR - (offset + at) % SECTOR).min(before.len() - at);
                    let (from, to) = (offset + at, (offset + at + part).min(bytes.len()));
                    if from < to && undone() {
                        bytes[from..to].copy_from_slice(&before[at..at + to - from]);
                    }
                    at += part;
                }
            }
        }
    }
}

impl Disk for VirtualDisk {
    fn create_dir(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let state = self.state();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn DiskFile>> {
        let inode = self.change(|state| {
            if state.names.contains_key(path) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            let inode = state.inodes.len();
            state.inodes.push(Inode::default());
            state.names.insert(path.to_owned(), inode);
            state.names_unsynced.push(Naming::Set(path.to_owned(), inode));
            Ok(inode)
        })?;
        Ok(Arc::new(VirtualFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>> {
        let inode = self.state().names.get(path).copied().ok_or(ErrorKind::NotFound)?;
        Ok(Arc::new(VirtualFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.change(|state| {
            let inode = *state.names.get(from).ok_or(ErrorKind::NotFound)?;
            let naming = Naming::Set(to.to_owned(), inode);
            naming.apply(&mut state.names);
            state.names_unsynced.push(naming);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.change(|state| {
            state.names.remove(path).ok_or(ErrorKind::NotFound)?;
            state.names_unsynced.push(Naming::Unset(path.to_owned()));
            Ok(())
        })
    }

    fn sync_dir(&self, _: &Path) -> Result<()> {
        self.change(|state| {
            state.names_durable = state.names.clone();
            state.names_unsynced.clear();
            Ok(())
        })
    }

    fn free_bytes(&self, _: &Path) -> Result<u64> {
        Ok(if self.state().full { 0 } else { 1 << 40 })
    }

    fn waits(&self) -> bool {
        false
    }
}

impl VirtualFile {
    fn resize(&self, bytes: u64) -> Result<()> {
        self.disk.change(|state| {
            let inode = &mut state.inodes[self.inode];
            let (before, bytes) = (inode.bytes.len(), bytes as usize);
            let cut = inode.bytes.get(bytes..).unwrap_or_default().to_vec();
            inode.unsynced.push(Undo::Size { before, cut });
            inode.bytes.resize(bytes, 0);
            Ok(())
        })
    }

    fn sync(&self) -> Result<()> {
        self.disk.change(|state| {
            if !state.lies {
                state.inodes[self.inode].unsynced.clear();
            }
            Ok(())
        })
    }
}

impl DiskFile for VirtualFile {
    fn size(&self) -> Result<u64> {
        Ok(self.disk.state().inodes[self.inode].bytes.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize> {
        let state = self.disk.state();
        let from = state.inodes[self.inode].bytes.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        self.disk.change(|state| {
            let inode = &mut state.inodes[self.inode];
            let (offset, end) = (offset as usize, offset as usize + bytes.len());
            if inode.bytes.len() < end {
                inode.unsynced.push(Undo::Size { before: inode.bytes.len(), cut: Vec::new() });
                inode.bytes.resize(end, 0);
            }
            inode.unsynced.push(Undo::Bytes { offset, before: inode.bytes[offset..end].to_vec() });
            inode.bytes[offset..end].copy_from_slice(bytes);
            Ok(bytes.len())
        })
    }

    fn allocate(&self, bytes: u64) -> Result<()> {
        if self.disk.state().full {
            return Err(ErrorKind::StorageFull.into());
        }
        self.resize(bytes)
    }

    fn set_size(&self, bytes: u64) -> Result<()> {
        self.resize(bytes)
    }

    fn sync_data(&self) -> Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> Result<()> {
        self.sync()
    }
}
