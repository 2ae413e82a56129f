//! `/v1/vector_stores/{id}/search`: passages of one collection, with their scores.

use super::{Call, collection_id, filters::filters};
use crate::Partners;
use crate::embedding::{Embedder, retrieve};
use crate::envelope::{Refused, json};
use axum::extract::{Path, Request, State};
use axum::response::Response;
use gateway::inner::Dialect;
use knowledge::{Mode, Query};
use serde_json::{Value, json as object};

const RESULTS_USUAL: u64 = 10;
/// As OpenAI has it.
const RESULTS_MAX: u64 = 50;
const QUERIES_MAX: usize = 5;

pub(super) async fn search(
    State(partners): State<Partners>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let call = Call::of(partners, request).await?;
    let texts = call.fields.texts("query", QUERIES_MAX)?;
    let text = texts.join("\n");
    if text.trim().is_empty() {
        return Err(Refused::invalid("query", "query is missing: a string, or a list of at most five"));
    }
    let query = Query {
        text,
        collections: vec![collection_id(&id)?],
        top: call.fields.number("max_num_results", 1, RESULTS_MAX)?.unwrap_or(RESULTS_USUAL) as usize,
        mode: Mode::Hybrid,
        filters: filters(call.fields.raw("filters"))?,
    };
    let threshold =
        call.fields.within("ranking_options")?.raw("score_threshold").and_then(Value::as_f64).unwrap_or(0.0);
    let (knowledge, project) = (&call.partners.parts().knowledge, call.principal.project());
    let embedder = Embedder::of(&call.partners, &call.principal, Dialect::OpenAi, &call.headers, &call.body);
    let found = retrieve(knowledge, project, &query, embedder.as_ref()).await?;
    let mut data = Vec::with_capacity(found.len());
    for found in found.iter().filter(|found| f64::from(found.score) >= threshold) {
        let passage = &found.passage;
        let attached = knowledge.attached(project, passage.collection, passage.file).await?;
        data.push(object!({
            "file_id": passage.file,
            "filename": passage.title,
            "score": found.score,
            "attributes": super::attached::shown_attributes(&attached.attributes),
            "content": [{"type": "text", "text": passage.text}],
        }));
    }
    Ok(json(&object!({
        "object": "vector_store.search_results.page",
        "search_query": texts,
        "data": data,
        "has_more": false,
        "next_page": null,
    })))
}
