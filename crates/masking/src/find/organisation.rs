//! Organisations: names before a legal form, and those of a dictionary; universities and colleges by their word and what names them.

use super::{Found, Kind};
use crate::text::{Case, Gap, Kind as Token, Text};
use crate::words::*;

/// Words of one name.
const NAME_WORDS_MAX: usize = 6;

pub(crate) fn find(text: &Text, found: &mut Vec<Found>) {
    for at in 0..text.len() {
        let Some(token) = text.token(at).copied() else { break };
        if token.kind != Token::Word {
            continue;
        }
        if token.flags & ORG_FORM != 0
            && let Some((first, last)) = company(text, at)
        {
            push(text, first, last, Kind::Org, found);
        }
        if token.flags & ORG != 0 {
            push(text, at, at, Kind::Org, found);
        }
        // "MIT" in a heading of capitals is a preposition.
        let preposition = text.str(at) == "MIT" && !text.before(at, 2, PLACE_BEFORE);
        if token.flags & UNIVERSITY != 0 && !preposition {
            push(text, at, at, Kind::University, found);
        }
        if token.flags & UNIVERSITY_WORD != 0
            && text.capital(at)
            && let Some((first, last)) = university(text, at)
        {
            push(text, first, last, Kind::University, found);
        }
    }
    for phrase in &text.phrases {
        let kind = match phrase.flags {
            flags if flags & UNIVERSITY != 0 => Kind::University,
            flags if flags & ORG != 0 => Kind::Org,
            _ => continue,
        };
        if let Some(token) = text.token(phrase.first) {
            found.push(Found { start: token.start, end: phrase.end, kind });
        }
    }
}

fn push(text: &Text, first: usize, last: usize, kind: Kind, found: &mut Vec<Found>) {
    if let (Some(start), Some(end)) = (text.token(first), text.token(last)) {
        found.push(Found { start: start.start, end: end.end, kind });
    }
}

/// The name before a legal form, and the rest of the form: "Müller & Söhne GmbH & Co. KG".
fn company(text: &Text, at: usize) -> Option<(usize, usize)> {
    // Forms are written as they are: "GmbH", "AG", "e.V."; "ag" and "se" are words of other languages.
    let form = text.str(at);
    let dotted = |first: &str, second: &str| {
        form == first && text.is_mark(at + 1, '.') && text.str(at + 2).eq_ignore_ascii_case(second)
    };
    let mut last = match form {
        "e" | "S" | "B" => {
            if !(dotted("e", "V") || dotted("e", "K") || dotted("e", "G") || dotted("S", "A") || dotted("B", "V")) {
                return None;
            }
            at + 2 + usize::from(text.is_mark(at + 3, '.'))
        }
        _ if form.chars().all(char::is_lowercase) && form != "plc" => return None,
        "Inc" | "Ltd" | "Corp" | "Co" => at + usize::from(text.is_mark(at + 1, '.') && text.gap(at + 1) == Gap::None),
        _ => at,
    };
    let mut first = at;
    let mut words = 0;
    while words < NAME_WORDS_MAX && first > 0 && text.gap(first) <= Gap::Blank {
        let before = first - 1;
        let token = *text.token(before)?;
        let joins = matches!(token.kind, Token::Mark('&' | '+' | '-' | '.' | '\'' | '’'))
            || matches!(text.str(before), "und" | "and" | "of" | "für" | "von" | "der" | "for");
        let part = token.kind == Token::Digits || token.kind == Token::Word && token.case != Case::Lower;
        // "Die Müller GmbH": the name begins behind the article.
        if token.flags & (STOP | TITLE | PLACE_BEFORE) != 0 && !joins
            || token.kind == Token::Mark('.') && text.gap(first) != Gap::None
        {
            break;
        }
        if part {
            first = before;
        } else if joins
            && before > 0
            && text.capital(before - 1)
            && text.gap(before) <= Gap::Blank
            && !text.is(before - 1, STOP)
            // "Rechnung der Müller GmbH", but "Stiftung & Co.".
            && (token.kind != Token::Word || !text.is(before - 1, NOUN | LABEL_OTHER | LABEL_NAME))
        {
            first = before - 1;
        } else {
            break;
        }
        words += 1;
    }
    if text.is_mark(last + 1, '&') && text.str(last + 2) == "Co" {
        last += 2;
        last += usize::from(text.is_mark(last + 1, '.'));
        if text.is(last + 1, ORG_FORM) {
            last += 1;
        } else if text.is_mark(last + 1, '-') && text.is(last + 2, ORG_FORM) {
            last += 2;
        }
    }
    // "GmbH & Co. KG" alone is a form, "Version SE" is none.
    let named = (first..at).any(|at| text.capital(at) && !text.is(at, ORG_FORM));
    let word = first + 1 == at && form.len() == 2 && text.is(first, NOUN | LABEL_OTHER);
    (named && !word).then_some((first, last))
}

/// "Technische Universität München", "Universität zu Köln", "University of Leeds", "Stanford University": the word and what names it.
fn university(text: &Text, at: usize) -> Option<(usize, usize)> {
    let mut first = at;
    let mut named = text.str(at).contains('-');
    for _ in 0..NAME_WORDS_MAX {
        let hyphen = first >= 2
            && text.is_mark(first - 1, '-')
            && text.gap(first) == Gap::None
            && text.gap(first - 1) == Gap::None;
        if hyphen && text.capital(first - 2) {
            first -= 2;
        } else if first > 0
            && text.gap(first) == Gap::Blank
            && text.capital(first - 1)
            && !text.is(first - 1, STOP | TITLE | PLACE_BEFORE)
            && !text.is_mark(first - 1, '.')
        {
            first -= 1;
        } else {
            break;
        }
        named = true;
    }
    let mut last = at;
    let next = text.str(at + 1);
    let blank = |at: usize| text.gap(at) == Gap::Blank;
    if blank(at + 1) && matches!(next, "of" | "zu" | "der" | "des" | "für" | "for" | "in") {
        let mut name = at + 2;
        name += usize::from(matches!(text.str(name), "the" | "Applied" | "angewandte"));
        // "Universität der Stadt" is none; "in" needs a town that is known.
        let right = text.capital(name)
            && blank(name)
            && !text.is(name, NOUN)
            && (matches!(next, "of" | "zu" | "für" | "for" | "des" | "der") || text.is(name, CITY));
        if right && !(next == "in" && first == at) {
            last = name;
            named = true;
        }
    }
    while last < at + NAME_WORDS_MAX {
        if blank(last + 1)
            && text.capital(last + 1)
            && !text.is(last + 1, STOP | NOUN | MONTH | GIVEN | TITLE)
            && (last > at
                || text.is(last + 1, CITY | CITY_UNSURE)
                || text.is_mark(last + 2, '-')
                || text.str(last + 1).chars().count() > 3)
        {
            last += 1;
        } else if last > at && joins(text, last + 1, next.starts_with('f')) {
            last += 2;
        } else {
            break;
        }
        named = true;
    }
    named.then_some((first, last))
}

/// A hyphen, or the "und" of "Hochschule für Technik und Wirtschaft", with a capital behind.
fn joins(text: &Text, at: usize, subjects: bool) -> bool {
    let hyphen = text.is_mark(at, '-') && text.gap(at) == Gap::None;
    (hyphen || subjects && matches!(text.str(at), "und" | "and")) && text.capital(at + 1)
}
