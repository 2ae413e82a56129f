//! Limits, with their arithmetic. Those of one site are in [`Limits`]; what only the code chooses is beside the code.

use std::time::Duration;

/// What one site allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A file's bytes. 32 MiB are some 10,000 pages of text or a scanned book; content, its sealed copy and what the database
    /// driver holds of it are in memory at once: 100 MiB for each upload.
    pub file_bytes_max: u64,
    /// Files of a project.
    pub project_files_max: u64,
    /// Bytes of a project's files together: 128 files of the largest size.
    pub project_bytes_max: u64,
    /// Collections of a project.
    pub project_collections_max: u64,
    /// Passages of a collection. 50,000 of 4 KiB of vector (1,024 dimensions) and 1 KiB of index are 250 MiB in memory.
    pub collection_passages_max: u64,
    /// All indexes in memory together: two collections of the largest size, or some thousand small ones.
    pub index_bytes_max: usize,
    /// A document's text: 8 MiB are 4,000 dense pages, and 10,000 passages.
    pub text_bytes_max: usize,
    /// How long reading one file may take by the clock on the wall; by the processor's, see `read::bounds`.
    pub read_wall_max: Duration,
    /// Children that read documents at once: each may take a core and [`crate::read::bounds::MEMORY_BYTES_MAX`].
    pub readers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            file_bytes_max: 32 << 20,
            project_files_max: 10_000,
            project_bytes_max: 4 << 30,
            project_collections_max: 1_000,
            collection_passages_max: 50_000,
            index_bytes_max: 512 << 20,
            text_bytes_max: 8 << 20,
            read_wall_max: Duration::from_secs(60),
            readers_max: 2,
        }
    }
}
