//! Engines: each is one replica of the endpoint whose model and facts it shares.

use crate::change::Change;
use crate::database::{Columns, Value, values};
use crate::endpoints::{identity, sizes};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::audit::AuditEntry;
use types::snapshot::{Endpoint, Engine, EngineKind, PriceBook};
use types::{EndpointId, EngineId};

macro_rules! select {
    () => {
        "SELECT id, endpoint, url, kind, model_alias, credential, cordoned, slots FROM engines "
    };
}

statements! {
    INSERT_ENDPOINT = "INSERT INTO endpoints
                       (id, model, country, site, operator, provider, jurisdiction, retention, attestation, weights,
                       context_length, output_tokens_max, created_at)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
    FIND_ENDPOINT = "SELECT id FROM endpoints WHERE model = $1 AND country = $2 AND site = $3 AND operator = $4
                     AND provider = $5 AND jurisdiction = $6 AND retention = $7 AND attestation = $8";
    INSERT = "INSERT INTO engines (id, endpoint, url, kind, model_alias, credential, cordoned, slots)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    UPDATE = "UPDATE engines SET endpoint = $2, url = $3, kind = $4, model_alias = $5, credential = $6, cordoned = $7,
              slots = $8 WHERE id = $1";
    DELETE = "DELETE FROM engines WHERE id = $1";
    ONE = concat!(select!(), "WHERE id = $1");
    LIST = concat!(select!(), "ORDER BY id");
}

pub(crate) const EVERY: &str = LIST;
const DOUBLED: &str = "an engine with this URL for this endpoint";
const WHAT: &str = "this engine";

fn kind(text: &str) -> Result<EngineKind, StoreError> {
    let known = EngineKind::ALL.into_iter().find(|kind| kind.as_str() == text);
    known.ok_or_else(|| StoreError::Corrupt { what: format!("an engine of kind {text}") })
}

pub(crate) fn engine(mut c: Columns<'_>) -> Result<Engine, StoreError> {
    Ok(Engine {
        id: c.parsed()?,
        endpoint: c.parsed()?,
        url: c.text()?,
        kind: kind(&c.text()?)?,
        model_alias: c.text_opt()?,
        credential: c.text_opt()?,
        cordoned: c.flag()?,
        slots: u32::try_from(c.count()?)
            .map_err(|_| StoreError::Corrupt { what: "the slots of an engine".to_owned() })?,
    })
}

fn engine_values(engine: &Engine, endpoint: EndpointId) -> Vec<Value> {
    values![
        engine.id,
        endpoint,
        &engine.url,
        engine.kind.as_str(),
        &engine.model_alias,
        &engine.credential,
        engine.cordoned,
        i64::from(engine.slots),
    ]
}

async fn add(change: &mut Change, endpoint: &Endpoint, engine: &Engine) -> Result<EndpointId, StoreError> {
    let mut new_endpoint = identity(endpoint);
    let facts = new_endpoint[1..].to_vec();
    new_endpoint.extend(sizes(endpoint)?);
    new_endpoint.extend(values![endpoint.created_at]);
    let serves = match change.rows(FIND_ENDPOINT, facts).await?.first() {
        Some(row) => row.columns().parsed()?,
        None => {
            let inserted = change.run(INSERT_ENDPOINT, new_endpoint).await;
            inserted.map_err(|error| error.meaning("an endpoint of this id", WHAT))?;
            endpoint.id
        }
    };
    let inserted = change.run(INSERT, engine_values(engine, serves)).await;
    inserted.map_err(|error| error.meaning(DOUBLED, "this endpoint"))?;
    Ok(serves)
}

impl Store {
    /// Adds an engine to the endpoint that has this model and these facts, and makes that endpoint if there is none.
    /// Answers the endpoint that the engine now serves; `engine.endpoint` is not read.
    pub async fn engine_add(
        &self,
        endpoint: &Endpoint,
        engine: &Engine,
        entry: &AuditEntry,
    ) -> Result<EndpointId, StoreError> {
        let mut change = self.change().await?;
        let serves = add(&mut change, endpoint, engine).await?;
        change.commit(entry).await?;
        Ok(serves)
    }

    /// An engine together with the price book that has its price; without an engine only the book.
    pub async fn engine_offer(
        &self,
        new: Option<(&Endpoint, &Engine)>,
        book: &PriceBook,
        entry: &AuditEntry,
    ) -> Result<Option<EndpointId>, StoreError> {
        let mut change = self.change().await?;
        let serves = match new {
            Some((endpoint, engine)) => Some(add(&mut change, endpoint, engine).await?),
            None => None,
        };
        crate::prices::put(&mut change, book).await?;
        change.commit(entry).await?;
        Ok(serves)
    }

    pub async fn engines(&self) -> Result<Vec<Engine>, StoreError> {
        let rows = self.database.rows(LIST, values![]).await?;
        rows.iter().map(|row| engine(row.columns())).collect()
    }

    pub async fn engine(&self, id: EngineId) -> Result<Option<Engine>, StoreError> {
        let rows = self.database.rows(ONE, values![id]).await?;
        rows.first().map(|row| engine(row.columns())).transpose()
    }

    pub async fn engine_update(&self, to: &Engine, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        let updated = change.run_on(WHAT, UPDATE, engine_values(to, to.endpoint)).await;
        updated.map_err(|error| match error {
            StoreError::Conflict { .. } => StoreError::Conflict { what: DOUBLED },
            other => other,
        })?;
        change.commit(entry).await
    }

    pub async fn engine_remove(&self, id: EngineId, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        change.run_on(WHAT, DELETE, values![id]).await?;
        change.commit(entry).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_read_back() {
        for one in EngineKind::ALL {
            assert_eq!(kind(one.as_str()).unwrap(), one);
            assert_eq!(serde_json::to_string(&one).unwrap(), format!("\"{}\"", one.as_str()));
        }
        assert!(kind("x").is_err());
    }
}
