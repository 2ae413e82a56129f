//! The choice of a replica: two are drawn at random, the less loaded one wins ("power of two choices").
//!
//! Why not the least loaded of all: several gateways that look at the same figures would all send to the same replica
//! at once; two random draws come within a constant of it, without the herd, and cost no scan.
//!
//! What it is not: no prefix locality yet, no fairness between tenants; those are choices of their own.

/// What the choice needs to know of a replica. Made anew for each choice; the place in the slice is its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaView {
    /// Requests that this gateway has running there.
    pub in_flight: u32,
    /// Not cordoned, has room, and its breaker lets requests pass.
    pub available: bool,
}

/// Chooses an available replica that this request has not tried; none if there is none. `random` is 64 random bits.
///
/// Two draws over all replicas decide if both are eligible, the usual case. Otherwise the eligible ones are counted
/// and two of them are drawn. Either way all eligible pairs are equally likely.
pub fn choose(replicas: &[ReplicaView], tried: &[usize], random: u64) -> Option<usize> {
    let eligible = |at: usize| replicas[at].available && !tried.contains(&at);
    if replicas.len() > 1 {
        let (a, b) = two_of(replicas.len(), random);
        if eligible(a) && eligible(b) {
            return Some(less_loaded(replicas, a, b));
        }
    }
    let mut rest = (0..replicas.len()).filter(|&at| eligible(at));
    match rest.clone().count() {
        0 => None,
        1 => rest.next(),
        // The first draw's bits are spent: it failed because of their values. Mixing makes them new.
        count => {
            let (a, b) = two_of(count, mix(random));
            let (low, high) = (a.min(b), a.max(b));
            let low_at = rest.nth(low)?;
            let high_at = rest.nth(high - low - 1)?;
            let (a, b) = if a < b { (low_at, high_at) } else { (high_at, low_at) };
            Some(less_loaded(replicas, a, b))
        }
    }
}

/// Equal load goes to the first drawn: that is a coin thrown already.
fn less_loaded(replicas: &[ReplicaView], a: usize, b: usize) -> usize {
    if replicas[b].in_flight < replicas[a].in_flight { b } else { a }
}

/// Two different places below `count` (at least 2), from the two halves of the random bits.
fn two_of(count: usize, random: u64) -> (usize, usize) {
    let below = |half: u64, count: usize| ((u128::from(half) * count as u128) >> 32) as usize;
    let a = below(random >> 32, count);
    let b = below(random & 0xffff_ffff, count - 1);
    (a, if b >= a { b + 1 } else { b })
}

/// SplitMix64's finaliser (public domain): a bijection that spreads every bit.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn views(loads: &[u32]) -> Vec<ReplicaView> {
        loads.iter().map(|&in_flight| ReplicaView { in_flight, available: true }).collect()
    }

    #[test]
    fn few_replicas() {
        let check = |replicas: &[ReplicaView], tried: &[usize], expect| {
            for random in [0, 1, u64::MAX, 0x8000_0000_0000_0000, 0xffff_ffff] {
                assert_eq!(choose(replicas, tried, random), expect);
            }
        };
        check(&[], &[], None);
        check(&views(&[9]), &[], Some(0));
        check(&views(&[9]), &[0], None);
        check(&views(&[9, 3]), &[], Some(1)); // two: always the less loaded
        check(&views(&[9, 3]), &[1], Some(0));
        check(&views(&[9, 3]), &[1, 0], None);
        check(&views(&[9, 3, 5]), &[1], Some(2));
        check(&[ReplicaView { in_flight: 0, available: false }, views(&[7])[0]], &[], Some(1));
    }

    /// Equal replicas get equal shares, with all eligible (the fast path) and with half of them gone (the slow one).
    #[test]
    fn shares_are_even() {
        let check = |replicas: &[ReplicaView], tried: &[usize]| {
            let (mut counts, draws) = (vec![0u32; replicas.len()], 20_000u64);
            for draw in 0..draws {
                counts[choose(replicas, tried, mix(draw)).unwrap()] += 1;
            }
            let eligible = counts.iter().filter(|&&count| count > 0).count();
            assert_eq!(eligible, replicas.iter().filter(|r| r.available).count() - tried.len());
            for count in counts.into_iter().filter(|&count| count > 0) {
                let share = f64::from(count) * eligible as f64 / draws as f64;
                assert!((0.93..1.07).contains(&share), "{share}");
            }
        };
        check(&views(&[1; 5]), &[]);
        check(&views(&[1; 5]), &[2]);
        let mut half = views(&[1; 8]);
        half.iter_mut().step_by(2).for_each(|replica| replica.available = false);
        check(&half, &[]);
        check(&half, &[7]);
    }

    #[test]
    fn the_most_loaded_of_many_is_never_chosen() {
        let replicas = views(&[1, 1, 1, 50]);
        assert!((0..5_000).all(|draw| choose(&replicas, &[], mix(draw)) != Some(3)));
    }

    proptest! {
        #[test]
        fn eligible_or_none(
            replicas in prop::collection::vec((0..8u32, any::<bool>()), 0..12),
            tried in prop::collection::vec(0..14usize, 0..6),
            random: u64,
        ) {
            let replicas: Vec<_> =
                replicas.into_iter().map(|(in_flight, available)| ReplicaView { in_flight, available }).collect();
            let eligible: Vec<usize> =
                (0..replicas.len()).filter(|at| replicas[*at].available && !tried.contains(at)).collect();
            match choose(&replicas, &tried, random) {
                Some(at) => prop_assert!(eligible.contains(&at)),
                None => prop_assert!(eligible.is_empty()),
            }
        }
    }
}
