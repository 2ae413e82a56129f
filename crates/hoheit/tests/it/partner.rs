//! Providers as partners, by the command line against the whole process: what a report says is what the receipts say, and nothing
//! else.

use crate::client::Client;
use crate::site::{Customer, Site, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use twin::engine::{Behaviour, ScriptedEngine};
use types::{Month, UnixMillis};

const PROVIDER: &str = "Partner GmbH";

async fn ask(site: &Site, customer: &Customer, model: &str, status: u16) {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": "Guten Tag, wie geht es?" }] });
    let reply = Client::new().post(&site.chat_url(), &customer.key, &body).await;
    assert_eq!(reply.status, status, "{model}: {}", String::from_utf8_lossy(&reply.body));
}

/// A tenant's receipts, when as many are there as were asked for.
fn receipts(site: &Site, customer: &Customer, count: usize) -> Vec<Value> {
    let begin = Instant::now();
    loop {
        let list = site.cli(&["receipt", "list", "--tenant", &customer.tenant, "--limit", "1000"]);
        let claims: Vec<_> = list["data"].as_array().unwrap().iter().map(|row| row["claims"].clone()).collect();
        if claims.len() == count {
            return claims;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{} of {count} receipts", claims.len());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn month(claims: &Value) -> Month {
    UnixMillis(claims["received_at"].as_i64().unwrap()).month()
}

/// What a report must say of these receipts, summed here and by nobody else's code.
fn expected(claims: &[Value], month: Month, permille: i64) -> Value {
    let mut models: BTreeMap<String, [i64; 5]> = BTreeMap::new();
    for claims in claims.iter().filter(|it| it["served_by"]["provider"] == PROVIDER && self::month(it) == month) {
        let usage = |name: &str| claims["usage"][name].as_i64().unwrap();
        let cost = claims["cost_micro_eur"].as_i64().unwrap();
        let sums = models.entry(text(&claims["model"])).or_default();
        for (sum, more) in sums.iter_mut().zip([1, usage("input"), usage("cached"), usage("output"), cost]) {
            *sum += more;
        }
    }
    let share = |gross: i64| gross * permille / 1_000;
    let line = |(model, [requests, input, cached, output, gross]): (&String, &[i64; 5])| {
        json!({ "model": model, "requests": requests, "input_tokens": input, "cached_tokens": cached, "output_tokens": output,
            "gross_micro_eur": gross, "share_micro_eur": share(*gross) })
    };
    json!({
        "provider": PROVIDER, "month": month.to_string(), "share_permille": permille,
        "lines": models.iter().map(line).collect::<Vec<_>>(),
        "gross_micro_eur": models.values().map(|sums| sums[4]).sum::<i64>(),
        "share_micro_eur": models.values().map(|sums| share(sums[4])).sum::<i64>(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_says_what_the_receipts_say() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let site = Site::start(&["--no-model"]);
    let partner = site.tenant("partner");
    let create = [
        "partner",
        "create",
        partner.as_str(),
        "--provider",
        PROVIDER,
        "--jurisdiction",
        "DE",
        "--share-percent",
        "72.5",
    ];
    let made = site.cli(&create);
    assert_eq!(
        (&made["provider"], &made["operator"], &made["share_permille"]),
        (&json!(PROVIDER), &json!(PROVIDER), &json!(725))
    );
    assert!(!site.run(&create).status.success(), "it is one already");
    let list = site.cli(&["partner", "list"]);
    assert_eq!(list["data"], json!([made]));
    let shown = String::from_utf8(site.run(&["partner", "list"]).stdout).unwrap();
    assert!(shown.contains(PROVIDER) && shown.contains("72.5 %"), "{shown}");

    let url = engine.url();
    let publish = |model: &str, output: &str| {
        let place = ["--country", "DE", "--place", "fra1", "--input-eur", "0.77", "--output-eur", output];
        site.cli(&[&["partner", "publish", partner.as_str(), url.as_str(), "--model", model], &place[..]].concat())
    };
    let large = publish("partner-large", "1234.56");
    publish("partner-small", "3.33");
    site.engine(&url, "own");
    let customers = [site.customer("eins"), site.customer("zwei")];
    for customer in &customers {
        ask(&site, customer, "partner-large", 200).await;
        ask(&site, customer, "partner-small", 200).await;
        ask(&site, customer, "own", 200).await;
        ask(&site, customer, "nobody's", 404).await;
    }
    // Published again: the same engine, dearer from now on.
    assert_eq!(publish("partner-large", "9876.54")["id"], large["id"]);
    ask(&site, &customers[0], "partner-large", 200).await;

    let mut claims = receipts(&site, &customers[0], 5);
    claims.extend(receipts(&site, &customers[1], 4));
    // One, but for a night in which a month ends.
    let months: BTreeSet<Month> = claims.iter().map(month).collect();
    for month in &months {
        let expect = expected(&claims, *month, 725);
        assert_ne!(expect["gross_micro_eur"], json!(0));
        assert_eq!(site.cli(&["partner", "report", &partner, "--month", &month.to_string()]), expect);
    }
    let paid: i64 = claims
        .iter()
        .filter(|it| it["model"] == "partner-large")
        .map(|it| it["cost_micro_eur"].as_i64().unwrap())
        .sum();
    let dearer = claims
        .iter()
        .filter(|it| it["model"] == "partner-large")
        .map(|it| it["cost_micro_eur"].as_i64().unwrap())
        .max();
    assert!(dearer.is_some_and(|dearer| paid < 3 * dearer), "two prices: {paid} {dearer:?}");
    let empty = site.cli(&["partner", "report", &partner, "--month", "2020-02"]);
    assert_eq!((&empty["lines"], &empty["gross_micro_eur"]), (&json!([]), &json!(0)));

    // For people, and for the partner itself; no customer is named.
    let month = months.iter().next_back().unwrap().to_string();
    let shown = String::from_utf8(site.run(&["partner", "report", &partner, "--month", &month]).stdout).unwrap();
    for word in ["partner-large", PROVIDER, "72.5 %"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    for customer in &customers {
        for id in [&customer.tenant, &customer.project] {
            assert!(!shown.contains(id.as_str()), "{shown}");
        }
    }
    let unknown = site.run(&["partner", "report", &customers[0].tenant]);
    assert!(!unknown.status.success());
}
