//! `GET /v1/models[/{id}]`: the models that this key may use with its project's data class. A model that policy refuses
//! answers like one that does not exist.

use crate::body::{Outgoing, full};
use crate::receive::Principal;
use crate::refusal::Refusal;
use crate::view::{ModelEntry, View};
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use types::Code;

fn visible(view: &View, principal: &Principal, model: &ModelEntry) -> bool {
    let key = principal.key();
    !view.verdict(key, key.project.class, model).permitted.is_empty()
}

fn describe(model: &ModelEntry) -> Value {
    let first = model.endpoints.first().map(|entry| &entry.endpoint);
    json!({
        "id": model.name,
        "object": "model",
        "created": first.map_or(0, |endpoint| endpoint.created_at.seconds()),
        "owned_by": first.map_or("", |endpoint| endpoint.facts.provider.as_str()),
        "context_length": first.map_or(0, |endpoint| endpoint.context_length),
    })
}

pub fn list(view: &View, principal: &Principal) -> Response<Outgoing> {
    let data: Vec<Value> = view.models().filter(|model| visible(view, principal, model)).map(describe).collect();
    json_response(&json!({"object": "list", "data": data}))
}

pub fn retrieve(view: &View, principal: &Principal, name: &str) -> Result<Response<Outgoing>, Refusal> {
    match view.model(name).filter(|model| visible(view, principal, model)) {
        Some(model) => Ok(json_response(&describe(model))),
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
