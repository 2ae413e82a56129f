//! Segments into which somebody has written anything: a start refuses them or gives back a prefix of what was written,
//! never a record that was not, and never panics. Single flipped bits are `recovery`'s; here it is whole stretches,
//! stretches of other places and other histories, and files that hold nothing of ours.

use crate::simulated::{DIR, SimulatedDisk, options_on};
use crate::support::{append_all, boot, eventually, expected, records};
use journal::{Journal, Record};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

const COUNT: u64 = 90;

/// A journal that was closed, and one whose process was killed.
static JOURNALS: LazyLock<[SimulatedDisk; 2]> = LazyLock::new(|| {
    let disk = SimulatedDisk::default();
    let (journal, _) = Journal::open(Path::new(DIR), boot(1), options_on(disk.clone())).unwrap();
    append_all(&journal, 1..=COUNT);
    eventually("the next segment is prepared", || disk.files().len() == 4);
    let killed = disk.crash(|| false);
    journal.close().unwrap();
    [disk, killed]
});

#[derive(Debug, Clone)]
enum Meddle {
    Overwrite(Index, Vec<u8>),
    Zero(Index, usize),
    /// A stretch of this file or of another, elsewhere.
    Copy {
        from_file: Index,
        from: Index,
        to: Index,
        length: usize,
    },
    Truncate(Index),
    Append(Vec<u8>),
    Replace(Vec<u8>),
}

fn meddling() -> impl Strategy<Value = (Index, Meddle)> {
    let bytes = || vec(any::<u8>(), 1..300);
    let meddle = prop_oneof![
        (any::<Index>(), bytes()).prop_map(|(at, bytes)| Meddle::Overwrite(at, bytes)),
        (any::<Index>(), 1..5_000usize).prop_map(|(at, length)| Meddle::Zero(at, length)),
        (any::<Index>(), any::<Index>(), any::<Index>(), 1..5_000usize)
            .prop_map(|(from_file, from, to, length)| Meddle::Copy { from_file, from, to, length }),
        any::<Index>().prop_map(Meddle::Truncate),
        bytes().prop_map(Meddle::Append),
        bytes().prop_map(Meddle::Replace),
    ];
    (any::<Index>(), meddle)
}

fn apply(disk: &SimulatedDisk, file: &Index, meddle: &Meddle) {
    let files: Vec<(PathBuf, Vec<u8>)> = disk.files().into_iter().collect();
    let (path, bytes) = file.get(&files);
    if bytes.is_empty() {
        return;
    }
    disk.meddle(path, |bytes| {
        let mut put = |at: usize, what: &[u8]| {
            let length = what.len().min(bytes.len() - at);
            bytes[at..at + length].copy_from_slice(&what[..length]);
        };
        match meddle {
            Meddle::Overwrite(at, what) => put(at.index(files_len(&files, path)), what),
            Meddle::Zero(at, length) => put(at.index(files_len(&files, path)), &vec![0; *length]),
            Meddle::Copy { from_file, from, to, length } => {
                let source = &from_file.get(&files).1;
                let from = from.index(source.len().max(1)).min(source.len());
                let end = (from + length).min(source.len());
                put(to.index(files_len(&files, path)), &source[from..end]);
            }
            Meddle::Truncate(at) => bytes.truncate(at.index(bytes.len())),
            Meddle::Append(what) => bytes.extend_from_slice(what),
            Meddle::Replace(what) => *bytes = what.clone(),
        }
    });
}

fn files_len(files: &[(PathBuf, Vec<u8>)], path: &Path) -> usize {
    files.iter().find(|(other, _)| other == path).map_or(1, |(_, bytes)| bytes.len().max(1))
}

fn check(found: &[Record]) {
    assert_eq!(found, expected(1, 1..=found.len() as u64), "a record that was not written, or not there");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn whatever_stands_in_the_segments_no_record_is_made_up(killed: bool, steps in vec(meddling(), 1..4)) {
        let disk = JOURNALS[usize::from(killed)].copy();
        for (file, meddle) in &steps {
            apply(&disk, file, meddle);
        }
        if let Ok((journal, recovered)) = Journal::open(Path::new(DIR), boot(2), options_on(disk.clone())) {
            check(&records(&recovered));
            drop(journal);
            // What was repaired is whole: a second start finds the same.
            let (_journal, again) = Journal::open(Path::new(DIR), boot(3), options_on(disk.clone())).unwrap();
            check(&records(&again));
        }
    }
}
