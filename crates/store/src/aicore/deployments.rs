//! Deployments: configurations that are callable. What may be done to one in which state is checked where it is written, so that
//! two who change it at once do not both succeed.

use super::Made;
use crate::database::{Columns, Session, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{ConfigurationId, DeploymentId, ProjectId, UnixMillis};

macro_rules! select {
    () => {
        "SELECT id, configuration, target, updated, created_at, modified_at FROM aicore_deployments
         WHERE project = $1 AND group_name = $2 "
    };
}

statements! {
    INSERT = "INSERT INTO aicore_deployments
              (id, project, group_name, configuration, target, updated, created_at, modified_at)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    COUNT = "SELECT COUNT(*) FROM aicore_deployments WHERE project = $1";
    ONE = concat!(select!(), "AND id = $3");
    LIST = concat!(select!(), "ORDER BY id");
    STOP = "UPDATE aicore_deployments SET target = 'STOPPED', updated = TRUE, modified_at = $4
            WHERE project = $1 AND group_name = $2 AND id = $3";
    CONFIGURE = "UPDATE aicore_deployments SET configuration = $4, updated = TRUE, modified_at = $5
                 WHERE project = $1 AND group_name = $2 AND id = $3 AND target = 'RUNNING'";
    DELETE = "DELETE FROM aicore_deployments
              WHERE project = $1 AND group_name = $2 AND id = $3 AND target = 'STOPPED'";
}

const WHAT: &str = "this deployment";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AicoreDeployment {
    pub id: DeploymentId,
    pub configuration: ConfigurationId,
    /// `RUNNING` or `STOPPED`.
    pub target: String,
    pub updated: bool,
    pub created_at: UnixMillis,
    pub modified_at: UnixMillis,
}

/// Whether the state of a deployment allowed a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    Yes,
    NotInThisState,
}

fn deployment(mut c: Columns<'_>) -> Result<AicoreDeployment, StoreError> {
    Ok(AicoreDeployment {
        id: c.parsed()?,
        configuration: c.parsed()?,
        target: c.text()?,
        updated: c.flag()?,
        created_at: UnixMillis(c.int()?),
        modified_at: UnixMillis(c.int()?),
    })
}

impl Store {
    /// `max` counts in the whole project.
    pub async fn aicore_deployment_create(
        &self,
        (project, group): (ProjectId, &str),
        new: &AicoreDeployment,
        max: u64,
    ) -> Result<Made, StoreError> {
        let Some(mut session) = self.aicore_room((project, group), COUNT, max).await? else {
            return Ok(Made::AtLimit);
        };
        let values = values![
            new.id,
            project,
            group,
            new.configuration,
            &new.target,
            new.updated,
            new.created_at,
            new.modified_at,
        ];
        session.run(INSERT, values).await?;
        session.commit().await?;
        Ok(Made::Yes)
    }

    /// Of one group, oldest first.
    pub async fn aicore_deployments(
        &self,
        (project, group): (ProjectId, &str),
    ) -> Result<Vec<AicoreDeployment>, StoreError> {
        let rows = self.database.rows(LIST, values![project, group]).await?;
        rows.iter().map(|row| deployment(row.columns())).collect()
    }

    /// None also where it is another project's or another group's.
    pub async fn aicore_deployment(
        &self,
        (project, group): (ProjectId, &str),
        id: DeploymentId,
    ) -> Result<Option<AicoreDeployment>, StoreError> {
        let rows = self.database.rows(ONE, values![project, group, id]).await?;
        rows.first().map(|row| deployment(row.columns())).transpose()
    }

    /// Stopping what is stopped changes nothing but its time.
    pub async fn aicore_deployment_stop(
        &self,
        (project, group): (ProjectId, &str),
        id: DeploymentId,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let mut session = self.aicore_write(project).await?;
        match session.run(STOP, values![project, group, id, now]).await? {
            0 => Err(StoreError::NotFound { what: WHAT }),
            _ => session.commit().await,
        }
    }

    /// Gives a running deployment another configuration.
    pub async fn aicore_deployment_configure(
        &self,
        (project, group): (ProjectId, &str),
        id: DeploymentId,
        configuration: ConfigurationId,
        now: UnixMillis,
    ) -> Result<Allowed, StoreError> {
        let mut session = self.aicore_write(project).await?;
        let touched = session.run(CONFIGURE, values![project, group, id, configuration, now]).await?;
        allowed(session, touched, (project, group), id).await
    }

    /// Deletes a stopped deployment.
    pub async fn aicore_deployment_delete(
        &self,
        (project, group): (ProjectId, &str),
        id: DeploymentId,
    ) -> Result<Allowed, StoreError> {
        let mut session = self.aicore_write(project).await?;
        let touched = session.run(DELETE, values![project, group, id]).await?;
        allowed(session, touched, (project, group), id).await
    }
}

/// The end of a change that only one state allows: a deployment that is there and was not touched is in another.
async fn allowed(
    mut session: Session,
    touched: u64,
    (project, group): (ProjectId, &str),
    id: DeploymentId,
) -> Result<Allowed, StoreError> {
    if touched > 0 {
        session.commit().await?;
        return Ok(Allowed::Yes);
    }
    match session.rows(ONE, values![project, group, id]).await?.is_empty() {
        true => Err(StoreError::NotFound { what: WHAT }),
        false => Ok(Allowed::NotInThisState),
    }
}
