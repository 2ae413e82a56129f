//! Two lists become one by reciprocal rank fusion: a passage's score is the sum of 1 / (k + its rank) over the lists that it is
//! in (Cormack, Clarke and Büttcher, 2009). Ranks, because BM25's scores and cosines have no common measure.

/// As in the paper: how much less the first counts over the tenth. Not tuned on our questions.
const K: f32 = 60.0;

/// Lists of (score, place), best first, to one; 1.0 is the first of all lists.
pub(crate) fn fuse<T: Copy + Ord>(lists: &[Vec<(f32, T)>], limit: usize) -> Vec<(f32, T)> {
    let mut fused: std::collections::BTreeMap<T, f32> = std::collections::BTreeMap::new();
    for list in lists {
        for (rank, (_, place)) in (1_u16..).zip(list) {
            *fused.entry(*place).or_default() += 1.0 / (K + f32::from(rank));
        }
    }
    let most = lists.len() as f32 / (K + 1.0);
    let mut found: Vec<(f32, T)> = fused.into_iter().map(|(place, score)| (score / most, place)).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    found.truncate(limit);
    found
}

#[cfg(test)]
mod tests {
    use super::fuse;

    #[test]
    fn in_both_lists_counts_more_than_first_in_one() {
        let words = vec![(9.0, 'a'), (8.0, 'b'), (7.0, 'c')];
        let near = vec![(0.9, 'd'), (0.8, 'c'), (0.7, 'e')];
        let order = |lists: &[Vec<(f32, char)>]| fuse(lists, 4).into_iter().map(|(_, place)| place).collect::<String>();
        assert_eq!(order(&[words.clone(), near.clone()]), "cadb");
        assert_eq!(order(std::slice::from_ref(&words)), "abc");
        assert_eq!(order(&[words.clone(), Vec::new()]), "abc");
        assert_eq!(order(&[]), "");
        let first = fuse(&[words.clone(), words], 1);
        assert!((first[0].0 - 1.0).abs() < 1e-6);
    }
}
