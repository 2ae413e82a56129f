//! Finding things for a caller: what is unknown and what belongs to somebody else is answered in the same words.
//!
//! Every lookup by an id that a caller brought goes through here, so that no handler can forget the owner.

use crate::access::Caller;
use crate::{Controller, Problem};
use types::snapshot::{Key, Project, Tenant};
use types::{KeyId, ProjectId, TenantId};

impl Controller {
    pub(super) async fn tenant(&self, caller: &Caller, id: TenantId) -> Result<Tenant, Problem> {
        let tenant = self.store().tenant(id).await?.ok_or_else(Problem::not_found)?;
        caller.require(Some(tenant.id))?;
        Ok(tenant)
    }

    pub(super) async fn project(&self, caller: &Caller, id: ProjectId) -> Result<Project, Problem> {
        let project = self.store().project(id).await?.ok_or_else(Problem::not_found)?;
        caller.require(Some(project.tenant))?;
        Ok(project)
    }

    pub(super) async fn key(&self, caller: &Caller, id: KeyId) -> Result<(Key, Project), Problem> {
        let key = self.store().key(id).await?.ok_or_else(Problem::not_found)?;
        let project = self.project(caller, key.project).await?;
        Ok((key, project))
    }
}
