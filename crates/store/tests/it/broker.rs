//! What platforms order: all of a write or nothing, and a tombstone and what it buries never at once, whoever came first.

use crate::Bed;
use crate::site::*;
use store::{BindingWrite, BrokerRow, BrokerWrite, InstanceWrite, ProjectWrite, SlotRow, Store, StoreError};
use types::{BrokerId, KeyId, OperationId, ProjectId, TenantId, UnixMillis};

const NOW: UnixMillis = UnixMillis(1_790_000_000_000);
const LATER: UnixMillis = UnixMillis(1_790_000_600_000);

fn registration(n: u128) -> BrokerRow {
    BrokerRow {
        id: BrokerId(n),
        name: format!("platform {n}"),
        username: format!("user {n}"),
        password_hash: "ef".repeat(32),
        body: "{}".to_owned(),
        removed: false,
    }
}

fn at(read: Option<u64>) -> BrokerWrite<'static> {
    BrokerWrite { broker: BrokerId(1), instance: "one", read, now: NOW }
}

fn put(project: Option<u128>, operation: Option<u128>) -> InstanceWrite<'static> {
    InstanceWrite::Put { body: "{}", project: project.map(ProjectId), operation: operation.map(OperationId) }
}

async fn write(
    store: &Store,
    read: Option<u64>,
    row: &InstanceWrite<'_>,
    project: &ProjectWrite<'_>,
) -> Result<(), StoreError> {
    store.broker_instance_write(&at(read), row, project, &entry("instance.create")).await
}

fn conflict(result: Result<(), StoreError>) {
    assert!(matches!(result, Err(StoreError::Conflict { .. })), "{result:?}");
}

pub async fn registrations_read_back_and_end(bed: &Bed) {
    let store = bed.open().await;
    let (mut one, two) = (registration(1), registration(2));
    store.broker_create(&one, &entry("broker.create")).await.unwrap();
    store.broker_create(&two, &entry("broker.create")).await.unwrap();
    let doubled = BrokerRow { id: BrokerId(3), ..registration(1) };
    conflict(store.broker_create(&doubled, &entry("broker.create")).await);
    assert_eq!(store.broker_of("user 1").await.unwrap().as_ref(), Some(&one));
    one.removed = true;
    one.body = "{\"plans\":[]}".to_owned();
    store.broker_update(&one, &entry("broker.delete")).await.unwrap();
    assert_eq!(
        (store.broker_of("user 1").await.unwrap(), store.broker(one.id).await.unwrap()),
        (None, Some(one.clone()))
    );
    // Its name and its user are free, and nothing brings it back.
    store.broker_create(&doubled, &entry("broker.create")).await.unwrap();
    store
        .broker_update(&BrokerRow { removed: false, name: "other".to_owned(), ..one.clone() }, &entry("broker.update"))
        .await
        .unwrap();
    assert!(store.broker(one.id).await.unwrap().unwrap().removed);
    assert_eq!(store.brokers().await.unwrap().len(), 3);
}

pub async fn an_instance_comes_with_its_tenant_and_goes_with_its_bindings(bed: &Bed) {
    let store = bed.open().await;
    store.broker_create(&registration(1), &entry("broker.create")).await.unwrap();
    let (tenant, project, key) = (tenant(1), project(1, 1), key(1, 1));
    let make = ProjectWrite::Make { project: &project, tenant: Some((&tenant, "sub")) };
    write(&store, None, &put(Some(1), None), &make).await.unwrap();
    assert_eq!(store.broker_tenant(BrokerId(1), "sub").await.unwrap(), Some(TenantId(1)));
    assert_eq!(store.broker_counts(BrokerId(1)).await.unwrap(), (1, 1));
    let SlotRow::Held(row) = store.broker_instance(BrokerId(1), "one").await.unwrap() else { panic!("held") };
    assert_eq!((row.version, row.project, row.tenant), (1, Some(ProjectId(1)), Some(TenantId(1))));
    let bind = BindingWrite::Make { body: "{}", key: &key };
    conflict(store.broker_binding_write(&at(Some(2)), "b", &bind, &entry("binding.create")).await);
    store.broker_binding_write(&at(Some(1)), "b", &bind, &entry("binding.create")).await.unwrap();
    let end = BindingWrite::Gone { key: KeyId(1), until: LATER };
    store.broker_binding_write(&at(None), "b", &end, &entry("binding.delete")).await.unwrap();
    conflict(store.broker_binding_write(&at(None), "b", &end, &entry("binding.delete")).await);
    assert!(store.key(KeyId(1)).await.unwrap().unwrap().revoked);
    // What was deleted a moment ago is not made by whoever was overtaken.
    let late = crate::site::key(2, 1);
    conflict(
        store
            .broker_binding_write(
                &at(Some(1)),
                "b",
                &BindingWrite::Make { body: "{}", key: &late },
                &entry("binding.create"),
            )
            .await,
    );
    assert_eq!(store.key(KeyId(2)).await.unwrap(), None);
    store
        .broker_binding_write(
            &at(Some(1)),
            "c",
            &BindingWrite::Make { body: "{}", key: &late },
            &entry("binding.create"),
        )
        .await
        .unwrap();
    assert_eq!(store.broker_bindings(BrokerId(1), "one").await.unwrap(), 1);
    write(&store, Some(1), &put(Some(1), None), &ProjectWrite::End(ProjectId(1))).await.unwrap();
    assert!(store.keys(Some(ProjectId(1))).await.unwrap().iter().all(|key| key.revoked));
    let gone = InstanceWrite::Gone { until: LATER, operation: Some(OperationId(7)) };
    conflict(write(&store, Some(1), &gone, &ProjectWrite::Nothing).await);
    write(&store, Some(2), &gone, &ProjectWrite::Nothing).await.unwrap();
    assert_eq!(
        store.broker_instance(BrokerId(1), "one").await.unwrap(),
        SlotRow::Gone { until: LATER, operation: Some(OperationId(7)) }
    );
    assert_eq!(store.broker_bindings(BrokerId(1), "one").await.unwrap(), 0);
    // The project stays: receipts name it.
    assert!(store.project(ProjectId(1)).await.unwrap().is_some());
}

pub async fn a_tombstone_and_what_it_buries_exclude_each_other(bed: &Bed) {
    let store = bed.open().await;
    store.broker_create(&registration(1), &entry("broker.create")).await.unwrap();
    let nothing = ProjectWrite::Nothing;
    store.broker_bury(&at(None), "", LATER, None).await.unwrap();
    let (version, entries) =
        (store.snapshot_version().await.unwrap(), store.audit(None, None, 100).await.unwrap().len());
    conflict(write(&store, None, &put(None, Some(1)), &nothing).await);
    // A tombstone is no change of the site, nor is what it kept from being made.
    store.broker_bury(&at(None), "", NOW, None).await.unwrap();
    assert_eq!(store.snapshot_version().await.unwrap(), version);
    assert_eq!(store.audit(None, None, 100).await.unwrap().len(), entries);
    write(&store, None, &put(None, Some(1)), &nothing).await.unwrap();
    conflict(store.broker_bury(&at(None), "", LATER, None).await);
    conflict(write(&store, None, &put(None, Some(2)), &nothing).await);
    conflict(write(&store, Some(7), &put(None, None), &nothing).await);
    let ordered = store.broker_instance_of(OperationId(1)).await.unwrap().unwrap();
    assert_eq!((ordered.id.as_str(), store.broker_orders(10).await.unwrap()), ("one", vec![ordered.clone()]));
    assert_eq!(store.broker_instances(BrokerId(1), "", 10).await.unwrap(), [ordered]);
    write(&store, Some(1), &put(None, None), &nothing).await.unwrap();
    assert!(store.broker_orders(10).await.unwrap().is_empty());
    assert!(store.broker_instances(BrokerId(1), "one", 10).await.unwrap().is_empty());
}
