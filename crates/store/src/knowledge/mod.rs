//! Collections, files, what is attached to what, and passages: rows of sealed bytes. What is in them only `knowledge` knows.
//!
//! Every statement that a request leads to names the project beside the id, so that a foreign id finds what an unknown one
//! finds. A change of passages moves the collection's version in the same transaction.
//!
//! What is deleted is gone from the file, too: SQLite overwrites deleted content (`secure_delete`), and after a delete the
//! write-ahead log is folded in and cut off. PostgreSQL keeps dead rows until its vacuum; they are sealed.
//!
//! Who writes in a project takes it first ([`lock`]), so that its writes come one after the other on PostgreSQL as they do on
//! SQLite: a limit that was counted holds when the row is there, and a delete never meets a file half written.
//!
//! If we crash here: each function is one transaction.

use crate::database::{Session, values};
use crate::{Store, StoreError, projects};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use types::ProjectId;

pub(crate) mod attachments;
pub(crate) mod collections;
pub(crate) mod files;
pub(crate) mod keys;
pub(crate) mod passages;

/// Writes in projects at once, from one process. Who waits for a project holds a connection meanwhile, up to seconds where a large
/// file is stored; two thirds of the connections are always there for leases, keys and receipts.
const WRITERS_MAX: usize = 4;
const _: () = assert!(WRITERS_MAX * 3 <= crate::open::POSTGRES_CONNECTIONS_MAX as usize);

pub(crate) fn writers() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(WRITERS_MAX))
}

impl Store {
    /// A transaction that will take a project. The permit lives as long as it.
    pub(crate) async fn write_in_project(&self) -> Result<(OwnedSemaphorePermit, Session), StoreError> {
        let place = self.project_writers.clone().acquire_owned().await.expect("nobody closes it");
        Ok((place, self.database.write().await?))
    }
}

/// Takes a project for a write that makes nothing new; a closed one, too: what it stored can be deleted.
async fn lock(session: &mut Session, project: ProjectId) -> Result<(), StoreError> {
    session.run(projects::LOCK, values![project]).await.map(drop)
}

/// Takes a project for something new. A closed one is as good as none.
pub(crate) async fn lock_open(session: &mut Session, project: ProjectId) -> Result<(), StoreError> {
    match session.run(projects::LOCK_OPEN, values![project]).await? {
        0 => Err(StoreError::NotFound { what: "this project" }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    /// Rights are in the statements: all but the few that serve nobody's request ask for the project.
    #[test]
    fn every_statement_asks_for_the_project() {
        let all = [
            super::attachments::STATEMENTS,
            super::collections::STATEMENTS,
            super::files::STATEMENTS,
            super::keys::STATEMENTS,
            super::passages::STATEMENTS,
        ];
        for sql in all.iter().flat_map(|module| module.iter()) {
            let begins = sql.starts_with("INSERT INTO");
            let of_nobody = [super::attachments::UNFINISHED, super::collections::EXPIRED].contains(sql);
            assert!(begins || of_nobody || sql.contains("project = $1"), "{sql}");
        }
    }
}
