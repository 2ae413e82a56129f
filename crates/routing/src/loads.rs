//! How loaded each replica is, as a tournament: the least loaded one is found without looking at the others.
//!
//! A complete binary tree over slots; each node holds the lesser key of its two halves. An update costs the height of the
//! tree (11 at 2,048 slots), the least loaded is read at the top. A slot that is shut (its breaker is open, it is gone) has no
//! key and is never met on the way down.

/// Of slots that take nothing.
const SHUT: u64 = u64::MAX;

/// The tree. A power of two of leaves, so that slots are found by their bits.
#[derive(Debug, Clone, Default)]
pub struct Loads {
    /// Node 1 is the top, the children of `n` are `2n` and `2n + 1`; leaves are the upper half.
    keys: Vec<u64>,
    leaves: usize,
}

impl Loads {
    /// Makes room for slots below `slots`; new ones are shut.
    pub fn grow(&mut self, slots: usize) {
        if slots <= self.leaves {
            return;
        }
        let leaves = slots.next_power_of_two();
        let mut keys = vec![SHUT; 2 * leaves];
        keys[leaves..leaves + self.leaves].copy_from_slice(&self.keys[self.leaves..]);
        (self.keys, self.leaves) = (keys, leaves);
        for node in (1..leaves).rev() {
            self.keys[node] = self.keys[2 * node].min(self.keys[2 * node + 1]);
        }
    }

    /// A slot's load; none while it is shut.
    pub fn get(&self, slot: u32) -> Option<u64> {
        let key = *self.keys.get(self.leaves + slot as usize)?;
        (key != SHUT).then_some(key)
    }

    /// Sets a slot's load, or shuts it.
    pub fn set(&mut self, slot: u32, load: Option<u64>) {
        self.grow(slot as usize + 1);
        let mut node = self.leaves + slot as usize;
        self.keys[node] = load.map_or(SHUT, |load| load.min(SHUT - 1));
        while node > 1 {
            node /= 2;
            let key = self.keys[2 * node].min(self.keys[2 * node + 1]);
            if self.keys[node] == key {
                break;
            }
            self.keys[node] = key;
        }
    }

    /// The least loaded slot that is neither shut nor among `tried`. Among equals the bits of `random` choose, so that
    /// several gateways that know nothing do not all begin with the same replica.
    pub fn least(&self, tried: &[u32], random: u64) -> Option<u32> {
        if self.leaves == 0 {
            return None;
        }
        // Without those that were tried (three at most) the tops of their paths no longer count.
        let mut spoilt: Vec<usize> = Vec::new();
        if !tried.is_empty() {
            for &slot in tried.iter().filter(|&&slot| (slot as usize) < self.leaves) {
                let mut node = self.leaves + slot as usize;
                while node >= 1 && !spoilt.contains(&node) {
                    spoilt.push(node);
                    node /= 2;
                }
            }
        }
        let found = self.key_without(1, &spoilt);
        if found == SHUT {
            return None;
        }
        let (mut node, mut random) = (1, random);
        while node < self.leaves {
            let (left, right) = (self.key_without(2 * node, &spoilt), self.key_without(2 * node + 1, &spoilt));
            let go_right = right < left || (right == left && random & 1 == 1);
            random = random.rotate_right(1);
            node = 2 * node + usize::from(go_right);
        }
        Some((node - self.leaves) as u32)
    }

    fn key_without(&self, node: usize, spoilt: &[usize]) -> u64 {
        if !spoilt.contains(&node) {
            return self.keys[node];
        }
        if node >= self.leaves {
            return SHUT;
        }
        self.key_without(2 * node, spoilt).min(self.key_without(2 * node + 1, spoilt))
    }

    /// The first slot from `from` on, round the end, that is neither shut nor among `tried`.
    pub fn next(&self, from: u32, tried: &[u32]) -> Option<u32> {
        let mut from = from as usize % self.leaves.max(1);
        // Each slot tried can be met once before the end and once behind it.
        for _ in 0..2 * (tried.len() + 1) {
            match self.open_from(from) {
                Some(slot) if !tried.contains(&slot) => return Some(slot),
                Some(slot) => from = slot as usize + 1,
                None => from = 0,
            }
        }
        None
    }

    /// The first open slot at or behind `from`.
    fn open_from(&self, from: usize) -> Option<u32> {
        if from >= self.leaves {
            return None;
        }
        let mut node = self.leaves + from;
        // Up until something to the right is open, then down to its leftmost open leaf.
        while self.keys[node] == SHUT {
            while node % 2 == 1 {
                node /= 2;
                if node <= 1 {
                    return None;
                }
            }
            if node == 0 {
                return None;
            }
            node += 1;
        }
        while node < self.leaves {
            node = 2 * node + usize::from(self.keys[2 * node] == SHUT);
        }
        Some((node - self.leaves) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What the tree says is what a scan would say.
        #[test]
        fn as_a_scan(
            sets in prop::collection::vec((0..40u32, prop::option::of(0..9u64)), 0..120),
            tried in prop::collection::vec(0..45u32, 0..4),
            from in 0..80u32,
            random: u64,
        ) {
            let (mut loads, mut naive) = (Loads::default(), vec![None; 40]);
            for (slot, load) in sets {
                loads.set(slot, load);
                naive[slot as usize] = load;
            }
            let open = |slot: u32| naive[slot as usize].filter(|_| !tried.contains(&slot));
            let least = (0..40).filter_map(open).min();
            match loads.least(&tried, random) {
                Some(slot) => prop_assert_eq!(open(slot), least),
                None => prop_assert_eq!(least, None),
            }
            prop_assert!((0..40).all(|slot| loads.get(slot) == naive[slot as usize]));
            let from = from % loads.leaves.max(1) as u32;
            let expect = (from..40).chain(0..from.min(40)).find(|&slot| open(slot).is_some());
            prop_assert_eq!(loads.next(from, &tried), expect);
        }
    }

    #[test]
    fn equals_are_spread() {
        let mut loads = Loads::default();
        (0..8).for_each(|slot| loads.set(slot, Some(0)));
        let found: std::collections::BTreeSet<_> = (0..64).filter_map(|bits| loads.least(&[], bits)).collect();
        assert_eq!(found.len(), 8);
    }
}
