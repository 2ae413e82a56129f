//! Projects. A project keeps its tenant and its commitment key for life: receipts are bound to both. One is closed when the
//! instance that it was is deleted ([`crate::ProjectWrite::End`]); nothing opens it again.

use crate::change::Change;
use crate::database::{Columns, Value, int, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::audit::AuditEntry;
use types::snapshot::{Limits, Project};
use types::{ProjectId, TenantId, UnixMillis};

macro_rules! select {
    () => {
        "SELECT id, tenant, name, class, country, budget, requests_per_minute, tokens_per_minute, commitment_key
         FROM projects "
    };
}

statements! {
    INSERT = "INSERT INTO projects
              (id, tenant, name, class, country, budget, requests_per_minute, tokens_per_minute, commitment_key)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    UPDATE = "UPDATE projects SET name = $3, class = $4, country = $5, budget = $6, requests_per_minute = $7,
              tokens_per_minute = $8 WHERE id = $1 AND tenant = $2";
    ONE = concat!(select!(), "WHERE id = $1");
    LIST = concat!(select!(), "ORDER BY id");
    LIST_OF = concat!(select!(), "WHERE tenant = $1 ORDER BY id");
    CLOSE = "UPDATE projects SET closed_at = $2 WHERE id = $1 AND closed_at IS NULL";
    CLOSED_AT = "SELECT closed_at FROM projects WHERE id = $1";
    CLOSED = "SELECT id, closed_at FROM projects WHERE closed_at IS NOT NULL ORDER BY id";
    /// Takes a project's row, so that those who write in one project wait for each other, on PostgreSQL too: what they counted
    /// before they inserted still holds when they commit. References to the project do not wait.
    LOCK = "UPDATE projects SET name = name WHERE id = $1";
    /// The same for one who makes something new: of a closed project there is nothing to take.
    LOCK_OPEN = "UPDATE projects SET name = name WHERE id = $1 AND closed_at IS NULL";
}

pub(crate) const EVERY: &str = LIST;
const DOUBLED: &str = "a project of this name";
const WHAT: &str = "this project";
const ENDED: &str = "an end of this project";

/// Within a change: refuses what would be made in a closed project.
pub(crate) async fn open(change: &mut Change, id: ProjectId) -> Result<(), StoreError> {
    let rows = change.rows(CLOSED_AT, values![id]).await?;
    match rows.first().map(|row| row.columns().time_opt()).transpose()?.flatten() {
        Some(_) => Err(StoreError::Conflict { what: ENDED }),
        None => Ok(()),
    }
}

pub(crate) fn project(mut c: Columns<'_>) -> Result<Project, StoreError> {
    Ok(Project {
        id: c.parsed()?,
        tenant: c.parsed()?,
        name: c.text()?,
        class: c.parsed()?,
        country: c.parsed_opt()?,
        budget: c.money_opt()?,
        limits: limits(&mut c)?,
        commitment_key: c.text()?,
    })
}

pub(crate) fn limits(c: &mut Columns<'_>) -> Result<Limits, StoreError> {
    Ok(Limits { requests_per_minute: c.count_opt()?, tokens_per_minute: c.count_opt()? })
}

pub(crate) fn tokens_per_minute(limits: &Limits) -> Result<Option<i64>, StoreError> {
    limits.tokens_per_minute.map(|tokens| int(tokens, "the limit of tokens per minute")).transpose()
}

/// All but the commitment key, which is for life.
pub(crate) fn update_values(to: &Project) -> Result<Vec<Value>, StoreError> {
    Ok(values![
        to.id,
        to.tenant,
        &to.name,
        to.class.as_str(),
        to.country.map(|country| country.to_string()),
        to.budget,
        to.limits.requests_per_minute,
        tokens_per_minute(&to.limits)?,
    ])
}

pub(crate) fn insert_values(new: &Project) -> Result<Vec<Value>, StoreError> {
    let mut values = update_values(new)?;
    values.push(Value::from(&new.commitment_key));
    Ok(values)
}

impl Store {
    pub async fn project_create(&self, new: &Project, entry: &AuditEntry) -> Result<(), StoreError> {
        let values = insert_values(new)?;
        let mut change = self.change().await?;
        change.run(INSERT, values).await.map_err(|error| error.meaning(DOUBLED, "this tenant"))?;
        change.commit(entry).await
    }

    pub async fn project(&self, id: ProjectId) -> Result<Option<Project>, StoreError> {
        let rows = self.database.rows(ONE, values![id]).await?;
        rows.first().map(|row| project(row.columns())).transpose()
    }

    /// Of one tenant or of all, by id.
    pub async fn projects(&self, of: Option<TenantId>) -> Result<Vec<Project>, StoreError> {
        let rows = match of {
            Some(of) => self.database.rows(LIST_OF, values![of]).await?,
            None => self.database.rows(LIST, values![]).await?,
        };
        rows.iter().map(|row| project(row.columns())).collect()
    }

    /// Sets name, class, country, budget and limits.
    pub async fn project_update(&self, to: &Project, entry: &AuditEntry) -> Result<(), StoreError> {
        let values = update_values(to)?;
        let mut change = self.change().await?;
        open(&mut change, to.id).await?;
        change.run_on(WHAT, UPDATE, values).await.map_err(|error| error.meaning(DOUBLED, WHAT))?;
        change.commit(entry).await
    }

    /// Since when a project is closed. None: it is open, or there is none.
    pub async fn project_closed(&self, id: ProjectId) -> Result<Option<UnixMillis>, StoreError> {
        let rows = self.database.rows(CLOSED_AT, values![id]).await?;
        Ok(rows.first().map(|row| row.columns().time_opt()).transpose()?.flatten())
    }

    /// All closed ones, by id, and since when.
    pub async fn projects_closed(&self) -> Result<Vec<(ProjectId, UnixMillis)>, StoreError> {
        let rows = self.database.rows(CLOSED, values![]).await?;
        let pair = |row: &crate::database::Row| {
            let mut c = row.columns();
            Ok((c.parsed()?, UnixMillis(c.int()?)))
        };
        rows.iter().map(pair).collect()
    }
}
