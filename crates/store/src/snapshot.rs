//! Reads the snapshot as one moment: all its statements run in one transaction that sees one state of the database
//! (SQLite: a read transaction over the write-ahead log; PostgreSQL: REPEATABLE READ), so no gateway ever admits on half
//! a change. Nothing is written here.

use crate::database::values;
use crate::statements::statements;
use crate::{Store, StoreError, endpoints, engines, keys, prices, projects, rules, tenants};
use types::Snapshot;

statements! {
    VERSION = "SELECT value FROM counters WHERE name = 'snapshot'";
}

impl Store {
    /// Everything that admission and routing read, with the version of the last change that it shows.
    pub async fn snapshot(&self, site: &str) -> Result<Snapshot, StoreError> {
        let mut at = self.database.read().await?;
        let version = at.number(VERSION, values![]).await?;
        let tenants = at.rows(tenants::EVERY, values![]).await?;
        let projects = at.rows(projects::EVERY, values![]).await?;
        let keys = at.rows(keys::EVERY, values![]).await?;
        let endpoints = at.rows(endpoints::EVERY, values![]).await?;
        let engines = at.rows(engines::EVERY, values![]).await?;
        let rules = at.rows(rules::EVERY, values![]).await?;
        let price_book = at.rows(prices::IN_FORCE, values![]).await?;
        at.commit().await?;
        Ok(Snapshot {
            version,
            site: site.to_owned(),
            tenants: tenants.iter().map(|row| tenants::tenant(row.columns())).collect::<Result<_, _>>()?,
            projects: projects.iter().map(|row| projects::project(row.columns())).collect::<Result<_, _>>()?,
            keys: keys.iter().map(|row| keys::key(row.columns())).collect::<Result<_, _>>()?,
            endpoints: endpoints.iter().map(|row| endpoints::endpoint(row.columns())).collect::<Result<_, _>>()?,
            engines: engines.iter().map(|row| engines::engine(row.columns())).collect::<Result<_, _>>()?,
            rules: rules.iter().map(|row| rules::rule(row.columns())).collect::<Result<_, _>>()?,
            price_book: prices::book(price_book.first())?,
        })
    }

    /// The version of the last change.
    pub async fn snapshot_version(&self) -> Result<u64, StoreError> {
        let rows = self.database.rows(VERSION, values![]).await?;
        let row = rows.first().ok_or_else(|| StoreError::Corrupt { what: "a counter is missing".to_owned() })?;
        row.columns().count()
    }
}
