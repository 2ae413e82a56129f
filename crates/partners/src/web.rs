//! Searches of the web, as an interface: Hoheit ships none. A provider is a fact like an endpoint, judged by policy before anything
//! leaves, and what leaves is one query: no conversation, no name, no passage.
//!
//! The order is the guarantee: the request for which it leaves is admitted (whoever calls this holds it), policy permits (a rule that
//! names `search_web`), a receipt with the egress is durable, and only then the provider is asked. If we crash between, a receipt says
//! that a query may have left which did not.

use crate::Partners;
use bytes::Bytes;
use dialects::sonar::answer::WEB;
use gateway::Principal;
use gateway::inner::{Dialect, Said, Step};
use http::{HeaderMap, StatusCode};
use knowledge::BoxFuture;
use std::sync::Arc;
use types::receipt::Egress;
use types::{EndpointFacts, FileId, Passage};

/// One result of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebResult {
    pub title: String,
    pub url: String,
    /// What the page says that is of use: an excerpt, not the page.
    pub text: String,
    /// `YYYY-MM-DD`.
    pub date: Option<String>,
}

/// Why there are no results. For the operator's log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WebError(pub String);

/// A provider of searches. What it is told is all it gets to know.
pub trait WebSearch: Send + Sync {
    /// Where it stands, who runs it and under whose law: what rules decide on and receipts name.
    fn facts(&self) -> &EndpointFacts;
    fn search<'a>(&'a self, query: &'a str, top: usize) -> BoxFuture<'a, Result<Vec<WebResult>, WebError>>;
}

/// A result's text is a passage of at most so many characters, as those of documents are.
const TEXT_CHARS_MAX: usize = 2_000;

/// Asks the provider, if there is one and policy permits, and tells `left` before the query leaves. Empty: nothing left the site, or
/// nothing usable came back.
pub(crate) async fn search(
    partners: &Partners,
    principal: &Principal,
    headers: &HeaderMap,
    client_body: &Bytes,
    (query, top): (&str, usize),
    left: &mut (dyn FnMut(Egress) + Send),
) -> Vec<Passage> {
    let Some(provider) = leave(partners, principal, headers, client_body, query, left).await else { return Vec::new() };
    let results = match provider.search(query, top).await {
        Ok(results) => results,
        Err(error) => {
            let provider = &provider.facts().provider;
            tracing::warn!(error = &error as &dyn std::error::Error, provider, "a search of the web");
            Vec::new()
        }
    };
    (0..).zip(results.into_iter().take(top)).map(|(number, result)| passage(number, result)).collect()
}

/// The provider, once everything that has to stand before a query leaves does.
async fn leave<'a>(
    partners: &'a Partners,
    principal: &Principal,
    headers: &HeaderMap,
    client_body: &Bytes,
    query: &str,
    left: &mut (dyn FnMut(Egress) + Send),
) -> Option<&'a Arc<dyn WebSearch>> {
    let parts = partners.parts();
    let provider = parts.web.as_ref()?;
    let facts = provider.facts();
    let permission = parts.inner.may_search_web(principal, headers, facts).ok()?;
    let egress = Egress {
        provider: facts.provider.clone(),
        jurisdiction: facts.jurisdiction,
        query_commitment: parts.inner.commitment(principal, query.as_bytes()),
    };
    let step = Step {
        dialect: Dialect::Sonar,
        operation: "search.web",
        headers: headers.clone(),
        client_body: client_body.clone(),
        model: String::new(),
        passages: Vec::new(),
        egress: Some((egress.clone(), permission)),
    };
    if parts.inner.step(principal, step, Said::Nothing).await.status() != StatusCode::OK {
        return None;
    }
    left(egress);
    Some(provider)
}

fn passage(number: u32, result: WebResult) -> Passage {
    let text: String = result.text.chars().take(TEXT_CHARS_MAX).collect();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    Passage {
        collection: WEB,
        file: FileId(0),
        number,
        title: result.title,
        url: result.url,
        text,
        start: 0,
        page: None,
        date: result.date,
        language: None,
        hash: format!("sha256:{}", crate::hex(digest.as_ref())),
    }
}
