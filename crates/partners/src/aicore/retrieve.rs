//! Passages for the grounding module, out of the project's collections. The question's embedding is made by way of the pipeline, on
//! the client's key, so it is admitted and receipted like any other.

use super::call::Call;
use crate::embedding::Embedder;
use dialects::sap::{Failure, Location, Retrieval, united};
use gateway::inner::Dialect;
use knowledge::{BoxFuture, EmbedError, Filters, KnowledgeError, Mode, Query};
use types::{Code, Passage};

/// Passages to choose from where each document gives its best one: as many as a question may ask for.
const CANDIDATES: usize = 50;

pub(super) async fn retrieve(call: &Call, retrievals: &[Retrieval]) -> Result<Vec<Passage>, Failure> {
    let embedder = Embedder::of(&call.partners, &call.principal, Dialect::Sap, &call.headers, &call.body);
    let vectors = |texts: Vec<String>| -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> {
        let embedder = embedder.as_ref();
        Box::pin(async move {
            match embedder {
                Some(embedder) => embedder.embed(texts).await,
                None => Ok(Vec::new()),
            }
        })
    };
    let mut all = Vec::with_capacity(retrievals.len());
    for retrieval in retrievals {
        let query = Query {
            text: retrieval.text.clone(),
            collections: retrieval.collections.clone(),
            top: if retrieval.one_per_document { CANDIDATES } else { retrieval.top },
            mode: Mode::Hybrid,
            filters: Filters { metadata: retrieval.attributes.clone(), ..Filters::default() },
        };
        let embed = embedder.is_some().then_some(&vectors as _);
        let found = call.partners.parts().knowledge.retrieve(call.project(), &query, embed).await;
        let found = found.map_err(|error| failure(&error))?.into_iter().map(|found| found.passage);
        all.push(best(found.collect(), retrieval));
    }
    Ok(united(all))
}

/// Of each document its best passage only, where that was asked for.
fn best(found: Vec<Passage>, retrieval: &Retrieval) -> Vec<Passage> {
    let mut best: Vec<Passage> = Vec::new();
    for passage in found {
        if retrieval.one_per_document && best.iter().any(|known| known.file == passage.file) {
            continue;
        }
        best.push(passage);
    }
    best.truncate(retrieval.top);
    best
}

fn failure(error: &KnowledgeError) -> Failure {
    let code = error.code();
    if code == Code::Internal {
        tracing::error!(error = error as &dyn std::error::Error, "documents of a project, for AI Core");
        return Failure::new(500, Location::Grounding, "this site failed: try again later");
    }
    Failure::new(code.status(), Location::Grounding, error.to_string())
}
