//! Telephone numbers: international ones by their country code, German ones by their form, US ones by theirs; anything else of five
//! digits or more after a word such as "Telefon".
//!
//! There is no check digit, and we carry no list of the 5,200 German area codes: what has the form of a number is taken for one.

use super::{Found, Kind, free_after, free_before};
use crate::text::{Gap, Kind as Token, Text};
use crate::words::*;

/// E.164.
const DIGITS_MAX: usize = 15;
const GROUPS_MAX: usize = 8;
const LABEL_BEFORE: usize = 7;
/// Zones of E.164 whose country codes have one or two digits; all other codes have three.
const COUNTRIES: [&str; 46] = [
    "1", "7", "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48",
    "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65", "66", "81", "82", "84",
    "86", "90", "91", "92", "93", "94", "95", "98",
];

struct Scan {
    plus: bool,
    bracket: bool,
    digits: String,
    /// Length and last token of each group, and what stands before it.
    groups: Vec<(usize, usize, char)>,
}

pub(crate) fn find(text: &Text, found: &mut Vec<Found>) {
    let mut done = 0;
    for at in 0..text.len() {
        let Some(token) = text.token(at).copied() else { break };
        let begins = match token.kind {
            Token::Mark('+') => {
                token.gap != Gap::None
                    || at == 0
                    || !matches!(text.back(at, 1).map(|it| it.kind), Some(Token::Digits | Token::Word))
            }
            Token::Mark('(') => {
                text.token(at + 1).is_some_and(|it| matches!(it.kind, Token::Digits | Token::Mark('+')))
            }
            Token::Digits => free_before(text, at),
            _ => false,
        };
        if token.start < done || !begins {
            continue;
        }
        if let Some(end) = scan(text, at).and_then(|scan| judge(text, at, &scan)) {
            found.push(Found { start: token.start, end, kind: Kind::Phone });
            done = end;
        }
    }
}

/// Groups of digits with what may stand between them in a telephone number.
fn scan(text: &Text, first: usize) -> Option<Scan> {
    let mut scan = Scan { plus: false, bracket: false, digits: String::new(), groups: Vec::new() };
    let mut at = first;
    let mut marks = 0;
    let mut separator = '\0';
    let mut open = false;
    while let Some(token) = text.token(at) {
        if at > first && token.gap > Gap::Blank {
            break;
        }
        if at > first && token.gap == Gap::Blank && separator == '\0' {
            separator = ' ';
        }
        match token.kind {
            Token::Digits => {
                let digits = text.str(at);
                if scan.digits.len() + digits.len() > DIGITS_MAX + 3 || scan.groups.len() == GROUPS_MAX {
                    break;
                }
                scan.digits.push_str(digits);
                scan.groups.push((digits.len(), at, separator));
                (marks, separator) = (0, '\0');
            }
            Token::Mark('+') if scan.digits.is_empty() && !scan.plus => scan.plus = true,
            Token::Mark('(') if !open && scan.groups.len() < 3 => {
                (open, scan.bracket) = (true, true);
                marks += 1;
            }
            Token::Mark(')') if open && !scan.groups.is_empty() => {
                open = false;
                marks += 1;
            }
            Token::Mark(mark @ ('-' | '/' | '.' | '\u{2010}' | '\u{2011}' | '\u{2013}')) if !scan.groups.is_empty() => {
                separator = mark;
                marks += 1;
            }
            _ => break,
        }
        if marks > 2 {
            break;
        }
        at += 1;
    }
    (!scan.groups.is_empty()).then_some(scan)
}

fn judge(text: &Text, first: usize, scan: &Scan) -> Option<usize> {
    let labelled = text.label(first, LABEL_BEFORE, LABELS | LABEL_BIRTH);
    if labelled & !LABEL_PHONE != 0 && !scan.plus {
        return None;
    }
    // What follows after a blank may belong to the sentence: the longest number that is one.
    for groups in (1..=scan.groups.len()).rev() {
        let (_, last, _) = scan.groups[groups - 1];
        let digits: usize = scan.groups[..groups].iter().map(|(len, _, _)| len).sum();
        let cut_right = scan.groups.get(groups).is_none_or(|(_, _, separator)| *separator == ' ');
        if cut_right
            && free_after(text, last)
            && !money(text, last)
            && right(scan, groups, &scan.digits[..digits], labelled & LABEL_PHONE != 0)
        {
            return text.token(last).map(|it| it.end);
        }
    }
    None
}

fn money(text: &Text, last: usize) -> bool {
    matches!(text.str(last + 1), "€" | "EUR" | "Euro" | "%" | "USD" | "$" | "CHF" | "£")
}

fn right(scan: &Scan, groups: usize, digits: &str, labelled: bool) -> bool {
    let lens: Vec<usize> = scan.groups[..groups].iter().map(|(len, _, _)| *len).collect();
    let separators: Vec<char> = scan.groups[1..groups].iter().map(|(_, _, separator)| *separator).collect();
    let international = match (scan.plus, digits.strip_prefix("00")) {
        (true, _) => Some(digits),
        (false, Some(rest)) if lens[0] >= 4 || groups > 1 && lens[0] == 2 || labelled => Some(rest),
        _ => None,
    };
    if let Some(rest) = international {
        let known =
            COUNTRIES.iter().any(|it| rest.starts_with(it)) || matches!(rest.as_bytes().first(), Some(b'2'..=b'9'));
        return known && (8..=DIGITS_MAX + 1).contains(&rest.len());
    }
    let date = matches!(lens[..], [1 | 2, 1 | 2, 2 | 4]) || matches!(lens[..], [4, 2, 2]);
    if date {
        return false;
    }
    let dots_only = !separators.is_empty() && separators.iter().all(|it| *it == '.');
    let mobile = ["015", "016", "017"].iter().any(|it| digits.starts_with(it));
    // "(0 89) 123 456": the zero may stand apart.
    let area = match lens[0] {
        1 if groups > 1 && scan.bracket => 1 + lens[1],
        len => len,
    };
    let german = digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(|it| *it != b'0');
    if german && digits.len() <= 13 {
        let split = groups > 1 && (3..=6).contains(&area) && (!dots_only || mobile);
        if split && digits.len() >= 9 || mobile && (11..=12).contains(&digits.len()) && (groups == 1 || split) {
            return true;
        }
    }
    let american = lens[..] == [3, 3, 4]
        && matches!(digits.as_bytes(), [b'2'..=b'9', _, _, b'2'..=b'9', ..])
        && (separators[1] == '-' || dots_only);
    american || labelled && (5..=DIGITS_MAX).contains(&digits.len())
}
