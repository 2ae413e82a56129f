//! Receipts: shipped as often as a gateway likes, stored once, and never a second one for the same place.

use crate::Bed;
use crate::site::*;
use store::{ForkAt, ReceiptFilter, ShipError, ShippedReceipt, Spent, Store, StoreError, StoredReceipt};
use types::{IncarnationId, KeyId, MicroEur, ProjectId, ReceiptId, TenantId, UnixMillis};

fn stored(of: &ShippedReceipt, leaf_index: Option<u64>) -> StoredReceipt {
    StoredReceipt {
        id: of.id,
        tenant: of.tenant,
        project: of.project,
        key: of.key,
        inc: of.inc,
        chain_seq: of.chain_seq,
        received_at: of.received_at,
        signing_input: of.signing_input.clone(),
        leaf: of.leaf,
        leaf_index,
    }
}

pub async fn shipping_twice_changes_nothing(bed: &Bed) {
    let store = bed.open().await;
    assert_eq!(store.ship(&[]).await.unwrap(), 0);
    let rows: Vec<_> = (1..=5).map(|n| receipt(1, n)).collect();
    assert_eq!(store.ship(&rows[..3]).await.unwrap(), 3);
    assert_eq!(store.ship(&rows[..3]).await.unwrap(), 0);
    assert_eq!(store.ship(&rows[1..]).await.unwrap(), 2);
    assert_eq!(store.ship(&[rows[4].clone(), rows[0].clone(), rows[4].clone()]).await.unwrap(), 0);
    let six = receipt(1, 6);
    assert_eq!(store.ship(&[six.clone(), rows[2].clone(), six.clone()]).await.unwrap(), 1);
    let unsealed = store.unsealed(100).await.unwrap();
    let expect: Vec<_> =
        rows.iter().chain([&six]).map(|row| row.leaf).enumerate().map(|(n, l)| (n as u64, l)).collect();
    assert_eq!(unsealed, expect);
    assert_eq!(store.receipt(rows[1].id).await.unwrap(), Some(stored(&rows[1], None)));
    assert_eq!(store.receipt(ReceiptId(99)).await.unwrap(), None);
}

/// Ships one receipt that must collide, behind one that is fine; nothing of the batch may stay.
async fn forks(store: &Store, known: &ShippedReceipt, shipped: ShippedReceipt, why: &str) {
    let before = store.unsealed(1_000).await.unwrap();
    let innocent = receipt(77, 1);
    match store.ship(&[innocent.clone(), shipped.clone()]).await {
        Err(ShipError::Fork { at: ForkAt::Store, known: k, shipped: s }) => {
            assert_eq!((k.id, k.leaf), (known.id, known.leaf), "{why}");
            assert_eq!((s.id, s.leaf), (shipped.id, shipped.leaf), "{why}");
        }
        other => panic!("{why}: {other:?}"),
    }
    assert_eq!(store.unsealed(1_000).await.unwrap(), before, "{why}");
    assert_eq!(store.receipt(innocent.id).await.unwrap(), None, "{why}");
}

pub async fn f18_another_receipt_for_a_place_is_a_fork(bed: &Bed) {
    let store = bed.open().await;
    let known = receipt(1, 1);
    store.ship(&[known.clone(), receipt(1, 2)]).await.unwrap();
    let change = |change: fn(&mut ShippedReceipt)| {
        let mut row = receipt(1, 1);
        change(&mut row);
        row
    };
    forks(&store, &known, change(|row| row.leaf[31] = 1), "another leaf").await;
    forks(&store, &known, change(|row| row.cost = MicroEur(8)), "another cost").await;
    forks(&store, &known, change(|row| row.id = ReceiptId(5)), "same journal place, other id").await;
    forks(&store, &known, change(|row| row.journal_seq = 9), "same id, other journal place").await;
    let chain = change(|row| {
        row.journal_seq = 9;
        row.id = ReceiptId(5);
    });
    forks(&store, &known, chain, "same chain place").await;
    let journal = change(|row| {
        row.tenant = TenantId(2);
        row.id = ReceiptId(5);
    });
    forks(&store, &known, journal, "same journal place, of another tenant").await;
    forks(&store, &known, change(|row| row.inc = IncarnationId(2)), "same id, other boot").await;
    // The same chain place in another boot or of another tenant is another place.
    let mut other = receipt(2, 1);
    assert_eq!(store.ship(&[other.clone()]).await.unwrap(), 1);
    other = ShippedReceipt { id: ReceiptId(6), tenant: TenantId(2), journal_seq: 3, ..other };
    assert_eq!(store.ship(&[other]).await.unwrap(), 1);
}

pub async fn a_batch_that_contradicts_itself_is_a_fork(bed: &Bed) {
    let store = bed.open().await;
    let rows = [receipt(1, 1), ShippedReceipt { leaf: [9; 32], ..receipt(1, 1) }];
    let error = store.ship(&rows).await.unwrap_err();
    assert!(matches!(error, ShipError::Fork { at: ForkAt::Batch, .. }), "{error:?}");
    assert!(error.to_string().contains(&"09".repeat(32)), "{error}");
    for twin in [
        ShippedReceipt { journal_seq: 9, chain_seq: 9, ..receipt(1, 1) },
        ShippedReceipt { id: ReceiptId(9), chain_seq: 9, ..receipt(1, 1) },
        ShippedReceipt { id: ReceiptId(9), journal_seq: 9, ..receipt(1, 1) },
    ] {
        let error = store.ship(&[receipt(1, 1), twin]).await.unwrap_err();
        assert!(matches!(error, ShipError::Fork { at: ForkAt::Batch, .. }), "{error:?}");
    }
    assert_eq!(store.unsealed(10).await.unwrap(), []);
}

pub async fn large_batches_keep_their_order(bed: &Bed) {
    let store = bed.open().await;
    // Two full runs and one receipt.
    let rows: Vec<_> = (1..=513).map(|n| receipt(1, n)).collect();
    assert_eq!(store.ship(&rows).await.unwrap(), 513);
    let unsealed = store.unsealed(1_000).await.unwrap();
    assert_eq!(unsealed, rows.iter().enumerate().map(|(n, row)| (n as u64, row.leaf)).collect::<Vec<_>>());
    assert_eq!(store.unsealed(10).await.unwrap(), unsealed[..10]);
    assert_eq!(store.receipt(rows[512].id).await.unwrap(), Some(stored(&rows[512], None)));
}

pub async fn receipts_are_paged_by_tenant(bed: &Bed) {
    let store = bed.open().await;
    let mut rows: Vec<_> = (1..=9).map(|n| receipt(1, n)).collect();
    rows[3].tenant = TenantId(2);
    rows[5].project = ProjectId(2);
    rows.reverse();
    store.ship(&rows).await.unwrap();
    rows.reverse();
    store.seal(0, &[0, 1], 2, "checkpoint").await.unwrap();
    let mut filter = ReceiptFilter { tenant: TenantId(1), project: None, after: None, limit: 3 };
    let mut read = Vec::new();
    loop {
        let page = store.receipts(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some(last.id);
        read.extend(page);
    }
    // Shipped backwards: read so, or a receipt that arrives late would be on a page that was read already. Of one batch
    // those of a project are side by side.
    let mut arrived: Vec<_> = rows.iter().rev().filter(|row| row.tenant == TenantId(1)).collect();
    arrived.sort_by_key(|row| row.project);
    let expect: Vec<_> =
        arrived.iter().map(|row| stored(row, (row.chain_seq >= 8).then(|| 9 - row.chain_seq))).collect();
    assert_eq!(read, expect);
    // Who reads on gets what arrived since, though its id is older.
    let mut late = receipt(1, 10);
    late.id = ReceiptId(0);
    store.ship(&[late.clone()]).await.unwrap();
    assert_eq!(store.receipts(&filter).await.unwrap(), [stored(&late, None)]);
    let of_project = ReceiptFilter { tenant: TenantId(1), project: Some(ProjectId(2)), after: None, limit: 100 };
    assert_eq!(store.receipts(&of_project).await.unwrap(), [stored(&rows[5], None)]);
    let foreign = ReceiptFilter { tenant: TenantId(2), project: Some(ProjectId(2)), after: None, limit: 100 };
    assert_eq!(store.receipts(&foreign).await.unwrap(), []);
}

pub async fn spending_is_summed_by_key(bed: &Bed) {
    let store = bed.open().await;
    let november = receipt(1, 1).month;
    assert_eq!(store.spent(november).await.unwrap(), []);
    let mut rows: Vec<_> = (1..=6).map(|n| receipt(1, n)).collect();
    rows[3].key = KeyId(2);
    rows[4].key = KeyId(2);
    rows[4].cost = MicroEur(1_000_000_000_000);
    rows[5].month = UnixMillis(1_796_083_200_000).month();
    store.ship(&rows).await.unwrap();
    let (tenant, project) = (TenantId(1), ProjectId(1));
    let spent = |key, cost| Spent { tenant, project, key: KeyId(key), cost: MicroEur(cost) };
    assert_eq!(store.spent(november).await.unwrap(), [spent(1, 21), spent(2, 1_000_000_000_007)]);
    assert_eq!(store.spent(rows[5].month).await.unwrap(), [spent(1, 7)]);
}

/// All tenants' receipts of the month and no others, each once, however many pages they are.
pub async fn a_month_is_read_from_its_runs_alone(bed: &Bed) {
    let store = bed.open().await;
    let december = UnixMillis(1_796_083_200_000);
    let november = receipt(1, 1).month;
    let mut expect = Vec::new();
    for n in 1..=40 {
        let mut row = receipt(1, n);
        row.tenant = TenantId(1 + u128::from(n % 3));
        if n % 4 == 0 {
            (row.received_at, row.month) = (december, december.month());
        } else {
            expect.push(row.id);
        }
        // A run each, and one that holds both months.
        if n == 20 {
            let mut beside = receipt(1, 50);
            beside.tenant = row.tenant;
            expect.push(beside.id);
            store.ship(&[row, beside]).await.unwrap();
        } else {
            store.ship(&[row]).await.unwrap();
        }
    }
    let read = async |month| {
        let (mut ids, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let (page, next) = store.receipts_of_month(month, after).await.unwrap();
            ids.extend(page.into_iter().map(|receipt| receipt.id));
            pages += 1;
            match next {
                Some(next) => after = Some(next),
                None => return (ids, pages),
            }
        }
    };
    let (found, pages) = read(november).await;
    assert_eq!(found, expect);
    assert!(pages >= 4, "{pages}");
    assert_eq!(read(december.month()).await.0.len(), 10);
    assert_eq!(read("2026-10".parse().unwrap()).await, (Vec::new(), 1));
}

pub async fn an_incarnation_begins_once(bed: &Bed) {
    let store = bed.open().await;
    store.incarnation_begin("gw-1", IncarnationId(1), UnixMillis(1)).await.unwrap();
    store.incarnation_begin("gw-1", IncarnationId(2), UnixMillis(2)).await.unwrap();
    let again = store.incarnation_begin("gw-2", IncarnationId(1), UnixMillis(3)).await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
}
