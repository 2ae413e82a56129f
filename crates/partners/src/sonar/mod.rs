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
use crate::envelope::{Asked, refused};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use gateway::inner::{Dialect, Held, Said, Step};
use gateway::{Principal, Refusal};
use http::HeaderMap;
use std::sync::Arc;

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
    /// Its room among the bodies that the gateway holds.
    _held: Option<Arc<Held>>,
    /// What the receipt calls what is asked.
    operation: &'static str,
}

impl Client {
    async fn of(partners: Partners, request: Request, operation: &'static str) -> Result<Client, Box<Response>> {
        let mut asked = Asked::by(&partners, request).map_err(|refusal| Box::new(refused(&refusal)))?;
        let held = asked.read(&partners, QUESTION_BYTES_MAX).await;
        let Asked { principal, head, .. } = asked;
        let (body, _held, refusal) = match held {
            Ok(held) => (held.bytes.clone(), Some(Arc::new(held)), None),
            Err(refusal) => (Bytes::new(), None, Some(refusal)),
        };
        let client = Client { partners, principal, headers: head.headers, body, _held, operation };
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

    fn step(&self) -> Step {
        Step {
            dialect: Dialect::Sonar,
            operation: self.operation,
            headers: self.headers.clone(),
            client_body: self.body.clone(),
            model: String::new(),
            passages: Vec::new(),
            egress: None,
        }
    }

    /// A refusal of the shell before the gateway was asked, receipted like the gateway's.
    async fn refuse(&self, refusal: Refusal) -> Response {
        let said = Said::Refused(refusal);
        crate::envelope::passed(self.partners.parts().inner.step(&self.principal, self.step(), said).await)
    }
}
