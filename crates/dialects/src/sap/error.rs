//! SAP's two shapes of errors, never mixed: orchestration's, with a number as code and the place where it happened, and the AI
//! API's, with a text as code. Which one a path answers in is the shell's to know; here they have no common rendering.

use serde_json::{Map, Value, json};

/// Where in orchestration something went wrong, in SAP's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    Request,
    Authentication,
    Deployment,
    Grounding,
    Templating,
    Translation,
    Masking,
    Filtering,
    Llm,
}

impl Location {
    pub const fn as_str(self) -> &'static str {
        match self {
            Location::Request => "Request Body",
            Location::Authentication => "Authentication",
            Location::Deployment => "Deployment",
            Location::Grounding => "Grounding Module",
            Location::Templating => "Templating Module",
            Location::Translation => "Translation Module",
            Location::Masking => "Masking Module",
            Location::Filtering => "Filtering Module",
            Location::Llm => "LLM Module",
        }
    }
}

/// One failure of orchestration: an answer of its own, or one of `intermediate_failures`.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The HTTP status, which is also the code.
    pub code: u16,
    pub message: String,
    pub location: Location,
    /// What the modules before had already done.
    pub results: Map<String, Value>,
    /// Seconds until a retry can help.
    pub retry_after: Option<u64>,
}

impl Failure {
    pub fn new(code: u16, location: Location, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), location, results: Map::new(), retry_after: None }
    }

    pub(super) fn request(message: impl Into<String>) -> Failure {
        Failure::new(400, Location::Request, message)
    }

    #[must_use]
    pub fn with_results(mut self, results: Map<String, Value>) -> Failure {
        self.results = results;
        self
    }

    /// As it stands in a list.
    pub fn json(&self, request_id: &str) -> Value {
        let mut error = json!({
            "request_id": request_id,
            "code": self.code,
            "message": self.message,
            "location": self.location.as_str(),
            "intermediate_results": self.results,
        });
        if let Some(seconds) = self.retry_after {
            error["headers"] = json!({"retry-after": seconds.to_string()});
        }
        error
    }

    /// The whole body. Where several configurations were tried the errors are a list in their order, and the status is the
    /// last one's.
    pub fn body(failures: &[Failure], request_id: &str) -> String {
        let mut errors = failures.iter().map(|failure| failure.json(request_id));
        let error = match failures.len() {
            1 => errors.next().unwrap_or_default(),
            _ => errors.collect(),
        };
        json!({"error": error}).to_string()
    }
}

/// An error of the AI API: everything but orchestration answers so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub status: u16,
    /// A stable text, never a number.
    pub code: &'static str,
    pub message: String,
    pub retry_after: Option<u64>,
}

impl ApiError {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, code, message: message.into(), retry_after: None }
    }

    /// `target` is the path that was asked.
    pub fn body(&self, request_id: &str, target: &str) -> String {
        json!({"error": {
            "code": self.code,
            "message": self.message,
            "requestId": request_id,
            "target": target,
            "details": [],
        }})
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_is_an_object_and_several_are_a_list() {
        let first = Failure { retry_after: Some(3), ..Failure::new(429, Location::Llm, "later") };
        let second = Failure::new(400, Location::Llm, "no such model");
        let one: Value = serde_json::from_str(&Failure::body(std::slice::from_ref(&first), "r")).unwrap();
        assert_eq!(one["error"]["code"], 429);
        assert_eq!(one["error"]["headers"]["retry-after"], "3");
        assert!(one["error"]["requestId"].is_null());
        let two: Value = serde_json::from_str(&Failure::body(&[first, second], "r")).unwrap();
        assert_eq!((&two["error"][0]["code"], &two["error"][1]["code"]), (&json!(429), &json!(400)));
    }

    #[test]
    fn the_other_shape_has_a_text_as_code() {
        let body = ApiError::new(404, "not_found", "no such deployment").body("r", "/v2/lm/deployments/x");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["error"]["code"], "not_found");
        assert!(body["error"]["request_id"].is_null() && body["error"]["location"].is_null());
    }
}
