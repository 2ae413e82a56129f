//! Answers in the specification's form: JSON, also where we failed.

use crate::Problem;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use broker::{Answer, Refusal};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use store::StoreError;

/// Sent back as they came: the platform's names for a call.
pub(super) const ECHOED: [HeaderName; 2] =
    [HeaderName::from_static("x-broker-api-request-identity"), HeaderName::from_static("x-correlation-id")];

/// How soon a platform should ask again for an order: people fulfil it, and every minute is soon enough.
const POLL_AFTER_SECS: u32 = 60;

/// Why there is no good answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The platform's, or nobody's.
    Refused(Refusal),
    /// Ours.
    Failed(Problem),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Failure::Failed(problem)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Failed(error.into())
    }
}

/// What a handler returns.
pub(super) type Reply = Result<Good, Failure>;

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Good(pub Answer);

fn render(status: u16, body: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

impl IntoResponse for Good {
    fn into_response(self) -> Response {
        let waits = self.0.body["state"] == "in progress";
        let mut response = render(self.0.status, &self.0.body);
        if waits {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(POLL_AFTER_SECS));
        }
        response
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Failure::Refused(refusal) => {
                let mut response = render(refusal.status, &refusal.body());
                if refusal.status == 401 {
                    let basic = HeaderValue::from_static("Basic realm=\"hoheit\"");
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
                }
                response
            }
            Failure::Failed(problem) => {
                problem.log();
                render(problem.code.status(), &json!({ "description": problem.detail }))
            }
        }
    }
}

/// Gives the platform's names for a call back with the answer.
pub(super) async fn echo(request: Request, next: Next) -> Response {
    let names = ECHOED.map(|name| (request.headers().get(&name).cloned(), name));
    let mut response = next.run(request).await;
    for (value, name) in names {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
