//! User names and passwords, by the word before them; and SAP's own ids of people.

use super::{Found, Kind};
use crate::text::{Gap, Kind as Token, Text};
use crate::words::*;

/// A password that is longer is a file.
const VALUE_MAX: usize = 128;
/// "Passwort für das Portal: …": tokens between the word and what parts it from the value.
const BETWEEN_MAX: usize = 5;

pub(crate) fn find(text: &Text, found: &mut Vec<Found>) {
    let mut done = 0;
    for at in 0..text.len() {
        let Some(token) = text.token(at).copied() else { break };
        if token.kind != Token::Word {
            continue;
        }
        if token.flags & (LABEL_USER | LABEL_SECRET) != 0
            && token.start >= done
            && let Some((start, end)) = value(text, at, token.flags & LABEL_SECRET != 0)
        {
            found.push(Found { start, end, kind: Kind::Credential });
            done = end;
        }
        if let Some((end, kind)) = sap_id(text, at) {
            found.push(Found { start: token.start, end, kind });
        }
    }
}

fn value(text: &Text, label: usize, secret: bool) -> Option<(usize, usize)> {
    let mut strong = false;
    let mut at = label + 1;
    for _ in 0..BETWEEN_MAX {
        let token = text.token(at)?;
        if token.gap >= Gap::Line {
            return None;
        }
        if matches!(token.kind, Token::Mark(':' | '=')) {
            strong = true;
        } else if token.flags & IS == 0 {
            // Another label has its own value.
            if token.flags & (LABEL_USER | LABEL_SECRET) != 0 && at > label + 2
                || matches!(token.kind, Token::Mark('.' | '!' | '?' | ','))
            {
                return None;
            }
            at += 1;
            continue;
        }
        // What stands after ":" and after "ist" may be parted by either again ("lautet: x").
        let mut value = at + 1;
        if text.is_mark(value, ':') || text.is_mark(value, '=') || text.is_mark(value, '>') {
            value += 1;
        }
        return cut(text, value, strong, secret);
    }
    None
}

/// The value that begins with this token.
fn cut(text: &Text, at: usize, strong: bool, secret: bool) -> Option<(usize, usize)> {
    let token = text.token(at)?;
    if token.gap >= Gap::Line {
        return None;
    }
    let open = text.source[token.start..].chars().next()?;
    let close = match open {
        '"' | '\'' | '`' => Some(open),
        '„' => Some('“'),
        '“' => Some('”'),
        '»' => Some('«'),
        '<' => Some('>'),
        _ => None,
    };
    let start = token.start + close.map_or(0, |_| open.len_utf8());
    let rest = &text.source[start..];
    let ends = |c: char| close.map_or(c.is_whitespace(), |close| c == close || c == '\n');
    let length = rest
        .char_indices()
        .take_while(|(at, c)| *at < VALUE_MAX && !ends(*c))
        .last()
        .map_or(0, |(at, c)| at + c.len_utf8());
    text.count(length);
    let mut value = &rest[..length];
    if close.is_none() {
        value = value.trim_end_matches(['.', ',', ';', ')', '"', '\'', '?']);
    }
    let marked = value.chars().any(|c| !c.is_alphabetic()) || close.is_some();
    // At the end of its line or sentence; blanks are looked over, but not many.
    let after = rest[value.len()..].chars().take(3).find(|c| *c != ' ');
    let alone = after.is_none_or(|c| matches!(c, '\n' | '\r' | ',' | ';' | '.' | ')' | '"' | '/' | '|'));
    // "Passwort: bitte ändern" names none.
    let right = value.chars().count() >= 2
        && (marked || strong && alone)
        && (secret || value.chars().any(char::is_alphanumeric));
    right.then_some((start, start + value.len()))
}

/// Staff: C, D or I and six to eight digits, beside a word that says what it is. Users of SAP's portals: S or P and digits; those of
/// ten digits or more need no word.
fn sap_id(text: &Text, at: usize) -> Option<(usize, Kind)> {
    let digits = text.token(at + 1)?;
    let count = digits.end - digits.start;
    let stuck = text.gap(at) == Gap::None
        && at > 0
        && !matches!(text.back(at, 1)?.kind, Token::Mark('(' | '"' | ':' | '=' | '/' | '\'' | '@' | '[' | '<' | ','));
    if digits.kind != Token::Digits || digits.gap != Gap::None || stuck || !super::free_after(text, at + 1) {
        return None;
    }
    let said = text.near(at, 6, at + 1, 4, LABEL_SAP | LABEL_USER);
    let kind = match text.str(at) {
        "I" | "D" | "C" | "i" | "d" | "c" if (6..=8).contains(&count) && said => Kind::SapInternal,
        "S" | "s" if (10..=11).contains(&count) || (6..=9).contains(&count) && said => Kind::SapPublic,
        "P" | "p" if count == 10 => Kind::SapPublic,
        _ => return None,
    };
    Some((digits.end, kind))
}
