//! Between the callers and the writer: records that wait to be written, and callers that wait to hear of it.
//!
//! [`append`](Shared::append) takes one short lock, in which a record gets its sequence number and its place; it copies
//! nothing and allocates nothing but the vector's growth. The writer swaps the whole vector out. Callers wait in a second
//! list, addressed by sequence number, so that a commit takes out everybody it covers at once and a future that is polled
//! again finds its place without a search.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;

use crate::bell::{self, Rope};
use crate::error::AppendError;
use crate::record::OVERHEAD_BYTES;

/// Records that may wait for the end of a turn. The writer is woken at the latest with this many, so that a thread that is
/// busy for long does not keep others waiting: 16 records are about 0.3 ms of a lane's work.
const TURN_RECORDS_MAX: usize = 16;

thread_local! {
    static IN_TURNS: Cell<bool> = const { Cell::new(false) };
}

/// Says that this thread works in turns and calls [`crate::Journal::end_turn`] before it waits for anything: what it appends
/// in one turn is committed together. Without this every append wakes the writer at once, which on a busy core means a
/// change of threads and an `fdatasync` for nearly each record.
pub fn work_in_turns() {
    IN_TURNS.set(true);
}

/// Whether the journal still takes and acknowledges records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    Open,
    /// No new records; what waits is still written.
    Closing,
    /// Everything was written and the writer is gone.
    Closed,
    /// The disk failed.
    Failed,
}

pub(crate) struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the writer.
    filled: Condvar,
    waiting: Mutex<Waiting>,
    /// Of the threads that wake their own.
    ropes: Mutex<Vec<Arc<Rope>>>,
    durable: AtomicU64,
    state: AtomicU8,
    queue_bytes_max: usize,
    payload_bytes_max: usize,
}

struct Queue {
    records: Vec<Bytes>,
    /// Bytes taken by records that are not durable yet, those in the writer's hands included.
    bytes: usize,
    /// Bytes promised to rooms.
    promised: usize,
    seq_next: u64,
    writer_sleeps: bool,
    /// The writer lets records gather, and is woken with this many.
    wake_at: usize,
}

struct Waiting {
    /// Sequence number of `wakers[0]`.
    first: u64,
    wakers: VecDeque<Option<Waker>>,
}

/// What the writer takes away: consecutive records.
pub(crate) struct Batch {
    pub first_seq: u64,
    pub records: Vec<Bytes>,
}

/// No code panics while it holds one of our locks, and what they guard is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(queue_bytes_max: usize, payload_bytes_max: usize) -> Self {
        Shared {
            queue: Mutex::new(Queue {
                records: Vec::new(),
                bytes: 0,
                promised: 0,
                seq_next: 1,
                writer_sleeps: false,
                wake_at: usize::MAX,
            }),
            filled: Condvar::new(),
            waiting: Mutex::new(Waiting { first: 1, wakers: VecDeque::new() }),
            ropes: Mutex::default(),
            durable: AtomicU64::new(0),
            state: AtomicU8::new(State::Open as u8),
            queue_bytes_max,
            payload_bytes_max,
        }
    }

    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::SeqCst) {
            0 => State::Open,
            1 => State::Closing,
            2 => State::Closed,
            _ => State::Failed,
        }
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::SeqCst)
    }

    /// Nothing more becomes durable.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state(), State::Closed | State::Failed)
    }

    pub(crate) fn hang(&self, rope: Arc<Rope>) {
        lock(&self.ropes).push(rope);
    }

    pub(crate) fn unhang(&self, rope: &Arc<Rope>) {
        lock(&self.ropes).retain(|other| !Arc::ptr_eq(other, rope));
    }

    fn ring(&self) {
        lock(&self.ropes).iter().for_each(|rope| rope.pull());
    }

    /// Records that have their number and are not durable yet.
    pub(crate) fn waiting(&self) -> u64 {
        (lock(&self.queue).seq_next - 1).saturating_sub(self.durable())
    }

    /// Takes the record if no more than `share` of the queue's bytes (1: all, 2: half) are then in use, and what was
    /// promised still fits.
    pub(crate) fn append(self: &Arc<Self>, payload: Bytes, share: usize) -> Result<Appended, AppendError> {
        self.take_in(payload, |queue, bytes| {
            let fits = queue.bytes + bytes <= self.queue_bytes_max / share
                && queue.bytes + queue.promised + bytes <= self.queue_bytes_max;
            if fits { Ok(()) } else { Err(AppendError::Full) }
        })
    }

    /// Promises room for one record. None: the queue and what is promised already take all.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let mut queue = lock(&self.queue);
        if self.state() != State::Open || queue.bytes + queue.promised + bytes > self.queue_bytes_max {
            return None;
        }
        queue.promised += bytes;
        Some(Room { shared: Arc::clone(self), bytes })
    }

    fn take_in(
        self: &Arc<Self>,
        payload: Bytes,
        fits: impl FnOnce(&Queue, usize) -> Result<(), AppendError>,
    ) -> Result<Appended, AppendError> {
        let bytes = OVERHEAD_BYTES + payload.len();
        if payload.len() > self.payload_bytes_max {
            return Err(AppendError::TooLarge { bytes: payload.len(), bytes_max: self.payload_bytes_max });
        }
        let mut queue = lock(&self.queue);
        match self.state() {
            State::Open => {}
            State::Closing | State::Closed => return Err(AppendError::Closed),
            State::Failed => return Err(AppendError::Failed),
        }
        fits(&queue, bytes)?;
        let seq = queue.seq_next;
        queue.seq_next += 1;
        queue.bytes += bytes;
        queue.records.push(payload);
        let wake = queue.records.len() == queue.wake_at
            || queue.writer_sleeps && (!IN_TURNS.get() || queue.records.len() >= TURN_RECORDS_MAX);
        if wake {
            queue.writer_sleeps = false;
        }
        drop(queue);
        if wake {
            self.filled.notify_one();
        }
        Ok(Appended { outcome: Outcome::Waits { shared: Arc::clone(self), seq } })
    }

    /// Wakes the writer if records wait for it.
    pub(crate) fn end_turn(&self) {
        let mut queue = lock(&self.queue);
        let wake = queue.writer_sleeps && !queue.records.is_empty();
        if wake {
            queue.writer_sleeps = false;
        }
        drop(queue);
        if wake {
            self.filled.notify_one();
        }
    }

    /// Gives back what is durable and waits for records: for one, or where several come, until `until` or until there are
    /// `enough`. Not once the journal is closing.
    pub(crate) fn wait(&self, done_bytes: usize, until: Instant, enough: usize) {
        let mut queue = lock(&self.queue);
        queue.bytes -= done_bytes;
        while queue.records.is_empty() && self.state() == State::Open {
            queue.writer_sleeps = true;
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.writer_sleeps = false;
        while (2..enough).contains(&queue.records.len()) && self.state() == State::Open {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue.wake_at = enough;
            queue = self.filled.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.wake_at = usize::MAX;
    }

    /// Waits for records; nothing once the journal is closing and all are taken. `emptied` is given back for reuse.
    pub(crate) fn take(&self, done_bytes: usize, mut emptied: Vec<Bytes>) -> Option<Batch> {
        emptied.clear();
        let mut queue = lock(&self.queue);
        queue.bytes -= done_bytes;
        while queue.records.is_empty() {
            if self.state() != State::Open {
                break;
            }
            queue.writer_sleeps = true;
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.writer_sleeps = false;
        if queue.records.is_empty() || self.state() == State::Failed {
            return None;
        }
        let first_seq = queue.seq_next - queue.records.len() as u64;
        Some(Batch { first_seq, records: mem::replace(&mut queue.records, emptied) })
    }

    /// Takes what has gathered, if anything has; for who does not wait.
    pub(crate) fn try_take(&self, done_bytes: usize) -> Option<Batch> {
        let mut queue = lock(&self.queue);
        queue.bytes -= done_bytes;
        let first_seq = queue.seq_next - queue.records.len() as u64;
        (!queue.records.is_empty()).then(|| Batch { first_seq, records: mem::take(&mut queue.records) })
    }

    /// Everything up to `seq` is durable: tells those who wait, unless the journal has failed meanwhile.
    pub(crate) fn committed(&self, seq: u64, woken: &mut Vec<Waker>) {
        {
            let mut waiting = lock(&self.waiting);
            if self.state() == State::Failed {
                return;
            }
            self.durable.store(seq, Ordering::SeqCst);
            let count = usize::try_from(seq + 1 - waiting.first).unwrap_or(usize::MAX).min(waiting.wakers.len());
            woken.extend(waiting.wakers.drain(..count).flatten());
            waiting.first = seq + 1;
        }
        woken.drain(..).for_each(Waker::wake);
        self.ring();
    }

    /// Takes no more records.
    pub(crate) fn begin_close(&self) {
        let queue = lock(&self.queue);
        self.move_to(State::Closing);
        drop(queue);
        self.filled.notify_one();
    }

    /// The disk failed: from the return of this on nothing is taken or acknowledged. True for the first who says so.
    pub(crate) fn fail(&self) -> bool {
        let (queue, waiting) = (lock(&self.queue), lock(&self.waiting));
        let first = self.move_to(State::Failed) != State::Failed as u8;
        drop((queue, waiting));
        self.filled.notify_one();
        first
    }

    /// The writer is gone: tells those who still wait.
    pub(crate) fn end(&self) {
        // Under both locks, so that nobody enters a list after it was emptied for the last time.
        let (mut queue, mut waiting) = (lock(&self.queue), lock(&self.waiting));
        self.move_to(State::Closed);
        queue.records = Vec::new();
        let woken = mem::take(&mut waiting.wakers);
        drop((queue, waiting));
        woken.into_iter().flatten().for_each(Waker::wake);
        self.ring();
    }

    /// States only go forward: open, closing, closed; failed stays. What it was before.
    fn move_to(&self, state: State) -> u8 {
        self.state.fetch_max(state as u8, Ordering::SeqCst)
    }

    /// How many records were taken that never became durable; the answer is final once the journal has ended.
    pub(crate) fn lost(&self) -> u64 {
        lock(&self.queue).seq_next - 1 - self.durable()
    }

    fn outcome(&self, seq: u64) -> Poll<Result<u64, AppendError>> {
        if self.durable() >= seq {
            return Poll::Ready(Ok(seq));
        }
        match self.state() {
            State::Open | State::Closing => Poll::Pending,
            State::Closed => Poll::Ready(Err(AppendError::Closed)),
            State::Failed => Poll::Ready(Err(AppendError::Failed)),
        }
    }

    fn poll(&self, seq: u64, context: &Context<'_>) -> Poll<Result<u64, AppendError>> {
        if self.durable() >= seq {
            return Poll::Ready(Ok(seq));
        }
        if bell::leave(self, seq, context.waker()) {
            // Looked at after the waker was left: the writer sees the one or we see the other.
            return self.outcome(seq);
        }
        let mut waiting = lock(&self.waiting);
        let outcome = self.outcome(seq);
        if outcome.is_ready() {
            return outcome;
        }
        let at = usize::try_from(seq - waiting.first).expect("as many as fit in memory wait");
        if waiting.wakers.len() <= at {
            waiting.wakers.resize_with(at + 1, || None);
        }
        match &mut waiting.wakers[at] {
            Some(waker) => waker.clone_from(context.waker()),
            place => *place = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

/// Room in the queue for one record that must not be refused. Made by [`crate::Journal::reserve`]; dropped unused, it is
/// given back.
#[must_use = "the room is given back at once if nobody keeps it"]
pub struct Room {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Room {
    /// Takes the record; never [`AppendError::Full`]. One larger than its room is taken all the same: the queue is then
    /// over its limit by the difference, and promises nothing new until it is not.
    pub(crate) fn append(self, payload: Bytes) -> Result<Appended, AppendError> {
        self.shared.take_in(payload, |_, _| Ok(()))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        lock(&self.shared.queue).promised -= self.bytes;
    }
}

/// Resolves with the record's sequence number when it is durable. The record was enqueued when this was made; dropping it
/// only means that nobody waits.
#[must_use = "nothing may be acknowledged before this resolves; to not wait for it, drop it on purpose"]
pub struct Appended {
    outcome: Outcome,
}

enum Outcome {
    Refused(AppendError),
    Waits { shared: Arc<Shared>, seq: u64 },
}

impl Appended {
    pub(crate) fn refused(error: AppendError) -> Self {
        Appended { outcome: Outcome::Refused(error) }
    }

    /// The place that the record has, if it was taken.
    pub fn seq(&self) -> Option<u64> {
        match &self.outcome {
            Outcome::Refused(_) => None,
            Outcome::Waits { seq, .. } => Some(*seq),
        }
    }
}

impl Future for Appended {
    type Output = Result<u64, AppendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &self.outcome {
            Outcome::Refused(error) => Poll::Ready(Err(*error)),
            Outcome::Waits { shared, seq } => shared.poll(*seq, context),
        }
    }
}

impl std::fmt::Debug for Appended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Appended").field("seq", &self.seq()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_promised_is_never_refused_and_never_given_away() {
        let record = |bytes: usize| Bytes::from(vec![0; bytes - OVERHEAD_BYTES]);
        let shared = Arc::new(Shared::new(1000, 900));
        let room = shared.reserve(400).expect("room");
        assert!(shared.reserve(601).is_none(), "more than is left");
        let unused = shared.reserve(600).expect("room");
        assert_eq!(shared.append(record(100), 1).err(), Some(AppendError::Full), "all is promised");
        drop(unused);
        assert!(shared.append(record(600), 1).is_ok());
        assert_eq!(shared.append(record(100), 1).err(), Some(AppendError::Full));
        // Larger than its room, and taken.
        assert!(room.append(record(500)).is_ok());
        assert!(shared.reserve(1).is_none(), "the queue is over its limit");
        let batch = shared.take(0, Vec::new()).expect("two records");
        assert_eq!(batch.records.len(), 2);
        shared.begin_close();
        assert!(shared.take(1100, batch.records).is_none());
        let queue = lock(&shared.queue);
        assert_eq!((queue.bytes, queue.promised), (0, 0), "what is durable is free again");
    }

    #[test]
    fn a_commit_that_ends_after_the_journal_failed_acknowledges_nothing() {
        let shared = Arc::new(Shared::new(1000, 100));
        let mut first = shared.append(Bytes::new(), 1).expect("taken");
        let mut second = shared.append(Bytes::new(), 1).expect("taken");
        let mut context = Context::from_waker(Waker::noop());
        shared.committed(1, &mut Vec::new());
        assert!(shared.fail(), "the first who says so");
        assert!(!shared.fail());
        shared.committed(2, &mut Vec::new());
        assert_eq!(shared.durable(), 1);
        assert_eq!(Pin::new(&mut first).poll(&mut context), Poll::Ready(Ok(1)));
        assert_eq!(Pin::new(&mut second).poll(&mut context), Poll::Ready(Err(AppendError::Failed)));
    }
}
