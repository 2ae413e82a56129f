//! What clients of SAP's AI Core make in a project: resource groups ([`groups`]), configurations ([`configurations`]) and
//! deployments ([`deployments`]). Admission reads none of it, so it moves no snapshot and has no audit entry.
//!
//! Every write takes the project's row first: so two writes of one project run one after the other on PostgreSQL as they do on
//! SQLite, a limit is counted by one at a time, and nothing is made in a group while it is deleted.
//!
//! If we crash before a commit, nothing of the call is true; after it, all of it.

pub(crate) mod configurations;
pub(crate) mod deployments;
pub(crate) mod groups;

use crate::database::{Session, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::ProjectId;

/// The group that is the project itself, and is always there.
pub const DEFAULT_GROUP: &str = "default";

/// Whether something was made, or the project has as many as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    Yes,
    AtLimit,
}

statements! {
    LOCK = "UPDATE projects SET name = name WHERE id = $1";
    HAS_GROUP = "SELECT COUNT(*) FROM aicore_groups WHERE project = $1 AND name = $2";
}

impl Store {
    /// A transaction in which nobody else writes for this project.
    async fn aicore_write(&self, project: ProjectId) -> Result<Session, StoreError> {
        let mut session = self.database.write().await?;
        match session.run(LOCK, values![project]).await? {
            0 => Err(StoreError::NotFound { what: "this project" }),
            _ => Ok(session),
        }
    }

    /// A transaction in which one more may be made in this group. None: the project has as many as `count` may find.
    async fn aicore_room(
        &self,
        (project, group): (ProjectId, &str),
        count: &'static str,
        max: u64,
    ) -> Result<Option<Session>, StoreError> {
        let mut session = self.aicore_write(project).await?;
        need_group(&mut session, project, group).await?;
        let room = session.number(count, values![project]).await? < max;
        Ok(room.then_some(session))
    }
}

/// Within a write: whether there is such a group.
async fn need_group(session: &mut Session, project: ProjectId, group: &str) -> Result<(), StoreError> {
    if group == DEFAULT_GROUP || session.number(HAS_GROUP, values![project, group]).await? > 0 {
        return Ok(());
    }
    Err(StoreError::NotFound { what: groups::WHAT })
}
