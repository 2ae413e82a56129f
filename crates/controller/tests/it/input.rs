//! Bad input: a clear error that says what to do, nothing half-written, no panic.

use crate::site::{FORBID, Site, engine};
use serde_json::{Value, json};

/// Sends a body as the operator and checks the code and a word of the explanation.
async fn check(site: &Site, method: &str, path: &str, body: &str, expect: (u16, &str, &str)) {
    let reply = site.raw(method, path, Some(&format!("Bearer {}", site.admin)), body.to_owned()).await;
    let (status, code, word) = expect;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (status, code),
        "{method} {path} {body} {:?}",
        reply.bytes
    );
    assert_eq!(reply.headers["content-type"], "application/problem+json", "{method} {path}");
    let problem = reply.json();
    assert!(problem["detail"].as_str().unwrap().contains(word), "{method} {path} {body}: {problem}");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], format!("https://hoheit.invalid/errors/{code}"));
}

#[tokio::test]
async fn bodies() {
    let site = Site::start().await;
    let tenant = site.tenant("tenant").await;
    let entries = site.audit().await.len();
    let project = |extra: &str| format!(r#"{{"name":"p","tenant":"{tenant}"{extra}}}"#);
    let with = |name: &str, value: Value| {
        let mut body = engine();
        body[name] = value;
        body.to_string()
    };
    let price = |input: i64| {
        json!({ "follows": 0, "prices": [{ "model": "*", "input_micro_eur": input, "cached_input_micro_eur": 0,
                "output_micro_eur": 0 }] })
        .to_string()
    };
    let rule = |text: &str, owner: &Value| json!({ "name": "r", "tenant": owner, "text": text }).to_string();
    let (operator, tenants) = (Value::Null, json!(tenant));
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(controller::BODY_BYTES_MAX));
    let invalid = |word: &'static str| (400, "invalid_request", word);
    for (method, path, body, expect) in [
        ("POST", "/api/v1/tenants", String::new(), (400, "invalid_json", "empty")),
        ("POST", "/api/v1/tenants", "<html>".into(), (400, "invalid_json", "not JSON")),
        ("POST", "/api/v1/tenants", r#"{"name":"a""#.into(), (400, "invalid_json", "EOF")),
        ("POST", "/api/v1/tenants", "[1,2,3]".into(), invalid("openapi")),
        ("POST", "/api/v1/tenants", r#"{"name":7}"#.into(), invalid("string")),
        ("POST", "/api/v1/tenants", "{}".into(), invalid("name")),
        ("POST", "/api/v1/tenants", r#"{"name":"a","budgte_micro_eur":1}"#.into(), invalid("budgte_micro_eur")),
        ("POST", "/api/v1/tenants", r#"{"name":""}"#.into(), invalid("1 to 64")),
        ("POST", "/api/v1/tenants", r#"{"name":"a\u0000"}"#.into(), invalid("printable")),
        ("POST", "/api/v1/tenants", r#"{"name":"a","budget_micro_eur":-1}"#.into(), invalid("below zero")),
        ("POST", "/api/v1/tenants", r#"{"name":"a","budget_micro_eur":1.5}"#.into(), invalid("i64")),
        ("POST", "/api/v1/tenants", large, (413, "body_too_large", "1048576")),
        ("POST", "/api/v1/tenants", r#"{"name":"tenant"}"#.into(), (409, "conflict", "already")),
        ("POST", "/api/v1/projects", project(r#","class":"geheim""#), invalid("confidential")),
        ("POST", "/api/v1/projects", project(r#","country":"Germany""#), invalid("two capital letters")),
        ("POST", "/api/v1/projects", project(r#","requests_per_minute":-1"#), invalid("u32")),
        ("POST", "/api/v1/projects", project(r#","tokens_per_minute":18446744073709551615"#), invalid("at most")),
        ("POST", "/api/v1/projects", r#"{"name":"p","tenant":"prj_1"}"#.into(), invalid("ten_")),
        ("POST", "/api/v1/engines", with("url", json!("engine")), invalid("http")),
        ("POST", "/api/v1/engines", with("url", json!("ftp://e")), invalid("http")),
        ("POST", "/api/v1/engines", with("url", json!("http://u:p@e")), invalid("credential")),
        ("POST", "/api/v1/engines", with("country", json!("de")), invalid("capital")),
        ("POST", "/api/v1/engines", with("retention", json!("some")), invalid("unlimited")),
        ("POST", "/api/v1/engines", with("kind", json!("magic")), invalid("vllm")),
        ("POST", "/api/v1/engines", with("weights", json!("sha256:00")), invalid("64")),
        ("POST", "/api/v1/engines", with("output_tokens_max", json!(0)), invalid("output_tokens_max")),
        ("POST", "/api/v1/engines", with("context_length", json!(0)), invalid("context_length")),
        ("POST", "/api/v1/engines", with("credential", json!("a\r\nb")), invalid("credential")),
        ("POST", "/api/v1/engines", with("provider", json!("")), invalid("provider")),
        ("POST", "/api/v1/rules", rule("permit (", &operator), (422, "rule_invalid", "line 1")),
        ("POST", "/api/v1/rules", rule("", &operator), (422, "rule_invalid", "")),
        (
            "POST",
            "/api/v1/rules",
            rule("permit (principal, action, resource);", &tenants),
            (422, "rule_invalid", "forbid"),
        ),
        ("PUT", "/api/v1/prices", price(-1), invalid("below zero")),
        ("PUT", "/api/v1/prices", price(i64::MAX), invalid("per million")),
        ("PUT", "/api/v1/prices", price(1).replace("\"follows\":0", "\"follows\":7"), (409, "conflict", "follows: 0")),
        ("POST", "/api/v1/policy/explain", "{}".into(), invalid("either")),
        ("POST", "/api/v1/tokens", r#"{"name":"t","role":"king"}"#.into(), invalid("one of")),
        ("POST", "/api/v1/tokens", r#"{"name":"t","role":"developer"}"#.into(), invalid("tenant")),
        ("POST", "/api/v1/tokens", format!(r#"{{"name":"t","role":"operator","tenant":"{tenant}"}}"#), invalid("site")),
        ("GET", "/api/v1/receipts", String::new(), invalid("tenant")),
        ("GET", "/api/v1/audit?limit=0", String::new(), invalid("1 to 1000")),
        ("GET", "/api/v1/audit?limit=1001", String::new(), invalid("1 to 1000")),
        ("GET", "/api/v1/audit?limti=1", String::new(), invalid("limti")),
        ("GET", "/api/v1/projects?tenant=x", String::new(), invalid("ten_")),
        ("GET", "/api/v1/tenants/ten_7", String::new(), invalid("26 characters")),
        ("GET", "/api/v1/tenants/%ff", String::new(), invalid("path")),
        ("GET", "/api/v2/tenants", String::new(), (404, "not_found", "path")),
        ("PUT", "/api/v1/tenants", "{}".into(), (405, "method_not_allowed", "method")),
    ] {
        check(&site, method, path, &body, expect).await;
    }
    assert_eq!(site.audit().await.len(), entries, "a refused change left an entry");
    let state = site.store.snapshot("test").await.unwrap();
    assert_eq!((state.tenants.len(), state.projects.len(), state.engines.len(), state.rules.len()), (1, 0, 0, 0));
}

#[tokio::test]
async fn rules_of_one_name_and_bundles_that_do_not_hold() {
    let site = Site::start().await;
    let rule = json!({ "name": "r", "text": FORBID });
    site.post("/api/v1/rules", rule.clone()).await.expect(201);
    assert_eq!(site.post("/api/v1/rules", rule).await.code(), "conflict");
    let long = format!("{FORBID} // {}", "x".repeat(70_000));
    assert_eq!(site.post("/api/v1/rules", json!({ "name": "l", "text": long })).await.code(), "invalid_request");
    assert_eq!(site.store.rules().await.unwrap().len(), 1);
}

/// A site's file with all its serial numbers is larger than any other body, and has a limit too.
#[tokio::test]
async fn a_site_file_may_be_as_large_as_said_and_no_byte_larger() {
    let site = Site::start().await;
    let bearer = format!("Bearer {}", site.admin);
    let whole = json!({ "text": crate::site::SITE_FILE, "serials": "", "dry_run": true }).to_string();
    let at = |bytes: usize| {
        // Empty lines of serial numbers.
        let fill = "\\n".repeat((bytes - whole.len()) / 2) + if (bytes - whole.len()) % 2 == 1 { " " } else { "" };
        whole.replace("\"serials\":\"\"", &format!("\"serials\":\"{fill}\""))
    };
    let largest = at(controller::SITE_BODY_BYTES_MAX);
    assert_eq!(largest.len(), controller::SITE_BODY_BYTES_MAX);
    let reply = site.raw("PUT", "/api/v1/site", Some(&bearer), largest).await.expect(200);
    assert_eq!(reply["added"].as_array().map(Vec::len), Some(2), "{reply}");
    let larger = site.raw("PUT", "/api/v1/site", Some(&bearer), at(controller::SITE_BODY_BYTES_MAX + 1)).await;
    assert_eq!(larger.code(), "body_too_large");
    let text = larger.expect(413).to_string();
    assert!(text.contains(&format!("{} bytes (24 MiB)", controller::SITE_BODY_BYTES_MAX)), "{text}");
    // No other route takes so much.
    let other = site.raw("PUT", "/api/v1/bmcs", Some(&bearer), at(controller::BODY_BYTES_MAX + 1)).await;
    assert_eq!(other.code(), "body_too_large");
}

#[tokio::test]
async fn tasks_come_page_by_page() {
    let site = Site::start().await;
    site.order().await;
    let ids = async |query: &str| {
        let page = site.ask(&site.admin, "GET", &format!("/api/v1/tasks?{query}"), None).await.expect(200);
        let of = |task: &Value| task["id"].as_str().unwrap().to_owned();
        page["data"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    for filter in ["", "state=waiting&"] {
        // Two orders; of each one task at hand and two that wait.
        let all = ids(filter).await;
        assert_eq!(all.len(), if filter.is_empty() { 2 } else { 4 });
        let mut paged: Vec<String> = Vec::new();
        loop {
            let after = paged.last().map(|id| format!("&after={id}")).unwrap_or_default();
            let page = ids(&format!("{filter}limit=1{after}")).await;
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, all, "{filter}");
    }
    let unknown = format!("/api/v1/tasks?after={}", types::TaskId(7));
    let reply = site.ask(&site.admin, "GET", &unknown, None).await.expect(400);
    assert!(reply["detail"].as_str().unwrap().contains("no such task"), "{reply}");
}
