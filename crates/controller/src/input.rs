//! What comes in: bodies, queries and ids, with messages that say what to do.
//!
//! Unknown fields are refused by the types themselves (`deny_unknown_fields`); a misspelt budget must not silently be no
//! budget. Nothing here decides who may do something.

use crate::Problem;
use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use http::request::Parts;
use http::{Uri, header};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::error::Category;
use std::str::FromStr;
use types::{Code, MicroEur};

/// The largest body: a price book of a few thousand models at 200 bytes, or the longest rule, fits three times.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// The largest body of a site's file with its serial numbers: 10,000 machines of 40 parts are 400,000 lines of 45 bytes,
/// 18 MB, and the file beside them is at most 4 MiB ([`fleet::site::SITE_BYTES_MAX`]); with what JSON adds to line ends, 24 MiB.
/// Munich's 1,250 machines with all their parts are 1.7 MB.
pub const SITE_BODY_BYTES_MAX: usize = 24 << 20;
/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 64;
/// The longest reason that a person gives, in characters: shown with each machine, kept for ever.
pub const WORDS_CHARS_MAX: usize = 512;
/// The longest engine URL, in bytes: what proxies and logs take without cutting.
pub const URL_BYTES_MAX: usize = 2_048;
/// How many rows a list returns when `limit` is left out.
pub const LIST_LIMIT_DEFAULT: u32 = 100;
/// The most rows a list returns: a receipt with its proof is about 3 KB, so an answer stays near 3 MB.
pub const LIST_LIMIT_MAX: u32 = 1_000;

/// A JSON body.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_none_or(|kind| kind.to_str().is_ok_and(|kind| kind.starts_with("application/json")));
        if !json {
            return Err(Problem::invalid("Send the body as Content-Type: application/json."));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|_| {
            Problem::new(Code::BodyTooLarge, format!("A body here has at most {BODY_BYTES_MAX} bytes (1 MiB)."))
        })?;
        parse(&bytes).map(Body)
    }
}

/// A JSON body with a limit of its own: who may send one is known before it is read.
pub struct LargeBody<T, const BYTES_MAX: usize>(pub T);

impl<S: Send + Sync, T: DeserializeOwned, const BYTES_MAX: usize> FromRequest<S> for LargeBody<T, BYTES_MAX> {
    type Rejection = Problem;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Problem> {
        axum::extract::DefaultBodyLimit::max(BYTES_MAX).apply(&mut request);
        let done = Body::from_request(request, state).await;
        done.map(|Body(body)| LargeBody(body)).map_err(|problem| match problem.code {
            Code::BodyTooLarge => Problem::new(
                Code::BodyTooLarge,
                format!("A body here has at most {BYTES_MAX} bytes ({} MiB).", BYTES_MAX >> 20),
            ),
            _ => problem,
        })
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => Problem::invalid(format!("The body does not fit: {error}. See /api/openapi.json.")),
        Category::Io | Category::Syntax | Category::Eof if bytes.is_empty() => {
            Problem::new(Code::InvalidJson, "The body is empty; this operation takes a JSON object.")
        }
        Category::Io | Category::Syntax | Category::Eof => {
            Problem::new(Code::InvalidJson, format!("The body is not JSON: {error}."))
        }
    })
}

/// A query string; unknown parameters are refused like unknown fields.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|query: axum::extract::Query<T>| Query(query.0))
            .map_err(|error| Problem::invalid(format!("The query does not fit: {}.", error.body_text())))
    }
}

/// The id in the path.
pub struct Id<T>(pub T);

impl<S: Send + Sync, T: FromStr<Err = types::id::IdError>> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let axum::extract::Path(text) = axum::extract::Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::invalid("The id in the path is not text."))?;
        text.parse().map(Id).map_err(|error| Problem::invalid(format!("The id in the path is none: {error}.")))
    }
}

/// Accepts a name: 1 to 64 printable characters, no space at the ends.
pub fn name(field: &str, text: &str) -> Result<(), Problem> {
    let length = text.chars().count();
    let printable = !text.chars().any(char::is_control) && text.trim() == text;
    if (1..=NAME_CHARS_MAX).contains(&length) && printable {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "{field}: give 1 to {NAME_CHARS_MAX} printable characters, without spaces at the ends."
    )))
}

/// Accepts a reason, a reading, a file's name: 1 to 512 printable characters.
pub fn words(field: &str, text: &str) -> Result<(), Problem> {
    let length = text.chars().count();
    if (1..=WORDS_CHARS_MAX).contains(&length) && !text.chars().any(char::is_control) && !text.trim().is_empty() {
        return Ok(());
    }
    Err(Problem::invalid(format!("{field}: give 1 to {WORDS_CHARS_MAX} printable characters.")))
}

/// Accepts an amount that is not below zero.
pub fn amount(field: &str, amount: Option<MicroEur>) -> Result<(), Problem> {
    match amount {
        Some(amount) if amount < MicroEur::ZERO => {
            Err(Problem::invalid(format!("{field}: an amount is not below zero; it is in micro-euro.")))
        }
        _ => Ok(()),
    }
}

/// Accepts `sha256:<64 hex digits>`.
pub fn digest(field: &str, text: Option<&str>) -> Result<(), Problem> {
    let hex = |hex: &str| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match text {
        Some(text) if !text.strip_prefix("sha256:").is_some_and(hex) => {
            Err(Problem::invalid(format!("{field}: write sha256: and 64 lower-case hex digits.")))
        }
        _ => Ok(()),
    }
}

/// Normalises an engine's base URL: http or https, a host, no user, query or fragment; `/v1` and `/` at the end go.
pub fn engine_url(text: &str) -> Result<String, Problem> {
    let refuse = |why: &str| {
        Err(Problem::invalid(format!("url: {why}. Give the engine's base URL, for example http://127.0.0.1:8000.")))
    };
    if text.len() > URL_BYTES_MAX {
        return refuse(&format!("it is longer than {URL_BYTES_MAX} bytes"));
    }
    let Ok(uri) = text.parse::<Uri>() else { return refuse("it is not a URL") };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return refuse("it starts with neither http:// nor https://");
    }
    let Some(authority) = uri.authority() else { return refuse("it names no host") };
    if authority.host().is_empty() {
        return refuse("it names no host");
    }
    if authority.as_str().contains('@') {
        return refuse("it holds a user name; send a credential in the field credential");
    }
    // What stands after the host is the port; `Uri` lets one through that is not a number below 65536.
    let port = authority.as_str().len() > authority.host().len();
    if port && authority.port_u16().is_none_or(|port| port == 0) {
        return refuse("its port is none");
    }
    if uri.query().is_some() || text.contains('#') {
        return refuse("it has a query or a fragment");
    }
    let text = text.trim_end_matches('/');
    Ok(text.strip_suffix("/v1").unwrap_or(text).trim_end_matches('/').to_owned())
}

/// The number of rows to list.
pub fn limit(limit: Option<u32>) -> Result<u32, Problem> {
    match limit {
        None => Ok(LIST_LIMIT_DEFAULT),
        Some(limit) if (1..=LIST_LIMIT_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::invalid(format!("limit: a number from 1 to {LIST_LIMIT_MAX}."))),
    }
}

/// Tells `null` (clear it) from a field that is not there (leave it).
pub fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let check = |text: &str, expect: Option<&str>| assert_eq!(engine_url(text).ok().as_deref(), expect, "{text}");
        check("http://127.0.0.1:8000", Some("http://127.0.0.1:8000"));
        check("http://127.0.0.1:8000/", Some("http://127.0.0.1:8000"));
        check("https://engine.example/v1", Some("https://engine.example"));
        check("https://engine.example/v1/", Some("https://engine.example"));
        check("https://engine.example/a/b", Some("https://engine.example/a/b"));
        check("http://[::1]:8000", Some("http://[::1]:8000"));
        for bad in [
            "",
            "engine",
            "engine:8000",
            "/v1",
            "ftp://engine",
            "http://",
            "http:///v1",
            "http://u:p@engine",
            "http://e?x=1",
            "http://e#f",
            "http://e:99999",
            "http://e:",
            "http://e:0",
            "http://a b",
            "javascript:alert(1)",
        ] {
            check(bad, None);
        }
        check(&format!("http://e/{}", "x".repeat(URL_BYTES_MAX)), None);
    }

    #[test]
    fn names() {
        let check = |text: &str, expect: bool| assert_eq!(name("name", text).is_ok(), expect, "{text:?}");
        check("Müller & Söhne GmbH", true);
        check(&"ü".repeat(64), true);
        check(&"ü".repeat(65), false);
        check("", false);
        check(" ", false);
        check("a\nb", false);
        check(" a", false);
    }

    #[test]
    fn bodies_say_whether_they_are_json_at_all() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Name {
            #[expect(dead_code, reason = "only its parsing is looked at")]
            name: String,
        }
        let check =
            |text: &str, expect: Code| assert_eq!(parse::<Name>(text.as_bytes()).unwrap_err().code, expect, "{text}");
        check("", Code::InvalidJson);
        check("{", Code::InvalidJson);
        check("<html>", Code::InvalidJson);
        check("{\"name\":1}", Code::InvalidRequest);
        check("{\"name\":\"a\",\"budget\":1}", Code::InvalidRequest);
        check("{}", Code::InvalidRequest);
        check("[]", Code::InvalidRequest);
        check(&"[".repeat(100_000), Code::InvalidRequest);
    }

    #[test]
    fn digests_and_amounts() {
        assert!(digest("weights", Some(&format!("sha256:{}", "0a".repeat(32)))).is_ok());
        assert!(digest("weights", Some("sha256:0A")).is_err());
        assert!(amount("budget", Some(MicroEur(0))).is_ok());
        assert!(amount("budget", Some(MicroEur(-1))).is_err());
    }
}
