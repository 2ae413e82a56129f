//! The log's files in one folder, as tlog-tiles lays them out and a static web server serves them: `checkpoint`,
//! `tile/<level>/…`, `tile/entries/…`.
//!
//! Every file appears whole or not at all: written beside its place, synced, renamed, and the folder synced. A tile is
//! never changed: writing the same bytes again does nothing, writing others is refused, because somebody may have been
//! shown the first. Only the checkpoint is replaced, and only by one of at least its size.
//!
//! If we crash here: at most a `.tmp-…` file is left, which no reader looks at and the next open removes.

use ledger::checkpoint::Checkpoint;
use ledger::log;
use ledger::tile::{Tile, TileSource};
use ledger::tree::TreeHead;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const CHECKPOINT: &str = "checkpoint";
const TMP_PREFIX: &str = ".tmp-";

/// Why a file of the log could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TilesError {
    #[error("{path} of the log: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A path that tlog-tiles does not know; nothing outside the folder is ever touched.
    #[error("{path} is not the path of a tile")]
    Path { path: String },
    /// The file is there with other bytes: two histories of one log. Stop and alarm.
    #[error("{path} of the log exists with other content: the log would fork")]
    Differs { path: String },
    /// A smaller or a different tree than the one that was published.
    #[error("the published checkpoint covers {published} leaves; one of {offered} contradicts it")]
    Rollback { published: u64, offered: u64 },
    #[error("the checkpoint of the log is damaged: {0}")]
    Checkpoint(String),
    #[error("no proof can be made from the log's files: {0}")]
    Proof(String),
}

impl TilesError {
    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> TilesError + '_ {
        move |source| TilesError::Io { path: path.to_owned(), source }
    }
}

/// The folder of one log. Clones share it. Calls block on the disk: from async code, use a blocking thread.
#[derive(Debug, Clone)]
pub struct TileFiles {
    dir: Arc<Path>,
    tmp_next: Arc<AtomicU64>,
}

impl TileFiles {
    /// Opens the folder, makes it if it is missing, and removes what a crash left half-written.
    pub fn open(dir: impl Into<PathBuf>) -> Result<TileFiles, TilesError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(TilesError::io(&dir))?;
        for entry in fs::read_dir(&dir).map_err(TilesError::io(&dir))? {
            let entry = entry.map_err(TilesError::io(&dir))?;
            if entry.file_name().as_encoded_bytes().starts_with(TMP_PREFIX.as_bytes()) {
                fs::remove_file(entry.path()).map_err(TilesError::io(&entry.path()))?;
            }
        }
        Ok(TileFiles { dir: dir.into(), tmp_next: Arc::default() })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a tile or an entry bundle durably.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), TilesError> {
        self.write_all([(path, bytes)])
    }

    /// Writes many, then syncs each folder once: after `Ok` all are durable, before it any may be there.
    pub fn write_all<'a>(&self, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<(), TilesError> {
        let mut folders = std::collections::BTreeSet::new();
        for (path, bytes) in files {
            let place = self.place(path)?;
            match fs::read(&place) {
                Ok(there) if there == bytes => {}
                Ok(_) => return Err(TilesError::Differs { path: path.to_owned() }),
                Err(error) if error.kind() == ErrorKind::NotFound => self.put(&place, bytes)?,
                Err(error) => return Err(TilesError::io(&place)(error)),
            }
            // Also of a file that was there: the crash may have come before its folder was synced.
            let above = place.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.dir));
            folders.extend(above.map(Path::to_owned));
        }
        folders.iter().try_for_each(|folder| sync_folder(folder))
    }

    /// The bytes of a tile, a bundle or the checkpoint; none if there is no such file or the path is not one of the log.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, TilesError> {
        let place = match self.place(path) {
            Ok(place) => place,
            Err(_) if path == CHECKPOINT => self.dir.join(CHECKPOINT),
            Err(_) => return Ok(None),
        };
        match fs::read(&place) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(TilesError::io(&place)(error)),
        }
    }

    /// Deletes a partial tile or bundle that a full one replaces; deleting what is gone is fine.
    pub fn remove_partial(&self, path: &str) -> Result<(), TilesError> {
        let place = self.place(path)?;
        match Tile::parse(path) {
            Ok(tile) if !tile.is_full() && self.place(&tile.full().path())?.exists() => {}
            _ => return Err(TilesError::Path { path: path.to_owned() }),
        }
        match fs::remove_file(&place) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(TilesError::io(&place)(error)),
            _ => Ok(()),
        }
    }

    /// Replaces the checkpoint. The tiles it covers must be written before.
    pub fn publish_checkpoint(&self, note: &str) -> Result<(), TilesError> {
        let next = parse(note)?;
        if let Some(published) = self.checkpoint()? {
            let published = parse(&published)?;
            let same_root = next.size != published.size || next.root == published.root;
            if next.size < published.size || next.origin != published.origin || !same_root {
                return Err(TilesError::Rollback { published: published.size, offered: next.size });
            }
        }
        self.put(&self.dir.join(CHECKPOINT), note.as_bytes())?;
        sync_folder(&self.dir)
    }

    /// The published checkpoint, a signed note.
    pub fn checkpoint(&self) -> Result<Option<String>, TilesError> {
        let Some(bytes) = self.read(CHECKPOINT)? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|_| TilesError::Checkpoint("not UTF-8".to_owned()))
    }

    /// The size and root that the published checkpoint states; its signature is not checked here.
    pub fn published(&self) -> Result<Option<TreeHead>, TilesError> {
        Ok(self.checkpoint()?.map(|note| parse(&note)).transpose()?.map(|checkpoint| checkpoint.head()))
    }

    /// The tlog-proof of a leaf under the published checkpoint; none as long as that does not cover it.
    pub fn proof(&self, leaf_index: u64) -> Result<Option<String>, TilesError> {
        let Some(note) = self.checkpoint()? else { return Ok(None) };
        let size = parse(&note)?.size;
        if leaf_index >= size {
            return Ok(None);
        }
        let proof = log::prove(leaf_index, &note, size, self).map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            TilesError::Proof(format!("{error}{source}"))
        })?;
        Ok(Some(proof.render()))
    }

    /// Only paths that tlog-tiles knows have a place, so no request can walk out of the folder.
    fn place(&self, path: &str) -> Result<PathBuf, TilesError> {
        Tile::parse(path).map_err(|_| TilesError::Path { path: path.to_owned() })?;
        Ok(self.dir.join(path))
    }

    /// Temporary files lie in the log's own folder, where opening finds them.
    fn put(&self, place: &Path, bytes: &[u8]) -> Result<(), TilesError> {
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(TilesError::io(folder))?;
        }
        let number = self.tmp_next.fetch_add(1, Ordering::Relaxed);
        let tmp = self.dir.join(format!("{TMP_PREFIX}{}-{number}", std::process::id()));
        let written = (|| {
            let mut file = File::create(&tmp)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&tmp, place)
        })();
        written.map_err(|error| {
            let _ = fs::remove_file(&tmp);
            TilesError::io(place)(error)
        })
    }
}

impl TileSource for TileFiles {
    type Error = TilesError;

    fn read(&self, path: &str) -> Result<Vec<u8>, TilesError> {
        let missing = || TilesError::Io { path: self.dir.join(path), source: ErrorKind::NotFound.into() };
        TileFiles::read(self, path)?.ok_or_else(missing)
    }
}

fn parse(note: &str) -> Result<Checkpoint, TilesError> {
    let text = ledger::note::Note::parse(note).map_err(|error| TilesError::Checkpoint(error.to_string()))?;
    Checkpoint::parse(text.text()).map_err(|error| TilesError::Checkpoint(error.to_string()))
}

fn sync_folder(folder: &Path) -> Result<(), TilesError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(TilesError::io(folder))
}
