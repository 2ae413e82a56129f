//! The ratchet: every endpoint x {no credential, malformed credential, too small a role, foreign id}, diffed against the
//! OpenAPI description. A new route that is not in the table fails the test, and so does a row without a route.
//!
//! Each row first shows that the operator succeeds, or a refusal would prove nothing; and that a change writes exactly
//! one audit entry, a look and a refusal none.

use crate::site::{FORBID, Reply, SITE_FILE, Site, engine, offer, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What a row's `ID` stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Thing {
    Tenant,
    Project,
    Key,
    Rule,
    Token,
    Receipt,
    Engine,
    Endpoint,
    Machine,
    /// A machine that is held.
    Held,
    Order,
    Task,
    /// A tenant that is a partner.
    Partnered,
    Broker,
    /// An order of a platform that runs.
    Operation,
    /// Only that a site file is applied.
    Applied,
    None,
}

/// Whom policy refuses this action.
#[derive(Debug, Clone, Copy, PartialEq)]
enum TooSmall {
    Partner,
    Installer,
    Auditor,
    /// Everybody known may.
    Nobody,
}
use Thing::*;
use TooSmall::*;

struct Row {
    method: &'static str,
    /// As in the description.
    path: &'static str,
    /// Added to the path; `ID` is replaced.
    query: &'static str,
    /// `"ID"` is replaced.
    body: Value,
    thing: Thing,
    too_small: TooSmall,
    status: u16,
}

fn row(method: &'static str, path: &'static str, thing: Thing, too_small: TooSmall, status: u16, body: Value) -> Row {
    let (path, query) = path.find('?').map_or((path, ""), |at| path.split_at(at));
    Row { method, path, query, body, thing, too_small, status }
}

fn rows() -> Vec<Row> {
    let none = Value::Null;
    let get = |path, thing, too_small| row("GET", path, thing, too_small, 200, Value::Null);
    let price = json!({ "follows": 0, "prices": [
        { "model": "*", "input_micro_eur": 1, "cached_input_micro_eur": 1, "output_micro_eur": 1 }] });
    vec![
        get("/api/v1/tenants", None, Partner),
        row("POST", "/api/v1/tenants", None, Auditor, 201, json!({ "name": "new" })),
        get("/api/v1/tenants/{id}", Tenant, Partner),
        row("PATCH", "/api/v1/tenants/{id}", Tenant, Auditor, 200, json!({ "budget_micro_eur": 1 })),
        get("/api/v1/projects", None, Partner),
        get("/api/v1/projects?tenant=ID", Tenant, Partner),
        row("POST", "/api/v1/projects", Tenant, Auditor, 201, json!({ "name": "new", "tenant": "ID" })),
        get("/api/v1/projects/{id}", Project, Partner),
        row("PATCH", "/api/v1/projects/{id}", Project, Auditor, 200, json!({ "name": "newer" })),
        get("/api/v1/keys", None, Partner),
        get("/api/v1/keys?project=ID", Project, Partner),
        row("POST", "/api/v1/keys", Project, Auditor, 201, json!({ "project": "ID" })),
        get("/api/v1/keys/{id}", Key, Partner),
        row("PATCH", "/api/v1/keys/{id}", Key, Auditor, 200, json!({ "name": "newer" })),
        row("POST", "/api/v1/keys/{id}/revoke", Key, Auditor, 200, none.clone()),
        row("POST", "/api/v1/keys/{id}/rotate", Key, Auditor, 201, json!({})),
        get("/api/v1/engines", None, Partner),
        row("POST", "/api/v1/engines", None, Auditor, 201, engine()),
        get("/api/v1/engines/{id}", Engine, Partner),
        row("PATCH", "/api/v1/engines/{id}", Engine, Auditor, 200, json!({ "cordoned": true })),
        row("DELETE", "/api/v1/engines/{id}", Engine, Auditor, 204, none.clone()),
        get("/api/v1/endpoints", None, Nobody),
        get("/api/v1/endpoints/{id}", Endpoint, Nobody),
        row("PATCH", "/api/v1/endpoints/{id}", Endpoint, Auditor, 200, json!({ "output_tokens_max": 7 })),
        get("/api/v1/models", None, Nobody),
        get("/api/v1/rules", None, Partner),
        get("/api/v1/rules?tenant=ID", Tenant, Partner),
        row("POST", "/api/v1/rules", Tenant, Auditor, 201, json!({ "name": "r", "tenant": "ID", "text": FORBID })),
        row("DELETE", "/api/v1/rules/{id}", Rule, Auditor, 204, none.clone()),
        row("POST", "/api/v1/policy/explain", Project, Partner, 200, json!({ "project": "ID" })),
        row("POST", "/api/v1/policy/explain", Key, Partner, 200, json!({ "key": "ID" })),
        get("/api/v1/prices", None, Installer),
        row("PUT", "/api/v1/prices", None, Auditor, 200, price),
        get("/api/v1/budgets", None, Partner),
        get("/api/v1/budgets?tenant=ID", Tenant, Partner),
        get("/api/v1/receipts?tenant=ID", Tenant, Partner),
        get("/api/v1/receipts/{id}", Receipt, Partner),
        get("/api/v1/audit", None, Partner),
        get("/api/v1/audit?tenant=ID", Tenant, Partner),
        get("/api/v1/tokens", None, Partner),
        row("POST", "/api/v1/tokens", Tenant, Auditor, 201, json!({ "name": "t", "role": "auditor", "tenant": "ID" })),
        row("POST", "/api/v1/tokens/{id}/revoke", Token, Auditor, 200, none),
        get("/api/v1/site", Applied, Partner),
        row("PUT", "/api/v1/site", None, Installer, 200, json!({ "text": SITE_FILE })),
        get("/api/v1/machines", None, Partner),
        get("/api/v1/machines/{id}", Machine, Partner),
        row("POST", "/api/v1/machines/{id}", Held, Installer, 200, json!({ "do": "drain", "reason": "fans" })),
        row("POST", "/api/v1/machines/{id}/agent-token", Machine, Auditor, 201, json!({})),
        row(
            "PUT",
            "/api/v1/bmcs",
            Machine,
            Installer,
            200,
            json!({ "bmcs": [
            { "machine": "ID", "url": "https://10.0.0.1", "username": "u", "password": "p" }] }),
        ),
        get("/api/v1/fleet/events", None, Partner),
        get("/api/v1/orders", None, Partner),
        get("/api/v1/orders/{id}", Order, Partner),
        row("POST", "/api/v1/orders/{id}", Order, Auditor, 200, json!({ "do": "cancel", "reason": "it never came" })),
        get("/api/v1/tasks", None, Partner),
        row("POST", "/api/v1/tasks/{id}", Task, Auditor, 200, json!({ "do": "take" })),
        get("/api/v1/partners", None, Installer),
        row(
            "POST",
            "/api/v1/partners",
            Tenant,
            Auditor,
            201,
            json!({ "tenant": "ID", "provider": "Partner Inc.", "jurisdiction": "US", "share_permille": 700 }),
        ),
        row("POST", "/api/v1/partners/{id}/endpoints", Partnered, Auditor, 201, offer()),
        get("/api/v1/partners/{id}/report", Partnered, Installer),
        get("/api/v1/brokers", None, Partner),
        row("POST", "/api/v1/brokers", None, Auditor, 201, json!({ "name": "btp", "signature": "off" })),
        get("/api/v1/brokers/{id}", Broker, Partner),
        row("PATCH", "/api/v1/brokers/{id}", Broker, Auditor, 200, json!({ "name": "newer" })),
        row("DELETE", "/api/v1/brokers/{id}", Broker, Auditor, 204, Value::Null),
        row("POST", "/api/v1/brokers/{id}/rotate", Broker, Auditor, 201, json!({})),
        get("/api/v1/brokers/{id}/instances", Broker, Partner),
        get("/api/v1/operations", None, Partner),
        row("POST", "/api/v1/operations/{id}", Operation, Auditor, 200, json!({ "do": "fulfil", "reason": "h1" })),
        get("/api/v1/status", None, Nobody),
    ]
}

/// Answered to everybody; nothing in them belongs to a tenant.
const PUBLIC: &[&str] =
    &["/healthz", "/readyz", "/metrics", "/api/openapi.json", "/.well-known/jwks.json", "/log/vkey", "/log/{path}"];

/// Routes that are not looked up by a tenant's id, although they carry one: the role alone refuses a bound token.
const ONLY_BY_THE_SITE: &[(&str, &str)] = &[("PATCH", "/api/v1/tenants/{id}"), ("POST", "/api/v1/partners")];

/// Makes the thing that belongs to this tenant.
async fn make(site: &Site, thing: Thing, tenant: &str) -> String {
    match thing {
        Tenant => tenant.to_owned(),
        Project => site.project(tenant).await,
        Key => site.key(&site.project(tenant).await).await,
        Rule => site.rule(Some(tenant)).await,
        Token => site.token("auditor", Some(tenant)).await.0,
        Receipt => {
            let project = site.project(tenant).await;
            let key = site.key(&project).await;
            site.receipt(tenant, &project, &key, 5).await.to_string()
        }
        Engine => site.engine().await,
        Machine | Held => site.machine().await.to_string(),
        Order => site.order().await.0.to_string(),
        Task => site.order().await.1.to_string(),
        Partnered => {
            let body = json!({ "tenant": tenant, "provider": format!("{tenant} Inc."), "jurisdiction": "US", "share_permille": 700 });
            site.post("/api/v1/partners", body).await.expect(201);
            tenant.to_owned()
        }
        Broker => site.platform(json!({})).await.id,
        Operation => site.platform(json!({})).await.ordered(site).await,
        Applied => {
            site.machine().await;
            String::new()
        }
        Endpoint => {
            let engine = site.engine().await;
            text(&site.get(&format!("/api/v1/engines/{engine}")).await.expect(200), "endpoint")
        }
        None => String::new(),
    }
}

fn unknown(thing: Thing) -> String {
    let prefix = match thing {
        Tenant | Partnered => "ten",
        Project => "prj",
        Key => "key",
        Rule => "rul",
        Token => "tok",
        Receipt => "rcp",
        Engine => "eng",
        Endpoint => "end",
        Machine | Held => "mach",
        Order => "ord",
        Task => "tsk",
        Broker => "brk",
        Operation => "op",
        Applied | None => return String::new(),
    };
    format!("{prefix}_7zzzzzzzzzzzzzzzzzzzzzzzzz")
}

impl Row {
    fn name(&self) -> String {
        format!("{} {}{}", self.method, self.path, self.query)
    }

    fn is_fleet(&self) -> bool {
        matches!(self.thing, Machine | Held | Order | Task | Applied) || self.path == "/api/v1/site"
    }

    fn is_change(&self) -> bool {
        self.method != "GET" && self.path != "/api/v1/policy/explain"
    }

    fn filled(&self, id: &str) -> (String, Option<Value>) {
        let path = format!("{}{}", self.path.replace("{id}", id), self.query.replace("ID", id));
        let body = (!self.body.is_null()).then(|| {
            let text = self.body.to_string().replace("\"ID\"", &format!("\"{id}\""));
            serde_json::from_str(&text).unwrap()
        });
        (path, body)
    }

    async fn ask(&self, site: &Site, token: &str, id: &str) -> Reply {
        let (path, body) = self.filled(id);
        site.ask(token, self.method, &path, body).await
    }
}

/// A site with two tenants and a token of each kind that the rows need.
struct World {
    site: Site,
    own: String,
    foreign: String,
    admin: String,
    partner: String,
    auditor: String,
    installer: String,
}

impl World {
    async fn start() -> World {
        let site = Site::start().await;
        let (own, foreign) = (site.tenant("own").await, site.tenant("foreign").await);
        let admin = site.token("tenant_admin", Some(&own)).await.1;
        let partner = site.token("partner", Some(&own)).await.1;
        let auditor = site.token("auditor", Some(&own)).await.1;
        let installer = site.token("installer", Option::None).await.1;
        World { site, own, foreign, admin, partner, auditor, installer }
    }
}

#[tokio::test]
async fn the_table_covers_the_description() {
    let description: Value = serde_json::from_str(&controller::openapi()).unwrap();
    let mut described = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| !matches!(key.as_str(), "parameters" | "summary")) {
            described.insert((method.to_uppercase(), path.replace("{*path}", "{path}")));
        }
    }
    let mut covered: BTreeSet<_> = rows().iter().map(|row| (row.method.to_owned(), row.path.to_owned())).collect();
    covered.extend(PUBLIC.iter().map(|path| ("GET".to_owned(), (*path).to_owned())));
    assert_eq!(covered, described, "left: the table in this file; right: the OpenAPI description");
}

#[tokio::test]
async fn the_operator_may_and_every_change_is_one_audit_entry() {
    for row in rows() {
        let world = World::start().await;
        let id = make(&world.site, row.thing, &world.own).await;
        let (before, publications) = (world.site.audit().await.len(), world.site.published.lock().unwrap().len());
        row.ask(&world.site, &world.site.admin, &id).await.expect(row.status);
        let entries = world.site.audit().await;
        assert_eq!(entries.len() - before, usize::from(row.is_change()), "{}: audit entries", row.name());
        if row.is_change() {
            let entry = entries.last().unwrap();
            assert_eq!(entry["actor"], "operator", "{}", row.name());
            assert!(entry["action"].as_str().unwrap().contains('.'), "{}", row.name());
            let published = world.site.published.lock().unwrap().len() > publications;
            // Tokens, machines and platforms are in no snapshot.
            let shown = !row.path.contains("tokens") && !row.path.contains("brokers") && !row.is_fleet();
            assert_eq!(published, shown, "{}: publication", row.name());
        }
    }
}

#[tokio::test]
async fn without_a_credential_everything_is_401() {
    let world = World::start().await;
    let site = &world.site;
    let stranger = format!("ht_7zzzzzzzzzzzzzzzzzzzzzzzzz_{}", "0".repeat(52));
    let wrong_secret = format!("{}_{}", world.admin.rsplit_once('_').unwrap().0, "0".repeat(52));
    let entries = site.audit().await.len();
    for row in rows() {
        let (path, _) = row.filled(&unknown(row.thing));
        // No body either: the credential is looked at before anything else.
        let reply = site.raw(row.method, &path, Option::None, "").await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (401, "key_missing"), "{}", row.name());
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
        let mut first: Option<Reply> = Option::None;
        for malformed in [
            "Bearer",
            "Bearer ",
            "bearer x",
            "Basic dTpw",
            "Bearer ht_",
            "Bearer ht_x_y",
            &site.admin,
            &format!("Bearer {}x", site.admin),
            &format!("Bearer {stranger}"),
            &format!("Bearer {wrong_secret}"),
        ] {
            let reply = site.raw(row.method, &path, Some(malformed), "").await;
            assert_eq!(
                (reply.status.as_u16(), reply.code().as_str()),
                (401, "key_invalid"),
                "{} {malformed}",
                row.name()
            );
            assert_eq!(first.get_or_insert_with(|| reply.clone()), &reply, "{} {malformed}", row.name());
        }
    }
    assert_eq!(site.audit().await.len(), entries);
}

#[tokio::test]
async fn too_small_a_role_is_403_before_anything_is_read() {
    let world = World::start().await;
    let entries = world.site.audit().await.len();
    for row in rows() {
        let token = match row.too_small {
            Partner => &world.partner,
            Installer => &world.installer,
            Auditor => &world.auditor,
            Nobody => {
                for token in [&world.partner, &world.installer, &world.auditor, &world.admin] {
                    let status = row.ask(&world.site, token, &unknown(row.thing)).await.status;
                    assert!(status != 403 && status != 401, "{}", row.name());
                }
                continue;
            }
        };
        let (path, _) = row.filled(&unknown(row.thing));
        // A body that is not JSON: the role is looked at before it is.
        let reply = world.site.raw(row.method, &path, Some(&format!("Bearer {token}")), "not JSON").await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (403, "forbidden"), "{}", row.name());
    }
    assert_eq!(world.site.audit().await.len(), entries);
}

#[tokio::test]
async fn a_foreign_id_answers_byte_for_byte_as_an_unknown_one() {
    let mut compared = 0;
    for row in rows() {
        if matches!(row.thing, None | Engine | Endpoint | Broker | Operation) || row.is_fleet() {
            continue;
        }
        let world = World::start().await;
        let foreign = make(&world.site, row.thing, &world.foreign).await;
        let entries = world.site.audit().await.len();
        let theirs = row.ask(&world.site, &world.admin, &foreign).await;
        let nobodys = row.ask(&world.site, &world.admin, &unknown(row.thing)).await;
        assert_eq!(theirs, nobodys, "{}", row.name());
        let expect = if ONLY_BY_THE_SITE.contains(&(row.method, row.path)) { 403 } else { 404 };
        assert_eq!(theirs.status, expect, "{}: {:?}", row.name(), theirs.bytes);
        assert_eq!(world.site.audit().await.len(), entries, "{}", row.name());
        // The same thing answers its owner, so the refusal was about the owner.
        row.ask(&world.site, &world.site.admin, &foreign).await.expect(row.status);
        compared += 1;
    }
    assert!(compared >= 20, "only {compared} rows compared");
}

#[tokio::test]
async fn lists_hold_only_the_callers_own() {
    let world = World::start().await;
    let site = &world.site;
    for thing in [Project, Key, Rule, Token, Receipt] {
        make(site, thing, &world.own).await;
        make(site, thing, &world.foreign).await;
    }
    site.rule(Option::None).await;
    for path in ["tenants", "projects", "keys", "rules", "tokens", "budgets", "audit", "receipts"] {
        let reply = site.ask(&world.admin, "GET", &format!("/api/v1/{path}"), Option::None).await;
        let data = reply.clone().expect(200)["data"].clone();
        assert!(!data.as_array().unwrap().is_empty(), "{path}");
        let seen = String::from_utf8(reply.bytes.to_vec()).unwrap();
        assert!(!seen.contains(&world.foreign), "{path}: {seen}");
        let everything = if path == "receipts" { format!("?tenant={}", world.foreign) } else { String::new() };
        let all = site.get(&format!("/api/v1/{path}{everything}")).await;
        let all = String::from_utf8(all.bytes.to_vec()).unwrap();
        assert!(path == "keys" || all.contains(&world.foreign), "{path}: the operator sees it");
    }
    let foreign_keys = site.get("/api/v1/keys").await.expect(200)["data"].as_array().unwrap().len();
    let own_keys = site.ask(&world.admin, "GET", "/api/v1/keys", Option::None).await.expect(200);
    assert_eq!(own_keys["data"].as_array().unwrap().len() * 2, foreign_keys);
    // The site's engines have addresses; a tenant's auditor may ask and sees none of them.
    let engine = site.engine().await;
    let list = site.ask(&world.auditor, "GET", "/api/v1/engines", Option::None).await.expect(200);
    assert_eq!(list["data"], json!([]));
    site.ask(&world.auditor, "GET", &format!("/api/v1/engines/{engine}"), Option::None).await.expect(404);
    // Nor of the platforms that order here.
    let platform = site.platform(json!({})).await;
    let ordered = platform.ordered(site).await;
    for list in ["brokers", "operations"] {
        let seen = site.ask(&world.auditor, "GET", &format!("/api/v1/{list}"), Option::None).await.expect(200);
        assert_eq!(seen["data"], json!([]), "{list}");
        assert_ne!(site.get(&format!("/api/v1/{list}")).await.expect(200)["data"], json!([]), "{list}");
    }
    for path in [format!("brokers/{}", platform.id), format!("brokers/{}/instances", platform.id)] {
        site.ask(&world.auditor, "GET", &format!("/api/v1/{path}"), Option::None).await.expect(404);
    }
    let decided = json!({ "do": "fulfil", "reason": "r" });
    let path = format!("/api/v1/operations/{ordered}");
    site.ask(&world.admin, "POST", &path, Some(decided)).await.expect(403);
    // Nor of its machines and what is done to them.
    let ((order, _), machine) = (site.order().await, site.machine().await);
    for list in ["machines", "orders", "tasks", "fleet/events"] {
        let path = format!("/api/v1/{list}");
        let seen = site.ask(&world.auditor, "GET", &path, Option::None).await.expect(200);
        assert_eq!(seen["data"], json!([]), "{list}");
        assert_ne!(site.get(&path).await.expect(200)["data"], json!([]), "{list}: the operator sees it");
    }
    for path in [format!("machines/{machine}"), format!("orders/{order}"), "site".to_owned()] {
        let path = format!("/api/v1/{path}");
        let theirs = site.ask(&world.auditor, "GET", &path, Option::None).await;
        site.get(&path).await.expect(200);
        let nobodys =
            site.ask(&world.auditor, "GET", "/api/v1/machines/mach_7zzzzzzzzzzzzzzzzzzzzzzzzz", Option::None).await;
        assert_eq!(theirs, nobodys, "{path}");
    }
}

#[tokio::test]
async fn public_routes_need_no_credential() {
    let site = Site::start().await;
    for path in PUBLIC.iter().filter(|path| !path.contains('{')) {
        assert_eq!(site.raw("GET", path, Option::None, "").await.status, 200, "{path}");
    }
    for path in
        ["/log/checkpoint", "/log/tile/0/000", "/log/keys/log.key", "/log/../keys/log.key", "/log/..%2fkeys%2flog.key"]
    {
        assert_eq!(site.raw("GET", path, Option::None, "").await.status, 404, "{path}");
    }
}
