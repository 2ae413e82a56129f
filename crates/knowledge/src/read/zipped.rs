//! Zip archives: of these only Word's documents are read. Sizes are what comes out, not what the archive claims.

use super::Finding;
use super::kind::UNPACKED_BYTES_MAX;
use std::io::{Cursor, Read as _};
use zip::ZipArchive;
use zip::result::ZipError;

/// Entries that an archive may list; a document has some hundred.
const ENTRIES_MAX: usize = 10_000;

/// How often larger than its packed size a part may be, beyond the first mebibyte: the XML of long tables packs to a hundredth.
const RATIO_MAX: u64 = 200;
const RATIO_FREE: u64 = 1 << 20;

pub(crate) struct Parts<'b> {
    archive: ZipArchive<Cursor<&'b [u8]>>,
}

impl<'b> Parts<'b> {
    pub(crate) fn open(bytes: &'b [u8]) -> Result<Parts<'b>, Finding> {
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|_| Finding::damaged("a zip archive"))?;
        if archive.len() > ENTRIES_MAX {
            return Err(Finding::Bomb);
        }
        Ok(Parts { archive })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.archive.index_for_name(name).is_some()
    }

    /// Whether any part is encrypted.
    pub(crate) fn encrypted(&mut self) -> bool {
        (0..self.archive.len()).any(|at| self.archive.by_index_raw(at).is_ok_and(|part| part.encrypted()))
    }

    /// A part, unpacked. None: there is none of this name.
    pub(crate) fn part(&mut self, name: &str) -> Result<Option<Vec<u8>>, Finding> {
        let part = match self.archive.by_name(name) {
            Ok(part) => part,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(_) => return Err(Finding::damaged("a Word document")),
        };
        let ratio_max = part.compressed_size().saturating_mul(RATIO_MAX).max(RATIO_FREE);
        let most = ratio_max.min(UNPACKED_BYTES_MAX as u64);
        let mut unpacked = Vec::new();
        let read = part.take(most + 1).read_to_end(&mut unpacked);
        if unpacked.len() as u64 > most {
            return Err(Finding::Bomb);
        }
        read.map_err(|_| Finding::damaged("a Word document"))?;
        Ok(Some(unpacked))
    }
}
