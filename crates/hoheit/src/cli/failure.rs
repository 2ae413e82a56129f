//! How a command fails: what happened, what to do, and the exit code.

use std::fmt;

/// Why a command did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// 1 refused or failed, 2 wrong usage.
    pub exit: u8,
    /// The code of the API's answer, where there was one.
    pub code: Option<String>,
}

impl Failure {
    pub fn failed(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None, exit: 1, code: None }
    }

    pub fn usage(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None, exit: 2, code: None }
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub fn is_not_found(&self) -> bool {
        self.code.as_deref() == Some("not_found")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  what to do: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}
