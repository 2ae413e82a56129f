//! The gateway's own durable log: intents and receipts go in as bytes, come back as the same bytes, in the same order,
//! after any crash. Knows nothing about what it carries.
//!
//! **What it is.** Numbered, preallocated segment files in one folder. A record is
//! `len | crc32c | incarnation | seq | prev_hash | payload` ([`record`]); `seq` is gapless from 1 within an
//! incarnation (one boot of one gateway), `prev_hash` chains every record to the one before, across segments and boots.
//! [`Journal::append`] gives a record its place at once; one writer thread writes whatever has gathered, calls
//! `fdatasync` once, and wakes everybody whose record that covered (group commit with natural batching, no linger:
//! a fixed wait was measured and gains nothing).
//!
//! **What it is not.** Not a lock: two processes on one folder destroy each other, so the owner of the data folder locks
//! it first. Not a replica: one disk is not durability against the loss of that disk.
//!
//! **If we crash here.** Before `fdatasync` returned nobody was told that a record is kept, so recovery may keep or lose
//! it. After it returned the record is found again. The first record of every batch is marked, and a batch is written
//! only after the one before it is durable; so unreadable bytes with no marked record behind them are an interrupted
//! write (cut), and with one behind them are damage (refused, [`OpenError::Damaged`]).
//!
//! **If the disk fails.** A failed write or fsync leaves the file in a state that nobody can know; it is never retried.
//! Waiting appends end in [`AppendError::Failed`], nothing is acknowledged afterwards, and [`Options::on_fatal`] ends the
//! process (by default `abort`). The next start recovers. A disk that is merely full never gets there: space is taken
//! ahead of need, [`Journal::has_space`] turns false first, and appends wait in the bounded queue.

mod bell;
mod crank;
mod disk;
mod error;
mod journal;
mod keeper;
mod options;
mod queue;
mod reader;
pub mod record;
mod recovery;
mod segment;
mod writer;

pub use bell::Bell;
pub use crank::Crank;
pub use disk::{Disk, DiskFile, RealDisk};
pub use error::{AppendError, CloseError, Fatal, OpenError, ReadError};
pub use journal::Journal;
pub use options::{Options, QUEUE_BYTES_MAX, RECORD_BYTES_MAX, SEGMENT_BYTES};
pub use queue::{Appended, Room, work_in_turns};
pub use reader::{Reader, Records};
pub use recovery::{Cut, Recovered};

use bytes::Bytes;

/// One record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which boot wrote it.
    pub incarnation: [u8; 16],
    /// Its place in that boot, gapless from 1.
    pub seq: u64,
    pub payload: Bytes,
}
