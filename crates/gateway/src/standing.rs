//! How long the present snapshot may be served, and where it is kept for a start without the store.
//!
//! The controller signs each snapshot with a time for which it is good and renews it while it can read the store. The
//! gateway takes none that is not signed by its site's key, is another site's, or is older than what it serves. Without
//! renewal (the store is away) it serves on until that time is over, and then nothing at all: a key that was revoked
//! meanwhile would not be known. Inside the process the time is measured monotonically from the snapshot's arrival, so a
//! wall clock that is set back buys nothing; after a restart only the wall clock is there, and it is not believed where
//! it stands before the moment at which the snapshot was issued.
//!
//! If we crash here: the copy on disk is written beside its place and renamed, so it is the old one or the new one.

use crate::clock::Clock;
use crate::view::ViewError;
use ledger::snapshot::SnapshotError;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use types::snapshot::Issued;
use types::{Snapshot, UnixMillis};

/// Why a snapshot was not taken. The present one stays.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Signed(#[from] SnapshotError),
    #[error("the snapshot is of the site \"{0}\"")]
    OtherSite(String),
    #[error("the snapshot (version {version}) is older than the one in force")]
    Older { version: u64 },
    #[error("the snapshot's time is over, or has not begun by this machine's clock")]
    OutOfTime,
    #[error(transparent)]
    View(#[from] ViewError),
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Present {
    site: String,
    version: u64,
    issued_at: UnixMillis,
}

pub struct Standing {
    public: [u8; 32],
    file: Option<PathBuf>,
    /// The end, on the monotonic clock: one load and one reading of the clock for each request.
    until: AtomicU64,
    present: Mutex<Option<Present>>,
}

/// A snapshot that may come into force, while no other does.
pub struct Taken<'a> {
    standing: &'a Standing,
    present: MutexGuard<'a, Option<Present>>,
    next: Present,
    until: u64,
    /// What is new, if anything but the time is.
    pub snapshot: Option<Snapshot>,
}

impl Standing {
    pub fn new(public: [u8; 32], file: Option<PathBuf>) -> Self {
        Standing { public, file, until: AtomicU64::new(0), present: Mutex::default() }
    }

    /// Checks a signed snapshot against the key and against what is in force.
    pub fn take(&self, signed: &[u8], clock: &dyn Clock) -> Result<Taken<'_>, PublishError> {
        let Issued { issued_at, expires_at, snapshot } = ledger::snapshot::open(signed, &self.public)?;
        let present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Present { site: snapshot.site.clone(), version: snapshot.version, issued_at };
        let ttl = u64::try_from(expires_at.0.saturating_sub(issued_at.0)).unwrap_or_default();
        let (left, new) = match &*present {
            Some(old) if old.site != next.site => return Err(PublishError::OtherSite(next.site)),
            Some(old) if (old.version, old.issued_at) > (next.version, next.issued_at) => {
                return Err(PublishError::Older { version: next.version });
            }
            // The same once more has lost the time that it has stood.
            Some(old) if old.issued_at == next.issued_at => {
                (self.left(clock.monotonic_millis()), old.version < next.version)
            }
            Some(old) => (ttl, old.version < next.version),
            // The first one may have lain on the disk for long, and only the wall clock says how long.
            None => (remaining(clock.now(), issued_at, expires_at).ok_or(PublishError::OutOfTime)?, true),
        };
        let until = clock.monotonic_millis().saturating_add(left);
        Ok(Taken { standing: self, present, next, until, snapshot: new.then_some(snapshot) })
    }

    /// Whether requests may still be judged by it.
    pub fn holds(&self, monotonic: u64) -> bool {
        monotonic < self.until.load(Ordering::Relaxed)
    }

    /// Milliseconds for which it still holds.
    pub fn left(&self, monotonic: u64) -> u64 {
        self.until.load(Ordering::Relaxed).saturating_sub(monotonic)
    }
}

fn remaining(now: UnixMillis, issued_at: UnixMillis, expires_at: UnixMillis) -> Option<u64> {
    let left = u64::try_from(expires_at.0.saturating_sub(now.0)).ok().filter(|left| *left > 0)?;
    (now.0.saturating_add(crate::wall::JUMP_MAX.as_millis() as i64) >= issued_at.0).then_some(left)
}

impl Taken<'_> {
    /// It is served from now on. The copy is for a start without the store: that it cannot be written is no reason not to
    /// serve.
    pub fn stand(mut self, signed: &[u8]) {
        if let Some(file) = &self.standing.file
            && let Err(error) = write(file, signed)
        {
            tracing::warn!(%error, "the snapshot could not be kept beside the journal: a start without the store will fail");
        }
        *self.present = Some(self.next);
        self.standing.until.store(self.until, Ordering::Relaxed);
    }
}

/// It holds engine credentials: for its owner alone.
fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut written = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    written.write_all(bytes)?;
    written.sync_all()?;
    std::fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::key::SigningKey;
    use std::sync::atomic::AtomicI64;

    #[derive(Default)]
    struct Hands {
        wall: AtomicI64,
        monotonic: AtomicU64,
    }

    impl Clock for Hands {
        fn now(&self) -> UnixMillis {
            UnixMillis(self.wall.load(Ordering::Relaxed))
        }

        fn monotonic_millis(&self) -> u64 {
            self.monotonic.load(Ordering::Relaxed)
        }

        fn random(&self, _: &mut [u8]) {}
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&[5; 32]).unwrap()
    }

    fn signed(version: u64, issued_at: i64) -> Vec<u8> {
        let snapshot = Snapshot { version, site: "s".to_owned(), ..Snapshot::default() };
        let (issued_at, expires_at) = (UnixMillis(issued_at), UnixMillis(issued_at + 1_000));
        ledger::snapshot::sign(&Issued { issued_at, expires_at, snapshot }, &key())
    }

    fn take(standing: &Standing, signed: &[u8], clock: &Hands) -> Result<bool, String> {
        let taken = standing.take(signed, clock).map_err(|error| error.to_string())?;
        let new = taken.snapshot.is_some();
        taken.stand(signed);
        Ok(new)
    }

    #[test]
    fn f16_only_what_is_signed_and_not_older_comes_into_force() {
        let clock = Hands::default();
        let standing = Standing::new(key().public(), None);
        assert!(!standing.holds(0), "nothing is in force yet");
        assert_eq!(take(&standing, &signed(2, 0), &clock), Ok(true));
        // A renewal brings time and nothing new; the same again brings nothing.
        assert_eq!(take(&standing, &signed(2, 10), &clock), Ok(false));
        assert_eq!(take(&standing, &signed(2, 10), &clock), Ok(false));
        let held = standing.left(0);
        clock.monotonic.store(400, Ordering::Relaxed);
        assert_eq!(take(&standing, &signed(2, 10), &clock), Ok(false));
        assert_eq!(standing.left(400), held - 400, "the same again brings no time");
        assert!(take(&standing, &signed(2, 9), &clock).unwrap_err().contains("older"));
        assert!(take(&standing, &signed(1, 50), &clock).unwrap_err().contains("older"));
        let mut forged = signed(3, 50);
        *forged.last_mut().unwrap() ^= 1;
        assert!(take(&standing, &forged, &clock).unwrap_err().contains("not signed"));
        assert_eq!(take(&standing, &signed(3, 50), &clock), Ok(true));
    }

    #[test]
    fn f16_its_time_is_measured_monotonically() {
        let clock = Hands::default();
        let standing = Standing::new(key().public(), None);
        assert_eq!(take(&standing, &signed(1, 0), &clock), Ok(true));
        // The wall clock is set back by an hour: that buys nothing.
        clock.wall.store(-3_600_000, Ordering::Relaxed);
        assert!(standing.holds(999) && !standing.holds(1_000));
        clock.monotonic.store(700, Ordering::Relaxed);
        assert_eq!(take(&standing, &signed(1, 1), &clock), Ok(false));
        assert!(standing.holds(1_699) && !standing.holds(1_700));
    }

    #[test]
    fn f16_a_copy_from_the_disk_has_only_what_is_left_of_its_time() {
        let read_at = |wall: i64| {
            let clock = Hands::default();
            clock.wall.store(wall, Ordering::Relaxed);
            let standing = Standing::new(key().public(), None);
            take(&standing, &signed(1, 1_000_000), &clock).map(|_| standing.left(0))
        };
        assert_eq!(read_at(1_000_400), Ok(600));
        assert!(read_at(1_001_000).is_err(), "its time is over");
        assert!(read_at(0).is_err(), "this clock stands before the snapshot was issued");
    }
}
