//! Passages for the grounding module, out of the project's collections. The question's embedding is made by way of the pipeline, on
//! the client's key, so it is admitted and receipted like any other.

use super::call::Call;
use super::refused::retry_after;
use crate::embedding::{self, Embedder};
use crate::envelope::of_knowledge;
use dialects::sap::{Failure, Location, PASSAGES_MAX, Retrieval, united};
use gateway::inner::Dialect;
use knowledge::{Filters, KnowledgeError, Mode, Query};
use types::{Code, Passage};

// The words' limit is the receipt's: a passage in the prompt that no receipt names must not be.
const _: () = assert!(PASSAGES_MAX as usize == gateway::inner::PASSAGES_MAX);

/// Passages to choose from where each document gives its best one: as many as a question may ask for.
const CANDIDATES: usize = 50;

/// Why nothing could be looked for: as SAP's client is told it, and what its receipt calls it.
pub(super) struct Ungrounded {
    pub code: Code,
    pub failure: Failure,
}

pub(super) async fn retrieve(call: &Call, retrievals: &[Retrieval]) -> Result<Vec<Passage>, Ungrounded> {
    let embedder = Embedder::of(&call.partners, &call.principal, Dialect::Sap, &call.headers, &call.body);
    let knowledge = &call.partners.parts().knowledge;
    let mut all = Vec::with_capacity(retrievals.len());
    for retrieval in retrievals {
        let query = Query {
            text: retrieval.text.clone(),
            collections: retrieval.collections.clone(),
            top: if retrieval.one_per_document { CANDIDATES } else { retrieval.top },
            mode: Mode::Hybrid,
            filters: Filters { metadata: retrieval.attributes.clone(), ..Filters::default() },
        };
        let found = embedding::retrieve(knowledge, call.project(), &query, embedder.as_ref()).await;
        let found = found.map_err(|error| ungrounded(&error))?.into_iter().map(|found| found.passage);
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

fn ungrounded(error: &KnowledgeError) -> Ungrounded {
    let refusal = of_knowledge(error);
    let retry_after = retry_after(refusal.code, refusal.retry_after);
    let failure = Failure { retry_after, ..Failure::new(refusal.status(), Location::Grounding, refusal.message) };
    Ungrounded { code: refusal.code, failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The receipt says what the embedding was refused for, and the client when it may come again.
    #[test]
    fn what_an_embedding_is_refused_for_stays_what_it_was() {
        let refused = |code| {
            let error = KnowledgeError::Embed(knowledge::EmbedError { code, message: "m".to_owned() });
            let Ungrounded { code, failure } = ungrounded(&error);
            (code, failure.code, failure.retry_after)
        };
        assert_eq!(refused(Code::BudgetExhausted), (Code::BudgetExhausted, 429, Some(3_600)));
        assert_eq!(refused(Code::PolicyRefused), (Code::PolicyRefused, 403, None));
        assert_eq!(refused(Code::ReplicaUnavailable), (Code::ReplicaUnavailable, 503, None));
    }
}
