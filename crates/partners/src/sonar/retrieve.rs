//! From a query to passages: the project's documents first, and the web where the client, the operator and policy say so.

use super::Client;
use crate::embedding::Embedder;
use crate::envelope::Refused;
use crate::web;
use dialects::sonar::Filters;
use gateway::inner::Dialect;
use knowledge::{BoxFuture, EmbedError, Mode, Query};
use types::receipt::Egress;
use types::{CollectionId, MicroEur, Passage};

/// Passages asked of retrieval at once.
const FOUND_MAX: usize = 50;

/// What is looked for, and where.
pub(super) struct Wanted<'a> {
    pub query: &'a str,
    pub collections: &'a [String],
    pub filters: &'a Filters,
    pub top: usize,
    /// The client says that the web may be asked.
    pub web: bool,
}

#[derive(Default)]
pub(super) struct Retrieved {
    pub passages: Vec<Passage>,
    pub egress: Option<Egress>,
    /// What the embedding of the query cost.
    pub cost: MicroEur,
}

/// Best first; those of the web behind those of documents.
pub(super) async fn retrieve(client: &Client, wanted: Wanted<'_>) -> Result<Retrieved, Refused> {
    let (parts, principal) = (client.partners.parts(), &client.principal);
    let query = Query {
        text: wanted.query.to_owned(),
        collections: collections(wanted.collections)?,
        // What only we filter (paths, hosts that are left out) is filtered from more.
        top: (wanted.top * 2).clamp(1, FOUND_MAX),
        mode: Mode::Hybrid,
        filters: knowledge::Filters {
            domains: wanted.filters.hosts(),
            after: wanted.filters.after.map(|day| day.to_string()),
            before: wanted.filters.before.map(|day| day.to_string()),
            updated_after: wanted.filters.updated_after.map(|day| day.to_string()),
            updated_before: wanted.filters.updated_before.map(|day| day.to_string()),
            languages: wanted.filters.languages.clone(),
            ..knowledge::Filters::default()
        },
    };
    let embedder = Embedder::of(&client.partners, principal, Dialect::Sonar, &client.headers, &client.body);
    let found = match &embedder {
        Some(embedder) => {
            let embed = |texts| -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> { Box::pin(embedder.embed(texts)) };
            parts.knowledge.retrieve(principal.project(), &query, Some(&embed)).await?
        }
        None => parts.knowledge.retrieve(principal.project(), &query, None).await?,
    };
    let mut retrieved =
        Retrieved { cost: embedder.map_or(MicroEur::ZERO, |embedder| embedder.spent()), ..Retrieved::default() };
    retrieved.passages =
        found.into_iter().map(|found| found.passage).filter(|passage| wanted.filters.keep(passage)).collect();
    retrieved.passages.truncate(wanted.top);
    if wanted.web {
        let searched =
            web::search(&client.partners, principal, &client.headers, &client.body, wanted.query, wanted.top);
        if let Some(searched) = searched.await {
            // Half of the places at most are the documents', so that what left was not for nothing.
            retrieved.passages.truncate(wanted.top.div_ceil(2));
            retrieved.passages.extend(searched.passages.into_iter().filter(|passage| wanted.filters.keep(passage)));
            retrieved.passages.truncate(wanted.top);
            retrieved.egress = Some(searched.egress);
        }
    }
    Ok(retrieved)
}

/// What is no id of a collection answers like one of somebody else's.
fn collections(named: &[String]) -> Result<Vec<CollectionId>, Refused> {
    named.iter().map(|id| id.parse().map_err(|_| Refused::not_found("this collection"))).collect()
}
