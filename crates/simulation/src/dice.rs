//! All chance of a run comes from one seed. SplitMix64: small, even, and the same on every machine for ever.

use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn of(seed: u64) -> Self {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Dice of its own for one part of the run, so that what one part throws does not move another's.
    pub fn fork(&mut self) -> Dice {
        Dice(self.next())
    }

    /// From 0 to below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Both ends included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub fn in_a_thousand(&mut self, cases: u64) -> bool {
        self.below(1_000) < cases
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
    }
}

/// Dice that several tasks of one host throw.
#[derive(Clone)]
pub struct SharedDice(Arc<Mutex<Dice>>);

impl SharedDice {
    pub fn of(dice: Dice) -> Self {
        SharedDice(Arc::new(Mutex::new(dice)))
    }

    pub fn throw<T>(&self, throw: impl FnOnce(&mut Dice) -> T) -> T {
        throw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
