//! Registrations: a platform with its credential and what it may order.

use crate::change::Change;
use crate::database::{Columns, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::BrokerId;
use types::audit::AuditEntry;

macro_rules! select {
    () => {
        "SELECT id, name, username, password_hash, body, removed FROM brokers "
    };
}

statements! {
    INSERT = "INSERT INTO brokers (id, name, username, password_hash, body, removed) VALUES ($1, $2, $3, $4, $5, $6)";
    UPDATE = "UPDATE brokers SET name = $2, password_hash = $3, body = $4, removed = (removed OR $5) WHERE id = $1";
    ONE = concat!(select!(), "WHERE id = $1");
    BY_USERNAME = concat!(select!(), "WHERE username = $1 AND NOT removed");
    LIST = concat!(select!(), "ORDER BY id");
}

const DOUBLED: &str = "a registration of this name or user";
const WHAT: &str = "this registration";
const SAME_CERTIFICATE: &str = "a registration of this certificate's subject";

/// A platform as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRow {
    pub id: BrokerId,
    pub name: String,
    pub username: String,
    /// HMAC-SHA-256 of the password under the site's pepper, hex.
    pub password_hash: String,
    /// JSON.
    pub body: String,
    pub removed: bool,
}

fn broker(mut c: Columns<'_>) -> Result<BrokerRow, StoreError> {
    Ok(BrokerRow {
        id: c.parsed()?,
        name: c.text()?,
        username: c.text()?,
        password_hash: c.text()?,
        body: c.text()?,
        removed: c.flag()?,
    })
}

/// Nobody else may prove to be the same: asked of every registration that stands, under the lock of the change.
async fn alone(
    change: &mut Change,
    id: BrokerId,
    clashes: impl Fn(&BrokerRow) -> bool + Send,
) -> Result<(), StoreError> {
    for row in change.rows(LIST, values![]).await? {
        let other = broker(row.columns())?;
        if other.id != id && !other.removed && clashes(&other) {
            return Err(StoreError::Conflict { what: SAME_CERTIFICATE });
        }
    }
    Ok(())
}

impl Store {
    /// `clashes` says whether another registration proves itself by the same certificate; what a body says only `controller` knows.
    pub async fn broker_create(
        &self,
        new: &BrokerRow,
        clashes: impl Fn(&BrokerRow) -> bool + Send,
        entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        alone(&mut change, new.id, clashes).await?;
        let values = values![new.id, &new.name, &new.username, &new.password_hash, &new.body, new.removed];
        change.run(INSERT, values).await.map_err(|error| error.meaning(DOUBLED, WHAT))?;
        change.commit(entry).await
    }

    /// Sets name, password and body; `removed` only ever becomes true. The user is for life.
    pub async fn broker_update(
        &self,
        to: &BrokerRow,
        clashes: impl Fn(&BrokerRow) -> bool + Send,
        entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        if !to.removed {
            alone(&mut change, to.id, clashes).await?;
        }
        let values = values![to.id, &to.name, &to.password_hash, &to.body, to.removed];
        change.run_on(WHAT, UPDATE, values).await.map_err(|error| error.meaning(DOUBLED, WHAT))?;
        change.commit(entry).await
    }

    pub async fn broker(&self, id: BrokerId) -> Result<Option<BrokerRow>, StoreError> {
        let rows = self.database.rows(ONE, values![id]).await?;
        rows.first().map(|row| broker(row.columns())).transpose()
    }

    /// The one that is not removed.
    pub async fn broker_of(&self, username: &str) -> Result<Option<BrokerRow>, StoreError> {
        let rows = self.database.rows(BY_USERNAME, values![username]).await?;
        rows.first().map(|row| broker(row.columns())).transpose()
    }

    pub async fn brokers(&self) -> Result<Vec<BrokerRow>, StoreError> {
        let rows = self.database.rows(LIST, values![]).await?;
        rows.iter().map(|row| broker(row.columns())).collect()
    }
}
