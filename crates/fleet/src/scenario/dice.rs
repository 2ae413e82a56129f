//! A seeded source of numbers (SplitMix64): the same seed, the same story, on every machine. Not for secrets.

#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to below `sides`; the bias of the remainder is below one in 2^40 for what is asked here.
    pub fn below(&mut self, sides: u64) -> u64 {
        self.roll() % sides.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_one_row() {
        // The first numbers of SplitMix64 from seed 0, as its author's program prints them.
        let mut dice = Dice::new(0);
        assert_eq!([dice.roll(), dice.roll()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
        let mut dice = Dice::new(7);
        let counts = (0..6_000).fold([0; 6], |mut counts, _| {
            counts[dice.below(6) as usize] += 1;
            counts
        });
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
    }
}
