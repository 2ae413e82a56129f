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
use gateway::inner::{Ask, Begun, Dialect, ModelShown, PASSAGES_MAX, Prompt, Said};
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

/// The answer to a question that was read. The question as its client asked it is admitted first: an embedding costs, a query that
/// left does not come back, and a repeat is answered without either.
pub(super) async fn to(client: &Client, question: &Question) -> Response {
    let model = match settings::model(&client.partners, &client.principal, &question.model) {
        Ok(model) => model,
        Err(refusal) => return client.refuse(refusal).await,
    };
    let mut frame = frame(client, question, &model);
    let mut ask = ask(client, question.body(&model.name, None), Vec::new());
    if !question.search {
        ask.translator = Some(Box::new(Spoken::new(Answer::new(frame, None, client.id("ans_")))));
        return passed(client.partners.parts().inner.ask(&client.principal, ask).await);
    }
    let mut begun = match client.partners.parts().inner.begin(&client.principal, ask).await {
        Ok(begun) => begun,
        Err(answer) => return passed(*answer),
    };
    let grounding = match grounding(client, question, &model, &mut begun, &mut frame).await {
        Ok(grounding) => grounding,
        Err(refused) => return passed(begun.refuse(refused.0).await),
    };
    if grounding.passages().is_empty() {
        let mut answer = Answer::new(frame, Some(grounding.checker(question.marks())), client.id("ans_"));
        let bytes = answer.absent(grounding.language(), question.stream);
        return passed(begun.say(Vec::new(), said(bytes, question.stream.then(|| answer.last()))).await);
    }
    if question.related {
        frame.related = Some(related(client, question.related_body(&model.name, &grounding), grounding.hashes()).await);
    }
    let spoken = Spoken::new(Answer::new(frame, Some(grounding.checker(question.marks())), client.id("ans_")));
    let prompt = Prompt {
        body: question.body(&model.name, Some(&grounding)).into(),
        passages: grounding.hashes(),
        translator: Some(Box::new(spoken)),
    };
    passed(begun.ask_with(prompt).await)
}

fn frame(client: &Client, question: &Question, model: &ModelShown) -> Frame {
    Frame {
        model: question.model.clone(),
        created: client.now().seconds(),
        related: question.related.then(Vec::new),
        images: question.images,
        price: model.price.clone(),
        concise: question.concise,
        ..Frame::default()
    }
}

fn ask(client: &Client, body: Vec<u8>, passages: Vec<String>) -> Ask {
    Ask {
        dialect: Dialect::Sonar,
        operation: Operation::ChatCompletions,
        headers: client.headers.clone(),
        body: body.into(),
        client_body: client.body.clone(),
        target: String::new(),
        passages,
        egress: None,
        translator: None,
    }
}

/// What the answer may rest on. The frame learns what was found; the receipt of what was begun learns what left.
async fn grounding(
    client: &Client,
    question: &Question,
    model: &ModelShown,
    begun: &mut Begun,
    frame: &mut Frame,
) -> Result<Grounding, Refused> {
    let limits = limits(question, model);
    let (query, outside) = (question.query(), question.query_outside());
    let wanted = Wanted {
        query: &query,
        web: Some(outside.as_str()).filter(|outside| question.web && !outside.trim().is_empty()),
        collections: &question.collections,
        filters: &question.filters,
        top: limits.passages,
    };
    let Retrieved { passages, cost } = retrieve(client, wanted, &mut |egress| begun.left(egress)).await?;
    let mut grounding = Grounding::new(question.text(), passages, limits);
    if let Some(language) = question.language {
        grounding.language_set(language);
    }
    if grounding.passages().is_empty() && grounding.left_out() > 0 {
        let message = format!("what was found does not fit the context of {}: ask another model", model.name);
        return Err(Refused::invalid("model", message));
    }
    frame.cite(grounding.passages());
    frame.searched.queries = 1;
    frame.searched.context_size = Some(question.context.as_str());
    frame.searched.cost = cost;
    Ok(grounding)
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
async fn related(client: &Client, body: Vec<u8>, passages: Vec<String>) -> Vec<String> {
    let mut ask = ask(client, body, passages);
    ask.headers.remove("idempotency-key");
    let answer = client.partners.parts().inner.ask(&client.principal, ask).await;
    let found = answer.status() == StatusCode::OK;
    match answer.into_body().collect().await {
        Ok(body) if found => request::related(&body.to_bytes()),
        _ => Vec::new(),
    }
}
