//! The commit: the one thread that writes records and makes them durable.
//!
//! Each turn takes whatever has gathered while the last `fdatasync` ran, writes it with one call, syncs once, and wakes
//! everybody whom that covered. The next segment is begun only when everything in the last one is durable.
//!
//! If we crash between write and sync, the batch may be there, or not, or in part: nobody was told. If we crash between
//! sync and wake-up, it is there and nobody was told: the next start finds it, which an intent or a receipt must bear.

use std::mem;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use crate::disk::write_all_at;
use crate::error::Fatal;
use crate::keeper::Keeper;
use crate::queue::{Batch, Shared, State, lock};
use crate::record::{Draft, Hash, OVERHEAD_BYTES};
use crate::segment::{Index, Prepared, Segment};

/// Most bytes in one write: 1 MiB takes about a millisecond with its sync (measured: 1,097 a second), and larger ones gain
/// nothing.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Under load a commit begins no sooner than this after the one before, or when so many records wait: each costs 20 to 40 µs
/// of CPU time and two changes of threads whatever it holds. Callers wait a millisecond longer at most, and a record that
/// comes alone does not wait. At 25,000 requests a second 50 records are a millisecond.
const COMMIT_GAP: Duration = Duration::from_millis(1);
const COMMIT_RECORDS: usize = 48;

pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub keeper: Arc<Keeper>,
    pub index: Arc<Mutex<Index>>,
    /// Tells readers how far they may read.
    pub durable: Arc<watch::Sender<u64>>,
    pub incarnation: [u8; 16],
    pub segment_bytes: u64,
    pub active: Prepared,
    /// Where the next record goes in the active segment.
    pub end: u64,
    /// Hash of the record written last.
    pub tip: Hash,
}

impl Writer {
    /// Returns when the journal is closed and everything is durable, or with what failed.
    pub(crate) fn run(&mut self) -> Result<(), Fatal> {
        let mut buffer = Vec::new();
        let mut woken: Vec<Waker> = Vec::new();
        let mut emptied: Vec<Bytes> = Vec::new();
        let mut done_bytes = 0;
        let keeper = Arc::clone(&self.keeper);
        let mut next = Instant::now();
        loop {
            self.shared.wait(mem::take(&mut done_bytes), next, COMMIT_RECORDS);
            next = Instant::now() + COMMIT_GAP;
            let Some(Batch { first_seq, records }) = self.shared.take(0, emptied) else { break };
            done_bytes = records.iter().map(|it| OVERHEAD_BYTES + it.len()).sum();
            let written = self.write(first_seq, &records, &mut buffer, &mut woken, || Ok(keeper.next_segment()))?;
            if written < records.len() {
                // Closing, and the disk is full: what is left was never acknowledged.
                return Ok(());
            }
            emptied = records;
        }
        match self.shared.state() {
            State::Failed => Ok(()),
            _ => self.trim(),
        }
    }

    /// Writes and syncs records, as far as there are segments for them; how many. Who waits for them is woken.
    pub(crate) fn write(
        &mut self,
        first_seq: u64,
        records: &[Bytes],
        buffer: &mut Vec<u8>,
        woken: &mut Vec<Waker>,
        mut next_segment: impl FnMut() -> Result<Option<Prepared>, Fatal>,
    ) -> Result<usize, Fatal> {
        let mut written = 0;
        while written < records.len() {
            let seq = first_seq + written as u64;
            let count = self.fits(&records[written..]);
            if count == 0 {
                match next_segment()? {
                    Some(prepared) => self.rotate(prepared),
                    None => break,
                }
                continue;
            }
            self.commit(seq, &records[written..written + count], buffer, woken)?;
            written += count;
        }
        Ok(written)
    }

    /// The writer is done, whatever ended it: tells everybody who waits for it.
    pub(crate) fn end(&self) {
        self.shared.end();
        self.keeper.stop();
        self.durable.send_modify(|_| {});
    }

    /// How many records one write may take.
    fn fits(&self, records: &[Bytes]) -> usize {
        let room = usize::try_from(self.segment_bytes - self.end).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let fits = |record: &&Bytes| {
            let first = bytes == 0;
            bytes += OVERHEAD_BYTES + record.len();
            bytes <= room && (first || bytes <= BATCH_BYTES_MAX)
        };
        records.iter().take_while(fits).count()
    }

    fn commit(
        &mut self,
        first_seq: u64,
        records: &[Bytes],
        buffer: &mut Vec<u8>,
        woken: &mut Vec<Waker>,
    ) -> Result<(), Fatal> {
        let salt = Segment::empty(&self.active.header).salt;
        buffer.clear();
        let mut last_seq = first_seq;
        for (position, payload) in records.iter().enumerate() {
            last_seq = first_seq + position as u64;
            let draft = Draft {
                batch_start: position == 0,
                incarnation: &self.incarnation,
                seq: last_seq,
                prev_hash: &self.tip,
                payload,
            };
            self.tip = draft.encode(salt, buffer);
        }
        let fatal = |operation| {
            let path = self.active.path.clone();
            move |source| Fatal { operation, path, source }
        };
        write_all_at(&*self.active.file, buffer, self.end).map_err(fatal("write"))?;
        self.active.file.sync_data().map_err(fatal("fdatasync"))?;
        self.end += buffer.len() as u64;
        {
            let mut index = lock(&self.index);
            let active = index.0.back_mut().expect("the active segment is never released");
            active.last_seq = last_seq;
            active.end = self.end;
        }
        self.shared.committed(last_seq, woken);
        self.durable.send_replace(last_seq);
        Ok(())
    }

    fn rotate(&mut self, prepared: Prepared) {
        let segment = Segment::empty(&prepared.header);
        self.end = segment.end;
        self.active = prepared;
        lock(&self.index).0.push_back(segment);
    }

    /// Gives back what the active segment did not use.
    pub(crate) fn trim(&self) -> Result<(), Fatal> {
        let trimmed = self.active.file.set_size(self.end).and_then(|()| self.active.file.sync_all());
        trimmed.map_err(|source| Fatal { operation: "trim", path: self.active.path.clone(), source })
    }
}
