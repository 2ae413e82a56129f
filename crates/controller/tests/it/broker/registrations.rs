//! Who a platform is: its certificate or its password, what another's are told, and how many it may have.

use super::*;

#[tokio::test]
async fn a_certificate_takes_the_passwords_place() {
    let site = Site::start().await;
    let subject = "CN=service-manager,O=SAP SE,C=DE";
    let btp = site.platform(json!({ "certificate_subject": subject })).await;
    let other = site.platform(json!({})).await;
    let catalog = async |headers: &[(&str, &str)]| {
        let headers = [&[("x-broker-api-version", "2.14")], headers].concat();
        site.osb("GET", "/v2/catalog", &headers, "").await.status.as_u16()
    };
    assert_eq!(catalog(&[("x-client-subject", "C=DE, O=SAP SE, CN=service-manager")]).await, 200);
    assert_eq!(catalog(&[("x-client-subject", "C=DE, O=SAP SE, CN=somebody")]).await, 401);
    assert_eq!(catalog(&[("x-client-subject", "")]).await, 401);
    assert_eq!(catalog(&[("x-other-header", subject)]).await, 401);
    assert_eq!(catalog(&[("authorization", &btp.authorization)]).await, 401);
    assert_eq!(catalog(&[("authorization", &other.authorization)]).await, 200);
    site.post(&format!("/api/v1/brokers/{}/rotate", btp.id), json!({})).await.expect(409);
}

/// A certificate says whose a call is only if it is one registration's.
#[tokio::test]
async fn two_registrations_never_have_one_certificate() {
    let site = Site::start().await;
    let subject = "CN=service-manager,O=SAP SE,C=DE";
    let one = site.platform(json!({ "name": "one", "certificate_subject": subject })).await;
    let new = |name: &str, subject: &str| json!({ "name": name, "signature": "off", "certificate_subject": subject });
    for same in [subject, "C=DE, O=SAP SE, CN=service-manager", "/C=DE/O=SAP SE/CN=service-manager"] {
        let refused = site.post("/api/v1/brokers", new("two", same)).await;
        assert!(refused.json()["detail"].as_str().unwrap().contains("certificate"), "{:?}", refused.json());
        refused.expect(409);
    }
    let two = text(&site.post("/api/v1/brokers", new("two", "CN=other,C=DE")).await.expect(201), "id");
    let three = site.platform(json!({ "name": "three" })).await;
    let patch = |subject: &str| json!({ "certificate_subject": subject });
    for id in [&two, &three.id] {
        site.patch(&format!("/api/v1/brokers/{id}"), patch(subject)).await.expect(409);
    }
    // To itself it may say it again; and a removed one's is free.
    site.patch(&format!("/api/v1/brokers/{}", one.id), patch("C=DE,O=SAP SE,CN=service-manager")).await.expect(200);
    let catalog = async || {
        let headers = [("x-broker-api-version", "2.14"), ("x-client-subject", subject)];
        site.osb("GET", "/v2/catalog", &headers, "").await
    };
    catalog().await.expect(200);
    site.ask(&site.admin, "DELETE", &format!("/api/v1/brokers/{}", one.id), None).await.expect(204);
    catalog().await.expect(401);
    site.patch(&format!("/api/v1/brokers/{two}"), patch(subject)).await.expect(200);
    catalog().await.expect(200);
    // Two that stood before this was refused are nobody's.
    let body = site.store.broker(two.parse().unwrap()).await.unwrap().unwrap().body;
    let mut row = site.store.broker(three.id.parse().unwrap()).await.unwrap().unwrap();
    row.body = body;
    let entry = types::audit::AuditEntry {
        id: types::AuditId(1),
        at: types::UnixMillis(0),
        actor: "test".to_owned(),
        action: "broker.update".to_owned(),
        object: three.id.clone(),
        tenant: None,
        detail: "{}".to_owned(),
    };
    site.store.broker_update(&row, |_| false, &entry).await.unwrap();
    let ambiguous = catalog().await.expect(401);
    assert!(ambiguous["description"].as_str().unwrap().contains("Two registrations"), "{ambiguous}");
}

#[tokio::test]
async fn another_registrations_things_are_unknown() {
    let site = Site::start().await;
    let (own, foreign) = (site.platform(json!({})).await, site.platform(json!({})).await);
    own.put(&site, "one", &order(SHARED, json!({}))).await.expect(201);
    own.bind(&site, "one", "b1", &binding(json!({}))).await.expect(201);
    for path in ["one", "one/last_operation", "one/service_bindings/b1", "one/service_bindings/b1/last_operation"] {
        assert_eq!(
            foreign.get(&site, path).await.expect(404),
            foreign.get(&site, &path.replace("one", "none")).await.expect(404)
        );
    }
    foreign.bind(&site, "one", "b2", &binding(json!({}))).await.expect(400);
    foreign.delete(&site, "one", SHARED).await.expect(410);
    own.get(&site, "one").await.expect(200);
    // Not even the customer is the same: its name is the other platform's word.
    foreign.put(&site, "two", &order(SHARED, json!({}))).await.expect(201);
    assert_eq!(site.snapshot().tenants.len(), 2);
}

#[tokio::test]
async fn a_registration_has_its_limits() {
    let site = Site::start().await;
    let btp = site.platform(json!({ "tenants_max": 1, "instances_max": 2 })).await;
    let mut foreign = order(SHARED, json!({}));
    foreign["context"]["subaccount_id"] = json!("sub-2");
    btp.put(&site, "one", &order(SHARED, json!({}))).await.expect(201);
    btp.put(&site, "two", &foreign).await.expect(400);
    let operation = text(
        &btp.put(&site, "two", &order(Plan::InferenceDedicated, json!({ "model": "m" }))).await.expect(202),
        "operation",
    );
    btp.put(&site, "three", &order(SHARED, json!({}))).await.expect(400);
    // What was ordered has its place already.
    site.post(&format!("/api/v1/operations/{operation}"), json!({ "do": "fulfil", "reason": "r" })).await.expect(200);
    btp.delete(&site, "one", SHARED).await.expect(200);
    btp.put(&site, "three", &order(SHARED, json!({}))).await.expect(201);
    assert_eq!(site.snapshot().tenants.len(), 1);
    for bad in [
        json!({ "name": "x" }),
        json!({ "name": "x", "signature": "maybe" }),
        json!({ "name": "x", "signature": "required" }),
        json!({ "name": "x", "signature": "off", "plans": [] }),
        json!({ "name": "x", "signature": "off", "plans": ["gold"] }),
        json!({ "name": "x", "signature": "off", "subaccounts": [] }),
        json!({ "name": "x", "signature": "off", "tenants_max": 0 }),
        json!({ "name": "x", "signature": "off", "tenant_key": "A b" }),
        json!({ "name": "x", "signature": "off", "tenant_budget_micro_eur": -1 }),
        json!({ "name": "x", "signature": "off", "signature_key": "no key" }),
        json!({ "name": "x", "signature": "off", "certificate_subject": "somebody" }),
    ] {
        site.post("/api/v1/brokers", bad).await.expect(400);
    }
}
