//! The journal's limits, each with its arithmetic, and the two things a test replaces: the disk and the end.

use std::fmt;
use std::sync::Arc;

use crate::crank::Crank;
use crate::disk::{Disk, RealDisk};
use crate::error::Fatal;

/// 64 MiB: at 100,000 records of 464 bytes a second (the most that was measured) a new segment every 1.4 s, at an
/// ordinary 1,000 one in 2.4 minutes; and what a restart has to verify per segment is about 60 ms of hashing.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// 64 MiB, promises included: 10,000 requests that each hold room for a receipt of 4 KiB are 40 MiB, and 24 MiB of records
/// of 464 bytes are half a second of the highest measured rate. Longer queues only turn a slow disk into slow answers.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// 1 MiB: a receipt is about 2 KB. No payload is cut; a larger one is refused.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// 512 MiB: 10,000 requests a second, each with an intent, a watermark and a receipt of 464 bytes, are 14 MB/s: 37 seconds
/// for a load balancer to see the readiness turn and for running requests to settle. Two segments are taken ahead anyway.
const LOW_WATER_BYTES: u64 = 512 << 20;

/// Told once when the disk has failed. If it returns, the journal stays but acknowledges nothing more.
pub type OnFatal = Arc<dyn Fn(&Fatal) + Send + Sync>;

#[derive(Clone)]
pub struct Options {
    /// Size of a segment file, taken from the disk in advance.
    pub segment_bytes: u64,
    /// Free bytes on the file system below which [`crate::Journal::has_space`] says no.
    pub low_water_bytes: u64,
    /// Bytes that may wait to be written or be promised ([`crate::Journal::reserve`]).
    /// [`crate::Journal::append_if_room`] may use half of them.
    pub queue_bytes_max: usize,
    /// The file system; tests put a failing one here.
    pub disk: Arc<dyn Disk>,
    /// What ends the process when the disk failed. Default: `std::process::abort`.
    pub on_fatal: OnFatal,
    /// Default: two threads of the journal's own. With a crank there are none: whoever turns it does their work.
    pub crank: Option<Crank>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: SEGMENT_BYTES,
            low_water_bytes: LOW_WATER_BYTES,
            queue_bytes_max: QUEUE_BYTES_MAX,
            disk: Arc::new(RealDisk),
            on_fatal: Arc::new(|_| std::process::abort()),
            crank: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("segment_bytes", &self.segment_bytes)
            .field("low_water_bytes", &self.low_water_bytes)
            .field("queue_bytes_max", &self.queue_bytes_max)
            .finish_non_exhaustive()
    }
}
