//! Small things that every test here needs.

use std::path::Path;

use bytes::Bytes;
use journal::{Appended, Journal, Options, Record, Recovered};

/// Room for some forty short records, so that tests rotate.
pub const SEGMENT_BYTES: u64 = 8192;

pub fn options() -> Options {
    Options { segment_bytes: SEGMENT_BYTES, low_water_bytes: 0, ..Options::default() }
}

pub fn boot(number: u8) -> [u8; 16] {
    [number; 16]
}

/// Opens with `options()`, as boot `number`.
pub fn open(dir: &Path, number: u8) -> (Journal, Recovered) {
    Journal::open(dir, boot(number), options()).expect("opens")
}

pub fn payload(number: u64) -> Bytes {
    Bytes::from(format!("payload {number:04} {}", "x".repeat((number % 70) as usize)))
}

pub fn records(recovered: &Recovered) -> Vec<Record> {
    recovered.records().collect::<Result<_, _>>().expect("readable")
}

/// What boot `number` is expected to have written.
pub fn expected(number: u8, seqs: std::ops::RangeInclusive<u64>) -> Vec<Record> {
    seqs.map(|seq| Record { incarnation: boot(number), seq, payload: payload(seq) }).collect()
}

/// Runs on a small runtime of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

/// Appends and waits, one after the other.
pub fn append_all(journal: &Journal, seqs: std::ops::RangeInclusive<u64>) {
    block_on(async {
        for seq in seqs {
            assert_eq!(journal.append(payload(seq)).await, Ok(seq));
        }
    });
}

/// Appends everything at once, then waits for all.
pub fn append_together(journal: &Journal, seqs: std::ops::RangeInclusive<u64>) {
    let waiting: Vec<Appended> = seqs.map(|seq| journal.append(payload(seq))).collect();
    block_on(async {
        for appended in waiting {
            appended.await.expect("kept");
        }
    });
}

/// Waits up to five seconds for something that another thread does.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("not within five seconds: {what}");
}

/// Segment files in a folder, oldest first.
pub fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = dir
        .read_dir()
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == "segment"))
        .collect();
    paths.sort();
    paths
}
