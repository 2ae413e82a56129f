//! Endpoints: a model under one set of facts. They come into being with their first engine (see [`crate::engines`]) and
//! stay when the last one leaves, because receipts name them.

use crate::database::{Columns, Value, int, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::audit::AuditEntry;
use types::snapshot::Endpoint;
use types::{EndpointFacts, EndpointId, UnixMillis};

macro_rules! select {
    () => {
        "SELECT id, model, country, site, operator, provider, jurisdiction, retention, attestation, weights,
         context_length, output_tokens_max, created_at FROM endpoints "
    };
}

statements! {
    UPDATE = "UPDATE endpoints SET model = $2, country = $3, site = $4, operator = $5, provider = $6,
              jurisdiction = $7, retention = $8, attestation = $9, weights = $10, context_length = $11,
              output_tokens_max = $12 WHERE id = $1";
    ONE = concat!(select!(), "WHERE id = $1");
    LIST = concat!(select!(), "ORDER BY id");
}

pub(crate) const EVERY: &str = LIST;
const DOUBLED: &str = "an endpoint of this model with these facts";
const WHAT: &str = "this endpoint";

pub(crate) fn endpoint(mut c: Columns<'_>) -> Result<Endpoint, StoreError> {
    Ok(Endpoint {
        id: c.parsed()?,
        model: c.text()?,
        facts: EndpointFacts {
            country: c.parsed()?,
            site: c.text()?,
            operator: c.text()?,
            provider: c.text()?,
            jurisdiction: c.parsed()?,
            retention: c.parsed()?,
            attestation: c.text()?,
        },
        weights: c.text_opt()?,
        context_length: c.count()?,
        output_tokens_max: c.count()?,
        created_at: UnixMillis(c.int()?),
    })
}

/// Id, model and facts: the first nine columns, and what makes two endpoints the same but for the id.
pub(crate) fn identity(of: &Endpoint) -> Vec<Value> {
    let facts = &of.facts;
    values![
        of.id,
        &of.model,
        facts.country.as_str(),
        &facts.site,
        &facts.operator,
        &facts.provider,
        facts.jurisdiction.as_str(),
        facts.retention.as_str(),
        &facts.attestation,
    ]
}

pub(crate) fn sizes(of: &Endpoint) -> Result<Vec<Value>, StoreError> {
    Ok(values![
        &of.weights,
        int(of.context_length, "the context length")?,
        int(of.output_tokens_max, "the limit of output tokens")?,
    ])
}

impl Store {
    pub async fn endpoints(&self) -> Result<Vec<Endpoint>, StoreError> {
        let rows = self.database.rows(LIST, values![]).await?;
        rows.iter().map(|row| endpoint(row.columns())).collect()
    }

    pub async fn endpoint(&self, id: EndpointId) -> Result<Option<Endpoint>, StoreError> {
        let rows = self.database.rows(ONE, values![id]).await?;
        rows.first().map(|row| endpoint(row.columns())).transpose()
    }

    /// Sets everything but the time of creation. Facts that equal another endpoint's are a conflict.
    pub async fn endpoint_update(&self, to: &Endpoint, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut values = identity(to);
        values.extend(sizes(to)?);
        let mut change = self.change().await?;
        change.run_on(WHAT, UPDATE, values).await.map_err(|error| error.meaning(DOUBLED, WHAT))?;
        change.commit(entry).await
    }
}
