//! Files of a vector store. Some of a file's attributes are known words: `url`, `title`, `date`, `updated`, `language`; the others are
//! metadata to filter by.

use super::{Call, LIST_MAX, LIST_USUAL, READ_AWAITED, collection_id};
use crate::Partners;
use crate::embedding::Embedder;
use crate::envelope::{Asked, Refused, json};
use crate::files::file_id;
use crate::page::{asked, page};
use axum::extract::{Path, Request, State};
use axum::response::Response;
use gateway::inner::Dialect;
use knowledge::{Attached, Attributes, BoxFuture, EmbedError, KnowledgeError, Status};
use serde_json::{Map, Value, json as object};
use types::{CollectionId, FileId};

pub(super) async fn create(
    State(partners): State<Partners>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let call = Call::of(partners, request).await?;
    let collection = collection_id(&id)?;
    let file = call.fields.text("file_id")?.ok_or_else(|| Refused::invalid("file_id", "file_id is missing"))?;
    let file = file_id(file)?;
    let attributes = attributes(call.fields.raw("attributes"))?;
    Ok(json(&shown(&attach(&call, collection, file, attributes).await?)))
}

/// Attaches beside this request, and waits for it a while.
pub(super) async fn attach(
    call: &Call,
    collection: CollectionId,
    file: FileId,
    attributes: Attributes,
) -> Result<Attached, Refused> {
    let (partners, project) = (call.partners.clone(), call.principal.project());
    let embedder = Embedder::of(&partners, &call.principal, Dialect::OpenAi, &call.headers, &call.body);
    let (told, on_key) = (attributes.clone(), call.principal.key_id());
    let work = tokio::spawn(async move {
        let knowledge = &partners.parts().knowledge;
        let of = (collection, file);
        match &embedder {
            None => knowledge.attach_on(project, of, told, None, Some(on_key)).await,
            Some(embedder) => {
                let embed =
                    |texts| -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> { Box::pin(embedder.embed(texts)) };
                knowledge.attach_on(project, of, told, Some(&embed), Some(on_key)).await
            }
        }
    });
    match tokio::time::timeout(READ_AWAITED, work).await {
        Ok(Ok(attached)) => Ok(attached?),
        Ok(Err(_)) => Err(gateway::Refusal::new(types::Code::Internal, "this site failed: try again later").into()),
        // It goes on by itself.
        Err(_) => match call.partners.parts().knowledge.attached(project, collection, file).await {
            Ok(attached) => Ok(attached),
            Err(KnowledgeError::NotFound { .. }) => Ok(Attached {
                collection,
                file,
                status: Status::Processing,
                attached_at: (call.partners.parts().clock)(),
                passages: 0,
                bytes: 0,
                attributes,
            }),
            Err(error) => Err(error.into()),
        },
    }
}

pub(super) async fn list(
    State(partners): State<Partners>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let query = asked(request.uri());
    let asked = Asked::by(&partners, request)?;
    let mut files = partners.parts().knowledge.attached_all(asked.principal.project(), collection_id(&id)?).await?;
    if let Some(filter) = query.get("filter") {
        if !STATUSES.contains(&filter.as_str()) {
            return Err(Refused::invalid("filter", format!("filter must be one of {}", STATUSES.join(", "))));
        }
        files.retain(|file| status(file) == filter);
    }
    let items = files.iter().map(|file| (file.file.to_string(), shown(file))).collect();
    Ok(json(&page(&query, items, LIST_USUAL, LIST_MAX)?))
}

pub(super) async fn retrieve(
    State(partners): State<Partners>,
    Path((id, file)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refused> {
    let asked = Asked::by(&partners, request)?;
    let (collection, file) = (collection_id(&id)?, file_id(&file)?);
    Ok(json(&shown(&partners.parts().knowledge.attached(asked.principal.project(), collection, file).await?)))
}

pub(super) async fn delete(
    State(partners): State<Partners>,
    Path((id, file)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refused> {
    let asked = Asked::by(&partners, request)?;
    let (collection, file) = (collection_id(&id)?, file_id(&file)?);
    partners.parts().knowledge.detach(asked.principal.project(), collection, file).await?;
    Ok(json(&object!({"id": file, "object": "vector_store.file.deleted", "deleted": true})))
}

/// The text of a file as it is searched, passage by passage.
pub(super) async fn content(
    State(partners): State<Partners>,
    Path((id, file)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refused> {
    let asked = Asked::by(&partners, request)?;
    let (collection, file) = (collection_id(&id)?, file_id(&file)?);
    let passages = partners.parts().knowledge.passages(asked.principal.project(), collection, file).await?;
    let data: Vec<Value> = passages.iter().map(|passage| object!({"type": "text", "text": passage.text})).collect();
    Ok(json(&object!({"object": "vector_store.file_content.page", "data": data, "has_more": false, "next_page": null})))
}

/// OpenAI's words for where a file is.
const STATUSES: [&str; 4] = ["in_progress", "completed", "failed", "cancelled"];

fn status(file: &Attached) -> &'static str {
    match file.status {
        Status::Processing => "in_progress",
        Status::Completed => "completed",
        Status::Failed { .. } => "failed",
    }
}

fn shown(file: &Attached) -> Value {
    let error = match &file.status {
        // OpenAI has three codes; ours stands in front of the message.
        Status::Failed { code, message } => {
            let theirs = match code.as_str() {
                "embedding_failed" => "server_error",
                "unsupported_file" | "archive_file" | "encrypted_file" => "unsupported_file",
                _ => "invalid_file",
            };
            object!({"code": theirs, "message": format!("{code}: {message}")})
        }
        _ => Value::Null,
    };
    object!({
        "id": file.file,
        "object": "vector_store.file",
        "created_at": file.attached_at.seconds(),
        "usage_bytes": file.bytes,
        "vector_store_id": file.collection,
        "status": status(file),
        "last_error": error,
        "chunking_strategy": {"type": "other"},
        "attributes": shown_attributes(&file.attributes),
    })
}

fn attributes(said: Option<&Value>) -> Result<Attributes, Refused> {
    let wrong = || Refused::invalid("attributes", "attributes must be an object of strings, numbers and true or false");
    let pairs = match said {
        None => return Ok(Attributes::default()),
        Some(Value::Object(pairs)) => pairs,
        Some(_) => return Err(wrong()),
    };
    let mut attributes = Attributes::default();
    for (name, value) in pairs {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return Err(wrong()),
        };
        match name.as_str() {
            "url" => attributes.url = Some(text),
            "title" => attributes.title = Some(text),
            "date" => attributes.date = Some(text),
            "updated" => attributes.updated = Some(text),
            "language" => attributes.language = Some(text),
            _ => drop(attributes.metadata.insert(name.clone(), text)),
        }
    }
    Ok(attributes)
}

pub(super) fn shown_attributes(attributes: &Attributes) -> Value {
    let known = [
        ("url", &attributes.url),
        ("title", &attributes.title),
        ("date", &attributes.date),
        ("updated", &attributes.updated),
        ("language", &attributes.language),
    ];
    let known = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), object!(value.as_ref()?))));
    let others = attributes.metadata.iter().map(|(name, value)| (name.clone(), object!(value)));
    Value::Object(known.chain(others).collect::<Map<_, _>>())
}
