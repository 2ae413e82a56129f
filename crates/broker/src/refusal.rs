//! What a platform gets: a status and a JSON body, good or bad. The description is what a person reads in the cockpit.

use serde_json::{Value, json};

/// A good answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    pub fn new(status: u16, body: Value) -> Self {
        Self { status, body }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self::new(status, json!({}))
    }

    pub(crate) fn accepted(operation: types::OperationId) -> Self {
        Self::new(202, json!({ "operation": operation }))
    }
}

/// A refusal: nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {description}")]
pub struct Refusal {
    pub status: u16,
    /// One of the specification's codes, where it names one.
    pub error: Option<&'static str>,
    /// For people: what happened and what to do.
    pub description: String,
}

impl Refusal {
    pub fn new(status: u16, description: impl Into<String>) -> Self {
        Self { status, error: None, description: description.into() }
    }

    pub fn bad(description: impl Into<String>) -> Self {
        Self::new(400, description)
    }

    pub fn not_found() -> Self {
        Self::new(404, "There is none, or it is still being made.")
    }

    pub fn gone() -> Self {
        Self::new(410, "There is none (any more).")
    }

    pub fn conflict(what: &str) -> Self {
        Self::new(409, format!("There is {what} of this id with other attributes. Use a new id."))
    }

    /// On a tombstone nothing is made.
    pub(crate) fn deleted_just_now() -> Self {
        Self::concurrent("This id was deleted less than ten minutes ago. Use a new id, or try again later.")
    }

    fn coded(error: &'static str, description: impl Into<String>) -> Self {
        Self { status: 422, error: Some(error), description: description.into() }
    }

    pub fn async_required() -> Self {
        Self::coded(
            "AsyncRequired",
            "This plan is made by order: send accepts_incomplete=true and poll the last operation.",
        )
    }

    pub fn concurrent(description: impl Into<String>) -> Self {
        Self::coded("ConcurrencyError", description)
    }

    pub fn maintenance() -> Self {
        Self::coded(
            "MaintenanceInfoConflict",
            format!(
                "maintenance_info.version is not {}, the one of the catalog. Read the catalog again.",
                crate::MAINTENANCE
            ),
        )
    }

    pub fn body(&self) -> Value {
        match self.error {
            Some(error) => json!({ "error": error, "description": self.description }),
            None => json!({ "description": self.description }),
        }
    }
}
