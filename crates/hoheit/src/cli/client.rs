//! The connection: where the site is, with which token, and one request at a time over HTTP/1.1.
//!
//! Plain http carries tokens readably, so it is for this machine only; elsewhere it is https.

use super::Failure;
use bytes::Bytes;
use clap::Args;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// How long the control API may take: a list of 1,000 receipts with proofs takes well under a second.
const ANSWER_SECS_MAX: u64 = 30;
/// 1,000 receipts with proofs are 3 MB; ten times that is no answer of ours.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Rows of one page: the most that the control API gives.
const PAGE: usize = 1_000;

/// Where to find the site; the same for every noun.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// The site.
    #[arg(
        long = "url",
        id = "site_url",
        value_name = "URL",
        env = "HOHEIT_URL",
        global = true,
        help_heading = "Connection"
    )]
    #[arg(default_value = "http://127.0.0.1:8080")]
    pub site_url: String,
    /// The folder of `hoheit up`; its admin-token is used unless HOHEIT_TOKEN is set.
    #[arg(
        long = "data",
        id = "site_data",
        value_name = "DIR",
        env = "HOHEIT_DATA",
        global = true,
        help_heading = "Connection"
    )]
    pub site_data: Option<PathBuf>,
    /// Print the API's JSON instead of a table.
    #[arg(long, global = true)]
    pub json: bool,
}

impl Connection {
    /// A client with the control token.
    pub fn control(&self) -> Result<Client, Failure> {
        Client::new(&self.site_url, Some(self.token()?))
    }

    /// A client with an API key.
    pub fn inference(&self, key: String) -> Result<Client, Failure> {
        Client::new(&self.site_url, Some(key))
    }

    fn token(&self) -> Result<String, Failure> {
        if let Some(token) = std::env::var("HOHEIT_TOKEN").ok().filter(|token| !token.is_empty()) {
            return Ok(token.trim().to_owned());
        }
        let Some(data) = &self.site_data else {
            return Err(Failure::usage("No token to show to the control API.")
                .hint("set HOHEIT_TOKEN, or HOHEIT_DATA (or --data) to the folder of `hoheit up`"));
        };
        let path = data.join("admin-token");
        std::fs::read_to_string(&path).map(|token| token.trim().to_owned()).map_err(|error| {
            Failure::failed(format!("{} could not be read: {error}", path.display()))
                .hint("it is made by the first `hoheit up --data DIR` and readable by the same user only")
        })
    }
}

/// Speaks to one site.
pub struct Client {
    base: String,
    authorization: Option<String>,
    http: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Whether plain http may go there.
fn is_here(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn check_base(text: &str, insecure: bool) -> Result<String, Failure> {
    let wrong = |why: &str| {
        Failure::usage(format!("HOHEIT_URL {text:?}: {why}."))
            .hint("give for example http://127.0.0.1:8080 or https://ai.example.de")
    };
    let uri: Uri = text.parse().map_err(|_| wrong("not a URL"))?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host"))?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if is_here(host) || insecure => {}
        Some("http") => {
            return Err(wrong("plain http sends the token readably over the network")
                .hint("use https, or set HOHEIT_INSECURE_HTTP=1 if the way there is trusted"));
        }
        _ => return Err(wrong("neither http nor https")),
    }
    Ok(text.trim_end_matches('/').to_owned())
}

impl Client {
    fn new(base: &str, token: Option<String>) -> Result<Self, Failure> {
        let insecure = std::env::var("HOHEIT_INSECURE_HTTP").is_ok_and(|value| value == "1");
        Client::over(check_base(base, insecure)?, token)
    }

    /// A client of an engine, with the engine's own credential: it travels there as the gateway's requests will.
    pub fn engine(address: &str, credential: Option<String>) -> Result<Self, Failure> {
        let base = address.trim_end_matches('/');
        Client::over(base.strip_suffix("/v1").unwrap_or(base).to_owned(), credential)
    }

    fn over(base: String, token: Option<String>) -> Result<Self, Failure> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(|error| Failure::failed(format!("TLS did not start: {error}")))?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            base,
            authorization: token.map(|token| format!("Bearer {token}")),
            http: hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Sends a request and gives the response as it begins; its body may stream.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&'static str, String)],
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(bytes)).map_err(|error| {
            Failure::usage(format!("The request cannot be sent: {error}."))
                .hint("look for spaces or line breaks in the token, the key and the ids")
        })?;
        self.http.request(request).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Failure::failed(format!("{} does not answer ({error}{cause}).", self.base))
                .hint("start it with `hoheit up --data DIR`, or set HOHEIT_URL to where it listens")
        })
    }

    async fn bytes(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Bytes, Failure> {
        let answer = async {
            let response = self.send(method, path, body, &[]).await?;
            let status = response.status();
            let bytes = collect(response).await?;
            if status.is_success() { Ok(bytes) } else { Err(refusal(status, &bytes)) }
        };
        tokio::time::timeout(Duration::from_secs(ANSWER_SECS_MAX), answer).await.unwrap_or_else(|_| {
            Err(Failure::failed(format!("{} did not answer within {ANSWER_SECS_MAX} seconds.", self.base))
                .hint("see GET /readyz and the site's log"))
        })
    }

    async fn value(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let bytes = self.bytes(method, path, body).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::failed(format!("{} answered something that is not JSON: {error}.", self.base))
                .hint("check that HOHEIT_URL points to Hoheit")
        })
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.value(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.value(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.value(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.value(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.value(Method::DELETE, path, None).await
    }

    /// Every row of a list that is answered page by page, by id ascending, in the form of one answer: `{"data": […]}`.
    pub async fn all(&self, path: &str) -> Result<Value, Failure> {
        let mark = if path.contains('?') { '&' } else { '?' };
        let mut rows: Vec<Value> = Vec::new();
        let mut after = None;
        loop {
            let from = after.map(|id: String| format!("&after={}", query(&id))).unwrap_or_default();
            let mut page = self.get(&format!("{path}{mark}limit={PAGE}{from}")).await?;
            let Some(Value::Array(page)) = page.get_mut("data").map(Value::take) else { break };
            let whole = page.len() >= PAGE;
            after = page.last().and_then(|row| row["id"].as_str()).map(str::to_owned);
            rows.extend(page);
            if !whole || after.is_none() {
                break;
            }
        }
        Ok(serde_json::json!({ "data": rows }))
    }

    /// A file as it is served: keys, checkpoint.
    pub async fn file(&self, path: &str) -> Result<Bytes, Failure> {
        self.bytes(Method::GET, path, None).await
    }
}

/// Text as a value in a query.
pub fn query(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The whole body, within the limit.
pub async fn collect(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    match body.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(Failure::failed(format!("The answer broke off: {error}."))),
    }
}

/// Reads both renderings of our errors, problem+json and OpenAI's envelope, and says so if it is neither.
pub fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let inner = if value["error"].is_object() { &value["error"] } else { &value };
    let text = |name: &str| inner[name].as_str();
    let (Some(detail), Some(code)) = (text("detail").or(text("message")), text("code")) else {
        return Failure::failed(format!("The answer was {status} and not one of Hoheit's."))
            .hint("check that HOHEIT_URL points to Hoheit");
    };
    let hint = match code {
        "key_missing" | "key_invalid" => Some("check HOHEIT_TOKEN (control) or HOHEIT_API_KEY (chat)".to_owned()),
        _ => None,
    };
    Failure { what: format!("{detail} ({code}, {})", status.as_u16()), hint, exit: 1, code: Some(code.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_types_stays_one_value() {
        assert_eq!(query("h1/r01/k01/u01"), "h1/r01/k01/u01");
        assert_eq!(query("a&limit=1 ä#"), "a%26limit%3D1%20%C3%A4%23");
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        let check =
            |text: &str, expect: Option<&str>| assert_eq!(check_base(text, false).ok().as_deref(), expect, "{text}");
        check("http://127.0.0.1:8080/", Some("http://127.0.0.1:8080"));
        check("http://localhost:1", Some("http://localhost:1"));
        check("http://[::1]:1", Some("http://[::1]:1"));
        check("https://ai.example.de", Some("https://ai.example.de"));
        for bad in ["http://ai.example.de", "http://10.0.0.1", "ftp://127.0.0.1", "127.0.0.1:8080", "", "http://"] {
            check(bad, None);
        }
        assert!(check_base("http://hoheit:8080", true).is_ok());
    }

    #[test]
    fn refusals_are_read_in_both_renderings() {
        let problem = br#"{"type":"t","status":404,"code":"not_found","detail":"There is no such object."}"#;
        let failure = refusal(StatusCode::NOT_FOUND, problem);
        assert_eq!(failure.what, "There is no such object. (not_found, 404)");
        assert!(failure.is_not_found() && failure.exit == 1);
        let envelope = br#"{"error":{"message":"No key.","type":"authentication_error","code":"key_missing"}}"#;
        let failure = refusal(StatusCode::UNAUTHORIZED, envelope);
        assert_eq!(failure.what, "No key. (key_missing, 401)");
        assert!(failure.hint.is_some());
        for foreign in [&b"<html>"[..], b"", b"{}", b"[]", b"null"] {
            assert!(refusal(StatusCode::BAD_GATEWAY, foreign).what.contains("not one of Hoheit's"));
        }
    }
}
