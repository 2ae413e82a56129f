//! What is written is read back, and what cannot be written is refused by its right name.

use crate::Bed;
use crate::site::*;
use store::StoreError;
use types::snapshot::PriceBook;
use types::{Code, Country, DataClass, KeyId, MicroEur, ProjectId, Snapshot, TenantId, UnixMillis};

fn conflict<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    match result {
        Err(error @ StoreError::Conflict { .. }) => assert_eq!(error.code(), Code::Conflict),
        other => panic!("a conflict was due, not {other:?}"),
    }
}

fn not_found<T: std::fmt::Debug>(result: Result<T, StoreError>, what: &str) {
    match result {
        Err(error @ StoreError::NotFound { .. }) => {
            assert_eq!(error.code(), Code::NotFound);
            assert_eq!(error.to_string(), format!("{what} does not exist"));
        }
        other => panic!("not found was due, not {other:?}"),
    }
}

pub async fn everything_reads_back(bed: &Bed) {
    let store = bed.open().await;
    assert_eq!(store.snapshot("muc-1").await.unwrap(), Snapshot { site: "muc-1".to_owned(), ..Snapshot::default() });

    let (mut tenant, mut project, mut key, token) = (tenant(1), project(1, 1), key(1, 1), token(1, Some(1)));
    store.tenant_create(&tenant, &entry("tenant.create")).await.unwrap();
    store.project_create(&project, &entry("project.create")).await.unwrap();
    store.key_create(&key, &entry("key.create")).await.unwrap();
    store.token_create(&token, &entry("token.create")).await.unwrap();
    let mut engine = engine(1);
    engine.endpoint = store.engine_add(&endpoint(1), &engine, &entry("engine.add")).await.unwrap();
    let mut endpoint = endpoint(1);
    let rule = rule(1, Some(1));
    store.rule_put(&rule, &entry("rule.put")).await.unwrap();
    store.price_book_put(&prices(1), &entry("prices.put")).await.unwrap();

    tenant.name = "Müller & Söhne '); --".to_owned();
    tenant.budget = None;
    store.tenant_update(&tenant, &entry("tenant.update")).await.unwrap();
    project.class = DataClass::Public;
    project.country = None;
    project.budget = Some(MicroEur(i64::MAX));
    project.limits.requests_per_minute = None;
    store.project_update(&project, &entry("project.update")).await.unwrap();
    key.expires_at = Some(UnixMillis(1));
    key.limits.tokens_per_minute = Some(i64::MAX as u64);
    store.key_update(&key, &entry("key.update")).await.unwrap();
    endpoint.weights = Some("sha256:00".to_owned());
    endpoint.facts.jurisdiction = "US".parse().unwrap();
    store.endpoint_update(&endpoint, &entry("endpoint.update")).await.unwrap();
    engine.cordoned = true;
    engine.credential = Some("secret".to_owned());
    store.engine_update(&engine, &entry("engine.update")).await.unwrap();

    assert_eq!(store.tenant(tenant.id).await.unwrap().as_ref(), Some(&tenant));
    assert_eq!(store.project(project.id).await.unwrap().as_ref(), Some(&project));
    assert_eq!(store.key(key.id).await.unwrap().as_ref(), Some(&key));
    assert_eq!(store.token(token.id).await.unwrap().as_ref(), Some(&token));
    assert_eq!(store.tokens().await.unwrap(), [token]);
    assert_eq!(store.endpoint(endpoint.id).await.unwrap().as_ref(), Some(&endpoint));
    assert_eq!(store.engine(engine.id).await.unwrap().as_ref(), Some(&engine));
    assert_eq!(store.rules().await.unwrap(), std::slice::from_ref(&rule));
    assert_eq!(store.price_book().await.unwrap(), prices(1));
    assert_eq!(store.snapshot_version().await.unwrap(), 12);
    let expect = Snapshot {
        version: 12,
        site: "muc-1".to_owned(),
        tenants: vec![tenant],
        projects: vec![project],
        keys: vec![key],
        endpoints: vec![endpoint],
        engines: vec![engine.clone()],
        rules: vec![rule.clone()],
        price_book: prices(1),
    };
    assert_eq!(store.snapshot("muc-1").await.unwrap(), expect);

    store.engine_remove(engine.id, &entry("engine.remove")).await.unwrap();
    store.rule_remove(rule.id, &entry("rule.remove")).await.unwrap();
    assert_eq!((store.engines().await.unwrap(), store.rules().await.unwrap()), (vec![], vec![]));
    assert_eq!(store.endpoints().await.unwrap().len(), 1, "receipts name endpoints: they stay");
}

pub async fn lists_are_filtered(bed: &Bed) {
    let store = bed.open().await;
    for n in [2, 1] {
        store.tenant_create(&tenant(n), &entry("tenant.create")).await.unwrap();
        store.project_create(&project(n, n), &entry("project.create")).await.unwrap();
        store.key_create(&key(n, n), &entry("key.create")).await.unwrap();
    }
    assert_eq!(store.tenants().await.unwrap(), [tenant(1), tenant(2)]);
    assert_eq!(store.projects(None).await.unwrap(), [project(1, 1), project(2, 2)]);
    assert_eq!(store.projects(Some(TenantId(2))).await.unwrap(), [project(2, 2)]);
    assert_eq!(store.keys(None).await.unwrap(), [key(1, 1), key(2, 2)]);
    assert_eq!(store.keys(Some(ProjectId(1))).await.unwrap(), [key(1, 1)]);
    assert_eq!(store.projects(Some(TenantId(3))).await.unwrap(), []);
    assert_eq!(store.tenant(TenantId(3)).await.unwrap(), None);
}

pub async fn conflicts_and_missing_things_are_told_apart(bed: &Bed) {
    let store = bed.open().await;
    let e = || entry("x");
    store.tenant_create(&tenant(1), &e()).await.unwrap();
    store.tenant_create(&tenant(2), &e()).await.unwrap();
    let mut twin = tenant(3);
    twin.name = tenant(1).name;
    conflict(store.tenant_create(&twin, &e()).await);
    twin.id = TenantId(2);
    conflict(store.tenant_update(&twin, &e()).await);
    not_found(store.tenant_update(&tenant(9), &e()).await, "this tenant");

    not_found(store.project_create(&project(1, 9), &e()).await, "this tenant");
    store.project_create(&project(1, 1), &e()).await.unwrap();
    let mut twin = project(2, 1);
    twin.name = project(1, 1).name;
    conflict(store.project_create(&twin, &e()).await);
    twin.tenant = TenantId(2);
    store.project_create(&twin, &e()).await.unwrap();
    not_found(store.project_update(&project(1, 2), &e()).await, "this project");

    not_found(store.key_create(&key(1, 9), &e()).await, "this project");
    store.key_create(&key(1, 1), &e()).await.unwrap();
    conflict(store.key_create(&key(1, 1), &e()).await);
    not_found(store.key_update(&key(1, 2), &e()).await, "this key");
    not_found(store.rule_put(&rule(1, Some(9)), &e()).await, "this tenant");
    not_found(store.rule_remove(rule(1, None).id, &e()).await, "this rule");
    not_found(store.engine_update(&engine(9), &e()).await, "this engine");
    not_found(store.engine_remove(engine(9).id, &e()).await, "this engine");
    not_found(store.endpoint_update(&endpoint(9), &e()).await, "this endpoint");
    not_found(store.token_create(&token(1, Some(9)), &e()).await, "this tenant");
    not_found(store.token_update(&token(9, None), &e()).await, "this token");

    store.engine_add(&endpoint(1), &engine(1), &e()).await.unwrap();
    let mut lost = engine(1);
    lost.endpoint = types::EndpointId(77);
    not_found(store.engine_update(&lost, &e()).await, "what this record refers to");
}

pub async fn equal_facts_are_one_endpoint(bed: &Bed) {
    let store = bed.open().await;
    let first = store.engine_add(&endpoint(1), &engine(1), &entry("engine.add")).await.unwrap();
    let second = store.engine_add(&endpoint(2), &engine(2), &entry("engine.add")).await.unwrap();
    assert_eq!((first, second), (endpoint(1).id, endpoint(1).id));
    let mut foreign = endpoint(3);
    foreign.facts.country = "US".parse::<Country>().unwrap();
    assert_eq!(store.engine_add(&foreign, &engine(1 << 40), &entry("engine.add")).await.unwrap(), foreign.id);
    assert_eq!(store.endpoints().await.unwrap(), [endpoint(1), foreign.clone()]);
    let mut again = engine(4);
    again.url = engine(1).url;
    conflict(store.engine_add(&endpoint(4), &again, &entry("engine.add")).await);
    foreign.facts = endpoint(1).facts;
    conflict(store.endpoint_update(&foreign, &entry("endpoint.update")).await);
}

pub async fn revoking_is_one_way(bed: &Bed) {
    let store = bed.open().await;
    store.tenant_create(&tenant(1), &entry("tenant.create")).await.unwrap();
    store.project_create(&project(1, 1), &entry("project.create")).await.unwrap();
    let (mut key, mut token) = (key(1, 1), token(1, None));
    store.key_create(&key, &entry("key.create")).await.unwrap();
    store.token_create(&token, &entry("token.create")).await.unwrap();
    // Somebody read both before they were revoked, and writes them back afterwards.
    let (stale_key, stale_token) = (key.clone(), token.clone());
    key.revoked = true;
    token.revoked = true;
    store.key_update(&key, &entry("key.revoke")).await.unwrap();
    store.token_update(&token, &entry("token.revoke")).await.unwrap();
    store.key_update(&stale_key, &entry("key.update")).await.unwrap();
    store.token_update(&stale_token, &entry("token.update")).await.unwrap();
    assert!(store.key(key.id).await.unwrap().unwrap().revoked);
    assert!(store.token(token.id).await.unwrap().unwrap().revoked);
}

pub async fn rotation_is_one_change(bed: &Bed) {
    let store = bed.open().await;
    store.tenant_create(&tenant(1), &entry("tenant.create")).await.unwrap();
    store.project_create(&project(1, 1), &entry("project.create")).await.unwrap();
    store.key_create(&key(1, 1), &entry("key.create")).await.unwrap();
    let version = store.snapshot_version().await.unwrap();
    store.key_rotate(&key(2, 1), KeyId(1), UnixMillis(500), &entry("key.rotate")).await.unwrap();
    assert_eq!(store.snapshot_version().await.unwrap(), version + 1);
    assert_eq!(store.key(KeyId(1)).await.unwrap().unwrap().expires_at, Some(UnixMillis(500)));
    assert_eq!(store.key(KeyId(2)).await.unwrap(), Some(key(2, 1)));
    // A rotation never lets a key live longer.
    store.key_rotate(&key(3, 1), KeyId(1), UnixMillis(900), &entry("key.rotate")).await.unwrap();
    assert_eq!(store.key(KeyId(1)).await.unwrap().unwrap().expires_at, Some(UnixMillis(500)));
    not_found(store.key_rotate(&key(4, 1), KeyId(9), UnixMillis(1), &entry("key.rotate")).await, "this key");
    conflict(store.key_rotate(&key(2, 1), KeyId(3), UnixMillis(1), &entry("key.rotate")).await);
    assert_eq!(store.key(KeyId(3)).await.unwrap().unwrap().expires_at, None, "the failed rotation left no trace");
}

pub async fn a_rule_keeps_its_owner(bed: &Bed) {
    let store = bed.open().await;
    store.tenant_create(&tenant(1), &entry("tenant.create")).await.unwrap();
    store.tenant_create(&tenant(2), &entry("tenant.create")).await.unwrap();
    store.rule_put(&rule(1, None), &entry("rule.put")).await.unwrap();
    let mut newer = rule(1, None);
    newer.text = "permit (principal, action, resource);".to_owned();
    store.rule_put(&newer, &entry("rule.put")).await.unwrap();
    assert_eq!(store.rules().await.unwrap(), [newer.clone()]);
    not_found(store.rule_put(&rule(1, Some(1)), &entry("rule.put")).await, "this rule");
    // Names are unique per owner, the operator being one.
    for (n, tenant, taken) in [(2, None, true), (3, Some(1), false), (4, Some(1), true), (5, Some(2), false)] {
        let mut named = rule(n, tenant);
        named.name = newer.name.clone();
        let put = store.rule_put(&named, &entry("rule.put")).await;
        if taken { conflict(put) } else { put.unwrap() }
    }
}

pub async fn price_books_follow_one_another(bed: &Bed) {
    let store = bed.open().await;
    assert_eq!(store.price_book().await.unwrap(), PriceBook::default());
    for (version, fits) in [(0, false), (2, false), (1, true), (1, false), (2, true), (u64::MAX, false)] {
        let put = store.price_book_put(&prices(version), &entry("prices.put")).await;
        if fits { put.unwrap() } else { conflict(put) }
    }
    assert_eq!(store.price_book().await.unwrap(), prices(2));
    assert_eq!(store.price_books().await.unwrap(), [prices(1), prices(2)]);
}

pub async fn numbers_beyond_the_database_are_refused(bed: &Bed) {
    let store = bed.open().await;
    store.tenant_create(&tenant(1), &entry("tenant.create")).await.unwrap();
    let mut vast = project(1, 1);
    vast.limits.tokens_per_minute = Some(u64::MAX);
    let error = store.project_create(&vast, &entry("project.create")).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error:?}");
    assert_eq!(error.code(), Code::InvalidRequest);
    let mut vast = receipt(1, 1);
    vast.journal_seq = 1 << 63;
    assert!(store.ship(&[vast]).await.is_err());
}
