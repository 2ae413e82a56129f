//! One wake-up per commit for a thread, nobody forgotten when the journal ends, and nothing lost when the bell does.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use journal::{AppendError, Appended, Bell, Crank, Journal, Options};

use crate::simulated::{DIR, Fault, Operation, SimulatedDisk, options_on};
use crate::support::{boot, payload};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A task that is polled by hand and counts who wakes it.
struct Task<F> {
    future: Pin<Box<F>>,
    woken: Arc<Count>,
}

impl<F: Future> Task<F> {
    fn new(future: F) -> Task<F> {
        Task { future: Box::pin(future), woken: Arc::default() }
    }

    fn poll(&mut self) -> Poll<F::Output> {
        self.future.as_mut().poll(&mut Context::from_waker(&Waker::from(self.woken.clone())))
    }

    /// Wake-ups since the last look.
    fn woken(&self) -> usize {
        self.woken.0.swap(0, Ordering::SeqCst)
    }
}

fn world() -> (SimulatedDisk, Journal, Crank, Task<Bell>) {
    let (disk, crank) = (SimulatedDisk::default(), Crank::default());
    let options = Options { crank: Some(crank.clone()), on_fatal: Arc::new(|_| {}), ..options_on(disk.clone()) };
    let (journal, _) = Journal::open(Path::new(DIR), boot(1), options).unwrap();
    let bell = Task::new(journal.bell());
    (disk, journal, crank, bell)
}

fn append(journal: &Journal, seqs: std::ops::RangeInclusive<u64>) -> Vec<Task<Appended>> {
    seqs.map(|seq| Task::new(journal.append(payload(seq)))).collect()
}

#[test]
fn a_commit_rings_once_and_the_bell_wakes_those_whom_it_covers() {
    let (_disk, journal, crank, mut bell) = world();
    assert!(bell.poll().is_pending());
    let mut first = append(&journal, 1..=3);
    // Polled out of order, and one of them twice.
    for at in [2, 0, 1, 0] {
        assert!(first[at].poll().is_pending());
    }
    assert!(crank.turn());
    let mut later = append(&journal, 4..=4);
    assert!(later[0].poll().is_pending());
    assert_eq!(bell.woken(), 1, "one for all");
    assert!(first.iter().all(|task| task.woken() == 0), "the writer woke somebody past the bell");
    assert!(bell.poll().is_pending());
    assert!(first.iter().all(|task| task.woken() == 1));
    assert_eq!(later[0].woken(), 0, "not durable yet");
    assert!(first.iter_mut().zip(1..).all(|(task, seq)| task.poll() == Poll::Ready(Ok(seq))));
    // Who still waits is not forgotten, though nobody was left to wait for the first commit.
    assert!(crank.turn());
    assert_eq!(bell.woken(), 1);
    assert!(bell.poll().is_pending());
    assert_eq!((later[0].woken(), later[0].poll()), (1, Poll::Ready(Ok(4))));
    // Nobody waits: nobody rings.
    let _left = journal.append(payload(5));
    assert!(crank.turn());
    assert_eq!(bell.woken(), 0);
}

#[test]
fn a_disk_that_fails_tells_those_who_wait_by_the_bell() {
    let (disk, journal, crank, mut bell) = world();
    assert!(bell.poll().is_pending());
    let mut waiting = append(&journal, 1..=2);
    assert!(waiting.iter_mut().all(|task| task.poll().is_pending()));
    disk.decide(|operation| (operation == Operation::SyncData).then_some(Fault::Eio));
    assert!(!crank.turn());
    assert_eq!(bell.woken(), 1);
    assert!(bell.poll().is_pending());
    assert!(waiting.iter().all(|task| task.woken() == 1));
    assert!(waiting.iter_mut().all(|task| task.poll() == Poll::Ready(Err(AppendError::Failed))));
}

#[test]
fn without_its_bell_a_thread_is_woken_as_others_are() {
    let (_disk, journal, crank, mut bell) = world();
    assert!(bell.poll().is_pending());
    let mut waiting = append(&journal, 1..=2);
    assert!(waiting.iter_mut().all(|task| task.poll().is_pending()));
    drop(bell);
    assert!(waiting.iter().all(|task| task.woken() == 1), "polled again, to wait as others do");
    assert!(waiting.iter_mut().all(|task| task.poll().is_pending()));
    assert!(crank.turn());
    assert!(waiting.iter().all(|task| task.woken() == 1));
    assert!(waiting.iter_mut().zip(1..).all(|(task, seq)| task.poll() == Poll::Ready(Ok(seq))));
}
