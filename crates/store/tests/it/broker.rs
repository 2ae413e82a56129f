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
    store.broker_create(&one, |_| false, &entry("broker.create")).await.unwrap();
    store.broker_create(&two, |_| false, &entry("broker.create")).await.unwrap();
    let doubled = BrokerRow { id: BrokerId(3), ..registration(1) };
    conflict(store.broker_create(&doubled, |_| false, &entry("broker.create")).await);
    assert_eq!(store.broker_of("user 1").await.unwrap().as_ref(), Some(&one));
    one.removed = true;
    one.body = "{\"plans\":[]}".to_owned();
    store.broker_update(&one, |_| false, &entry("broker.delete")).await.unwrap();
    assert_eq!(
        (store.broker_of("user 1").await.unwrap(), store.broker(one.id).await.unwrap()),
        (None, Some(one.clone()))
    );
    // Its name and its user are free, and nothing brings it back.
    store.broker_create(&doubled, |_| false, &entry("broker.create")).await.unwrap();
    store
        .broker_update(
            &BrokerRow { removed: false, name: "other".to_owned(), ..one.clone() },
            |_| false,
            &entry("broker.update"),
        )
        .await
        .unwrap();
    assert!(store.broker(one.id).await.unwrap().unwrap().removed);
    assert_eq!(store.brokers().await.unwrap().len(), 3);
}

/// One certificate proves one registration. Whoever is asked about is never the registration itself, nor one that is removed.
pub async fn two_registrations_do_not_clash(bed: &Bed) {
    let store = bed.open().await;
    let (one, two) = (registration(1), registration(2));
    let e = || entry("broker");
    store.broker_create(&one, |_| true, &e()).await.unwrap();
    conflict(store.broker_create(&two, |other| other.id == BrokerId(1), &e()).await);
    assert_eq!(store.brokers().await.unwrap().len(), 1);
    store.broker_create(&two, |other| other.id == BrokerId(2), &e()).await.unwrap();
    store.broker_update(&one, |other| other.id == BrokerId(1), &e()).await.unwrap();
    conflict(store.broker_update(&one, |other| other.id == BrokerId(2), &e()).await);
    // A removed one proves nothing, and is changed without being asked about.
    let removed = BrokerRow { removed: true, ..two.clone() };
    store.broker_update(&removed, |_| true, &e()).await.unwrap();
    store.broker_update(&one, |_| true, &e()).await.unwrap();
    // Of many at once, one.
    let mut tasks = tokio::task::JoinSet::new();
    for n in 10..20 {
        let store = store.clone();
        tasks.spawn(async move {
            store.broker_create(&registration(n), |other| other.id.0 >= 10, &entry("broker")).await.is_ok()
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|made| *made).count(), 1);
}

/// Makes an instance of this project and ends it, for tests of what is closed.
pub async fn close(store: &Store, project: ProjectId, end: &ProjectWrite<'_>) {
    store.broker_create(&registration(1), |_| false, &entry("broker.create")).await.unwrap();
    write(store, None, &put(Some(project.0), None), &ProjectWrite::Nothing).await.unwrap();
    write(store, Some(1), &put(Some(project.0), None), end).await.unwrap();
}

/// A project whose instance ends is closed, in the same transaction: no key is made in it and nothing of it is changed, by nobody.
pub async fn a_closed_project_gets_no_key(bed: &Bed) {
    let store = bed.open().await;
    store.tenant_create(&tenant(1), &entry("tenant.create")).await.unwrap();
    for n in [1, 2] {
        store.project_create(&project(n, 1), &entry("project.create")).await.unwrap();
        store.key_create(&key(n, n), &entry("key.create")).await.unwrap();
    }
    assert_eq!(store.projects_closed().await.unwrap(), []);
    close(&store, ProjectId(1), &ProjectWrite::End(ProjectId(1))).await;
    assert_eq!(store.projects_closed().await.unwrap(), [(ProjectId(1), NOW)]);
    assert_eq!(store.project_closed(ProjectId(1)).await.unwrap(), Some(NOW));
    assert_eq!(store.project_closed(ProjectId(2)).await.unwrap(), None);
    let version = store.snapshot_version().await.unwrap();
    let e = || entry("late");
    conflict(store.key_create(&key(3, 1), &e()).await);
    conflict(store.key_rotate(&key(4, 1), KeyId(1), LATER, &e()).await);
    conflict(store.project_update(&project(1, 1), &e()).await);
    let made = key(5, 1);
    let bind = BindingWrite::Make { body: "{}", key: &made };
    conflict(store.broker_binding_write(&at(Some(2)), "b", &bind, &e()).await);
    let changed = project(1, 1);
    conflict(write(&store, Some(2), &put(Some(1), None), &ProjectWrite::Change(&changed)).await);
    assert!(store.keys(Some(ProjectId(1))).await.unwrap().iter().all(|key| key.revoked && key.id == KeyId(1)));
    assert_eq!(store.snapshot_version().await.unwrap(), version, "nothing of it was written");
    // The other one is as it was; and who ends it again ends it as of then.
    store.key_create(&key(6, 2), &e()).await.unwrap();
    let later = BrokerWrite { now: LATER, ..at(Some(2)) };
    let end = ProjectWrite::End(ProjectId(1));
    store.broker_instance_write(&later, &put(Some(1), None), &end, &e()).await.unwrap();
    assert_eq!(store.project_closed(ProjectId(1)).await.unwrap(), Some(NOW));
}

/// What is deleted sweeps away the tombstones whose time is over, so that there are never more than those of ten minutes.
pub async fn tombstones_go_when_their_time_is_over(bed: &Bed) {
    let store = bed.open().await;
    store.broker_create(&registration(1), |_| false, &entry("broker.create")).await.unwrap();
    let nothing = ProjectWrite::Nothing;
    let at = |instance, read, now| BrokerWrite { broker: BrokerId(1), instance, read, now };
    let gone = |until| InstanceWrite::Gone { until, operation: None };
    let entry = || entry("instance");
    for id in ["one", "two"] {
        store.broker_instance_write(&at(id, None, NOW), &put(None, None), &nothing, &entry()).await.unwrap();
    }
    let end = UnixMillis(LATER.0 + 600_000);
    store.broker_instance_write(&at("one", Some(1), NOW), &gone(LATER), &nothing, &entry()).await.unwrap();
    let stands = async |id| store.broker_instance(BrokerId(1), id).await.unwrap() != SlotRow::Free;
    assert!(stands("one").await);
    store.broker_instance_write(&at("two", Some(1), LATER), &gone(end), &nothing, &entry()).await.unwrap();
    assert!(!stands("one").await && stands("two").await);
    // The same for a binding.
    store.tenant_create(&tenant(1), &entry()).await.unwrap();
    store.project_create(&project(1, 1), &entry()).await.unwrap();
    store.broker_instance_write(&at("three", None, NOW), &put(Some(1), None), &nothing, &entry()).await.unwrap();
    let key = key(1, 1);
    let bind = BindingWrite::Make { body: "{}", key: &key };
    store.broker_binding_write(&at("three", Some(1), NOW), "b", &bind, &entry()).await.unwrap();
    let unbind = BindingWrite::Gone { key: KeyId(1), until: UnixMillis(end.0 + 1) };
    store.broker_binding_write(&at("three", None, end), "b", &unbind, &entry()).await.unwrap();
    assert!(!stands("two").await);
}

/// An order that is over stays in its row until the platform deletes it; it stands in nobody's place.
pub async fn old_orders_hide_no_new_one(bed: &Bed) {
    let store = bed.open().await;
    store.broker_create(&registration(1), |_| false, &entry("broker.create")).await.unwrap();
    for n in 1..=5 {
        let id = format!("i{n}");
        let at = BrokerWrite { broker: BrokerId(1), instance: &id, read: None, now: NOW };
        let write = put(None, Some(n));
        store.broker_instance_write(&at, &write, &ProjectWrite::Nothing, &entry("order")).await.unwrap();
    }
    let orders = async |oldest, limit| -> Vec<String> {
        let rows = store.broker_orders(OperationId(oldest), limit).await.unwrap();
        rows.into_iter().map(|row| row.id).collect()
    };
    assert_eq!(orders(0, 2).await, ["i1", "i2"]);
    assert_eq!(orders(4, 2).await, ["i4", "i5"]);
    assert!(orders(6, 2).await.is_empty());
}

pub async fn an_instance_comes_with_its_tenant_and_goes_with_its_bindings(bed: &Bed) {
    let store = bed.open().await;
    store.broker_create(&registration(1), |_| false, &entry("broker.create")).await.unwrap();
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
    store.broker_create(&registration(1), |_| false, &entry("broker.create")).await.unwrap();
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
    assert_eq!(
        (ordered.id.as_str(), store.broker_orders(OperationId(0), 10).await.unwrap()),
        ("one", vec![ordered.clone()])
    );
    assert_eq!(store.broker_instances(BrokerId(1), "", 10).await.unwrap(), [ordered]);
    write(&store, Some(1), &put(None, None), &nothing).await.unwrap();
    assert!(store.broker_orders(OperationId(0), 10).await.unwrap().is_empty());
    assert!(store.broker_instances(BrokerId(1), "one", 10).await.unwrap().is_empty());
}
