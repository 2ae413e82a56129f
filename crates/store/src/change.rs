//! A change of the site and its audit entry, as one transaction that also moves the snapshot's version. The only way to
//! write the tables that the snapshot shows: a [`Change`] is committed by handing it the entry, and by nothing else.
//!
//! The version is moved first. That takes the counter's row lock, so changes run one after the other on PostgreSQL as
//! they do on SQLite: whoever reads version n sees every change up to n, and a change may read and then write without
//! somebody in between.
//!
//! If we crash before the commit, neither change nor entry exists; after it, both do.

use crate::database::{Row, Session, Value, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::audit::AuditEntry;

statements! {
    MOVE_VERSION = "UPDATE counters SET value = value + 1 WHERE name = 'snapshot'";
    INSERT_ENTRY = "INSERT INTO audit (id, at, actor, action, object, tenant, detail) VALUES ($1, $2, $3, $4, $5, $6, $7)";
}

pub(crate) struct Change {
    session: Session,
}

impl Store {
    pub(crate) async fn change(&self) -> Result<Change, StoreError> {
        let mut session = self.database.write().await?;
        session.run(MOVE_VERSION, values![]).await?;
        Ok(Change { session })
    }
}

impl Change {
    pub(crate) async fn run(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        self.session.run(sql, values).await
    }

    /// A statement that must touch something: nothing touched means that the thing does not exist.
    pub(crate) async fn run_on(
        &mut self,
        what: &'static str,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<(), StoreError> {
        match self.session.run(sql, values).await? {
            0 => Err(StoreError::NotFound { what }),
            _ => Ok(()),
        }
    }

    pub(crate) async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.session.rows(sql, values).await
    }

    /// Writes the entry and makes both true.
    pub(crate) async fn commit(mut self, entry: &AuditEntry) -> Result<(), StoreError> {
        write_entry(&mut self.session, entry).await?;
        self.session.commit().await
    }
}

/// The entry of a change that no snapshot shows, within that change's transaction.
pub(crate) async fn write_entry(session: &mut Session, entry: &AuditEntry) -> Result<(), StoreError> {
    let values = values![entry.id, entry.at, &entry.actor, &entry.action, &entry.object, entry.tenant, &entry.detail];
    let written = session.run(INSERT_ENTRY, values).await;
    written.map_err(|error| error.meaning("an audit entry of this id", "what the audit entry names")).map(|_| ())
}
