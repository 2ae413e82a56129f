//! Reading receipts, and the sums that budgets start from. An invoice is a fold over these rows; there is no running
//! total beside them.

use crate::database::{Columns, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{IncarnationId, KeyId, MicroEur, Month, ProjectId, ReceiptId, TenantId, UnixMillis};

statements! {
    ONE = "SELECT r.id, r.tenant, r.project, r.key, r.inc, r.chain_seq, r.received_at, r.signing_input, r.leaf, r.ord,
           h.size FROM receipts AS r CROSS JOIN tree_head AS h WHERE r.id = $1";
    LIST = "SELECT r.id, r.tenant, r.project, r.key, r.inc, r.chain_seq, r.received_at, r.signing_input, r.leaf, r.ord,
            h.size FROM receipts AS r CROSS JOIN tree_head AS h
            WHERE r.tenant = $1 AND (r.project = $2 OR $2 IS NULL)
            AND r.ord > COALESCE((SELECT a.ord FROM receipts AS a WHERE a.id = $3 AND a.tenant = $1), -1)
            ORDER BY r.ord LIMIT $4";
    SPENT = "SELECT tenant, project, key, CAST(COALESCE(SUM(cost), 0) AS BIGINT) FROM receipts WHERE month = $1
             GROUP BY tenant, project, key ORDER BY tenant, project, key";
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReceipt {
    pub id: ReceiptId,
    pub tenant: TenantId,
    pub project: ProjectId,
    pub key: KeyId,
    pub inc: IncarnationId,
    pub chain_seq: u64,
    pub received_at: UnixMillis,
    pub signing_input: String,
    pub leaf: [u8; 32],
    /// The place in the log, once a checkpoint covers it.
    pub leaf_index: Option<u64>,
}

/// One page of a tenant's receipts.
#[derive(Debug, Clone)]
pub struct ReceiptFilter {
    pub tenant: TenantId,
    pub project: Option<ProjectId>,
    /// The last id of the page before.
    pub after: Option<ReceiptId>,
    pub limit: u32,
}

/// What one key spent in a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    pub tenant: TenantId,
    pub project: ProjectId,
    pub key: KeyId,
    pub cost: MicroEur,
}

fn receipt(mut c: Columns<'_>) -> Result<StoredReceipt, StoreError> {
    Ok(StoredReceipt {
        id: c.parsed()?,
        tenant: c.parsed()?,
        project: c.parsed()?,
        key: c.parsed()?,
        inc: c.parsed()?,
        chain_seq: c.count()?,
        received_at: UnixMillis(c.int()?),
        signing_input: c.text()?,
        leaf: c.hash()?,
        leaf_index: {
            let (ord, size) = (c.count()?, c.count()?);
            (ord < size).then_some(ord)
        },
    })
}

impl Store {
    pub async fn receipt(&self, id: ReceiptId) -> Result<Option<StoredReceipt>, StoreError> {
        let rows = self.database.rows(ONE, values![id]).await?;
        rows.first().map(|row| receipt(row.columns())).transpose()
    }

    /// In the order of the log, which is that of arrival: an id is made when a request begins and its receipt when it ends,
    /// so by id a long answer's receipt would land on a page that was read already. An unknown id, or another tenant's,
    /// reads from the start.
    pub async fn receipts(&self, filter: &ReceiptFilter) -> Result<Vec<StoredReceipt>, StoreError> {
        let after = filter.after.map(|id| id.to_string()).unwrap_or_default();
        let values = values![filter.tenant, filter.project, after, filter.limit];
        let rows = self.database.rows(LIST, values).await?;
        rows.iter().map(|row| receipt(row.columns())).collect()
    }

    /// What was spent in a month, by key.
    pub async fn spent(&self, month: Month) -> Result<Vec<Spent>, StoreError> {
        let rows = self.database.rows(SPENT, values![month.to_string()]).await?;
        rows.iter()
            .map(|row| {
                let mut c = row.columns();
                Ok(Spent { tenant: c.parsed()?, project: c.parsed()?, key: c.parsed()?, cost: MicroEur(c.int()?) })
            })
            .collect()
    }
}
