//! `/async/chat/completions`: a question is taken at once and answered beside; the answer is stored sealed under the project's key.
//!
//! What was asked is not stored, and why it failed lies sealed too: an engine's own words may quote what it was asked. While a question is answered its row says so again every [`ALIVE_EVERY`]; one for which nobody said
//! so in time is failed by whoever looks next, and says that its process ended. If we crash here: so ends every question that was
//! open; what it cost until then is in the receipts that the crash left.

use super::{Client, chat};
use crate::envelope::{Asked, Refused, json, of_knowledge};
use crate::{Partners, page};
use axum::extract::{Path, Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dialects::sonar::{Later, Question, Status, later};
use gateway::{RECEIPT_HEADER, Refusal};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use store::{AskedRow, AskedStatus, AskedTaken, NewAsked};
use types::{AsyncId, Code, ProjectId, UnixMillis};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// How long an answer can be fetched: a week, as at Perplexity.
const KEPT_MILLIS: i64 = 7 * 86_400_000;
/// Open questions of one project: each is a task here and a request in the gateway's queue.
const OPEN_MAX: u64 = 64;
/// Three times missed, and it was abandoned.
const ALIVE_EVERY: Duration = Duration::from_secs(10);
const ALIVE_MILLIS: i64 = 30_000;
const LIST_USUAL: u32 = 20;
const LIST_MAX: u32 = 100;
/// Before a reason that is sealed. Without it stands what is the same for everybody.
const SEALED: &str = "sealed:";
const ABANDONED: &str = "the process that answered this question ended before the answer: ask again";

pub(super) async fn create(State(partners): State<Partners>, request: Request) -> Response {
    let client = match Client::of(partners, request, "chat.completions").await {
        Ok(client) => client,
        Err(response) => return *response,
    };
    match take(&client).await {
        Ok(shown) => json(&shown),
        Err(refused) => client.refuse(refused.0).await,
    }
}

async fn take(client: &Client) -> Result<Value, Refused> {
    let (parts, now) = (client.partners.parts(), client.now());
    tend(&client.partners).await?;
    let (question, name) = later::parse(&client.body, now)?;
    let name = name.map_or_else(|| named(&client.headers), |name| Ok(Some(name)))?;
    // Before it is taken: what could never be answered is refused at once.
    crate::settings::model(&client.partners, &client.principal, &question.model)?;
    let digest = |domain, bytes: &[u8]| parts.inner.digest(&client.principal, domain, bytes);
    let mut random = [0; 10];
    (parts.random)(&mut random);
    let new = NewAsked {
        id: AsyncId::from_parts(now, random),
        project: client.principal.project(),
        model: question.model.clone(),
        created_at: now,
        expires_at: UnixMillis(now.0 + KEPT_MILLIS),
        alive_until: UnixMillis(now.0 + ALIVE_MILLIS),
        name: name.map(|name| digest("asked-key", name.as_bytes())),
        request: digest("asked-request", &client.body),
    };
    match parts.store.asked_take(&new, OPEN_MAX).await? {
        AskedTaken::Known(row) if row.request == new.request => shown(&client.partners, new.project, row).await,
        AskedTaken::Known(_) => {
            let message = "this idempotency_key was used with another question: use another key";
            Err(Refusal::new(Code::IdempotencyMismatch, message).param("idempotency_key").into())
        }
        AskedTaken::Full => {
            let message = format!("this project has {OPEN_MAX} open questions: fetch answers before you ask more");
            Err(Refusal::new(Code::RateLimited, message).retry_after(5).into())
        }
        AskedTaken::New => {
            let mut client = client.clone();
            // It names this question, which is one by its row, and not the inference that answers it.
            client.headers.remove(IDEMPOTENCY_KEY);
            tokio::spawn(work(client, question, new.project, new.id));
            let row = parts.store.asked(new.project, new.id, now).await?.ok_or_else(not_found)?;
            Ok(of(&row).shown(None))
        }
    }
}

/// The client's key for a question whose body names none.
fn named(headers: &HeaderMap) -> Result<Option<String>, Refused> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(name) if !name.is_empty() && name.len() <= later::IDEMPOTENCY_KEY_BYTES_MAX => Ok(Some(name.to_owned())),
        _ => {
            let message =
                format!("Idempotency-Key must have 1 to {} visible ASCII characters", later::IDEMPOTENCY_KEY_BYTES_MAX);
            Err(Refused::invalid("Idempotency-Key", message))
        }
    }
}

/// Answers one question and stores the answer.
async fn work(client: Client, question: Question, project: ProjectId, id: AsyncId) {
    let parts = client.partners.parts();
    let until = || UnixMillis(client.now().0 + ALIVE_MILLIS);
    match parts.store.asked_begin(project, id, client.now(), until()).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => {
            return tracing::warn!(error = &error as &dyn std::error::Error, "a question for later did not begin");
        }
    }
    let mut answering = std::pin::pin!(answered(&client, &question));
    let mut beat = tokio::time::interval(ALIVE_EVERY);
    let end = loop {
        tokio::select! {
            end = &mut answering => break end,
            _ = beat.tick() => {
                if let Err(error) = parts.store.asked_alive(project, id, until()).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a question for later could not say that it is worked on");
                }
            }
        }
    };
    let vault = parts.knowledge.vault();
    let end = match end {
        Ok(answer) => {
            vault.seal(project, &sealed_name(id), &answer).await.map_err(|error| of_knowledge(&error).message)
        }
        Err(message) => Err(match vault.seal(project, &sealed_reason(id), message.as_bytes()).await {
            Ok(sealed) => format!("{SEALED}{}", BASE64.encode(sealed)),
            Err(error) => of_knowledge(&error).message,
        }),
    };
    if let Err(error) = parts.store.asked_end(project, id, client.now(), end).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the answer to a question for later could not be stored"
        );
    }
}

/// The answer with the name of its receipt, or the public text of why there is none.
async fn answered(client: &Client, question: &Question) -> Result<Vec<u8>, String> {
    let (head, body) = chat::to(client, question).await.into_parts();
    let body = body.collect().await.map_err(|_| "the answer broke off".to_owned())?.to_bytes();
    let mut answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if head.status != StatusCode::OK || !answer.is_object() {
        return Err(answer["error"]["message"].as_str().unwrap_or("the answer could not be read").to_owned());
    }
    answer["receipt"] = json!(head.headers.get(RECEIPT_HEADER).and_then(|id| id.to_str().ok()));
    Ok(answer.to_string().into_bytes())
}

pub(super) async fn fetch(
    State(partners): State<Partners>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let asked = Asked::by(&partners, request)?;
    Ok(json(&one(&partners, asked.principal.project(), &id).await?))
}

async fn one(partners: &Partners, project: ProjectId, id: &str) -> Result<Value, Refused> {
    let id: AsyncId = id.parse().map_err(|_| not_found())?;
    let (store, now) = (&partners.parts().store, (partners.parts().clock)());
    let mut row = store.asked(project, id, now).await?.ok_or_else(not_found)?;
    if row.ended_at.is_none() && row.alive_until <= now {
        tend(partners).await?;
        row = store.asked(project, id, now).await?.ok_or_else(not_found)?;
    }
    shown(partners, project, row).await
}

pub(super) async fn list(State(partners): State<Partners>, request: Request) -> Result<Response, Refused> {
    let query = page::asked(request.uri());
    let asked = Asked::by(&partners, request)?;
    Ok(json(&some(&partners, asked.principal.project(), &query).await?))
}

async fn some(partners: &Partners, project: ProjectId, query: &page::Asked) -> Result<Value, Refused> {
    tend(partners).await?;
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(LIST_USUAL).clamp(1, LIST_MAX);
    let wrong = |_| Refused::invalid("next_token", "next_token is what the page before gave");
    let before = query.get("next_token").map(|token| token.parse::<AsyncId>().map_err(wrong)).transpose()?;
    let now = (partners.parts().clock)();
    let mut rows = partners.parts().store.asked_list(project, before, now, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.id.to_string());
    let requests: Vec<Value> = rows.iter().map(|row| of(row).listed()).collect();
    Ok(json!({"requests": requests, "next_token": next}))
}

/// Fails what was abandoned and forgets what is over: by whoever comes by.
pub(crate) async fn tend(partners: &Partners) -> Result<(), Refused> {
    let (store, now) = (&partners.parts().store, (partners.parts().clock)());
    store.asked_abandon(now, ABANDONED).await?;
    store.asked_sweep(now).await?;
    Ok(())
}

async fn shown(partners: &Partners, project: ProjectId, row: AskedRow) -> Result<Value, Refused> {
    let parts = partners.parts();
    let answer = match row.status {
        AskedStatus::Completed => {
            let sealed = parts.store.asked_answer(project, row.id, (parts.clock)()).await?.ok_or_else(not_found)?;
            let opened = parts.knowledge.vault().open(project, &sealed_name(row.id), &sealed).await?;
            serde_json::from_slice(&opened).ok()
        }
        _ => None,
    };
    let error = match row.error.as_deref().and_then(|error| error.strip_prefix(SEALED)) {
        Some(sealed) => Some(reason(parts, project, row.id, sealed).await?),
        None => row.error.clone(),
    };
    Ok(Later { error, ..of(&row) }.shown(answer))
}

/// Why a question failed, as its client may read it.
async fn reason(parts: &crate::Parts, project: ProjectId, id: AsyncId, sealed: &str) -> Result<String, Refused> {
    let sealed = BASE64.decode(sealed).unwrap_or_default();
    let opened = parts.knowledge.vault().open(project, &sealed_reason(id), &sealed).await?;
    Ok(String::from_utf8_lossy(&opened).into_owned())
}

fn of(row: &AskedRow) -> Later {
    Later {
        id: row.id.to_string(),
        model: row.model.clone(),
        status: match row.status {
            AskedStatus::Created => Status::Created,
            AskedStatus::Running => Status::InProgress,
            AskedStatus::Completed => Status::Completed,
            AskedStatus::Failed => Status::Failed,
        },
        created_at: row.created_at,
        started_at: row.started_at,
        ended_at: row.ended_at,
        error: row.error.clone(),
    }
}

fn sealed_name(id: AsyncId) -> String {
    format!("asked/{id}")
}

fn sealed_reason(id: AsyncId) -> String {
    format!("asked/{id}/error")
}

fn not_found() -> Refused {
    Refused::not_found("this question")
}
