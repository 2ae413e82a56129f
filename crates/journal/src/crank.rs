//! The writer and the keeper without threads: whoever holds the crank turns them, and nothing happens in between. For the
//! simulation, where the order of everything must follow from one number.
//!
//! What a turn does is what the threads do, with the same code and in one order: released segments go, the next one is
//! prepared, what has gathered is written and synced, and those who wait hear of it. Where the threads would wait for
//! room, a turn ends and the next one tries again.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use bytes::Bytes;

use crate::error::Fatal;
use crate::options::OnFatal;
use crate::queue::{Batch, State, lock};
use crate::record::OVERHEAD_BYTES;
use crate::writer::Writer;

/// Goes into [`crate::Options::crank`]; clones turn the same journal. One crank is for one journal.
#[derive(Clone, Default)]
pub struct Crank(Arc<Mutex<Option<Works>>>);

/// What the two threads would hold.
struct Works {
    writer: Writer,
    on_fatal: OnFatal,
    buffer: Vec<u8>,
    woken: Vec<Waker>,
    /// Released segments that could not be removed yet.
    released: Vec<u64>,
    /// Taken and not written: there was no segment for them.
    left: Option<Batch>,
    /// Bytes whose place in the queue is free again.
    done_bytes: usize,
}

impl Crank {
    pub(crate) fn hold(&self, writer: Writer, on_fatal: OnFatal) {
        let works = Works {
            writer,
            on_fatal,
            buffer: Vec::new(),
            woken: Vec::new(),
            released: Vec::new(),
            left: None,
            done_bytes: 0,
        };
        *lock(&self.0) = Some(works);
    }

    /// Does all that there is to do now. False: the journal has ended, or none was opened with this crank.
    pub fn turn(&self) -> bool {
        let mut place = lock(&self.0);
        let Some(works) = place.as_mut() else { return false };
        match works.turn() {
            Ok(true) => return true,
            Ok(false) => {}
            Err(fatal) => {
                if works.writer.shared.fail() {
                    tracing::error!(error = %fatal, "journal: disk failed");
                    (works.on_fatal)(&fatal);
                }
            }
        }
        let Some(works) = place.take() else { return false };
        drop(place);
        works.writer.end();
        false
    }
}

impl Works {
    /// False: closed, and everything is durable.
    fn turn(&mut self) -> Result<bool, Fatal> {
        let writer = &mut self.writer;
        if writer.shared.state() == State::Failed {
            return Ok(false);
        }
        let closing = writer.shared.state() != State::Open;
        let keeper = Arc::clone(&writer.keeper);
        keeper.turn(&mut self.released)?;
        loop {
            let Some(Batch { first_seq, mut records }) =
                self.left.take().or_else(|| writer.shared.try_take(std::mem::take(&mut self.done_bytes)))
            else {
                break;
            };
            let written = writer.write(first_seq, &records, &mut self.buffer, &mut self.woken, || {
                keeper.turn(&mut self.released)?;
                Ok(keeper.take_prepared())
            })?;
            self.done_bytes += records.drain(..written).map(|it: Bytes| OVERHEAD_BYTES + it.len()).sum::<usize>();
            if !records.is_empty() {
                // Closing, and the disk is full: what is left was never acknowledged.
                self.left = Some(Batch { first_seq: first_seq + written as u64, records });
                return Ok(!closing);
            }
        }
        if closing {
            writer.trim()?;
        }
        Ok(!closing)
    }
}

impl fmt::Debug for Crank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crank").finish_non_exhaustive()
    }
}
