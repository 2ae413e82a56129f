//! Why a BMC could not be asked, whose fault that is, and whether to ask again. Nothing is decided by a message.

use http::StatusCode;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Ours: an address, certificate or request that cannot be meant.
    #[error("{0}")]
    Input(String),
    /// No connection: refused, no route, no name, or nothing within the time limit.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// TLS did not come about, for another reason than the certificate.
    #[error("TLS: {0}")]
    Tls(String),
    /// Its certificate is neither the pinned one nor of the site's CA. Nothing was sent to it.
    #[error("its certificate {found} is not trusted: {why}")]
    Certificate { found: String, why: String },
    /// The connection broke in the middle.
    #[error("connection lost: {0}")]
    Broken(String),
    #[error("no whole answer to {what} within {limit:?}")]
    Slow { what: String, limit: Duration },
    /// It speaks something else than HTTP.
    #[error("not HTTP: {0}")]
    NotHttp(String),
    /// Name or password are not right, or not any longer.
    #[error("credentials refused at {path}")]
    Unauthorized { path: String },
    #[error("{path} answered {status}{}", said(.message))]
    Status { path: String, status: StatusCode, message: String },
    /// It points or redirects to somewhere that is not itself; not followed.
    #[error("{path} points outside the BMC: {to}")]
    Outside { path: String, to: String },
    /// It answers with a redirect where none is followed, or with too many.
    #[error("{path} redirects to {to}, which is not followed")]
    Redirect { path: String, to: String },
    #[error("{what} is larger than {limit}")]
    TooLarge { what: String, limit: u64 },
    /// Pages or members without end, or in a circle.
    #[error("{path} does not end: {why}")]
    Endless { path: String, why: String },
    #[error("{path} is not JSON: {why}")]
    NotJson { path: String, why: String },
    /// JSON, but not what Redfish says.
    #[error("{path}: {field} is not {wanted}")]
    Shape { path: String, field: String, wanted: &'static str },
    /// It said one thing at the beginning of a reading and another at its end.
    #[error("{field} changed while it was read, from {before:?} to {after:?}")]
    Changed { field: &'static str, before: String, after: String },
    /// It cannot do what was asked.
    #[error("this BMC cannot: {0}")]
    Unsupported(String),
    /// It was asked to do something, and whether it did is not known: look before it is asked again.
    #[error("it may have been done: {0}")]
    Unsure(Box<Error>),
}

fn said(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(": {message}"),
    }
}

/// Whose fault it is, so who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller's: address, credentials, or asked for what cannot be.
    Caller,
    /// The way there.
    Network,
    /// The BMC's.
    Bmc,
}

/// Whether the same may be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// With backoff: it may pass by itself.
    Later,
    /// A person must change something first. Asking on would lock accounts or hide an intruder.
    No,
}

impl Error {
    pub fn fault(&self) -> Fault {
        match self {
            Error::Unsure(error) => error.fault(),
            Error::Input(_) | Error::Unauthorized { .. } | Error::Unsupported(_) => Fault::Caller,
            Error::Unreachable(_) | Error::Broken(_) => Fault::Network,
            Error::Status { status, .. } if matches!(status.as_u16(), 400 | 403 | 405 | 409 | 422) => Fault::Caller,
            _ => Fault::Bmc,
        }
    }

    pub fn retry(&self) -> Retry {
        match self {
            Error::Unsure(error) => error.retry(),
            Error::Unreachable(_)
            | Error::Tls(_)
            | Error::Broken(_)
            | Error::Slow { .. }
            | Error::NotHttp(_)
            | Error::NotJson { .. }
            | Error::Changed { .. } => Retry::Later,
            Error::Status { status, .. } if status.is_server_error() || matches!(status.as_u16(), 404 | 408 | 429) => {
                Retry::Later
            }
            _ => Retry::No,
        }
    }

    /// Of a request that changes something: as it is if it surely was not done, else [`Error::Unsure`]. A refusal is an answer, and
    /// who was not reached did nothing; a connection that broke, or a BMC that fell over its own answer, may have done it.
    pub(crate) fn of_deed(self) -> Error {
        let undone = match &self {
            Error::Input(_)
            | Error::Unreachable(_)
            | Error::Tls(_)
            | Error::Certificate { .. }
            | Error::Unauthorized { .. }
            | Error::Unsupported(_)
            | Error::Unsure(_) => true,
            Error::Status { status, .. } => status.is_client_error() || matches!(status.as_u16(), 501 | 503),
            _ => false,
        };
        if undone { self } else { Error::Unsure(Box::new(self)) }
    }

    /// A word for the kind of it, for whoever looks at many.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Input(_) => "unusable",
            Error::Unreachable(_) | Error::Broken(_) => "unreachable",
            Error::Tls(_) | Error::Certificate { .. } => "certificate",
            Error::Slow { .. } => "slow",
            Error::Unauthorized { .. } => "credentials",
            Error::Unsupported(_) => "unsupported",
            Error::Unsure(error) => error.kind(),
            _ => "answer",
        }
    }

    /// True if nothing else of this BMC can be read either. Everything else is a gap in a reading.
    pub(crate) fn ends_reading(&self) -> bool {
        matches!(
            self,
            Error::Input(_)
                | Error::Unreachable(_)
                | Error::Tls(_)
                | Error::Certificate { .. }
                | Error::Unauthorized { .. }
                | Error::Changed { .. }
        ) || matches!(self, Error::TooLarge { what, .. } if what == READING || what == REQUESTS)
    }
}

/// What is too large if a whole reading is.
pub(crate) const READING: &str = "everything that it sent";
pub(crate) const REQUESTS: &str = "the number of requests that it takes";

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done twice where it was done once: a machine that serves, power-cycled.
    #[test]
    fn a_deed_that_was_not_answered_may_have_been_done() {
        let status = |code: u16| Error::Status {
            path: String::new(),
            status: StatusCode::from_u16(code).unwrap(),
            message: String::new(),
        };
        let slow = Error::Slow { what: String::new(), limit: Duration::ZERO };
        let shape = Error::Shape { path: String::new(), field: String::new(), wanted: "a task to watch" };
        let redirect = Error::Redirect { path: String::new(), to: String::new() };
        for (error, unsure) in [
            (slow, true),
            (Error::Broken(String::new()), true),
            (shape, true),
            (redirect, true),
            (status(500), true),
            (status(504), true),
            (status(503), false),
            (status(501), false),
            (status(400), false),
            (status(409), false),
            (Error::Unreachable(String::new()), false),
            (Error::Unauthorized { path: String::new() }, false),
            (Error::Unsupported(String::new()), false),
        ] {
            let of_deed = error.clone().of_deed();
            assert_eq!(matches!(of_deed, Error::Unsure(_)), unsure, "{error}");
            assert_eq!((of_deed.retry(), of_deed.kind()), (error.retry(), error.kind()));
            assert_eq!(of_deed.clone().of_deed(), of_deed);
        }
    }

    #[test]
    fn whose_fault_and_whether_to_retry() {
        let status = |code: u16| Error::Status {
            path: String::new(),
            status: StatusCode::from_u16(code).unwrap(),
            message: String::new(),
        };
        let slow = Error::Slow { what: String::new(), limit: Duration::ZERO };
        let unauthorized = Error::Unauthorized { path: String::new() };
        let certificate = Error::Certificate { found: String::new(), why: String::new() };
        for (error, fault, retry) in [
            (status(500), Fault::Bmc, Retry::Later),
            (status(503), Fault::Bmc, Retry::Later),
            (status(404), Fault::Bmc, Retry::Later),
            (status(400), Fault::Caller, Retry::No),
            (status(403), Fault::Caller, Retry::No),
            (slow, Fault::Bmc, Retry::Later),
            (unauthorized, Fault::Caller, Retry::No),
            (certificate, Fault::Bmc, Retry::No),
            (Error::Unreachable(String::new()), Fault::Network, Retry::Later),
        ] {
            assert_eq!((error.fault(), error.retry()), (fault, retry), "{error}");
        }
    }
}
