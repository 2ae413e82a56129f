//! OpenAI's error envelope, with the status that makes an SDK raise its right exception.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

/// A request that is not answered, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) code: Option<&'static str>,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
    pub(crate) retry_after_secs: Option<u32>,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, kind, code, message: message.into(), param: None, retry_after_secs: None }
    }

    /// A field with a value that is wrong or cannot be honoured.
    pub(crate) fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        let refusal = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", None, message);
        Self { param: Some(param.into()), ..refusal }
    }

    /// A field that OpenAI knows and this engine cannot honour: said, not ignored.
    pub(crate) fn unsupported(param: &str, what: &str) -> Self {
        let message = format!("{what} This engine is for trying things out; use vLLM or llama-server for that.");
        Self { code: Some("unsupported_parameter"), ..Self::field(param, message) }
    }

    pub(crate) fn body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", Some("invalid_json"), message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("The body is larger than {limit} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", Some("body_too_large"), message)
    }

    pub(crate) fn too_slow() -> Self {
        let message = "The body did not arrive in time.";
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", Some("body_timeout"), message)
    }

    pub(crate) fn model_unknown(asked: &str, served: &str) -> Self {
        let message = format!("The model `{asked}` does not exist here; this engine serves `{served}`.");
        let refusal = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", Some("model_not_found"), message);
        Self { param: Some("model".into()), ..refusal }
    }

    pub(crate) fn stranger() -> Self {
        let message = "This engine answers only to the gateway that started it.";
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", Some("invalid_api_key"), message)
    }

    pub(crate) fn path_unknown(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            Some("not_found"),
            format!("There is no {path} here."),
        )
    }

    pub(crate) fn method(allowed: &str) -> Self {
        let message = format!("This path takes {allowed}.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", Some("method_not_allowed"), message)
    }

    pub(crate) fn context(param: &str, message: String) -> Self {
        Self { code: Some("context_length_exceeded"), ..Self::field(param, message) }
    }

    pub(crate) fn busy() -> Self {
        let message = "Every place in the queue is taken; try again shortly.";
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", Some("engine_queue_full"), message);
        Self { retry_after_secs: Some(1), ..refusal }
    }

    pub(crate) fn ended() -> Self {
        let message = "The engine has stopped and has to be started again.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", Some("engine_stopped"), message)
    }

    pub(crate) fn failed(message: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", Some("engine_failed"), message)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}})
    }

    pub(crate) fn response(&self) -> Response<Bytes> {
        let mut response = super::json_response(self.status, &self.json());
        if let Some(secs) = self.retry_after_secs {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }
}
