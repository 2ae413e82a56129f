//! The second thread: has the next segment ready before it is needed, removes released ones, watches free space. None of
//! it may hold up a commit.
//!
//! If we crash here: a prepared segment holds no records and is removed at the next start; a removal that did not become
//! durable leaves records that were already shipped, and shipping is idempotent.

use std::io;
use std::mem;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::disk::Disk;
use crate::error::Fatal;
use crate::queue::lock;
use crate::segment::{self, PrepareError, Prepared};

/// How often free space is looked at, and a refused preparation repeated: at 14 MB/s a quarter of a second is 3.5 MB, less
/// than a hundredth of the low water mark.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(crate) struct Keeper {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    incarnation: [u8; 16],
    segment_bytes: u64,
    low_water_bytes: u64,
    desk: Mutex<Desk>,
    /// Wakes the keeper: something to do.
    work: Condvar,
    /// Wakes the writer: a segment is ready, or never will be.
    ready: Condvar,
    has_space: AtomicBool,
}

#[derive(Default)]
struct Desk {
    number_next: u64,
    prepared: Option<Prepared>,
    /// Numbers of segments to remove, oldest first.
    released: Vec<u64>,
    /// The last attempt to prepare a segment found no room.
    refused: bool,
    /// No new records come: who waits for room need not wait any longer.
    closing: bool,
    /// The writer is gone.
    stop: bool,
}

impl Keeper {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: Arc<Path>,
        incarnation: [u8; 16],
        segment_bytes: u64,
        low_water_bytes: u64,
        number_next: u64,
    ) -> Self {
        let keeper = Keeper {
            disk,
            dir,
            incarnation,
            segment_bytes,
            low_water_bytes,
            desk: Mutex::new(Desk { number_next, ..Desk::default() }),
            work: Condvar::new(),
            ready: Condvar::new(),
            has_space: AtomicBool::new(true),
        };
        keeper.look();
        keeper
    }

    pub(crate) fn has_space(&self) -> bool {
        self.has_space.load(Ordering::Relaxed)
    }

    pub(crate) fn release(&self, numbers: Vec<u64>) {
        if !numbers.is_empty() {
            lock(&self.desk).released.extend(numbers);
            self.work.notify_one();
        }
    }

    /// The next segment; waits while the disk has no room for one. None: no room, and the journal is closing.
    pub(crate) fn next_segment(&self) -> Option<Prepared> {
        let mut desk = lock(&self.desk);
        loop {
            if let Some(prepared) = desk.prepared.take() {
                self.work.notify_one();
                return Some(prepared);
            }
            if desk.stop || (desk.closing && desk.refused) {
                return None;
            }
            desk = self.ready.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// No more waiting for room.
    pub(crate) fn begin_close(&self) {
        lock(&self.desk).closing = true;
        self.ready.notify_one();
    }

    /// Ends the thread, after what was released is removed; or the wait for it, if it has failed.
    pub(crate) fn stop(&self) {
        lock(&self.desk).stop = true;
        self.work.notify_one();
        self.ready.notify_one();
    }

    /// The thread. Returns when stopped, or with the failure after which nothing may be acknowledged.
    pub(crate) fn run(&self) -> Result<(), Fatal> {
        let mut released = Vec::new();
        loop {
            let number_wanted = {
                let mut desk = lock(&self.desk);
                if desk.released.is_empty() && (desk.prepared.is_some() || desk.refused) && !desk.stop {
                    desk = self.work.wait_timeout(desk, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
                }
                if desk.stop && desk.released.is_empty() {
                    self.discard(desk.prepared.take());
                    return Ok(());
                }
                released.append(&mut desk.released);
                (desk.prepared.is_none() && !desk.stop).then_some(desk.number_next)
            };
            self.work_off(&mut released, number_wanted)?;
        }
    }

    /// What the thread does between two waits, for who has no thread.
    pub(crate) fn turn(&self, released: &mut Vec<u64>) -> Result<(), Fatal> {
        let number_wanted = {
            let mut desk = lock(&self.desk);
            released.append(&mut desk.released);
            desk.prepared.is_none().then_some(desk.number_next)
        };
        self.work_off(released, number_wanted)
    }

    /// The next segment, if it is ready.
    pub(crate) fn take_prepared(&self) -> Option<Prepared> {
        lock(&self.desk).prepared.take()
    }

    /// Removes what was released, as far as it goes, and prepares the wanted segment.
    fn work_off(&self, released: &mut Vec<u64>, number_wanted: Option<u64>) -> Result<(), Fatal> {
        *released = self.remove(mem::take(released))?;
        match number_wanted {
            Some(number) if !self.prepare(number)? => self.has_space.store(false, Ordering::Relaxed),
            _ => self.look(),
        }
        Ok(())
    }

    /// False: no room now.
    fn prepare(&self, number: u64) -> Result<bool, Fatal> {
        match segment::prepare(&*self.disk, &self.dir, number, self.incarnation, self.segment_bytes) {
            Ok(prepared) => {
                let mut desk = lock(&self.desk);
                desk.number_next = number + 1;
                desk.prepared = Some(prepared);
                desk.refused = false;
                drop(desk);
                self.ready.notify_one();
                Ok(true)
            }
            Err(PrepareError::NoSpace(error)) => {
                if self.has_space() {
                    tracing::warn!(%error, dir = %self.dir.display(), "journal: cannot take space for the next segment");
                }
                lock(&self.desk).refused = true;
                self.ready.notify_one();
                Ok(false)
            }
            Err(PrepareError::Fatal(fatal)) => Err(fatal),
        }
    }

    /// Oldest first, each durable before the next: what is left has no hole. Returns what could not be removed.
    fn remove(&self, numbers: Vec<u64>) -> Result<Vec<u64>, Fatal> {
        for (position, &number) in numbers.iter().enumerate() {
            let path = segment::path(&self.dir, number);
            match self.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, file = %path.display(), "journal: cannot remove a released segment");
                    return Ok(numbers[position..].to_vec());
                }
                _ => {}
            }
            let synced = self.disk.sync_dir(&self.dir);
            synced.map_err(|source| Fatal { operation: "fsync of folder", path: self.dir.to_path_buf(), source })?;
        }
        Ok(Vec::new())
    }

    /// Gives back the segment that nobody needed. Best effort: the next start removes it too.
    fn discard(&self, prepared: Option<Prepared>) {
        if let Some(prepared) = prepared {
            let _ = self.disk.remove(&prepared.path);
        }
    }

    fn look(&self) {
        match self.disk.free_bytes(&self.dir) {
            Ok(free) => {
                let enough = free >= self.low_water_bytes;
                if self.has_space.swap(enough, Ordering::Relaxed) != enough {
                    tracing::warn!(
                        free,
                        low_water = self.low_water_bytes,
                        enough,
                        "journal: free space passed the low water mark"
                    );
                }
            }
            Err(error) => {
                if self.has_space.swap(false, Ordering::Relaxed) {
                    tracing::warn!(%error, "journal: cannot tell how much space is free; taken for none");
                }
            }
        }
    }
}
