//! The control API as the twin's people and installers use it: the same routes, tokens and answers as everybody.

use super::ServeError;
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// A page of 1,000 tasks is half a megabyte, a site's file with all serial numbers some more; ten times that.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Far longer than anything takes; a site that needs longer is not well.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Rows of one page: the most that the control API gives.
pub const PAGE: usize = 1_000;

/// One site on this machine.
pub struct Api {
    base: String,
    http: Client<HttpConnector, Full<Bytes>>,
}

/// An answer, whatever it says.
pub struct Reply {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Reply {
    /// As what it should be.
    pub fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ServeError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ServeError::Answer { path: path.to_owned(), why: error.to_string() })
    }
}

impl Api {
    /// Only a site on this machine: what is simulated is nobody's evidence, and must not reach a site that is meant.
    pub fn new(url: &str) -> Result<Api, ServeError> {
        let wrong = || ServeError::NotHere(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if uri.scheme_str() != Some("http") || !here {
            return Err(wrong());
        }
        let http = Client::builder(TokioExecutor::new()).build_http();
        Ok(Api { base: url.trim_end_matches('/').to_owned(), http })
    }

    /// Asks as the bearer of this token.
    pub async fn ask(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Reply, ServeError> {
        let away = |why: String| ServeError::Away { path: path.to_owned(), why };
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(bytes))
            .map_err(|error| away(error.to_string()))?;
        let answer = async {
            let response = self.http.request(request).await.map_err(|error| away(error.to_string()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok(Reply { status, body: body.map_err(|error| away(error.to_string()))?.to_bytes() })
        };
        tokio::time::timeout(ANSWER_MAX, answer).await.unwrap_or_else(|_| Err(away("no answer in time".to_owned())))
    }

    /// The same, and anything but success is an error.
    pub async fn value(
        &self,
        token: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ServeError> {
        let reply = self.ask(token, method, path, body).await?;
        if reply.status.is_success() {
            return reply.read(path);
        }
        let detail = reply.read::<Value>(path).ok().and_then(|it| it["detail"].as_str().map(str::to_owned));
        Err(ServeError::Refused {
            path: path.to_owned(),
            status: reply.status.as_u16(),
            detail: detail.unwrap_or_else(|| String::from_utf8_lossy(&reply.body).into_owned()),
        })
    }

    /// Every row of a list, page by page.
    pub async fn all(&self, token: &str, path: &str) -> Result<Vec<Value>, ServeError> {
        let mut rows: Vec<Value> = Vec::new();
        loop {
            let after = rows.last().and_then(|row| row["id"].as_str());
            let after = after.map(|id| format!("&after={id}")).unwrap_or_default();
            let page = self.value(token, Method::GET, &format!("{path}?limit={PAGE}{after}"), None).await?;
            let Some(page) = page["data"].as_array() else { return Ok(rows) };
            rows.extend_from_slice(page);
            if page.len() < PAGE {
                return Ok(rows);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_site_on_this_machine() {
        for here in ["http://127.0.0.1:8080", "http://localhost:8080/", "http://[::1]:1"] {
            assert!(Api::new(here).is_ok(), "{here}");
        }
        for there in ["https://127.0.0.1", "http://10.0.0.1:8080", "http://ai.example.de", "127.0.0.1:8080", ""] {
            assert!(matches!(Api::new(there), Err(ServeError::NotHere(_))), "{there}");
        }
    }
}
