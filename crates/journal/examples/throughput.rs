//! How many records a second the journal keeps, each acknowledged after an fsync, and how long one waits.
//!
//! `cargo run -p journal --release --example throughput [FOLDER] [SECONDS]`
//!
//! Records of 400 bytes payload from 1, 16, 64 and 256 writers, each of which waits for its acknowledgement before it
//! appends again. FOLDER must lie on the disk that is to be measured (default: the working directory); a sub-folder is
//! made there and removed. Released as it goes, so it needs a few segments of room only.

#![expect(clippy::unwrap_used, reason = "a measurement may end with a panic")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use journal::{Journal, Options};

const PAYLOAD_BYTES: usize = 400;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let seconds = arguments.next().map_or(3, |it| it.parse().expect("SECONDS is a number"));
    let folder = folder.join(format!("journal-throughput-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    println!("{:>8} {:>12} {:>9} {:>9} {:>9} {:>9}", "writers", "records/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms");
    for writers in [1, 16, 64, 256] {
        runtime.block_on(measure(&folder, writers, Duration::from_secs(seconds)));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

async fn measure(folder: &std::path::Path, writers: usize, span: Duration) {
    let incarnation = (writers as u128).to_le_bytes();
    let (journal, _) = Journal::open(folder, incarnation, Options::default()).unwrap();
    let start = Instant::now();
    let payload = Bytes::from(vec![b'r'; PAYLOAD_BYTES]);
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let (journal, payload) = (journal.clone(), payload.clone());
            tokio::spawn(async move {
                let mut waits = Vec::new();
                while start.elapsed() < span {
                    let asked = Instant::now();
                    journal.append(payload.clone()).await.unwrap();
                    waits.push(asked.elapsed());
                }
                waits
            })
        })
        .collect();
    while start.elapsed() < span {
        tokio::time::sleep(Duration::from_millis(200)).await;
        journal.release(incarnation, journal.durable_seq());
    }
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    let elapsed = start.elapsed();
    journal.close().unwrap();
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{writers:>8} {:>12.0} {:>9.3} {:>9.3} {:>9.3} {:>9.3}",
        waits.len() as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}
