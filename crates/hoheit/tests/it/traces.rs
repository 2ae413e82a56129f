//! A collector of our own gets a span of every request, with the conventions' names, continued from the caller to the
//! engine, and no content. Without a collector nothing is traced; with one that is away nobody waits.

use crate::client::Client;
use crate::site::{Site, text};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use twin::engine::{Before, Behaviour, Script, ScriptedEngine};

const PROMPT: &str = "canary-prompt-91c2";
const ANSWER: &str = "canary-answer-0b7d";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNRECORDED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// What one export brought: path, headers that matter, body.
type Exports = Arc<Mutex<Vec<(String, Option<String>, Vec<u8>)>>>;

/// A collector that takes everything.
async fn collector() -> (String, Exports) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let exports = Exports::default();
    let kept = exports.clone();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let kept = kept.clone();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let kept = kept.clone();
                async move {
                    let path = request.uri().path().to_owned();
                    let tenant = request.headers().get("x-scope").map(|value| value.to_str().unwrap().to_owned());
                    let body = request.into_body().collect().await.unwrap().to_bytes().to_vec();
                    kept.lock().unwrap().push((path, tenant, body));
                    Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    (url, exports)
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let pairs = of["attributes"].as_array().unwrap().iter();
    pairs
        .map(|pair| {
            let value = &pair["value"];
            let said = value["stringValue"].as_str().or(value["intValue"].as_str()).expect("a string in either form");
            (text(&pair["key"]), said.to_owned())
        })
        .collect()
}

async fn ask(
    client: &Client,
    site: &Site,
    key: &str,
    model: &str,
    stream: bool,
    parent: Option<&str>,
) -> (u16, String) {
    let authorization = format!("Bearer {key}");
    let mut headers = vec![("authorization", authorization.as_str()), ("content-type", "application/json")];
    headers.extend(parent.map(|parent| ("traceparent", parent)));
    let body = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": PROMPT}]}).to_string();
    let reply = client.try_send(Method::POST, &site.chat_url(), &headers, &body).await.unwrap();
    (reply.status, reply.header("hoheit-receipt").to_owned())
}

fn engine() -> Script {
    Script::always(Behaviour { text: Some(ANSWER.to_owned()), ..Behaviour::tokens(3) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_leaves_a_span_without_content() {
    let engine = ScriptedEngine::start(engine()).await.unwrap();
    let (url, exports) = collector().await;
    let environment = [("OTEL_EXPORTER_OTLP_HEADERS", "x-scope=muster"), ("OTEL_SERVICE_NAME", "inference")];
    let mut site = Site::start_with(&["--no-model", "--site", "muc1", "--otlp-endpoint", &url], &environment);
    site.engine(&engine.url(), "here");
    let customer = site.customer("Muster");
    let client = Client::new();
    let (status, continued) = ask(&client, &site, &customer.key, "here", true, Some(PARENT)).await;
    assert_eq!(status, 200);
    let (_, begun) = ask(&client, &site, &customer.key, "here", false, Some("no traceparent at all")).await;
    let (status, refused) = ask(&client, &site, &customer.key, PROMPT, false, None).await;
    assert_eq!(status, 404);
    let (_, unrecorded) = ask(&client, &site, &customer.key, "here", false, Some(UNRECORDED)).await;
    assert_eq!(site.stop(), Some(0));

    let exports = exports.lock().unwrap();
    let (mut spans, mut attempts) = (BTreeMap::new(), BTreeMap::new());
    for (path, scope, body) in exports.iter() {
        assert_eq!((path.as_str(), scope.as_deref()), ("/v1/traces", Some("muster")));
        let body: Value = serde_json::from_slice(body).unwrap();
        let said = body.to_string();
        for canary in [PROMPT, ANSWER, customer.key.rsplit('_').next().unwrap()] {
            assert!(!said.contains(canary), "{canary}: {said}");
        }
        let resource = attributes(&body["resourceSpans"][0]["resource"]);
        assert_eq!((resource["service.name"].as_str(), resource["hoheit.site"].as_str()), ("inference", "muc1"));
        for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap() {
            let said = attributes(span);
            let of = if said.contains_key("hoheit.attempt") { &mut attempts } else { &mut spans };
            of.insert(said["hoheit.receipt"].clone(), span.clone());
        }
    }
    // One a request, those left out that the caller does not record; and one for each engine that was asked.
    assert_eq!((spans.len(), attempts.len()), (3, 2), "{spans:#?}");
    assert!(!spans.contains_key(&unrecorded));

    let span = &spans[&continued];
    assert_eq!(span["name"], "chat here");
    assert_eq!((&span["kind"], &span["status"]), (&json!(2), &json!({})));
    assert_eq!((&span["traceId"], &span["parentSpanId"]), (&PARENT[3..35].into(), &PARENT[36..52].into()));
    let said = attributes(span);
    for (name, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "Muster"),
        ("gen_ai.request.model", "here"),
        ("gen_ai.usage.output_tokens", "3"),
        ("hoheit.outcome", "completed"),
        ("hoheit.tenant", customer.tenant.as_str()),
        ("hoheit.attempts", "1"),
    ] {
        assert_eq!(said[name], value, "{name}");
    }
    assert!(said["gen_ai.usage.input_tokens"].parse::<u64>().unwrap() > 0);
    assert_eq!(span["events"][0]["name"], "gen_ai.first_token");
    let millis = |name: &str| text(&span[name]).parse::<u64>().unwrap() / 1_000_000;
    let id: types::ReceiptId = continued.parse().unwrap();
    assert_eq!(u128::from(millis("startTimeUnixNano")), id.0 >> 80, "an id begins with the time of its request");
    assert!(millis("endTimeUnixNano") >= millis("startTimeUnixNano"));

    // A trace that begins here has the receipt's own bits.
    let span = &spans[&begun];
    let id: types::ReceiptId = begun.parse().unwrap();
    assert_eq!(span["traceId"], format!("{:032x}", id.0));
    assert_eq!(span.get("parentSpanId"), None);

    let span = &spans[&refused];
    let said = attributes(span);
    assert_eq!((said["error.type"].as_str(), said["gen_ai.request.model"].as_str()), ("model_not_found", "(unknown)"));
    assert_eq!(span["status"], json!({}), "a client's mistake is no error of the server");

    // The engine continues the same traces.
    let got: Vec<_> = engine.requests().iter().map(|it| it.header("traceparent").map(str::to_owned)).collect();
    let traceparent = |span: &Value| Some(format!("00-{}-{}-01", text(&span["traceId"]), text(&span["spanId"])));
    assert_eq!(got, [traceparent(&attempts[&continued]), traceparent(&attempts[&begun]), None]);
    for receipt in [&continued, &begun] {
        assert_eq!(attempts[receipt]["parentSpanId"], spans[receipt]["spanId"]);
    }
}

/// Three engines, two of which fail: three spans below the request's, three lines, one receipt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f20_each_attempt_is_a_span_and_a_line_below_its_request() {
    let full = || ScriptedEngine::start(Script::always(Behaviour::before(Before::error(503))));
    let (one, other, good) =
        (full().await.unwrap(), full().await.unwrap(), ScriptedEngine::start(engine()).await.unwrap());
    let (url, exports) = collector().await;
    let arguments = ["--no-model", "--otlp-endpoint", &url, "--log-format", "json"];
    let mut site = Site::start_with(&arguments, &[("HOHEIT_LOG", "gateway::attempt=debug,info")]);
    [&one, &other, &good].into_iter().for_each(|engine| drop(site.engine(&engine.url(), "here")));
    let customer = site.customer("Muster");
    let client = Client::new();
    let mut receipt = String::new();
    // Until the dice sent a request to all three; a breaker opens at the fifth failure.
    for _ in 0..60 {
        let before = good.requests().len();
        let tried = one.requests().len() + other.requests().len();
        let (status, id) = ask(&client, &site, &customer.key, "here", true, None).await;
        assert_eq!((status, good.requests().len()), (200, before + 1));
        if one.requests().len() + other.requests().len() == tried + 2 {
            receipt = id;
            break;
        }
    }
    assert!(!receipt.is_empty(), "no request met both: by chance once in 10^6 times");
    assert_eq!(site.stop(), Some(0));

    let exports = exports.lock().unwrap();
    let (mut spans, mut attempts) = (Vec::new(), BTreeMap::new());
    for (_, _, body) in exports.iter() {
        let body: Value = serde_json::from_slice(body).unwrap();
        for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap() {
            let said = attributes(span);
            match said.get("hoheit.attempt") {
                _ if said["hoheit.receipt"] != receipt => {}
                Some(number) => drop(attempts.insert(number.clone(), (span.clone(), said))),
                None => spans.push((span.clone(), said)),
            }
        }
    }
    let [(request, said)] = &spans[..] else { panic!("one span a request: {spans:?}") };
    assert_eq!((said["hoheit.attempts"].as_str(), said["hoheit.outcome"].as_str()), ("3", "completed"));
    assert_eq!(attempts.keys().map(String::as_str).collect::<Vec<_>>(), ["1", "2", "3"]);
    for (number, (span, said)) in &attempts {
        assert_eq!((&span["parentSpanId"], &span["traceId"]), (&request["spanId"], &request["traceId"]));
        assert_eq!(said.get("error.type").map(String::as_str), (number != "3").then_some("engine_failed"));
    }
    let engines: std::collections::BTreeSet<_> = attempts.values().map(|(_, said)| &said["hoheit.engine"]).collect();
    assert_eq!(engines.len(), 3, "never the same twice");
    // The same in the log: the receipt's id is the parent.
    let log = site.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines: Vec<_> = lines
        .filter(|line| line["target"] == "gateway::attempt" && line["fields"]["receipt"] == receipt.as_str())
        .map(|line| (line["fields"]["attempt"].as_u64().unwrap(), line["fields"]["code"].as_str().map(str::to_owned)))
        .collect();
    let failed = |number| (number, Some("engine_failed".to_owned()));
    assert_eq!(lines, [failed(1), failed(2), (3, None)]);
    let receipts = site_receipts(&mut site, &customer.tenant);
    assert_eq!(receipts.iter().filter(|it| it["id"] == receipt.as_str()).count(), 1);
}

fn site_receipts(site: &mut Site, tenant: &str) -> Vec<Value> {
    site.boot();
    let page = site.cli(&["receipt", "list", "--tenant", tenant]);
    assert_eq!(site.stop(), Some(0));
    page["data"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_nothing_is_traced_and_one_that_is_away_costs_no_request() {
    let engine = ScriptedEngine::start(engine()).await.unwrap();
    let site = Site::start(&["--no-model"]);
    site.engine(&engine.url(), "here");
    let customer = site.customer("Muster");
    let client = Client::new();
    assert_eq!(ask(&client, &site, &customer.key, "here", false, Some(PARENT)).await.0, 200);
    assert_eq!(engine.requests()[0].header("traceparent"), None);
    drop(site);

    // A port that nobody listens on.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = Site::start(&["--no-model", "--otlp-endpoint", &format!("http://{nobody}")]);
    site.engine(&engine.url(), "here");
    let customer = site.customer("Muster");
    assert_eq!(ask(&client, &site, &customer.key, "here", false, None).await.0, 200);
    for _ in 0..2_000 {
        let page = client.get(&site.path("/metrics"), &[]).await.body;
        if std::str::from_utf8(&page).unwrap().contains("\nhoheit_spans_dropped_total 1\n") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the dropped span was not counted: {}", site.log());
}
