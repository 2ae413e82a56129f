//! Segment files: their names, their first page, how a new one comes into being, and the list of those that exist.
//!
//! A segment `NNNNNNNNNNNNNNNN.segment` is made under another name, filled, fsynced and only then renamed, and the folder
//! fsynced; so a segment under its own name always has a whole header, and a broken one is damage. If we crash before the
//! rename a `.new` file is left, which the next start removes.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, read_up_to, write_all_at};
use crate::error::{Fatal, OpenError};
use crate::record::Salt;

/// The header has a page of its own: no write of records ever touches the sector it lies in.
pub(crate) const HEADER_BYTES: usize = 4096;

const MAGIC: [u8; 8] = *b"HOHEITJ\x01";
const SUFFIX: &str = ".segment";
const SUFFIX_NEW: &str = ".segment.new";

/// `magic 8 | crc32c u32 | zeros 4 | number u64 | salt 16 | incarnation 16 | zeros`; the checksum covers the whole page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub number: u64,
    pub salt: [u8; 16],
    pub incarnation: [u8; 16],
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut page = vec![0; HEADER_BYTES];
        page[..8].copy_from_slice(&MAGIC);
        page[16..24].copy_from_slice(&self.number.to_le_bytes());
        page[24..40].copy_from_slice(&self.salt);
        page[40..56].copy_from_slice(&self.incarnation);
        let crc = checksum(&page);
        page[8..12].copy_from_slice(&crc.to_le_bytes());
        page
    }

    /// Nothing if the page is not a header as we write it.
    pub(crate) fn decode(page: &[u8]) -> Option<Header> {
        let page = page.get(..HEADER_BYTES)?;
        let field = |range: std::ops::Range<usize>| page[range].try_into().expect("sixteen bytes");
        let header = Header {
            number: u64::from_le_bytes(page[16..24].try_into().expect("eight bytes")),
            salt: field(24..40),
            incarnation: field(40..56),
        };
        (page[..8] == MAGIC && page[8..12] == checksum(page).to_le_bytes()).then_some(header)
    }
}

fn checksum(page: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&page[..8]), &page[12..])
}

pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016}{SUFFIX}"))
}

/// The number of a segment's file name; nothing for any other file.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 16).then(|| digits.parse().ok())?
}

/// A segment that a crash left half-made.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(SUFFIX_NEW).is_some_and(|digits| digits.len() == 16)
}

/// A segment that is ready to be written.
pub(crate) struct Prepared {
    pub header: Header,
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
}

/// Why there is no new segment.
pub(crate) enum PrepareError {
    /// Most likely the disk is full. Nothing is in doubt: try again.
    NoSpace(io::Error),
    /// An fsync failed: nothing on this disk can be relied on.
    Fatal(Fatal),
}

impl PrepareError {
    /// Before the journal is open there is nothing to lose: both are a plain refusal.
    pub(crate) fn into_open(self, dir: &Path) -> OpenError {
        match self {
            PrepareError::NoSpace(source) => {
                OpenError::Io { operation: "take space for a segment in", path: dir.to_owned(), source }
            }
            PrepareError::Fatal(Fatal { operation, path, source }) => OpenError::Io { operation, path, source },
        }
    }
}

/// Makes segment `number`, durable under its name, its space taken.
pub(crate) fn prepare(
    disk: &dyn Disk,
    dir: &Path,
    number: u64,
    incarnation: [u8; 16],
    segment_bytes: u64,
) -> Result<Prepared, PrepareError> {
    let mut salt = [0; 16];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| PrepareError::NoSpace(io::Error::other("no randomness")))?;
    let header = Header { number, salt, incarnation };
    let path = path(dir, number);
    let unfinished = dir.join(format!("{number:016}{SUFFIX_NEW}"));
    let fill = || {
        let file = disk.create(&unfinished)?;
        file.allocate(segment_bytes)?;
        write_all_at(&*file, &header.encode(), 0)?;
        Ok(file)
    };
    let file = fill().map_err(|error| {
        // Best effort: a left-over is removed at the next start, and taking the name again fails until then.
        let _ = disk.remove(&unfinished);
        PrepareError::NoSpace(error)
    })?;
    let fatal =
        |operation, path: &Path, source| PrepareError::Fatal(Fatal { operation, path: path.to_owned(), source });
    file.sync_all().map_err(|error| fatal("fsync", &unfinished, error))?;
    disk.rename(&unfinished, &path).map_err(|error| fatal("rename", &unfinished, error))?;
    disk.sync_dir(dir).map_err(|error| fatal("fsync of folder", dir, error))?;
    Ok(Prepared { header, path, file })
}

/// What is known about a segment that holds records, or is being written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub number: u64,
    pub incarnation: [u8; 16],
    pub salt: Salt,
    /// Last record that is durable; 0 while there is none.
    pub last_seq: u64,
    /// Where the durable records end.
    pub end: u64,
}

impl Segment {
    pub(crate) fn empty(header: &Header) -> Segment {
        Segment {
            number: header.number,
            incarnation: header.incarnation,
            salt: Salt::new(&header.salt),
            last_seq: 0,
            end: HEADER_BYTES as u64,
        }
    }
}

/// The segments that are kept, oldest first, numbered without gaps; the last one is being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index(pub VecDeque<Segment>);

impl Index {
    /// Takes out the segments that hold nothing after (`incarnation`, `seq`), never the last one.
    pub(crate) fn release(&mut self, incarnation: [u8; 16], seq: u64) -> Vec<u64> {
        let Some(at) = self
            .0
            .iter()
            .position(|it| it.incarnation == incarnation && (it.last_seq == 0 || seq <= it.last_seq))
            .or_else(|| self.0.iter().rposition(|it| it.incarnation == incarnation))
        else {
            return Vec::new();
        };
        let done = self.0[at].last_seq != 0 && self.0[at].last_seq <= seq;
        let count = if done { at + 1 } else { at };
        self.0.drain(..count.min(self.0.len().saturating_sub(1))).map(|it| it.number).collect()
    }
}

/// The whole file.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let size = file.size()?;
    read_up_to(&*file, 0, usize::try_from(size).map_err(io::Error::other)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_any_flipped_byte_shows() {
        let header = Header { number: 7, salt: [1; 16], incarnation: [2; 16] };
        let page = header.encode();
        assert_eq!(Header::decode(&page), Some(header));
        for at in 0..HEADER_BYTES {
            let mut page = page.clone();
            page[at] ^= 4;
            assert_eq!(Header::decode(&page), None, "byte {at}");
        }
        assert_eq!(Header::decode(&page[..HEADER_BYTES - 1]), None);
    }

    #[test]
    fn only_our_own_names_are_segments() {
        assert_eq!(number("0000000000000012.segment"), Some(12));
        for name in
            ["12.segment", "0000000000000012", "+000000000000012.segment.new", "lock", "000000000000001x.segment"]
        {
            assert_eq!(number(name), None, "{name}");
        }
        assert!(is_unfinished("0000000000000012.segment.new"));
        assert!(!is_unfinished("0000000000000012.segment"));
    }

    #[test]
    fn released_are_whole_segments_and_never_the_last() {
        let check = |incarnation: u8, seq: u64, expect: &[u64]| {
            let segment = |number, incarnation: u8, last_seq| {
                let header = Header { number, salt: [0; 16], incarnation: [incarnation; 16] };
                Segment { last_seq, ..Segment::empty(&header) }
            };
            let mut index = Index([segment(3, 1, 10), segment(4, 1, 20), segment(5, 2, 7), segment(6, 2, 9)].into());
            assert_eq!(index.release([incarnation; 16], seq), expect, "incarnation {incarnation}, seq {seq}");
        };
        check(1, 9, &[]);
        check(1, 10, &[3]);
        check(1, 19, &[3]);
        check(1, 20, &[3, 4]);
        check(1, 99, &[3, 4]);
        check(2, 0, &[3, 4]);
        check(2, 7, &[3, 4, 5]);
        check(2, 9, &[3, 4, 5]);
        check(3, 99, &[]);
    }
}
