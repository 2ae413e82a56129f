//! The KV blocks of one simulated engine: those that running sequences use, and those that are kept in case somebody asks
//! again, the least recently used of which make room.
//!
//! What it is not: the gateway's idea of it (`routing::prefix`). That one is a guess; this one is the truth of the twin,
//! and shares no code with it.

use std::collections::{BTreeMap, HashMap};

#[derive(Debug, Clone, Copy)]
struct Block {
    users: u32,
    /// When it was last let go; its place among those that may be evicted.
    idle_since: u64,
}

/// One engine's memory.
#[derive(Debug, Clone)]
pub struct Cache {
    blocks: HashMap<u64, Block>,
    /// Kept and unused, by when they were last used: the first goes first.
    idle: BTreeMap<u64, u64>,
    /// Blocks of running sequences that nobody else can use: unfinished, generated, or read twice at once.
    private: usize,
    capacity: usize,
    ticks: u64,
}

impl Cache {
    pub fn new(capacity: usize) -> Cache {
        Cache { blocks: HashMap::new(), idle: BTreeMap::new(), private: 0, capacity, ticks: 0 }
    }

    /// How many blocks from the chain's head are here.
    pub fn matched(&self, chain: &[u64]) -> usize {
        chain.iter().take_while(|block| self.blocks.contains_key(block)).count()
    }

    /// Blocks that could be had now, evicting what is idle.
    fn available(&self) -> usize {
        self.capacity - (self.blocks.len() - self.idle.len()) - self.private
    }

    /// Takes the blocks of the chain that are here for a sequence and room for `fresh` others; false and nothing taken
    /// if there is no room.
    pub fn admit(&mut self, matched: &[u64], fresh: usize) -> bool {
        let waking = matched.iter().filter(|block| self.blocks[*block].users == 0).count();
        if self.available() < waking + fresh {
            return false;
        }
        for block in matched {
            self.take(*block);
        }
        self.grow(fresh)
    }

    /// Room for so many more blocks of a running sequence.
    pub fn grow(&mut self, fresh: usize) -> bool {
        if self.available() < fresh {
            return false;
        }
        self.private += fresh;
        while self.blocks.len() + self.private > self.capacity {
            let Some((_, block)) = self.idle.pop_first() else { break };
            self.blocks.remove(&block);
        }
        true
    }

    /// A block of a running sequence is read: others can use it from now on. False if it is here already, read by
    /// another sequence at the same time; then it stays private.
    pub fn publish(&mut self, block: u64) -> bool {
        if self.blocks.contains_key(&block) {
            return false;
        }
        self.private -= 1;
        self.blocks.insert(block, Block { users: 1, idle_since: 0 });
        true
    }

    /// A sequence is over: its shared blocks are kept, the tail to be forgotten first; its private ones are free.
    pub fn release(&mut self, shared: &[u64], private: usize) {
        self.private -= private;
        for block in shared.iter().rev() {
            self.ticks += 1;
            let Some(kept) = self.blocks.get_mut(block) else { continue };
            kept.users -= 1;
            if kept.users == 0 {
                kept.idle_since = self.ticks;
                self.idle.insert(self.ticks, *block);
            }
        }
    }

    fn take(&mut self, block: u64) {
        let Some(kept) = self.blocks.get_mut(&block) else { return };
        if kept.users == 0 {
            self.idle.remove(&kept.idle_since);
        }
        kept.users += 1;
    }
}
