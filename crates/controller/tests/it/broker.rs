//! A platform at the broker: lives of instances and bindings, what the site looks like afterwards, and what is refused.
//! The whole process over sockets, with a gateway that serves the keys, is in `crates/hoheit/tests/it/broker.rs`.

mod registrations;

use crate::site::{Reply, START, Site, text};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::{Plan, SERVICE};
use http::{Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use tower::ServiceExt;
use types::{DataClass, MicroEur};

/// A registered platform.
pub struct Platform {
    pub id: String,
    authorization: String,
}

impl Site {
    /// Registers a platform; `more` goes over what is usual.
    pub async fn platform(&self, more: Value) -> Platform {
        let mut body = json!({ "name": format!("btp {}", self.clock.load(Ordering::Relaxed)), "signature": "off" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.post("/api/v1/brokers", body).await.expect(201);
        assert_eq!(made["url"], "https://ai.example/osb");
        let user = format!("{}:{}", text(&made, "username"), made["password"].as_str().unwrap_or_default());
        Platform { id: text(&made, "id"), authorization: format!("Basic {}", STANDARD.encode(user)) }
    }

    /// A call to the broker with exactly these headers.
    async fn osb(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("/osb{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        Reply { status: parts.status, headers: parts.headers, bytes: body.collect().await.unwrap().to_bytes() }
    }
}

impl Platform {
    async fn call(&self, site: &Site, method: &str, path: &str, body: &Value) -> Reply {
        let headers = [
            (header::AUTHORIZATION.as_str(), self.authorization.as_str()),
            ("x-broker-api-version", "2.14"),
            ("x-broker-api-originating-identity", "sapcp eyJ1c2VyIjoiYW5uYSJ9"),
            ("x-broker-api-request-identity", "call-7"),
        ];
        let reply =
            site.osb(method, path, &headers, &if body.is_null() { String::new() } else { body.to_string() }).await;
        assert_eq!(reply.headers["content-type"], "application/json", "{method} {path}");
        assert_eq!(reply.headers["x-broker-api-request-identity"], "call-7");
        reply
    }

    async fn get(&self, site: &Site, path: &str) -> Reply {
        self.call(site, "GET", &format!("/v2/service_instances/{path}"), &Value::Null).await
    }

    async fn put(&self, site: &Site, id: &str, body: &Value) -> Reply {
        self.call(site, "PUT", &format!("/v2/service_instances/{id}?accepts_incomplete=true"), body).await
    }

    async fn patch(&self, site: &Site, id: &str, body: &Value) -> Reply {
        self.call(site, "PATCH", &format!("/v2/service_instances/{id}?accepts_incomplete=true"), body).await
    }

    async fn delete(&self, site: &Site, id: &str, plan: Plan) -> Reply {
        let path =
            format!("/v2/service_instances/{id}?service_id={SERVICE}&plan_id={}&accepts_incomplete=true", plan.id());
        self.call(site, "DELETE", &path, &Value::Null).await
    }

    async fn bind(&self, site: &Site, id: &str, binding: &str, body: &Value) -> Reply {
        self.call(site, "PUT", &format!("/v2/service_instances/{id}/service_bindings/{binding}"), body).await
    }

    /// Orders dedicated capacity; the order's id.
    pub async fn ordered(&self, site: &Site) -> String {
        text(
            &self.put(site, "ordered", &order(Plan::InferenceDedicated, json!({ "model": "m" }))).await.expect(202),
            "operation",
        )
    }
}

fn order(plan: Plan, parameters: Value) -> Value {
    json!({ "service_id": SERVICE, "plan_id": plan.id(), "organization_guid": "-", "space_guid": "-", "parameters": parameters,
        "context": { "platform": "service-manager", "subaccount_id": "sub-1", "instance_name": "Chat & Co" } })
}

fn binding(parameters: Value) -> Value {
    json!({ "service_id": SERVICE, "plan_id": Plan::InferenceShared.id(), "parameters": parameters })
}

const SHARED: Plan = Plan::InferenceShared;

#[tokio::test]
async fn an_instance_is_a_project_and_a_customer_a_tenant() {
    let site = Site::start().await;
    let btp = site.platform(json!({ "tenant_budget_micro_eur": 7_000_000 })).await;
    let asked = order(
        SHARED,
        json!({ "data_class": "confidential", "country": "DE", "monthly_budget_eur": 5, "requests_per_minute": 9 }),
    );
    assert_eq!(btp.put(&site, "one", &asked).await.expect(201), json!({}));
    let snapshot = site.snapshot();
    let (tenant, project) = (snapshot.tenants[0].clone(), snapshot.projects[0].clone());
    assert!(tenant.name.starts_with("sub-1 ") && tenant.budget == Some(MicroEur(7_000_000)), "{tenant:?}");
    assert!(project.name.starts_with("Chat & Co ") && project.tenant == tenant.id, "{project:?}");
    assert_eq!((project.class, project.budget), (DataClass::Confidential, Some(MicroEur(5_000_000))));
    assert_eq!((project.country.unwrap().to_string(), project.limits.requests_per_minute), ("DE".to_owned(), Some(9)));
    // A repeat changes nothing; another with the same id is none.
    let entries = site.audit().await.len();
    assert_eq!(btp.put(&site, "one", &asked).await.expect(200), json!({}));
    let other = btp.put(&site, "one", &order(SHARED, json!({}))).await.expect(409);
    assert!(other["description"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(site.audit().await.len(), entries);
    // The second instance of the customer is in the same tenant; another customer's is not.
    btp.put(&site, "two", &order(Plan::GroundedAnswers, json!({}))).await.expect(201);
    let mut foreign = order(SHARED, json!({}));
    foreign["context"]["subaccount_id"] = json!("sub-2");
    btp.put(&site, "three", &foreign).await.expect(201);
    let snapshot = site.snapshot();
    assert_eq!((snapshot.tenants.len(), snapshot.projects.len()), (2, 3));
    assert_eq!(snapshot.projects.iter().filter(|project| project.tenant == tenant.id).count(), 2);
    // Who asked for it stands in the audit log.
    let entry = site.audit().await.into_iter().find(|entry| entry["action"] == "instance.create").unwrap();
    assert_eq!((&entry["actor"], &entry["object"]), (&json!(btp.id), &json!(project.id)));
    assert_eq!(entry["tenant"], json!(tenant.id));
    assert_eq!(entry["detail"]["identity"], json!({ "platform": "sapcp", "user": { "user": "anna" } }));
    assert_eq!((&entry["detail"]["request"], &entry["detail"]["instance"]), (&json!("call-7"), &json!("one")));
    // What the operator sees of it.
    let list = site.get(&format!("/api/v1/brokers/{}/instances", btp.id)).await.expect(200);
    let seen: Vec<_> =
        list["data"].as_array().unwrap().iter().map(|row| (row["id"].clone(), row["state"].clone())).collect();
    assert_eq!(
        seen,
        [("one", "ready"), ("three", "ready"), ("two", "ready")].map(|(id, state)| (json!(id), json!(state)))
    );
    let fetched = btp.get(&site, "one").await.expect(200);
    assert_eq!((&fetched["plan_id"], &fetched["parameters"]), (&json!(SHARED.id()), &asked["parameters"]));
    assert_eq!(btp.get(&site, "one/last_operation").await.expect(200)["state"], "succeeded");
    btp.get(&site, "none").await.expect(404);
    btp.get(&site, "none/last_operation").await.expect(404);
}

#[tokio::test]
async fn a_change_touches_what_it_is_about() {
    let site = Site::start().await;
    let btp = site.platform(json!({})).await;
    btp.put(&site, "one", &order(SHARED, json!({ "monthly_budget_eur": 5 }))).await.expect(201);
    let project = site.snapshot().projects[0].clone();
    // The operator's hand stays where the platform says nothing.
    site.patch(&format!("/api/v1/projects/{}", project.id), json!({ "tokens_per_minute": 77 })).await.expect(200);
    let change = |parameters: Value| json!({ "service_id": SERVICE, "parameters": parameters, "previous_values": { "plan_id": "x" } });
    assert_eq!(
        btp.patch(&site, "one", &change(json!({ "monthly_budget_eur": 6, "data_class": "secret" }))).await.expect(200),
        json!({})
    );
    let changed = site.snapshot().projects[0].clone();
    assert_eq!(
        (changed.budget, changed.class, changed.limits.tokens_per_minute),
        (Some(MicroEur(6_000_000)), DataClass::Secret, Some(77))
    );
    btp.patch(&site, "one", &change(json!({ "monthly_budget_eur": null }))).await.expect(200);
    assert_eq!(site.snapshot().projects[0].budget, None);
    let renamed = json!({ "service_id": SERVICE, "context": { "subaccount_id": "sub-1", "instance_name": "Neu" } });
    btp.patch(&site, "one", &renamed).await.expect(200);
    assert!(site.snapshot().projects[0].name.starts_with("Neu "));
    let plan = json!({ "service_id": SERVICE, "plan_id": Plan::GroundedAnswers.id() });
    btp.patch(&site, "one", &plan).await.expect(200);
    assert_eq!(btp.get(&site, "one").await.expect(200)["plan_id"], Plan::GroundedAnswers.id());
    for (bad, status) in [
        (json!({ "parameters": {} }), 400),
        (change(json!({ "budget": 1 })), 400),
        (json!({ "service_id": SERVICE, "plan_id": "x" }), 400),
        (json!({ "service_id": SERVICE, "context": { "subaccount_id": "sub-2" } }), 400),
        (json!({ "service_id": SERVICE, "maintenance_info": { "version": "0.0.1" } }), 422),
    ] {
        btp.patch(&site, "one", &bad).await.expect(status);
    }
    btp.patch(&site, "none", &change(json!({}))).await.expect(400);
}

#[tokio::test]
async fn a_binding_is_a_key_and_ends_with_its_deletion() {
    let site = Site::start().await;
    let btp = site.platform(json!({})).await;
    btp.bind(&site, "one", "b1", &binding(json!({}))).await.expect(400);
    btp.put(&site, "one", &order(SHARED, json!({}))).await.expect(201);
    let asked = binding(json!({ "expires_in_days": 10, "requests_per_minute": 5 }));
    let first = btp.bind(&site, "one", "b1", &asked).await.expect(201);
    let (key, project) = (site.snapshot().keys[0].clone(), site.snapshot().projects[0].clone());
    let credentials = &first["credentials"];
    let secret = text(credentials, "clientsecret");
    assert_eq!(site.pepper.hash(secret.strip_prefix(&format!("hk_{}_", key.id.digits())).unwrap()), key.secret_hash);
    assert_eq!((key.project, key.limits.requests_per_minute), (project.id, Some(5)));
    let vkey = site.controller.parts().log_vkey.clone();
    assert_eq!(
        *credentials,
        json!({ "clientid": key.id, "clientsecret": secret, "url": "https://ai.example", "identityzone": "test",
            "identityzoneid": project.tenant, "appname": project.id, "serviceurls": { "AI_API_URL": "https://ai.example" },
            "openai": { "base_url": "https://ai.example/v1", "api_key": secret },
            "sonar": { "base_url": "https://ai.example", "api_key": secret },
            "evidence": { "log_url": "https://ai.example/log", "verifier_key": vkey } })
    );
    let expires = key.expires_at.unwrap().0;
    assert!((START + 864_000_000..START + 864_100_000).contains(&expires), "{expires}");
    assert!(text(&first["metadata"], "expires_at").starts_with("2026-11-25T00:00:0"));
    assert!(text(&first["metadata"], "renew_before").starts_with("2026-11-24T00:00:0"));
    // Told again, and made once.
    assert_eq!(btp.bind(&site, "one", "b1", &asked).await.expect(200), first);
    let fetched = btp.get(&site, "one/service_bindings/b1").await.expect(200);
    assert_eq!((&fetched["credentials"], &fetched["metadata"]), (credentials, &first["metadata"]));
    assert_eq!(btp.get(&site, "one/service_bindings/b1/last_operation").await.expect(200)["state"], "succeeded");
    btp.bind(&site, "one", "b1", &binding(json!({}))).await.expect(409);
    assert_eq!(site.snapshot().keys.len(), 1);
    // The secret is in no row and in no file.
    site.store.close().await;
    for file in ["hoheit.db", "hoheit.db-wal"] {
        let bytes = std::fs::read(site.dir.path().join(file)).unwrap_or_default();
        assert!(!bytes.windows(52).any(|window| secret.as_bytes().ends_with(window)), "{file}");
    }
}

#[tokio::test]
async fn bindings_are_rotated_and_unbound_one_by_one() {
    let site = Site::start().await;
    let btp = site.platform(json!({})).await;
    btp.put(&site, "one", &order(SHARED, json!({}))).await.expect(201);
    btp.bind(&site, "one", "b1", &binding(json!({ "expires_in_days": 3 }))).await.expect(201);
    let rotation = json!({ "service_id": SERVICE, "plan_id": SHARED.id(), "predecessor_binding_id": "b1" });
    let second = btp.bind(&site, "one", "b2", &rotation).await.expect(201);
    assert_eq!(btp.bind(&site, "one", "b2", &rotation).await.expect(200), second);
    let keys = site.snapshot().keys.clone();
    assert!(
        keys.len() == 2 && keys.iter().all(|key| !key.revoked && key.expires_at.is_some()),
        "both are good: {keys:?}"
    );
    let mut lost = rotation.clone();
    lost["predecessor_binding_id"] = json!("none");
    btp.bind(&site, "one", "b3", &lost).await.expect(400);
    let unbind = |id: &str| {
        format!("/v2/service_instances/one/service_bindings/{id}?service_id={SERVICE}&plan_id={}", SHARED.id())
    };
    btp.call(&site, "DELETE", "/v2/service_instances/one/service_bindings/b1", &Value::Null).await.expect(400);
    assert_eq!(btp.call(&site, "DELETE", &unbind("b1"), &Value::Null).await.expect(200), json!({}));
    let revoked = |site: &Site| site.snapshot().keys.iter().map(|key| key.revoked).collect::<Vec<_>>();
    assert_eq!(revoked(&site), [true, false]);
    btp.call(&site, "DELETE", &unbind("b1"), &Value::Null).await.expect(410);
    btp.get(&site, "one/service_bindings/b1").await.expect(404);
    btp.get(&site, "one/service_bindings/b1/last_operation").await.expect(410);
    // The PUT that the DELETE overtook makes nothing.
    btp.call(&site, "DELETE", &unbind("late"), &Value::Null).await.expect(410);
    assert_eq!(btp.bind(&site, "one", "late", &binding(json!({}))).await.expect(422)["error"], "ConcurrencyError");
    assert_eq!(site.snapshot().keys.len(), 2);
    let route = json!({ "service_id": SERVICE, "plan_id": SHARED.id(), "bind_resource": { "route": "a.example" } });
    btp.bind(&site, "one", "b4", &route).await.expect(400);
}

#[tokio::test]
async fn a_deletion_ends_every_key_and_is_over_when_nothing_is_left() {
    let site = Site::start().await;
    let btp = site.platform(json!({})).await;
    btp.put(&site, "one", &order(SHARED, json!({}))).await.expect(201);
    btp.bind(&site, "one", "b1", &binding(json!({}))).await.expect(201);
    let project = site.snapshot().projects[0].id;
    site.key(&project.to_string()).await;
    btp.call(&site, "DELETE", "/v2/service_instances/one", &Value::Null).await.expect(400);
    *site.destroyed.refuse.lock().unwrap() = Some("canary".to_owned());
    let failed = btp.delete(&site, "one", SHARED).await;
    assert!(!String::from_utf8_lossy(&failed.bytes).contains("canary"));
    failed.expect(500);
    assert!(site.snapshot().keys.iter().all(|key| key.revoked), "no key works although not everything is done");
    btp.get(&site, "one").await.expect(404);
    assert_eq!(btp.get(&site, "one/last_operation").await.expect(200)["state"], "in progress");
    assert_eq!(btp.put(&site, "one", &order(SHARED, json!({}))).await.expect(422)["error"], "ConcurrencyError");
    assert_eq!(btp.bind(&site, "one", "b2", &binding(json!({}))).await.expect(422)["error"], "ConcurrencyError");
    *site.destroyed.refuse.lock().unwrap() = None;
    assert_eq!(btp.delete(&site, "one", SHARED).await.expect(200), json!({}));
    assert_eq!(*site.destroyed.projects.lock().unwrap(), [project, project]);
    btp.delete(&site, "one", SHARED).await.expect(410);
    assert_eq!(site.destroyed.projects.lock().unwrap().len(), 2);
    btp.get(&site, "one/last_operation").await.expect(410);
    // Ten minutes in which a PUT that was overtaken makes nothing; then the id is free.
    btp.delete(&site, "two", SHARED).await.expect(410);
    for id in ["one", "two"] {
        assert_eq!(btp.put(&site, id, &order(SHARED, json!({}))).await.expect(422)["error"], "ConcurrencyError");
    }
    assert_eq!(site.snapshot().projects.len(), 1);
    site.clock.fetch_add(600_000, Ordering::Relaxed);
    btp.put(&site, "two", &order(SHARED, json!({}))).await.expect(201);
}

/// What is deleted is closed: the project is there for its receipts, and nobody makes it anything else by the ordinary API.
#[tokio::test]
async fn a_deleted_instances_project_is_closed() {
    let site = Site::start().await;
    let btp = site.platform(json!({})).await;
    btp.put(&site, "one", &order(SHARED, json!({}))).await.expect(201);
    btp.put(&site, "two", &order(SHARED, json!({}))).await.expect(201);
    btp.bind(&site, "one", "b1", &binding(json!({}))).await.expect(201);
    let instances = site.get(&format!("/api/v1/brokers/{}/instances", btp.id)).await.expect(200);
    let [one, two] = [0, 1].map(|row| text(&instances["data"][row], "project"));
    let own = site.key(&one).await;
    let closed_at = async |project: &str| {
        let shown = site.get(&format!("/api/v1/projects/{project}")).await.expect(200)["closed_at"].clone();
        let list = site.get("/api/v1/projects").await.expect(200);
        let listed =
            list["data"].as_array().unwrap().iter().find(|row| row["id"] == project).unwrap()["closed_at"].clone();
        assert_eq!(shown, listed);
        shown
    };
    assert_eq!(closed_at(&one).await, Value::Null);
    // Closed with the keys, before what it stored is destroyed.
    *site.destroyed.refuse.lock().unwrap() = Some("down".to_owned());
    btp.delete(&site, "one", SHARED).await.expect(500);
    let since = closed_at(&one).await;
    assert!(since.as_i64().is_some_and(|at| at > START), "{since}");
    let refused = async || {
        let entries = site.audit().await.len();
        let make = site.post("/api/v1/keys", json!({ "project": one })).await;
        assert!(make.json()["detail"].as_str().unwrap().contains("closed"), "{:?}", make.json());
        make.expect(409);
        site.post(&format!("/api/v1/keys/{own}/rotate"), json!({})).await.expect(409);
        site.patch(&format!("/api/v1/projects/{one}"), json!({ "budget_micro_eur": null })).await.expect(409);
        assert_eq!(site.audit().await.len(), entries);
        let snapshot = site.snapshot();
        let mut keys = snapshot.keys.iter().filter(|key| key.project.to_string() == one);
        assert!(keys.all(|key| key.revoked));
    };
    refused().await;
    *site.destroyed.refuse.lock().unwrap() = None;
    btp.delete(&site, "one", SHARED).await.expect(200);
    refused().await;
    assert_eq!(closed_at(&one).await, since, "a repeat closes nothing again");
    assert_eq!(closed_at(&two).await, Value::Null);
    site.key(&two).await;
}

#[tokio::test]
async fn an_order_waits_for_the_operator() {
    let site = Site::start().await;
    let btp = site.platform(json!({})).await;
    let asked = order(Plan::InferenceDedicated, json!({ "model": "m", "replicas": 2 }));
    let at_once = btp.call(&site, "PUT", "/v2/service_instances/one", &asked).await.expect(422);
    assert_eq!(at_once["error"], "AsyncRequired");
    let operation = text(&btp.put(&site, "one", &asked).await.expect(202), "operation");
    assert_eq!(text(&btp.put(&site, "one", &asked).await.expect(202), "operation"), operation);
    assert!(site.snapshot_if_any().is_none_or(|snapshot| snapshot.projects.is_empty()), "nothing is there yet");
    btp.get(&site, "one").await.expect(404);
    let polled = btp.get(&site, &format!("one/last_operation?operation={operation}")).await;
    assert_eq!(polled.headers["retry-after"], "60");
    assert_eq!(polled.expect(200)["state"], "in progress");
    btp.get(&site, "one/last_operation?operation=other").await.expect(400);
    assert_eq!(
        btp.bind(&site, "one", "b1", &json!({ "service_id": SERVICE, "plan_id": Plan::InferenceDedicated.id() }))
            .await
            .expect(422)["error"],
        "ConcurrencyError"
    );
    let waiting = site.get("/api/v1/operations").await.expect(200)["data"][0].clone();
    assert_eq!((&waiting["id"], &waiting["parameters"]), (&json!(operation), &asked["parameters"]));
    let decide = |operation: &str, what: &str| {
        let path = format!("/api/v1/operations/{operation}");
        let site = &site;
        let body = json!({ "do": what, "reason": "rack h1/r01 is free" });
        async move { site.post(&path, body).await }
    };
    assert_eq!(decide(&operation, "fulfil").await.expect(200)["state"], "ready");
    assert_eq!(site.snapshot().projects.len(), 1);
    assert_eq!(
        btp.get(&site, &format!("one/last_operation?operation={operation}")).await.expect(200)["state"],
        "succeeded"
    );
    btp.put(&site, "one", &asked).await.expect(200);
    decide(&operation, "fulfil").await.expect(404);
    // More of it is another order, and goes on as it is if that comes to nothing.
    let more = json!({ "service_id": SERVICE, "parameters": { "replicas": 4 } });
    let at_once = btp.call(&site, "PATCH", "/v2/service_instances/one", &more).await.expect(422);
    assert_eq!(at_once["error"], "AsyncRequired");
    let change = text(&btp.patch(&site, "one", &more).await.expect(202), "operation");
    assert_eq!(text(&btp.patch(&site, "one", &more).await.expect(202), "operation"), change);
    let yet_more = json!({ "service_id": SERVICE, "parameters": { "replicas": 5 } });
    assert_eq!(btp.patch(&site, "one", &yet_more).await.expect(422)["error"], "ConcurrencyError");
    assert_eq!(btp.get(&site, "one").await.expect(422)["error"], "ConcurrencyError");
    decide(&change, "refuse").await.expect(200);
    let failed = btp.get(&site, &format!("one/last_operation?operation={change}")).await.expect(200);
    assert_eq!((&failed["state"], &failed["instance_usable"]), (&json!("failed"), &json!(true)));
    assert_eq!(failed["description"], "rack h1/r01 is free");
    assert_eq!(btp.get(&site, "one").await.expect(200)["parameters"]["replicas"], 2);
    // Refused, or deleted before anybody decided: no project was made.
    let second = text(&btp.put(&site, "two", &asked).await.expect(202), "operation");
    decide(&second, "refuse").await.expect(200);
    assert_eq!(btp.get(&site, "two/last_operation").await.expect(200)["state"], "failed");
    btp.delete(&site, "two", Plan::InferenceDedicated).await.expect(200);
    let third = text(&btp.put(&site, "three", &asked).await.expect(202), "operation");
    btp.delete(&site, "three", Plan::InferenceDedicated).await.expect(200);
    decide(&third, "fulfil").await.expect(404);
    assert_eq!(btp.get(&site, &format!("three/last_operation?operation={third}")).await.expect(200)["state"], "failed");
    assert_eq!(site.snapshot().projects.len(), 1);
    assert!(site.destroyed.projects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn equal_orders_at_once_make_one_project() {
    let site = Site::start().await;
    let btp = site.platform(json!({})).await;
    let asked = order(SHARED, json!({}));
    let put = || btp.put(&site, "one", &asked);
    let replies = tokio::join!(put(), put(), put(), put(), put(), put(), put(), put());
    let (a, b, c, d, e, f, g, h) = replies;
    let mut statuses = [a, b, c, d, e, f, g, h].map(|reply| reply.status.as_u16());
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 201]);
    assert_eq!((site.snapshot().projects.len(), site.snapshot().tenants.len()), (1, 1));
}

/// Two processes over one store know nothing of each other's turns: whoever comes second reads again and decides again.
#[tokio::test]
async fn equal_orders_at_two_processes_make_one_project() {
    let site = Site::start().await;
    let btp = site.platform(json!({})).await;
    let body = order(SHARED, json!({})).to_string();
    for id in ["one", "two", "three", "four", "five"] {
        let put = |router: &axum::Router| {
            let request = Request::builder()
                .method("PUT")
                .uri(format!("/osb/v2/service_instances/{id}"))
                .header(header::AUTHORIZATION, &btp.authorization)
                .header("x-broker-api-version", "2.14")
                .body(Body::from(body.clone()))
                .unwrap();
            router.clone().oneshot(request)
        };
        let (ours, beside) = tokio::join!(put(&site.router), put(&site.beside));
        let mut statuses = [ours, beside].map(|reply| reply.unwrap().status().as_u16());
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 201], "{id}");
    }
    assert_eq!(site.store.projects(None).await.unwrap().len(), 5);
}

#[tokio::test]
async fn what_was_written_and_not_published_is_published_by_the_repeat() {
    let site = Site::start().await;
    let btp = site.platform(json!({})).await;
    btp.put(&site, "one", &order(SHARED, json!({}))).await.expect(201);
    btp.bind(&site, "one", "b1", &binding(json!({}))).await.expect(201);
    let unbind = format!("/v2/service_instances/one/service_bindings/b1?service_id={SERVICE}&plan_id={}", SHARED.id());
    *site.refuse_publication.lock().unwrap() = Some("down".to_owned());
    btp.call(&site, "DELETE", &unbind, &Value::Null).await.expect(500);
    assert!(!site.snapshot().keys[0].revoked);
    *site.refuse_publication.lock().unwrap() = None;
    btp.call(&site, "DELETE", &unbind, &Value::Null).await.expect(410);
    assert!(site.snapshot().keys[0].revoked, "gone is said after the gateway knows");
}

#[tokio::test]
async fn who_may_call_and_with_which_version() {
    let site = Site::start().await;
    let btp = site.platform(json!({ "plans": ["inference-shared"] })).await;
    let catalog = async |authorization: &str, version: &str| {
        let headers = [("authorization", authorization), ("x-broker-api-version", version)];
        site.osb("GET", "/v2/catalog", &headers, "").await
    };
    let good = catalog(&btp.authorization, "2.13").await.expect(200);
    let plans = &good["services"][0]["plans"];
    assert_eq!((plans.as_array().unwrap().len(), &plans[0]["name"]), (1, &json!("inference-shared")));
    catalog(&btp.authorization, "2.17").await.expect(200);
    for version in ["2.12", "3.0", ""] {
        assert!(catalog(&btp.authorization, version).await.expect(412)["description"].is_string());
    }
    // A stranger learns nothing, not even versions.
    let (user, _) = String::from_utf8(STANDARD.decode(&btp.authorization[6..]).unwrap())
        .unwrap()
        .split_once(':')
        .map(|(u, p)| (u.to_owned(), p.to_owned()))
        .unwrap();
    let wrong = format!("Basic {}", STANDARD.encode(format!("{user}:{}", "0".repeat(52))));
    let empty = format!("Basic {}", STANDARD.encode(format!("{user}:")));
    let admin = format!("Bearer {}", site.admin);
    for authorization in ["", "Basic", "Basic !", "Basic dTpw", &wrong, &empty, &admin] {
        let reply = catalog(authorization, "1.0").await;
        assert_eq!(reply.headers["www-authenticate"], "Basic realm=\"hoheit\"", "{authorization}");
        reply.expect(401);
    }
    // Nor is a plan that is not this registration's for it.
    btp.put(&site, "one", &order(Plan::GroundedAnswers, json!({}))).await.expect(400);
    // Rotated, removed: at once.
    let made = site.post(&format!("/api/v1/brokers/{}/rotate", btp.id), json!({})).await.expect(201);
    catalog(&btp.authorization, "2.14").await.expect(401);
    let new = format!("Basic {}", STANDARD.encode(format!("{}:{}", text(&made, "username"), text(&made, "password"))));
    catalog(&new, "2.14").await.expect(200);
    site.ask(&site.admin, "DELETE", &format!("/api/v1/brokers/{}", btp.id), None).await.expect(204);
    catalog(&new, "2.14").await.expect(401);
    let log = site.get("/api/v1/audit?limit=1000").await;
    assert!(!String::from_utf8_lossy(&log.bytes).contains(&text(&made, "password")));
    // Everything that is no path of the specification is JSON too.
    for (method, path, status) in [("GET", "/v2/none", 404), ("GET", "/v2", 404), ("POST", "/v2/catalog", 405)] {
        assert!(site.osb(method, path, &[("authorization", &new)], "").await.expect(status)["description"].is_string());
    }
}

/// What nobody fulfilled within a week is in no list, and in nobody's way.
#[tokio::test]
async fn an_order_that_is_over_is_not_listed() {
    let site = Site::start().await;
    let btp = site.platform(json!({})).await;
    let asked = order(Plan::InferenceDedicated, json!({ "model": "m" }));
    btp.put(&site, "old", &asked).await.expect(202);
    let waiting = async || {
        let list = site.get("/api/v1/operations").await.expect(200)["data"].clone();
        list.as_array().unwrap().iter().map(|row| text(row, "instance")).collect::<Vec<_>>()
    };
    site.clock.fetch_add(broker::POLLING_SECS_MAX * 1_000 - 60_000, Ordering::Relaxed);
    assert_eq!(waiting().await, ["old"]);
    site.clock.fetch_add(60_000, Ordering::Relaxed);
    btp.put(&site, "new", &asked).await.expect(202);
    assert_eq!(waiting().await, ["new"]);
    let oldest = types::OperationId::from_parts(
        types::UnixMillis(site.clock.load(Ordering::Relaxed) - broker::POLLING_SECS_MAX * 1_000),
        [0; 10],
    );
    let one = site.store.broker_orders(oldest, 1).await.unwrap();
    assert_eq!(one[0].id, "new", "the old one does not take its place on a full page");
}

/// What no id can be is never stored, and the platform's names for a call are in the audit log.
#[tokio::test]
async fn ids_that_are_none_and_names_of_calls() {
    let site = Site::start().await;
    let btp = site.platform(json!({})).await;
    let longest = "x".repeat(128);
    btp.put(&site, &longest, &order(SHARED, json!({}))).await.expect(201);
    for id in [format!("{longest}x"), "a%07b".to_owned()] {
        btp.put(&site, &id, &order(SHARED, json!({}))).await.expect(400);
        btp.delete(&site, &id, SHARED).await.expect(400);
        btp.get(&site, &id).await.expect(404);
        btp.bind(&site, &longest, &id, &binding(json!({}))).await.expect(400);
        btp.get(&site, &format!("{longest}/service_bindings/{id}")).await.expect(404);
    }
    assert_eq!((site.snapshot().projects.len(), site.snapshot().keys.len()), (1, 0));
    let headers =
        [("authorization", btp.authorization.as_str()), ("x-broker-api-version", "2.14"), ("x-correlation-id", "c-9")];
    let body = order(SHARED, json!({})).to_string();
    let reply = site.osb("PUT", "/v2/service_instances/two", &headers, &body).await;
    assert_eq!(reply.headers["x-correlation-id"], "c-9");
    reply.expect(201);
    let entry = site.audit().await.into_iter().find(|entry| entry["detail"]["instance"] == "two").unwrap();
    assert_eq!(entry["detail"]["correlation"], "c-9");
    assert!(entry["detail"].get("identity").is_none(), "nobody was named");
}
