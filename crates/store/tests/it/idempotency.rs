//! Idempotency keys: of all who claim one, one gets it, across connections and restarts.

use crate::Bed;
use store::{IdempotencyRow, KeyHolder};
use tokio::task::JoinSet;
use types::{ProjectId, ReceiptId, UnixMillis};

fn row(project: u128, name: u8, receipt: u128) -> IdempotencyRow {
    IdempotencyRow {
        project: ProjectId(project),
        name: [name; 32],
        request: [7; 32],
        receipt: ReceiptId(receipt),
        until: UnixMillis(1_000),
    }
}

fn held_by(receipt: u128) -> KeyHolder {
    KeyHolder::Other { request: [7; 32], receipt: ReceiptId(receipt) }
}

pub async fn f12_one_of_many_gets_the_key(bed: &Bed) {
    let stores = [bed.open().await, bed.open().await];
    let mut claims = JoinSet::new();
    for receipt in 1..=20 {
        let store = stores[receipt as usize % 2].clone();
        claims.spawn(async move { store.idempotency_claim(&row(1, 1, receipt), UnixMillis(0)).await.unwrap() });
    }
    let holders = claims.join_all().await;
    let ours = holders.iter().filter(|holder| **holder == KeyHolder::Ours).count();
    assert_eq!(ours, 1, "{holders:?}");
    // Another project's key, and another key, are free.
    for other in [row(2, 1, 50), row(1, 2, 51)] {
        assert_eq!(stores[0].idempotency_claim(&other, UnixMillis(0)).await.unwrap(), KeyHolder::Ours);
    }
}

pub async fn f12_a_key_is_forgotten_after_its_time_and_taken_over_once(bed: &Bed) {
    let store = bed.open().await;
    let claim = async |receipt, now| store.idempotency_claim(&row(1, 1, receipt), UnixMillis(now)).await.unwrap();
    assert_eq!(claim(1, 0).await, KeyHolder::Ours);
    assert_eq!(claim(2, 999).await, held_by(1));
    // It is over: the next one has it, with its own time.
    let later = IdempotencyRow { until: UnixMillis(3_000), ..row(1, 1, 3) };
    assert_eq!(store.idempotency_claim(&later, UnixMillis(1_000)).await.unwrap(), KeyHolder::Ours);
    assert_eq!(claim(4, 2_999).await, held_by(3));
    // From a receipt that has it no more, nobody takes it.
    assert!(!store.idempotency_take(&row(1, 1, 5), ReceiptId(1)).await.unwrap());
    assert!(store.idempotency_take(&row(1, 1, 5), ReceiptId(3)).await.unwrap());
    assert!(!store.idempotency_take(&row(1, 1, 6), ReceiptId(3)).await.unwrap());
    assert_eq!(store.idempotency_sweep(UnixMillis(999)).await.unwrap(), 0);
    assert_eq!(store.idempotency_sweep(UnixMillis(1_000)).await.unwrap(), 1);
    assert_eq!(claim(7, 0).await, KeyHolder::Ours);
}
