//! Knowledge over a real store (SQLite; the store's own tests also run its statements on PostgreSQL) and the real child process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bed;
mod documents;
mod life;
mod quality;
mod reading;
mod sealed;
mod standin;
