//! A request as OpenTelemetry sees it: one span in OTLP's JSON form, with the GenAI semantic conventions and our own few
//! attributes beside them. Names only; sending is `traces`' work.
//!
//! No content, ever: everything here comes from a receipt's claims, which hold none.

use gateway::trace::{Ended, attempt_span, ids};
use serde_json::{Value, json};
use types::code::Fault;
use types::{Outcome, UnixMillis};

/// `SPAN_KIND_SERVER`.
const KIND_SERVER: u8 = 2;
/// `SPAN_KIND_CLIENT`.
const KIND_CLIENT: u8 = 3;
/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: u8 = 2;

fn text(key: &str, value: impl Into<String>) -> Value {
    json!({"key": key, "value": {"stringValue": value.into()}})
}

/// 64-bit numbers are strings in OTLP's JSON.
fn number(key: &str, value: impl ToString) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn nanos(at: UnixMillis) -> String {
    (i128::from(at.0.max(0)) * 1_000_000).to_string()
}

/// What the conventions call our operations.
fn operation(ours: &str) -> &str {
    match ours {
        "chat.completions" => "chat",
        "completions" => "text_completion",
        other => other,
    }
}

fn attributes(ended: &Ended) -> Vec<Value> {
    let claims = &ended.claims;
    let usage = &claims.usage;
    let provider = claims.served_by.as_ref().map_or("hoheit", |served| served.provider.as_str());
    let mut attributes = vec![
        text("gen_ai.operation.name", operation(&claims.operation)),
        text("gen_ai.provider.name", provider),
        text("gen_ai.request.model", &*claims.model),
        number("gen_ai.usage.input_tokens", usage.input),
        number("gen_ai.usage.output_tokens", usage.output),
        number("gen_ai.usage.cache_read.input_tokens", usage.cached),
        text("hoheit.receipt", claims.jti.to_string()),
        text("hoheit.tenant", claims.sub.to_string()),
        text("hoheit.project", claims.project.to_string()),
        text("hoheit.data_class", claims.data_class.to_string()),
        text("hoheit.outcome", claims.outcome.as_str()),
        number("hoheit.cost_micro_eur", claims.cost_micro_eur.0),
        number("hoheit.attempts", ended.attempts.len()),
    ];
    if let Some(served) = &claims.served_by {
        attributes.push(text("hoheit.engine", &served.machine));
        attributes.push(text("hoheit.country", served.country.to_string()));
    }
    if let Some(code) = claims.code {
        attributes.push(text("error.type", code.as_str()));
    }
    attributes
}

fn span(ended: &Ended) -> Value {
    let claims = &ended.claims;
    let (trace, id) = ids(ended.parent, claims.jti);
    let first_token = ended.first_token_at.map(|at| json!({"timeUnixNano": nanos(at), "name": "gen_ai.first_token"}));
    // A span that serves is an error only where the client is not the one to blame.
    let broken = claims.code.is_some_and(|code| code.fault() != Fault::Client) || claims.outcome == Outcome::Failed;
    let mut span = json!({
        "traceId": format!("{trace:032x}"),
        "spanId": format!("{id:016x}"),
        "name": format!("{} {}", operation(&claims.operation), claims.model),
        "kind": KIND_SERVER,
        "startTimeUnixNano": nanos(claims.received_at),
        "endTimeUnixNano": nanos(claims.ended_at.max(claims.received_at)),
        "attributes": attributes(ended),
        "events": first_token.into_iter().collect::<Vec<_>>(),
        "status": if broken { json!({"code": STATUS_ERROR}) } else { json!({}) },
    });
    if let Some(parent) = ended.parent {
        span["parentSpanId"] = format!("{:016x}", parent.span).into();
    }
    span
}

/// One span for each engine that was asked, below the request's: who failed, why, and who answered.
fn attempts(ended: &Ended) -> impl Iterator<Item = Value> {
    let (trace, parent) = ids(ended.parent, ended.claims.jti);
    ended.attempts.iter().zip(1..).map(move |(attempt, number)| {
        let end = attempt.failed.map_or(ended.claims.ended_at, |(_, at)| at);
        let mut attributes = vec![
            text("hoheit.receipt", ended.claims.jti.to_string()),
            self::number("hoheit.attempt", number),
            text("hoheit.engine", attempt.engine.to_string()),
        ];
        attributes.extend(attempt.failed.map(|(code, _)| text("error.type", code.as_str())));
        json!({
            "traceId": format!("{trace:032x}"),
            "spanId": format!("{:016x}", attempt_span(ended.claims.jti, number)),
            "parentSpanId": format!("{parent:016x}"),
            "name": format!("attempt {number}"),
            "kind": KIND_CLIENT,
            "startTimeUnixNano": nanos(attempt.began_at),
            "endTimeUnixNano": nanos(end.max(attempt.began_at)),
            "attributes": attributes,
            "status": if attempt.failed.is_some() { json!({"code": STATUS_ERROR}) } else { json!({}) },
        })
    })
}

/// The body of one export.
pub fn body(service: &str, site: &str, batch: &[Ended]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [text("service.name", service), text("service.version", version), text("hoheit.site", site)];
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{
            "scope": {"name": "hoheit", "version": version},
            "spans": batch.iter().flat_map(|ended| std::iter::once(span(ended)).chain(attempts(ended))).collect::<Vec<_>>(),
        }],
    }]})
    .to_string()
    .into_bytes()
}
