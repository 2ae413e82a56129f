//! Reading what is stored under a platform's ids.

use crate::database::{Columns, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{BrokerId, KeyId, OperationId, ProjectId, TenantId, UnixMillis};

macro_rules! select {
    () => {
        "SELECT i.broker, i.id, i.version, i.body, i.project, p.tenant FROM broker_instances AS i
         LEFT JOIN projects AS p ON p.id = i.project "
    };
}

statements! {
    INSTANCE = concat!(select!(), "WHERE i.broker = $1 AND i.id = $2");
    OF_OPERATION = concat!(select!(), "WHERE i.operation = $1");
    LIST = concat!(select!(), "WHERE i.broker = $1 AND i.id > $2 ORDER BY i.id LIMIT $3");
    ORDERED = concat!(select!(), "WHERE i.operation >= $1 ORDER BY i.operation LIMIT $2");
    COUNT = "SELECT COUNT(*) FROM broker_instances WHERE broker = $1";
    BINDING = "SELECT id, key, body FROM broker_bindings WHERE broker = $1 AND instance = $2 AND id = $3";
    BINDINGS = "SELECT COUNT(*) FROM broker_bindings WHERE broker = $1 AND instance = $2";
    TOMBSTONE = "SELECT until, operation FROM broker_tombstones WHERE broker = $1 AND instance = $2 AND binding = $3";
    TENANT = "SELECT tenant FROM broker_tenants WHERE broker = $1 AND subaccount = $2";
    TENANTS = "SELECT COUNT(*) FROM broker_tenants WHERE broker = $1";
}

/// Under one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotRow<T> {
    Free,
    Held(T),
    /// A tombstone, whose time may be over.
    Gone {
        until: UnixMillis,
        operation: Option<OperationId>,
    },
}

/// An instance as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRow {
    pub broker: BrokerId,
    pub id: String,
    /// Moves with each write.
    pub version: u64,
    /// JSON.
    pub body: String,
    pub project: Option<ProjectId>,
    /// The project's.
    pub tenant: Option<TenantId>,
}

/// A binding as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingRow {
    pub id: String,
    pub key: KeyId,
    /// JSON.
    pub body: String,
}

fn instance(mut c: Columns<'_>) -> Result<InstanceRow, StoreError> {
    Ok(InstanceRow {
        broker: c.parsed()?,
        id: c.text()?,
        version: c.count()?,
        body: c.text()?,
        project: c.parsed_opt()?,
        tenant: c.parsed_opt()?,
    })
}

impl Store {
    async fn tombstone<T>(&self, broker: BrokerId, instance: &str, binding: &str) -> Result<SlotRow<T>, StoreError> {
        let rows = self.database.rows(TOMBSTONE, values![broker, instance, binding]).await?;
        let Some(row) = rows.first() else { return Ok(SlotRow::Free) };
        let mut c = row.columns();
        Ok(SlotRow::Gone { until: UnixMillis(c.int()?), operation: c.parsed_opt()? })
    }

    pub async fn broker_instance(&self, broker: BrokerId, id: &str) -> Result<SlotRow<InstanceRow>, StoreError> {
        let rows = self.database.rows(INSTANCE, values![broker, id]).await?;
        match rows.first() {
            Some(row) => Ok(SlotRow::Held(instance(row.columns())?)),
            None => self.tombstone(broker, id, "").await,
        }
    }

    /// The instance whose order this is.
    pub async fn broker_instance_of(&self, operation: OperationId) -> Result<Option<InstanceRow>, StoreError> {
        let rows = self.database.rows(OF_OPERATION, values![operation]).await?;
        rows.first().map(|row| instance(row.columns())).transpose()
    }

    /// Instances of a registration after an id.
    pub async fn broker_instances(
        &self,
        broker: BrokerId,
        after: &str,
        limit: u32,
    ) -> Result<Vec<InstanceRow>, StoreError> {
        let rows = self.database.rows(LIST, values![broker, after, limit]).await?;
        rows.iter().map(|row| instance(row.columns())).collect()
    }

    /// Instances whose order runs and is not older than this one, the oldest first. An id begins with its time, and what nobody
    /// fulfilled in time stays in its row until the platform deletes it: it must not stand in the place of others.
    pub async fn broker_orders(&self, oldest: OperationId, limit: u32) -> Result<Vec<InstanceRow>, StoreError> {
        let rows = self.database.rows(ORDERED, values![oldest, limit]).await?;
        rows.iter().map(|row| instance(row.columns())).collect()
    }

    pub async fn broker_binding(
        &self,
        broker: BrokerId,
        instance: &str,
        id: &str,
    ) -> Result<SlotRow<BindingRow>, StoreError> {
        let rows = self.database.rows(BINDING, values![broker, instance, id]).await?;
        let Some(row) = rows.first() else { return self.tombstone(broker, instance, id).await };
        let mut c = row.columns();
        Ok(SlotRow::Held(BindingRow { id: c.text()?, key: c.parsed()?, body: c.text()? }))
    }

    /// The tenant that a customer of this registration is.
    pub async fn broker_tenant(&self, broker: BrokerId, subaccount: &str) -> Result<Option<TenantId>, StoreError> {
        let rows = self.database.rows(TENANT, values![broker, subaccount]).await?;
        rows.first().map(|row| row.columns().parsed()).transpose()
    }

    /// How many instances and tenants a registration has.
    pub async fn broker_counts(&self, broker: BrokerId) -> Result<(u64, u64), StoreError> {
        Ok((self.number(COUNT, values![broker]).await?, self.number(TENANTS, values![broker]).await?))
    }

    pub async fn broker_bindings(&self, broker: BrokerId, instance: &str) -> Result<u64, StoreError> {
        self.number(BINDINGS, values![broker, instance]).await
    }

    async fn number(&self, sql: &'static str, values: Vec<crate::database::Value>) -> Result<u64, StoreError> {
        let rows = self.database.rows(sql, values).await?;
        let row = rows.first().ok_or_else(|| StoreError::Corrupt { what: "a count is missing".to_owned() })?;
        row.columns().count()
    }
}
