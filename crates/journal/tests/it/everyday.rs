//! Appending, reading, rotating, releasing, closing: on a disk that works.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bytes::Bytes;
use journal::{AppendError, Journal, OpenError, Options};
use tempfile::tempdir;

use crate::support::{
    SEGMENT_BYTES, append_all, append_together, block_on, boot, eventually, expected, open, options, payload, records,
    segments,
};

#[test]
fn what_was_acknowledged_is_there_after_a_restart_in_order() {
    let dir = tempdir().unwrap();
    let (journal, recovered) = open(dir.path(), 1);
    assert_eq!((records(&recovered), recovered.cut, recovered.last), (vec![], None, None));
    append_all(&journal, 1..=3);
    append_together(&journal, 4..=200);
    assert_eq!(journal.durable_seq(), 200);
    journal.close().unwrap();

    let (journal, recovered) = open(dir.path(), 2);
    assert_eq!(records(&recovered), expected(1, 1..=200));
    assert_eq!((recovered.cut.clone(), recovered.last), (None, Some((boot(1), 200))));
    assert_eq!(journal.durable_seq(), 0);
    append_all(&journal, 1..=5);
    journal.close().unwrap();

    let (_journal, recovered) = open(dir.path(), 3);
    assert_eq!(records(&recovered), [expected(1, 1..=200), expected(2, 1..=5)].concat());
}

#[test]
fn a_dropped_future_is_a_kept_record_and_calls_keep_their_order() {
    let dir = tempdir().unwrap();
    let (journal, _) = open(dir.path(), 1);
    for seq in 1..=50 {
        let appended = journal.append(payload(seq));
        assert_eq!(appended.seq(), Some(seq));
        drop(appended);
    }
    journal.close().unwrap();
    assert_eq!(records(&open(dir.path(), 2).1), expected(1, 1..=50));
}

#[test]
fn a_journal_that_is_dropped_still_writes_what_was_appended() {
    let dir = tempdir().unwrap();
    let (journal, _) = open(dir.path(), 1);
    let last = (1..=90).fold(None, |_, seq| Some(journal.append(payload(seq)))).unwrap();
    drop(journal);
    assert_eq!(block_on(last), Ok(90));
}

#[test]
fn segments_rotate_and_only_whole_released_ones_go() {
    let dir = tempdir().unwrap();
    let (journal, _) = open(dir.path(), 1);
    append_together(&journal, 1..=300);
    let before = segments(dir.path());
    assert!(before.len() > 4, "{before:?}");
    for path in &before {
        let metadata = path.metadata().unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (SEGMENT_BYTES, 0o600));
    }
    journal.release(boot(1), 1);
    journal.release(boot(9), 300);
    journal.release(boot(1), 150);
    eventually("released segments are removed", || segments(dir.path()).len() < before.len());
    journal.close().unwrap();

    let (journal, recovered) = open(dir.path(), 2);
    let kept = records(&recovered);
    let first = kept[0].seq;
    assert!((2..=151).contains(&first), "{first}");
    assert_eq!(kept, expected(1, first..=300));
    journal.release(boot(1), 300);
    journal.close().unwrap();

    let (_journal, recovered) = open(dir.path(), 3);
    assert_eq!(records(&recovered), vec![]);
}

#[test]
fn everything_released_does_not_take_the_segment_that_is_written() {
    let dir = tempdir().unwrap();
    let (journal, _) = open(dir.path(), 1);
    append_all(&journal, 1..=2);
    journal.release(boot(1), 2);
    append_all(&journal, 3..=4);
    journal.close().unwrap();
    assert_eq!(records(&open(dir.path(), 2).1), expected(1, 1..=4));
}

#[test]
fn a_reader_sees_earlier_boots_then_follows_this_one_and_ends_with_it() {
    let dir = tempdir().unwrap();
    let (journal, _) = open(dir.path(), 1);
    append_together(&journal, 1..=120);
    journal.close().unwrap();

    let (journal, _) = open(dir.path(), 2);
    block_on(async {
        let mut reader = journal.reader();
        let mut seen = Vec::new();
        while seen.len() < 120 {
            let batch = reader.next_batch(7).await.unwrap();
            assert!((1..=7).contains(&batch.len()));
            seen.extend(batch);
        }
        assert_eq!(seen, expected(1, 1..=120));

        let idle = tokio::time::timeout(Duration::from_millis(30), reader.next_batch(7)).await;
        assert!(idle.is_err(), "nothing is durable yet: {idle:?}");
        let writer = journal.clone();
        let writing = std::thread::spawn(move || {
            append_together(&writer, 1..=130);
            writer.close().unwrap();
        });
        let mut seen = Vec::new();
        loop {
            let batch = reader.next_batch(50).await.unwrap();
            if batch.is_empty() {
                break;
            }
            seen.extend(batch);
        }
        assert_eq!(seen, expected(2, 1..=130));
        writing.join().unwrap();
    });
}

#[test]
fn what_is_too_large_is_refused_and_the_largest_is_kept() {
    let dir = tempdir().unwrap();
    let (journal, _) = open(dir.path(), 1);
    let bytes_max = SEGMENT_BYTES as usize - 4096 - 64;
    let largest = Bytes::from(vec![1; bytes_max]);
    block_on(async {
        let refused = journal.append(Bytes::from(vec![1; bytes_max + 1])).await;
        assert_eq!(refused, Err(AppendError::TooLarge { bytes: bytes_max + 1, bytes_max }));
        assert_eq!(journal.append(largest.clone()).await, Ok(1));
        assert_eq!(journal.append(Bytes::new()).await, Ok(2));
        assert_eq!(journal.append(largest.clone()).await, Ok(3));
    });
    journal.close().unwrap();
    let sizes: Vec<usize> = records(&open(dir.path(), 2).1).iter().map(|it| it.payload.len()).collect();
    assert_eq!(sizes, [bytes_max, 0, bytes_max]);
}

#[test]
fn a_closed_journal_takes_nothing() {
    let dir = tempdir().unwrap();
    let (journal, _) = open(dir.path(), 1);
    let clone = journal.clone();
    journal.close().unwrap();
    assert_eq!(block_on(clone.append(payload(1))), Err(AppendError::Closed));
    assert!(clone.append_if_room(payload(1)).is_none());
    clone.close().unwrap();
}

#[test]
fn an_incarnation_that_has_written_may_not_write_again() {
    let dir = tempdir().unwrap();
    let (journal, _) = open(dir.path(), 1);
    append_all(&journal, 1..=1);
    journal.close().unwrap();
    let again = Journal::open(dir.path(), boot(1), options());
    assert!(matches!(again, Err(OpenError::IncarnationReused { .. })), "{:?}", again.err());
}

#[test]
fn low_water_turns_space_off() {
    let dir = tempdir().unwrap();
    let (journal, _) = open(dir.path(), 1);
    assert!(journal.has_space());
    journal.close().unwrap();
    let (journal, _) = Journal::open(dir.path(), boot(2), Options { low_water_bytes: u64::MAX, ..options() }).unwrap();
    assert!(!journal.has_space());
    // It is a warning for new work: what is under way is still kept.
    append_all(&journal, 1..=100);
}

#[test]
fn many_tasks_append_at_once_and_every_one_hears_of_its_own() {
    let dir = tempdir().unwrap();
    let options = Options { segment_bytes: 1 << 20, ..options() };
    let (journal, _) = Journal::open(dir.path(), boot(1), options).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..32u64)
            .map(|task| {
                let journal = journal.clone();
                tokio::spawn(async move {
                    let mut mine = Vec::new();
                    for round in 0..40u64 {
                        let payload = Bytes::from(format!("{task}/{round}"));
                        mine.push((journal.append(payload.clone()).await.unwrap(), payload));
                    }
                    mine
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all.sort();
        let mut reader = journal.reader();
        let mut read = Vec::new();
        while read.len() < all.len() {
            read.extend(reader.next_batch(1000).await.unwrap().into_iter().map(|it| (it.seq, it.payload)));
        }
        assert_eq!(read, all);
    });
    journal.close().unwrap();
}
