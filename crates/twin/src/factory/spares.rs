//! The shelf: so many parts of each kind, what is taken or lacking is ordered at once and
//! comes after its time.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Default)]
pub struct Shelf {
    stock: BTreeMap<String, usize>,
    pub used: BTreeMap<String, u64>,
    /// Ordered for somebody who waits; what is taken then is not ordered once more.
    owed: BTreeMap<String, usize>,
    /// How often somebody came for a part and there was none.
    pub lacking: BTreeMap<String, u64>,
    pub lowest: BTreeMap<String, usize>,
}

/// `gpu3` is a `gpu`.
pub fn kind(part: &str) -> &str {
    part.trim_end_matches(|c: char| c.is_ascii_digit())
}

impl Shelf {
    pub fn of(stock: &BTreeMap<String, usize>) -> Shelf {
        Shelf { stock: stock.clone(), lowest: stock.clone(), ..Shelf::default() }
    }

    pub fn count(&self, part: &str) -> usize {
        self.stock.get(kind(part)).copied().unwrap_or(0)
    }

    /// Takes one; true if another is to be ordered for it.
    pub fn take(&mut self, part: &str) -> bool {
        let kind = kind(part);
        let Some(count) = self.stock.get_mut(kind).filter(|count| **count > 0) else { return false };
        *count -= 1;
        let left = *count;
        *self.used.entry(kind.to_owned()).or_default() += 1;
        let lowest = self.lowest.entry(kind.to_owned()).or_insert(left);
        *lowest = left.min(*lowest);
        match self.owed.get_mut(kind).filter(|owed| **owed > 0) {
            Some(owed) => {
                *owed -= 1;
                false
            }
            None => true,
        }
    }

    /// There is none for somebody; one is to be ordered.
    pub fn lacks(&mut self, part: &str) {
        let kind = kind(part);
        *self.lacking.entry(kind.to_owned()).or_default() += 1;
        *self.owed.entry(kind.to_owned()).or_default() += 1;
        self.stock.entry(kind.to_owned()).or_default();
    }

    pub fn put(&mut self, kind: &str) {
        *self.stock.entry(kind.to_owned()).or_default() += 1;
    }

    pub fn stock(&self) -> &BTreeMap<String, usize> {
        &self.stock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_that_is_taken_or_lacking_is_ordered_once() {
        let mut shelf = Shelf::of(&[("gpu".to_owned(), 1)].into());
        assert!(shelf.count("gpu3") == 1 && shelf.take("gpu3"));
        assert!(shelf.count("gpu1") == 0 && !shelf.take("gpu1"));
        shelf.lacks("gpu1");
        // The one that replaces the first, and the one that was ordered for who waits.
        shelf.put("gpu");
        assert!(!shelf.take("gpu1"));
        shelf.put("gpu");
        assert!(shelf.take("gpu2"));
        assert_eq!(shelf.used["gpu"], 3);
    }
}
