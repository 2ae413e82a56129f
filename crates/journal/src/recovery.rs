//! What a start does with the segments that it finds: verifies every record, cuts an interrupted last write, refuses
//! damage.
//!
//! All records form one stream over all segments. Where it stops being readable, the question is whether that was the
//! last batch. A batch is written only after the one before it is durable and begins with a marked record; so if a marked
//! record lies anywhere behind, what is unreadable was once durable: damage, refuse. If none does, it was never
//! acknowledged: cut. (Damage that hits exactly the last batch looks the same and is cut too; the cut is logged.)
//!
//! If we crash here: nothing is changed before everything is verified; then the newest files go first, so that a second
//! start finds the same stream.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{During, OpenError};
use crate::reader::Records;
use crate::record::{Decoded, GENESIS, Hash, find_batch_start};
use crate::segment::{self, HEADER_BYTES, Header, Index, Segment};

/// What [`crate::Journal::open`] found.
pub struct Recovered {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: Arc<Path>,
    pub(crate) index: Index,
    pub(crate) incarnations: Vec<[u8; 16]>,
    /// An interrupted write that was cut off, if there was one.
    pub cut: Option<Cut>,
    /// Incarnation and sequence number of the newest record kept.
    pub last: Option<([u8; 16], u64)>,
}

impl Recovered {
    /// All kept records of earlier starts, oldest first. Read them before they are released.
    pub fn records(&self) -> Records {
        Records::new(Arc::clone(&self.disk), Arc::clone(&self.dir), self.index.clone())
    }

    /// The starts that left a segment here, oldest first, also one that never came to write a record into it.
    pub fn incarnations(&self) -> impl Iterator<Item = [u8; 16]> {
        self.incarnations.iter().copied()
    }
}

/// Bytes that were written but never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub file: PathBuf,
    pub offset: u64,
    pub bytes: u64,
}

/// What a start continues from.
pub(crate) struct Found {
    pub index: Index,
    pub incarnations: Vec<[u8; 16]>,
    pub cut: Option<Cut>,
    pub tip: Hash,
    pub number_next: u64,
}

/// A segment's file as read.
struct File {
    path: PathBuf,
    /// None: cut short inside the header, so it holds nothing.
    header: Option<Header>,
    bytes: Vec<u8>,
}

/// How far the stream is good.
struct Tip {
    hash: Hash,
    /// Incarnation and sequence number of the last record; none at the start of the oldest segment kept.
    last: Option<([u8; 16], u64)>,
}

pub(crate) fn recover(disk: &dyn Disk, dir: &Path, incarnation: [u8; 16]) -> Result<Found, OpenError> {
    disk.create_dir(dir).during("create", dir)?;
    let names = disk.list(dir).during("list", dir)?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    numbers.sort_unstable();
    if let Some(pair) = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1) {
        return Err(OpenError::Missing { file: segment::path(dir, pair[0] + 1) });
    }

    let mut index = Index::default();
    let mut tip = Tip { hash: GENESIS, last: None };
    let mut stop: Option<(PathBuf, usize)> = None;
    let mut ahead = None;
    let mut incarnations = Vec::new();
    for (position, &number) in numbers.iter().enumerate() {
        let read_at = |position: usize| match numbers.get(position) {
            Some(&number) => read(disk, dir, number, incarnation, position + 1 == numbers.len()).map(Some),
            None => Ok(None),
        };
        let Some(file) = ahead.take().map_or_else(|| read_at(position), |file| Ok(Some(file)))? else { break };
        debug_assert_eq!(segment::path(dir, number), file.path);
        incarnations.extend(file.header.as_ref().map(|header| header.incarnation));
        if let Some((broken, offset)) = &stop {
            if let Some(at) = marked(&file, HEADER_BYTES) {
                let reason = format!("a later record, at byte {at} of {}, is whole", file.path.display());
                return Err(damaged(broken, *offset, reason));
            }
            continue;
        }
        let Some((segment, end)) = scan(&file, &mut tip, index.0.is_empty())? else { break };
        index.0.push_back(segment);
        // Where this segment ends is decided by the next one: if it goes on from here, nothing is missing.
        ahead = read_at(position + 1)?;
        if !ahead.as_ref().is_some_and(|next| follows(next, &tip)) {
            if let Some(at) = marked(&file, end) {
                return Err(damaged(&file.path, end, format!("a later record, at byte {at}, is whole")));
            }
            stop = Some((file.path, end));
        }
    }
    incarnations.dedup();
    Ok(Found { incarnations, ..tidy(disk, dir, &names, &numbers, index, &tip)? })
}

/// Makes the disk look as if the interrupted write had never begun.
fn tidy(
    disk: &dyn Disk,
    dir: &Path,
    names: &[String],
    numbers: &[u64],
    mut index: Index,
    tip: &Tip,
) -> Result<Found, OpenError> {
    while index.0.back().is_some_and(|it| it.last_seq == 0) {
        index.0.pop_back();
    }
    let number_last = index.0.back().map_or(0, |it| it.number);
    let mut cut: Option<Cut> = None;
    let mut note = |file: &Path, offset: u64, bytes: u64| {
        if bytes > 0 {
            let total = cut.take().map_or(0, |it| it.bytes) + bytes;
            cut = Some(Cut { file: file.to_owned(), offset, bytes: total });
        }
    };
    for &number in numbers.iter().rev().take_while(|&&number| number > number_last) {
        let path = segment::path(dir, number);
        note(&path, HEADER_BYTES as u64, written_after(disk, &path, HEADER_BYTES as u64)?);
        disk.remove(&path).during("remove", &path)?;
    }
    if let Some(it) = index.0.back() {
        let path = segment::path(dir, it.number);
        let file = disk.open(&path).during("open", &path)?;
        note(&path, it.end, written_after(disk, &path, it.end)?);
        if file.size().during("measure", &path)? != it.end {
            file.set_size(it.end).during("truncate", &path)?;
            file.sync_all().during("fsync", &path)?;
        }
    }
    for name in names.iter().filter(|name| segment::is_unfinished(name)) {
        let path = dir.join(name);
        disk.remove(&path).during("remove", &path)?;
    }
    disk.sync_dir(dir).during("fsync", dir)?;
    if let Some(cut) = &cut {
        tracing::warn!(file = %cut.file.display(), offset = cut.offset, bytes = cut.bytes, "journal: cut an interrupted write");
    }
    debug_assert_eq!(tip.last.is_some(), !index.0.is_empty());
    let number_next = numbers.last().map_or(1, |last| if number_last == 0 { last + 1 } else { number_last + 1 });
    Ok(Found { index, incarnations: Vec::new(), cut, tip: tip.hash, number_next })
}

/// Bytes from `offset` to the last one that is not zero.
fn written_after(disk: &dyn Disk, path: &Path, offset: u64) -> Result<u64, OpenError> {
    let bytes = segment::read(disk, path).during("read", path)?;
    let tail = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    Ok(tail.iter().rposition(|&byte| byte != 0).map_or(0, |at| at as u64 + 1))
}

fn read(disk: &dyn Disk, dir: &Path, number: u64, incarnation: [u8; 16], last_file: bool) -> Result<File, OpenError> {
    let path = segment::path(dir, number);
    let bytes = segment::read(disk, &path).during("read", &path)?;
    let header = Header::decode(&bytes);
    match header {
        None if last_file && bytes.len() < HEADER_BYTES => {}
        None => return Err(damaged(&path, 0, "its header is unreadable".to_owned())),
        Some(header) if header.number != number => {
            return Err(damaged(&path, 0, format!("it is segment {} under another name", header.number)));
        }
        Some(header) if header.incarnation == incarnation => return Err(OpenError::IncarnationReused { file: path }),
        Some(_) => {}
    }
    Ok(File { path, header, bytes })
}

/// Verifies records until there is no whole one. `anchor`: the oldest segment, which may begin anywhere.
fn scan(file: &File, tip: &mut Tip, anchor: bool) -> Result<Option<(Segment, usize)>, OpenError> {
    let Some(header) = &file.header else { return Ok(None) };
    let mut segment = Segment::empty(header);
    let mut at = HEADER_BYTES;
    while let Some(record) = Decoded::decode(segment.salt, &file.bytes[at..]) {
        let anchored = anchor && at == HEADER_BYTES && record.incarnation == header.incarnation;
        if !anchored && !continues(&record, header, tip) {
            return Err(damaged(&file.path, at, format!("record {} does not continue the chain", record.seq)));
        }
        *tip = Tip { hash: record.hash(), last: Some((record.incarnation, record.seq)) };
        at += record.size();
        segment.last_seq = record.seq;
    }
    segment.end = at as u64;
    Ok(Some((segment, at)))
}

fn continues(record: &Decoded<'_>, header: &Header, tip: &Tip) -> bool {
    let seq = match tip.last {
        Some((incarnation, seq)) if incarnation == header.incarnation => seq + 1,
        _ => 1,
    };
    record.incarnation == header.incarnation && record.seq == seq && record.prev_hash == tip.hash
}

fn follows(next: &File, tip: &Tip) -> bool {
    let Some(header) = &next.header else { return false };
    let salt = Segment::empty(header).salt;
    Decoded::decode(salt, &next.bytes[HEADER_BYTES..]).is_some_and(|record| continues(&record, header, tip))
}

/// Where a marked record lies at or behind `from`.
fn marked(file: &File, from: usize) -> Option<usize> {
    let header = file.header.as_ref()?;
    let tail = file.bytes.get(from..)?;
    find_batch_start(Segment::empty(header).salt, &header.incarnation, tail).map(|at| from + at)
}

fn damaged(file: &Path, offset: usize, reason: String) -> OpenError {
    OpenError::Damaged { file: file.to_owned(), offset: offset as u64, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Draft, Salt};

    #[test]
    fn a_record_continues_by_boot_sequence_and_hash() {
        let check = |incarnation: u8, seq: u64, prev_hash: u8, expect: bool| {
            let (salt, mut bytes) = (Salt::new(&[0; 16]), Vec::new());
            let incarnation = [incarnation; 16];
            Draft { batch_start: true, incarnation: &incarnation, seq, prev_hash: &[prev_hash; 32], payload: b"" }
                .encode(salt, &mut bytes);
            let record = Decoded::decode(salt, &bytes).expect("whole");
            let tip = Tip { hash: [5; 32], last: Some(([1; 16], 7)) };
            let follows = [1, 2].map(|boot| {
                let header = Header { number: 2, salt: [0; 16], incarnation: [boot; 16] };
                continues(&record, &header, &tip)
            });
            // Never both: a segment holds one boot's records only.
            assert_eq!(follows.contains(&true), expect, "boot {incarnation:?}, seq {seq}, prev_hash {prev_hash}");
        };
        check(1, 8, 5, true);
        check(2, 1, 5, true);
        check(1, 9, 5, false);
        check(1, 1, 5, false);
        check(2, 8, 5, false);
        check(1, 8, 6, false);
        check(3, 1, 5, false);
    }
}
