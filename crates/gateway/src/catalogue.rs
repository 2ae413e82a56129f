//! `GET /v1/models[/{id}]`: the models that this key may use with its project's data class. A model that policy refuses
//! answers like one that does not exist.

use crate::body::{Outgoing, full};
use crate::receive::Principal;
use crate::refusal::Refusal;
use crate::view::{ModelEntry, View};
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use types::Code;

/// A model as this key sees it, none if policy permits it nowhere. What is said of it is said of an endpoint that may
/// serve this key: another one's provider and context are not what the caller gets.
fn describe(view: &View, principal: &Principal, model: &ModelEntry) -> Option<Value> {
    let key = principal.key();
    let verdict = view.verdict(key, key.project.class, model);
    let endpoint = &verdict.permitted.first()?.0.endpoint;
    Some(json!({
        "id": model.name,
        "object": "model",
        "created": endpoint.created_at.seconds(),
        "owned_by": endpoint.facts.provider,
        "context_length": endpoint.context_length,
    }))
}

pub fn list(view: &View, principal: &Principal) -> Response<Outgoing> {
    let data: Vec<Value> = view.models().filter_map(|model| describe(view, principal, model)).collect();
    json_response(&json!({"object": "list", "data": data}))
}

pub fn retrieve(view: &View, principal: &Principal, name: &str) -> Result<Response<Outgoing>, Refusal> {
    match view.model(name).and_then(|model| describe(view, principal, model)) {
        Some(model) => Ok(json_response(&model)),
        None => Err(Refusal::new(
            Code::ModelNotFound,
            "there is no model of this name here: GET /v1/models lists those that this key may use",
        )
        .param("model")),
    }
}

pub fn json_response(value: &Value) -> Response<Outgoing> {
    let mut response = Response::new(full(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
