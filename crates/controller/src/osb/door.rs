//! Who calls: a registration's password, or the subject of a certificate that a trusted proxy has verified. Then the version.
//!
//! Nothing of a call is read before; a stranger learns neither versions nor ids.

use super::reply::{ECHOED, Failure};
use crate::{Controller, Problem};
use axum::extract::{FromRequestParts, Path};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::{Refusal, Registration, Which};
use http::request::Parts;
use http::{HeaderMap, header};
use serde_json::Value;
use store::BrokerRow;
use types::BrokerId;

/// A platform that may call.
pub(super) struct Platform {
    pub id: BrokerId,
    pub registration: Registration,
    /// On whose behalf, and the platform's names for the call: for the audit log.
    pub call: Value,
}

/// What a registration's body says.
pub(crate) fn registration(row: &BrokerRow) -> Result<Registration, Problem> {
    serde_json::from_str(&row.body).map_err(|error| Problem::internal(format!("registration {}: {error}", row.id)))
}

fn refused() -> Failure {
    Failure::Refused(Refusal::new(
        401,
        "The user or the password is wrong. The operator makes registrations with `hoheit broker register`.",
    ))
}

fn doubled() -> Failure {
    Failure::Refused(Refusal::new(
        401,
        "Two registrations have this certificate's subject. The operator removes one with `hoheit broker remove`.",
    ))
}

impl FromRequestParts<Controller> for Platform {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, controller: &Controller) -> Result<Self, Failure> {
        let (row, registration) = authenticate(&parts.headers, controller).await?;
        broker::version(parts.headers.get("x-broker-api-version").and_then(|value| value.to_str().ok()))?;
        Ok(Platform { id: row.id, registration, call: call(&parts.headers) })
    }
}

async fn authenticate(headers: &HeaderMap, controller: &Controller) -> Result<(BrokerRow, Registration), Failure> {
    let parts = controller.parts();
    let shown = parts.broker.certificate_header.as_ref().and_then(|name| headers.get(name));
    if let Some(subject) = shown.and_then(|subject| subject.to_str().ok()).filter(|subject| !subject.is_empty()) {
        let mut found = Vec::new();
        for row in controller.store().brokers().await?.into_iter().filter(|row| !row.removed) {
            let registration = registration(&row)?;
            if registration.certificate_subject.as_ref().is_some_and(|own| broker::subject_matches(own, subject)) {
                found.push((row, registration));
            }
        }
        // Two of one subject are refused when they are registered; those that stood before are nobody's calls.
        match (found.pop(), found.pop()) {
            (Some(one), None) => return Ok(one),
            (Some(_), Some(_)) => return Err(doubled()),
            (None, _) => {}
        }
    }
    let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or_else(refused)?;
    let (scheme, text) = text.split_once(' ').ok_or_else(refused)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(refused());
    }
    let text = STANDARD.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(refused)?;
    let (user, password) = text.split_once(':').ok_or_else(refused)?;
    let row = controller.store().broker_of(user).await?;
    // The same work for a user that is unknown.
    let stored = row.as_ref().map_or("", |row| row.password_hash.as_str());
    let matches = parts.pepper.matches(password, stored);
    let row = row.filter(|_| matches).ok_or_else(refused)?;
    let registration = registration(&row)?;
    // It proves itself by its certificate and by nothing else.
    if registration.certificate_subject.is_some() {
        return Err(refused());
    }
    Ok((row, registration))
}

/// What the audit log keeps of a call besides what it did.
fn call(headers: &HeaderMap) -> Value {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let short = |name: &str| text(name).map(|text| text.chars().take(128).collect::<String>());
    serde_json::json!({
        "identity": broker::identity(text("x-broker-api-originating-identity")),
        "request": short(ECHOED[0].as_str()),
        "correlation": short(ECHOED[1].as_str()),
    })
}

/// The ids in the path.
pub(super) struct Instance(pub String);
pub(super) struct Binding(pub String, pub String);

fn unreadable<E>(_: E) -> Failure {
    Failure::Refused(Refusal::bad("The ids in the path are not text."))
}

impl<S: Send + Sync> FromRequestParts<S> for Instance {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path(id) = Path::<String>::from_request_parts(parts, state).await.map_err(unreadable)?;
        check(parts, &[("the instance's id", &id)])?;
        Ok(Self(id))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Binding {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let Path((instance, id)) =
            Path::<(String, String)>::from_request_parts(parts, state).await.map_err(unreadable)?;
        check(parts, &[("the instance's id", &instance), ("the binding's id", &id)])?;
        Ok(Self(instance, id))
    }
}

/// What no id can be is there neither.
fn check(parts: &Parts, ids: &[(&str, &str)]) -> Result<(), Refusal> {
    let all = ids.iter().try_for_each(|(what, id)| broker::id(what, id));
    if parts.method == http::Method::GET { all.map_err(|_| Refusal::not_found()) } else { all }
}

/// The query, read leniently: what is there twice counts once, what nobody knows counts nothing.
pub(super) struct Query {
    pub which: Which,
    /// The platform can wait.
    pub incomplete: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Refusal::bad("The query is not text."))?;
        let (mut which, mut incomplete) = (Which::default(), false);
        for (name, value) in pairs.0 {
            match name.as_str() {
                "service_id" => which.service_id = Some(value),
                "plan_id" => which.plan_id = Some(value),
                "operation" => which.operation = Some(value),
                "accepts_incomplete" => incomplete = value == "true",
                _ => {}
            }
        }
        Ok(Self { which, incomplete })
    }
}
