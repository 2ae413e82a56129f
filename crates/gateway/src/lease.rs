//! Leases of budgets, as the gateway asks for them: never for a request that fits into what it holds, once for one that does
//! not, and in the background before a lease runs out.
//!
//! Asks of one scope go one after the other and are numbered, so that the store can tell a late one. What the store granted
//! and nobody heard of is known again with the next ask, and counts as spent until then.
//!
//! While the store is away, requests are paid from what is held; one that needs more is refused with 503
//! `store_unavailable`, because whether the budget has more cannot be told. A boot that a newer one of its name has fenced
//! is granted nothing and admits nothing; its receipts are shipped all the same.
//!
//! If we crash here: the lease stays open and counts as spent, until the next boot over this journal has shipped what it
//! finds ([`join`]).

use crate::gateway::Gateway;
use crate::recover::RecoverError;
use crate::refusal::Refusal;
use crate::scope::{Fit, Scope, ScopeId};
use crate::settle::Shortage;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{BudgetOf, Carried, LeaseAsk, LeaseError, StoreError};
use types::{Code, IncarnationId, MicroEur, Month, ReceiptClaims};

/// How long a request waits for the store: a busy one answers within a second.
const FETCH_WAIT: Duration = Duration::from_secs(3);

/// Budgets of which it is heard at once how much is left, after a start: each takes five statements, 64 of them some tens of
/// milliseconds.
const UNHEARD_MAX: usize = 64;

/// Fetches what a request needs; an error is its refusal.
pub async fn fetch(gateway: &Gateway, shortage: &Shortage, month: Month) -> Result<(), Refusal> {
    let Shortage { scope, amount, .. } = shortage;
    let _turn = scope.asking.lock().await;
    let ask = match scope.fit(month, *amount, gateway.clock.monotonic_millis()) {
        Fit::Fits => return Ok(()),
        Fit::No => return Err(shortage.refusal(month)),
        Fit::Ask(ask) => ask,
    };
    if !gateway.joined() {
        return Err(away());
    }
    match tokio::time::timeout(FETCH_WAIT, ask_for(gateway, &[(scope.clone(), ask)])).await {
        Ok(Ok(())) => match scope.fit(month, *amount, gateway.clock.monotonic_millis()) {
            Fit::Fits => Ok(()),
            _ => Err(shortage.refusal(month)),
        },
        Ok(Err(LeaseError::Stale)) => {
            Err(Refusal::new(Code::NotReady, "this gateway was replaced by a newer one of its name").retry_after(1))
        }
        Ok(Err(LeaseError::Store(_))) | Err(_) => Err(away()),
    }
}

fn away() -> Refusal {
    let message = "what is left of the budget cannot be told now: the database is away; try again";
    Refusal::new(Code::StoreUnavailable, message).retry_after(1)
}

async fn ask_for(gateway: &Gateway, asks: &[(Arc<Scope>, LeaseAsk)]) -> Result<(), LeaseError> {
    let all: Vec<LeaseAsk> = asks.iter().map(|(_, ask)| *ask).collect();
    match gateway.store.lease(gateway.incarnation, &all, gateway.sharing).await {
        Ok(grants) => {
            let now = gateway.clock.monotonic_millis();
            asks.iter().zip(grants).for_each(|((scope, ask), grant)| scope.granted(ask, grant, now));
            Ok(())
        }
        Err(LeaseError::Stale) => {
            gateway.alarm_stale();
            Err(LeaseError::Stale)
        }
        Err(LeaseError::Store(error)) => {
            tracing::warn!(%error, "no budget could be leased: what is held is all that there is");
            Err(error.into())
        }
    }
}

/// One ask of a scope, when no other is under way.
async fn alone(gateway: &Gateway, scope: Arc<Scope>, make: impl FnOnce(&Scope) -> Option<LeaseAsk>) {
    let turn = scope.asking.lock().await;
    if let Some(ask) = make(&scope) {
        let _tried_again_later = ask_for(gateway, &[(scope.clone(), ask)]).await;
    }
    drop(turn);
}

/// Leases that run low get more before a request has to wait for it.
pub async fn top_up(gateway: &Gateway) {
    for id in gateway.scopes().low.take() {
        if let Some(scope) = gateway.scopes().known(id) {
            alone(gateway, scope, Scope::top_up).await;
        }
    }
}

/// What others need is let go of, and what nobody has heard of is asked. Here a boot learns that it is stale.
pub async fn tend(gateway: &Gateway) {
    if !gateway.joined() {
        match join(gateway).await {
            Ok(()) => tracing::info!("the store is there: this gateway leases budgets again"),
            Err(error) if error.is_away() => tracing::debug!(%error, "this gateway could not join its site yet"),
            Err(error) => {
                tracing::error!(%error, "what an earlier boot left cannot be shipped: no request is admitted");
                gateway.alarm_fork();
            }
        }
        return;
    }
    match gateway.store.lease_wanted(gateway.incarnation).await {
        Ok(wanted) => {
            for (of, month) in wanted {
                if let Some(scope) = gateway.scopes().known(ScopeId::from(of)) {
                    alone(gateway, scope, |scope| scope.let_go(month)).await;
                }
            }
        }
        Err(LeaseError::Stale) => return gateway.alarm_stale(),
        Err(LeaseError::Store(_)) => return,
    }
    for id in gateway.scopes().unheard(UNHEARD_MAX) {
        if let Some(scope) = gateway.scopes().known(id) {
            alone(gateway, scope, Scope::unheard).await;
        }
    }
}

/// What a boot must tell its site before it gets a lease: that it is there, and every receipt of the boots whose journal it
/// found. Then their leases are closed, and what they did not spend is given back.
pub struct Elders {
    pub name: String,
    pub recovered: journal::Recovered,
    pub carried: Vec<Carried>,
    tried: bool,
    begun: bool,
    shipped: bool,
}

impl Elders {
    pub fn new(name: String, recovered: journal::Recovered, unresolved: &[ReceiptClaims]) -> Self {
        Elders { name, recovered, carried: carried(unresolved), tried: false, begun: false, shipped: false }
    }
}

/// What a boot takes over of open requests of boots before it: by scope and month.
fn carried(unresolved: &[ReceiptClaims]) -> Vec<Carried> {
    let mut sums: BTreeMap<(BudgetOf, Month), MicroEur> = BTreeMap::new();
    for claims in unresolved {
        for id in [ScopeId::Tenant(claims.sub), ScopeId::Project(claims.project), ScopeId::Key(claims.key)] {
            let sum = sums.entry((id.into(), claims.received_at.month())).or_default();
            *sum = sum.saturating_add(claims.cost_micro_eur);
        }
    }
    sums.into_iter().map(|((of, month), amount)| Carried { of, month, amount }).collect()
}

/// Joins the site, as far as that is not done yet.
pub async fn join(gateway: &Gateway) -> Result<(), RecoverError> {
    let mut elders = gateway.elders.lock().await;
    let Some(waiting) = elders.as_mut() else { return Ok(()) };
    if !waiting.begun {
        let tried = std::mem::replace(&mut waiting.tried, true);
        match gateway.store.incarnation_begin(&waiting.name, gateway.incarnation, gateway.clock.now()).await {
            Ok(_) => {}
            // It landed, and the answer was lost.
            Err(StoreError::Conflict { .. }) if tried => {}
            Err(error) => return Err(error.into()),
        }
        waiting.begun = true;
    }
    if !waiting.shipped {
        crate::recover::ship_all(&*gateway.store, waiting.recovered.records()).await?;
        waiting.shipped = true;
    }
    let gone = waiting.recovered.incarnations().map(|inc| IncarnationId(u128::from_be_bytes(inc)));
    let gone: Vec<_> = gone.filter(|inc| *inc != gateway.incarnation).collect();
    gateway.store.lease_close(gateway.incarnation, &gone, &waiting.carried).await?;
    *elders = None;
    gateway.has_joined();
    Ok(())
}
