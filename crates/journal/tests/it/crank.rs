//! A journal without threads: nothing happens until somebody turns it, and then everything that the threads would do.

use std::path::Path;
use std::sync::Arc;

use journal::{AppendError, Crank, Journal, Options};

use crate::simulated::{DIR, Fault, Operation, SimulatedDisk, options_on};
use crate::support::{block_on, boot, expected, payload, records};

fn open(disk: &SimulatedDisk, number: u8) -> (Journal, Crank, journal::Recovered) {
    let crank = Crank::default();
    let options = Options { crank: Some(crank.clone()), ..options_on(disk.clone()) };
    let (journal, recovered) = Journal::open(Path::new(DIR), boot(number), options).unwrap();
    (journal, crank, recovered)
}

#[test]
fn nothing_is_durable_before_a_turn_and_everything_after_it() {
    let disk = SimulatedDisk::default();
    let (journal, crank, _) = open(&disk, 1);
    // More than a segment holds.
    let waiting: Vec<_> = (1..=100).map(|seq| journal.append(payload(seq))).collect();
    assert_eq!(journal.durable_seq(), 0);
    assert!(crank.turn());
    for (appended, seq) in waiting.into_iter().zip(1..) {
        assert_eq!(block_on(appended), Ok(seq));
    }
    let (_journal, _crank, recovered) = open(&disk.crash(|| false), 2);
    assert_eq!(records(&recovered), expected(1, 1..=100));
}

#[test]
fn a_full_disk_delays_and_loses_nothing() {
    let disk = SimulatedDisk::default();
    let (journal, crank, _) = open(&disk, 1);
    disk.decide(|operation| (operation == Operation::Allocate).then_some(Fault::Enospc));
    let waiting: Vec<_> = (1..=100).map(|seq| journal.append(payload(seq))).collect();
    assert!(crank.turn() && crank.turn());
    let first = journal.durable_seq();
    assert!(first > 0 && first < 100, "one segment is full: {first}");
    disk.heal();
    assert!(crank.turn());
    for appended in waiting {
        block_on(appended).unwrap();
    }
    let closing = journal.append(payload(101));
    journal.close().unwrap_err();
    assert!(!crank.turn(), "closed, and all is written");
    assert_eq!(block_on(closing), Ok(101));
    assert_eq!(records(&open(&disk.crash(|| false), 2).2), expected(1, 1..=101));
}

#[test]
fn a_disk_that_fails_ends_it_and_is_told_once() {
    let disk = SimulatedDisk::default();
    let crank = Crank::default();
    let told = Arc::new(std::sync::Mutex::new(0));
    let telling = told.clone();
    let options = Options {
        crank: Some(crank.clone()),
        on_fatal: Arc::new(move |_| *telling.lock().unwrap() += 1),
        ..options_on(disk.clone())
    };
    let (journal, _) = Journal::open(Path::new(DIR), boot(1), options).unwrap();
    disk.decide(|operation| (operation == Operation::SyncData).then_some(Fault::Eio));
    let appended = journal.append(payload(1));
    assert!(!crank.turn() && !crank.turn());
    assert_eq!(block_on(appended), Err(AppendError::Failed));
    assert_eq!(block_on(journal.append(payload(2))), Err(AppendError::Failed));
    assert_eq!(*told.lock().unwrap(), 1);
}
