//! What the operations do: keys shown once, rotation, tokens that end, publication before the answer, budgets, receipts.

use crate::site::{START, Site, engine, text};
use ledger::note::Vkey;
use ledger::proof::{Policy, TlogProof};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use types::{KeyId, MicroEur};

#[tokio::test]
async fn a_key_is_shown_once_and_stored_as_a_keyed_hash() {
    let site = Site::start().await;
    let project = site.project(&site.tenant("t").await).await;
    let key = site.post("/api/v1/keys", json!({ "project": project, "requests_per_minute": 7 })).await.expect(201);
    let (id, shown): (KeyId, _) = (text(&key, "id").parse().unwrap(), text(&key, "key"));
    let secret = shown.strip_prefix(&format!("hk_{}_", id.digits())).unwrap();
    assert_eq!(secret.len(), 52);
    // Published before the answer: the gateway knows the key when its holder does.
    let snapshot = site.snapshot();
    let stored = snapshot.keys.iter().find(|key| key.id == id).unwrap();
    assert_eq!(stored.secret_hash, site.pepper.hash(secret));
    assert_eq!(stored.limits.requests_per_minute, Some(7));
    for path in ["/api/v1/keys".to_owned(), format!("/api/v1/keys/{id}"), "/api/v1/audit".to_owned()] {
        let seen = String::from_utf8(site.get(&path).await.bytes.to_vec()).unwrap();
        assert!(!seen.contains(secret) && !seen.contains(&stored.secret_hash), "{path}");
    }
    let database = std::fs::read(site.dir.path().join("hoheit.db")).unwrap();
    let wal = std::fs::read(site.dir.path().join("hoheit.db-wal")).unwrap_or_default();
    let held = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    assert!(!held(&database) && !held(&wal));
}

#[tokio::test]
async fn rotation_leaves_the_old_key_a_grace() {
    let site = Site::start().await;
    let key = site.key(&site.project(&site.tenant("t").await).await).await;
    site.patch(&format!("/api/v1/keys/{key}"), json!({ "budget_micro_eur": 9 })).await.expect(200);
    let new = site.post(&format!("/api/v1/keys/{key}/rotate"), json!({ "grace_secs": 60 })).await.expect(201);
    assert_ne!(text(&new, "id"), key);
    let snapshot = site.snapshot();
    let by_id = |id: &str| snapshot.keys.iter().find(|key| key.id.to_string() == id).unwrap().clone();
    let (old, new) = (by_id(&key), by_id(&text(&new, "id")));
    assert!((START + 60_000..START + 61_000).contains(&old.expires_at.unwrap().0));
    assert_eq!((new.expires_at, new.budget, new.project), (None, Some(MicroEur(9)), old.project));
    assert_ne!(new.secret_hash, old.secret_hash);
    site.post(&format!("/api/v1/keys/{key}/rotate"), json!({ "grace_secs": 10_000_000 })).await.expect(400);
    site.post(&format!("/api/v1/keys/{key}/revoke"), json!({})).await.expect(200);
    assert!(site.snapshot().keys.iter().any(|other| other.id.to_string() == key && other.revoked));
    assert_eq!(site.post(&format!("/api/v1/keys/{key}/rotate"), json!({})).await.code(), "conflict");
}

#[tokio::test]
async fn tokens_end() {
    let site = Site::start().await;
    let tenant = site.tenant("t").await;
    let (id, token) = site.token("auditor", Some(&tenant)).await;
    site.ask(&token, "GET", "/api/v1/projects", None).await.expect(200);
    site.post(&format!("/api/v1/tokens/{id}/revoke"), json!({})).await.expect(200);
    assert_eq!(site.ask(&token, "GET", "/api/v1/projects", None).await.code(), "key_revoked");
    let body = json!({ "name": "t", "role": "auditor", "expires_at": START + 60_000 });
    let token = text(&site.post("/api/v1/tokens", body).await.expect(201), "token");
    site.ask(&token, "GET", "/api/v1/projects", None).await.expect(200);
    site.clock.store(START + 60_000, Ordering::Relaxed);
    assert_eq!(site.ask(&token, "GET", "/api/v1/projects", None).await.code(), "key_expired");
    assert_eq!(site.ask(&token, "GET", "/api/v1/projects", None).await.status, 401);
}

#[tokio::test]
async fn no_token_makes_one_that_sees_more() {
    let site = Site::start().await;
    let tenant = site.tenant("t").await;
    let admin = site.token("tenant_admin", Some(&tenant)).await.1;
    let make = |role: &str| site.ask(&admin, "POST", "/api/v1/tokens", Some(json!({ "name": "x", "role": role })));
    for role in ["operator", "installer"] {
        make(role).await.expect(400);
    }
    make("auditor").await.expect(201);
    assert!(site.store.tokens().await.unwrap().iter().all(|token| token.tenant.is_some()));
}

#[tokio::test]
async fn a_change_is_published_before_its_answer_or_the_answer_says_so() {
    let site = Site::start().await;
    site.tenant("first").await;
    assert_eq!(site.snapshot().tenants.len(), 1);
    *site.refuse_publication.lock().unwrap() = Some("canary".to_owned());
    let reply = site.post("/api/v1/tenants", json!({ "name": "second" })).await;
    assert_eq!(reply.code(), "internal");
    assert!(!String::from_utf8_lossy(&reply.bytes).contains("canary"));
    *site.refuse_publication.lock().unwrap() = None;
    assert!(site.controller.refresh().await.unwrap(), "what was not published is found again");
    assert_eq!(site.snapshot().tenants.len(), 2);
    assert!(!site.controller.refresh().await.unwrap(), "nothing new, nothing published");
    let versions: Vec<u64> = site.published.lock().unwrap().iter().map(|snapshot| snapshot.version).collect();
    assert!(versions.is_sorted(), "{versions:?}");
}

#[tokio::test]
async fn engines_with_equal_facts_are_replicas_of_one_endpoint() {
    let site = Site::start().await;
    let add = |url: &str, name: &str, value: Value| {
        let mut body = engine();
        body["url"] = json!(url);
        body[name] = value;
        body
    };
    let first = site.post("/api/v1/engines", add("http://a/v1/", "retention", json!("none"))).await.expect(201);
    let second = site.post("/api/v1/engines", add("http://b", "attestation", json!("none"))).await.expect(201);
    let third = site.post("/api/v1/engines", add("http://c", "jurisdiction", json!("US"))).await.expect(201);
    assert_eq!(first["endpoint"], second["endpoint"]);
    assert_ne!(first["endpoint"], third["endpoint"]);
    assert_eq!(first["url"], "http://a");
    let endpoint = site.get(&format!("/api/v1/endpoints/{}", text(&first, "endpoint"))).await.expect(200);
    assert_eq!((&endpoint["replicas"], &endpoint["output_tokens_max"]), (&json!(2), &json!(4_096)));
    assert_eq!((&endpoint["site"], &endpoint["context_length"]), (&json!("test"), &json!(32_768)));
    site.patch(&format!("/api/v1/engines/{}", text(&first, "id")), json!({ "cordoned": true, "credential": "canary" }))
        .await
        .expect(200);
    let models = site.get("/api/v1/models").await.expect(200);
    assert_eq!(models["data"][0]["replicas"], 2);
    for path in ["/api/v1/engines", "/api/v1/audit"] {
        assert!(!String::from_utf8_lossy(&site.get(path).await.bytes).contains("canary"), "{path}");
    }
}

#[tokio::test]
async fn explain_says_which_rule_decided() {
    let site = Site::start().await;
    let tenant = site.tenant("t").await;
    site.post("/api/v1/engines", engine()).await.expect(201);
    let mut foreign = engine();
    (foreign["url"], foreign["jurisdiction"]) = (json!("http://us"), json!("US"));
    site.post("/api/v1/engines", foreign).await.expect(201);
    let project = json!({ "name": "p", "tenant": tenant, "class": "confidential" });
    let project = text(&site.post("/api/v1/projects", project).await.expect(201), "id");
    let ask = |class: &str| site.post("/api/v1/policy/explain", json!({ "project": project, "class": class }));
    let answer = ask("secret").await.expect(200);
    let permits = |answer: &Value, jurisdiction: &str| {
        let endpoints = answer["endpoints"].as_array().unwrap().clone();
        endpoints.into_iter().find(|endpoint| endpoint["jurisdiction"] == jurisdiction).unwrap()["permit"]
            == json!(true)
    };
    assert!(permits(&answer, "DE") && !permits(&answer, "US"), "{answer}");
    assert!(text(&answer, "policy").starts_with("sha256:"));
    // Asking for less than the project's floor explains the floor.
    let answer = ask("public").await.expect(200);
    assert_eq!(answer["class"], "confidential");
    assert!(!permits(&answer, "US"));
    let reply = site.post("/api/v1/policy/explain", json!({ "project": project, "model": "none" })).await;
    assert_eq!(reply.code(), "model_not_found");
}

#[tokio::test]
async fn budgets_show_what_receipts_add_up_to() {
    let site = Site::start().await;
    let tenant = site.tenant("t").await;
    let project = site.project(&tenant).await;
    let key = site.key(&project).await;
    site.patch(&format!("/api/v1/projects/{project}"), json!({ "budget_micro_eur": 10 })).await.expect(200);
    for cost in [3, 4, 5] {
        site.receipt(&tenant, &project, &key, cost).await;
    }
    let budgets = site.get(&format!("/api/v1/budgets?tenant={tenant}")).await.expect(200);
    let row =
        |level: &str| budgets["data"].as_array().unwrap().iter().find(|row| row["level"] == level).unwrap().clone();
    for level in ["tenant", "project", "key"] {
        assert_eq!(row(level)["spent_micro_eur"], 12, "{level}");
    }
    assert_eq!((&row("project")["left_micro_eur"], &row("key")["left_micro_eur"]), (&json!(0), &Value::Null));
    site.patch(&format!("/api/v1/projects/{project}"), json!({ "budget_micro_eur": null })).await.expect(200);
    assert_eq!(site.snapshot().projects[0].budget, None);
}

#[tokio::test]
async fn a_receipt_comes_with_its_proof_once_it_is_sealed() {
    let site = Site::start().await;
    let tenant = site.tenant("t").await;
    let project = site.project(&tenant).await;
    let key = site.key(&project).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(site.receipt(&tenant, &project, &key, 1).await);
    }
    let path = format!("/api/v1/receipts/{}", ids[1]);
    let early = site.get(&path).await.expect(200);
    assert!(early["proof"].is_null());
    controller::seal::recover(&site.sealer()).await.unwrap();
    assert_eq!(controller::seal::seal_once(&site.sealer()).await.unwrap(), 3);
    let receipt = site.get(&path).await.expect(200);
    assert_eq!(receipt["jwt"], early["jwt"], "the signature is the same whenever it is made");
    let jwks = site.raw("GET", "/.well-known/jwks.json", None, "").await;
    let jwks = ledger::jwks::Jwks::parse(std::str::from_utf8(&jwks.bytes).unwrap()).unwrap();
    let verified = ledger::receipt::verify(&text(&receipt, "jwt"), &jwks).unwrap();
    assert_eq!(verified.claims.jti, ids[1]);
    let vkey = site.raw("GET", "/log/vkey", None, "").await;
    let vkey: Vkey = std::str::from_utf8(&vkey.bytes).unwrap().trim().parse().unwrap();
    let proof = TlogProof::parse(&text(&receipt, "proof")).unwrap();
    proof.verify(&verified.leaf, &vkey, &Policy::none()).unwrap();
    assert_eq!(page(&site, &format!("tenant={tenant}&limit=2")).await, [ids[0].to_string(), ids[1].to_string()]);
    assert_eq!(page(&site, &format!("tenant={tenant}&limit=2&after={}", ids[1])).await, [ids[2].to_string()]);
    let tile = site.raw("GET", "/log/tile/0/000.p/3", None, "").await;
    assert_eq!((tile.status.as_u16(), tile.bytes.len()), (200, 96));
    assert_eq!(tile.headers["content-type"], "application/octet-stream");
    let checkpoint = site.raw("GET", "/log/checkpoint", None, "").await;
    assert_eq!(checkpoint.headers["content-type"], "text/plain; charset=utf-8");
    assert!(String::from_utf8_lossy(&checkpoint.bytes).contains("\n3\n"));
}

/// The ids of a page of receipts.
async fn page(site: &Site, query: &str) -> Vec<String> {
    let page = site.get(&format!("/api/v1/receipts?{query}")).await.expect(200);
    page["data"].as_array().unwrap().iter().map(|row| text(row, "id")).collect()
}

/// The file says of a machine what it said before; that is no reason to take it in again.
#[tokio::test]
async fn a_retirement_is_not_taken_back_by_the_same_file() {
    let site = Site::start().await;
    let machine = site.machine().await;
    site.post(&format!("/api/v1/machines/{machine}"), json!({ "do": "retire", "reason": "sold" })).await.expect(200);
    let file = Some(json!({ "text": crate::site::SITE_FILE }));
    let applied = site.ask(&site.admin, "PUT", "/api/v1/site", file).await.expect(200);
    assert_eq!(applied["changed"], json!([]));
    assert!(!site.store.machine(machine).await.unwrap().unwrap().spec.wanted);
}

/// Robots, zones, ports: what is read from the stored file later must be the file that was applied.
#[tokio::test]
async fn a_file_that_changes_no_machine_is_stored_all_the_same() {
    let site = Site::start().await;
    site.machine().await;
    let apply = async |text: &str, dry_run: bool| {
        let body = Some(json!({ "text": text, "dry_run": dry_run }));
        site.ask(&site.admin, "PUT", "/api/v1/site", body).await.expect(200)
    };
    let robots = "\n[[robots]]\nmanufacturer = \"acme\"\nnames = \"r1\"\nzones = \"h1\"\n";
    let text = format!("{}{robots}", crate::site::SITE_FILE);
    assert_eq!(apply(&text, true).await["version"], Value::Null);
    let applied = apply(&text, false).await;
    assert_eq!((&applied["version"], &applied["changed"]), (&json!(2), &json!([])));
    let stored = site.get("/api/v1/site").await.expect(200);
    assert!(stored["text"].as_str().unwrap().contains("acme"), "{stored}");
    let newest = site.audit().await.pop().unwrap();
    assert_eq!(newest["action"], "site.update");
    // The very same again is nothing.
    assert_eq!(apply(&text, false).await["version"], Value::Null);
    assert_eq!(site.store.site_version().await.unwrap(), 2);
}

/// A slot whose machine is retired and gone gets another one as its warning says.
#[tokio::test]
async fn a_slot_of_a_retired_machine_is_planned_anew_as_its_warning_says() {
    let site = Site::start().await;
    let machine = site.machine().await;
    let slot = site.store.machine(machine).await.unwrap().unwrap().spec.slot;
    site.post(&format!("/api/v1/machines/{machine}"), json!({ "do": "retire", "reason": "sold" })).await.expect(200);
    site.order().await;
    let gone = site.store.machine(machine).await.unwrap().unwrap();
    assert_eq!(gone.machine.lifecycle, fleet::machine::Lifecycle::Retired);
    let apply = async |text: &str| {
        let body = Some(json!({ "text": text }));
        site.ask(&site.admin, "PUT", "/api/v1/site", body).await.expect(200)
    };
    let file = crate::site::SITE_FILE;
    let told = apply(file).await;
    let warnings = told["warnings"].as_array().unwrap().iter().filter_map(serde_json::Value::as_str);
    let mine: Vec<&str> = warnings.filter(|it| it.starts_with(&format!("{slot}: "))).collect();
    assert!(mine.len() == 1 && mine[0].contains("without this slot"), "{told}");
    let other = if slot.ends_with("u01") { "u13" } else { "u01" };
    let without = file.replace("slots = \"u01, u13\"\nmachines = 2", &format!("slots = \"{other}\"\nmachines = 1"));
    let without = without.split("# Whatever differs").next().unwrap();
    let applied = apply(without).await;
    assert_eq!((&applied["version"], &applied["removed"]), (&json!(2), &json!([])), "{applied}");
    let applied = apply(file).await;
    assert_eq!((&applied["version"], &applied["added"]), (&json!(3), &json!([slot])), "{applied}");
}

/// What failed holds its order, and is found by its state; without one, tasks that can be worked on are listed.
#[tokio::test]
async fn failed_tasks_are_listed_though_their_order_is_held() {
    let site = Site::start().await;
    let (order, task) = site.order().await;
    let path = format!("/api/v1/tasks/{task}");
    site.post(&path, json!({ "do": "start" })).await.expect(200);
    let held = site.post(&path, json!({ "do": "fail", "why": "it fell off the truck" })).await.expect(200);
    assert_eq!(held["state"], "held");
    let listed = async |query: &str| {
        let page = site.get(&format!("/api/v1/tasks?limit=1000{query}")).await.expect(200);
        let rows = page["data"].as_array().unwrap().iter();
        rows.map(|row| (text(row, "id"), text(row, "state"))).collect::<Vec<_>>()
    };
    assert_eq!(listed("&state=failed").await, [(task.to_string(), "failed".to_owned())]);
    assert!(listed("").await.iter().all(|(id, _)| *id != task.to_string()));
    // The page after it is empty, and a cancelled order is over.
    assert!(listed(&format!("&state=failed&after={task}")).await.is_empty());
    let cancel = json!({ "do": "cancel", "reason": "another one comes" });
    site.post(&format!("/api/v1/orders/{order}"), cancel).await.expect(200);
    assert!(listed("&state=failed").await.is_empty());
}
