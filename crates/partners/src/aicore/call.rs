//! One call of a client of SAP's: who, in which resource group, with which body. The token is checked before the body is read, as
//! the pipeline does it; and an inference that the shell refuses by itself leaves a receipt, as one that the pipeline refuses.

use super::Answer;
use super::form;
use super::refused::{Pipeline, Refused, Shape, json};
use super::token;
use crate::Partners;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use dialects::sap::Location;
use gateway::inner::{Dialect, Held, Said, Step};
use gateway::{Principal, RECEIPT_HEADER, Refusal};
use http::HeaderMap;
use http_body_util::BodyExt as _;
use serde_json::Value;
use std::future::Future;
use store::DEFAULT_GROUP;
use types::{Code, ProjectId};

/// Bytes of a request to a model: as the gateway's own, 32 MiB.
const INFERENCE_BYTES_MAX: usize = 32 << 20;

/// Bytes of any other: a configuration of some parameters with 5,000 characters each.
const API_BYTES_MAX: usize = 256 << 10;

pub(super) struct Call {
    pub partners: Partners,
    pub principal: Principal,
    /// The resource group, checked: it is there.
    pub group: String,
    pub request_id: String,
    /// The path's segments.
    path: Vec<String>,
    query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Its room among the bodies that the gateway holds.
    _held: Held,
}

/// Answers a call in this shape, whatever happens.
pub(super) async fn serve<Run>(
    shape: Shape,
    partners: Partners,
    request: Request,
    run: impl FnOnce(Call) -> Run + Send,
) -> Response
where
    Run: Future<Output = Answer> + Send,
{
    let request_id = request_id(&partners);
    let (head, body) = request.into_parts();
    let target = head.uri.path().to_owned();
    let principal = match token::bearer(&partners, &head.headers) {
        Ok(principal) => principal,
        Err(refused) => return refused.at(Location::Authentication).response(shape, &request_id, &target),
    };
    let mut owed = inference(&head).map(|operation| Owed {
        partners: partners.clone(),
        principal: principal.clone(),
        operation,
        headers: head.headers.clone(),
        body: Bytes::new(),
    });
    let answer = match Call::begin(partners, principal, head, body, &request_id).await {
        Ok(call) => {
            if let Some(owed) = &mut owed {
                owed.body = call.body.clone();
            }
            run(call).await
        }
        Err(refused) => Err(refused),
    };
    match (answer, owed) {
        (Ok(response), _) => response,
        (Err(refused), Some(owed)) => owed.receipted(refused).await.response(shape, &request_id, &target),
        (Err(refused), None) => refused.response(shape, &request_id, &target),
    }
}

/// What a receipt calls the inference that this is, if it is one.
fn inference(head: &http::request::Parts) -> Option<&'static str> {
    let asked = head.uri.path().strip_prefix("/v2/inference/deployments/")?.split_once('/')?.1;
    match asked {
        _ if head.method != http::Method::POST => None,
        "chat/completions" | "v2/completion" => Some("chat.completions"),
        "embeddings" | "v2/embeddings" => Some("embeddings"),
        _ => None,
    }
}

/// The receipt of an inference that the shell refuses by itself, before the pipeline saw it or after.
struct Owed {
    partners: Partners,
    principal: Principal,
    operation: &'static str,
    headers: HeaderMap,
    body: Bytes,
}

impl Owed {
    /// The refusal with its receipt; or the pipeline's, where it does not even take this one (requests per minute are used up).
    async fn receipted(self, refused: Refused) -> Refused {
        if refused.receipt().is_some() {
            return refused;
        }
        let code = refused.code();
        let step = Step {
            dialect: Dialect::Sap,
            operation: self.operation,
            headers: self.headers,
            client_body: self.body,
            model: String::new(),
            passages: Vec::new(),
            egress: None,
        };
        let said = Said::Refused(Refusal::new(code, "refused by the shell of SAP AI Core"));
        let (head, body) = self.partners.parts().inner.step(&self.principal, step, said).await.into_parts();
        if head.status.as_u16() == code.status() {
            return refused.with_receipt(head.headers.get(RECEIPT_HEADER).cloned());
        }
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        Pipeline::read(head.status, &head.headers, &body).refused()
    }
}

/// As SAP's ids of requests look: a UUID of random bits.
fn request_id(partners: &Partners) -> String {
    let mut bytes = [0; 16];
    (partners.parts().random)(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = crate::hex(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

impl Call {
    async fn begin(
        partners: Partners,
        principal: Principal,
        head: http::request::Parts,
        body: Body,
        request_id: &str,
    ) -> Result<Call, Refused> {
        let group = group(&partners, principal.project(), &head.headers).await?;
        let path: Vec<String> = head.uri.path().split('/').skip(1).map(form::decoded).collect();
        let limit =
            if path.get(1).is_some_and(|part| part == "inference") { INFERENCE_BYTES_MAX } else { API_BYTES_MAX };
        let held = partners.parts().inner.read(&head.headers, body, limit).await?;
        Ok(Call {
            principal,
            group,
            request_id: request_id.to_owned(),
            path,
            query: form::pairs(head.uri.query().unwrap_or_default()),
            headers: head.headers,
            body: held.bytes.clone(),
            _held: held,
            partners,
        })
    }

    pub fn project(&self) -> ProjectId {
        self.principal.project()
    }

    /// Where things of this call are kept.
    pub fn place(&self) -> (ProjectId, &str) {
        (self.project(), &self.group)
    }

    /// A segment of the path, from 0: `v2` is the first.
    pub fn segment(&self, number: usize) -> &str {
        self.path.get(number).map_or("", String::as_str)
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A list, however the client writes lists: repeated, with brackets, or with commas.
    pub fn query_list(&self, name: &str) -> Option<Vec<&str>> {
        let named = |key: &str| key == name || key.strip_suffix("[]") == Some(name);
        let values = self.query.iter().filter(|(key, _)| named(key)).flat_map(|(_, value)| value.split(','));
        let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
        (!values.is_empty()).then_some(values)
    }

    /// The part of a list that `$skip` and `$top` ask for.
    pub fn part<T>(&self, list: Vec<T>) -> Result<Vec<T>, Refused> {
        let number = |name: &str, usual: usize| match self.query(name) {
            None => Ok(usual),
            Some(text) => {
                text.parse().map_err(|_| Refused::of(Code::InvalidRequest, format!("{name} must be a whole number")))
            }
        };
        let (skip, top) = (number("$skip", 0)?, number("$top", usize::MAX)?);
        Ok(list.into_iter().skip(skip).take(top).collect())
    }

    pub fn now(&self) -> types::UnixMillis {
        (self.partners.parts().clock)()
    }

    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        (self.partners.parts().random)(&mut bytes);
        bytes
    }
}

pub(super) fn shown(status: u16, value: &Value) -> Answer {
    Ok(json(status, value.to_string()))
}

/// A body that a client of SAP's could mend.
pub(super) fn invalid(wrong: String) -> Refused {
    Refused::of(Code::InvalidRequest, wrong)
}

async fn group(partners: &Partners, project: ProjectId, headers: &HeaderMap) -> Result<String, Refused> {
    let Some(value) = headers.get("ai-resource-group") else { return Ok(DEFAULT_GROUP.to_owned()) };
    let name = value.to_str().unwrap_or_default();
    if name == DEFAULT_GROUP || partners.parts().store.aicore_group(project, name).await?.is_some() {
        return Ok(name.to_owned());
    }
    Err(Refused::not_found("resource group"))
}
