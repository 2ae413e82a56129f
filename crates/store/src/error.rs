//! What can go wrong in the store, by whose fault it is and whether to retry: [`StoreError::code`] maps each error to
//! one public code, and the code carries both.
//!
//! The texts name things of the caller's world and are fit for a person; the SQL error below them is the `source`, for
//! the log. Nothing here reads a message: classes come from SQLSTATE and SQLite's result codes.

use types::Code;

/// Why the store did not do what was asked. Nothing was written, except where [`StoreError::Unavailable`] interrupts a
/// commit: then the outcome is unknown, and repeating the call with the same ids tells (a `Conflict` means it landed).
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A thing of that name or place exists, or it was changed meanwhile.
    #[error("{what} exists already")]
    Conflict { what: &'static str },
    /// The thing, or a thing that it refers to, does not exist.
    #[error("{what} does not exist")]
    NotFound { what: &'static str },
    /// A number that does not fit the database's 64 bits with sign.
    #[error("{what} is larger than 9223372036854775807")]
    TooLarge { what: &'static str },
    /// The database does not answer, is locked, or its disk is full.
    #[error("the database is not available; it is tried again with the next request")]
    Unavailable(#[source] sqlx::Error),
    /// Somebody ran a newer Hoheit on this data; an older one must not write it.
    #[error(
        "this data folder was written by a newer version of Hoheit (schema {found}, this version knows {known}): \
         start that version or restore the backup taken before the upgrade"
    )]
    NewerSchema { found: i64, known: i64 },
    /// The library is older than the oldest version without the known corruption of the write-ahead log.
    #[error("SQLite {found} can corrupt its write-ahead log; Hoheit needs 3.51.3 or newer and ships with it")]
    SqliteTooOld { found: String },
    /// The URL names no database that we speak to.
    #[error("a store URL is sqlite:///path/to/hoheit.db or postgres://user@host/database: {why}")]
    Url { why: String },
    /// What is stored cannot be read back: damage, or a change made by something that is not Hoheit.
    #[error("the database holds something unreadable ({what}): restore it from a backup")]
    Corrupt { what: String },
    /// The database refused a statement for a reason of ours.
    #[error("the database refused a statement")]
    Refused(#[source] sqlx::Error),
}

impl StoreError {
    /// The public code, which carries status, fault and whether to retry.
    pub fn code(&self) -> Code {
        match self {
            StoreError::Conflict { .. } => Code::Conflict,
            StoreError::NotFound { .. } => Code::NotFound,
            StoreError::TooLarge { .. } => Code::InvalidRequest,
            StoreError::Unavailable(_) => Code::StoreUnavailable,
            StoreError::NewerSchema { .. }
            | StoreError::SqliteTooOld { .. }
            | StoreError::Url { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Refused(_) => Code::Internal,
        }
    }

    /// Says what a broken uniqueness or reference means for this statement.
    pub(crate) fn meaning(self, doubled: &'static str, missing: &'static str) -> Self {
        match self {
            StoreError::Conflict { .. } => StoreError::Conflict { what: doubled },
            StoreError::NotFound { .. } => StoreError::NotFound { what: missing },
            other => other,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::error::ErrorKind;
        let class = match &error {
            sqlx::Error::Database(refusal) => match refusal.kind() {
                ErrorKind::UniqueViolation => return StoreError::Conflict { what: "a record with this identity" },
                ErrorKind::ForeignKeyViolation => return StoreError::NotFound { what: "what this record refers to" },
                _ => class(refusal.code().as_deref().unwrap_or_default()),
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Class::Unavailable,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Class::Corrupt,
            _ => Class::Refused,
        };
        match class {
            Class::Unavailable => StoreError::Unavailable(error),
            Class::Corrupt => StoreError::Corrupt { what: error.to_string() },
            Class::Refused => StoreError::Refused(error),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Unavailable,
    Corrupt,
    Refused,
}

/// Classes of SQLSTATE (five characters) and of SQLite's extended result codes (a number whose low byte is the class).
fn class(code: &str) -> Class {
    if code.len() == 5 && !code.starts_with("XX") {
        return match &code[..2] {
            // Connection lost, resources (disk full), shut down by the operator, system error; retryable transactions.
            "08" | "53" | "57" | "58" | "40" => Class::Unavailable,
            _ => Class::Refused,
        };
    }
    match code.parse::<u32>().map(|code| code & 0xff) {
        // BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN.
        Ok(5 | 6 | 7 | 8 | 10 | 13 | 14) => Class::Unavailable,
        // CORRUPT, NOTADB.
        Ok(11 | 26) => Class::Corrupt,
        _ if code == "XX001" || code == "XX002" => Class::Corrupt,
        _ => Class::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let check = |code: &str, expect: Class| assert_eq!(class(code), expect, "{code}");
        check("08006", Class::Unavailable);
        check("53100", Class::Unavailable);
        check("57P01", Class::Unavailable);
        check("40001", Class::Unavailable);
        check("42601", Class::Refused);
        check("XX001", Class::Corrupt);
        check("XX000", Class::Refused);
        check("5", Class::Unavailable);
        check("261", Class::Unavailable); // BUSY_RECOVERY
        check("13", Class::Unavailable);
        check("11", Class::Corrupt);
        check("26", Class::Corrupt);
        check("1", Class::Refused);
        check("", Class::Refused);
    }
}
