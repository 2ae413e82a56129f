//! German licence plates: a district (the list is in `data/plates.txt`), one or two letters, up to four digits.

use super::{Found, Kind, free_after};
use crate::text::{Gap, Kind as Token, Text};
use crate::words::*;

/// Letters and digits together; longer ones are not given out.
const LENGTH_MAX: usize = 8;
const LABEL_BEFORE: usize = 8;

pub(crate) fn find(text: &Text, found: &mut Vec<Found>) {
    for at in 0..text.len() {
        let Some(token) = text.token(at).copied() else { break };
        if token.flags & PLATE_BEGIN == 0 || text.str(at).chars().any(char::is_lowercase) || stuck(text, at) {
            continue;
        }
        if let Some(end) = plate(text, at) {
            found.push(Found { start: token.start, end, kind: Kind::Plate });
        }
    }
}

fn stuck(text: &Text, at: usize) -> bool {
    at > 0
        && text.gap(at) == Gap::None
        && matches!(
            text.back(at, 1).map(|it| it.kind),
            Some(Token::Word | Token::Digits | Token::Mark('-' | '/' | '_' | '.'))
        )
}

fn plate(text: &Text, at: usize) -> Option<usize> {
    let hyphen =
        matches!(text.token(at + 1)?.kind, Token::Mark('-' | '\u{2010}' | '\u{2011}' | '\u{2013}' | '·' | '•' | ':'));
    let letters = if hyphen { at + 2 } else { at + 1 };
    let mut number = letters + 1;
    if text.gap(letters) > Gap::Blank || hyphen && text.gap(at + 1) > Gap::Blank {
        return None;
    }
    if text.is_mark(number, '-') {
        number += 1;
    }
    let (word, digits) = (text.str(letters), text.str(number));
    let is_word = matches!(word.len(), 1 | 2) && word.bytes().all(|it| it.is_ascii_uppercase());
    let is_number = text.token(number)?.kind == Token::Digits && digits.len() <= 4 && !digits.starts_with('0');
    if !is_word || !is_number || text.gap(number) > Gap::Blank {
        return None;
    }
    // Electric or historic.
    let extra =
        text.token(number + 1).is_some_and(|it| it.gap <= Gap::Blank) && matches!(text.str(number + 1), "E" | "H");
    let extra = extra
        && (text.gap(number + 1) == Gap::None || text.gap(number + 2) == Gap::None || text.token(number + 2).is_none());
    let last = if extra { number + 1 } else { number };
    let length = text.str(at).chars().count() + word.len() + digits.len();
    if length > LENGTH_MAX || !free_after(text, last) {
        return None;
    }
    let label = text.label(at, LABEL_BEFORE, LABELS | PLATE_NOT);
    let says = label & LABEL_PLATE != 0 || text.after(last, 4, LABEL_PLATE);
    let against = label & (PLATE_NOT | LABEL_OTHER) != 0 || text.is(at, PLATE_NOT);
    let hyphenated = hyphen && text.gap(at + 1) == Gap::None && text.gap(letters) == Gap::None;
    (says || hyphenated && !against && !text.is_mark(last + 1, '/'))
        .then(|| text.token(last).map(|it| it.end))
        .flatten()
}
