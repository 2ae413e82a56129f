//! The data folder: made whole on the first start, locked while a process runs, refused if another version wrote it.
//!
//! ```text
//! DIR/site.json      format version, site, log origin (never change)
//! DIR/lock           held by the running process
//! DIR/keys/          receipt.key, log.key, snapshot.key, pepper.key: 32 random bytes as hex, 0600
//! DIR/admin-token    0600; the operator's bearer token
//! DIR/hoheit.db      SQLite
//! DIR/journal/       intents and receipts not yet sealed
//! DIR/snapshot       the last signed snapshot, for a start without the database
//! DIR/log/           tiles and checkpoint, as served under /log/
//! DIR/models/nano/   the model that the project ships, unpacked
//! ```
//!
//! If we crash here: every file is written beside its place and renamed, `site.json` last. A folder without `site.json`
//! was never served from, and is completed; its keys are kept.

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Grows when a folder of an older version has to be converted.
const FORMAT: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SiteFile {
    pub format: u32,
    pub site: String,
    /// The log's name for ever: two installations of one site name must not share it, hence the random part.
    pub origin: String,
}

/// An opened folder; the lock is held while this lives.
pub struct Folder {
    pub dir: PathBuf,
    pub site: SiteFile,
    pub receipt_seed: [u8; 32],
    pub log_seed: [u8; 32],
    /// Signs the snapshots that the controller gives to gateways.
    pub snapshot_seed: [u8; 32],
    pub pepper: [u8; 32],
    pub admin_token: String,
    _lock: File,
}

impl Folder {
    /// Opens or makes the folder. `now` is needed once, for the log's origin.
    pub fn open(dir: &Path, site_asked: Option<&str>, now: types::UnixMillis) -> Result<Folder> {
        let private = |path: &Path| {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .with_context(|| format!("cannot make the folder {}", path.display()))
        };
        private(dir)?;
        let dir = dir.canonicalize().with_context(|| format!("cannot open the folder {}", dir.display()))?;
        let lock = lock(&dir.join("lock"))?;
        private(&dir.join("keys"))?;
        private(&dir.join("journal"))?;
        let known = read_site(&dir.join("site.json"))?;
        if let (Some(known), Some(asked)) = (&known, site_asked) {
            ensure!(
                known.site == asked,
                "this folder belongs to the site \"{}\", not \"{asked}\": leave --site out, or use another folder",
                known.site
            );
        }
        let key = |name: &str| secret(&dir.join("keys").join(name));
        let (receipt_seed, log_seed, pepper) = (key("receipt.key")?, key("log.key")?, key("pepper.key")?);
        let snapshot_seed = key("snapshot.key")?;
        let admin_token = admin_token(&dir.join("admin-token"))?;
        let site = match known {
            Some(site) => site,
            None => {
                let site = new_site(site_asked.unwrap_or("local"), now)?;
                write_private(&dir.join("site.json"), serde_json::to_string_pretty(&site)?.as_bytes())?;
                site
            }
        };
        Ok(Folder { dir, site, receipt_seed, log_seed, snapshot_seed, pepper, admin_token, _lock: lock })
    }
}

fn lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => bail!(
            "the data folder is in use by another hoheit process (it holds {}): stop that one, or use another --data",
            path.display()
        ),
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn read_site(path: &Path) -> Result<Option<SiteFile>> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let damaged = || format!("{} is damaged: restore it from a backup", path.display());
    let version: Version = serde_json::from_str(&text).with_context(damaged)?;
    ensure!(
        version.format <= FORMAT,
        "this folder has format {}, written by a newer version of hoheit; this one knows up to {FORMAT}: use the newer \
         version. Nothing was changed.",
        version.format
    );
    serde_json::from_str(&text).map(Some).with_context(damaged)
}

fn new_site(name: &str, now: types::UnixMillis) -> Result<SiteFile> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        (1..=32).contains(&name.len()) && name.chars().all(plain),
        "a site's name has 1 to 32 characters of a-z, 0-9 and -, for example de-muc1"
    );
    let mut random = [0; 10];
    fill(&mut random)?;
    let digits = types::IncarnationId::from_parts(types::UnixMillis(0), random).digits();
    let month = now.month();
    let half = if month.month <= 6 { 1 } else { 2 };
    let origin = format!("log.hoheit.invalid/{name}-{}/{}h{half}", &digits[18..], month.year);
    Ok(SiteFile { format: FORMAT, site: name.to_owned(), origin })
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| anyhow::anyhow!("the kernel gives no random bytes: {error}"))
}

/// Reads a 32-byte secret, or makes it.
fn secret(path: &Path) -> Result<[u8; 32]> {
    let text = match read_private(path)? {
        Some(text) => text,
        None => {
            let mut bytes = [0; 32];
            fill(&mut bytes)?;
            let text = ledger::hash::hex(&bytes);
            write_private(path, text.as_bytes())?;
            text
        }
    };
    ledger::hash::from_hex(text.trim())
        .and_then(|bytes| bytes.try_into().ok())
        .with_context(|| format!("{} does not hold 64 hex digits: restore it from a backup", path.display()))
}

fn admin_token(path: &Path) -> Result<String> {
    if let Some(text) = read_private(path)? {
        let token = text.trim().to_owned();
        ensure!(!token.is_empty(), "{} is empty: remove it, and the next start makes a new one", path.display());
        return Ok(token);
    }
    let mut bytes = [0; 32];
    fill(&mut bytes)?;
    let token = controller::secret::admin_token(&bytes);
    write_private(path, token.as_bytes())?;
    Ok(token)
}

fn read_private(path: &Path) -> Result<Option<String>> {
    let mut text = String::new();
    match File::open(path) {
        Ok(mut file) => {
            file.read_to_string(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
            Ok(Some(text))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes beside the place and renames: the file is there whole or not at all, and nobody else can read it.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::UnixMillis;

    const NOW: UnixMillis = UnixMillis(1_795_996_799_999);

    #[test]
    fn a_folder_keeps_its_keys_and_is_locked() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::open(dir.path(), Some("de-muc1"), NOW).unwrap();
        assert!(first.site.origin.ends_with("/2026h2"), "{}", first.site.origin);
        let second = Folder::open(dir.path(), None, NOW).err().unwrap().to_string();
        assert!(second.contains("in use by another hoheit process"), "{second}");
        let (seed, token) = (first.receipt_seed, first.admin_token.clone());
        drop(first);
        let again = Folder::open(dir.path(), Some("de-muc1"), NOW).unwrap();
        assert_eq!((again.receipt_seed, &again.admin_token), (seed, &token));
        drop(again);
        assert!(Folder::open(dir.path(), Some("other"), NOW).is_err());
    }

    #[test]
    fn secrets_are_for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        drop(Folder::open(dir.path(), None, NOW).unwrap());
        for name in ["admin-token", "keys/receipt.key", "keys/log.key", "keys/pepper.key"] {
            let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
        }
    }

    #[test]
    fn a_newer_folder_and_a_damaged_one_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(Folder::open(dir.path(), None, NOW).unwrap());
        let site = dir.path().join("site.json");
        fs::write(&site, r#"{"format":2,"site":"local","origin":"x"}"#).unwrap();
        let error = Folder::open(dir.path(), None, NOW).err().unwrap().to_string();
        assert!(error.contains("newer version"), "{error}");
        fs::write(&site, "{").unwrap();
        assert!(Folder::open(dir.path(), None, NOW).err().unwrap().to_string().contains("damaged"));
    }
}
