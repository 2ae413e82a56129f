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
            Error::Input(_) | Error::Unauthorized { .. } | Error::Unsupported(_) => Fault::Caller,
            Error::Unreachable(_) | Error::Broken(_) => Fault::Network,
            Error::Status { status, .. } if matches!(status.as_u16(), 400 | 403 | 405 | 409 | 422) => Fault::Caller,
            _ => Fault::Bmc,
        }
    }

    pub fn retry(&self) -> Retry {
        match self {
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
