//! `/chat/completions`: retrieve, prompt, answer, check.
//!
//! Up to four receipts in one chain: the embedding of the question, a question that left the site, questions that could follow, and
//! the answer, which names the passages that its model was given. Where nothing is found no model is asked, and that answer has
//! its receipt, too.

use super::Client;
use super::retrieve::{Retrieved, Wanted, retrieve};
use super::translate::Spoken;
use crate::envelope::{Refused, passed};
use crate::settings;
use axum::response::Response;
use bytes::Bytes;
use dialects::grounding::{Grounding, Limits};
use dialects::sonar::{Answer, Frame, Question, request};
use gateway::Operation;
use gateway::inner::{Ask, Dialect, ModelShown, PASSAGES_MAX, Said};
use http::StatusCode;
use http_body_util::BodyExt as _;

/// Bytes of passages for each token of a model's context: four bytes are a token of ordinary text, and half of the context is left
/// to the conversation and the answer.
const PASSAGE_BYTES_PER_TOKEN: u64 = 2;

pub(super) async fn answer(client: &Client) -> Response {
    match Question::parse(&client.body, client.now()) {
        Ok(question) => to(client, &question).await,
        Err(finding) => client.refuse(Refused::from(finding).0).await,
    }
}

/// The answer to a question that was read.
pub(super) async fn to(client: &Client, question: &Question) -> Response {
    match prepare(client, question).await {
        Ok(Prepared::Ask(ask)) => passed(client.partners.parts().inner.ask(&client.principal, *ask).await),
        Ok(Prepared::Absent(model, said)) => client.say(&model, Vec::new(), said).await,
        Err(refused) => client.refuse(refused.0).await,
    }
}

enum Prepared {
    Ask(Box<Ask>),
    /// Nothing was found: the answer, and the model that was not asked.
    Absent(String, Said),
}

async fn prepare(client: &Client, question: &Question) -> Result<Prepared, Refused> {
    let model = settings::model(&client.partners, &client.principal, &question.model)?;
    let mut frame = Frame {
        model: question.model.clone(),
        created: client.now().seconds(),
        related: question.related.then(Vec::new),
        images: question.images,
        price: model.price.clone(),
        concise: question.concise,
        ..Frame::default()
    };
    let ask = |body: Vec<u8>, passages: Vec<String>| Ask {
        dialect: Dialect::Sonar,
        operation: Operation::ChatCompletions,
        headers: client.headers.clone(),
        body: body.into(),
        client_body: client.body.clone(),
        passages,
        egress: None,
        translator: None,
    };
    if !question.search {
        let translator = Spoken::new(Answer::new(frame, None, client.id("ans_")));
        let ask = Ask { translator: Some(Box::new(translator)), ..ask(question.body(&model.name, None), Vec::new()) };
        return Ok(Prepared::Ask(Box::new(ask)));
    }
    let limits = limits(question, &model);
    let wanted = Wanted {
        query: &question.query(),
        collections: &question.collections,
        filters: &question.filters,
        top: limits.passages,
        web: question.web,
    };
    let Retrieved { passages, egress, cost } = retrieve(client, wanted).await?;
    let mut grounding = Grounding::new(question.text(), passages, limits);
    if let Some(language) = question.language {
        grounding.language_set(language);
    }
    frame.cite(grounding.passages());
    frame.searched.queries = 1;
    frame.searched.context_size = Some(question.context.as_str());
    frame.searched.cost = cost;
    if grounding.passages().is_empty() {
        if grounding.left_out() > 0 {
            let message = format!("what was found does not fit the context of {}: ask another model", model.name);
            return Err(Refused::invalid("model", message));
        }
        let mut answer = Answer::new(frame, Some(grounding.checker(question.marks())), client.id("ans_"));
        let bytes = answer.absent(grounding.language(), question.stream);
        return Ok(Prepared::Absent(model.name, said(bytes, question.stream.then(|| answer.last()))));
    }
    if question.related {
        frame.related =
            Some(related(client, ask(question.related_body(&model.name, &grounding), grounding.hashes())).await);
    }
    let translator = Spoken::new(Answer::new(frame, Some(grounding.checker(question.marks())), client.id("ans_")));
    let ask = Ask {
        egress,
        translator: Some(Box::new(translator)),
        ..ask(question.body(&model.name, Some(&grounding)), grounding.hashes())
    };
    Ok(Prepared::Ask(Box::new(ask)))
}

/// What a model may read: what was asked for, as far as its context has room and a receipt has names.
fn limits(question: &Question, model: &ModelShown) -> Limits {
    let room = usize::try_from(model.context_length.saturating_mul(PASSAGE_BYTES_PER_TOKEN)).unwrap_or(usize::MAX);
    Limits { passages: question.limits.passages.min(PASSAGES_MAX), bytes: question.limits.bytes.min(room) }
}

/// Of a stream the closing event is not committed to.
fn said(bytes: Vec<u8>, closing: Option<&'static [u8]>) -> Said {
    match closing {
        None => Said::Whole(bytes.into()),
        Some(closing) => {
            let events = bytes.strip_suffix(closing).unwrap_or(&bytes);
            Said::Stream { events: Bytes::copy_from_slice(events), closing: Bytes::from_static(closing) }
        }
    }
}

/// Questions that could follow, by an inference of its own. If it fails there are none: the answer is what was asked for.
async fn related(client: &Client, mut ask: Ask) -> Vec<String> {
    ask.headers.remove("idempotency-key");
    let answer = client.partners.parts().inner.ask(&client.principal, ask).await;
    let found = answer.status() == StatusCode::OK;
    match answer.into_body().collect().await {
        Ok(body) if found => request::related(&body.to_bytes()),
        _ => Vec::new(),
    }
}
