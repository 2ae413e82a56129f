//! Shipping: a gateway hands over receipts from its journal, as often as it likes. A receipt that is here already changes
//! nothing; a different one for the same place is a fork, and then nothing of the batch is taken: stop and alarm.
//!
//! A receipt has three places: (incarnation, journal sequence), its id, and (tenant, incarnation, chain sequence). Each is
//! unique, in the batch and in the store.
//!
//! Order. The batch takes the lock of the counter of leaves first, so batches run one after the other, and new rows get
//! the next places in the log without a gap. What is looked up under that lock cannot change before the commit, hence
//! plain INSERTs: a uniqueness error here is a fork and nothing else.
//!
//! If we crash here, the batch is wholly in or wholly out, and the gateway ships it again.

use crate::database::{Columns, Session, Value, int, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;
use types::{IncarnationId, KeyId, MicroEur, Month, ProjectId, ReceiptId, TenantId, UnixMillis};

statements! {
    /// Locks the counter's row on PostgreSQL; SQLite's transaction holds its lock already.
    LOCK_LEAVES = "UPDATE counters SET value = value WHERE name = 'leaves' RETURNING value";
    MOVE_LEAVES = "UPDATE counters SET value = $1 WHERE name = 'leaves'";
    STORED = "SELECT id, tenant, inc, journal_seq, chain_seq, cost, leaf FROM receipts
              WHERE inc = $1 AND journal_seq >= $2 AND journal_seq <= $3";
    AT_PLACE = "SELECT id, tenant, inc, journal_seq, chain_seq, cost, leaf FROM receipts
                WHERE id = $1 OR (inc = $2 AND journal_seq = $3) OR (tenant = $4 AND inc = $2 AND chain_seq = $5)
                LIMIT 1";
    BEGIN_INCARNATION = "INSERT INTO incarnations (id, gateway, begun_at) VALUES ($1, $2, $3)";
}

const COLUMNS: &str = "ord, id, tenant, project, key, inc, journal_seq, chain_seq, received_at, month, cost, outcome, \
                       signing_input, leaf";
const COLUMN_COUNT: usize = 14;

/// Rows per INSERT, largest first. Three fixed sizes keep the prepared statements few. SQLite finds a parameter's name by
/// walking the list of all of them, so the cost grows with the square: 32 x 14 = 448 parameters are 100,000 steps, 0.1 ms.
const ROWS: [usize; 3] = [32, 8, 1];

static INSERTS: LazyLock<[&'static str; 3]> = LazyLock::new(|| ROWS.map(insert_statement));

/// Built once per size and kept for the life of the process.
fn insert_statement(rows: usize) -> &'static str {
    let mut sql = format!("INSERT INTO receipts ({COLUMNS}) VALUES ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=COLUMN_COUNT {
            let comma = if column == 1 { "" } else { ", " };
            write!(sql, "{comma}${}", row * COLUMN_COUNT + column).expect("writing to a String cannot fail");
        }
        sql.push(')');
    }
    sql.leak()
}

pub(crate) fn insert_statements() -> [&'static str; 3] {
    *INSERTS
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

    fn values(&self, ord: u64, into: &mut Vec<Value>) -> Result<(), StoreError> {
        into.extend(values![
            int(ord, "the place in the log")?,
            self.id,
            self.tenant,
            self.project,
            self.key,
            self.inc,
            int(self.journal_seq, "the journal's sequence")?,
            int(self.chain_seq, "the chain's sequence")?,
            self.received_at,
            self.month.to_string(),
            self.cost,
            &self.outcome,
            &self.signing_input,
            &self.leaf,
        ]);
        Ok(())
    }
}

fn claim(mut c: Columns<'_>) -> Result<Claim, StoreError> {
    Ok(Claim {
        id: c.parsed()?,
        tenant: c.parsed()?,
        inc: c.parsed()?,
        journal_seq: c.count()?,
        chain_seq: c.count()?,
        cost: MicroEur(c.int()?),
        leaf: c.hash()?,
    })
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
    /// Notes that a gateway booted. The same incarnation twice is a conflict: two processes believe to be one.
    pub async fn incarnation_begin(&self, gateway: &str, inc: IncarnationId, at: UnixMillis) -> Result<(), StoreError> {
        let mut session = self.database.write().await?;
        let inserted = session.run(BEGIN_INCARNATION, values![inc, gateway, at]).await;
        inserted.map_err(|error| error.meaning("this incarnation", "this gateway"))?;
        session.commit().await
    }

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
        match insert(&mut session, &new, next).await {
            Ok(()) => {}
            Err(StoreError::Conflict { .. }) => {
                drop(session);
                return Err(self.blame(&new).await);
            }
            Err(other) => return Err(other.into()),
        }
        let taken = new.len() as u64;
        session.run(MOVE_LEAVES, values![int(next + taken, "the number of receipts")?]).await?;
        session.commit().await?;
        Ok(taken)
    }

    /// Finds the receipt that a refused batch collided with.
    async fn blame(&self, rows: &[&ShippedReceipt]) -> ShipError {
        for row in rows {
            let place = async {
                let (journal_seq, chain_seq) = (int(row.journal_seq, "sequence")?, int(row.chain_seq, "sequence")?);
                let values = values![row.id, row.inc, journal_seq, row.tenant, chain_seq];
                let found = self.database.rows(AT_PLACE, values).await?;
                found.first().map(|found| claim(found.columns())).transpose()
            };
            match place.await {
                Ok(Some(known)) if known != row.claim() => return ShipError::fork(ForkAt::Store, known, row.claim()),
                Ok(_) => {}
                Err(error) => return error.into(),
            }
        }
        StoreError::Conflict { what: "a receipt at one of these places" }.into()
    }
}

/// The receipts that are not here yet. Refuses one whose place in its journal is taken by another.
async fn unknown<'a>(
    session: &mut Session,
    rows: Vec<&'a ShippedReceipt>,
) -> Result<Vec<&'a ShippedReceipt>, ShipError> {
    let mut spans: HashMap<IncarnationId, (u64, u64)> = HashMap::new();
    for row in &rows {
        let span = spans.entry(row.inc).or_insert((row.journal_seq, row.journal_seq));
        *span = (span.0.min(row.journal_seq), span.1.max(row.journal_seq));
    }
    let mut stored = HashMap::new();
    for (inc, (first, last)) in spans {
        let span = values![inc, int(first, "the journal's sequence")?, int(last, "the journal's sequence")?];
        for row in session.rows(STORED, span).await? {
            let claim = claim(row.columns())?;
            stored.insert((claim.inc, claim.journal_seq), claim);
        }
    }
    let mut new = Vec::with_capacity(rows.len());
    for row in rows {
        match stored.remove(&(row.inc, row.journal_seq)) {
            None => new.push(row),
            Some(known) if known == row.claim() => {}
            Some(known) => return Err(ShipError::fork(ForkAt::Store, known, row.claim())),
        }
    }
    Ok(new)
}

async fn insert(session: &mut Session, rows: &[&ShippedReceipt], first: u64) -> Result<(), StoreError> {
    let (mut rest, mut ord) = (rows, first);
    for (size, sql) in ROWS.into_iter().zip(insert_statements()) {
        while rest.len() >= size {
            let (part, after) = rest.split_at(size);
            let mut values = Vec::with_capacity(size * COLUMN_COUNT);
            for row in part {
                row.values(ord, &mut values)?;
                ord += 1;
            }
            session.run(sql, values).await?;
            rest = after;
        }
    }
    Ok(())
}
