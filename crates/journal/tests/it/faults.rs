//! One disk failure each: what the caller sees, and that nothing is acknowledged afterwards.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use journal::{AppendError, CloseError, Journal, OpenError, Options};

use crate::simulated::{DIR, Fault, Operation, SimulatedDisk, options_on};
use crate::support::{append_all, block_on, boot, eventually, expected, options, payload, records};

/// A journal on a disk, and what its `on_fatal` was told.
fn open_told(disk: &SimulatedDisk) -> (Journal, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let on_fatal = Arc::new(move |fatal: &journal::Fatal| tell.lock().unwrap().push(fatal.operation.to_owned()));
    let options = Options { on_fatal, ..options_on(disk.clone()) };
    (Journal::open(Path::new(DIR), boot(1), options).unwrap().0, told)
}

/// Ten records are kept, then `fault` hits every further operation of a kind; one more append fails and so does all
/// that comes later. How many records the next start finds.
fn fails(operation: Operation, fault: Fault, named: &str) -> usize {
    let disk = SimulatedDisk::default();
    let (journal, told) = open_told(&disk);
    append_all(&journal, 1..=10);
    eventually("the next segment is prepared", || disk.files().len() == 2);
    disk.decide(move |it| (it == operation).then_some(fault));
    let waiting = journal.append(payload(11));
    assert_eq!(block_on(waiting), Err(AppendError::Failed));
    // The disk works again: it does not matter, the state of the file is unknown for good.
    disk.heal();
    assert_eq!(block_on(journal.append(payload(12))), Err(AppendError::Failed));
    assert!(journal.append_if_room(payload(12)).is_none());
    assert_eq!((journal.durable_seq(), journal.has_space()), (10, false));
    let ended = block_on(async {
        let mut reader = journal.reader();
        let batch = reader.next_batch(100).await.unwrap();
        (batch, reader.next_batch(100).await.unwrap())
    });
    assert_eq!(ended, (expected(1, 1..=10), vec![]), "readers see what is durable, then the end");
    assert_eq!(journal.close(), Err(CloseError { lost: 1 }));
    assert_eq!(*told.lock().unwrap(), [named]);

    let (_journal, recovered) = Journal::open(Path::new(DIR), boot(2), options_on(disk.copy())).unwrap();
    let found = records(&recovered);
    assert_eq!(found, expected(1, 1..=found.len() as u64));
    found.len()
}

#[test]
fn f13_a_failed_fdatasync_ends_it() {
    // What was written is still in the cache of this disk; on another one it would be gone. Both are right.
    assert_eq!(fails(Operation::SyncData, Fault::Eio, "fdatasync"), 11);
}

#[test]
fn f13_an_fdatasync_that_failed_but_has_synced_ends_it_too() {
    assert_eq!(fails(Operation::SyncData, Fault::EioMaybe, "fdatasync"), 11);
}

#[test]
fn f13_a_failed_write_ends_it() {
    assert_eq!(fails(Operation::Write, Fault::Eio, "write"), 10);
}

#[test]
fn f13_a_write_that_failed_but_was_done_ends_it() {
    assert_eq!(fails(Operation::Write, Fault::EioMaybe, "write"), 11);
}

#[test]
fn f13_a_full_disk_under_a_segment_that_was_taken_ends_it() {
    assert_eq!(fails(Operation::Write, Fault::Enospc, "write"), 10);
}

#[test]
fn a_panic_while_committing_ends_it() {
    assert_eq!(fails(Operation::SyncData, Fault::Panic, "panic in thread"), 11);
}

#[test]
fn short_writes_are_carried_on() {
    let disk = SimulatedDisk::default();
    disk.decide(|operation| (operation == Operation::Write).then_some(Fault::Short));
    let (journal, _) = Journal::open(Path::new(DIR), boot(1), options_on(disk.clone())).unwrap();
    append_all(&journal, 1..=60);
    let after = disk.crash(|| false);
    let (_journal, recovered) = Journal::open(Path::new(DIR), boot(2), options_on(after)).unwrap();
    assert_eq!(records(&recovered), expected(1, 1..=60));
}

#[test]
fn f13_a_sync_that_fails_while_the_next_segment_is_prepared_ends_it() {
    for operation in [Operation::SyncAll, Operation::SyncDir, Operation::Rename] {
        let disk = SimulatedDisk::default();
        let (journal, told) = open_told(&disk);
        eventually("the next segment is prepared", || disk.files().len() == 2);
        disk.decide(move |it| (it == operation).then_some(Fault::Eio));
        let outcome = (1..=200).map(|seq| block_on(journal.append(payload(seq)))).find(Result::is_err);
        assert_eq!(outcome, Some(Err(AppendError::Failed)), "{operation:?}");
        eventually("the failure is told", || told.lock().unwrap().len() == 1);
    }
}

#[test]
fn f13_a_full_disk_turns_space_off_and_what_waits_is_kept_when_there_is_room_again() {
    let disk = SimulatedDisk::default();
    let (journal, told) = open_told(&disk);
    eventually("the next segment is prepared", || disk.files().len() == 2);
    disk.decide(|operation| (operation == Operation::Allocate).then_some(Fault::Enospc));
    // Two segments were taken ahead; the rest waits.
    let waiting: Vec<_> = (1..=200).map(|seq| journal.append(payload(seq))).collect();
    eventually("has_space turns false", || !journal.has_space());
    let kept = || journal.durable_seq();
    let mut before = kept();
    eventually("both segments are full", || std::mem::replace(&mut before, kept()) == kept() && kept() > 40);
    assert!(kept() < 200, "{}", kept());
    disk.heal();
    block_on(async {
        for appended in waiting {
            appended.await.unwrap();
        }
    });
    eventually("has_space turns true", || journal.has_space());
    assert!(told.lock().unwrap().is_empty());
    journal.close().unwrap();
    let (_journal, recovered) = Journal::open(Path::new(DIR), boot(2), options_on(disk)).unwrap();
    assert_eq!(records(&recovered), expected(1, 1..=200));
}

#[test]
fn closing_does_not_wait_for_a_full_disk_and_says_what_was_lost() {
    let disk = SimulatedDisk::default();
    let (journal, _) = open_told(&disk);
    eventually("the next segment is prepared", || disk.files().len() == 2);
    disk.decide(|operation| (operation == Operation::Allocate).then_some(Fault::Enospc));
    let waiting: Vec<_> = (1..=200).map(|seq| journal.append(payload(seq))).collect();
    let lost = journal.close().unwrap_err().lost;
    let outcomes: Vec<_> = waiting.into_iter().map(block_on).collect();
    let kept = 200 - lost as usize;
    assert!((40..200).contains(&kept), "{kept}");
    assert!(outcomes[..kept].iter().all(Result::is_ok));
    assert!(outcomes[kept..].iter().all(|it| *it == Err(AppendError::Closed)));
    disk.heal();
    let (_journal, recovered) = Journal::open(Path::new(DIR), boot(2), options_on(disk)).unwrap();
    assert_eq!(records(&recovered), expected(1, 1..=kept as u64));
}

#[test]
fn a_disk_that_fails_at_the_start_is_a_refusal_not_an_end() {
    for operation in [Operation::Create, Operation::Allocate, Operation::Write, Operation::SyncAll, Operation::SyncDir]
    {
        let disk = SimulatedDisk::default();
        disk.decide(move |it| (it == operation).then_some(Fault::Eio));
        let options = Options { on_fatal: Arc::new(|fatal| panic!("{fatal}")), ..options_on(disk.clone()) };
        let outcome = Journal::open(Path::new(DIR), boot(1), options);
        assert!(matches!(outcome, Err(OpenError::Io { .. })), "{operation:?}");
        disk.heal();
        Journal::open(Path::new(DIR), boot(1), options_on(disk.copy()))
            .unwrap_or_else(|error| panic!("{operation:?}: {error}"));
    }
}

/// A journal whose disk does not finish a sync before the gate opens. (The disk must not be touched until then.)
fn held(queue_bytes_max: usize, gate: &Arc<Mutex<()>>) -> Journal {
    let disk = SimulatedDisk::default();
    let options = Options { queue_bytes_max, ..options_on(disk.clone()) };
    let (journal, _) = Journal::open(Path::new(DIR), boot(1), options).unwrap();
    eventually("the next segment is prepared", || disk.files().len() == 2);
    let gate = Arc::clone(gate);
    disk.decide(move |operation| {
        if operation == Operation::SyncData {
            drop(gate.lock().unwrap());
        }
        None
    });
    journal
}

#[test]
fn a_full_queue_refuses_at_once_uses_no_sequence_number_and_keeps_half_for_what_must_be_kept() {
    let gate = Arc::new(Mutex::new(()));
    let slow = gate.lock().unwrap();
    // Ten records of 64 + 36 bytes. Their room is given back only when they are durable.
    let journal = held(1000, &gate);
    let payload = Bytes::from(vec![7; 36]);
    let mut waiting: Vec<_> = (0..5).map(|_| journal.append_if_room(payload.clone()).expect("room")).collect();
    assert!(journal.append_if_room(payload.clone()).is_none());
    waiting.extend((0..5).map(|_| journal.append(payload.clone())));
    let refused = journal.append(payload.clone());
    assert_eq!(refused.seq(), None);
    assert_eq!(block_on(refused), Err(AppendError::Full));
    drop(slow);
    for (seq, appended) in (1..).zip(waiting) {
        assert_eq!(block_on(appended), Ok(seq));
    }
    let after = (0..1000).find_map(|_| block_on(journal.append(payload.clone())).ok());
    assert_eq!(after, Some(11));
}

#[test]
fn a_promise_is_kept_while_the_disk_stands_still() {
    let gate = Arc::new(Mutex::new(()));
    let slow = gate.lock().unwrap();
    let journal = held(1000, &gate);
    let payload = Bytes::from(vec![7; 36]);
    let rooms: Vec<_> = std::iter::from_fn(|| journal.reserve(36)).collect();
    assert_eq!(rooms.len(), 10);
    // What was not promised room finds none; what was is taken, larger or not.
    assert_eq!(block_on(journal.append(payload.clone())), Err(AppendError::Full));
    assert!(journal.append_if_room(payload.clone()).is_none());
    let larger = Bytes::from(vec![8; 100]);
    let waiting: Vec<_> = rooms.into_iter().map(|room| journal.append_into(room, larger.clone())).collect();
    assert!(journal.reserve(0).is_none(), "a promise beyond what the queue may hold");
    drop(slow);
    for (seq, appended) in (1..).zip(waiting) {
        assert_eq!(block_on(appended), Ok(seq));
    }
    eventually("what is durable gives its room back", || journal.reserve(900).is_some());
    let room = journal.reserve(36).unwrap();
    let other = journal.clone();
    journal.close().unwrap();
    assert_eq!(block_on(other.append_into(room, payload)), Err(AppendError::Closed));
    assert!(other.reserve(36).is_none());
}

#[test]
fn nobody_hears_of_a_record_before_it_is_durable() {
    let gate = Arc::new(Mutex::new(()));
    let slow = gate.lock().unwrap();
    let journal = held(1000, &gate);
    let mut appended = journal.append(payload(1));
    block_on(async {
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut appended).await.is_err());
    });
    assert_eq!(journal.durable_seq(), 0);
    // Waited for by somebody else from now on: the newest waker counts.
    let waiting = std::thread::spawn(move || block_on(appended));
    std::thread::sleep(Duration::from_millis(20));
    drop(slow);
    assert_eq!(waiting.join().unwrap(), Ok(1));
    assert_eq!(journal.durable_seq(), 1);
}

#[test]
fn a_reader_does_not_see_what_is_written_but_not_durable() {
    let disk = SimulatedDisk::default();
    let (journal, _) = open_told(&disk);
    append_all(&journal, 1..=1);
    eventually("the next segment is prepared", || disk.files().len() == 2);
    disk.decide(|operation| (operation == Operation::SyncData).then_some(Fault::Eio));
    assert_eq!(block_on(journal.append(payload(2))), Err(AppendError::Failed));
    // It lies in the file, whole.
    let (_other, recovered) = Journal::open(Path::new(DIR), boot(2), options_on(disk.copy())).unwrap();
    assert_eq!(records(&recovered), expected(1, 1..=2));
    assert_eq!(block_on(journal.reader().next_batch(10)).unwrap(), expected(1, 1..=1));
}

#[test]
fn a_released_segment_that_cannot_be_removed_is_removed_later() {
    let disk = SimulatedDisk::default();
    let (journal, told) = open_told(&disk);
    append_all(&journal, 1..=200);
    let count = disk.files().len();
    disk.decide(|operation| (operation == Operation::Remove).then_some(Fault::Eio));
    journal.release(boot(1), 200);
    std::thread::sleep(Duration::from_millis(20));
    assert!(disk.files().len() >= count);
    disk.heal();
    eventually("they are removed", || disk.files().len() <= 2);
    assert!(told.lock().unwrap().is_empty());
    append_all(&journal, 201..=201);
    journal.close().unwrap();
    let (_journal, recovered) = Journal::open(Path::new(DIR), boot(2), options_on(disk)).unwrap();
    assert_eq!(records(&recovered).last(), expected(1, 201..=201).last());
}

const ABORTING: &str = "HOHEIT_JOURNAL_TEST_ABORTING";

#[test]
fn f13_by_default_a_failed_disk_aborts_the_process() {
    if std::env::var_os(ABORTING).is_some() {
        let disk = SimulatedDisk::default();
        let failing = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&failing);
        disk.decide(move |it| (it == Operation::SyncData && asked.load(Ordering::Relaxed)).then_some(Fault::Eio));
        let (journal, _) =
            Journal::open(Path::new(DIR), boot(1), Options { disk: Arc::new(disk), ..options() }).unwrap();
        append_all(&journal, 1..=1);
        failing.store(true, Ordering::Relaxed);
        let _ = block_on(journal.append(payload(2)));
        panic!("the process goes on");
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "faults::f13_by_default_a_failed_disk_aborts_the_process"])
        .env(ABORTING, "1")
        .output()
        .unwrap()
        .status;
    assert_eq!(status.signal(), Some(rustix::process::Signal::ABORT.as_raw()), "{status}");
}
