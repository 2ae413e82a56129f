//! A provider as partner: what it publishes, what others may not, and what receipts say it earned.

use crate::site::{Site, offer, text};
use serde_json::json;
use types::{KeyId, ProjectId};

async fn partner(site: &Site) -> (String, String) {
    let tenant = site.tenant("partner").await;
    let body = json!({ "tenant": tenant, "provider": "Partner Inc.", "jurisdiction": "US", "share_permille": 700 });
    site.post("/api/v1/partners", body).await.expect(201);
    let token = site.token("partner", Some(&tenant)).await.1;
    (tenant, token)
}

#[tokio::test]
async fn an_offer_carries_the_facts_that_the_operator_wrote_down_and_waits_for_the_operator() {
    let site = Site::start().await;
    let (tenant, token) = partner(&site).await;
    let path = format!("/api/v1/partners/{tenant}/endpoints");
    let published = site.ask(&token, "POST", &path, Some(offer())).await.expect(201);
    assert_eq!(published["cordoned"], true, "an address that nobody here looked at gets no prompts");
    let endpoint = site.get(&format!("/api/v1/endpoints/{}", text(&published, "endpoint"))).await.expect(200);
    assert_eq!((&endpoint["provider"], &endpoint["jurisdiction"]), (&json!("Partner Inc."), &json!("US")));
    let book = site.get("/api/v1/prices").await.expect(200);
    assert_eq!(book["prices"][0]["model"], "partner-large");
    // Again: one engine, another price, still cordoned.
    let mut dearer = offer();
    dearer["output_micro_eur"] = json!(9);
    let again = site.ask(&token, "POST", &path, Some(dearer)).await.expect(201);
    assert_eq!((&again["id"], &again["cordoned"]), (&published["id"], &json!(true)));
    let entries = site.audit().await;
    let told: Vec<_> = entries.iter().filter(|entry| entry["action"] == "partner.publish").collect();
    assert!(told.len() == 2 && told.iter().all(|entry| entry["object"] == published["id"]), "{told:?}");
    let book = site.get("/api/v1/prices").await.expect(200);
    assert_eq!(book["prices"].as_array().unwrap().len(), 1);
    assert_eq!(book["prices"][0]["output_micro_eur"], 9);
    // The operator publishes for it: in service at once.
    let mut second = offer();
    second["url"] = json!("http://127.0.0.1:9");
    assert_eq!(site.post(&path, second).await.expect(201)["cordoned"], false);
}

#[tokio::test]
async fn nobody_takes_anothers_name_price_or_earnings() {
    let site = Site::start().await;
    let (tenant, token) = partner(&site).await;
    let path = format!("/api/v1/partners/{tenant}/endpoints");
    site.engine().await;
    let with = |member: &str, value: &str| {
        let mut offer = offer();
        offer[member] = json!(value);
        offer
    };
    // The model that the operator's engine has, the price of all others, plain http to who knows what.
    site.ask(&token, "POST", &path, Some(with("model", "m"))).await.expect(409);
    site.ask(&token, "POST", &path, Some(with("model", "*"))).await.expect(409);
    site.ask(&token, "POST", &path, Some(with("url", "http://10.0.0.1"))).await.expect(400);
    let priced = json!({ "follows": 0, "prices": [
        { "model": "priced", "input_micro_eur": 1, "cached_input_micro_eur": 1, "output_micro_eur": 1 }] });
    site.ask(&site.admin, "PUT", "/api/v1/prices", Some(priced)).await.expect(200);
    site.ask(&token, "POST", &path, Some(with("model", "priced"))).await.expect(409);
    // A provider whose receipts are somebody else's already, and one that is a partner already.
    let other = site.tenant("other").await;
    for provider in ["p", "Partner Inc."] {
        let body = json!({ "tenant": other, "provider": provider, "jurisdiction": "US", "share_permille": 1 });
        site.post("/api/v1/partners", body).await.expect(409);
    }
    let body = json!({ "tenant": other, "provider": "Third", "jurisdiction": "US", "share_permille": 1_001 });
    site.post("/api/v1/partners", body).await.expect(400);
    // Another partner's report and offers are not there.
    let stranger = site.token("partner", Some(&other)).await.1;
    site.ask(&stranger, "GET", &format!("/api/v1/partners/{tenant}/report"), None).await.expect(404);
    site.ask(&stranger, "POST", &path, Some(offer())).await.expect(404);
    let seen = site.ask(&stranger, "GET", "/api/v1/partners", None).await.expect(200);
    assert_eq!(seen["data"], json!([]));
}

#[tokio::test]
async fn what_it_earned_is_a_sum_over_all_customers_receipts_and_names_none() {
    let site = Site::start().await;
    let (tenant, token) = partner(&site).await;
    for name in ["first", "second"] {
        let customer = site.tenant(name).await;
        site.served("Partner Inc.", &customer, 5).await;
        site.served("p", &customer, 1_000).await;
        // Served by nobody: a refusal.
        site.receipt(&customer, &ProjectId(1).to_string(), &KeyId(1).to_string(), 0).await;
    }
    let report = async |query: &str| {
        let path = format!("/api/v1/partners/{tenant}/report{query}");
        site.ask(&token, "GET", &path, None).await.expect(200)
    };
    // Seven tenths of both together: of each alone they would be three and three.
    let line = json!({ "model": "m", "requests": 2, "input_tokens": 2, "cached_tokens": 0, "output_tokens": 0,
        "gross_micro_eur": 10, "share_micro_eur": 7 });
    let expect = json!({ "provider": "Partner Inc.", "month": "2026-11", "share_permille": 700, "lines": [line],
        "gross_micro_eur": 10, "share_micro_eur": 7 });
    assert_eq!(report("").await, expect);
    assert_eq!(report("?month=2026-11").await, expect);
    assert_eq!(report("?month=2026-10").await["lines"], json!([]));
}
