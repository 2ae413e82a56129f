//! Requests and answers in OpenAI's shape: bodies read within the gateway's bounds, refusals in its envelope, answers of the pipeline passed on.

use crate::Partners;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use gateway::inner::Held;
use gateway::{Principal, Refusal};
use http::request::Parts as Head;
use http::{HeaderValue, StatusCode, header};
use knowledge::KnowledgeError;
use serde_json::Value;
use store::StoreError;
use types::Code;

/// A request of a known principal whose body was not read yet.
pub(crate) struct Asked {
    pub principal: Principal,
    pub head: Head,
    pub body: Body,
}

impl Asked {
    /// The key first: nobody makes us read what we would not answer.
    pub fn by(partners: &Partners, request: Request) -> Result<Asked, Refusal> {
        let (head, body) = request.into_parts();
        let principal = partners.parts().inner.identify(&head.headers)?;
        Ok(Asked { principal, head, body })
    }

    /// Its body, of at most so many bytes, in the room that the gateway has for all of them.
    pub async fn read(&mut self, partners: &Partners, bytes_max: usize) -> Result<Held, Refusal> {
        let body = std::mem::replace(&mut self.body, Body::empty());
        partners.parts().inner.read(&self.head.headers, body, bytes_max).await
    }
}

/// An answer of the pipeline, as it is.
pub(crate) fn passed<B>(answer: http::Response<B>) -> Response
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    answer.map(Body::new)
}

pub(crate) fn refused(refusal: &Refusal) -> Response {
    passed(refusal.response())
}

pub(crate) fn json(value: &Value) -> Response {
    typed("application/json", value.to_string())
}

pub(crate) fn typed(content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Code and message of a refusal in the pipeline's envelope. No code: it is an engine's own.
pub(crate) fn said(body: &[u8]) -> (Option<Code>, Option<String>) {
    let envelope: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| envelope["error"][name].as_str().map(str::to_owned);
    let code = text("code").and_then(|text| Code::ALL.iter().copied().find(|code| code.as_str() == text));
    (code, text("message"))
}

/// What the store or the documents' room says, without what only the operator may see.
pub(crate) fn of_knowledge(error: &KnowledgeError) -> Refusal {
    let code = error.code();
    if code == Code::Internal {
        tracing::error!(error = error as &dyn std::error::Error, "documents of a project");
        return Refusal::new(code, "this site failed: try again later");
    }
    Refusal::new(code, error.to_string())
}

pub(crate) fn of_store(error: &StoreError) -> Refusal {
    let code = error.code();
    tracing::warn!(error = error as &dyn std::error::Error, "the store, asked by a partner's shell");
    match code {
        Code::Internal => Refusal::new(code, "this site failed: try again later"),
        code => Refusal::new(code, error.to_string()),
    }
}

impl From<dialects::sonar::Finding> for Refused {
    fn from(finding: dialects::sonar::Finding) -> Refused {
        let refusal = Refusal::new(finding.code, finding.message);
        Refused(match finding.param {
            Some(param) => refusal.param(param),
            None => refusal,
        })
    }
}

/// A refusal that `?` makes of what went wrong.
#[derive(Debug)]
pub(crate) struct Refused(pub Refusal);

impl Refused {
    pub fn invalid(param: &str, message: impl Into<String>) -> Refused {
        Refused(Refusal::new(Code::InvalidRequest, message).param(param))
    }

    pub fn not_found(what: &str) -> Refused {
        Refused(Refusal::new(Code::NotFound, format!("{what} does not exist")))
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused(refusal)
    }
}

impl From<KnowledgeError> for Refused {
    fn from(error: KnowledgeError) -> Refused {
        Refused(of_knowledge(&error))
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Refused {
        Refused(of_store(&error))
    }
}

impl axum::response::IntoResponse for Refused {
    fn into_response(self) -> Response {
        refused(&self.0)
    }
}
