//! The sealer broken off after every step, and over files and databases that contradict each other.

use crate::site::Site;
use controller::seal::{SealFailure, SealerParts, Step, recover, run, seal_once};
use ledger::checkpoint::Checkpoint;
use ledger::hash::Hash;
use ledger::tile::TileHashes;
use ledger::tree::{self, TreeHead};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Checks everything that holds at all times: the published checkpoint is ours, is no larger than the store's, extends
/// what was seen before, and its tiles prove every leaf that it covers.
fn hold(site: &Site, seen: &mut TreeHead) {
    let Some(note) = site.tiles.checkpoint().unwrap() else { return };
    let head = Checkpoint::open(&note, site.signer.vkey()).unwrap().head();
    let hashes = TileHashes { source: &site.tiles, size: head.size };
    assert_eq!(tree::root(head.size, &hashes).unwrap(), head.root);
    let path = tree::consistency_proof(seen.size, head.size, &hashes).unwrap();
    tree::verify_consistency(seen, &head, &path).unwrap();
    *seen = head;
}

async fn prove_all(site: &Site, count: u64) {
    let note = site.tiles.checkpoint().unwrap().unwrap();
    let head = Checkpoint::open(&note, site.signer.vkey()).unwrap().head();
    assert_eq!(head.size, count);
    assert_eq!(site.store.tree_head().await.unwrap().unwrap(), (count, note));
    let hashes = TileHashes { source: &site.tiles, size: head.size };
    for index in 0..count {
        let bundle = ledger::tile::Tile::entries(index / 256, (count - index / 256 * 256).min(256) as u16);
        let entries = ledger::tile::read_entries(&site.tiles, bundle).unwrap();
        let leaf = ledger::hash::leaf_hash(&entries[(index % 256) as usize]);
        let path = tree::inclusion_proof(index, count, &hashes).unwrap();
        tree::verify_inclusion(&leaf, index, &head, &path).unwrap();
    }
}

/// A sealer that breaks off at its `at`-th step, counted over all runs; half of the files are written before the first.
fn breaking(site: &Site, at: usize) -> SealerParts {
    let (steps, tiles) = (AtomicUsize::new(0), site.tiles.clone());
    let fault = move |step: &Step<'_>| {
        if steps.fetch_add(1, Ordering::Relaxed) != at {
            return ControlFlow::Continue(());
        }
        if let Step::Appended { files } = step {
            for (path, bytes) in files.iter().take(files.len() / 2) {
                tiles.write(path, bytes).unwrap();
            }
        }
        ControlFlow::Break(())
    };
    SealerParts { fault: Some(Arc::new(fault)), ..site.sealer() }
}

#[tokio::test]
async fn a_crash_after_any_step_loses_and_forks_nothing() {
    // Two batches of five steps each, the second across a full tile; one more run without a crash.
    for at in 0..10 {
        let site = Site::start().await;
        let mut seen = TreeHead::EMPTY;
        recover(&site.sealer()).await.unwrap();
        let sealer = breaking(&site, at);
        let mut broke = 0;
        for count in [200, 100] {
            site.receipts(count).await;
            match seal_once(&sealer).await {
                Ok(sealed) => assert!(sealed > 0, "{at}"),
                Err(SealFailure::BrokenOff) => {
                    broke += 1;
                    hold(&site, &mut seen);
                    recover(&site.sealer()).await.unwrap();
                }
                Err(failure) => panic!("step {at}: {failure}"),
            }
            hold(&site, &mut seen);
        }
        assert_eq!(broke, 1, "step {at} was never reached");
        site.receipts(1).await;
        seal_once(&site.sealer()).await.unwrap();
        hold(&site, &mut seen);
        prove_all(&site, 301).await;
    }
}

#[tokio::test]
async fn partial_tiles_go_once_the_full_one_is_there() {
    let site = Site::start().await;
    recover(&site.sealer()).await.unwrap();
    for count in [10, 20, 200, 100] {
        site.receipts(count).await;
        seal_once(&site.sealer()).await.unwrap();
    }
    let count = |path: &str| std::fs::read_dir(site.tiles.dir().join(path)).map_or(0, Iterator::count);
    assert_eq!((count("tile/0/000.p"), count("tile/entries/000.p")), (0, 0));
    assert_eq!((count("tile/0/001.p"), count("tile/1/000.p")), (1, 1));
    prove_all(&site, 330).await;
}

#[tokio::test]
async fn an_empty_log_has_a_checkpoint() {
    let site = Site::start().await;
    assert_eq!(recover(&site.sealer()).await.unwrap(), TreeHead::EMPTY);
    assert_eq!(seal_once(&site.sealer()).await.unwrap(), 0);
    let checkpoint = Checkpoint::open(&site.tiles.checkpoint().unwrap().unwrap(), site.signer.vkey()).unwrap();
    assert_eq!(checkpoint.head(), TreeHead::EMPTY);
}

/// Seals 300 leaves, does something to the site, and starts again.
async fn after(change: impl FnOnce(&Site)) -> (Site, Result<TreeHead, SealFailure>) {
    let site = Site::start().await;
    recover(&site.sealer()).await.unwrap();
    site.receipts(300).await;
    seal_once(&site.sealer()).await.unwrap();
    change(&site);
    let result = recover(&site.sealer()).await;
    (site, result)
}

fn flip(site: &Site, path: &str) {
    let path = site.tiles.dir().join(path);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}

#[tokio::test]
async fn lost_hash_tiles_and_checkpoints_are_made_again() {
    let (site, result) = after(|site| {
        for path in ["tile/0/000", "tile/1/000.p/1", "tile/0/001.p/44", "checkpoint"] {
            std::fs::remove_file(site.tiles.dir().join(path)).unwrap();
        }
    })
    .await;
    assert_eq!(result.unwrap().size, 300);
    prove_all(&site, 300).await;
}

#[tokio::test]
async fn f18_files_that_contradict_the_signed_root_stop_the_sealer() {
    for path in ["tile/0/000", "tile/0/001.p/44", "tile/entries/000", "tile/entries/001.p/44"] {
        let (_site, result) = after(|site| flip(site, path)).await;
        assert!(result.as_ref().is_err_and(SealFailure::is_fork), "{path}: {result:?}");
    }
    let (_site, result) = after(|site| std::fs::remove_file(site.tiles.dir().join("tile/entries/000")).unwrap()).await;
    assert!(result.is_err_and(|failure| failure.is_fork()));
    // Entries and tiles that agree with each other, but not with what was signed.
    let (site, result) = after(|site| {
        flip(site, "tile/entries/001.p/44");
        std::fs::remove_file(site.tiles.dir().join("tile/0/001.p/44")).unwrap();
    })
    .await;
    let failure = result.unwrap_err();
    assert!(failure.is_fork() && failure.to_string().contains("root"), "{failure}");
    // And the task ends with it instead of sealing on.
    let ended = run(site.sealer(), std::future::pending()).await;
    assert!(ended.is_err_and(|failure| failure.is_fork()));
}

#[tokio::test]
async fn f18_a_database_older_than_the_published_log_stops_the_sealer() {
    let (published, result) = after(|_| {}).await;
    result.unwrap();
    let older = Site::start().await;
    let parts = SealerParts { tiles: published.tiles.clone(), ..older.sealer() };
    assert!(recover(&parts).await.is_err_and(|failure| failure.is_fork()));
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the fault is a plain function on a thread that blocks anyway")]
async fn of_two_sealers_one_is_fenced_off() {
    let site = Site::start().await;
    recover(&site.sealer()).await.unwrap();
    site.receipts(5).await;
    // The second one comes while the first has written its tiles and not sealed.
    let (other, store) = (site.sealer(), site.store.clone());
    let handle = tokio::runtime::Handle::current();
    let fault = move |step: &Step<'_>| {
        if matches!(step, Step::TilesWritten) {
            let other = other.clone();
            let store = store.clone();
            handle.block_on(async move {
                assert_eq!(seal_once(&other).await.unwrap(), 5);
                assert_eq!(store.tree_head().await.unwrap().unwrap().0, 5);
            });
        }
        ControlFlow::Continue(())
    };
    let slow = SealerParts { fault: Some(Arc::new(fault)), ..site.sealer() };
    assert!(matches!(seal_once(&slow).await, Err(SealFailure::Fenced(_))));
    prove_all(&site, 5).await;
}

#[tokio::test]
async fn f18_another_logs_checkpoint_in_the_store_is_refused() {
    let site = Site::start().await;
    let key = ledger::key::SigningKey::from_seed(&[9; 32]).unwrap();
    let other = ledger::log::LogSigner::new("log.hoheit.invalid/other/2026h2", key).unwrap();
    site.store.seal(0, &[], 0, &other.checkpoint(&TreeHead::EMPTY)).await.unwrap();
    assert!(recover(&site.sealer()).await.is_err_and(|failure| failure.is_fork()));
    let forged = TreeHead { size: 0, root: Hash::ZERO };
    site.store.seal(0, &[], 0, &site.signer.checkpoint(&forged)).await.unwrap();
    assert!(recover(&site.sealer()).await.is_err_and(|failure| failure.is_fork()));
}

#[tokio::test]
async fn the_task_seals_what_is_there_before_it_stops() {
    let site = Site::start().await;
    site.receipts(3).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(run(site.sealer(), async {
        let _ = stopped.await;
    }));
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    site.receipts(2).await;
    stop.send(()).unwrap();
    task.await.unwrap().unwrap();
    prove_all(&site, 5).await;
}
