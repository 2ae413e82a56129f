//! A refusal on its way to a client of SAP's, in the shape of the path that was asked: the two are never mixed.

use crate::envelope::said;
use axum::body::Body;
use axum::response::Response;
use dialects::sap::{ApiError, Failure, Location};
use gateway::{RECEIPT_HEADER, Refusal};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use store::StoreError;
use types::Code;

/// Which of SAP's two shapes a path answers in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Api,
    Orchestration,
}

/// Seconds after which a retry may help, where the pipeline does not say: 429 always carries `Retry-After`, because both of SAP's
/// clients retry it, and without one at once.
const RETRY_AFTER_USUAL: u64 = 10;

/// A budget is a month's. An hour keeps clients from asking in a loop, and lets them see that it was raised.
const RETRY_AFTER_BUDGET: u64 = 3_600;

/// What the pipeline says, or what is usual for the code.
pub(super) fn retry_after(code: Code, said: Option<u64>) -> Option<u64> {
    let usual = match code {
        Code::BudgetExhausted => Some(RETRY_AFTER_BUDGET),
        _ => (code.status() == 429).then_some(RETRY_AFTER_USUAL),
    };
    said.or(usual)
}

#[derive(Debug)]
pub(super) enum Refused {
    /// By the shell or the pipeline.
    Here(Box<Here>),
    /// By orchestration: one failure, or one for each configuration that was tried.
    Orchestration(Vec<Failure>, Option<HeaderValue>),
}

#[derive(Debug)]
pub(super) struct Here {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    pub retry_after: Option<u64>,
    location: Location,
    receipt: Option<HeaderValue>,
}

impl Refused {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Refused {
        let here = Here {
            status,
            code,
            message: message.into(),
            retry_after: None,
            location: Location::Request,
            receipt: None,
        };
        Refused::Here(Box::new(here))
    }

    pub fn of(code: Code, message: impl Into<String>) -> Refused {
        Refused::new(code.status(), code.as_str(), message)
    }

    pub fn not_found(what: &str) -> Refused {
        Refused::of(Code::NotFound, format!("there is no such {what} here"))
    }

    pub fn at(mut self, location: Location) -> Refused {
        if let Refused::Here(here) = &mut self {
            here.location = location;
        }
        self
    }

    /// The receipt that it has already.
    pub fn receipt(&self) -> Option<&HeaderValue> {
        match self {
            Refused::Here(here) => here.receipt.as_ref(),
            Refused::Orchestration(_, receipt) => receipt.as_ref(),
        }
    }

    pub fn with_receipt(mut self, named: Option<HeaderValue>) -> Refused {
        match &mut self {
            Refused::Here(here) => here.receipt = named,
            Refused::Orchestration(_, receipt) => *receipt = named,
        }
        self
    }

    /// What a receipt calls it: of our codes the one that it is, or one of its status.
    pub fn code(&self) -> Code {
        let (status, code) = match self {
            Refused::Here(here) => (here.status, here.code),
            Refused::Orchestration(failures, _) => (failures.last().map_or(500, |failure| failure.code), ""),
        };
        let named = Code::ALL.iter().copied().find(|known| known.as_str() == code);
        let of_status = || match status {
            401 => Code::KeyInvalid,
            404 => Code::NotFound,
            408 => Code::RequestTimeout,
            413 => Code::BodyTooLarge,
            429 => Code::RateLimited,
            400..500 => Code::InvalidRequest,
            502 => Code::EngineFailed,
            503 => Code::StoreUnavailable,
            _ => Code::Internal,
        };
        named.unwrap_or_else(of_status)
    }

    fn retry_after(mut self, seconds: Option<u64>) -> Refused {
        if let Refused::Here(here) = &mut self {
            here.retry_after = seconds;
        }
        self
    }

    /// `target` is the path that was asked.
    pub fn response(self, shape: Shape, request_id: &str, target: &str) -> Response {
        let (status, retry_after, receipt, body) = match (self, shape) {
            (Refused::Here(here), Shape::Api) => {
                let Here { status, code, message, retry_after, receipt, .. } = *here;
                (status, retry_after, receipt, ApiError { status, code, message, retry_after }.body(request_id, target))
            }
            (Refused::Here(here), Shape::Orchestration) => {
                let failure =
                    Failure { retry_after: here.retry_after, ..Failure::new(here.status, here.location, here.message) };
                (failure.code, failure.retry_after, here.receipt, Failure::body(&[failure], request_id))
            }
            (Refused::Orchestration(failures, receipt), _) => {
                let (status, retry_after) =
                    failures.last().map_or((500, None), |failure| (failure.code, failure.retry_after));
                (status, retry_after, receipt, Failure::body(&failures, request_id))
            }
        };
        let mut response = json(status, body);
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after.or((status == 429).then_some(RETRY_AFTER_USUAL)) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(receipt) = receipt {
            headers.insert(RECEIPT_HEADER, receipt);
        }
        response
    }
}

pub(super) fn json(status: u16, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        let seconds = refusal.retry_after;
        Refused::of(refusal.code, refusal.message).retry_after(seconds)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Refused {
        let code = error.code();
        match code {
            Code::NotFound | Code::Conflict => Refused::of(code, error.to_string()),
            Code::StoreUnavailable => Refused::of(code, error.to_string()).retry_after(Some(1)),
            _ => {
                tracing::error!(%error, source = ?std::error::Error::source(&error), "the store, for AI Core");
                Refused::of(Code::Internal, "we failed: try again, or ask the operator")
            }
        }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused::Orchestration(vec![failure], None)
    }
}

/// What the pipeline refused, out of OpenAI's envelope.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub status: u16,
    /// One of ours; an engine's own is not.
    pub code: Option<Code>,
    pub message: String,
    pub retry_after: Option<u64>,
    pub receipt: Option<HeaderValue>,
}

impl Pipeline {
    pub fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Pipeline {
        let (code, message) = said(body);
        let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let usual = match code {
            Some(code) => retry_after(code, None),
            None => (status == 429).then_some(RETRY_AFTER_USUAL),
        };
        Pipeline {
            status: status.as_u16(),
            code,
            message: message.unwrap_or_else(|| "the request was refused".to_owned()),
            retry_after: seconds.or(usual),
            receipt: headers.get(RECEIPT_HEADER).cloned(),
        }
    }

    pub fn refused(self) -> Refused {
        let code = self.code.map_or("engine_refused", Code::as_str);
        let mut refused = Refused::new(self.status, code, self.message).at(Location::Llm).retry_after(self.retry_after);
        if let Refused::Here(here) = &mut refused {
            here.receipt = self.receipt;
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_always_say_when() {
        let read = |code: &str, header: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert("retry-after", value.parse().unwrap());
            }
            let body = format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
            let refused = Pipeline::read(StatusCode::TOO_MANY_REQUESTS, &headers, body.as_bytes()).refused();
            let response = refused.response(Shape::Api, "r", "/");
            response.headers().get("retry-after").unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(read("rate_limited", Some("7")), "7");
        assert_eq!(read("budget_exhausted", None), "3600");
        assert_eq!(read("of_an_engine", None), "10");
        let bare = Refused::new(429, "x", "y").response(Shape::Orchestration, "r", "/");
        assert_eq!(bare.headers()["retry-after"], "10");
    }
}
