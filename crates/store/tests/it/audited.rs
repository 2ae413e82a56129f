//! No change without an entry, no entry without a change, and never two.

use crate::Bed;
use crate::site::*;
use store::Store;
use types::audit::AuditEntry;
use types::{AuditId, KeyId, TenantId, UnixMillis};

async fn entries(store: &Store) -> Vec<AuditEntry> {
    store.audit(None, None, 1_000).await.unwrap()
}

/// Runs each mutation with an entry of its own and checks that exactly this entry came, and one version.
macro_rules! each_is_audited {
    ($store:ident: $($call:ident($($argument:expr),*);)*) => {$({
        let (before, version) = (entries(&$store).await, $store.snapshot_version().await.unwrap());
        let written = entry(stringify!($call));
        $store.$call($($argument,)* &written).await.unwrap();
        let mut after = entries(&$store).await;
        let place = after.iter().position(|entry| *entry == written).expect(stringify!($call));
        after.remove(place);
        assert_eq!(after, before, stringify!($call));
        assert_eq!($store.snapshot_version().await.unwrap(), version + 1, stringify!($call));
    })*};
}

pub async fn each_change_writes_one_entry(bed: &Bed) {
    let store = bed.open().await;
    let mut served = engine(1);
    served.endpoint = endpoint(1).id;
    each_is_audited! { store:
        tenant_create(&tenant(1));
        tenant_update(&tenant(1));
        project_create(&project(1, 1));
        project_update(&project(1, 1));
        key_create(&key(1, 1));
        key_update(&key(1, 1));
        key_rotate(&key(2, 1), KeyId(1), UnixMillis(1));
        engine_add(&endpoint(1), &engine(1));
        engine_update(&served);
        endpoint_update(&endpoint(1));
        engine_remove(engine(1).id);
        rule_put(&rule(1, None));
        rule_put(&rule(1, None));
        rule_remove(rule(1, None).id);
        price_book_put(&prices(1));
        token_create(&token(1, None));
        token_update(&token(1, None));
    }
}

/// Runs each mutation, expects it to fail, and checks that nothing at all changed.
macro_rules! each_is_refused {
    ($store:ident: $($call:ident($($argument:expr),*);)*) => {$({
        let (before, snapshot) = (entries(&$store).await, $store.snapshot("s").await.unwrap());
        $store.$call($($argument,)* &entry(stringify!($call))).await.expect_err(stringify!($call));
        assert_eq!(entries(&$store).await, before, stringify!($call));
        assert_eq!($store.snapshot("s").await.unwrap(), snapshot, stringify!($call));
    })*};
}

pub async fn a_refused_change_writes_nothing(bed: &Bed) {
    let store = bed.open().await;
    let used = entry("tenant.create");
    store.tenant_create(&tenant(1), &used).await.unwrap();
    store.token_create(&token(1, None), &entry("token.create")).await.unwrap();
    let mut doubled = engine(2);
    doubled.url = engine(1).url;
    store.engine_add(&endpoint(1), &engine(1), &entry("engine.add")).await.unwrap();
    each_is_refused! { store:
        tenant_create(&tenant(1));
        tenant_update(&tenant(2));
        project_create(&project(1, 2));
        project_update(&project(1, 1));
        key_create(&key(1, 1));
        key_update(&key(1, 1));
        key_rotate(&key(2, 1), KeyId(1), UnixMillis(1));
        engine_add(&endpoint(1), &doubled);
        engine_update(&engine(2));
        endpoint_update(&endpoint(2));
        engine_remove(engine(2).id);
        rule_put(&rule(1, Some(2)));
        rule_remove(rule(1, None).id);
        price_book_put(&prices(2));
        token_create(&token(1, None));
        token_update(&token(2, None));
    }
    // An endpoint that only the failed engine would have needed does not stay behind.
    let mut other = endpoint(5);
    other.model = "other".to_owned();
    let mut taken = engine(1);
    taken.url = "http://127.0.0.1:5".to_owned();
    store.engine_add(&other, &taken, &entry("engine.add")).await.unwrap_err();
    assert_eq!(store.endpoints().await.unwrap().len(), 1);
    // A change whose entry cannot be written does not happen.
    store.tenant_create(&tenant(3), &used).await.unwrap_err();
    assert_eq!(store.tenant(TenantId(3)).await.unwrap(), None);
}

pub async fn the_audit_log_is_paged(bed: &Bed) {
    let store = bed.open().await;
    let mut written = Vec::new();
    for n in 1..=7 {
        let mut entry = entry("tenant.create");
        entry.tenant = (n % 2 == 0).then_some(TenantId(n));
        store.tenant_create(&tenant(n), &entry).await.unwrap();
        written.push(entry);
    }
    written.sort_by_key(|entry| entry.id);
    let (mut read, mut after): (Vec<AuditEntry>, Option<AuditId>) = (Vec::new(), None);
    loop {
        let page = store.audit(after, None, 3).await.unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        read.extend(page);
    }
    assert_eq!(read, written);
    let of_four = store.audit(None, Some(TenantId(4)), 10).await.unwrap();
    assert_eq!(of_four.iter().map(|entry| entry.tenant).collect::<Vec<_>>(), [Some(TenantId(4))]);
}
