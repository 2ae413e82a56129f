//! `/v1/vector_stores` in OpenAI's shape: a vector store is a collection.
//!
//! A file that is attached is read at once; what takes longer than [`READ_AWAITED`] is `in_progress` and goes on by itself. File
//! batches and a chunking of one's own are not offered.

mod attached;
mod filters;
mod search;

use crate::Partners;
use crate::envelope::{Asked, Refused, json};
use crate::page::{asked, page};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use dialects::sonar::fields::Fields;
use gateway::Principal;
use gateway::inner::Held;
use http::HeaderMap;
use knowledge::{Collection, NewCollection};
use serde_json::{Map, Value, json as object};
use std::collections::BTreeMap;
use std::time::Duration;
use types::CollectionId;

/// Bytes of a request about collections: a hundred file ids, and metadata.
const BODY_BYTES_MAX: usize = 256 << 10;
/// How long an answer waits for a file to be read.
const READ_AWAITED: Duration = Duration::from_secs(5);
/// Files that a new vector store may be given at once.
const FILES_MAX: usize = 100;
const LIST_USUAL: usize = 20;
const LIST_MAX: usize = 100;

pub(crate) fn routes() -> Router<Partners> {
    Router::new()
        .route("/v1/vector_stores", post(create).get(list))
        .route("/v1/vector_stores/{id}", get(retrieve).post(modify).delete(delete))
        .route("/v1/vector_stores/{id}/search", post(search::search))
        .route("/v1/vector_stores/{id}/files", post(attached::create).get(attached::list))
        .route("/v1/vector_stores/{id}/files/{file}", get(attached::retrieve).delete(attached::delete))
        .route("/v1/vector_stores/{id}/files/{file}/content", get(attached::content))
}

/// A call with a JSON body that was read.
struct Call {
    partners: Partners,
    principal: Principal,
    headers: HeaderMap,
    body: Bytes,
    fields: Fields,
    /// Its room among the bodies that the gateway holds.
    _held: Held,
}

impl Call {
    async fn of(partners: Partners, request: Request) -> Result<Call, Refused> {
        let mut asked = Asked::by(&partners, request)?;
        let held = asked.read(&partners, BODY_BYTES_MAX).await?;
        let body = held.bytes.clone();
        let fields = if body.is_empty() { Fields::default() } else { Fields::parse(&body)? };
        Ok(Call { partners, principal: asked.principal, headers: asked.head.headers, body, fields, _held: held })
    }
}

/// What is no id of a collection answers like one of somebody else's.
pub(crate) fn collection_id(text: &str) -> Result<CollectionId, Refused> {
    text.parse().map_err(|_| Refused::not_found("this collection"))
}

async fn create(State(partners): State<Partners>, request: Request) -> Result<Response, Refused> {
    let call = Call::of(partners, request).await?;
    let (knowledge, project) = (&call.partners.parts().knowledge, call.principal.project());
    let files: Vec<_> =
        call.fields.texts("file_ids", FILES_MAX)?.into_iter().map(crate::files::file_id).collect::<Result<_, _>>()?;
    for file in &files {
        knowledge.file(project, *file).await?;
    }
    let new = NewCollection {
        name: call.fields.text("name")?.unwrap_or_default().to_owned(),
        metadata: metadata(&call.fields)?.unwrap_or_default(),
        expires_after_days: expires_after(&call.fields)?,
    };
    let made = knowledge.collection_create(project, new).await?;
    for file in files {
        attached::attach(&call, made.id, file, knowledge::Attributes::default()).await?;
    }
    Ok(json(&shown(&knowledge.collection(project, made.id).await?)))
}

async fn list(State(partners): State<Partners>, request: Request) -> Result<Response, Refused> {
    let query = asked(request.uri());
    let asked = Asked::by(&partners, request)?;
    let collections = partners.parts().knowledge.collections(asked.principal.project()).await?;
    let items = collections.iter().map(|collection| (collection.id.to_string(), shown(collection))).collect();
    Ok(json(&page(&query, items, LIST_USUAL, LIST_MAX)?))
}

async fn retrieve(
    State(partners): State<Partners>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let asked = Asked::by(&partners, request)?;
    let collection = partners.parts().knowledge.collection(asked.principal.project(), collection_id(&id)?).await?;
    Ok(json(&shown(&collection)))
}

async fn modify(
    State(partners): State<Partners>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let call = Call::of(partners, request).await?;
    let (knowledge, project) = (&call.partners.parts().knowledge, call.principal.project());
    let before = knowledge.collection(project, collection_id(&id)?).await?;
    let new = NewCollection {
        name: call.fields.text("name")?.map_or(before.name, str::to_owned),
        metadata: metadata(&call.fields)?.unwrap_or(before.metadata),
        expires_after_days: expires_after(&call.fields)?.or(before.expires_after_days),
    };
    Ok(json(&shown(&knowledge.collection_update(project, before.id, new).await?)))
}

async fn delete(
    State(partners): State<Partners>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let asked = Asked::by(&partners, request)?;
    let id = collection_id(&id)?;
    partners.parts().knowledge.collection_delete(asked.principal.project(), id).await?;
    Ok(json(&object!({"id": id, "object": "vector_store.deleted", "deleted": true})))
}

/// OpenAI's metadata: strings by name.
fn metadata(fields: &Fields) -> Result<Option<BTreeMap<String, String>>, Refused> {
    let wrong = || Refused::invalid("metadata", "metadata must be an object of strings");
    match fields.raw("metadata") {
        None => Ok(None),
        Some(Value::Object(pairs)) => {
            let pair = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
            pairs.iter().map(pair).collect::<Option<_>>().map(Some).ok_or_else(wrong)
        }
        Some(_) => Err(wrong()),
    }
}

fn expires_after(fields: &Fields) -> Result<Option<u32>, Refused> {
    let expires = fields.within("expires_after")?;
    expires.choice("anchor", &["last_active_at"])?;
    Ok(expires.number("days", 1, 3_650)?.and_then(|days| u32::try_from(days).ok()))
}

fn shown(collection: &Collection) -> Value {
    let (processing, completed, failed) = (collection.processing, collection.completed, collection.failed);
    let expires = collection.expires_after_days.map(|days| object!({"anchor": "last_active_at", "days": days}));
    let metadata: Map<String, Value> =
        collection.metadata.iter().map(|(name, value)| (name.clone(), object!(value))).collect();
    object!({
        "id": collection.id,
        "object": "vector_store",
        "created_at": collection.created_at.seconds(),
        "name": collection.name,
        "usage_bytes": collection.bytes,
        "file_counts": {
            "in_progress": processing, "completed": completed, "failed": failed, "cancelled": 0,
            "total": processing + completed + failed,
        },
        "status": if processing > 0 { "in_progress" } else { "completed" },
        "expires_after": expires,
        "expires_at": collection.expires_at.map(types::UnixMillis::seconds),
        "last_active_at": collection.last_active_at.seconds(),
        "metadata": metadata,
    })
}
