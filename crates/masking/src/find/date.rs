//! Dates of birth: a date with a word beside it that says so. A date without one is any date.

use super::{Found, Kind};
use crate::text::{Gap, Kind as Token, Text};
use crate::words::*;

const LABEL_BEFORE: usize = 9;
const LABEL_AFTER: usize = 3;

pub(crate) fn find(text: &Text, found: &mut Vec<Found>) {
    let mut done = 0;
    for at in 0..text.len() {
        let Some(token) = text.token(at).copied() else { break };
        if at < done || token.kind == Token::Mark('*') {
            continue;
        }
        let Some(last) = date(text, at) else { continue };
        let end = text.token(last).map_or(token.end, |it| it.end);
        if born(text, at, last) {
            found.push(Found { start: token.start, end, kind: Kind::BirthDate });
        }
        done = last + 1;
    }
}

/// The last token of a date that begins here.
fn date(text: &Text, at: usize) -> Option<usize> {
    let token = text.token(at)?;
    let number = |at: usize, from: u32, to: u32| {
        let digits = text.str(at);
        digits.len() <= 4 && digits.parse::<u32>().is_ok_and(|it| (from..=to).contains(&it))
    };
    let year = |at: usize| number(at, 1880, 2100) || text.str(at).len() == 2 && number(at, 0, 99);
    let tight = |at: usize| text.gap(at) == Gap::None;
    let month = |at: usize| text.is(at, MONTH);
    if token.kind == Token::Digits
        && at > 0
        && tight(at)
        && matches!(text.back(at, 1)?.kind, Token::Digits | Token::Word)
    {
        return None;
    }
    match token.kind {
        Token::Digits => {
            for (mark, day_first) in [('.', true), ('/', true), ('-', true), ('-', false), ('/', false)] {
                let marks = text.is_mark(at + 1, mark) && tight(at + 1) && text.is_mark(at + 3, mark) && tight(at + 3);
                let near = text.gap(at + 2) <= Gap::Blank && text.gap(at + 4) <= Gap::Blank;
                let right = match day_first {
                    // Day and month in either order: US dates have the month first.
                    true => {
                        number(at, 1, 31)
                            && number(at + 2, 1, 31)
                            && (number(at, 1, 12) || number(at + 2, 1, 12))
                            && year(at + 4)
                    }
                    false => number(at, 1880, 2100) && number(at + 2, 1, 12) && number(at + 4, 1, 31),
                };
                if marks && near && right {
                    return Some(at + 4);
                }
            }
            // "12. März 1985", "12 March 1985", "12th of March, 1985".
            let mut next = at + 1;
            for skip in [".", "st", "nd", "rd", "th", "of"] {
                if text.str(next) == skip {
                    next += 1;
                }
            }
            if !number(at, 1, 31) || !month(next) {
                return None;
            }
            let mut last = next + 1;
            while text.is_mark(last, '.') || text.is_mark(last, ',') {
                last += 1;
            }
            (number(last, 1880, 2100) && last < next + 4).then_some(last)
        }
        // "March 12, 1985".
        Token::Word if token.flags & MONTH != 0 => {
            let mut next = at + 1;
            next += usize::from(text.is_mark(next, '.'));
            if !number(next, 1, 31) {
                return None;
            }
            next += 1;
            next += usize::from(matches!(text.str(next), "st" | "nd" | "rd" | "th"));
            next += usize::from(text.is_mark(next, ','));
            number(next, 1880, 2100).then_some(next)
        }
        _ => None,
    }
}

/// Whether the word for it stands before, with no other date and no end of a sentence between, or right after.
fn born(text: &Text, first: usize, last: usize) -> bool {
    for back in 1..=LABEL_BEFORE.min(first) {
        let at = first - back;
        if text.gap(at + 1) == Gap::Paragraph {
            break;
        }
        // "* 12.03.1985", as in family trees.
        if back == 1 && text.is_mark(at, '*') && text.gap(at) != Gap::None {
            return true;
        }
        if text.is(at, LABEL_BIRTH) {
            return true;
        }
        if text.token(at).is_some_and(|it| it.kind == Token::Digits) && text.str(at).len() > 1 {
            break;
        }
    }
    text.after(last, LABEL_AFTER, LABEL_BIRTH)
}
