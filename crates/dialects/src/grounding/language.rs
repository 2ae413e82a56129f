//! German or English: which of the two a text is in, and the sentences that we write ourselves.
//!
//! Why two: the prompts that we wrote and tried. A question in a third language gets the English prompt, which asks for an
//! answer in the question's language.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    #[serde(rename = "de")]
    German,
    #[serde(rename = "en")]
    English,
}

/// Words that are frequent in one language and no words of the other.
const GERMAN: &[&str] = &[
    "aber", "als", "am", "auch", "auf", "aus", "bei", "beim", "bis", "das", "dem", "den", "der", "des", "die", "diese",
    "dieser", "dieses", "durch", "ein", "eine", "einem", "einen", "einer", "eines", "er", "es", "für", "gibt", "gilt",
    "haben", "hat", "ich", "ihr", "im", "ist", "kann", "kein", "keine", "können", "man", "mein", "meine", "mit",
    "muss", "nach", "nicht", "oder", "ob", "pro", "sich", "sie", "sind", "sollte", "über", "um", "und", "uns", "unser",
    "unsere", "viel", "viele", "von", "vom", "wann", "warum", "welche", "welchem", "welchen", "welcher", "welches",
    "wem", "wen", "wenn", "wer", "werden", "wie", "wieviel", "wir", "wird", "wo", "worin", "zu", "zum", "zur",
];
const ENGLISH: &[&str] = &[
    "a", "about", "an", "and", "any", "are", "as", "at", "be", "by", "can", "could", "did", "do", "does", "each",
    "for", "from", "had", "has", "have", "how", "i", "if", "is", "it", "its", "many", "may", "me", "much", "must",
    "my", "not", "of", "often", "on", "or", "our", "should", "that", "the", "their", "there", "they", "this", "to",
    "we", "were", "what", "when", "where", "which", "who", "whom", "why", "will", "with", "would", "you", "your",
];
/// Ends of words, for questions of nouns alone.
const GERMAN_ENDS: &[&str] =
    &["ung", "ungen", "keit", "heit", "schaft", "zeit", "tage", "liche", "lichen", "ische", "tz"];
const ENGLISH_ENDS: &[&str] = &["ing", "ness", "ment", "ly", "cy", "ty", "ght", "th", "ies"];

/// A question says what it is in long before this; a whole document as question must not cost more.
const BYTES_LOOKED_AT: usize = 4_096;

impl Language {
    /// The language of a text; German where nothing speaks for either, as most of our users write.
    pub fn of(text: &str) -> Language {
        let mut end = text.len().min(BYTES_LOOKED_AT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let (mut german, mut english) = (0u32, 0u32);
        for word in text[..end].split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
            let word = word.to_lowercase();
            german += 3 * u32::from(GERMAN.contains(&word.as_str()));
            english += 3 * u32::from(ENGLISH.contains(&word.as_str()));
            german += 2 * u32::from(word.contains(['ä', 'ö', 'ü', 'ß']));
            german += u32::from(GERMAN_ENDS.iter().any(|end| word.ends_with(end)));
            english += u32::from(ENGLISH_ENDS.iter().any(|end| word.ends_with(end)));
        }
        if english > german { Language::English } else { Language::German }
    }

    /// From a tag as clients send them: `de`, `de-DE`, `german`. None for a third language.
    pub fn from_tag(tag: &str) -> Option<Language> {
        let tag = tag.trim().to_lowercase();
        match tag.split(['-', '_']).next().unwrap_or_default() {
            "de" | "german" | "deutsch" => Some(Language::German),
            "en" | "english" | "englisch" => Some(Language::English),
            _ => None,
        }
    }

    /// What we answer, and what we ask the model to answer, where the documents say nothing.
    pub fn absent(self) -> &'static str {
        match self {
            Language::German => "Dazu steht nichts in den Dokumenten.",
            Language::English => "This is not in the documents.",
        }
    }

    /// Stands behind a sentence that claims something and cites nothing.
    pub fn uncited(self) -> &'static str {
        match self {
            Language::German => " [unbelegt]",
            Language::English => " [uncited]",
        }
    }
}

/// Whether a sentence only says that the documents say nothing, in either language.
pub(super) fn says_absent(sentence: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let said: String = letters(sentence);
    [Language::German, Language::English].iter().any(|language| said == letters(language.absent()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions() {
        let check = |text: &str, expect: Language| assert_eq!(Language::of(text), expect, "{text}");
        check("Wie viele Urlaubstage habe ich?", Language::German);
        check("How many days of leave do I have?", Language::English);
        check("Kündigungsfrist Probezeit", Language::German);
        check("notice period policy", Language::English);
        check("Reisekostenordnung?", Language::German);
        check("What does the Kündigungsschutzgesetz say about this?", Language::English);
        check("Was steht im Service Level Agreement zur Response Time?", Language::German);
        check("", Language::German);
        check(&"ü".repeat(5_000), Language::German);
    }

    #[test]
    fn tags() {
        let check = |tag: &str, expect: Option<Language>| assert_eq!(Language::from_tag(tag), expect, "{tag}");
        check("de", Some(Language::German));
        check("de-AT", Some(Language::German));
        check("EN_us", Some(Language::English));
        check("English", Some(Language::English));
        check("fr", None);
        check("", None);
    }

    #[test]
    fn absence_is_recognised_whatever_stands_around_it() {
        assert!(says_absent("**Dazu steht nichts in den Dokumenten.**"));
        assert!(says_absent("this is not in the documents"));
        assert!(!says_absent("Dazu steht nichts in den Dokumenten außer einer Zahl."));
    }
}
