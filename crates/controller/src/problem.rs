//! Errors of the control API as problem+json (RFC 9457): one value, rendered once, from the table in `types::code`.
//!
//! What it is not: OpenAI's envelope, which the gateway renders from the same table. The public text says what happened
//! and what to do; the internal cause is logged here, once, and never sent.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use store::StoreError;
use types::Code;
use types::code::Retry;

/// What the URI of a code starts with. It identifies; the page itself is `docs/errors/<code>.md`.
const ERRORS: &str = "https://hoheit.invalid/errors/";

/// What a handler returns instead of an answer.
#[derive(Debug)]
pub struct Problem {
    pub code: Code,
    /// Public: what happened and what to do.
    pub detail: String,
    /// Internal: why, for the log.
    cause: Option<String>,
}

/// The body of every error, `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProblemBody {
    /// Identifies the code; the page about it is `docs/errors/<code>.md`.
    #[serde(rename = "type")]
    pub page: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable; programs may compare it.
    pub code: String,
    /// What happened here, and what to do.
    pub detail: String,
    /// `never`: the same request fails again until something is changed. `later`: it may succeed after a while.
    pub retry: String,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), cause: None }
    }

    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// The one text for "unknown" and for "not yours". It names neither the id nor its kind's owner, so that the two
    /// answers are equal byte for byte.
    pub fn not_found() -> Self {
        Self::new(
            Code::NotFound,
            "There is no such object, or it belongs to somebody else. Check the id; list what you can see.",
        )
    }

    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(Code::Conflict, detail)
    }

    /// Our own failure: the cause goes to the log, the caller learns only that it was us.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self {
            code: Code::Internal,
            detail: "The control API failed. Try again later; the operator finds the cause in the log.".to_owned(),
            cause: Some(cause.to_string()),
        }
    }

    /// The database cannot be reached.
    pub fn store(cause: impl std::fmt::Display) -> Self {
        Self {
            code: Code::StoreUnavailable,
            detail: "The database cannot be reached. Nothing was changed; try again later.".to_owned(),
            cause: Some(cause.to_string()),
        }
    }

    /// Our own failures are written to the log, once, by whoever renders them.
    pub(crate) fn log(&self) {
        if let Some(cause) = &self.cause {
            tracing::error!(code = %self.code, %cause, "control request failed");
        }
    }

    pub fn body(&self) -> ProblemBody {
        ProblemBody {
            page: format!("{ERRORS}{}", self.code),
            title: self.code.as_str().replace('_', " "),
            status: self.code.status(),
            code: self.code.to_string(),
            detail: self.detail.clone(),
            retry: match self.code.retry() {
                Retry::Never => "never",
                Retry::Later => "later",
            }
            .to_owned(),
        }
    }
}

/// For logs: with the cause.
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)?;
        self.cause.as_ref().map_or(Ok(()), |cause| write!(f, " ({cause})"))
    }
}

impl std::error::Error for Problem {}

/// The store's errors in public words; what was below them goes to the log.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Conflict { what } => Self::conflict(format!(
                "There is {what} already, or it was changed meanwhile. Choose another, or read again."
            )),
            StoreError::NotFound { .. } => Self::not_found(),
            StoreError::TooLarge { what } => Self::invalid(format!("{what}: at most 9223372036854775807.")),
            StoreError::Unavailable(cause) => Self::store(cause),
            _ => {
                let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
                Self::internal(format!("{error}{source}"))
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.log();
        let body = serde_json::to_vec(&self.body()).expect("a struct of strings and numbers always serialises");
        let status = StatusCode::from_u16(self.code.status()).expect("the table holds valid statuses");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_renders_and_hides_its_cause() {
        for &code in Code::ALL {
            let problem = Problem { code, detail: "d".into(), cause: Some("canary".into()) };
            let body = problem.body();
            assert_eq!(body.page, format!("https://hoheit.invalid/errors/{code}"));
            assert_eq!(body.status, code.status());
            assert!(!serde_json::to_string(&body).unwrap().contains("canary"));
            let response = problem.into_response();
            assert_eq!(response.status().as_u16(), code.status());
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        }
    }
}
