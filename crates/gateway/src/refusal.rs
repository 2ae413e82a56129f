//! A classified error on its way to the client, and its rendering as OpenAI's envelope.
//!
//! The text is public: it says what is wrong and what to do, and holds nothing of the request but names that the caller
//! sent. What only the operator may see goes to the log where the error is handled.

use crate::body::{Outgoing, full};
use http::{HeaderValue, Response, StatusCode, header};
use types::Code;

#[derive(Debug, Clone)]
pub struct Refusal {
    pub code: Code,
    pub message: String,
    /// The field at fault, as OpenAI's `param`.
    pub param: Option<String>,
    /// Seconds until a retry can help, where it is known.
    pub retry_after: Option<u64>,
    /// The engine's own status, for its 4xx that are passed on.
    pub status: Option<u16>,
    /// The engine's own code, where frameworks compare it; stands in `error.code` in place of ours.
    pub engine_code: Option<&'static str>,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Refusal { code, message: message.into(), param: None, retry_after: None, status: None, engine_code: None }
    }

    pub fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub fn status(&self) -> u16 {
        self.status.unwrap_or_else(|| self.code.status())
    }

    /// `{"error":{"message","type","param","code"}}`.
    pub fn envelope(&self) -> String {
        serde_json::json!({"error": {
            "message": self.message,
            "type": self.code.openai_type(),
            "param": self.param,
            "code": self.engine_code.unwrap_or_else(|| self.code.as_str()),
        }})
        .to_string()
    }

    /// The HTTP response. `x-should-retry` tells OpenAI's SDKs what the status alone does not.
    pub fn response(&self) -> Response<Outgoing> {
        let mut response = Response::new(full(self.envelope()));
        *response.status_mut() = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let retry = self.code.retry() == types::code::Retry::Later;
        headers.insert("x-should-retry", HeaderValue::from_static(if retry { "true" } else { "false" }));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code.status() == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
