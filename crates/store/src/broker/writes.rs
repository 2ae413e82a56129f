//! Writing what was decided about an instance or a binding: row, tenant, project, keys and audit entry, all or nothing.

use super::slots::{INSTANCE, TOMBSTONE};
use crate::change::Change;
use crate::database::{int, values};
use crate::statements::statements;
use crate::{Store, StoreError, keys, projects, tenants};
use types::audit::AuditEntry;
use types::snapshot::{Key, Project, Tenant};
use types::{BrokerId, KeyId, OperationId, ProjectId, UnixMillis};

statements! {
    INSERT = "INSERT INTO broker_instances (broker, id, project, operation, version, body) VALUES ($1, $2, $3, $4, 1, $5)";
    UPDATE = "UPDATE broker_instances SET project = $3, operation = $4, body = $5, version = version + 1
              WHERE broker = $1 AND id = $2 AND version = $6";
    DELETE = "DELETE FROM broker_instances WHERE broker = $1 AND id = $2 AND version = $3";
    INSERT_BINDING = "INSERT INTO broker_bindings (broker, instance, id, key, body) VALUES ($1, $2, $3, $4, $5)";
    DELETE_BINDING = "DELETE FROM broker_bindings WHERE broker = $1 AND instance = $2 AND id = $3";
    DELETE_BINDINGS = "DELETE FROM broker_bindings WHERE broker = $1 AND instance = $2";
    BINDING_THERE = "SELECT id FROM broker_bindings WHERE broker = $1 AND instance = $2 AND id = $3";
    INSERT_TENANT = "INSERT INTO broker_tenants (broker, subaccount, tenant) VALUES ($1, $2, $3)";
    BURY = "INSERT INTO broker_tombstones (broker, instance, binding, operation, until) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (broker, instance, binding) DO UPDATE SET operation = excluded.operation, until = excluded.until";
    RISE = "DELETE FROM broker_tombstones WHERE broker = $1 AND instance = $2 AND binding = $3";
    SWEEP = "DELETE FROM broker_tombstones WHERE until <= $1";
    /// Takes the lock of a change without being one.
    LOCK = "UPDATE counters SET value = value WHERE name = 'snapshot'";
}

const MOVED: &str = "a newer state of this instance";

/// A write about one instance of one platform.
#[derive(Debug, Clone)]
pub struct BrokerWrite<'a> {
    pub broker: BrokerId,
    pub instance: &'a str,
    /// What the decision was read from: the instance's version, or that there was none.
    pub read: Option<u64>,
    pub now: UnixMillis,
}

/// What becomes of an instance.
#[derive(Debug, Clone)]
pub enum InstanceWrite<'a> {
    Put {
        body: &'a str,
        project: Option<ProjectId>,
        operation: Option<OperationId>,
    },
    /// With its bindings.
    Gone {
        until: UnixMillis,
        operation: Option<OperationId>,
    },
}

/// What becomes of its project.
#[derive(Debug, Clone)]
pub enum ProjectWrite<'a> {
    Nothing,
    /// Made, with the tenant that it needs and that customer's name, if there is none yet.
    Make {
        project: &'a Project,
        tenant: Option<(&'a Tenant, &'a str)>,
    },
    Change(&'a Project),
    /// No key of it works any more, and none is made: it is closed.
    End(ProjectId),
}

/// What becomes of a binding.
#[derive(Debug, Clone)]
pub enum BindingWrite<'a> {
    Make {
        body: &'a str,
        key: &'a Key,
    },
    /// The key is revoked.
    Gone {
        key: KeyId,
        until: UnixMillis,
    },
}

impl BrokerWrite<'_> {
    /// Looks again, under the lock, whether what was read still holds.
    async fn holds(&self, change: &mut Change) -> Result<(), StoreError> {
        let rows = change.rows(INSTANCE, values![self.broker, self.instance]).await?;
        let version = rows.first().map(|row| row.columns_from(2).count()).transpose()?;
        if version != self.read {
            return Err(StoreError::Conflict { what: MOVED });
        }
        Ok(())
    }

    async fn not_buried(&self, change: &mut Change, binding: &str) -> Result<(), StoreError> {
        let rows = change.rows(TOMBSTONE, values![self.broker, self.instance, binding]).await?;
        let until = rows.first().map(|row| row.columns().int()).transpose()?;
        if until.is_some_and(|until| until > self.now.0) {
            return Err(StoreError::Conflict { what: MOVED });
        }
        change.run(RISE, values![self.broker, self.instance, binding]).await?;
        Ok(())
    }
}

impl Store {
    /// An instance and its project. A conflict means: read and decide again.
    pub async fn broker_instance_write(
        &self,
        at: &BrokerWrite<'_>,
        row: &InstanceWrite<'_>,
        project: &ProjectWrite<'_>,
        entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        at.holds(&mut change).await?;
        let moved = |error: StoreError| error.meaning(MOVED, "what this instance refers to");
        match project {
            ProjectWrite::Nothing => {}
            ProjectWrite::Make { project, tenant } => {
                if let Some((tenant, subaccount)) = tenant {
                    let values = values![tenant.id, &tenant.name, tenant.budget];
                    change.run(tenants::INSERT, values).await.map_err(moved)?;
                    change.run(INSERT_TENANT, values![at.broker, *subaccount, tenant.id]).await.map_err(moved)?;
                }
                change.run(projects::INSERT, projects::insert_values(project)?).await.map_err(moved)?;
            }
            ProjectWrite::Change(project) => {
                projects::open(&mut change, project.id).await?;
                change.run_on("this project", projects::UPDATE, projects::update_values(project)?).await?;
            }
            ProjectWrite::End(project) => {
                change.run(keys::END_OF, values![*project]).await?;
                change.run(projects::CLOSE, values![*project, at.now]).await?;
            }
        }
        match row {
            InstanceWrite::Put { body, project, operation } => match at.read {
                None => {
                    at.not_buried(&mut change, "").await?;
                    let values = values![at.broker, at.instance, *project, *operation, *body];
                    change.run(INSERT, values).await.map_err(moved)?;
                }
                Some(version) => {
                    let version = int(version, "a version")?;
                    let values = values![at.broker, at.instance, *project, *operation, *body, version];
                    change.run(UPDATE, values).await.map_err(moved)?;
                }
            },
            InstanceWrite::Gone { until, operation } => {
                let version = int(at.read.unwrap_or_default(), "a version")?;
                change.run(DELETE_BINDINGS, values![at.broker, at.instance]).await?;
                change.run(DELETE, values![at.broker, at.instance, version]).await?;
                change.run(SWEEP, values![at.now]).await?;
                change.run(BURY, values![at.broker, at.instance, "", *operation, *until]).await?;
            }
        }
        change.commit(entry).await
    }

    /// A binding and its key. A conflict means: read and decide again.
    pub async fn broker_binding_write(
        &self,
        at: &BrokerWrite<'_>,
        binding: &str,
        row: &BindingWrite<'_>,
        entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        let moved = |error: StoreError| error.meaning("a newer state of this binding", "what this binding refers to");
        match row {
            BindingWrite::Make { body, key } => {
                at.holds(&mut change).await?;
                at.not_buried(&mut change, binding).await?;
                projects::open(&mut change, key.project).await?;
                change.run(keys::INSERT, keys::insert_values(key)?).await.map_err(moved)?;
                let values = values![at.broker, at.instance, binding, key.id, *body];
                change.run(INSERT_BINDING, values).await.map_err(moved)?;
            }
            BindingWrite::Gone { key, until } => {
                let deleted = change.run(DELETE_BINDING, values![at.broker, at.instance, binding]).await?;
                if deleted == 0 {
                    return Err(StoreError::Conflict { what: "a newer state of this binding" });
                }
                change.run(keys::END, values![*key]).await?;
                change.run(SWEEP, values![at.now]).await?;
                change.run(BURY, values![at.broker, at.instance, binding, None::<OperationId>, *until]).await?;
            }
        }
        change.commit(entry).await
    }

    /// A tombstone for what was never there: whatever was overtaken makes nothing. `binding` is empty for an instance. Nothing
    /// of the site changes by it, so there is no audit entry. A conflict means: there is something now; read and decide again.
    pub async fn broker_bury(
        &self,
        at: &BrokerWrite<'_>,
        binding: &str,
        until: UnixMillis,
        operation: Option<OperationId>,
    ) -> Result<(), StoreError> {
        let mut session = self.database.write().await?;
        session.run(LOCK, values![]).await?;
        let there = match binding {
            "" => session.rows(INSTANCE, values![at.broker, at.instance]).await?,
            binding => session.rows(BINDING_THERE, values![at.broker, at.instance, binding]).await?,
        };
        if !there.is_empty() {
            return Err(StoreError::Conflict { what: MOVED });
        }
        session.run(SWEEP, values![at.now]).await?;
        session.run(BURY, values![at.broker, at.instance, binding, operation, until]).await?;
        session.commit().await
    }
}
