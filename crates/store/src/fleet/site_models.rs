//! Site files that were applied; the newest is the site.

use crate::change::Change;
use crate::database::{int, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::UnixMillis;

statements! {
    LAST = "SELECT version, text, serials, digest, applied_at FROM site_models ORDER BY version DESC LIMIT 1";
    VERSION = "SELECT COALESCE(MAX(version), 0) FROM site_models";
    INSERT = "INSERT INTO site_models (version, text, serials, digest, applied_at) VALUES ($1, $2, $3, $4, $5)";
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteModel {
    pub version: u64,
    pub text: String,
    /// The CSV that the file names, if it names one.
    pub serials: Option<String>,
    /// `sha256:<hex>` of the text.
    pub digest: String,
    pub applied_at: UnixMillis,
}

pub(crate) async fn insert(
    change: &mut Change,
    (text, serials): (&str, Option<&str>),
    digest: &str,
    at: UnixMillis,
) -> Result<u64, StoreError> {
    let last = change.rows(LAST, values![]).await?;
    let version = last.first().map(|row| row.columns().count()).transpose()?.unwrap_or(0) + 1;
    change.run(INSERT, values![int(version, "a version")?, text, serials.map(str::to_owned), digest, at]).await?;
    Ok(version)
}

impl Store {
    /// Of the site that is applied; 0 where there is none.
    pub async fn site_version(&self) -> Result<u64, StoreError> {
        let rows = self.database.rows(VERSION, values![]).await?;
        rows.first().map_or(Ok(0), |row| row.columns().count())
    }

    pub async fn site_model(&self) -> Result<Option<SiteModel>, StoreError> {
        let rows = self.database.rows(LAST, values![]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut c = row.columns();
        Ok(Some(SiteModel {
            version: c.count()?,
            text: c.text()?,
            serials: c.text_opt()?,
            digest: c.text()?,
            applied_at: UnixMillis(c.int()?),
        }))
    }
}
