//! `/v1/files` in OpenAI's shape, over `knowledge`: a project's documents as they were uploaded.
//!
//! A file is stored, not looked into; what it is shows when it is attached to a vector store. Uploads are bounded before they are
//! read, one by one and all together. If we crash here: a file is stored whole or not at all.

use crate::Partners;
use crate::envelope::{Asked, Refused, json, typed};
use crate::multipart::{boundary, parts};
use crate::page::{asked, page};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use gateway::Refusal;
use http::header;
use knowledge::{File, NewFile};
use serde_json::{Value, json as object};
use types::{Code, FileId};

/// What a form adds to its file: boundaries, names, a purpose.
const FORM_BYTES_MAX: usize = 64 << 10;
/// Uploads in memory at once: each is 32 MiB, and as much sealed, and as much again with the database's driver: 400 MB.
pub(crate) const UPLOADS_MAX: usize = 4;

/// OpenAI lists ten thousand at once.
const LIST_MAX: usize = 10_000;

/// Why a document is uploaded here. Others (`fine-tune`, `batch`) are for what we do not have.
const PURPOSES: [&str; 2] = ["assistants", "user_data"];

pub(crate) fn routes() -> Router<Partners> {
    Router::new()
        .route("/v1/files", post(upload).get(list))
        .route("/v1/files/{id}", get(retrieve).delete(delete))
        .route("/v1/files/{id}/content", get(content))
}

/// What is no id of a file answers like one of somebody else's.
pub(crate) fn file_id(text: &str) -> Result<FileId, Refused> {
    text.parse().map_err(|_| Refused::not_found("this file"))
}

async fn upload(State(partners): State<Partners>, request: Request) -> Result<Response, Refused> {
    let mut asked = Asked::by(&partners, request)?;
    let knowledge = &partners.parts().knowledge;
    let wrong = |message: &str| Refused::invalid("file", message);
    const FORM: &str = "send multipart/form-data with the parts file and purpose";
    let content_type =
        asked.head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = boundary(content_type).ok_or_else(|| wrong(FORM))?.to_owned();
    let Ok(_turn) = partners.uploads().try_acquire() else {
        let message = "this gateway takes as many uploads at once as it may: try again shortly";
        return Err(Refusal::new(Code::NotReady, message).retry_after(2).into());
    };
    let limit = usize::try_from(knowledge.limits().file_bytes_max).unwrap_or(usize::MAX).saturating_add(FORM_BYTES_MAX);
    let body = asked.read(&partners, limit).await?;
    let parts = parts(&body.bytes, &boundary).map_err(|error| wrong(&error.to_string()))?;
    let file = parts.iter().find(|part| part.name == "file").ok_or_else(|| wrong(FORM))?;
    let purpose = parts.iter().find(|part| part.name == "purpose").map(|part| part.bytes);
    let purpose = PURPOSES.into_iter().find(|known| Some(known.as_bytes()) == purpose).ok_or_else(|| {
        Refused::invalid("purpose", format!("purpose must be one of {}: documents to be searched", PURPOSES.join(", ")))
    })?;
    let new = NewFile {
        name: file.file_name.clone().unwrap_or_else(|| "document".to_owned()),
        content_type: file.content_type.clone(),
        purpose: purpose.to_owned(),
    };
    let file = knowledge.file_put(asked.principal.project(), new, file.bytes).await?;
    Ok(json(&shown(&file)))
}

async fn list(State(partners): State<Partners>, request: Request) -> Result<Response, Refused> {
    let query = asked(request.uri());
    let asked = Asked::by(&partners, request)?;
    let mut files = partners.parts().knowledge.files(asked.principal.project()).await?;
    if let Some(purpose) = query.get("purpose") {
        files.retain(|file| file.purpose == *purpose);
    }
    let items = files.iter().map(|file| (file.id.to_string(), shown(file))).collect();
    Ok(json(&page(&query, items, LIST_MAX, LIST_MAX)?))
}

async fn retrieve(
    State(partners): State<Partners>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let asked = Asked::by(&partners, request)?;
    let file = partners.parts().knowledge.file(asked.principal.project(), file_id(&id)?).await?;
    Ok(json(&shown(&file)))
}

async fn content(
    State(partners): State<Partners>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let asked = Asked::by(&partners, request)?;
    let bytes = partners.parts().knowledge.file_content(asked.principal.project(), file_id(&id)?).await?;
    // Never as what it says it is: nothing that was uploaded runs in anybody's browser under our name.
    let mut response = typed("application/octet-stream", bytes);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_DISPOSITION, http::HeaderValue::from_static("attachment"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, http::HeaderValue::from_static("nosniff"));
    Ok(response)
}

async fn delete(
    State(partners): State<Partners>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let asked = Asked::by(&partners, request)?;
    let file = file_id(&id)?;
    partners.parts().knowledge.file_delete(asked.principal.project(), file).await?;
    Ok(json(&object!({"id": file, "object": "file", "deleted": true})))
}

fn shown(file: &File) -> Value {
    object!({
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at.seconds(),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
    })
}
