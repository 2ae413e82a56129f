//! Budgets leased to boots: the sum of what is out never exceeds the limit, whoever asks at once, and what is shipped, lost,
//! closed or taken over counts once.

use crate::Bed;
use crate::site::receipt;
use metering::lease::{Ask, Sharing};
use store::{BudgetOf, Carried, LeaseAsk, LeaseError, ShippedReceipt, Store};
use tokio::task::JoinSet;
use types::{IncarnationId, MicroEur, Month, TenantId, UnixMillis};

const LIMIT: MicroEur = MicroEur(1_000);
const MONTH: Month = Month { year: 2026, month: 11 };
const OF: BudgetOf = BudgetOf::Tenant(TenantId(77));

async fn begin(store: &Store, gateway: &str, inc: u128) -> u64 {
    store.incarnation_begin(gateway, IncarnationId(inc), UnixMillis(0)).await.unwrap()
}

fn asked(turn: u64, held: i64, need: Option<i64>) -> LeaseAsk {
    let ask = Ask { held: MicroEur(held), need: need.map(MicroEur) };
    LeaseAsk { of: OF, month: MONTH, limit: LIMIT, ask, turn }
}

/// All that the boot may spend, and what is left for anybody.
async fn ask(store: &Store, inc: u128, turn: u64, held: i64, need: Option<i64>) -> (i64, i64) {
    let granted = store.lease(IncarnationId(inc), &[asked(turn, held, need)], Sharing::Parts).await.unwrap();
    (granted[0].granted.0, granted[0].left.0)
}

/// A receipt of the tenant, of this boot.
fn spent(inc: u128, n: u64, cost: i64) -> ShippedReceipt {
    ShippedReceipt { tenant: TenantId(77), month: MONTH, cost: MicroEur(cost), ..receipt(inc, n) }
}

pub async fn f19_what_is_leased_lost_shipped_and_closed_counts_once(bed: &Bed) {
    let store = bed.open().await;
    begin(&store, "one", 1).await;
    begin(&store, "two", 2).await;
    assert_eq!(ask(&store, 1, 1, 0, Some(10)).await, (500, 500));
    assert_eq!(ask(&store, 2, 1, 0, Some(10)).await, (125, 375));
    // What is shipped was in the lease: nothing changes.
    store.ship(&[spent(1, 1, 300), spent(1, 2, 100)]).await.unwrap();
    assert_eq!(ask(&store, 2, 2, 125, None).await, (125, 375));
    // Too much for what is left: nothing, and the other one hears that somebody is short.
    assert_eq!(ask(&store, 2, 3, 125, Some(400)).await, (125, 375));
    assert_eq!(store.lease_wanted(IncarnationId(1)).await.unwrap(), [(OF, MONTH)]);
    assert_eq!(store.lease_wanted(IncarnationId(2)).await.unwrap(), []);
    // It spent 400 and lets go of the rest.
    assert_eq!(ask(&store, 1, 2, 400, None).await, (400, 475));
    assert_eq!(ask(&store, 2, 4, 125, Some(400)).await, (525, 75));
    assert_eq!(store.lease_wanted(IncarnationId(1)).await.unwrap(), []);
    // An ask that comes late changes nothing.
    assert_eq!(ask(&store, 2, 3, 0, None).await, (525, 75));
    // The second one is lost: its lease counts to the last cent, then with what it spent.
    begin(&store, "three", 3).await;
    assert_eq!(ask(&store, 3, 1, 0, Some(76)).await, (0, 75));
    store.ship(&[spent(2, 1, 25)]).await.unwrap();
    assert_eq!(ask(&store, 3, 2, 0, Some(76)).await, (0, 75));
    let carried = Carried { of: OF, month: MONTH, amount: MicroEur(30) };
    store.lease_close(IncarnationId(3), &[IncarnationId(2)], &[carried]).await.unwrap();
    // 400 of the first, 25 of the second, 30 that the third took over; what it wrote of them is not counted twice.
    store.ship(&[spent(3, 1, 30)]).await.unwrap();
    assert_eq!(ask(&store, 3, 3, 30, Some(545)).await, (575, 0));
}

pub async fn f19_gateways_that_ask_at_once_get_no_more_than_there_is(bed: &Bed) {
    let stores = [bed.open().await, bed.open().await];
    let mut asking = JoinSet::new();
    for inc in 1..=8u128 {
        let store = stores[inc as usize % 2].clone();
        begin(&store, &format!("gateway-{inc}"), inc).await;
        asking.spawn(async move {
            let mut held = 0;
            for turn in 1..=10 {
                (held, _) = ask(&store, inc, turn, held, Some(17)).await;
            }
            held
        });
    }
    let out: i64 = asking.join_all().await.iter().sum();
    assert!(out <= LIMIT.0 && out > LIMIT.0 - 17, "{out} of {} are out", LIMIT.0);
}

pub async fn f17_a_newer_boot_of_one_name_fences_the_older_one(bed: &Bed) {
    let store = bed.open().await;
    assert_eq!(begin(&store, "one", 1).await, 1);
    assert_eq!(ask(&store, 1, 1, 0, Some(10)).await, (500, 500));
    assert_eq!(begin(&store, "other", 2).await, 1);
    assert_eq!(begin(&store, "one", 3).await, 2);
    let stale = store.lease(IncarnationId(1), &[asked(2, 500, Some(1))], Sharing::Parts).await;
    assert!(matches!(stale, Err(LeaseError::Stale)), "{stale:?}");
    assert!(matches!(store.lease_wanted(IncarnationId(1)).await, Err(LeaseError::Stale)));
    // Nobody knows this one.
    assert!(matches!(store.lease_wanted(IncarnationId(9)).await, Err(LeaseError::Stale)));
    // What the stale one did is still taken, and what it holds still counts.
    assert_eq!(store.ship(&[spent(1, 1, 20)]).await.unwrap(), 1);
    assert_eq!(ask(&store, 3, 1, 0, Some(10)).await, (125, 375));
    assert_eq!(store.lease_wanted(IncarnationId(2)).await.unwrap(), []);
}
