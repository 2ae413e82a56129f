//! Price books, each under its version and never changed. The latest is in force; older ones stay, because receipts were
//! rated by them.

use crate::change::Change;
use crate::database::{Row, int, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::audit::AuditEntry;
use types::snapshot::PriceBook;

statements! {
    INSERT = "INSERT INTO price_books (version, prices) VALUES ($1, $2)";
    LATEST = "SELECT version, prices FROM price_books ORDER BY version DESC LIMIT 1";
    LIST = "SELECT version, prices FROM price_books ORDER BY version";
}

pub(crate) const IN_FORCE: &str = LATEST;

/// Before the first book is put, version 0 without prices is in force.
pub(crate) fn book(row: Option<&Row>) -> Result<PriceBook, StoreError> {
    let Some(row) = row else { return Ok(PriceBook::default()) };
    let mut c = row.columns();
    let version = c.count()?;
    let prices = serde_json::from_str(&c.text()?)
        .map_err(|error| StoreError::Corrupt { what: format!("price book {version}: {error}") })?;
    Ok(PriceBook { version, prices })
}

impl Store {
    /// The book in force.
    pub async fn price_book(&self) -> Result<PriceBook, StoreError> {
        book(self.database.rows(LATEST, values![]).await?.first())
    }

    /// Every book there ever was, by version.
    pub async fn price_books(&self) -> Result<Vec<PriceBook>, StoreError> {
        let rows = self.database.rows(LIST, values![]).await?;
        rows.iter().map(|row| book(Some(row))).collect()
    }

    /// Puts the next book in force. Its version is the one in force plus one; any other is a conflict.
    pub async fn price_book_put(&self, next: &PriceBook, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        put(&mut change, next).await?;
        change.commit(entry).await
    }
}

pub(crate) async fn put(change: &mut Change, next: &PriceBook) -> Result<(), StoreError> {
    let prices = serde_json::to_string(&next.prices)
        .map_err(|error| StoreError::Corrupt { what: format!("price book: {error}") })?;
    let in_force = book(change.rows(LATEST, values![]).await?.first())?;
    if Some(next.version) != in_force.version.checked_add(1) {
        return Err(StoreError::Conflict { what: "another version of the price book" });
    }
    change.run(INSERT, values![int(next.version, "the version of the price book")?, prices]).await?;
    Ok(())
}
