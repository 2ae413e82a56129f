//! All chance of a study comes from one seed. SplitMix64, as in `simulation`: small, even, the same everywhere for ever.

#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn of(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Dice of their own for one part of the study: what one part throws does not move another's.
    pub fn fork(&mut self) -> Dice {
        Dice(self.next())
    }

    /// From 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From 0 to below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn chance(&mut self, of_one: f64) -> bool {
        self.unit() < of_one
    }

    /// The wait for something that happens by chance, `mean` millis apart.
    pub fn wait(&mut self, mean: f64) -> i64 {
        // Never the logarithm of zero.
        (-(1.0 - self.unit()).ln() * mean).round() as i64
    }

    /// About `mean` millis, evenly within the share `spread` of it either way.
    pub fn about(&mut self, mean: i64, spread: f64) -> i64 {
        (mean as f64 * (1.0 + spread * (2.0 * self.unit() - 1.0))).round() as i64
    }

    /// Which of the weights; 0 if there are none.
    pub fn among(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut at = self.unit() * weights.clone().sum::<f64>();
        let mut last = 0;
        for (index, weight) in weights.enumerate() {
            if weight > 0.0 {
                last = index;
            }
            if at < weight {
                return index;
            }
            at -= weight;
        }
        last
    }

    /// 64 hexadecimal digits: what stands for a photograph's hash.
    pub fn digest(&mut self) -> String {
        (0..4).map(|_| format!("{:016x}", self.next())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_have_their_mean_and_weights_their_share() {
        let mut dice = Dice::of(7);
        let mean = (0..20_000).map(|_| dice.wait(1_000.0)).sum::<i64>() / 20_000;
        assert!((970..1_030).contains(&mean), "{mean}");
        let third = (0..20_000).filter(|_| dice.among([2.0, 0.0, 1.0].into_iter()) == 2).count();
        assert!((6_300..7_000).contains(&third), "{third}");
        assert!((0..20_000).all(|_| dice.among([2.0, 0.0, 1.0].into_iter()) != 1));
    }
}
