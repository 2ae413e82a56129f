//! A plain HTTP client that reports what it really saw: the head, the bytes so far, and whether the end came.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

#[derive(Clone)]
pub struct Client(hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>);

/// An answer that came with its head, whole or not.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The body came to its proper end.
    pub whole: bool,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no header {name}: {:?}", self.headers));
        value.to_str().expect("ASCII")
    }

    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

fn request(method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

impl Client {
    pub fn new() -> Client {
        Client(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http())
    }

    /// Sends, and comes back with the rest of the answer as soon as its first bytes are here.
    pub async fn opened(&self, url: &str, headers: &[(&str, &str)], body: &str) -> Incoming {
        let mut incoming = self.0.request(request(Method::POST, url, headers, body)).await.expect("a head").into_body();
        incoming.frame().await.expect("a first event").expect("no break before it");
        incoming
    }

    /// `None` if no head of an answer came.
    pub async fn try_send(&self, method: Method, url: &str, headers: &[(&str, &str)], body: &str) -> Option<Reply> {
        let (head, mut incoming) = self.0.request(request(method, url, headers, body)).await.ok()?.into_parts();
        let (mut body, mut whole) = (Vec::new(), true);
        while let Some(frame) = incoming.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => body.extend_from_slice(&data),
                Ok(Err(_)) => {}
                Err(_) => whole = false,
            }
            if !whole {
                break;
            }
        }
        Some(Reply { status: head.status.as_u16(), headers: head.headers, body: body.into(), whole })
    }

    pub async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Reply {
        self.try_send(Method::GET, url, headers, "").await.expect("an answer")
    }

    pub async fn post(&self, url: &str, key: &str, body: &Value) -> Reply {
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        self.try_send(Method::POST, url, &headers, &body.to_string()).await.expect("an answer")
    }
}
