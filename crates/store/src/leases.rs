//! Leases of budgets to boots of gateways, and the epochs that fence them. `metering::lease` decides; here stands what it
//! decides from, under one lock, in one transaction.
//!
//! What the receipts of a boot add up to is written with the receipts ([`crate::ship`]), so a receipt that is shipped moves
//! from "granted" to "settled" of its boot at one moment, and no sum ever misses it.
//!
//! If we crash here: a grant is whole or not there. One that is there and was never heard of is known again with the next
//! ask, and until then counts as spent.

use crate::database::{Session, int, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use metering::lease::{Ask, Claim, Grant, Sharing, grant};
use std::collections::BTreeMap;
use types::{IncarnationId, KeyId, MicroEur, Month, ProjectId, TenantId, UnixMillis};

statements! {
    /// Locks the counter's row on PostgreSQL; SQLite's transaction holds its lock already.
    LOCK = "UPDATE counters SET value = value WHERE name = 'leases' RETURNING value";
    EPOCH = "SELECT COALESCE(MAX(epoch), 0) FROM incarnations WHERE gateway = $1";
    BEGIN = "INSERT INTO incarnations (id, gateway, begun_at, epoch) VALUES ($1, $2, $3, $4)";
    NEWER = "SELECT COUNT(*) FROM incarnations AS other JOIN incarnations AS ours ON other.gateway = ours.gateway
             WHERE ours.id = $1 AND other.epoch > ours.epoch";
    KNOWN = "SELECT COUNT(*) FROM incarnations WHERE id = $1";
    OF_SCOPE = "SELECT inc, granted, turn FROM leases WHERE month = $1 AND scope = $2";
    PUT = "INSERT INTO leases (month, scope, inc, turn, granted, short) VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT (month, scope, inc) DO UPDATE SET turn = $4, granted = $5, short = $6";
    CLOSE = "DELETE FROM leases WHERE inc = $1";
    /// Budgets of ours that another boot is short of.
    WANTED = "SELECT DISTINCT l.month, l.scope FROM leases AS l JOIN leases AS o ON o.month = l.month AND o.scope = l.scope
              WHERE l.inc = $1 AND o.inc <> $1 AND o.short > 0";
    SPENT_OF_TENANT = "SELECT inc, CAST(SUM(cost) AS BIGINT) FROM spent_by_boot WHERE month = $1 AND tenant = $2
                       GROUP BY inc";
    SPENT_OF_PROJECT = "SELECT inc, CAST(SUM(cost) AS BIGINT) FROM spent_by_boot WHERE month = $1 AND project = $2
                        GROUP BY inc";
    SPENT_OF_KEY = "SELECT inc, CAST(SUM(cost) AS BIGINT) FROM spent_by_boot WHERE month = $1 AND key = $2 GROUP BY inc";
    ADD_SPENT = "INSERT INTO spent_by_boot (month, tenant, project, key, inc, cost) VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (month, tenant, project, key, inc) DO UPDATE SET cost = spent_by_boot.cost + excluded.cost";
}

/// Whose budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BudgetOf {
    Tenant(TenantId),
    Project(ProjectId),
    Key(KeyId),
}

impl BudgetOf {
    fn id(self) -> String {
        match self {
            BudgetOf::Tenant(id) => id.to_string(),
            BudgetOf::Project(id) => id.to_string(),
            BudgetOf::Key(id) => id.to_string(),
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        let tenant = text.parse().map(BudgetOf::Tenant);
        let project = || text.parse().map(BudgetOf::Project);
        let key = || text.parse().map(BudgetOf::Key);
        let parsed = tenant.or_else(|_| project()).or_else(|_| key());
        parsed.map_err(|_| StoreError::Corrupt { what: "column scope: no tenant, project or key".to_owned() })
    }
}

/// One budget in one month, and what a boot asks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseAsk {
    pub of: BudgetOf,
    pub month: Month,
    pub limit: MicroEur,
    pub ask: Ask,
    /// Grows with each ask of this boot.
    pub turn: u64,
}

/// Why nothing was granted.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// A newer boot of this gateway's name has begun. This one gets nothing more, ever.
    #[error("a newer gateway of this name has begun")]
    Stale,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Money that a boot spent before it had a lease: receipts of requests that a crash left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    pub of: BudgetOf,
    pub month: Month,
    pub amount: MicroEur,
}

impl Store {
    /// Notes that a gateway booted; answers its epoch, the highest of its name so far. The same incarnation twice is a
    /// conflict: two processes believe to be one.
    pub async fn incarnation_begin(
        &self,
        gateway: &str,
        inc: IncarnationId,
        at: UnixMillis,
    ) -> Result<u64, StoreError> {
        let mut session = self.database.write().await?;
        session.number(LOCK, values![]).await?;
        let epoch = session.number(EPOCH, values![gateway]).await? + 1;
        let inserted = session.run(BEGIN, values![inc, gateway, at, int(epoch, "the epoch")?]).await;
        inserted.map_err(|error| error.meaning("this incarnation", "this gateway"))?;
        session.commit().await?;
        Ok(epoch)
    }

    /// Answers what a boot asks, in its order.
    pub async fn lease(
        &self,
        inc: IncarnationId,
        asks: &[LeaseAsk],
        sharing: Sharing,
    ) -> Result<Vec<Grant>, LeaseError> {
        let mut session = self.database.write().await?;
        session.number(LOCK, values![]).await?;
        fence(&mut session, inc).await?;
        let mut grants = Vec::with_capacity(asks.len());
        for asked in asks {
            grants.push(answer(&mut session, inc, asked, sharing).await?);
        }
        session.commit().await?;
        Ok(grants)
    }

    /// Whether this boot is the newest of its gateway's name, and of which budgets that it leases another boot is short.
    pub async fn lease_wanted(&self, inc: IncarnationId) -> Result<Vec<(BudgetOf, Month)>, LeaseError> {
        let mut session = self.database.read().await?;
        fence(&mut session, inc).await?;
        let rows = session.rows(WANTED, values![inc]).await?;
        let wanted = |row: &crate::database::Row| {
            let mut c = row.columns();
            let month = c.parsed()?;
            Ok((BudgetOf::parse(&c.text()?)?, month))
        };
        rows.iter().map(wanted).collect()
    }

    /// Gives back what boots that are gone did not spend: every receipt of theirs is here. `carried` is what `inc` takes
    /// over from them, receipts of theirs that it writes itself: out of one lease and into the other at one moment.
    pub async fn lease_close(
        &self,
        inc: IncarnationId,
        gone: &[IncarnationId],
        carried: &[Carried],
    ) -> Result<(), StoreError> {
        let mut session = self.database.write().await?;
        session.number(LOCK, values![]).await?;
        for gone in gone {
            session.run(CLOSE, values![*gone]).await?;
        }
        for Carried { of, month, amount } in carried {
            session.run(PUT, values![month.to_string(), of.id(), inc, 0i64, *amount, 0i64]).await?;
        }
        session.commit().await
    }
}

async fn fence(session: &mut Session, inc: IncarnationId) -> Result<(), LeaseError> {
    let newest = session.number(NEWER, values![inc]).await? == 0 && session.number(KNOWN, values![inc]).await? == 1;
    if newest { Ok(()) } else { Err(LeaseError::Stale) }
}

async fn answer(
    session: &mut Session,
    inc: IncarnationId,
    asked: &LeaseAsk,
    sharing: Sharing,
) -> Result<Grant, StoreError> {
    let month = asked.month.to_string();
    let mut claims: BTreeMap<IncarnationId, Claim> = BTreeMap::new();
    let (sums, id) = match asked.of {
        BudgetOf::Tenant(id) => (SPENT_OF_TENANT, id.to_string()),
        BudgetOf::Project(id) => (SPENT_OF_PROJECT, id.to_string()),
        BudgetOf::Key(id) => (SPENT_OF_KEY, id.to_string()),
    };
    for row in session.rows(sums, values![&month, &id]).await? {
        let mut c = row.columns();
        let whose = c.parsed()?;
        claims.entry(whose).or_default().settled = MicroEur(c.int()?);
    }
    let mut turn = 0;
    for row in session.rows(OF_SCOPE, values![&month, &id]).await? {
        let mut c = row.columns();
        let whose: IncarnationId = c.parsed()?;
        claims.entry(whose).or_default().granted = Some(MicroEur(c.int()?));
        if whose == inc {
            turn = c.count()?;
        }
    }
    let own = claims.remove(&inc).unwrap_or_default();
    let others: Vec<Claim> = claims.into_values().collect();
    if asked.turn <= turn {
        // It was overtaken by a later one of the same boot, which knows better what is held.
        let held = own.granted.unwrap_or_default();
        let nothing = Ask { held, need: None };
        return Ok(grant(asked.limit, &others, own.settled, nothing, sharing));
    }
    let granted = grant(asked.limit, &others, own.settled, asked.ask, sharing);
    let unmet = asked.ask.need.filter(|need| granted.granted < asked.ask.held.saturating_add(*need));
    let turn = int(asked.turn, "the turn of a lease")?;
    session.run(PUT, values![month, id, inc, turn, granted.granted, unmet.unwrap_or_default()]).await?;
    Ok(granted)
}
