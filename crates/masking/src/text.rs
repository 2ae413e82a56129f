//! A text in tokens: words, runs of digits, marks. Every recogniser reads it through here, and every look is counted, so that a
//! test can say that the work grows with the text and not with its square (`Masker::steps`).
//!
//! Positions are bytes, always at the edge of a character. What a word is (a given name, a label of a number) is looked up once per
//! token, in `words`.

use crate::words::{self, Flags};
use std::cell::Cell;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Letters.
    Word,
    /// ASCII digits.
    Digits,
    /// One character that is neither.
    Mark(char),
}

/// What stands before a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gap {
    None,
    /// One blank.
    Blank,
    /// Several blanks, or a tabulator.
    Wide,
    Line,
    /// An empty line, or the begin of the text.
    Paragraph,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) kind: Kind,
    pub(crate) gap: Gap,
    pub(crate) flags: Flags,
    pub(crate) case: Case,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    /// Begins with a capital.
    Title,
    /// Two letters or more, all capitals.
    Upper,
}

/// Several words that the dictionary knows as one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phrase {
    pub(crate) first: usize,
    pub(crate) end: usize,
    pub(crate) flags: Flags,
}

pub(crate) struct Text<'a> {
    pub(crate) source: &'a str,
    tokens: Vec<Token>,
    pub(crate) phrases: Vec<Phrase>,
    steps: Cell<u64>,
}

impl<'a> Text<'a> {
    pub(crate) fn new(source: &'a str) -> Self {
        let mut text =
            Self { source, tokens: Vec::with_capacity(source.len() / 4), phrases: Vec::new(), steps: Cell::new(0) };
        text.cut();
        text.look_up();
        text
    }

    fn cut(&mut self) {
        let mut gap = Gap::Paragraph;
        let mut at = 0;
        while let Some(c) = self.source[at..].chars().next() {
            let start = at;
            at += c.len_utf8();
            if c.is_whitespace() || c == '\u{feff}' {
                gap = match (gap, c) {
                    (Gap::Line | Gap::Paragraph, '\n') => Gap::Paragraph,
                    (before, '\n') => before.max(Gap::Line),
                    (Gap::None, ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}') => Gap::Blank,
                    (before, _) => before.max(Gap::Wide),
                };
                continue;
            }
            let of_same = |kind: fn(char) -> bool| {
                let rest = &self.source[at..];
                at + rest.find(|c| !kind(c)).unwrap_or(rest.len())
            };
            let kind = if c.is_ascii_digit() {
                at = of_same(|c| c.is_ascii_digit());
                Kind::Digits
            } else if letter(c) {
                at = of_same(letter);
                Kind::Word
            } else {
                Kind::Mark(c)
            };
            self.count(at - start);
            let case = if kind == Kind::Word { case(&self.source[start..at]) } else { Case::Lower };
            self.tokens.push(Token { start, end: at, kind, gap, flags: 0, case });
            gap = Gap::None;
        }
    }

    fn look_up(&mut self) {
        let mut lower = String::new();
        for index in 0..self.tokens.len() {
            let token = self.tokens[index];
            if token.kind != Kind::Word {
                continue;
            }
            let word = &self.source[token.start..token.end];
            let known = words::look_up(self.source, token.start, word, token.case, &mut lower);
            self.count(known.steps);
            self.tokens[index].flags = known.flags;
            if let Some((end, flags)) = known.phrase {
                self.phrases.push(Phrase { first: index, end, flags });
            }
        }
    }

    pub(crate) fn count(&self, steps: usize) {
        self.steps.set(self.steps.get() + steps as u64);
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps.get()
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn token(&self, index: usize) -> Option<&Token> {
        self.count(1);
        self.tokens.get(index)
    }

    /// The token so many places before.
    pub(crate) fn back(&self, index: usize, places: usize) -> Option<&Token> {
        self.token(index.checked_sub(places)?)
    }

    pub(crate) fn str(&self, index: usize) -> &'a str {
        self.token(index).map_or("", |token| &self.source[token.start..token.end])
    }

    pub(crate) fn is(&self, index: usize, flags: Flags) -> bool {
        self.token(index).is_some_and(|token| token.flags & flags != 0)
    }

    pub(crate) fn is_mark(&self, index: usize, mark: char) -> bool {
        self.token(index).is_some_and(|token| token.kind == Kind::Mark(mark))
    }

    /// A word that begins with a capital.
    pub(crate) fn capital(&self, index: usize) -> bool {
        self.token(index).is_some_and(|token| token.kind == Kind::Word && token.case != Case::Lower)
    }

    pub(crate) fn gap(&self, index: usize) -> Gap {
        self.token(index).map_or(Gap::Paragraph, |token| token.gap)
    }

    /// The index of the first token that ends after this byte.
    pub(crate) fn index_at(&self, byte: usize) -> usize {
        self.count(1 + self.tokens.len().checked_ilog2().unwrap_or(0) as usize);
        self.tokens.partition_point(|token| token.end <= byte)
    }

    /// Whether one of these words stands within so many tokens before `first` or after `last`, in the same paragraph.
    pub(crate) fn near(&self, first: usize, before: usize, last: usize, after: usize, flags: Flags) -> bool {
        self.before(first, before, flags) || self.after(last, after, flags)
    }

    pub(crate) fn before(&self, first: usize, tokens: usize, flags: Flags) -> bool {
        self.label(first, tokens, flags) & flags != 0
    }

    /// The flags of the nearest word before that has any of these, in the same paragraph.
    pub(crate) fn label(&self, first: usize, tokens: usize, flags: Flags) -> Flags {
        let mut at = first;
        for _ in 0..tokens {
            if at == 0 || self.gap(at) == Gap::Paragraph {
                return 0;
            }
            at -= 1;
            if self.is(at, flags) {
                return self.tokens[at].flags & flags;
            }
        }
        0
    }

    pub(crate) fn after(&self, last: usize, tokens: usize, flags: Flags) -> bool {
        (last + 1..=last + tokens).take_while(|at| self.gap(*at) < Gap::Line).any(|at| self.is(at, flags))
    }
}

/// Letters, and the marks that combine with them; digits of other scripts count as letters, they are in no number that we know.
fn letter(c: char) -> bool {
    (c.is_alphanumeric() && !c.is_ascii_digit()) || ('\u{300}'..='\u{36f}').contains(&c)
}

fn case(word: &str) -> Case {
    let mut chars = word.chars();
    match chars.next() {
        Some(first) if first.is_uppercase() => {
            let mut rest = chars.peekable();
            if rest.peek().is_some() && rest.all(|c| c.is_uppercase() || c == 'ß') { Case::Upper } else { Case::Title }
        }
        _ => Case::Lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_what_stands_before_them() {
        let text = Text::new("Größe: 12a\u{a0}x\n\nÄÖ");
        let shown: Vec<_> = (0..text.len()).map(|at| (text.str(at), text.gap(at))).collect();
        assert_eq!(
            shown,
            [
                ("Größe", Gap::Paragraph),
                (":", Gap::None),
                ("12", Gap::Blank),
                ("a", Gap::None),
                ("x", Gap::Blank),
                ("ÄÖ", Gap::Paragraph)
            ]
        );
        assert_eq!(text.tokens[0].case, Case::Title);
        assert_eq!(text.tokens[5].case, Case::Upper);
    }
}
