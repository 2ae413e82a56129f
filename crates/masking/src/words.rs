//! What single words mean: names, places, and the words that stand beside a number and say which it is. Data in `data/*.txt`.
//!
//! Three ways to write an entry: `word`, `beginning*`, `*ending` (German puts words together: `*straße`, `steueriden*`). Sections
//! in `names`, `places` and `groups` are kept as written, with capitals, and may be several words; sections in `labels` are
//! compared in small letters.

use crate::text::Case;
use crate::trie::Trie;
use std::sync::LazyLock;

/// A set of meanings.
pub(crate) type Flags = u64;

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident $section:literal,)*) => {
        flags!(@ 0; $($name)*);
        /// The section of the data files that gives each meaning.
        const SECTIONS: &[(&str, Flags)] = &[$(($section, $name)),*];
    };
    (@ $bit:expr; $name:ident $($rest:ident)*) => {
        pub(crate) const $name: Flags = 1 << ($bit);
        flags!(@ $bit + 1; $($rest)*);
    };
    (@ $bit:expr;) => {};
}

flags! {
    GIVEN "given",
    SURNAME "surname",
    /// A name that is also a word: needs more than itself.
    UNSURE "unsure",
    /// A surname in small letters.
    SMALL_NAME "small name",
    TITLE "title",
    ROLE "role",
    PARTICLE "particle",
    NOUN "noun",
    STOP "stop",
    CLOSING "closing",
    LABEL_NAME "label name",
    SAYS_NAME "says name",
    CITY "city",
    CITY_UNSURE "city unsure",
    REGION "region",
    PLACE_BEFORE "place before",
    STREET "street",
    STREET_ALONE "street alone",
    STREET_NOT "street not",
    STREET_ENGLISH "street english",
    STREET_BEGIN "street begin",
    LABEL_ADDRESS "label address",
    ORG_FORM "org form",
    ORG "org",
    UNIVERSITY "university",
    UNIVERSITY_WORD "university word",
    MONTH "month",
    LABEL_TAX "label tax",
    LABEL_PENSION "label pension",
    LABEL_HEALTH "label health",
    LABEL_CARD "label card",
    LABEL_SSN "label ssn",
    LABEL_PASSPORT "label passport",
    LABEL_IDENTITY "label identity",
    LABEL_LICENCE "label licence",
    LABEL_PLATE "label plate",
    LABEL_PHONE "label phone",
    LABEL_BIRTH "label birth",
    LABEL_USER "label user",
    LABEL_SECRET "label secret",
    LABEL_SAP "label sap",
    LABEL_OTHER "label other",
    NATIONALITY "nationality",
    LABEL_NATIONALITY "label nationality",
    RELIGION "religion",
    RELIGION_PERSON "religion person",
    LABEL_RELIGION "label religion",
    PARTY "party",
    LABEL_PARTY "label party",
    GENDER "gender",
    LABEL_GENDER "label gender",
    ORIENTATION "orientation",
    UNION "union",
    ETHNICITY "ethnicity",
    ETHNICITY_UNSURE "ethnicity unsure",
    LABEL_ETHNICITY "label ethnicity",
    IS "is",
    PLATE_BEGIN "plate district",
    PLATE_NOT "plate not",
}

/// The words that say which number follows. The nearest one decides.
pub(crate) const LABELS: Flags = LABEL_TAX
    | LABEL_PENSION
    | LABEL_HEALTH
    | LABEL_CARD
    | LABEL_SSN
    | LABEL_PASSPORT
    | LABEL_IDENTITY
    | LABEL_LICENCE
    | LABEL_PLATE
    | LABEL_PHONE
    | LABEL_OTHER;

/// The longest entry, in bytes: how far a walk may go.
const ENTRY_MAX: usize = 64;

struct Words {
    /// As written, several words too.
    exact: Trie<Flags>,
    lower: Trie<Lower>,
    /// Endings, from behind.
    ending: Trie<Flags>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Lower {
    whole: Flags,
    beginning: Flags,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let mut words = Words { exact: Trie::default(), lower: Trie::default(), ending: Trie::default() };
    words.read(include_str!("../data/names.txt"), true);
    words.read(include_str!("../data/places.txt"), true);
    words.read(include_str!("../data/groups.txt"), true);
    words.read(include_str!("../data/plates.txt"), true);
    words.read(include_str!("../data/labels.txt"), false);
    words
});

impl Words {
    /// A section begins with `[its name]`; entries are parted by commas or lines; `#` begins a comment.
    fn read(&mut self, data: &str, exact: bool) {
        let mut flags = 0;
        for line in data.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                let section = SECTIONS.iter().find(|(section, _)| *section == name);
                flags = section.expect("the data ships with the program, a test reads it").1;
                continue;
            }
            for entry in line.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
                if let Some(ending) = entry.strip_prefix('*') {
                    *self.ending.slot(ending.bytes().rev()).get_or_insert(0) |= flags;
                } else if let Some(beginning) = entry.strip_suffix('*') {
                    self.lower.slot(beginning.bytes()).get_or_insert_default().beginning |= flags;
                } else if exact {
                    *self.exact.slot(entry.bytes()).get_or_insert(0) |= flags;
                } else {
                    self.lower.slot(entry.bytes()).get_or_insert_default().whole |= flags;
                }
            }
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) flags: Flags,
    /// A longer entry that begins with this word: where it ends, what it is.
    pub(crate) phrase: Option<(usize, Flags)>,
    pub(crate) steps: usize,
}

/// What is known about the word at `start`. `lower` is a buffer.
pub(crate) fn look_up(source: &str, start: usize, word: &str, case: Case, lower: &mut String) -> Known {
    let words = &*WORDS;
    let mut known = Known::default();
    let bytes = source.as_bytes();
    let mut at = words.exact.root();
    for end in start + 1..=bytes.len().min(start + ENTRY_MAX) {
        let Some(next) = words.exact.step(at, bytes[end - 1]) else { break };
        at = next;
        known.steps += 1;
        if let Some(flags) = words.exact.value(at)
            && source.is_char_boundary(end)
            && !source[end..].starts_with(char::is_alphanumeric)
        {
            match end - start == word.len() {
                true => known.flags |= flags,
                false if end - start > word.len() => known.phrase = Some((end, *flags)),
                false => {}
            }
        }
    }
    // Words longer than any entry have endings and beginnings all the same; those are looked at as far as entries go.
    lower.clear();
    lower.extend(word.chars().take(4 * ENTRY_MAX).flat_map(char::to_lowercase));
    known.steps += lower.len().min(4 * ENTRY_MAX);
    if case != Case::Title && word.chars().nth(2).is_some() {
        // "MÜLLER" is "Müller", and "müller" may be.
        let first = lower.chars().next().map(char::to_uppercase).into_iter().flatten();
        let title: String = first.chain(lower.chars().skip(1)).collect();
        let end = title.bytes().try_fold(words.exact.root(), |at, byte| words.exact.step(at, byte));
        let flags = end.and_then(|at| words.exact.value(at)).copied().unwrap_or(0);
        known.flags |= match case {
            Case::Upper => flags,
            _ if flags & SURNAME != 0 => SMALL_NAME,
            _ => 0,
        };
    }
    let mut at = words.lower.root();
    for (read, byte) in lower.bytes().enumerate() {
        let Some(next) = words.lower.step(at, byte) else { break };
        at = next;
        if let Some(value) = words.lower.value(at) {
            known.flags |= value.beginning;
            if read + 1 == lower.len() {
                known.flags |= value.whole;
            }
        }
    }
    let mut at = words.ending.root();
    for byte in lower.bytes().rev().take(ENTRY_MAX) {
        let Some(next) = words.ending.step(at, byte) else { break };
        at = next;
        known.flags |= words.ending.value(at).copied().unwrap_or(0);
    }
    known
}
