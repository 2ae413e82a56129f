//! Moves receipts that 0002's table holds, a row each, into runs, when a store of that version is opened. Each batch is one
//! transaction under the lock that shipping takes; places in the log stay what they were.
//!
//! If we crash here, the next opening goes on where this one ended.

use crate::StoreError;
use crate::database::{Columns, Database, int, values};
use crate::ship::{LOCK_LEAVES, ShippedReceipt, insert};
use crate::statements::statements;
use types::{MicroEur, UnixMillis};

statements! {
    OLD = "SELECT ord, id, tenant, project, key, inc, journal_seq, chain_seq, received_at, month, cost, outcome,
           signing_input, leaf FROM receipts ORDER BY ord LIMIT 1024";
    FORGET = "DELETE FROM receipts WHERE ord <= $1";
}

pub(crate) async fn move_receipts(database: &Database) -> Result<(), StoreError> {
    loop {
        let mut session = database.write().await?;
        session.number(LOCK_LEAVES, values![]).await?;
        let rows = session.rows(OLD, values![]).await?;
        let old = rows.iter().map(|row| old(row.columns())).collect::<Result<Vec<_>, _>>()?;
        let Some((last, _)) = old.last() else { return Ok(()) };
        let last = int(*last, "the place in the log")?;
        let same_run = |(ord, one): &(u64, ShippedReceipt), (next, other): &(u64, ShippedReceipt)| {
            ord + 1 == *next && (one.tenant, one.project, one.inc) == (other.tenant, other.project, other.inc)
        };
        for run in old.chunk_by(same_run) {
            let receipts: Vec<_> = run.iter().map(|(_, receipt)| receipt).collect();
            insert(&mut session, &receipts, run[0].0).await?;
        }
        session.run(FORGET, values![last]).await?;
        session.commit().await?;
        tracing::info!(leaves = last + 1, "receipts were moved into runs");
    }
}

fn old(mut c: Columns<'_>) -> Result<(u64, ShippedReceipt), StoreError> {
    let ord = c.count()?;
    let receipt = ShippedReceipt {
        id: c.parsed()?,
        tenant: c.parsed()?,
        project: c.parsed()?,
        key: c.parsed()?,
        inc: c.parsed()?,
        journal_seq: c.count()?,
        chain_seq: c.count()?,
        received_at: UnixMillis(c.int()?),
        month: c.parsed()?,
        cost: MicroEur(c.int()?),
        outcome: c.text()?,
        signing_input: c.text()?,
        leaf: c.hash()?,
    };
    Ok((ord, receipt))
}
