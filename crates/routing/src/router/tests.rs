//! What the choice promises: only open replicas, few looks, the prefix where there is room, and gateways that agree.

use super::*;
use crate::chain::of_ids;
use proptest::prelude::{any, prop, prop_assert, proptest};
use std::collections::BTreeSet;

fn router(strategy: Strategy, replicas: u64, gateways: u32) -> Router {
    let mut router = Router::new(Options { strategy, gateways, ..Options::default() });
    router.set(&(0..replicas).map(|name| Some(mix(name))).collect::<Vec<_>>());
    router
}

fn ask(chain: &[u64]) -> Ask<'_> {
    Ask { chain, tokens: (chain.len() as u64 * BLOCK_TOKENS).max(100) }
}

/// Chooses and sends.
fn send(router: &mut Router, chain: &[u64], random: u64) -> (Choice, Ticket) {
    let choice = router.choose(&ask(chain), &[], 0, random, |_| Look::Open).unwrap();
    let ticket = router.send(&choice, &ask(chain));
    (choice, ticket)
}

#[test]
fn a_prompt_goes_where_its_beginning_is() {
    let mut router = router(Strategy::Prefix, 16, 1);
    let chain = of_ids(1, 0..20);
    let (first, ticket) = send(&mut router, &chain[..18], 7);
    router.done(ticket);
    let (second, ticket) = send(&mut router, &chain, 99);
    assert_eq!((second.slot, second.cached_tokens), (first.slot, 18 * BLOCK_TOKENS));
    router.done(ticket);
    // Whoever shares nothing goes to where nothing is.
    let (other, _ticket) = send(&mut router, &of_ids(2, 0..20), 99);
    assert_eq!(other.cached_tokens, 0);
}

#[test]
fn load_outweighs_a_prefix() {
    let mut router = router(Strategy::Prefix, 4, 1);
    let chain = of_ids(1, 0..10);
    let mut by_replica = [0u32; 4];
    // A hundred at once that begin alike: the holder may take some more, not all.
    let tickets: Vec<_> = (0..100)
        .map(|id| {
            let own: Vec<u64> = chain.iter().copied().chain(of_ids(mix(id), 0..4)).collect();
            let (choice, ticket) = send(&mut router, &own, mix(id));
            by_replica[choice.slot as usize] += 1;
            ticket
        })
        .collect();
    assert!(by_replica.iter().all(|&count| (15..=35).contains(&count)), "no hot spot: {by_replica:?}");
    tickets.into_iter().for_each(|ticket| assert!(router.done(ticket)));
    assert!((0..4).all(|slot| router.loads.get(slot) == Some(0)), "what ends leaves nothing");
}

#[test]
fn a_first_token_lightens_the_load() {
    let mut router = router(Strategy::LeastLoaded, 2, 1);
    let (choice, mut ticket) = send(&mut router, &of_ids(1, 0..10), 0);
    let before = router.loads.get(choice.slot).unwrap();
    router.first_token(&mut ticket);
    assert!(router.loads.get(choice.slot).unwrap() < before);
    router.done(ticket);
    assert_eq!(router.loads.get(choice.slot), Some(0));
}

#[test]
fn in_turn_and_least() {
    let check = |strategy, expect: &[u32]| {
        let mut router = router(strategy, 3, 1);
        let found: Vec<_> = (0..6).map(|_| send(&mut router, &[], 0)).collect();
        assert_eq!(found.iter().map(|(choice, _)| choice.slot).collect::<Vec<_>>(), expect, "{strategy:?}");
    };
    check(Strategy::RoundRobin, &[0, 1, 2, 0, 1, 2]);
    check(Strategy::LeastLoaded, &[0, 1, 2, 0, 1, 2]);
}

/// Gateways that share nothing: the first turn of a conversation over one, the second over another that has never seen
/// it, with the replicas in another order.
#[test]
fn gateways_agree_on_a_home() {
    let (mut one, mut other) = (router(Strategy::Prefix, 240, 8), Router::default());
    let names: Vec<_> = (0..240).rev().map(|name| Some(mix(name))).collect();
    other.options = one.options;
    other.prefixes = one.prefixes.clone();
    other.set(&names);
    // Both have seen that prompts come back.
    one.reuse = REUSE_ONE / 8;
    other.reuse = REUSE_ONE / 8;
    let mut same = 0;
    for conversation in 0..200 {
        let chain = of_ids(conversation, 0..12);
        let (first, ticket) = send(&mut one, &chain[..9], conversation);
        one.done(ticket);
        let (second, ticket) = send(&mut other, &chain, mix(conversation));
        other.done(ticket);
        same += u32::from(first.slot == 239 - second.slot);
    }
    assert!(same >= 195, "{same} of 200 conversations stay together");
}

#[test]
fn a_replica_that_leaves_moves_hardly_anybody() {
    let before = router(Strategy::Prefix, 100, 8);
    let mut after = before.clone();
    let mut names: Vec<_> = (0..100).map(|name| Some(mix(name))).collect();
    names[40] = None;
    after.set(&names);
    let home = |router: &Router, key: u64| router.homes(mix(key)).next().unwrap();
    let moved = (0..2_000).filter(|&key| home(&before, key) != home(&after, key)).count();
    let gone = (0..2_000).filter(|&key| home(&before, key) == 40).count();
    assert!((0..2_000).all(|key| home(&after, key) != 40));
    assert!(moved < gone + 60, "{moved} moved, {gone} had to");
    let mut shares = [0; 100];
    (0..20_000).for_each(|key| shares[home(&before, key) as usize] += 1);
    assert!(shares.iter().all(|&share| (140..=260).contains(&share)), "{shares:?}");
}

#[test]
fn whoever_comes_anew_starts_anew() {
    let mut router = router(Strategy::Prefix, 2, 1);
    let chain = of_ids(1, 0..10);
    let (choice, ticket) = send(&mut router, &chain, 0);
    let mut names = [Some(mix(0)), Some(mix(1))];
    names[choice.slot as usize] = None;
    router.set(&names);
    assert!((0..9).all(|random| send(&mut router, &chain, random).0.slot != choice.slot));
    names[choice.slot as usize] = Some(77);
    router.set(&names);
    assert_eq!(router.prefixes.held(choice.slot, &chain), 0, "another engine, another memory");
    router.done(ticket);
    assert_eq!(router.loads.get(choice.slot), Some(0), "a ticket of the engine that was here before says nothing");
}

#[test]
fn a_shut_replica_is_found_shut_once() {
    for strategy in Strategy::ALL {
        let mut router = router(strategy, 50, 1);
        let mut asked = 0;
        // All but one are shut until 1,000.
        let mut choose = |router: &mut Router, now: u64| {
            let look = |slot| {
                asked += 1;
                if slot == 31 || now >= 1_000 { Look::Open } else { Look::ShutUntil(1_000) }
            };
            let slot = router.choose(&ask(&[]), &[], now, 5, look).map(|choice| choice.slot);
            (slot, std::mem::take(&mut asked))
        };
        let (slot, asked) = choose(&mut router, 0);
        assert!(slot == Some(31) && asked <= 50, "{strategy:?}");
        (1..1_000).for_each(|now| assert_eq!(choose(&mut router, now), (Some(31), 1), "{strategy:?}"));
        let open = (1_000..1_100).filter(|&now| choose(&mut router, now).1 == 1).count();
        assert_eq!(open, 100);
        assert_eq!((0..50).filter(|&slot| router.loads.get(slot).is_some()).count(), 50, "all are back");
    }
}

#[test]
fn without_a_replica_there_is_no_choice() {
    for strategy in Strategy::ALL {
        let mut router = router(strategy, 0, 8);
        assert_eq!(router.choose(&ask(&[1, 2]), &[], 0, 1, |_| Look::Open), None);
        router.set(&[None, Some(4), None]);
        assert_eq!(router.choose(&ask(&[1, 2]), &[], 0, 1, |_| Look::Open).map(|choice| choice.slot), Some(1));
        assert_eq!(router.choose(&ask(&[1, 2]), &[1], 0, 1, |_| Look::Open), None);
        assert_eq!(router.choose(&ask(&[1, 2]), &[], 0, 1, |_| Look::ShutUntil(9)), None);
    }
}

/// The price of a choice is in looks: as many at 2,000 replicas as at 20.
#[test]
fn looks_do_not_grow_with_replicas() {
    let looks = |strategy, replicas, gateways| {
        let mut router = router(strategy, replicas, gateways);
        let mut tickets = Vec::new();
        for request in 0..4_000u64 {
            let head = of_ids(request % 3, 0..6);
            let chain: Vec<u64> = head.into_iter().chain(of_ids(mix(request % 500), 0..request % 9)).collect();
            let before = router.looks();
            tickets.push(send(&mut router, &chain, mix(request)).1);
            assert!(router.looks() - before <= CANDIDATES_MAX as u64 + 1);
            if request % 4 != 0 {
                router.done(tickets.swap_remove(mix(request) as usize % tickets.len()));
            }
        }
        router.looks() as f64 / 4_000.0
    };
    for strategy in Strategy::ALL {
        for gateways in [1, 8] {
            let (few, many) = (looks(strategy, 20, gateways), looks(strategy, 2_000, gateways));
            assert!(many <= few + 1.0, "{strategy:?} {gateways}: {few} looks at 20 replicas, {many} at 2,000");
        }
    }
}

/// Under load a replica is found full with each request that it ends. Only the last look says when to look again; else each
/// would bring one more, for ever.
#[test]
fn a_replica_that_is_found_shut_many_times_is_looked_at_once() {
    let mut router = router(Strategy::LeastLoaded, 1, 1);
    for until in 1_000..1_100 {
        router.look_again(0);
        assert_eq!(router.any_open(0, 0, |_| Look::ShutUntil(until)), None);
    }
    let before = router.looks();
    assert!((1_000..1_099).all(|now| router.any_open(now, 0, |_| Look::Open).is_none()));
    assert_eq!(router.looks(), before);
    assert_eq!(router.any_open(1_099, 0, |_| Look::Open), Some(0));
}

/// Whose replica left and came back meanwhile says so: its end opens nothing there.
#[test]
fn a_request_of_an_earlier_replica_ends_elsewhere() {
    let mut router = router(Strategy::LeastLoaded, 1, 1);
    let (_, ticket) = send(&mut router, &[], 0);
    router.set(&[None]);
    router.set(&[Some(mix(0))]);
    assert!(!router.done(ticket));
}

proptest! {
    /// Whatever happens, a choice is an open replica that was not tried, and there is one if there is one.
    #[test]
    fn open_or_none(
        strategy in prop::sample::select(Strategy::ALL.to_vec()),
        gateways in 1..4u32,
        steps in prop::collection::vec((0..6u64, 0..9u64, any::<u64>(), prop::collection::vec(0..9u32, 0..4)), 1..60),
    ) {
        let mut router = router(strategy, 8, gateways);
        let mut tickets = Vec::new();
        for (now, (name, length, random, tried)) in steps.into_iter().enumerate() {
            let chain = of_ids(name, 0..length);
            let open: BTreeSet<u32> = (0..8).filter(|slot| random >> slot & 3 != 0).collect();
            let look = |slot| if open.contains(&slot) { Look::Open } else { Look::ShutUntil(now as u64 + 1) };
            let choice = router.choose(&ask(&chain), &tried, now as u64, random, look);
            match choice {
                Some(choice) => {
                    prop_assert!(open.contains(&choice.slot) && !tried.contains(&choice.slot));
                    let held = router.prefixes.held(choice.slot, &chain);
                    prop_assert!(strategy != Strategy::Prefix || choice.cached_tokens == ask(&chain).cached(held));
                    tickets.push(router.send(&choice, &ask(&chain)));
                }
                None => prop_assert!(open.iter().all(|slot| tried.contains(slot))),
            }
            if random % 3 == 0 && !tickets.is_empty() {
                router.done(tickets.swap_remove(0));
            }
        }
    }
}
