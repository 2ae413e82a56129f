//! The closed set of public error codes, each mapped once to its status, to whose fault it is and to whether a retry
//! can help. Two renderings exist, problem+json for the control API and OpenAI's envelope for `/v1`; both read this
//! table and nothing else. Every code has a page in `docs/errors/`; a test fails without it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Who has to change something before the same request can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The caller.
    Client,
    /// The engine behind us.
    Upstream,
    /// The operator of this site.
    Us,
}

/// Whether the same request, sent again unchanged, can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Not before something else is changed.
    Never,
    /// After a while; `Retry-After` says when where it is known.
    Later,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:literal, $fault:ident, $retry:ident, $kind:literal;)*) => {
        /// A public error code. The text is stable: programs may compare it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The stable text.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)* }
            }

            /// Whose fault it is.
            pub fn fault(self) -> Fault {
                match self { $(Code::$variant => Fault::$fault,)* }
            }

            /// Whether to send the same request again.
            pub fn retry(self) -> Retry {
                match self { $(Code::$variant => Retry::$retry,)* }
            }

            /// `error.type` of OpenAI's envelope. SDKs choose their exception by status; this is for people and logs.
            pub fn openai_type(self) -> &'static str {
                match self { $(Code::$variant => $kind,)* }
            }
        }
    };
}

codes! {
    /// A field is missing, has the wrong type or a value outside its range.
    InvalidRequest = "invalid_request", 400, Client, Never, "invalid_request_error";
    /// The body is not JSON, or nested too deep.
    InvalidJson = "invalid_json", 400, Client, Never, "invalid_request_error";
    /// `Hoheit-Data-Class` names no data class.
    DataClassUnknown = "data_class_unknown", 400, Client, Never, "invalid_request_error";
    /// No credential was shown.
    KeyMissing = "key_missing", 401, Client, Never, "authentication_error";
    /// The credential is malformed, unknown, or its secret is wrong: not told apart, on purpose.
    KeyInvalid = "key_invalid", 401, Client, Never, "authentication_error";
    /// The key was right once and has been revoked.
    KeyRevoked = "key_revoked", 401, Client, Never, "authentication_error";
    /// The key was right once and has expired.
    KeyExpired = "key_expired", 401, Client, Never, "authentication_error";
    /// The principal is known and may not do this.
    Forbidden = "forbidden", 403, Client, Never, "permission_error";
    /// Policy permits no endpoint of this model for this data class and principal.
    PolicyRefused = "policy_refused", 403, Client, Never, "permission_error";
    /// No such thing, or it belongs to somebody else: not told apart, on purpose.
    NotFound = "not_found", 404, Client, Never, "invalid_request_error";
    /// No endpoint offers a model of this name.
    ModelNotFound = "model_not_found", 404, Client, Never, "invalid_request_error";
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, Client, Never, "invalid_request_error";
    /// The body did not arrive in time.
    RequestTimeout = "request_timeout", 408, Client, Later, "invalid_request_error";
    /// A thing of that name exists, or the thing is in a state that does not allow this.
    Conflict = "conflict", 409, Client, Never, "invalid_request_error";
    /// A request with the same idempotency key is still running.
    IdempotencyRunning = "idempotency_running", 409, Client, Later, "invalid_request_error";
    /// A request with the same idempotency key was made, and its answer is not kept.
    IdempotencyAnswered = "idempotency_answered", 409, Client, Never, "invalid_request_error";
    /// The body is larger than the limit.
    BodyTooLarge = "body_too_large", 413, Client, Never, "invalid_request_error";
    /// The idempotency key was used with another request.
    IdempotencyMismatch = "idempotency_mismatch", 422, Client, Never, "invalid_request_error";
    /// This very request broke off at two engines and is kept from a third for a while.
    RequestQuarantined = "request_quarantined", 422, Client, Never, "invalid_request_error";
    /// A rule does not parse, does not fit the schema, or permits where only forbidding is allowed.
    RuleInvalid = "rule_invalid", 422, Client, Never, "invalid_request_error";
    /// Requests or tokens per minute are used up.
    RateLimited = "rate_limited", 429, Client, Later, "rate_limit_error";
    /// What is left of a budget does not cover what this request could cost.
    BudgetExhausted = "budget_exhausted", 429, Client, Never, "insufficient_quota";
    /// Every permitted replica is full.
    EngineOverloaded = "engine_overloaded", 429, Upstream, Later, "rate_limit_error";
    /// The headers are larger than the limit.
    HeadersTooLarge = "headers_too_large", 431, Client, Never, "invalid_request_error";
    /// We failed. The text for the caller says no more; the log does.
    Internal = "internal", 500, Us, Later, "api_error";
    /// The engine answered what no engine should answer.
    EngineFailed = "engine_failed", 502, Upstream, Later, "api_error";
    /// The engine broke off after the first token; sent inside the stream.
    StreamBroken = "stream_broken", 502, Upstream, Later, "api_error";
    /// All endpoints that offer this model stand outside the countries that the project allows. Never a foreign one.
    ResidencyUnavailable = "residency_unavailable", 503, Us, Later, "api_error";
    /// Policy permits an endpoint, and none of its replicas can take the request now.
    ReplicaUnavailable = "replica_unavailable", 503, Us, Later, "api_error";
    /// Shutting down, starting, or short of journal space.
    NotReady = "not_ready", 503, Us, Later, "api_error";
    /// The database has been away for longer than the last snapshot may be served.
    SnapshotExpired = "snapshot_expired", 503, Us, Later, "api_error";
    /// The database cannot be reached.
    StoreUnavailable = "store_unavailable", 503, Us, Later, "api_error";
    /// The engine did not answer in time.
    EngineTimeout = "engine_timeout", 504, Upstream, Later, "api_error";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_unique_and_statuses_fit_the_fault() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            match code.fault() {
                Fault::Client => assert!((400..500).contains(&code.status()), "{code}"),
                Fault::Us => assert!(code.status() >= 500, "{code}"),
                Fault::Upstream => assert!(code.status() == 429 || code.status() >= 500, "{code}"),
            }
        }
    }
}
