//! Idempotency keys: one row for each that is in use, claimed before dispatch. Whoever inserts it may run the request; all
//! others are told which receipt has the key. What became of that receipt is asked of the receipts, so nothing here has to
//! be brought up to date when a request ends or a gateway dies.
//!
//! If we crash here: a row is whole or not there.

use crate::database::values;
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{ProjectId, ReceiptId, UnixMillis};

statements! {
    CLAIM = "INSERT INTO idempotency (project, name, request, receipt, until) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (project, name) DO NOTHING";
    HOLDER = "SELECT request, receipt, until FROM idempotency WHERE project = $1 AND name = $2";
    TAKE = "UPDATE idempotency SET request = $3, receipt = $4, until = $5
            WHERE project = $1 AND name = $2 AND receipt = $6";
    SWEEP = "DELETE FROM idempotency WHERE until <= $1";
}

/// A key as a request claims it: digests, never texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRow {
    pub project: ProjectId,
    pub name: [u8; 32],
    pub request: [u8; 32],
    pub receipt: ReceiptId,
    pub until: UnixMillis,
}

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHolder {
    /// The row that was shown: it may run.
    Ours,
    /// Another request came first.
    Other { request: [u8; 32], receipt: ReceiptId },
}

impl IdempotencyRow {
    fn values(&self) -> Vec<crate::database::Value> {
        values![self.project, self.name.to_vec(), self.request.to_vec(), self.receipt, self.until]
    }
}

impl Store {
    /// Claims a key, or says who has it. A key whose time is over is free.
    pub async fn idempotency_claim(&self, row: &IdempotencyRow, now: UnixMillis) -> Result<KeyHolder, StoreError> {
        let mut session = self.database.write().await?;
        if session.run(CLAIM, row.values()).await? == 1 {
            session.commit().await?;
            return Ok(KeyHolder::Ours);
        }
        let held = session.rows(HOLDER, values![row.project, row.name.to_vec()]).await?;
        // Swept away between the two statements: whoever repeats finds it free.
        let Some(held) = held.first() else {
            return Err(StoreError::Conflict { what: "this idempotency key" });
        };
        let mut c = held.columns();
        let (request, receipt, until) = (c.hash()?, c.parsed()?, UnixMillis(c.int()?));
        if until > now {
            return Ok(KeyHolder::Other { request, receipt });
        }
        let taken = take(&mut session, row, receipt).await?;
        session.commit().await?;
        Ok(if taken { KeyHolder::Ours } else { KeyHolder::Other { request, receipt } })
    }

    /// Takes a key over from a receipt that does not need it any more. False: somebody else did.
    pub async fn idempotency_take(&self, row: &IdempotencyRow, from: ReceiptId) -> Result<bool, StoreError> {
        let mut session = self.database.write().await?;
        let taken = take(&mut session, row, from).await?;
        session.commit().await?;
        Ok(taken)
    }

    /// Forgets keys whose time is over; answers how many.
    pub async fn idempotency_sweep(&self, now: UnixMillis) -> Result<u64, StoreError> {
        let mut session = self.database.write().await?;
        let swept = session.run(SWEEP, values![now]).await?;
        session.commit().await?;
        Ok(swept)
    }
}

async fn take(
    session: &mut crate::database::Session,
    row: &IdempotencyRow,
    from: ReceiptId,
) -> Result<bool, StoreError> {
    let mut values = row.values();
    values.extend(values![from]);
    Ok(session.run(TAKE, values).await? == 1)
}
