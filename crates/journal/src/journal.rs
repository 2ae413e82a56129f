//! The handle that the gateway holds.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use tokio::sync::watch;

use crate::bell::Bell;
use crate::disk::Disk;
use crate::error::{CloseError, During, Fatal, OpenError};
use crate::keeper::Keeper;
use crate::options::{OnFatal, Options, RECORD_BYTES_MAX};
use crate::queue::{Appended, Room, Shared, State, lock};
use crate::reader::Reader;
use crate::record::OVERHEAD_BYTES;
use crate::recovery::{Recovered, recover};
use crate::segment::{HEADER_BYTES, Index, Segment, prepare};
use crate::writer::Writer;

/// A segment holds at least its header and a few records, else every append would begin a new one.
const SEGMENT_BYTES_MIN: u64 = 2 * HEADER_BYTES as u64;

/// An open journal; clones share it. When the last clone goes, it closes as [`Journal::close`] does.
#[derive(Clone)]
pub struct Journal {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    keeper: Arc<Keeper>,
    index: Arc<Mutex<Index>>,
    durable: Arc<watch::Sender<u64>>,
    disk: Arc<dyn Disk>,
    dir: Arc<Path>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Handle {
    fn begin_close(&self) {
        self.shared.begin_close();
        self.keeper.begin_close();
    }

    fn join(&self) {
        let mut threads = lock(&self.threads);
        // A wake-up may drop the task that holds the last clone, on the writer's own thread: that one cannot wait.
        let own = threads.iter().any(|it| it.thread().id() == thread::current().id());
        for thread in threads.drain(..).filter(|_| !own) {
            // A panic in it was already reported as the journal's failure.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.begin_close();
        self.join();
    }
}

impl Journal {
    /// Verifies what is there, cuts an interrupted write, and begins a segment of its own. The caller holds the data
    /// folder's lock; `incarnation` is new at every start.
    pub fn open(dir: &Path, incarnation: [u8; 16], options: Options) -> Result<(Journal, Recovered), OpenError> {
        let Options { segment_bytes, low_water_bytes, queue_bytes_max, disk, on_fatal, crank } = options;
        if segment_bytes < SEGMENT_BYTES_MIN {
            return Err(OpenError::Option { name: "segment_bytes", value: segment_bytes, least: SEGMENT_BYTES_MIN });
        }
        let room = usize::try_from(segment_bytes).unwrap_or(usize::MAX) - HEADER_BYTES - OVERHEAD_BYTES;
        let dir: Arc<Path> = dir.into();
        let found = recover(&*disk, &dir, incarnation)?;
        let active =
            prepare(&*disk, &dir, found.number_next, incarnation, segment_bytes).map_err(|it| it.into_open(&dir))?;
        let recovered = Recovered {
            disk: Arc::clone(&disk),
            dir: Arc::clone(&dir),
            last: found.index.0.back().map(|it| (it.incarnation, it.last_seq)),
            index: found.index.clone(),
            incarnations: found.incarnations,
            cut: found.cut,
        };
        let mut index = found.index;
        let segment = Segment::empty(&active.header);
        index.0.push_back(segment);
        let index = Arc::new(Mutex::new(index));
        let shared = Arc::new(Shared::new(
            queue_bytes_max,
            room.min(RECORD_BYTES_MAX).min(queue_bytes_max.saturating_sub(OVERHEAD_BYTES)),
        ));
        let keeper = Arc::new(Keeper::new(
            Arc::clone(&disk),
            Arc::clone(&dir),
            incarnation,
            segment_bytes,
            low_water_bytes,
            found.number_next + 1,
        ));
        let durable = Arc::new(watch::Sender::new(0));
        let writer = Writer {
            shared: Arc::clone(&shared),
            keeper: Arc::clone(&keeper),
            index: Arc::clone(&index),
            durable: Arc::clone(&durable),
            incarnation,
            segment_bytes,
            active,
            end: segment.end,
            tip: found.tip,
        };
        let threads = match crank {
            Some(crank) => {
                crank.hold(writer, on_fatal);
                Vec::new()
            }
            None => start(writer, &on_fatal).during("start a thread for", &dir)?,
        };
        let handle = Handle { shared, keeper, index, durable, disk, dir, threads: Mutex::new(threads) };
        Ok((Journal { handle: Arc::new(handle) }, recovered))
    }

    /// Takes the record: its sequence number and its place are fixed when this returns, in the order of the calls, also if
    /// the future is dropped. The future resolves when the record is durable. A full queue refuses the record at once
    /// ([`AppendError::Full`]); for what must not be refused (a receipt), [`Journal::reserve`] room first.
    pub fn append(&self, payload: Bytes) -> Appended {
        self.handle.shared.append(payload, 1).unwrap_or_else(Appended::refused)
    }

    /// Promises room for one record of about `payload_bytes`, so that [`Journal::append_into`] cannot find the queue full,
    /// however slow the disk has become meanwhile. None: no room for another promise, take no new work. Also none when the
    /// journal does not take records any more.
    pub fn reserve(&self, payload_bytes: usize) -> Option<Room> {
        self.handle.shared.reserve(OVERHEAD_BYTES + payload_bytes)
    }

    /// Like [`Journal::append`], into room that was reserved: refused only if the journal is closed, has failed, or the
    /// payload is larger than any record may be. One that is larger than its room is taken.
    pub fn append_into(&self, room: Room, payload: Bytes) -> Appended {
        room.append(payload).unwrap_or_else(Appended::refused)
    }

    /// Like [`Journal::append`], but only into the first half of the queue. None: there was no room, or the journal does
    /// not take records any more; nothing was taken.
    pub fn append_if_room(&self, payload: Bytes) -> Option<Appended> {
        self.handle.shared.append(payload, 2).ok()
    }

    /// For a thread that works in turns ([`crate::work_in_turns`]): call before it waits for anything.
    pub fn end_turn(&self) {
        self.handle.shared.end_turn();
    }

    /// Wakes those who wait on one thread with one wake-up per commit: run it there as a task.
    pub fn bell(&self) -> Bell {
        Bell::new(Arc::clone(&self.handle.shared))
    }

    /// The newest record of this incarnation that is durable; 0 before the first.
    pub fn durable_seq(&self) -> u64 {
        self.handle.shared.durable()
    }

    /// Records that are appended and not durable yet.
    pub fn waiting(&self) -> u64 {
        self.handle.shared.waiting()
    }

    /// False when free disk space is under the low water mark, cannot be told, or the next segment found no room; and
    /// when the disk has failed. Take no new work then.
    pub fn has_space(&self) -> bool {
        self.handle.keeper.has_space() && self.handle.shared.state() != State::Failed
    }

    /// A reader from the oldest record that is kept. Several may read at once.
    pub fn reader(&self) -> Reader {
        let it = &*self.handle;
        Reader::new(
            Arc::clone(&it.disk),
            Arc::clone(&it.dir),
            Arc::clone(&it.index),
            Arc::clone(&it.shared),
            it.durable.subscribe(),
        )
    }

    /// Nothing up to and including this record is needed any more. Whole segments go, in the background; never the one
    /// being written.
    pub fn release(&self, incarnation: [u8; 16], seq: u64) {
        let numbers = lock(&self.handle.index).release(incarnation, seq);
        self.handle.keeper.release(numbers);
    }

    /// Takes no more records, writes and syncs what was appended, stops the threads. Blocks for about one commit; for
    /// longer only while the disk is slow. Does not wait for a full disk to have room again.
    pub fn close(self) -> Result<(), CloseError> {
        self.handle.begin_close();
        self.handle.join();
        match self.handle.shared.lost() {
            0 => Ok(()),
            lost => Err(CloseError { lost }),
        }
    }
}

/// Starts the writer and the keeper. Each ends the other: the writer when it is done, either when the disk failed.
fn start(mut writer: Writer, on_fatal: &OnFatal) -> io::Result<Vec<JoinHandle<()>>> {
    let (shared, keeper, hook) = (Arc::clone(&writer.shared), Arc::clone(&writer.keeper), Arc::clone(on_fatal));
    let keeping = thread::Builder::new().name("journal-keeper".to_owned()).spawn(move || {
        watched("keeper", &shared, &hook, || keeper.run());
        keeper.stop();
    })?;
    let (shared, hook) = (Arc::clone(&writer.shared), Arc::clone(on_fatal));
    let stop = Arc::clone(&writer.keeper);
    let writing = thread::Builder::new().name("journal-writer".to_owned()).spawn(move || {
        watched("writer", &shared, &hook, || writer.run());
        writer.end();
    });
    let writing = writing.inspect_err(|_| stop.stop())?;
    Ok(vec![writing, keeping])
}

/// Runs a thread's work; if it fails, nothing more is acknowledged and the process is ended.
fn watched(name: &'static str, shared: &Shared, on_fatal: &OnFatal, work: impl FnOnce() -> Result<(), Fatal>) {
    let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Fatal {
            operation: "panic in thread",
            path: name.into(),
            source: io::Error::other("see the message above"),
        })
    });
    if let Err(fatal) = outcome
        && shared.fail()
    {
        tracing::error!(error = %fatal, "journal: disk failed");
        on_fatal(&fatal);
    }
}
