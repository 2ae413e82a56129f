//! Configurations: an executable and its parameters, written once and never changed.

use super::Made;
use crate::database::{Columns, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{ConfigurationId, ProjectId, UnixMillis};

macro_rules! select {
    () => {
        "SELECT id, name, executable, parameters, created_at FROM aicore_configurations
         WHERE project = $1 AND group_name = $2 "
    };
}

statements! {
    INSERT = "INSERT INTO aicore_configurations (id, project, group_name, name, executable, parameters, created_at)
              VALUES ($1, $2, $3, $4, $5, $6, $7)";
    COUNT = "SELECT COUNT(*) FROM aicore_configurations WHERE project = $1";
    ONE = concat!(select!(), "AND id = $3");
    LIST = concat!(select!(), "ORDER BY id");
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AicoreConfiguration {
    pub id: ConfigurationId,
    pub name: String,
    /// SAP's id of it.
    pub executable: String,
    /// JSON: `[["key","value"]]`.
    pub parameters: String,
    pub created_at: UnixMillis,
}

fn configuration(mut c: Columns<'_>) -> Result<AicoreConfiguration, StoreError> {
    Ok(AicoreConfiguration {
        id: c.parsed()?,
        name: c.text()?,
        executable: c.text()?,
        parameters: c.text()?,
        created_at: UnixMillis(c.int()?),
    })
}

impl Store {
    /// `max` counts in the whole project.
    pub async fn aicore_configuration_create(
        &self,
        (project, group): (ProjectId, &str),
        new: &AicoreConfiguration,
        max: u64,
    ) -> Result<Made, StoreError> {
        let Some(mut session) = self.aicore_room((project, group), COUNT, max).await? else {
            return Ok(Made::AtLimit);
        };
        let values = values![new.id, project, group, &new.name, &new.executable, &new.parameters, new.created_at];
        session.run(INSERT, values).await?;
        session.commit().await?;
        Ok(Made::Yes)
    }

    /// Of one group, oldest first.
    pub async fn aicore_configurations(
        &self,
        (project, group): (ProjectId, &str),
    ) -> Result<Vec<AicoreConfiguration>, StoreError> {
        let rows = self.database.rows(LIST, values![project, group]).await?;
        rows.iter().map(|row| configuration(row.columns())).collect()
    }

    /// None also where it is another project's or another group's.
    pub async fn aicore_configuration(
        &self,
        (project, group): (ProjectId, &str),
        id: ConfigurationId,
    ) -> Result<Option<AicoreConfiguration>, StoreError> {
        let rows = self.database.rows(ONE, values![project, group, id]).await?;
        rows.first().map(|row| configuration(row.columns())).transpose()
    }
}
