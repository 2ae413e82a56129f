//! Foundation models: OpenAI's bodies at a deployment that names the model.

use super::Answer;
use super::call::{Call, invalid};
use super::deployed::purpose;
use super::refused::{Pipeline, Refused};
use axum::body::Body;
use dialects::sap::{Purpose, body_for};
use gateway::Operation;
use gateway::inner::{Ask, Dialect};
use http_body_util::BodyExt;
use types::Code;

pub(super) async fn chat(call: Call) -> Answer {
    ask(call, Operation::ChatCompletions).await
}

pub(super) async fn embeddings(call: Call) -> Answer {
    ask(call, Operation::Embeddings).await
}

async fn ask(call: Call, operation: Operation) -> Answer {
    let Purpose::Model(model) = purpose(&call, call.segment(3)).await? else {
        let message = "this is a deployment of orchestration: POST …/v2/completion, or use one of a model";
        return Err(Refused::of(Code::NotFound, message));
    };
    if let Some(version) = call.query("api-version").filter(|version| !is_version(version)) {
        return Err(Refused::of(Code::InvalidRequest, format!("api-version={version} is none: 2024-10-21 is one")));
    }
    let body = body_for(&model, &call.body).map_err(invalid)?;
    let ask = Ask {
        dialect: Dialect::Sap,
        operation,
        headers: call.headers.clone(),
        body: body.into(),
        client_body: call.body.clone(),
        target: call.segment(3).to_owned(),
        passages: Vec::new(),
        egress: None,
        translator: None,
    };
    let (head, body) = call.partners.parts().inner.ask(&call.principal, ask).await.into_parts();
    if head.status.is_success() {
        return Ok(http::Response::from_parts(head, Body::new(body)));
    }
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Err(Pipeline::read(head.status, &head.headers, &body).refused())
}

/// `2024-10-21`, `2025-03-01-preview`: all of them are the same here.
fn is_version(text: &str) -> bool {
    let text = text.strip_suffix("-preview").unwrap_or(text);
    let digits = |at: usize| text.as_bytes()[at].is_ascii_digit();
    text.len() == 10 && (0..10).all(|at| if at == 4 || at == 7 { text.as_bytes()[at] == b'-' } else { digits(at) })
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions() {
        for good in ["2024-10-21", "2025-03-01-preview"] {
            assert!(super::is_version(good), "{good}");
        }
        for bad in ["", "v1", "2024-10-2", "2024-10-211", "2024_10_21", "latest", "2024-10-21-previews", "20ä4-10-21"]
        {
            assert!(!super::is_version(bad), "{bad}");
        }
    }
}
