//! What stands for what: the tags given out in the texts of one request, and how they are found again in an answer.
//!
//! A tag is a label, `_`, and a number without leading zeros, not followed by a digit: `MASKED_PERSON_1`. A fabricated value is
//! found where it stands alone, or with a genitive s. Looking never needs more than what one trie allows, so a stream holds back
//! little (`unmask`).
//!
//! That a tag means a value and nothing else rests on `masker`: it never lets a text through in which something that only looks
//! like a tag is left.

use crate::trie::Trie;

/// Digits of a number that can be given out: 10^9 values are more than any text holds.
const NUMBER_DIGITS_MAX: usize = 9;

#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// Each label with its `_`.
    labels: Trie<usize>,
    /// By label: what number 1, 2, … stand for.
    numbered: Vec<Vec<String>>,
    fabricated: Trie<String>,
}

/// What is found at a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look<'a> {
    Nothing,
    /// What follows decides.
    More,
    Found {
        len: usize,
        value: &'a str,
    },
}

/// Which numbers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Those given out.
    Given,
    /// Any: looks like a tag, or may be one later.
    Any,
}

impl Table {
    /// The number of this label in the table; the same for the same text.
    pub(crate) fn label(&mut self, label: &str) -> usize {
        let next = self.numbered.len();
        let index = *self.labels.slot(label.bytes().chain([b'_'])).get_or_insert(next);
        if index == next {
            self.numbered.push(Vec::new());
        }
        index
    }

    pub(crate) fn number(&mut self, label: usize, value: &str) -> usize {
        self.numbered[label].push(value.to_owned());
        self.numbered[label].len()
    }

    pub(crate) fn fabricate(&mut self, replacement: &str, value: &str) {
        *self.fabricated.slot(replacement.bytes()) = Some(value.to_owned());
    }

    /// What stands at byte `at`, the longest first. `last`: nothing follows the text.
    pub(crate) fn look(&self, text: &str, at: usize, before: Option<char>, last: bool, numbers: Numbers) -> Look<'_> {
        let mut best = Look::Nothing;
        match self.tag(text, at, last, numbers) {
            Look::More => return Look::More,
            Look::Found { len, value } => best = Look::Found { len, value },
            Look::Nothing => {}
        }
        if before.is_none_or(|c| !c.is_alphanumeric()) {
            match self.invented(text, at, last) {
                Look::More => return Look::More,
                Look::Found { len, value } if !matches!(best, Look::Found { len: it, .. } if it >= len) => {
                    best = Look::Found { len, value };
                }
                _ => {}
            }
        }
        best
    }

    fn tag(&self, text: &str, at: usize, last: bool, numbers: Numbers) -> Look<'_> {
        let bytes = &text.as_bytes()[at..];
        let mut best = Look::Nothing;
        let mut node = self.labels.root();
        for read in 0.. {
            if let Some(label) = self.labels.value(node) {
                let digits =
                    bytes[read..].iter().take(NUMBER_DIGITS_MAX + 1).take_while(|it| it.is_ascii_digit()).count();
                if read + digits == bytes.len() && !last && digits <= NUMBER_DIGITS_MAX {
                    return Look::More;
                }
                let number = text[at + read..at + read + digits].parse().unwrap_or(0_usize);
                let canonical = (1..=NUMBER_DIGITS_MAX).contains(&digits) && bytes[read] != b'0';
                let given = number.checked_sub(1).and_then(|index| self.numbered[*label].get(index));
                match (canonical, given, numbers) {
                    (true, Some(value), _) => best = Look::Found { len: read + digits, value },
                    (true, None, Numbers::Any) => best = Look::Found { len: read + digits, value: "" },
                    _ => {}
                }
            }
            let Some(byte) = bytes.get(read) else {
                return if !last && self.labels.goes_on(node) { Look::More } else { best };
            };
            let Some(next) = self.labels.step(node, *byte) else { break };
            node = next;
        }
        best
    }

    fn invented(&self, text: &str, at: usize, last: bool) -> Look<'_> {
        let rest = &text[at..];
        let mut best = Look::Nothing;
        let mut node = self.fabricated.root();
        for read in 0.. {
            if let Some(value) = self.fabricated.value(node) {
                match ends(&rest[read..], last) {
                    None => return Look::More,
                    Some(true) => best = Look::Found { len: read, value },
                    Some(false) => {}
                }
            }
            let Some(byte) = rest.as_bytes().get(read) else {
                return if !last && self.fabricated.goes_on(node) { Look::More } else { best };
            };
            let Some(next) = self.fabricated.step(node, *byte) else { break };
            node = next;
        }
        best
    }
}

/// Whether a word may end before this rest: nothing, no letter or digit, or the s of a genitive. `None`: what follows decides.
fn ends(rest: &str, last: bool) -> Option<bool> {
    let mut chars = rest.chars();
    match chars.next() {
        None => last.then_some(true),
        Some('s') => match chars.next() {
            None => last.then_some(true),
            Some(c) => Some(!c.is_alphanumeric()),
        },
        Some(c) => Some(!c.is_alphanumeric()),
    }
}
