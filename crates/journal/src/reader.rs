//! Reading records back: all of them, in order, while new ones are written. Only what is durable is ever seen.
//!
//! A reader has a place of its own and remembers nothing on disk; who must not read twice remembers the last sequence
//! number it dealt with, or makes dealing idempotent (shipping does).

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::{io, vec};

use bytes::{Buf, Bytes};
use tokio::sync::watch;

use crate::Record;
use crate::disk::{Disk, read_up_to};
use crate::error::ReadError;
use crate::queue::{Shared, State, lock};
use crate::record::{Decoded, OVERHEAD_BYTES, claimed_size};
use crate::segment::{self, HEADER_BYTES, Index, Segment};

/// Bytes read at once: about 2,000 records of 2 KB, 2 ms from the page cache with their checksums. No more is ever read
/// than what is durable, so a quiet journal costs little.
const READ_BYTES: usize = 4 << 20;

/// Where a reader stands: in this segment at this byte. Segments before it are done.
#[derive(Clone, Copy, Debug)]
struct Place {
    number: u64,
    offset: u64,
}

const START: Place = Place { number: 0, offset: 0 };

/// The next records from `place`, at most `max`, and the place after them. Empty: nothing more is durable.
fn read_on(
    disk: &dyn Disk,
    dir: &Path,
    index: &Mutex<Index>,
    mut place: Place,
    max: usize,
) -> Result<(Vec<Record>, Place), ReadError> {
    loop {
        let Some((segment, is_last)) = find(&lock(index), place) else { return Ok((Vec::new(), place)) };
        if place.number != segment.number {
            place = Place { number: segment.number, offset: HEADER_BYTES as u64 };
        }
        if place.offset < segment.end {
            match read_segment(disk, dir, &segment, place, max) {
                // Released between the look into the index and the opening of the file: go on behind it.
                Err(ReadError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound
                        && lock(index).0.iter().all(|it| it.number != place.number) =>
                {
                    continue;
                }
                outcome => return outcome,
            }
        }
        if is_last {
            return Ok((Vec::new(), place));
        }
        place = Place { number: segment.number + 1, offset: HEADER_BYTES as u64 };
    }
}

/// The segment at `place`, or the oldest one behind it that was not released; and whether it is the newest.
fn find(index: &Index, place: Place) -> Option<(Segment, bool)> {
    let at = index.0.iter().position(|it| it.number >= place.number)?;
    Some((index.0[at], at + 1 == index.0.len()))
}

fn read_segment(
    disk: &dyn Disk,
    dir: &Path,
    segment: &Segment,
    mut place: Place,
    max: usize,
) -> Result<(Vec<Record>, Place), ReadError> {
    let path = segment::path(dir, segment.number);
    let left = usize::try_from(segment.end - place.offset).unwrap_or(usize::MAX);
    let read = |bytes: usize| -> io::Result<Bytes> {
        Ok(read_up_to(&*disk.open(&path)?, place.offset, bytes.min(left))?.into())
    };
    let fail = |source| ReadError::Io { path: path.clone(), source };
    let mut bytes = read(READ_BYTES).map_err(fail)?;
    if let Some(size) = claimed_size(&bytes).filter(|&size| size > bytes.len() && size <= left) {
        bytes = read(size).map_err(fail)?;
    }
    let mut records = Vec::new();
    while records.len() < max {
        let Some(record) = Decoded::decode(segment.salt, &bytes) else { break };
        let (incarnation, seq, size) = (record.incarnation, record.seq, record.size());
        records.push(Record { incarnation, seq, payload: bytes.slice(OVERHEAD_BYTES..size) });
        bytes.advance(size);
        place.offset += size as u64;
    }
    if records.is_empty() && max > 0 {
        return Err(ReadError::Damaged { file: path, offset: place.offset });
    }
    Ok((records, place))
}

/// Follows the journal: first what earlier starts left, then what this one makes durable.
pub struct Reader {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    index: Arc<Mutex<Index>>,
    shared: Arc<Shared>,
    durable: watch::Receiver<u64>,
    place: Place,
}

impl Reader {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: Arc<Path>,
        index: Arc<Mutex<Index>>,
        shared: Arc<Shared>,
        durable: watch::Receiver<u64>,
    ) -> Self {
        Reader { disk, dir, index, shared, durable, place: START }
    }

    /// Waits until there is something and returns it, at most `max` records (at least one is asked for). Empty only when
    /// the journal is closed and everything was read, or its disk has failed. May be dropped while it waits: nothing is skipped.
    pub async fn next_batch(&mut self, max: usize) -> Result<Vec<Record>, ReadError> {
        loop {
            let ended = matches!(self.shared.state(), State::Closed | State::Failed);
            self.durable.borrow_and_update();
            let (disk, dir, index, place) =
                (Arc::clone(&self.disk), Arc::clone(&self.dir), Arc::clone(&self.index), self.place);
            let (records, place) = if disk.waits() {
                let task = tokio::task::spawn_blocking(move || read_on(&*disk, &dir, &index, place, max.max(1)));
                let ended = |error| ReadError::Io { path: self.dir.to_path_buf(), source: io::Error::other(error) };
                task.await.map_err(ended)??
            } else {
                read_on(&*disk, &dir, &index, place, max.max(1))?
            };
            self.place = place;
            if !records.is_empty() || ended {
                return Ok(records);
            }
            // An error means that the writer is gone: the next turn sees the journal ended.
            if self.durable.changed().await.is_err() && !matches!(self.shared.state(), State::Closed | State::Failed) {
                return Ok(Vec::new());
            }
        }
    }
}

/// All records of earlier starts, read as they are asked for. Ends after the first error.
pub struct Records {
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    index: Mutex<Index>,
    place: Place,
    batch: vec::IntoIter<Record>,
    failed: bool,
}

impl Records {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: Arc<Path>, index: Index) -> Self {
        Records { disk, dir, index: Mutex::new(index), place: START, batch: Vec::new().into_iter(), failed: false }
    }
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(record) = self.batch.next() {
            return Some(Ok(record));
        }
        if self.failed {
            return None;
        }
        match read_on(&*self.disk, &self.dir, &self.index, self.place, usize::MAX) {
            Ok((records, place)) => {
                self.place = place;
                self.batch = records.into_iter();
                self.batch.next().map(Ok)
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}
