//! Sealing: one log, whoever seals and wherever it stops.

use crate::Bed;
use crate::site::*;
use ledger::hash::Hash;
use ledger::key::SigningKey;
use ledger::log::{Appended, LogSigner, append};
use ledger::proof::{Policy, TlogProof};
use ledger::tree::TreeHead;
use store::tiles::TileFiles;
use store::{SealError, Store};
use types::IncarnationId;

async fn ship(store: &Store, from: u64, to: u64) {
    let rows: Vec<_> = (from..=to).map(|n| receipt(1, n)).collect();
    store.ship(&rows).await.unwrap();
}

pub async fn seals_are_fenced(bed: &Bed) {
    let store = bed.open().await;
    ship(&store, 1, 5).await;
    assert_eq!(store.tree_head().await.unwrap(), None);
    store.seal(0, &[], 0, "empty").await.unwrap();
    assert_eq!(store.tree_head().await.unwrap(), Some((0, "empty".to_owned())));
    store.seal(0, &[0, 1, 2], 3, "three").await.unwrap();
    let late = store.seal(0, &[0, 1], 2, "late").await;
    assert!(matches!(late, Err(SealError::Fenced { from_size: 0, found: 3 })), "{late:?}");
    let backwards = store.seal(3, &[], 2, "backwards").await;
    assert!(matches!(backwards, Err(SealError::Places { .. })), "{backwards:?}");
    assert_eq!(store.tree_head().await.unwrap(), Some((3, "three".to_owned())));
    assert_eq!(store.unsealed(10).await.unwrap().iter().map(|(ord, _)| *ord).collect::<Vec<_>>(), [3, 4]);
    store.seal(3, &[], 3, "three, cosigned").await.unwrap();
    assert_eq!(store.tree_head().await.unwrap(), Some((3, "three, cosigned".to_owned())));

    let rivals = futures(&store, 3, &[3, 4], 5).await;
    assert_eq!(rivals.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(rivals.iter().flat_map(|r| r.as_ref().err()).all(|e| matches!(e, SealError::Fenced { found: 5, .. })));
}

async fn futures(store: &Store, from: u64, ords: &'static [u64], to: u64) -> Vec<Result<(), SealError>> {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..6 {
        let store = store.clone();
        tasks.spawn(async move { store.seal(from, ords, to, &format!("rival {n}")).await });
    }
    tasks.join_all().await
}

pub async fn a_seal_covers_exactly_what_is_stored(bed: &Bed) {
    let store = bed.open().await;
    ship(&store, 1, 3).await;
    for (ords, to) in [(&[0, 1][..], 3), (&[0, 2], 2), (&[1, 0], 2), (&[1, 2], 2), (&[0, 1, 2, 3], 4), (&[0, 0], 2)] {
        let seal = store.seal(0, ords, to, "x").await;
        assert!(matches!(seal, Err(SealError::Places { .. })), "{ords:?}: {seal:?}");
    }
    assert_eq!(store.tree_head().await.unwrap(), None);
    assert_eq!(store.receipt(receipt(1, 1).id).await.unwrap().unwrap().leaf_index, None);
    store.seal(0, &[0, 1], 2, "x").await.unwrap();
    let mut indexes = Vec::new();
    for n in 1..=3 {
        indexes.push(store.receipt(receipt(1, n).id).await.unwrap().unwrap().leaf_index);
    }
    assert_eq!(indexes, [Some(0), Some(1), None]);
}

pub async fn sealed_through_waits_for_the_checkpoint(bed: &Bed) {
    let store = bed.open().await;
    let (one, two) = (IncarnationId(1), IncarnationId(2));
    assert!(store.sealed_through(one, 100).await.unwrap(), "nothing waits in an empty store");
    store.ship(&[receipt(1, 1), receipt(2, 1), receipt(1, 2)]).await.unwrap();
    assert!(store.sealed_through(one, 1).await.unwrap(), "the first receipt is at journal place 2");
    assert!(!store.sealed_through(one, 2).await.unwrap());
    store.seal(0, &[0], 1, "x").await.unwrap();
    assert!(store.sealed_through(one, 3).await.unwrap());
    assert!(!store.sealed_through(one, 4).await.unwrap());
    assert!(!store.sealed_through(two, 2).await.unwrap());
    store.seal(1, &[1, 2], 3, "x").await.unwrap();
    assert!(store.sealed_through(one, u64::MAX >> 1).await.unwrap());
    assert!(store.sealed_through(two, 2).await.unwrap());
}

/// The sealer's steps, of which the first `steps` happen before the crash.
async fn sealer(store: &Store, files: &TileFiles, signer: &LogSigner, steps: u8) {
    // Recovery is the first thing a sealer does: publish what was sealed.
    let (size, root) = match store.tree_head().await.unwrap() {
        Some((_, checkpoint)) => {
            files.publish_checkpoint(&checkpoint).unwrap();
            let head = files.published().unwrap().unwrap();
            (head.size, head.root)
        }
        None => (0, ledger::hash::Hash::from_slice(&ledger::hash::EMPTY_ROOT.0).unwrap()),
    };
    let unsealed = store.unsealed(10_000).await.unwrap();
    let leaves: Vec<Hash> = unsealed.iter().map(|(_, leaf)| Hash(*leaf)).collect();
    let ords: Vec<u64> = unsealed.iter().map(|(ord, _)| *ord).collect();
    let Appended { head, files: tiles, obsolete } = append(&TreeHead { size, root }, files, &leaves).unwrap();
    if steps >= 1 {
        files.write_all(tiles.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()))).unwrap();
    }
    let checkpoint = signer.checkpoint(&head);
    if steps >= 2 {
        store.seal(size, &ords, head.size, &checkpoint).await.unwrap();
    }
    if steps >= 3 {
        files.publish_checkpoint(&checkpoint).unwrap();
    }
    if steps >= 4 {
        obsolete.iter().for_each(|path| files.remove_partials(path).unwrap());
    }
}

/// Crashes after every step, at sizes around a tile's width; each time more receipts arrive before the next run. At the end
/// every receipt has a proof under the one checkpoint.
pub async fn a_crash_between_the_steps_leaves_one_log(bed: &Bed) {
    let store = bed.open().await;
    let dir = tempfile::tempdir().unwrap();
    let signer = LogSigner::new("log.example/muc-1", SigningKey::from_seed(&[7; 32]).unwrap()).unwrap();
    let mut shipped = 0;
    for (steps, more) in [(0, 100), (1, 50), (2, 105), (3, 1), (1, 1), (4, 30), (2, 300), (1, 5), (4, 0)] {
        if more > 0 {
            ship(&store, shipped + 1, shipped + more).await;
            shipped += more;
        }
        // A new process: nothing but the store and the folder is left.
        let files = TileFiles::open(dir.path().join("log")).unwrap();
        let published = files.published().unwrap().map_or(0, |head| head.size);
        sealer(&store, &files, &signer, steps).await;
        let now = files.published().unwrap().map_or(0, |head| head.size);
        assert!(now >= published && now <= shipped);
    }
    let files = TileFiles::open(dir.path().join("log")).unwrap();
    assert_eq!(store.tree_head().await.unwrap(), files.checkpoint().unwrap().map(|note| (shipped, note)));
    for n in 1..=shipped {
        let row = store.receipt(receipt(1, n).id).await.unwrap().unwrap();
        assert_eq!(row.leaf_index, Some(n - 1));
        let proof = files.proof(n - 1).unwrap().expect("every sealed receipt has a proof");
        TlogProof::parse(&proof).unwrap().verify(&Hash(row.leaf), signer.vkey(), &Policy::none()).unwrap();
    }
    assert_eq!(files.proof(shipped).unwrap(), None);
}
