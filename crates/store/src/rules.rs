//! Policy rules as text. That a rule parses and only forbids where it must is checked by `policy` before it comes here.

use crate::database::{Columns, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::RuleId;
use types::audit::AuditEntry;
use types::snapshot::Rule;

macro_rules! select {
    () => {
        "SELECT id, tenant, name, text FROM rules "
    };
}

statements! {
    INSERT = "INSERT INTO rules (id, tenant, name, text) VALUES ($1, $2, $3, $4)";
    UPDATE = "UPDATE rules SET name = $2, text = $3 WHERE id = $1";
    DELETE = "DELETE FROM rules WHERE id = $1";
    ONE = concat!(select!(), "WHERE id = $1");
    LIST = concat!(select!(), "ORDER BY id");
}

pub(crate) const EVERY: &str = LIST;
const DOUBLED: &str = "a rule of this name";
const WHAT: &str = "this rule";

pub(crate) fn rule(mut c: Columns<'_>) -> Result<Rule, StoreError> {
    Ok(Rule { id: c.parsed()?, tenant: c.parsed_opt()?, name: c.text()?, text: c.text()? })
}

impl Store {
    /// Writes a new rule, or a new name and text for the rule of this id. A rule never changes its owner: then the rule
    /// of this id does not exist for the one who writes.
    pub async fn rule_put(&self, put: &Rule, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        let known = change.rows(ONE, values![put.id]).await?;
        let known = known.first().map(|row| rule(row.columns())).transpose()?;
        let written = match known {
            None => change.run(INSERT, values![put.id, put.tenant, &put.name, &put.text]).await,
            Some(known) if known.tenant == put.tenant => {
                change.run(UPDATE, values![put.id, &put.name, &put.text]).await
            }
            Some(_) => return Err(StoreError::NotFound { what: WHAT }),
        };
        written.map_err(|error| error.meaning(DOUBLED, "this tenant"))?;
        change.commit(entry).await
    }

    pub async fn rule_remove(&self, id: RuleId, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        change.run_on(WHAT, DELETE, values![id]).await?;
        change.commit(entry).await
    }

    pub async fn rules(&self) -> Result<Vec<Rule>, StoreError> {
        let rows = self.database.rows(LIST, values![]).await?;
        rows.iter().map(|row| rule(row.columns())).collect()
    }
}
