//! Many at once: nothing is lost, nothing is seen by halves.

use crate::Bed;
use crate::site::*;
use store::StoreError;
use tokio::task::JoinSet;

pub async fn changes_at_once_all_land(bed: &Bed) {
    let store = bed.open().await;
    let mut tasks = JoinSet::new();
    for n in 1..=40 {
        let store = store.clone();
        tasks.spawn(async move { store.tenant_create(&tenant(n), &entry("tenant.create")).await });
    }
    tasks.join_all().await.into_iter().for_each(Result::unwrap);
    assert_eq!(store.tenants().await.unwrap().len(), 40);
    assert_eq!(store.audit(None, None, 100).await.unwrap().len(), 40);
    assert_eq!(store.snapshot_version().await.unwrap(), 40);
}

/// A change that reads and then writes is not interrupted: one of eight equal versions wins, and one entry is written.
pub async fn one_of_many_price_books_wins(bed: &Bed) {
    let store = bed.open().await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move { store.price_book_put(&prices(1), &entry("prices.put")).await });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().flat_map(|result| result.as_ref().err()).all(|e| matches!(e, StoreError::Conflict { .. })));
    assert_eq!(store.audit(None, None, 100).await.unwrap().len(), 1);
}

/// Every change adds one tenant and one version, so a snapshot that shows another number of either saw half a change.
pub async fn a_snapshot_is_one_moment(bed: &Bed) {
    let store = bed.open().await;
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 1..=60 {
                store.tenant_create(&tenant(n), &entry("tenant.create")).await.unwrap();
            }
        }
    });
    let mut seen = 0;
    while seen < 60 {
        let snapshot = store.snapshot("s").await.unwrap();
        assert_eq!(snapshot.tenants.len() as u64, snapshot.version);
        assert!(snapshot.version >= seen, "a later snapshot is not older");
        seen = snapshot.version;
    }
    writer.await.unwrap();
}

pub async fn gateways_ship_at_once_without_gaps(bed: &Bed) {
    let store = bed.open().await;
    let mut tasks = JoinSet::new();
    for gateway in 1..=4 {
        let store = store.clone();
        tasks.spawn(async move {
            // Each batch overlaps the one before: half of it is shipped again.
            for batch in 0..8 {
                let rows: Vec<_> = (batch * 10..batch * 10 + 20).map(|n| receipt(gateway, n)).collect();
                store.ship(&rows).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let unsealed = store.unsealed(1_000).await.unwrap();
    assert_eq!(unsealed.iter().map(|(ord, _)| *ord).collect::<Vec<_>>(), (0..4 * 90).collect::<Vec<_>>());
    for gateway in 1..=4u128 {
        let of_gateway: Vec<_> = unsealed.iter().filter(|(_, leaf)| u128::from(leaf[7]) == gateway).collect();
        assert!(of_gateway.is_sorted_by_key(|(_, leaf)| leaf), "a gateway's receipts keep their order");
        assert_eq!(of_gateway.len(), 90);
    }
}
