//! Shipping: a gateway hands over receipts from its journal, as often as it likes. A receipt that is here already changes
//! nothing; a different one for the same place is a fork, and then nothing of the batch is taken: stop and alarm.
//!
//! A receipt has three places: (incarnation, journal sequence), its id, and (tenant, incarnation, chain sequence). Each is
//! unique, in the batch and in the store.
//!
//! Order. The batch takes the lock of the counter of leaves first, so batches run one after the other, and new receipts get
//! the next places in the log without a gap: those of one project and boot side by side, as [`crate::run`]s. What is looked
//! up under that lock cannot change before the commit: the runs whose spans of journal or chain places meet the batch's
//! (none, unless something is shipped again), and those with ids of the same seconds.
//!
//! If we crash here, the batch is wholly in or wholly out, and the gateway ships it again.

use crate::database::{Columns, Session, int, values};
use crate::leases::ADD_SPENT;
use crate::run::{self, Owner};
use crate::statements::statements;
use crate::{Store, StoreError};
use std::collections::{BTreeMap, HashMap, HashSet};
use types::{IncarnationId, KeyId, MicroEur, Month, ProjectId, ReceiptId, TenantId, UnixMillis};

statements! {
    /// Locks the counter's row on PostgreSQL; SQLite's transaction holds its lock already.
    LOCK_LEAVES = "UPDATE counters SET value = value WHERE name = 'leaves' RETURNING value";
    MOVE_LEAVES = "UPDATE counters SET value = $1 WHERE name = 'leaves'";
    BY_JOURNAL = "SELECT first_ord FROM receipt_runs WHERE inc = $1 AND last_journal >= $2 AND first_journal <= $3";
    BY_CHAIN = "SELECT first_ord FROM receipt_runs
                WHERE tenant = $1 AND inc = $2 AND last_chain >= $3 AND first_chain <= $4";
    BY_SECOND = "SELECT r.first_ord, r.ids FROM receipt_seconds AS s
                 JOIN receipt_runs AS r ON r.first_ord = s.first_ord WHERE s.second = $1";
    RUN = "SELECT tenant, project, inc, leaves, rows FROM receipt_runs WHERE first_ord = $1";
    INSERT_RUN = "INSERT INTO receipt_runs (first_ord, last_ord, tenant, project, inc, first_journal, last_journal,
                  first_chain, last_chain, ids, leaves, rows)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    INSERT_SECOND = "INSERT INTO receipt_seconds (second, first_ord) VALUES ($1, $2)";
    INSERT_COST = "INSERT INTO receipt_costs (month, tenant, project, key, cost, first_ord)
                   VALUES ($1, $2, $3, $4, $5, $6)";
}

/// A receipt as a gateway ships it. The signing input was fixed when it was journalled and is stored as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShippedReceipt {
    pub id: ReceiptId,
    pub tenant: TenantId,
    pub project: ProjectId,
    pub key: KeyId,
    pub inc: IncarnationId,
    pub journal_seq: u64,
    pub chain_seq: u64,
    pub received_at: UnixMillis,
    /// The month whose budget paid for it.
    pub month: Month,
    pub cost: MicroEur,
    pub outcome: String,
    pub signing_input: String,
    pub leaf: [u8; 32],
}

/// Where two receipts met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForkAt {
    /// The same id, or the same place in a journal or in a chain.
    Store,
    /// Both came in the one batch.
    Batch,
}

/// What a receipt says of its places; two receipts that share one and differ in any are a fork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub id: ReceiptId,
    pub tenant: TenantId,
    pub inc: IncarnationId,
    pub journal_seq: u64,
    pub chain_seq: u64,
    pub cost: MicroEur,
    pub leaf: [u8; 32],
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Claim { id, tenant, inc, journal_seq, chain_seq, cost, leaf } = self;
        write!(f, "{id} (journal {inc}/{journal_seq}, chain {tenant}/{chain_seq}, {cost}, leaf ")?;
        leaf.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Why a batch was not taken. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// Two different receipts claim one place. No retry helps: stop shipping and raise an alarm.
    #[error("two receipts claim one place: known {known}, shipped {shipped}")]
    Fork { at: ForkAt, known: Box<Claim>, shipped: Box<Claim> },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ShipError {
    fn fork(at: ForkAt, known: Claim, shipped: Claim) -> Self {
        ShipError::Fork { at, known: Box::new(known), shipped: Box::new(shipped) }
    }
}

impl ShippedReceipt {
    fn claim(&self) -> Claim {
        let Self { id, tenant, inc, journal_seq, chain_seq, cost, leaf, .. } = *self;
        Claim { id, tenant, inc, journal_seq, chain_seq, cost, leaf }
    }
}

/// The batch without its repetitions, in its order; refuses a batch that contradicts itself.
fn distinct(rows: &[ShippedReceipt]) -> Result<Vec<&ShippedReceipt>, ShipError> {
    let (mut by_id, mut by_journal, mut by_chain) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut kept = Vec::with_capacity(rows.len());
    for row in rows {
        let met = [
            by_id.insert(row.id, row),
            by_journal.insert((row.inc, row.journal_seq), row),
            by_chain.insert((row.tenant, row.inc, row.chain_seq), row),
        ];
        if let Some(other) = met.iter().flatten().find(|other| other.claim() != row.claim()) {
            return Err(ShipError::fork(ForkAt::Batch, other.claim(), row.claim()));
        }
        if met.iter().all(Option::is_none) {
            kept.push(row);
        }
    }
    Ok(kept)
}

impl Store {
    /// Takes a batch; answers how many receipts were new. After `Ok` all of them are durable.
    pub async fn ship(&self, rows: &[ShippedReceipt]) -> Result<u64, ShipError> {
        let rows = distinct(rows)?;
        if rows.is_empty() {
            return Ok(0);
        }
        let mut session = self.database.write().await?;
        let next = session.number(LOCK_LEAVES, values![]).await?;
        let new = unknown(&mut session, rows).await?;
        if new.is_empty() {
            return Ok(0);
        }
        insert(&mut session, &new, next).await?;
        let taken = new.len() as u64;
        session.run(MOVE_LEAVES, values![int(next + taken, "the number of receipts")?]).await?;
        session.commit().await?;
        Ok(taken)
    }
}

/// The receipts that are not here yet. Refuses one of whose places another has one.
async fn unknown<'a>(
    session: &mut Session,
    rows: Vec<&'a ShippedReceipt>,
) -> Result<Vec<&'a ShippedReceipt>, ShipError> {
    let stored = near(session, &rows).await?;
    if stored.is_empty() {
        return Ok(rows);
    }
    let (mut by_id, mut by_journal, mut by_chain) = (HashMap::new(), HashMap::new(), HashMap::new());
    for row in &stored {
        by_id.insert(row.id, row);
        by_journal.insert((row.inc, row.journal_seq), row);
        by_chain.insert((row.tenant, row.inc, row.chain_seq), row);
    }
    let mut new = Vec::with_capacity(rows.len());
    for row in rows {
        let met = [
            by_journal.get(&(row.inc, row.journal_seq)),
            by_id.get(&row.id),
            by_chain.get(&(row.tenant, row.inc, row.chain_seq)),
        ];
        match met.into_iter().flatten().find(|known| known.claim() != row.claim()) {
            Some(known) => return Err(ShipError::fork(ForkAt::Store, known.claim(), row.claim())),
            None if met.iter().all(Option::is_none) => new.push(row),
            None => {}
        }
    }
    Ok(new)
}

/// Every stored receipt that could have a place of one of these.
async fn near(session: &mut Session, rows: &[&ShippedReceipt]) -> Result<Vec<ShippedReceipt>, StoreError> {
    let mut journals: BTreeMap<IncarnationId, (u64, u64)> = BTreeMap::new();
    let mut chains: BTreeMap<(TenantId, IncarnationId), (u64, u64)> = BTreeMap::new();
    let widen = |span: &mut (u64, u64), place: u64| *span = (span.0.min(place), span.1.max(place));
    for row in rows {
        widen(journals.entry(row.inc).or_insert((row.journal_seq, row.journal_seq)), row.journal_seq);
        widen(chains.entry((row.tenant, row.inc)).or_insert((row.chain_seq, row.chain_seq)), row.chain_seq);
    }
    let mut runs = HashSet::new();
    for (inc, (first, last)) in journals {
        let span = values![inc, int(first, "the journal's sequence")?, int(last, "the journal's sequence")?];
        for row in session.rows(BY_JOURNAL, span).await? {
            runs.insert(row.columns().int()?);
        }
    }
    for ((tenant, inc), (first, last)) in chains {
        let span = values![tenant, inc, int(first, "the chain's sequence")?, int(last, "the chain's sequence")?];
        for row in session.rows(BY_CHAIN, span).await? {
            runs.insert(row.columns().int()?);
        }
    }
    let ours: HashSet<[u8; 16]> = rows.iter().map(|row| row.id.0.to_be_bytes()).collect();
    for second in run::seconds(rows) {
        for row in session.rows(BY_SECOND, values![second]).await? {
            let mut c = row.columns();
            let (first_ord, ids) = (c.int()?, c.bytes()?);
            if ids.as_chunks::<16>().0.iter().any(|id| ours.contains(id)) {
                runs.insert(first_ord);
            }
        }
    }
    let mut stored = Vec::new();
    for first_ord in runs {
        for row in session.rows(RUN, values![first_ord]).await? {
            stored.extend(decoded(row.columns())?);
        }
    }
    Ok(stored)
}

/// From the columns tenant, project, inc, leaves, rows.
pub(crate) fn decoded(mut c: Columns<'_>) -> Result<Vec<ShippedReceipt>, StoreError> {
    let owner = Owner { tenant: c.parsed()?, project: c.parsed()?, inc: c.parsed()? };
    let (leaves, rows) = (c.bytes()?, c.bytes()?);
    run::decode(owner, &rows, &leaves)
}

/// Writes receipts at the places from `next` on; the caller moves the counter.
pub(crate) async fn insert(session: &mut Session, rows: &[&ShippedReceipt], next: u64) -> Result<(), StoreError> {
    let mut next = int(next, "the place in the log")?;
    for (owner, rows) in run::gather(rows) {
        let (first_ord, last_ord) = (next, next + rows.len() as i64 - 1);
        next = last_ord + 1;
        let (first_journal, last_journal) = run::span(&rows, |row| row.journal_seq);
        let (first_chain, last_chain) = run::span(&rows, |row| row.chain_seq);
        let values = values![
            first_ord,
            last_ord,
            owner.tenant,
            owner.project,
            owner.inc,
            int(first_journal, "the journal's sequence")?,
            int(last_journal, "the journal's sequence")?,
            int(first_chain, "the chain's sequence")?,
            int(last_chain, "the chain's sequence")?,
            run::ids(&rows),
            run::leaves(&rows),
            run::encode(&rows),
        ];
        session.run(INSERT_RUN, values).await?;
        for second in run::seconds(&rows) {
            session.run(INSERT_SECOND, values![second, first_ord]).await?;
        }
        for ((month, key), cost) in run::costs(&rows) {
            let values = values![month.to_string(), owner.tenant, owner.project, key, cost, first_ord];
            session.run(INSERT_COST, values).await?;
            let values = values![month.to_string(), owner.tenant, owner.project, key, owner.inc, cost];
            session.run(ADD_SPENT, values).await?;
        }
    }
    Ok(())
}
