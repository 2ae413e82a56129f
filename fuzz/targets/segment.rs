//! A journal's folder with one segment of any content: a start refuses it or repairs it, and a second start then finds
//! the same records.

#![no_main]

use journal::{Journal, Options, Record};
use std::path::Path;

/// None: refused.
fn start(dir: &Path, boot: u8) -> Option<Vec<Record>> {
    let options = Options { segment_bytes: 8 << 10, low_water_bytes: 0, ..Options::default() };
    let (_journal, recovered) = Journal::open(dir, [boot; 16], options).ok()?;
    Some(recovered.records().collect::<Result<_, _>>().expect("what a start has kept is readable"))
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join(format!("{:016}.segment", 1)), bytes).expect("a file");
    if let Some(found) = start(dir.path(), 2) {
        assert_eq!(start(dir.path(), 3), Some(found));
    }
});
