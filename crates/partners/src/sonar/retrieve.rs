//! From a query to passages: the project's documents first, and the web where the client, the operator and policy say so. What
//! asks is admitted already: an embedding costs, and a query that left does not come back.

use super::Client;
use crate::collections::collection_id;
use crate::embedding::{self, Embedder};
use crate::envelope::Refused;
use crate::web;
use dialects::sonar::Filters;
use gateway::inner::Dialect;
use knowledge::{Mode, Query};
use types::receipt::Egress;
use types::{MicroEur, Passage};

/// Passages asked of retrieval at once.
const FOUND_MAX: usize = 50;

/// What is looked for, and where.
pub(super) struct Wanted<'a> {
    pub query: &'a str,
    /// What the web is asked, if the client says that it may be.
    pub web: Option<&'a str>,
    pub collections: &'a [String],
    pub filters: &'a Filters,
    pub top: usize,
}

#[derive(Default)]
pub(super) struct Retrieved {
    pub passages: Vec<Passage>,
    /// What the embedding of the query cost.
    pub cost: MicroEur,
}

/// Best first; those of the web behind those of documents. `left` hears of a query before it leaves.
pub(super) async fn retrieve(
    client: &Client,
    wanted: Wanted<'_>,
    left: &mut (dyn FnMut(Egress) + Send),
) -> Result<Retrieved, Refused> {
    let (parts, principal) = (client.partners.parts(), &client.principal);
    let query = Query {
        text: wanted.query.to_owned(),
        collections: wanted.collections.iter().map(|id| collection_id(id)).collect::<Result<_, _>>()?,
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
    let found = embedding::retrieve(&parts.knowledge, principal.project(), &query, embedder.as_ref()).await?;
    let mut retrieved =
        Retrieved { cost: embedder.map_or(MicroEur::ZERO, |embedder| embedder.spent()), ..Retrieved::default() };
    retrieved.passages =
        found.into_iter().map(|found| found.passage).filter(|passage| wanted.filters.keep(passage)).collect();
    retrieved.passages.truncate(wanted.top);
    // With one place and a document for it, what the web says would be thrown away: nothing leaves for that.
    if let Some(query) = wanted.web.filter(|_| wanted.top > 1 || retrieved.passages.is_empty()) {
        let asked = (query, wanted.top);
        let found = web::search(&client.partners, principal, &client.headers, &client.body, asked, left).await;
        let found: Vec<Passage> = found.into_iter().filter(|passage| wanted.filters.keep(passage)).collect();
        // Up to half of the places are the web's, so that what left was not for nothing; the documents fill all others.
        retrieved.passages.truncate(wanted.top - found.len().min(wanted.top / 2));
        retrieved.passages.extend(found);
        retrieved.passages.truncate(wanted.top);
    }
    Ok(retrieved)
}
