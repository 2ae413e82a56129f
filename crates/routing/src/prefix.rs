//! Which replica holds which prefix: what this gateway itself sent where, in the order in which an engine forgets.
//!
//! For each replica a list of blocks from the newest to the oldest, cut at the number of blocks that its engine keeps. A
//! prompt touches its chain from the tail to the head, so the tail is forgotten first, and what a replica holds of a chain
//! is always a prefix of it: depths are found by halving, not by walking.
//!
//! What it is not: it asks no engine and hears of no other gateway. It may be wrong in both directions, which costs a
//! prefill and nothing else. Nothing in it depends on the order of a hash map.
//!
//! If we crash here: nothing is lost but the memory of who has read what; it comes back with the requests.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Copies (a block at a replica) that one index remembers in all. A copy takes 32 bytes, and about 50 more in the two maps: 80
/// MiB. That is 1,048,576 = 512 replicas of 2,048 blocks; beyond, each replica's share is smaller and its oldest blocks are
/// forgotten here before the engine forgets them.
pub const COPIES_MAX: usize = 1 << 20;

const NONE: u32 = u32::MAX;

/// Keys are hashes already.
#[derive(Default, Clone, Copy)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type Map<T> = HashMap<u64, T, BuildHasherDefault<AsItIs>>;

/// A block at a replica, in two lists: the replica's from newest to oldest, and the block's holders.
#[derive(Debug, Clone, Copy)]
struct Copy {
    block: u64,
    slot: u32,
    newer: u32,
    older: u32,
    next: u32,
    before: u32,
}

#[derive(Debug, Clone, Copy)]
struct Holders {
    first: u32,
    count: u32,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    newest: u32,
    oldest: u32,
    count: u32,
}

impl Default for Kept {
    fn default() -> Kept {
        Kept { newest: NONE, oldest: NONE, count: 0 }
    }
}

/// The index of one endpoint's replicas, each known by its slot.
#[derive(Debug, Clone, Default)]
pub struct Prefixes {
    copies: Vec<Copy>,
    free: Vec<u32>,
    kept: Vec<Kept>,
    holders: Map<Holders>,
    places: Map<u32>,
    blocks_per_replica: u32,
    copies_max: usize,
}

impl Prefixes {
    /// For engines that keep so many blocks each; in all at most `copies_max` copies.
    pub fn new(blocks_per_replica: u32, copies_max: usize) -> Prefixes {
        Prefixes { blocks_per_replica, copies_max, ..Prefixes::default() }
    }

    /// Makes room for slots below `slots`. More replicas make each one's share of the memory smaller.
    pub fn grow(&mut self, slots: usize) {
        if slots > self.kept.len() {
            self.kept.resize(slots, Kept::default());
        }
    }

    /// How many blocks are remembered of each replica.
    pub fn share(&self) -> u32 {
        let share = self.copies_max / self.kept.len().max(1);
        self.blocks_per_replica.min(u32::try_from(share).unwrap_or(u32::MAX))
    }

    /// Copies remembered now.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many blocks of the chain, from its head, some replica holds.
    pub fn known(&self, chain: &[u64]) -> usize {
        depth(chain.len(), |at| self.holders.contains_key(&chain[at]))
    }

    /// How many blocks of the chain, from its head, this replica holds.
    pub fn held(&self, slot: u32, chain: &[u64]) -> usize {
        depth(chain.len(), |at| self.places.contains_key(&place(chain[at], slot)))
    }

    /// How many replicas hold this block.
    pub fn holder_count(&self, block: u64) -> usize {
        self.holders.get(&block).map_or(0, |holders| holders.count as usize)
    }

    /// The replicas that hold this block, the one that used it last first.
    pub fn holders(&self, block: u64) -> impl Iterator<Item = u32> + '_ {
        let mut at = self.holders.get(&block).map_or(NONE, |holders| holders.first);
        std::iter::from_fn(move || {
            let copy = self.copies.get(at as usize)?;
            at = copy.next;
            Some(copy.slot)
        })
    }

    /// The replica reads this chain: it holds all of it now, and it forgets what is oldest.
    pub fn touch(&mut self, slot: u32, chain: &[u64]) {
        self.grow(slot as usize + 1);
        let share = self.share();
        // Longer than what is kept: the head is worth more than the tail.
        for &block in chain[..chain.len().min(share as usize)].iter().rev() {
            match self.places.get(&place(block, slot)).copied() {
                Some(at) => {
                    self.unlink_kept(at);
                    self.unlink_holder(at);
                    self.link(at);
                }
                None => {
                    while self.kept[slot as usize].count >= share {
                        self.forget_oldest(slot);
                    }
                    self.insert(slot, block);
                }
            }
        }
    }

    /// The replica is gone, or it starts anew.
    pub fn clear(&mut self, slot: u32) {
        while self.kept.get(slot as usize).is_some_and(|kept| kept.count > 0) {
            self.forget_oldest(slot);
        }
    }

    fn insert(&mut self, slot: u32, block: u64) {
        let copy = Copy { block, slot, newer: NONE, older: NONE, next: NONE, before: NONE };
        let at = match self.free.pop() {
            Some(at) => {
                self.copies[at as usize] = copy;
                at
            }
            None => {
                self.copies.push(copy);
                self.copies.len() as u32 - 1
            }
        };
        self.places.insert(place(block, slot), at);
        self.link(at);
    }

    fn forget_oldest(&mut self, slot: u32) {
        let at = self.kept[slot as usize].oldest;
        let Some(&copy) = self.copies.get(at as usize) else { return };
        self.unlink_kept(at);
        self.unlink_holder(at);
        self.places.remove(&place(copy.block, slot));
        self.free.push(at);
    }

    /// In front of both lists.
    fn link(&mut self, at: u32) {
        let Copy { block, slot, .. } = self.copies[at as usize];
        let kept = &mut self.kept[slot as usize];
        let older = std::mem::replace(&mut kept.newest, at);
        kept.count += 1;
        if older == NONE {
            kept.oldest = at;
        } else {
            self.copies[older as usize].newer = at;
        }
        let holders = self.holders.entry(block).or_insert(Holders { first: NONE, count: 0 });
        let next = std::mem::replace(&mut holders.first, at);
        holders.count += 1;
        if next != NONE {
            self.copies[next as usize].before = at;
        }
        let copy = &mut self.copies[at as usize];
        (copy.newer, copy.older, copy.before, copy.next) = (NONE, older, NONE, next);
    }

    fn unlink_kept(&mut self, at: u32) {
        let Copy { slot, newer, older, .. } = self.copies[at as usize];
        let kept = &mut self.kept[slot as usize];
        kept.count -= 1;
        if newer == NONE {
            kept.newest = older;
        }
        if older == NONE {
            kept.oldest = newer;
        }
        if newer != NONE {
            self.copies[newer as usize].older = older;
        }
        if older != NONE {
            self.copies[older as usize].newer = newer;
        }
    }

    fn unlink_holder(&mut self, at: u32) {
        let Copy { block, before, next, .. } = self.copies[at as usize];
        if before != NONE {
            self.copies[before as usize].next = next;
        }
        if next != NONE {
            self.copies[next as usize].before = before;
        }
        let Some(holders) = self.holders.get_mut(&block) else { return };
        holders.count -= 1;
        if before == NONE {
            holders.first = next;
        }
        if holders.count == 0 {
            self.holders.remove(&block);
        }
    }
}

/// The key of a copy. A rotation and a product keep apart what two slots hold of one block.
fn place(block: u64, slot: u32) -> u64 {
    crate::chain::mix(block ^ (u64::from(slot) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// The first place below `length` where `there` is false, given that it is true before and false behind.
pub(crate) fn depth(length: usize, there: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = low + (high - low) / 2;
        if there(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::of_ids;
    use proptest::prelude::*;

    /// Of each replica its blocks, the oldest first.
    #[derive(Default)]
    struct Naive(Vec<Vec<u64>>, usize);

    impl Naive {
        fn touch(&mut self, slot: usize, chain: &[u64]) {
            let share = self.1;
            for block in chain[..chain.len().min(share)].iter().rev() {
                self.0[slot].retain(|kept| kept != block);
                self.0[slot].push(*block);
                let over = self.0[slot].len().saturating_sub(share);
                self.0[slot].drain(..over);
            }
        }

        fn held(&self, slot: usize, chain: &[u64]) -> usize {
            chain.iter().take_while(|block| self.0[slot].contains(block)).count()
        }
    }

    proptest! {
        /// Depths and holders are those of lists that are searched from end to end, and memory has its limit.
        #[test]
        fn as_a_naive_model(
            per_replica in 1..12u32,
            copies_max in 4..40usize,
            steps in prop::collection::vec((0..4u32, prop::collection::vec(0..3u64, 1..8)), 1..80),
        ) {
            let mut index = Prefixes::new(per_replica, copies_max);
            index.grow(4);
            let share = per_replica.min(copies_max as u32 / 4);
            let mut naive = Naive(vec![Vec::new(); 4], share as usize);
            for (slot, ids) in steps {
                let chain = of_ids(0, ids);
                index.touch(slot, &chain);
                naive.touch(slot as usize, &chain);
                prop_assert!(index.len() <= copies_max && index.len() == naive.0.iter().map(Vec::len).sum::<usize>());
                let held: Vec<usize> = (0..4).map(|slot| naive.held(slot, &chain)).collect();
                prop_assert_eq!((0..4).map(|slot| index.held(slot, &chain)).collect::<Vec<_>>(), held.clone());
                prop_assert_eq!(Some(&index.known(&chain)), held.iter().max());
                for block in &chain {
                    let mut holders: Vec<u32> = index.holders(*block).collect();
                    prop_assert_eq!(holders.len(), index.holder_count(*block));
                    holders.sort_unstable();
                    let expect: Vec<u32> = (0..4).filter(|slot| naive.0[*slot as usize].contains(block)).collect();
                    prop_assert_eq!(holders, expect);
                }
            }
            index.clear(2);
            prop_assert_eq!(index.len(), naive.0.iter().map(Vec::len).sum::<usize>() - naive.0[2].len());
            // What is freed is used again.
            prop_assert!(index.copies.len() <= copies_max);
        }
    }

    #[test]
    fn the_tail_is_forgotten_first_and_the_last_user_is_named_first() {
        let mut index = Prefixes::new(6, 1_000);
        let (one, two) = (of_ids(1, 0..4), of_ids(2, 0..4));
        index.touch(0, &one);
        index.touch(0, &two);
        assert_eq!((index.held(0, &one), index.held(0, &two)), (2, 4));
        index.touch(1, &two[..2]);
        assert_eq!(index.holders(two[0]).collect::<Vec<_>>(), [1, 0]);
        index.touch(0, &two);
        assert_eq!(index.holders(two[0]).collect::<Vec<_>>(), [0, 1]);
        let long = of_ids(3, 0..9);
        index.touch(0, &long);
        assert_eq!((index.held(0, &long), index.held(0, &two)), (6, 0), "longer than the memory: its head");
    }
}
