//! Nearness of vectors of length 1: the dot product with every one, no approximation. 50,000 of 1,024 dimensions are 50 million
//! products, some 20 ms of one core.
//!
//! Vectors of another number of dimensions than the question's are of another model, and not comparable: they are passed over.

#[derive(Default)]
pub(crate) struct Vectors {
    /// Of each number of dimensions: the places, and their numbers one after the other.
    groups: Vec<(usize, Vec<u32>, Vec<f32>)>,
}

impl Vectors {
    pub(crate) fn add(&mut self, place: u32, vector: &[f32]) {
        let known = self.groups.iter().position(|(dimensions, ..)| *dimensions == vector.len());
        let at = known.unwrap_or_else(|| {
            self.groups.push((vector.len(), Vec::new(), Vec::new()));
            self.groups.len() - 1
        });
        self.groups[at].1.push(place);
        self.groups[at].2.extend_from_slice(vector);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.groups.iter().map(|(_, places, numbers)| 4 * (places.len() + numbers.len())).sum()
    }

    /// The nearest places with their cosines, nearest first; only those that `allowed` holds.
    pub(crate) fn search(&self, vector: &[f32], allowed: &[bool], limit: usize) -> Vec<(f32, u32)> {
        let mut found: Vec<(f32, u32)> = Vec::new();
        for (dimensions, places, numbers) in &self.groups {
            if *dimensions != vector.len() || *dimensions == 0 {
                continue;
            }
            for (place, row) in places.iter().zip(numbers.chunks_exact(*dimensions)) {
                if allowed.get(*place as usize) == Some(&true) {
                    found.push((dot(row, vector), *place));
                }
            }
        }
        let better = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if found.len() > limit && limit > 0 {
            found.select_nth_unstable_by(limit - 1, better);
        }
        found.truncate(limit);
        found.sort_unstable_by(better);
        found
    }
}

/// In eight sums, which the compiler keeps in one wide register.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (a_eights, a_rest) = a.as_chunks::<8>();
    let (b_eights, b_rest) = b.as_chunks::<8>();
    for (x, y) in a_eights.iter().zip(b_eights) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_first_and_only_the_allowed() {
        let mut vectors = Vectors::default();
        vectors.add(0, &[1.0, 0.0]);
        vectors.add(1, &[0.0, 1.0]);
        vectors.add(2, &[0.6, 0.8]);
        vectors.add(3, &[1.0, 0.0, 0.0]);
        let check = |vector: &[f32], allowed: &[bool], limit, expect: &[u32]| {
            let found: Vec<u32> = vectors.search(vector, allowed, limit).into_iter().map(|(_, place)| place).collect();
            assert_eq!(found, expect);
        };
        check(&[0.0, 1.0], &[true; 4], 9, &[1, 2, 0]);
        check(&[0.0, 1.0], &[true; 4], 2, &[1, 2]);
        check(&[0.0, 1.0], &[true, false, true, true], 2, &[2, 0]);
        check(&[0.0, 1.0], &[true], 2, &[0]);
        check(&[1.0, 0.0, 0.0], &[true; 4], 9, &[3]);
        check(&[], &[true; 4], 9, &[]);
        check(&[0.0, 1.0], &[true; 4], 0, &[]);
    }

    #[test]
    fn dots() {
        let numbers: Vec<f32> = (0..19_u8).map(f32::from).collect();
        assert_eq!(dot(&numbers, &numbers), 2_109.0);
    }
}
