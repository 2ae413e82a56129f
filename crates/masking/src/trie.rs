//! A trie of bytes: many words, found in one walk. What a walk costs is bounded by the longest word, not by how many there are.
//!
//! Not an automaton of Aho and Corasick: all our words are short, so starting again at each position is linear too, and a walk that
//! can stand still in the middle is what a stream needs.

/// Words with a value each.
#[derive(Debug, Clone)]
pub(crate) struct Trie<V> {
    nodes: Vec<Node<V>>,
}

#[derive(Debug, Clone)]
struct Node<V> {
    /// Sorted by byte.
    next: Vec<(u8, u32)>,
    value: Option<V>,
}

/// Where a walk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At(u32);

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { nodes: vec![Node { next: Vec::new(), value: None }] }
    }
}

impl<V> Trie<V> {
    /// The place of this word's value, which is made if it is not there.
    pub(crate) fn slot(&mut self, word: impl IntoIterator<Item = u8>) -> &mut Option<V> {
        let mut at = 0_usize;
        for byte in word {
            at = match self.nodes[at].next.binary_search_by_key(&byte, |(it, _)| *it) {
                Ok(place) => self.nodes[at].next[place].1 as usize,
                Err(place) => {
                    let new = self.nodes.len();
                    self.nodes[at].next.insert(place, (byte, u32::try_from(new).unwrap_or(u32::MAX)));
                    self.nodes.push(Node { next: Vec::new(), value: None });
                    new
                }
            };
        }
        &mut self.nodes[at].value
    }

    pub(crate) fn root(&self) -> At {
        At(0)
    }

    pub(crate) fn step(&self, at: At, byte: u8) -> Option<At> {
        let next = &self.nodes[at.0 as usize].next;
        next.binary_search_by_key(&byte, |(it, _)| *it).ok().map(|place| At(next[place].1))
    }

    pub(crate) fn value(&self, at: At) -> Option<&V> {
        self.nodes[at.0 as usize].value.as_ref()
    }

    /// Whether longer words go through here.
    pub(crate) fn goes_on(&self, at: At) -> bool {
        !self.nodes[at.0 as usize].next.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_their_beginnings() {
        let mut trie = Trie::default();
        *trie.slot("Bad".bytes()) = Some(1);
        *trie.slot("Bad Homburg".bytes()) = Some(2);
        let mut at = trie.root();
        let mut seen: Vec<i32> = Vec::new();
        for byte in "Bad Homburg!".bytes() {
            match trie.step(at, byte) {
                Some(next) => at = next,
                None => break,
            }
            seen.extend(trie.value(at));
        }
        assert_eq!(seen, [1, 2]);
        assert!(!trie.goes_on(at));
    }
}
