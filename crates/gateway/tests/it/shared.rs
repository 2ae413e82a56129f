//! Failures 17 and 19: several gateways over one store. Of two with one name the older one stops; of one budget nothing is
//! spent twice, and nothing is out of reach.

use crate::world::*;
use gateway::{Readiness, Sharing};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use twin::engine::{Before, Behaviour, ScriptedEngine};
use types::{MicroEur, Outcome};

const PATIENCE: Duration = Duration::from_secs(30);

async fn until_stale(world: &World) {
    let stale = async {
        while world.gateway.readiness() != Readiness::Stale {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stale).await.expect("the older one learns that it is stale");
}

#[tokio::test]
async fn f17_of_two_gateways_with_one_name_the_older_stops_and_ships_what_it_owes() {
    let behaviour = Behaviour { before: Before::Hang, prompt_tokens: Some(10), ..Behaviour::tokens(3) };
    let engine = ScriptedEngine::start(behaviour).await.unwrap();
    let setup = || Setup::new().engine(&engine.url(), "DE").edit(|it| it.tenants[0].budget = Some(MicroEur(50_000)));
    let older = Arc::new(setup().start().await);
    let running = {
        let older = older.clone();
        tokio::spawn(async move { older.chat(json!({})).await })
    };
    engine.until(|requests| requests.len() == 1).await;
    // Another journal, the same name.
    let newer = setup().journal_in("elsewhere").start_in(older.folder.clone()).await;
    until_stale(&older).await;
    let refused = older.chat(json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "not_ready"));
    // What it had begun ends and is billed.
    engine.release();
    assert_eq!(running.await.unwrap().status, 200);
    let receipts = older.settle().await;
    assert_eq!(receipts.iter().map(|it| it.outcome).collect::<Vec<_>>(), [Outcome::Completed]);
    assert_eq!(newer.gateway.readiness(), Readiness::Ready);
    Arc::into_inner(older).unwrap().stop().await;
    assert_eq!(newer.receipts().await.len(), 1);
}

/// What a request of these tests costs, and what it holds while it runs.
const COST: i64 = 105;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_five_hundred_at_once_at_four_gateways_never_overshoot_and_leave_nothing() {
    const BUDGET: MicroEur = MicroEur(20_000);
    let engine = ScriptedEngine::start(Behaviour { prompt_tokens: Some(10), ..Behaviour::tokens(50) }).await.unwrap();
    let setup = |name| {
        let budget = |snapshot: &mut types::Snapshot| snapshot.tenants[0].budget = Some(BUDGET);
        Setup::new().engine(&engine.url(), "DE").edit(budget).sharing(Sharing::Parts).named(name)
    };
    let first = setup("test").start().await;
    let mut worlds = vec![];
    for name in ["two", "three", "four"] {
        worlds.push(Arc::new(setup(name).start_in(first.folder.clone()).await));
    }
    worlds.push(Arc::new(first));
    let mut running = JoinSet::new();
    for index in 0..500 {
        let world = worlds[index % 4].clone();
        running.spawn(async move { world.chat(json!({"stream": index % 3 == 0})).await });
    }
    while let Some(reply) = running.join_next().await {
        let reply = reply.unwrap();
        assert!(reply.status == 200 || reply.code() == "budget_exhausted", "{} {:?}", reply.status, reply.body);
    }
    // Whoever is short is heard by the others: each in turn can spend all that is left, until no request fits anywhere.
    let bound = bound(&worlds[0]).await;
    let spent = async |world: &World| world.settle().await.iter().map(|it| it.cost_micro_eur.0).sum::<i64>();
    let all_spent = async {
        for turn in 0.. {
            let world = &worlds[turn % 4];
            if world.chat(json!({})).await.status == 200 {
                continue;
            }
            if BUDGET.0 - spent(world).await < bound {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_spent).await.expect("the whole budget can be used");
    let mut receipts = Vec::new();
    for world in &worlds {
        // Read when all before it have shipped.
        receipts = world.settle().await;
    }
    let sum: i64 = receipts.iter().map(|it| it.cost_micro_eur.0).sum();
    assert!(sum <= BUDGET.0, "{sum} micro-euro were settled of {}", BUDGET.0);
    assert!(BUDGET.0 - sum < bound, "{} are left, a request holds {bound}", BUDGET.0 - sum);
    assert!(receipts.iter().filter(|it| it.outcome == Outcome::Completed).all(|it| it.cost_micro_eur.0 == COST));
    for world in worlds {
        Arc::into_inner(world).unwrap().stop().await;
    }
}

/// What a request holds: as a refusal says it.
async fn bound(world: &World) -> i64 {
    // The bytes of its body and a template's tokens at half a micro-euro, and 64 tokens at two.
    let input = chat(json!({})).to_string().len() as i64 + gateway::limits::TEMPLATE_TOKENS_MAX as i64;
    assert_eq!(world.gateway.snapshot_version(), 1);
    (input + 1) / 2 + 2 * 64
}

#[tokio::test]
async fn f19_a_lease_that_a_crash_left_open_counts_as_spent_until_its_receipts_are_shipped() {
    const BUDGET: MicroEur = MicroEur(6_000);
    let engine = ScriptedEngine::start(Behaviour { prompt_tokens: Some(10), ..Behaviour::tokens(50) }).await.unwrap();
    let setup = |name| {
        let budget = |snapshot: &mut types::Snapshot| snapshot.tenants[0].budget = Some(BUDGET);
        Setup::new().engine(&engine.url(), "DE").edit(budget).named(name)
    };
    // One that takes all, spends a little, and dies.
    let dead = setup("test").start().await;
    let folder = dead.folder.clone();
    assert_eq!(dead.chat(json!({})).await.status, 200);
    dead.settle().await;
    dead.crash().await;
    let other = setup("other").sharing(Sharing::Parts).start_in(folder.clone()).await;
    assert_eq!(other.chat(json!({})).await.code(), "budget_exhausted", "a lost lease was spent again");
    // Its next boot has its journal.
    let back = setup("test").sharing(Sharing::Parts).start_in(folder).await;
    let given_back = async {
        while other.chat(json!({})).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, given_back).await.expect("what it did not spend is there again");
    assert_eq!(back.chat(json!({})).await.status, 200);
    other.settle().await;
    let receipts = back.receipts().await;
    assert!(receipts.iter().map(|it| it.cost_micro_eur.0).sum::<i64>() <= BUDGET.0);
    other.stop().await;
}
