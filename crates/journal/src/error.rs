//! What can go wrong, whose fault it is and what to do about it. Nothing is decided by matching a message.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the journal did not open. Nothing was changed on disk unless the variant says so.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The operator's disk or a foreign hand: not something a crash of ours leaves behind.
    #[error(
        "journal segment {} is damaged at byte {offset}: {reason}. This is not an interrupted write, so nothing was cut \
         and nothing was changed. What to do: restore this file from a copy of the disk; if there is none, keep a copy of \
         the folder as evidence and move this file and all older ones out of it: records in them that were not yet \
         shipped to the store are then lost and their requests will show as gaps",
        file.display()
    )]
    Damaged { file: PathBuf, offset: u64, reason: String },
    #[error(
        "journal segment {} is missing between its neighbours. What to do: restore this file; without it the records in \
         it are lost. Nothing was changed",
        file.display()
    )]
    Missing { file: PathBuf },
    /// The caller's fault: an incarnation is one boot.
    #[error("this incarnation has already written to the journal ({}); every start needs a new one", file.display())]
    IncarnationReused { file: PathBuf },
    #[error("journal option {name} is {value}, must be at least {least}")]
    Option { name: &'static str, value: u64, least: u64 },
    #[error("journal: cannot {operation} {}: {source}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
}

/// Why an append was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The queue holds as much as it may; the record was not taken and used no sequence number. Load: try again later.
    #[error("the journal's queue is full")]
    Full,
    /// The record was not taken and used no sequence number. The caller's fault.
    #[error("a payload of {bytes} bytes is over the journal's limit of {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
    /// The journal was closed before the record was written; it is not kept.
    #[error("the journal is closed")]
    Closed,
    /// The disk failed. Whether the record is kept is unknown until the next start.
    #[error("the journal's disk failed; whether this record is kept is unknown")]
    Failed,
}

/// Why [`crate::Journal::close`] could not keep everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{lost} records that were appended are not durable; nobody was told that they are")]
pub struct CloseError {
    pub lost: u64,
}

/// Why reading back failed. Our own file, so the disk or a foreign hand.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("journal segment {} is damaged at byte {offset} (it was readable when the journal opened)", file.display())]
    Damaged { file: PathBuf, offset: u64 },
    #[error("journal: cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// What [`crate::Options::on_fatal`] is told: the operation after which the file's state is unknown.
#[derive(Debug, Error)]
#[error("journal: {operation} {} failed: {source}; ending the process, the next start recovers", path.display())]
pub struct Fatal {
    pub operation: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

/// `disk.remove(path).during("remove", path)?`
pub(crate) trait During<T> {
    fn during(self, operation: &'static str, path: &Path) -> Result<T, OpenError>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, operation: &'static str, path: &Path) -> Result<T, OpenError> {
        self.map_err(|source| OpenError::Io { operation, path: path.to_owned(), source })
    }
}
