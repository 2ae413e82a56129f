//! `/async/chat/completions`: a question whose answer is fetched later, as clients see it.

use super::fields::{Fields, Finding};
use super::request::Question;
use serde_json::{Value, json};
use types::UnixMillis;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Created,
    InProgress,
    Completed,
    Failed,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Created => "CREATED",
            Status::InProgress => "IN_PROGRESS",
            Status::Completed => "COMPLETED",
            Status::Failed => "FAILED",
        }
    }
}

/// A question that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later {
    pub id: String,
    pub model: String,
    pub status: Status,
    pub created_at: UnixMillis,
    pub started_at: Option<UnixMillis>,
    /// When it was answered or failed.
    pub ended_at: Option<UnixMillis>,
    /// Why it failed. Public.
    pub error: Option<String>,
}

/// What such a key may have: it is compared, not read.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// `{"request": …, "idempotency_key": …}`: the question, never as a stream, and the key.
pub fn parse(body: &[u8], now: UnixMillis) -> Result<(Question, Option<String>), Finding> {
    let fields = Fields::parse(body)?;
    if fields.raw("request").is_none() {
        return Err(Finding::of("request", "request is missing: an object as for /chat/completions"));
    }
    let mut question = Question::read(&fields.within("request")?, now)?;
    question.stream = false;
    let key = fields.text("idempotency_key")?;
    if key.is_some_and(|key| key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX) {
        let message = format!("idempotency_key must have 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes");
        return Err(Finding::of("idempotency_key", message));
    }
    Ok((question, key.map(str::to_owned)))
}

impl Later {
    /// Alone, with the answer if there is one.
    pub fn shown(&self, answer: Option<Value>) -> Value {
        let mut shown = self.listed();
        shown["error_message"] = json!(self.error);
        shown["response"] = answer.unwrap_or_default();
        shown
    }

    /// As one of a list.
    pub fn listed(&self) -> Value {
        let ended = |status: Status| (self.status == status).then(|| self.ended_at.map(UnixMillis::seconds)).flatten();
        json!({
            "id": self.id,
            "model": self.model,
            "status": self.status.as_str(),
            "created_at": self.created_at.seconds(),
            "started_at": self.started_at.map(UnixMillis::seconds),
            "completed_at": ended(Status::Completed),
            "failed_at": ended(Status::Failed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_within_a_question() {
        let ask = |members: &str| {
            let request = r#""request":{"model":"sonar","messages":[{"role":"user","content":"Was?"}],"stream":true}"#;
            parse(format!("{{{request}{members}}}").as_bytes(), UnixMillis(0))
        };
        let (question, key) = ask(r#","idempotency_key":"a""#).unwrap();
        assert!(!question.stream && question.text() == "Was?" && key.as_deref() == Some("a"));
        assert_eq!(ask("").unwrap().1, None);
        let key = |length: usize| ask(&format!(r#","idempotency_key":"{}""#, "k".repeat(length))).is_ok();
        assert!(key(IDEMPOTENCY_KEY_BYTES_MAX) && !key(IDEMPOTENCY_KEY_BYTES_MAX + 1) && !key(0));
        assert_eq!(parse(b"{}", UnixMillis(0)).unwrap_err().param.as_deref(), Some("request"));
        assert_eq!(
            parse(br#"{"request":{"messages":[]}}"#, UnixMillis(0)).unwrap_err().param.as_deref(),
            Some("model")
        );
    }

    #[test]
    fn what_clients_see() {
        let mut later = Later {
            id: "async_1".to_owned(),
            model: "sonar".to_owned(),
            status: Status::Completed,
            created_at: UnixMillis(1_999),
            started_at: Some(UnixMillis(2_000)),
            ended_at: Some(UnixMillis(3_000)),
            error: None,
        };
        let shown = later.shown(Some(json!({"id": "x"})));
        assert_eq!(
            (&shown["created_at"], &shown["completed_at"], &shown["failed_at"]),
            (&json!(1), &json!(3), &Value::Null)
        );
        assert_eq!(shown["response"]["id"], "x");
        (later.status, later.error) = (Status::Failed, Some("ended".to_owned()));
        let shown = later.shown(None);
        assert_eq!(
            (&shown["failed_at"], &shown["error_message"], &shown["response"]),
            (&json!(3), &json!("ended"), &Value::Null)
        );
        assert!(later.listed().get("response").is_none());
        assert_eq!(shown["status"], "FAILED");
    }
}
