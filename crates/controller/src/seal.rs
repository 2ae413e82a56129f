//! The sealer: one per site, it appends receipts to the log in the store's order and signs what the log now says.
//!
//! The steps, and what a crash after each leaves behind:
//!
//! 1. read the unsealed leaves: nothing changed;
//! 2. write tiles and entry bundles, synced: files that no checkpoint covers; the next run writes the same bytes again,
//!    since places in the log are given once and an append is a function of the old tree and the leaves;
//! 3. sign the checkpoint: nothing changed, signing is deterministic;
//! 4. `store.seal`, fenced by the old size: the log has grown; a second sealer would be refused here;
//! 5. publish the checkpoint file: [`recover`] publishes it from the store at the next start;
//! 6. delete partial tiles that full ones replace: some are left, which costs disk and nothing else.
//!
//! What it is not: it computes no hash (`ledger::log`) and picks no order (`store`). If tiles and checkpoint contradict
//! each other it stops and says so: a log that was shown in two versions is worse than one that stands still.

use ledger::checkpoint::{Checkpoint, CheckpointError};
use ledger::hash::Hash;
use ledger::log::{AppendError, LEAVES_MAX, LogSigner};
use ledger::tile::{Tile, TileError, TileLevel};
use ledger::tree::TreeHead;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use store::tiles::{TileFiles, TilesError};
use store::{SealError, Store, StoreError};

mod progress;
mod recover;

pub use progress::Progress;
pub use recover::recover;

/// The shortest time between two checkpoints: four a second. Each costs about five fsyncs, so a disk with 1 ms an fsync is
/// busy 2 % of the time, and a receipt waits 250 ms at most for its proof.
pub const INTERVAL: Duration = Duration::from_millis(250);

/// Leaves per checkpoint: 16,384 every 250 ms are 65,536 receipts a second, six times what one site is asked for;
/// 16,384 x 34 bytes of bundles and 32 of hashes are 1 MB of files.
pub const BATCH_LEAVES_MAX: u32 = 16_384;

const _: () = assert!(BATCH_LEAVES_MAX as usize <= LEAVES_MAX);

/// How long to wait after an error that may pass.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Where a test may break off.
#[derive(Debug)]
pub enum Step<'a> {
    /// Leaves are read; these files will be written.
    Appended {
        files: &'a [(String, Vec<u8>)],
    },
    TilesWritten,
    Signed,
    Sealed,
    Published,
}

/// Asked after each step; `Break` ends the run there as a crash would.
pub type FaultHook = Arc<dyn Fn(&Step<'_>) -> ControlFlow<()> + Send + Sync>;

/// What the sealer works with.
#[derive(Clone)]
pub struct SealerParts {
    pub store: Store,
    pub tiles: TileFiles,
    pub signer: Arc<LogSigner>,
    /// Told after each turn.
    pub progress: Progress,
    /// For tests; none in production.
    pub fault: Option<FaultHook>,
}

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealFailure {
    /// Tiles, store and published checkpoint contradict each other. No retry helps: stop, keep everything, call somebody.
    #[error("the log contradicts itself: {0}")]
    Fork(String),
    /// Another sealer was faster; the next run goes on from where it ended.
    #[error(transparent)]
    Fenced(SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Tiles(TilesError),
    /// A test's hook broke off.
    #[error("broken off by a test")]
    BrokenOff,
}

impl SealFailure {
    /// Whether the sealer must stop.
    pub fn is_fork(&self) -> bool {
        matches!(self, SealFailure::Fork(_))
    }

    fn fork(cause: impl std::fmt::Display) -> Self {
        SealFailure::Fork(cause.to_string())
    }
}

impl From<TilesError> for SealFailure {
    fn from(error: TilesError) -> Self {
        match error {
            TilesError::Io { .. } => SealFailure::Tiles(error),
            other => SealFailure::fork(other),
        }
    }
}

impl From<SealError> for SealFailure {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Store(error) => SealFailure::Store(error),
            SealError::Fenced { .. } => SealFailure::Fenced(error),
            SealError::Places { .. } => SealFailure::fork(error),
        }
    }
}

impl From<TileError<TilesError>> for SealFailure {
    fn from(error: TileError<TilesError>) -> Self {
        match error {
            TileError::Read { source, .. } => source.into(),
            other => SealFailure::fork(other),
        }
    }
}

impl From<AppendError<TilesError>> for SealFailure {
    fn from(error: AppendError<TilesError>) -> Self {
        match error {
            AppendError::Tile(error) => error.into(),
            other => SealFailure::fork(other),
        }
    }
}

impl From<CheckpointError> for SealFailure {
    fn from(error: CheckpointError) -> Self {
        SealFailure::fork(error)
    }
}

impl SealerParts {
    fn at(&self, step: Step<'_>) -> Result<(), SealFailure> {
        match self.fault.as_ref().map(|fault| fault(&step)) {
            Some(ControlFlow::Break(())) => Err(SealFailure::BrokenOff),
            _ => Ok(()),
        }
    }

    /// The sealed tree, and its note; the store's word, checked against our key.
    async fn head(&self) -> Result<Option<(TreeHead, String)>, SealFailure> {
        let Some((size, note)) = self.store.tree_head().await? else { return Ok(None) };
        let checkpoint = Checkpoint::open(&note, self.signer.vkey())?;
        if checkpoint.size != size {
            return Err(SealFailure::fork(format!(
                "the store has sealed {size} leaves, its checkpoint says {}",
                checkpoint.size
            )));
        }
        Ok(Some((checkpoint.head(), note)))
    }
}

/// File work on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SealFailure> + Send + 'static,
) -> Result<T, SealFailure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Seals one batch; answers how many leaves. [`recover`] must have run before.
pub async fn seal_once(parts: &SealerParts) -> Result<usize, SealFailure> {
    let rows = parts.store.unsealed(BATCH_LEAVES_MAX).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let old = parts.head().await?.map_or(TreeHead::EMPTY, |(head, _)| head);
    let (ords, leaves): (Vec<u64>, Vec<Hash>) = rows.into_iter().map(|(ord, leaf)| (ord, Hash(leaf))).unzip();
    if ords.first() != Some(&old.size) {
        // Another sealer has sealed between our two reads; its word is in the store by now.
        return Ok(0);
    }
    let (sealer, count) = (parts.clone(), leaves.len());
    let (head, obsolete) = blocking(move || {
        let appended = ledger::log::append(&old, &sealer.tiles, &leaves)?;
        sealer.at(Step::Appended { files: &appended.files })?;
        sealer.tiles.write_all(appended.files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())))?;
        sealer.at(Step::TilesWritten)?;
        Ok((appended.head, appended.obsolete))
    })
    .await?;
    let note = parts.signer.checkpoint(&head);
    parts.at(Step::Signed)?;
    parts.store.seal(old.size, &ords, head.size, &note).await?;
    parts.at(Step::Sealed)?;
    let sealer = parts.clone();
    blocking(move || {
        sealer.tiles.publish_checkpoint(&note)?;
        sealer.at(Step::Published)?;
        sweep(&sealer.tiles, &obsolete)
    })
    .await?;
    Ok(count)
}

/// Deletes every partial tile of the places that are full now.
fn sweep(tiles: &TileFiles, obsolete: &[String]) -> Result<(), SealFailure> {
    Ok(obsolete.iter().try_for_each(|path| tiles.remove_partials(path))?)
}

/// Seals until told to stop, and once more then. Ends early only with a fork.
pub async fn run(parts: SealerParts, shutdown: impl Future<Output = ()> + Send) -> Result<(), SealFailure> {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut recovered = false;
    let mut stopping = false;
    loop {
        let begun = tokio::time::Instant::now();
        let turn = async {
            if !recovered {
                recover(&parts).await?;
                recovered = true;
            }
            let count = seal_once(&parts).await?;
            parts.progress.sealed(count, count < BATCH_LEAVES_MAX as usize);
            Ok(count)
        };
        let pause = match turn.await {
            Ok(count) if stopping && count < BATCH_LEAVES_MAX as usize => return Ok(()),
            // Also after a full batch, when more is waiting, so that readers can keep up; from one beginning to the next, so
            // that a slow disk does not lower what is sealed in a second as long as it can follow.
            Ok(_) => INTERVAL.saturating_sub(begun.elapsed()),
            Err(failure) if failure.is_fork() => {
                tracing::error!(%failure, "sealing stopped; nothing was overwritten");
                return Err(failure);
            }
            Err(failure) if stopping => {
                tracing::warn!(%failure, "not everything is sealed; the next start goes on");
                return Ok(());
            }
            Err(SealFailure::Fenced(_)) => INTERVAL,
            Err(failure) => {
                tracing::warn!(%failure, "sealing failed and is tried again");
                RETRY_AFTER
            }
        };
        if !stopping {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = &mut shutdown => stopping = true,
            }
        }
    }
}

/// For [`recover`]: the places that a tree of this size has on one level.
fn widths(count: u64) -> impl Iterator<Item = (u64, u16)> {
    (0..count.div_ceil(256)).map(move |index| (index, (count - index * 256).min(256) as u16))
}

/// Says which file is meant, in words for people.
fn named(tile: Tile) -> String {
    match tile.level {
        TileLevel::Entries => format!("entry bundle {}", tile.path()),
        TileLevel::Hashes(_) => format!("tile {}", tile.path()),
    }
}
