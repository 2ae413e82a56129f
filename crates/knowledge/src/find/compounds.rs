//! German compounds, split by the words that a collection itself uses: `Wartungsintervall` is also `Wartung` and `Intervall` where
//! both stand somewhere in the collection, alone or in another compound's place.
//!
//! Honest limits: there is no dictionary. A part that the collection never uses alone is not known, and now and then a word is
//! split that is none of two (the whole word is always kept beside its parts, so that costs precision, not hits). To look for a word of a
//! question in every compound that begins or ends with it was tried: it found no more of our questions, and pushed others down.

use std::collections::HashMap;

/// A compound has at least so many letters, a part of it so many.
const COMPOUND_CHARS_MIN: usize = 8;
const PART_CHARS_MIN: usize = 4;

/// What German puts between parts.
const LINKS: &[&str] = &["", "s", "es", "n", "en", "er", "e"];

/// Different words that are remembered of one collection: 200,000 of 30 bytes are 6 MB; rarer ones beyond are not split by.
const VOCABULARY_MAX: usize = 200_000;

/// How often each word stem is used.
#[derive(Default)]
pub(crate) struct Vocabulary {
    stems: HashMap<String, u32>,
}

impl Vocabulary {
    /// Takes a word's stem in. Words with digits are no parts of compounds.
    pub(crate) fn add(&mut self, stem: &str) {
        if stem.chars().count() < PART_CHARS_MIN || stem.chars().any(|c| !c.is_alphabetic()) {
            return;
        }
        if let Some(uses) = self.stems.get_mut(stem) {
            *uses = uses.saturating_add(1);
        } else if self.stems.len() < VOCABULARY_MAX {
            self.stems.insert(stem.to_owned(), 1);
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.stems.len() * 64
    }

    /// The parts of a lower-case word as they stand in it, two or three; empty if it is none that is known. `stem` is the
    /// language's. Of several splits the one whose parts are used most.
    pub(crate) fn parts(&self, word: &str, stem: &dyn Fn(&str) -> String) -> Vec<String> {
        self.split(word, stem, 1).map(|(_, parts)| parts).unwrap_or_default()
    }

    fn split(&self, word: &str, stem: &dyn Fn(&str) -> String, deeper: u8) -> Option<(f32, Vec<String>)> {
        if word.chars().count() < COMPOUND_CHARS_MIN || word.chars().any(|c| !c.is_alphabetic()) {
            return None;
        }
        let mut best: Option<(f32, Vec<String>)> = None;
        let places: Vec<usize> = word.char_indices().map(|(at, _)| at).collect();
        for at in &places[PART_CHARS_MIN..=places.len() - PART_CHARS_MIN] {
            let (left, right) = word.split_at(*at);
            let whole = self.uses(right, stem).map(|uses| (f32::ln(uses as f32 + 1.0), vec![right.to_owned()]));
            let found = match (whole, deeper) {
                (Some(whole), _) => Some(whole),
                (None, 0) => None,
                (None, _) => self.split(right, stem, deeper - 1),
            };
            let Some((right_score, right_parts)) = found else { continue };
            let Some((left, left_uses)) = self.left(left, stem) else { continue };
            let score = (f32::ln(left_uses as f32 + 1.0) * right_score).sqrt();
            if best.as_ref().is_none_or(|(most, _)| score > *most) {
                best = Some((score, [vec![left], right_parts].concat()));
            }
        }
        best
    }

    /// A first part, without what links it to the next.
    fn left(&self, left: &str, stem: &dyn Fn(&str) -> String) -> Option<(String, u32)> {
        LINKS.iter().filter_map(|link| left.strip_suffix(link)).find_map(|bare| {
            let uses = (bare.chars().count() >= PART_CHARS_MIN).then(|| self.uses(bare, stem)).flatten()?;
            Some((bare.to_owned(), uses))
        })
    }

    fn uses(&self, word: &str, stem: &dyn Fn(&str) -> String) -> Option<u32> {
        self.stems.get(&stem(word)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compounds_are_split_by_known_words() {
        let mut vocabulary = Vocabulary::default();
        for word in ["wartung", "intervall", "urlaub", "antrag", "arbeit", "zeit", "konto", "vertrag", "a1b2", "öl"] {
            vocabulary.add(word);
        }
        // A stem that only takes a plural off.
        let stem = |word: &str| word.strip_suffix('e').unwrap_or(word).to_owned();
        let check = |word: &str, expect: &[&str]| assert_eq!(vocabulary.parts(word, &stem), expect, "{word}");
        check("wartungsintervalle", &["wartung", "intervalle"]);
        check("urlaubsantrag", &["urlaub", "antrag"]);
        check("arbeitszeitkonto", &["arbeit", "zeit", "konto"]);
        check("wartung", &[]);
        check("verträglichkeit", &[]);
        check("zeitkont", &[]);
        check("a1b2zeit", &[]);
        check("", &[]);
    }
}
