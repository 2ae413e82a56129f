//! The one integration binary of routing: the three parts together, as the gateway uses them.

use routing::{ATTEMPTS_MAX, Ask, Attempts, Breaker, Look, Report, RetryBudget, Router, Strategy};

/// A gateway's loop over attempts, with an engine that decides by replica whether an attempt succeeds.
fn request(
    breakers: &mut [Breaker],
    budget: &mut RetryBudget,
    now: u64,
    random: u64,
    works: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let (mut tried, mut attempts) = (Vec::new(), Attempts::default());
    let mut router = Router::new(routing::router::Options { strategy: Strategy::LeastLoaded, ..Default::default() });
    router.set(&(0..breakers.len() as u64).map(Some).collect::<Vec<_>>());
    budget.on_request();
    loop {
        let random = random.wrapping_mul(tried.len() as u64 * 2 + 1);
        let ask = Ask { chain: &[], tokens: 10 };
        let choose = |out: &[u32]| {
            let look = |slot: u32| match breakers[slot as usize].available(now) {
                true => Look::Open,
                false => Look::ShutUntil(breakers[slot as usize].opens_at()),
            };
            router.choose(&ask, out, now, random, look).map(|choice| (choice.slot, ()))
        };
        let next = attempts.next(choose, || budget.try_retry(now), |_| true).map(|(slot, ())| slot as usize);
        let Some(at) = next else { break };
        let pass = breakers[at].try_pass(now).expect("nobody else is here to shut it");
        tried.push(at);
        breakers[at].report(pass, if works(at) { Report::Success } else { Report::Failure }, now);
        if works(at) {
            break;
        }
    }
    tried
}

#[test]
fn three_attempts_on_three_different_replicas() {
    for random in 0..200u64 {
        let mut breakers = vec![Breaker::new(); 5];
        let mut tried =
            request(&mut breakers, &mut RetryBudget::new(0), 0, random.wrapping_mul(0x9e37_79b9_7f4a_7c15), |_| false);
        assert_eq!(tried.len(), ATTEMPTS_MAX);
        tried.sort_unstable();
        tried.dedup();
        assert_eq!(tried.len(), ATTEMPTS_MAX, "never the same replica twice");
    }
}

/// One dead replica of four: its breaker opens after five failures, so 1,000 requests lose nothing and it is tried
/// five times and then once per probe. (A router that retries without exclusion may hit it with all attempts.)
#[test]
fn a_dead_replica_costs_five_attempts_and_probes() {
    let mut breakers = vec![Breaker::new(); 4];
    let mut budget = RetryBudget::new(0);
    let mut at_dead = 0;
    for number in 0..1_000u64 {
        let now = number * 10;
        let random = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let tried = request(&mut breakers, &mut budget, now, random, |at| at != 2);
        assert_ne!(tried.last(), Some(&2), "request {number} ended at the dead replica");
        at_dead += tried.iter().filter(|&&at| at == 2).count();
    }
    // Ten seconds hold the pauses 1 + 2 + 4: three probes at most.
    assert!((5..=8).contains(&at_dead), "{at_dead}");
}
