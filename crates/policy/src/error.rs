//! Why a rule or a bundle is refused: which rule, where in it, what is wrong, what to do.
//!
//! Programs look at [`Problem`]; the texts are for people and may change.

use cedar_policy::ffi::DetailedError;
use std::fmt;

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Problem {
    /// The name is empty, too long, reserved, or has characters that names do not have.
    Name,
    /// Two rules that could decide the same request have one name.
    Doubled,
    /// The text is longer than [`crate::rule::RULE_BYTES_MAX`].
    TooLong,
    /// Brackets or operators beyond [`crate::shape`]'s limits.
    TooDeep,
    /// One owner has more than [`crate::rule::RULES_PER_OWNER_MAX`] rules.
    TooMany,
    /// It is not Cedar.
    Syntax,
    /// It is no policy, several, or a template.
    NotOne,
    /// A tenant's rule permits.
    Permits,
    /// It does not fit the schema.
    Schema,
    /// It fits the schema and could never match anything: a word in it is misspelt.
    Never,
}

/// Counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// The place of a byte offset; beyond the end is the end.
    pub(crate) fn of(text: &str, offset: usize) -> Place {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

/// A refused rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    pub rule: String,
    pub problem: Problem,
    /// Where, if it is in the text.
    pub place: Option<Place>,
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl std::error::Error for PolicyError {}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {:?}", self.rule)?;
        if let Some(Place { line, column }) = self.place {
            write!(f, ", line {line}, column {column}")?;
        }
        write!(f, ": {}. {}", self.what, self.hint)
    }
}

impl PolicyError {
    pub(crate) fn new(rule: &str, problem: Problem, what: impl Into<String>, hint: impl Into<String>) -> PolicyError {
        PolicyError { rule: rule.to_owned(), problem, place: None, what: what.into(), hint: hint.into() }
    }

    pub(crate) fn at(mut self, place: Option<Place>) -> PolicyError {
        self.place = place;
        self
    }

    /// From Cedar's own: its message, its place, its help or ours.
    pub(crate) fn cedar(rule: &str, text: &str, problem: Problem, error: &DetailedError, hint: &str) -> PolicyError {
        let message = error.message.strip_prefix(&format!("for policy `{rule}`, ")).unwrap_or(&error.message);
        let hint = match &error.help {
            Some(help) => format!("{} {hint}", sentence(help)),
            None => hint.to_owned(),
        };
        let place = error.source_locations.first().map(|label| Place::of(text, label.loc.start));
        PolicyError::new(rule, problem, message.trim_end_matches('.'), hint).at(place)
    }
}

/// With a capital and an end.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let text: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    if text.ends_with(['.', '?', '!']) { text } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let check = |text, offset, line, column| assert_eq!(Place::of(text, offset), Place { line, column }, "{text}");
        check("", 0, 1, 1);
        check("abc", 2, 1, 3);
        check("a\nbc", 2, 2, 1);
        check("a\nbc", 99, 2, 3);
        check("ü = x", 3, 1, 3); // characters, not bytes
        check("ü", 1, 1, 1); // inside a character
    }
}
