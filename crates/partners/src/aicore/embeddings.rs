//! `/v2/embeddings` of orchestration.

use super::Answer;
use super::call::Call;
use super::completion::{answered, begin, not_orchestration, supported};
use super::deployed::{models, purpose};
use bytes::{Bytes, BytesMut};
use dialects::sap::{Embeddings, EmbeddingsAnswer, Location, Purpose};
use gateway::Operation;
use gateway::inner::{Ask, Dialect, Translator, Unreadable};
use types::Code;

pub(super) async fn run(call: Call) -> Answer {
    let deployed = purpose(&call, call.segment(3)).await.map_err(|refused| refused.at(Location::Deployment))?;
    let Purpose::Orchestration(filter) = deployed else { return Err(not_orchestration()) };
    let embeddings = Embeddings::parse(&call.body)?;
    supported(&filter, &models(&call), &embeddings.model, embeddings.version.as_deref())?;
    let prepared = embeddings.prepare(&call.request_id, u64::from_be_bytes(call.random()))?;
    let ask = Ask {
        dialect: Dialect::Sap,
        operation: Operation::Embeddings,
        headers: call.headers.clone(),
        body: prepared.body.into(),
        client_body: call.body.clone(),
        target: call.segment(3).to_owned(),
        passages: Vec::new(),
        egress: None,
        translator: Some(Box::new(Translated(prepared.answer))),
    };
    let begun = match begin(&call, ask).await? {
        Ok(begun) => begun,
        Err(answer) => return Ok(answer),
    };
    let receipt = begun.receipt();
    Ok(answered(begun.ask(), receipt, embeddings.timeout_seconds).await?)
}

/// Vectors are never streamed: only the whole answer is translated.
struct Translated(EmbeddingsAnswer);

impl Translator for Translated {
    fn whole(&mut self, body: Bytes) -> Result<Bytes, Unreadable> {
        self.0.whole(&body).map(Bytes::from).ok_or(Unreadable)
    }

    fn events(&mut self, _: &[u8], _: &mut BytesMut) {}

    fn flush(&mut self, _: &mut BytesMut) {}

    fn last(&mut self) -> Bytes {
        Bytes::new()
    }

    fn broken(&mut self, _: Code, _: &str) -> Bytes {
        Bytes::new()
    }
}
