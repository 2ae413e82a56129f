//! What a start makes of files that a crash, a bad disk or a foreign hand has left.

use std::path::{Path, PathBuf};

use journal::{Journal, OpenError, Record, Recovered};

use crate::simulated::{DIR, Fault, SimulatedDisk, options_on};
use crate::support::{append_all, block_on, boot, eventually, expected, payload, records};

/// Records in the journal that the tests here damage; three segments.
const COUNT: u64 = 90;

/// A journal whose process was killed: every record a batch of its own, the newest segments preallocated.
fn killed() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let (journal, _) = Journal::open(Path::new(DIR), boot(1), options_on(disk.clone())).unwrap();
    append_all(&journal, 1..=COUNT);
    eventually("the next segment is prepared", || disk.files().len() == 4);
    disk.crash(|| false)
}

/// The same, but closed.
fn closed() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let (journal, _) = Journal::open(Path::new(DIR), boot(1), options_on(disk.clone())).unwrap();
    append_all(&journal, 1..=COUNT);
    journal.close().unwrap();
    disk
}

/// The same records but for the first.
fn altered() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    let (journal, _) = Journal::open(Path::new(DIR), boot(1), options_on(disk.clone())).unwrap();
    let other = payload(1).to_ascii_uppercase();
    block_on(journal.append(other.into())).unwrap();
    append_all(&journal, 2..=COUNT);
    journal.close().unwrap();
    disk
}

fn reopen(disk: &SimulatedDisk) -> Result<(Journal, Recovered), OpenError> {
    Journal::open(Path::new(DIR), boot(2), options_on(disk.clone()))
}

fn found(disk: &SimulatedDisk) -> Result<Vec<Record>, OpenError> {
    let (journal, recovered) = reopen(disk)?;
    let found = records(&recovered);
    drop(journal);
    Ok(found)
}

fn segment(number: u64) -> PathBuf {
    Path::new(DIR).join(format!("{number:016}.segment"))
}

/// The segment with the newest record, and where that record ends.
fn newest(disk: &SimulatedDisk) -> (PathBuf, usize) {
    let end = |bytes: &[u8]| bytes.iter().rposition(|&it| it != 0).map_or(0, |at| at + 1);
    disk.files().into_iter().map(|(path, bytes)| (path, end(&bytes))).rfind(|(_, end)| *end > 4096).expect("records")
}

#[test]
fn the_last_segment_cut_at_any_byte_leaves_a_prefix() {
    for disk in [killed(), closed()] {
        let (path, end) = newest(&disk);
        let mut fewest = usize::MAX;
        // Every byte of the last records, and every seventh of the rest.
        for size in (0..=end).rev().filter(|size| end - size < 400 || size % 7 == 0) {
            let disk = disk.copy();
            // What was prepared after it goes too: the newest file is the one that is cut.
            for later in disk.files().into_keys().filter(|it| *it > path) {
                journal::Disk::remove(&disk, &later).unwrap();
            }
            disk.meddle(&path, |bytes| bytes.truncate(size));
            let Ok(found) = found(&disk) else { panic!("refused when cut at {size}") };
            assert_eq!(found, expected(1, 1..=found.len() as u64), "cut at {size}");
            assert!(found.len() <= fewest, "cut at {size}: shorter files hold no more");
            fewest = found.len();
            if size == end {
                assert_eq!(found.len() as u64, COUNT);
            }
        }
        assert!((1..COUNT as usize).contains(&fewest), "only the newest segment was cut: {fewest}");
    }
}

#[test]
fn any_flipped_byte_is_refused_or_costs_no_more_than_the_last_batch() {
    let (mut refused, mut whole, mut cut) = (0, 0, 0);
    for disk in [killed(), closed()] {
        let (newest, end) = newest(&disk);
        let files = disk.files();
        for (path, bytes) in &files {
            // Every byte around the first and the last records of each file; of the rest, all alike, every 61st.
            let last = if *path == newest { end } else { bytes.len() };
            let near = |at: usize| (4096..4296).contains(&at) || (last.saturating_sub(300)..last + 20).contains(&at);
            for at in (0..bytes.len()).filter(|&at| near(at) || at % 61 == 0) {
                let disk = disk.copy();
                disk.meddle(path, |bytes| bytes[at] ^= 0x10);
                match found(&disk) {
                    Err(OpenError::Damaged { .. }) => refused += 1,
                    Err(error) => panic!("{}, byte {at}: {error}", path.display()),
                    Ok(found) if found == expected(1, 1..=COUNT) => whole += 1,
                    Ok(found) => {
                        assert_eq!(found, expected(1, 1..=COUNT - 1), "{}, byte {at}", path.display());
                        assert_eq!(*path, newest, "byte {at}");
                        cut += 1;
                    }
                }
            }
        }
    }
    assert!(refused > 1500 && whole > 100 && (100..400).contains(&cut), "{refused} {whole} {cut}");
}

#[test]
fn damage_is_refused_with_file_place_and_advice_and_nothing_is_touched() {
    let disk = killed();
    disk.meddle(&segment(2), |bytes| bytes[4096 + 500] ^= 1);
    let before = disk.files();
    let Err(error) = reopen(&disk) else { panic!("opened") };
    let text = error.to_string();
    assert!(text.contains("0000000000000002.segment is damaged at byte 4"), "{text}");
    assert!(text.contains("What to do: restore this file"), "{text}");
    assert_eq!(disk.files(), before);
}

#[test]
fn a_segment_that_is_gone_or_misnamed_is_refused() {
    let disk = killed();
    let files = disk.files();
    let (first, second) = (files[&segment(1)].clone(), files[&segment(2)].clone());

    let swapped = disk.copy();
    swapped.meddle(&segment(1), |bytes| *bytes = second);
    swapped.meddle(&segment(2), |bytes| *bytes = first.clone());
    assert!(matches!(found(&swapped), Err(OpenError::Damaged { .. })));

    let emptied = disk.copy();
    emptied.meddle(&segment(2), |bytes| bytes[4096..].fill(0));
    assert!(matches!(found(&emptied), Err(OpenError::Damaged { file, .. }) if file == segment(1)));

    let missing = disk.copy();
    journal::Disk::remove(&missing, &segment(2)).unwrap();
    assert!(matches!(found(&missing), Err(OpenError::Missing { file }) if file == segment(2)));

    // Whole in itself, of the same boot and number, but of another history.
    let same = disk.copy();
    let other = closed().files()[&segment(2)].clone();
    same.meddle(&segment(2), |bytes| *bytes = other);
    assert_eq!(found(&same).unwrap(), expected(1, 1..=COUNT), "the chain knows contents, not files");
    let replaced = disk.copy();
    let other = altered().files()[&segment(2)].clone();
    replaced.meddle(&segment(2), |bytes| *bytes = other);
    assert!(matches!(found(&replaced), Err(OpenError::Damaged { file, .. }) if file == segment(1)));

    // The oldest may go: that is what releasing does.
    journal::Disk::remove(&disk, &segment(1)).unwrap();
    let found = found(&disk).unwrap();
    assert_eq!(found, expected(1, found[0].seq..=COUNT));
    assert!(found[0].seq > 1);
}

#[test]
fn left_overs_are_removed_and_foreign_files_are_left_alone() {
    let disk = killed();
    for name in ["0000000000000009.segment.new", "notes.txt"] {
        journal::Disk::create(&disk, &Path::new(DIR).join(name)).unwrap();
    }
    let (journal, recovered) = reopen(&disk).unwrap();
    assert_eq!(records(&recovered), expected(1, 1..=COUNT));
    let names: Vec<PathBuf> = disk.files().into_keys().collect();
    assert!(!names.contains(&Path::new(DIR).join("0000000000000009.segment.new")));
    assert!(names.contains(&Path::new(DIR).join("notes.txt")));
    journal.close().unwrap();
}

#[test]
fn a_cut_is_reported_and_is_not_found_again() {
    let disk = killed();
    let (path, end) = newest(&disk);
    disk.meddle(&path, |bytes| bytes[end - 1] ^= 1);
    let (journal, recovered) = reopen(&disk).unwrap();
    let cut = recovered.cut.clone().expect("reported");
    assert_eq!((&cut.file, cut.offset + cut.bytes), (&path, end as u64));
    assert_eq!(disk.files()[&cut.file].len() as u64, cut.offset, "cut off for good");
    append_all(&journal, 1..=1);
    journal.close().unwrap();
    let (_journal, recovered) = Journal::open(Path::new(DIR), boot(3), options_on(disk)).unwrap();
    assert_eq!(recovered.cut, None);
    assert_eq!(records(&recovered), [expected(1, 1..=COUNT - 1), expected(2, 1..=1)].concat());
}

#[test]
fn a_crash_while_the_cut_is_made_changes_nothing_of_what_is_found() {
    // Two segments to remove, the newest two: a hole between them would be a missing segment.
    let killed = killed();
    killed.meddle(&segment(3), |bytes| bytes[4096..].fill(0));
    let whole = found(&killed.copy()).unwrap();
    for at in 1..=6 {
        let disk = killed.copy();
        let mut left = at;
        disk.decide(move |_| {
            left -= 1;
            (left == 0).then_some(Fault::Crash)
        });
        assert!(reopen(&disk).is_err(), "operation {at}");
        let after = disk.crash(|| true);
        assert_eq!(found(&after).unwrap_or_else(|error| panic!("operation {at}: {error}")), whole);
    }
}

#[test]
fn starts_that_write_nothing_leave_nothing() {
    let disk = killed();
    for number in 2..6 {
        let (journal, recovered) = Journal::open(Path::new(DIR), boot(number), options_on(disk.clone())).unwrap();
        assert_eq!(records(&recovered), expected(1, 1..=COUNT));
        journal.close().unwrap();
        assert_eq!(disk.files().len(), 4, "three with records and the one of this start: {:?}", disk.files().keys());
    }
}

/// Whoever must know which starts are over cannot wait for their records.
#[test]
fn a_start_that_wrote_nothing_is_known_all_the_same() {
    let disk = SimulatedDisk::default();
    let (journal, _) = Journal::open(Path::new(DIR), boot(1), options_on(disk.clone())).unwrap();
    append_all(&journal, 1..=3);
    let disk = disk.crash(|| false);
    let (_journal, _) = Journal::open(Path::new(DIR), boot(2), options_on(disk.clone())).unwrap();
    let disk = disk.crash(|| false);
    let (_, recovered) = Journal::open(Path::new(DIR), boot(3), options_on(disk)).unwrap();
    assert_eq!(recovered.incarnations().collect::<Vec<_>>(), [boot(1), boot(2)]);
    assert_eq!(records(&recovered), expected(1, 1..=3));
    drop(journal);
}
