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
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const CHECKPOINT: &str = "checkpoint";
const TMP_PREFIX: &str = ".tmp-";

/// Files open at once in a batch: far below the usual limit of 1,024. A seal of 10,000 leaves writes about 80.
const OPEN_MAX: usize = 128;

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

    /// Writes many: all contents first, then one sync after the other, which lets the file system put them into few commits
    /// of its own, then all renames. After `Ok` all are durable; after a crash any of them may be there, each whole.
    pub fn write_all<'a>(&self, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<(), TilesError> {
        let files: Vec<(&str, &[u8])> = files.into_iter().collect();
        let mut folders = BTreeSet::new();
        for files in files.chunks(OPEN_MAX) {
            let mut drafts = Vec::with_capacity(files.len());
            for (path, bytes) in files {
                let place = self.place(path)?;
                // Also of a file that is there: a crash may have come before its folder was synced.
                let above = place.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.dir));
                folders.extend(above.map(Path::to_owned));
                match fs::read(&place) {
                    Ok(there) if there == *bytes => {}
                    Ok(_) => return Err(TilesError::Differs { path: (*path).to_owned() }),
                    Err(error) if error.kind() == ErrorKind::NotFound => drafts.push(self.draft(place, bytes)?),
                    Err(error) => return Err(TilesError::io(&place)(error)),
                }
            }
            drafts.iter().try_for_each(Draft::sync)?;
            drafts.into_iter().try_for_each(Draft::put)?;
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

    /// Deletes every partial tile or bundle of the place of `path`, a partial one that a full one has replaced. Slow traffic
    /// leaves up to 255 of them, a file each; fast traffic one or none, so the folder is read and not each width tried.
    /// Deleting what is gone is fine.
    pub fn remove_partials(&self, path: &str) -> Result<(), TilesError> {
        let place = self.place(path)?;
        match Tile::parse(path) {
            Ok(tile) if !tile.is_full() && self.place(&tile.full().path())?.exists() => {}
            _ => return Err(TilesError::Path { path: path.to_owned() }),
        }
        let Some(folder) = place.parent() else { return Err(TilesError::Path { path: path.to_owned() }) };
        let names = match fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            names => names.map_err(TilesError::io(folder))?,
        };
        for name in names {
            let file = name.map_err(TilesError::io(folder))?.path();
            match fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(TilesError::io(&file)(error)),
                _ => {}
            }
        }
        match fs::remove_dir(folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(TilesError::io(folder)(error)),
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
        let draft = self.draft(self.dir.join(CHECKPOINT), note.as_bytes())?;
        draft.sync()?;
        draft.put()?;
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

    /// Writes the content beside the log's files, in the log's own folder, where the next open finds what a crash left.
    fn draft(&self, place: PathBuf, bytes: &[u8]) -> Result<Draft, TilesError> {
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(TilesError::io(folder))?;
        }
        let number = self.tmp_next.fetch_add(1, Ordering::Relaxed);
        let tmp = self.dir.join(format!("{TMP_PREFIX}{}-{number}", std::process::id()));
        let mut file = File::create(&tmp).map_err(TilesError::io(&tmp))?;
        file.write_all(bytes).map_err(TilesError::io(&tmp))?;
        Ok(Draft { tmp, place, file })
    }
}

/// A file that is written and not yet in its place. Dropped before it is, it leaves a temporary file to the next open.
struct Draft {
    tmp: PathBuf,
    place: PathBuf,
    file: File,
}

impl Draft {
    fn sync(&self) -> Result<(), TilesError> {
        self.file.sync_all().map_err(TilesError::io(&self.place))
    }

    /// Only after [`Draft::sync`], else a crash could leave an empty file in the place.
    fn put(self) -> Result<(), TilesError> {
        fs::rename(&self.tmp, &self.place).map_err(TilesError::io(&self.place))
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

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::hash::Hash;
    use ledger::key::SigningKey;
    use ledger::log::{LogSigner, append};
    use ledger::proof::{Policy, TlogProof};

    fn leaf(n: u64) -> Hash {
        ledger::hash::sha256(&[&n.to_be_bytes()])
    }

    fn signer(origin: &str) -> LogSigner {
        LogSigner::new(origin, SigningKey::from_seed(&[1; 32]).unwrap()).unwrap()
    }

    /// Appends leaves and publishes, as the sealer does; answers what was written.
    fn grow(files: &TileFiles, to: u64) -> Vec<(String, Vec<u8>)> {
        let old = files.published().unwrap().unwrap_or(TreeHead { size: 0, root: ledger::hash::EMPTY_ROOT });
        let leaves: Vec<Hash> = (old.size..to).map(leaf).collect();
        let appended = append(&old, files, &leaves).unwrap();
        files.write_all(appended.files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()))).unwrap();
        files.publish_checkpoint(&signer("log.example/a").checkpoint(&appended.head)).unwrap();
        appended.obsolete.iter().for_each(|path| files.remove_partials(path).unwrap());
        appended.files
    }

    #[test]
    fn every_leaf_has_a_proof_at_every_size() {
        let dir = tempfile::tempdir().unwrap();
        let files = TileFiles::open(dir.path().join("log")).unwrap();
        assert_eq!(files.proof(0).unwrap(), None);
        for size in [1, 2, 255, 256, 257, 511, 700] {
            grow(&files, size);
            for index in (0..size).filter(|index| index % 37 == 0 || index + 2 > size) {
                let proof = TlogProof::parse(&files.proof(index).unwrap().unwrap()).unwrap();
                proof.verify(&leaf(index), signer("log.example/a").vkey(), &Policy::none()).unwrap();
                assert!(proof.verify(&leaf(index + 1), signer("log.example/a").vkey(), &Policy::none()).is_err());
            }
            assert_eq!(files.proof(size).unwrap(), None);
        }
    }

    #[test]
    fn a_tile_never_changes() {
        let dir = tempfile::tempdir().unwrap();
        let files = TileFiles::open(dir.path()).unwrap();
        files.write("tile/0/000.p/1", &[1; 32]).unwrap();
        files.write("tile/0/000.p/1", &[1; 32]).unwrap();
        let other = files.write("tile/0/000.p/1", &[2; 32]);
        assert!(matches!(other, Err(TilesError::Differs { .. })), "{other:?}");
        assert_eq!(files.read("tile/0/000.p/1").unwrap(), Some(vec![1; 32]));
    }

    #[test]
    fn nothing_outside_the_folder_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        let files = TileFiles::open(dir.path().join("log")).unwrap();
        for path in ["../secret", "tile/../../secret", "/etc/passwd", "tile/0/000/../../../secret", "", "tile", "."] {
            assert_eq!(files.read(path).unwrap(), None, "{path}");
            assert!(matches!(files.write(path, b"y"), Err(TilesError::Path { .. })), "{path}");
        }
        assert!(matches!(files.write("checkpoint", b"y"), Err(TilesError::Path { .. })));
        assert_eq!(std::fs::read(dir.path().join("secret")).unwrap(), b"x");
    }

    #[test]
    fn the_checkpoint_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let files = TileFiles::open(dir.path()).unwrap();
        grow(&files, 5);
        let head = files.published().unwrap().unwrap();
        let signed = |size, root| signer("log.example/a").checkpoint(&TreeHead { size, root });
        files.publish_checkpoint(&signed(5, head.root)).unwrap();
        for (why, note) in [
            ("smaller", signed(4, head.root)),
            ("same size, other root", signed(5, leaf(1))),
            ("other log", signer("log.example/b").checkpoint(&TreeHead { size: 6, root: head.root })),
        ] {
            let refused = files.publish_checkpoint(&note);
            assert!(matches!(refused, Err(TilesError::Rollback { published: 5, .. })), "{why}: {refused:?}");
        }
        assert!(matches!(files.publish_checkpoint("not a note"), Err(TilesError::Checkpoint(_))));
        assert_eq!(files.published().unwrap(), Some(head));
    }

    #[test]
    fn a_crash_leaves_only_what_the_next_open_removes() {
        let dir = tempfile::tempdir().unwrap();
        grow(&TileFiles::open(dir.path()).unwrap(), 3);
        std::fs::write(dir.path().join(".tmp-1-1"), "half").unwrap();
        let files = TileFiles::open(dir.path()).unwrap();
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "checkpoint" || name == "tile"), "{left:?}");
        assert!(files.proof(2).unwrap().is_some());
    }

    #[test]
    fn only_a_replaced_partial_tile_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let files = TileFiles::open(dir.path()).unwrap();
        grow(&files, 200);
        assert!(files.remove_partials("tile/0/000.p/200").is_err(), "nothing replaces it yet");
        std::fs::write(dir.path().join("tile/0/000.p/100"), "an older one").unwrap();
        grow(&files, 256);
        assert_eq!(files.read("tile/0/000.p/200").unwrap(), None);
        assert!(!dir.path().join("tile/0/000.p").exists(), "whatever its width");
        assert!(files.remove_partials("tile/0/000").is_err());
        files.remove_partials("tile/0/000.p/200").unwrap();
    }

    #[test]
    fn a_damaged_tile_gives_no_proof() {
        let dir = tempfile::tempdir().unwrap();
        let files = TileFiles::open(dir.path()).unwrap();
        grow(&files, 300);
        std::fs::write(dir.path().join("tile/0/000"), [0; 31]).unwrap();
        assert!(matches!(files.proof(280), Ok(Some(_))), "another tile's leaf needs only the tile above");
        assert!(matches!(files.proof(3), Err(TilesError::Proof(_))));
        std::fs::remove_file(dir.path().join("tile/0/000")).unwrap();
        let error = files.proof(3).unwrap_err();
        assert!(error.to_string().contains("tile/0/000"), "{error}");
    }
}
