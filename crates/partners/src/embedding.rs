//! Embeddings by way of the pipeline: each is admitted, metered and receipted like any other inference, on the key of the client
//! for whom it is made.

use crate::{Partners, envelope, settings};
use bytes::Bytes;
use gateway::inner::{Ask, Dialect, ModelShown};
use gateway::{Operation, Principal};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use knowledge::{Attached, BoxFuture, EmbedError, Found, Knowledge, KnowledgeError, Query, Unfinished};
use serde::Deserialize;
use serde_json::json;
use std::sync::{Mutex, PoisonError};
use types::{Code, KeyId, MicroEur, ProjectId, Usage};

/// Makes embeddings for one request.
pub(crate) struct Embedder {
    partners: Partners,
    principal: Principal,
    dialect: Dialect,
    headers: HeaderMap,
    client_body: Bytes,
    model: ModelShown,
    spent: Mutex<MicroEur>,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Vector>,
    #[serde(default)]
    usage: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Vector {
    #[serde(default)]
    index: Option<usize>,
    embedding: Vec<f32>,
}

impl Embedder {
    /// None: no embedding model was settled, or this key may not ask it. Then documents are found by their words.
    pub fn of(
        partners: &Partners,
        principal: &Principal,
        dialect: Dialect,
        headers: &HeaderMap,
        client_body: &Bytes,
    ) -> Option<Embedder> {
        let model = settings::embedding(partners, principal)?;
        let mut headers = headers.clone();
        // The client's key for its request names the answer, not what is made on the way to it.
        headers.remove("idempotency-key");
        Some(Embedder {
            partners: partners.clone(),
            principal: principal.clone(),
            dialect,
            headers,
            client_body: client_body.clone(),
            model,
            spent: Mutex::default(),
        })
    }

    /// The same at a start, for a file whose reading a crash cut off: on the key of the client who had it read, if that key is
    /// still good. There is no request of a client any more, so the receipts commit to an empty one.
    pub fn resumed(partners: &Partners, key: Option<KeyId>) -> Option<Embedder> {
        let principal = partners.parts().inner.principal(key?).ok()?;
        Embedder::of(partners, &principal, Dialect::OpenAi, &HeaderMap::new(), &Bytes::new())
    }

    /// What all of them cost so far, by the engine's count.
    pub fn spent(&self) -> MicroEur {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, EmbedError> {
        let wrong = |message: &str| EmbedError { code: Code::EngineFailed, message: message.to_owned() };
        let count = texts.len();
        let body = json!({"model": self.model.name, "input": texts, "encoding_format": "float"});
        let ask = Ask {
            dialect: self.dialect,
            operation: Operation::Embeddings,
            headers: self.headers.clone(),
            body: body.to_string().into(),
            client_body: self.client_body.clone(),
            target: String::new(),
            passages: Vec::new(),
            egress: None,
            translator: None,
        };
        let (head, body) = self.partners.parts().inner.ask(&self.principal, ask).await.into_parts();
        let body = body.collect().await.map_err(|_| wrong("its answer broke off"))?.to_bytes();
        if head.status != StatusCode::OK {
            return Err(refused(&body));
        }
        let Answer { data: mut vectors, usage } =
            serde_json::from_slice(&body).map_err(|_| wrong("its answer is no list of vectors"))?;
        if vectors.len() != count {
            return Err(wrong("it answered with another number of vectors"));
        }
        if vectors.iter().all(|vector| vector.index.is_some()) {
            vectors.sort_by_key(|vector| vector.index);
        }
        let usage = usage.as_ref().and_then(dialects::sonar::usage::from_openai);
        if let (Some(usage), Some(price)) = (usage, &self.model.price) {
            let cost = metering::rate(price, &Usage { output: 0, ..usage });
            let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
            *spent = spent.saturating_add(cost);
        }
        Ok(vectors.into_iter().map(|vector| vector.embedding).collect())
    }
}

/// The pipeline's own refusal, from its envelope.
fn refused(body: &[u8]) -> EmbedError {
    let (code, message) = envelope::said(body);
    EmbedError { code: code.unwrap_or(Code::EngineFailed), message: message.unwrap_or_default() }
}

/// Reads a file again whose reading a crash cut off.
pub(crate) async fn resume(
    knowledge: &Knowledge,
    file: Unfinished,
    embedder: Option<&Embedder>,
) -> Result<Attached, KnowledgeError> {
    match embedder {
        None => knowledge.resume(file, None).await,
        Some(embedder) => {
            let embed = |texts| -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> { Box::pin(embedder.embed(texts)) };
            knowledge.resume(file, Some(&embed)).await
        }
    }
}

/// Passages for a query: by their words, and by their meaning where there is an embedder.
pub(crate) async fn retrieve(
    knowledge: &Knowledge,
    project: ProjectId,
    query: &Query,
    embedder: Option<&Embedder>,
) -> Result<Vec<Found>, KnowledgeError> {
    match embedder {
        None => knowledge.retrieve(project, query, None).await,
        Some(embedder) => {
            let embed = |texts| -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> { Box::pin(embedder.embed(texts)) };
            knowledge.retrieve(project, query, Some(&embed)).await
        }
    }
}
