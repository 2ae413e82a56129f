//! Resource groups: named parts of a project, with configurations and deployments of their own. Keys, budgets and policy are the
//! project's.

use super::{DEFAULT_GROUP, Made, need_group};
use crate::database::{Columns, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{ProjectId, UnixMillis};

statements! {
    INSERT = "INSERT INTO aicore_groups (project, name, labels, created_at) VALUES ($1, $2, $3, $4)";
    COUNT = "SELECT COUNT(*) FROM aicore_groups WHERE project = $1";
    ONE = "SELECT name, labels, created_at FROM aicore_groups WHERE project = $1 AND name = $2";
    LIST = "SELECT name, labels, created_at FROM aicore_groups WHERE project = $1 ORDER BY name";
    LABEL = "UPDATE aicore_groups SET labels = $3 WHERE project = $1 AND name = $2";
    DELETE = "DELETE FROM aicore_groups WHERE project = $1 AND name = $2";
    DELETE_DEPLOYMENTS = "DELETE FROM aicore_deployments WHERE project = $1 AND group_name = $2";
    DELETE_CONFIGURATIONS = "DELETE FROM aicore_configurations WHERE project = $1 AND group_name = $2";
}

pub(super) const WHAT: &str = "this resource group";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AicoreGroup {
    pub name: String,
    /// JSON, as the client sent it.
    pub labels: String,
    pub created_at: UnixMillis,
}

fn group(mut c: Columns<'_>) -> Result<AicoreGroup, StoreError> {
    Ok(AicoreGroup { name: c.text()?, labels: c.text()?, created_at: UnixMillis(c.int()?) })
}

impl Store {
    /// `max` counts beside the default group.
    pub async fn aicore_group_create(
        &self,
        project: ProjectId,
        new: &AicoreGroup,
        max: u64,
    ) -> Result<Made, StoreError> {
        const DOUBLED: StoreError = StoreError::Conflict { what: "a resource group of this id" };
        if new.name == DEFAULT_GROUP {
            return Err(DOUBLED);
        }
        let mut session = self.aicore_write(project).await?;
        if !session.rows(ONE, values![project, &new.name]).await?.is_empty() {
            return Err(DOUBLED);
        }
        if session.number(COUNT, values![project]).await? >= max {
            return Ok(Made::AtLimit);
        }
        session.run(INSERT, values![project, &new.name, &new.labels, new.created_at]).await?;
        session.commit().await?;
        Ok(Made::Yes)
    }

    /// By name; the default group, which has no row, is not among them.
    pub async fn aicore_groups(&self, project: ProjectId) -> Result<Vec<AicoreGroup>, StoreError> {
        let rows = self.database.rows(LIST, values![project]).await?;
        rows.iter().map(|row| group(row.columns())).collect()
    }

    pub async fn aicore_group(&self, project: ProjectId, name: &str) -> Result<Option<AicoreGroup>, StoreError> {
        let rows = self.database.rows(ONE, values![project, name]).await?;
        rows.first().map(|row| group(row.columns())).transpose()
    }

    pub async fn aicore_group_label(&self, project: ProjectId, name: &str, labels: &str) -> Result<(), StoreError> {
        let mut session = self.aicore_write(project).await?;
        need_group(&mut session, project, name).await?;
        session.run(LABEL, values![project, name, labels]).await?;
        session.commit().await
    }

    /// Deletes a group with its configurations and deployments.
    pub async fn aicore_group_delete(&self, project: ProjectId, name: &str) -> Result<(), StoreError> {
        let mut session = self.aicore_write(project).await?;
        if session.run(DELETE, values![project, name]).await? == 0 {
            return Err(StoreError::NotFound { what: WHAT });
        }
        session.run(DELETE_DEPLOYMENTS, values![project, name]).await?;
        session.run(DELETE_CONFIGURATIONS, values![project, name]).await?;
        session.commit().await
    }
}
