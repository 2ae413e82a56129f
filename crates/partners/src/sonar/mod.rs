//! Sonar's paths, at the root of the host and under `/sonar`: its clients have no `/v1`, and a base URL of one's own may have a path.
//!
//! The words are `dialects::sonar`'s; here is what they are said over. If we crash here: a request in flight is the gateway's, a
//! question for later is failed by whoever looks next (`later`).

mod chat;
mod later;
mod retrieve;
mod search;
mod translate;

use crate::Partners;
use crate::envelope::{Asked, read, refused};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use gateway::inner::{Dialect, Said, Step};
use gateway::{Principal, Refusal};
use http::HeaderMap;

pub(crate) use later::tend;

/// Bytes of a question: a conversation of some hundred pages, and images in it.
const QUESTION_BYTES_MAX: usize = 8 << 20;

pub(crate) fn routes() -> Router<Partners> {
    Router::new().merge(at("")).merge(at("/sonar"))
}

fn at(prefix: &str) -> Router<Partners> {
    Router::new()
        .route(&format!("{prefix}/chat/completions"), post(ask))
        .route(&format!("{prefix}/search"), post(find))
        .route(&format!("{prefix}/async/chat/completions"), post(later::create).get(later::list))
        .route(&format!("{prefix}/async/chat/completions/{{id}}"), get(later::fetch))
}

async fn ask(State(partners): State<Partners>, request: Request) -> Response {
    match Client::of(partners, request, "chat.completions").await {
        Ok(client) => chat::answer(&client).await,
        Err(response) => *response,
    }
}

async fn find(State(partners): State<Partners>, request: Request) -> Response {
    match Client::of(partners, request, "search").await {
        Ok(client) => search::answer(&client).await,
        Err(response) => *response,
    }
}

/// Who asks, and what was sent.
#[derive(Clone)]
struct Client {
    partners: Partners,
    principal: Principal,
    headers: HeaderMap,
    body: Bytes,
    /// What the receipt calls what is asked.
    operation: &'static str,
}

impl Client {
    async fn of(partners: Partners, request: Request, operation: &'static str) -> Result<Client, Box<Response>> {
        let asked = Asked::by(&partners, request).map_err(|refusal| Box::new(refused(&refusal)))?;
        let headers = asked.head.headers;
        let (body, refusal) = match read(&headers, asked.body, QUESTION_BYTES_MAX).await {
            Ok(body) => (body, None),
            Err(refusal) => (Bytes::new(), Some(refusal)),
        };
        let client = Client { partners, principal: asked.principal, headers, body, operation };
        match refusal {
            None => Ok(client),
            Some(refusal) => Err(Box::new(client.refuse(refusal).await)),
        }
    }

    fn now(&self) -> types::UnixMillis {
        (self.partners.parts().clock)()
    }

    /// An id of a prefix's kind, where no engine gives one.
    fn id(&self, prefix: &str) -> String {
        let mut bytes = [0; 12];
        (self.partners.parts().random)(&mut bytes);
        format!("{prefix}{}", crate::hex(&bytes))
    }

    fn step(&self, model: &str, passages: Vec<String>) -> Step {
        Step {
            dialect: Dialect::Sonar,
            operation: self.operation,
            headers: self.headers.clone(),
            client_body: self.body.clone(),
            model: model.to_owned(),
            passages,
            egress: None,
        }
    }

    /// A refusal of the shell, receipted like the gateway's.
    async fn refuse(&self, refusal: Refusal) -> Response {
        let said = Said::Refused(refusal);
        crate::envelope::passed(
            self.partners.parts().inner.step(&self.principal, self.step("", Vec::new()), said).await,
        )
    }

    /// An answer that no engine made.
    async fn say(&self, model: &str, passages: Vec<String>, said: Said) -> Response {
        crate::envelope::passed(
            self.partners.parts().inner.step(&self.principal, self.step(model, passages), said).await,
        )
    }
}
