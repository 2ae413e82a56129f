//! Reading receipts, and the sums that budgets start from. An invoice is a fold over the receipts; what a run says of its
//! costs is written with it, from the same receipts, and is never changed.

use crate::database::values;
use crate::run;
use crate::ship::{ShippedReceipt, decoded};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{IncarnationId, KeyId, MicroEur, Month, ProjectId, ReceiptId, TenantId, UnixMillis};

statements! {
    OF_SECOND = "SELECT r.first_ord, r.ids FROM receipt_seconds AS s
                 JOIN receipt_runs AS r ON r.first_ord = s.first_ord WHERE s.second = $1";
    RUN = "SELECT r.tenant, r.project, r.inc, r.leaves, r.rows, r.first_ord, h.size
           FROM receipt_runs AS r CROSS JOIN tree_head AS h WHERE r.first_ord = $1";
    OF_TENANT = "SELECT r.tenant, r.project, r.inc, r.leaves, r.rows, r.first_ord, h.size
                 FROM receipt_runs AS r CROSS JOIN tree_head AS h
                 WHERE r.tenant = $1 AND r.last_ord > $2 ORDER BY r.last_ord LIMIT $3";
    OF_PROJECT = "SELECT r.tenant, r.project, r.inc, r.leaves, r.rows, r.first_ord, h.size
                  FROM receipt_runs AS r CROSS JOIN tree_head AS h
                  WHERE r.tenant = $1 AND r.project = $4 AND r.last_ord > $2 ORDER BY r.last_ord LIMIT $3";
    /// Runs that hold a receipt of this month: each key's costs stand beside its run.
    OF_MONTH = "SELECT DISTINCT first_ord FROM receipt_costs WHERE month = $1 AND first_ord > $2
                ORDER BY first_ord LIMIT $3";
    SPENT = "SELECT tenant, project, key, CAST(COALESCE(SUM(cost), 0) AS BIGINT) FROM receipt_costs WHERE month = $1
             GROUP BY tenant, project, key ORDER BY tenant, project, key";
}

/// Runs read at once for a page: on a quiet site a run holds one receipt, on a busy one 256.
const PAGE_RUNS: u32 = 8;

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

fn stored(of: ShippedReceipt, ord: u64, sealed: u64) -> StoredReceipt {
    StoredReceipt {
        id: of.id,
        tenant: of.tenant,
        project: of.project,
        key: of.key,
        inc: of.inc,
        chain_seq: of.chain_seq,
        received_at: of.received_at,
        signing_input: of.signing_input,
        leaf: of.leaf,
        leaf_index: (ord < sealed).then_some(ord),
    }
}

/// The receipts of a row that ends with first_ord and the log's size, each with its place.
fn receipts_of(row: &crate::database::Row) -> Result<impl Iterator<Item = (u64, StoredReceipt)>, StoreError> {
    let mut c = row.columns_from(5);
    let (first_ord, sealed) = (c.count()?, c.count()?);
    let receipts = decoded(row.columns())?;
    Ok(receipts.into_iter().zip(first_ord..).map(move |(of, ord)| (ord, stored(of, ord, sealed))))
}

impl Store {
    pub async fn receipt(&self, id: ReceiptId) -> Result<Option<StoredReceipt>, StoreError> {
        Ok(self.placed(id).await?.map(|(_, receipt)| receipt))
    }

    /// The receipt and its place in the log, sealed or not.
    async fn placed(&self, id: ReceiptId) -> Result<Option<(u64, StoredReceipt)>, StoreError> {
        for row in self.database.rows(OF_SECOND, values![run::second(id)]).await? {
            let mut c = row.columns();
            let (first_ord, ids) = (c.int()?, c.bytes()?);
            let Some(position) = run::position(&ids, id) else { continue };
            let rows = self.database.rows(RUN, values![first_ord]).await?;
            let Some(row) = rows.first() else { continue };
            return Ok(receipts_of(row)?.nth(position));
        }
        Ok(None)
    }

    /// In the order of the log, which is that of arrival: an id is made when a request begins and its receipt when it ends,
    /// so by id a long answer's receipt would land on a page that was read already. An unknown id, or another tenant's,
    /// reads from the start.
    pub async fn receipts(&self, filter: &ReceiptFilter) -> Result<Vec<StoredReceipt>, StoreError> {
        let after = match filter.after {
            Some(id) => self.placed(id).await?.filter(|(_, receipt)| receipt.tenant == filter.tenant),
            None => None,
        };
        let mut after = after.map_or(Ok(-1), |(ord, _)| crate::database::int(ord, "the place in the log"))?;
        let limit = filter.limit as usize;
        let mut page = Vec::new();
        loop {
            let rows = match filter.project {
                None => self.database.rows(OF_TENANT, values![filter.tenant, after, PAGE_RUNS]).await?,
                Some(project) => {
                    self.database.rows(OF_PROJECT, values![filter.tenant, after, PAGE_RUNS, project]).await?
                }
            };
            for row in &rows {
                for (ord, receipt) in receipts_of(row)? {
                    let ord = crate::database::int(ord, "the place in the log")?;
                    if ord > after && page.len() < limit {
                        after = ord;
                        page.push(receipt);
                    }
                }
            }
            if page.len() >= limit || rows.len() < PAGE_RUNS as usize {
                return Ok(page);
            }
        }
    }

    /// Receipts of a month, of all tenants, in the order of the log: those of a few runs after this one, and where to go on, if
    /// there may be more.
    pub async fn receipts_of_month(
        &self,
        month: Month,
        after: Option<u64>,
    ) -> Result<(Vec<StoredReceipt>, Option<u64>), StoreError> {
        let after = after.map_or(Ok(-1), |ord| crate::database::int(ord, "the place in the log"))?;
        let runs = self.database.rows(OF_MONTH, values![month.to_string(), after, PAGE_RUNS]).await?;
        let mut found = Vec::new();
        let mut last = None;
        for run in &runs {
            let first_ord = run.columns().count()?;
            last = Some(first_ord);
            let first_ord = crate::database::int(first_ord, "the place in the log")?;
            for row in &self.database.rows(RUN, values![first_ord]).await? {
                let receipts = receipts_of(row)?.map(|(_, receipt)| receipt);
                found.extend(receipts.filter(|receipt| receipt.received_at.month() == month));
            }
        }
        Ok((found, last.filter(|_| runs.len() == PAGE_RUNS as usize)))
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
