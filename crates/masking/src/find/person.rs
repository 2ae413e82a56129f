//! Names of people: by a title ("Frau Dr. Weber"), a given name of the dictionary with what follows, "Surname, Given", a label or the
//! end of a letter; and once a surname is known, wherever it stands in the texts of the request.
//!
//! German writes all nouns with a capital, so a capital alone says nothing: a name that is in no dictionary and stands beside no
//! title, label or known given name is not found.

use super::{Found, Kind};
use crate::text::{Case, Gap, Kind as Token, Text};
use crate::words::*;
use std::collections::BTreeSet;

/// Words of one name without particles: "Karl Theodor Maria Nikolaus …" is cut.
const NAME_WORDS_MAX: usize = 5;
/// Surnames that are remembered of one request.
const KNOWN_MAX: usize = 10_000;

/// Surnames that were found with a given name or a title.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(BTreeSet<String>);

pub(crate) fn find(text: &Text, known: &mut Known, found: &mut Vec<Found>) {
    let mut names = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match name(text, at) {
            Some((first, last)) => {
                names.push((first, last));
                at = last.max(at) + 1;
            }
            None => at += 1,
        }
    }
    for (_, last) in &names {
        let surname = text.str(*last);
        let short = surname.chars().count() < 3;
        if !short && !text.is(*last, NOUN | UNSURE | STOP | GIVEN | MONTH | CITY | REGION) && known.0.len() < KNOWN_MAX
        {
            known.0.insert(surname.to_owned());
        }
    }
    let mut covered = 0;
    for (first, last) in names {
        if let (Some(start), Some(end)) = (text.token(first), text.token(last)) {
            found.push(Found { start: start.start, end: end.end, kind: Kind::Person });
        }
    }
    if known.0.is_empty() {
        return;
    }
    for at in 0..text.len() {
        let Some(token) = text.token(at).copied() else { break };
        if token.kind != Token::Word || token.case == Case::Lower || token.start < covered {
            continue;
        }
        let word = text.str(at);
        text.count(word.len());
        // "Webers" of "Weber".
        let bare = word.strip_suffix('s').filter(|bare| bare.chars().count() > 3);
        if known.0.contains(word) || bare.is_some_and(|bare| known.0.contains(bare)) {
            found.push(Found { start: token.start, end: token.end, kind: Kind::Person });
            covered = token.end;
        }
    }
}

/// The name that begins at this token or is announced by it.
fn name(text: &Text, at: usize) -> Option<(usize, usize)> {
    let token = text.token(at)?;
    if token.kind != Token::Word {
        return None;
    }
    if token.flags & TITLE != 0 && token.case != Case::Lower {
        return titled(text, at);
    }
    // "herr schulze", as people write in chats.
    if token.flags & TITLE != 0 && text.gap(at + 1) == Gap::Blank && text.is(at + 1, SMALL_NAME) {
        return Some((at + 1, at + 1));
    }
    if token.flags & (LABEL_NAME | SAYS_NAME | CLOSING) != 0
        && let Some(name) = announced(text, at, token.flags)
    {
        return Some(name);
    }
    if token.case == Case::Lower {
        return None;
    }
    given_first(text, at)
        .or_else(|| surname_first(text, at))
        .or_else(|| initials(text, at))
        .or_else(|| surname_alone(text, at))
}

/// A surname that is no other word, with an unknown capital before it: "Xaverine Oblomowski", "Schmidt hat angerufen".
fn surname_alone(text: &Text, at: usize) -> Option<(usize, usize)> {
    let sure = |at: usize| {
        let part = |mark: usize, other: usize| {
            text.is_mark(mark, '-') && text.gap(mark) == Gap::None && text.gap(other) == Gap::None
        };
        let stuck = part(at + 1, at + 2) || at > 1 && part(at - 1, at);
        may_be(text, at)
            && text.is(at, SURNAME)
            && !text.is(at, UNSURE | CITY | REGION | ORG | NOUN | STREET_ALONE)
            && !stuck
    };
    if sure(at) {
        return Some((at, at));
    }
    let plain = may_be(text, at) && !known_word(text, at) && !text.is(at, CITY | REGION | TITLE | UNSURE);
    (plain && text.gap(at + 1) == Gap::Blank && sure(at + 1)).then_some((at, at + 1))
}

/// Whether a word may be part of a name at all.
fn may_be(text: &Text, at: usize) -> bool {
    let long = text.token(at).is_some_and(|it| it.end - it.start > 1);
    // "O'Sullivan".
    let irish = || matches!(text.str(at + 1), "'" | "’") && text.gap(at + 1) == Gap::None && text.capital(at + 2);
    text.capital(at) && !text.is(at, STOP | MONTH) && (long || irish())
}

/// The last token of a word with what hyphens and apostrophes join to it: "Müller-Lüdenscheidt", "O'Brien".
fn joined(text: &Text, at: usize) -> usize {
    let mut last = at;
    for _ in 0..3 {
        let mark = matches!(
            text.token(last + 1).map(|it| it.kind),
            Some(Token::Mark('-' | '\'' | '’' | '\u{2010}' | '\u{2011}'))
        );
        if mark && text.gap(last + 1) == Gap::None && text.gap(last + 2) == Gap::None && text.capital(last + 2) {
            last += 2;
        }
    }
    last
}

/// The end of a name whose first words end at `first`: particles, initials and more words, as long as `accept` says so.
fn extend(text: &Text, first: usize, words: usize, accept: impl Fn(usize) -> bool) -> usize {
    let mut last = first;
    for _ in 0..words {
        let mut next = last + 1;
        if text.gap(next) > Gap::Blank {
            break;
        }
        // An initial with its point: "Anna M. Weber".
        let initial = text
            .token(next)
            .is_some_and(|it| it.kind == Token::Word && it.end - it.start <= 2 && it.case == Case::Title)
            && text.is_mark(next + 1, '.')
            && text.gap(next + 1) == Gap::None;
        if initial
            && text.gap(next) == Gap::Blank
            && text.capital(next + 2)
            && text.gap(next + 2) == Gap::Blank
            && accept(next + 2)
        {
            last = joined(text, next + 2);
            continue;
        }
        // "Herr Peter Krause von der Krause GmbH": after a surname comes where he is from.
        let surname = last > first && text.is(last, SURNAME);
        let mut particles = 0;
        while !surname && particles < 3 && particle(text, next, particles == 0) && text.gap(next + 1) == Gap::Blank {
            next += 1;
            particles += 1;
        }
        let after_particle = particles > 0 && may_be(text, next);
        if text.gap(next) == Gap::Blank && may_be(text, next) && (after_particle || accept(next)) {
            last = joined(text, next);
        } else {
            break;
        }
    }
    last
}

/// A particle of a noble or Dutch name. "der" begins none: "Karl der Käfer", "Herr der Lage".
fn particle(text: &Text, at: usize, first: bool) -> bool {
    let article = first && matches!(text.str(at), "der" | "den" | "dem" | "zum" | "zur");
    text.is(at, PARTICLE) && text.gap(at) == Gap::Blank && !article
}

/// After "Herr", "Frau Dr.", "Mr.": titles and roles are stepped over, the name is what follows.
fn titled(text: &Text, at: usize) -> Option<(usize, usize)> {
    let mut next = at + 1;
    for _ in 0..8 {
        let point = text.is_mark(next, '.') && text.gap(next) == Gap::None;
        let other = text.is(next, TITLE | ROLE) && text.gap(next) <= Gap::Blank && !names_itself(text, next);
        let degree = matches!(
            text.str(next),
            "med"
                | "jur"
                | "phil"
                | "rer"
                | "nat"
                | "Ing"
                | "h"
                | "c"
                | "pol"
                | "habil"
                | "oec"
                | "theol"
                | "vet"
                | "dent"
                | "mult"
        );
        let hyphen = text.is_mark(next, '-') && (text.str(next + 1) == "Ing");
        if point || other || degree && text.gap(next) <= Gap::Blank || hyphen {
            next += 1;
        } else {
            break;
        }
    }
    let mut first = next;
    while next < first + 3 && particle(text, next, next == first) {
        next += 1;
    }
    // "Herr E. Weber".
    while text.token(next).is_some_and(|it| it.end - it.start == 1 && it.case != Case::Lower)
        && text.is_mark(next + 1, '.')
    {
        next += 2;
    }
    if !may_be(text, next) || text.gap(next) > Gap::Blank || text.is(next, ROLE) && !text.is(next, SURNAME) {
        return None;
    }
    // "Frau Anna Weber", "Herrn Yilmaz Öztürk"; but "Herr Weber Montag".
    first = first.min(next);
    let last = joined(text, next);
    let given = text.is(next, GIVEN);
    let last = extend(text, last, 3, |at| {
        text.is(at, SURNAME | GIVEN)
            || given && !text.is(at, NOUN | ROLE)
            || !known_word(text, at) && !text.is(next, SURNAME)
    });
    Some((first, last))
}

/// A title that is a name here: "Herr Graf", followed by nothing that is one.
fn names_itself(text: &Text, at: usize) -> bool {
    text.is(at, SURNAME) && !(may_be(text, at + 1) && text.gap(at + 1) == Gap::Blank)
}

/// A word of which something else is known than that it may be a name.
fn known_word(text: &Text, at: usize) -> bool {
    // Half of all surnames end like a street ("Patberg", "Steinkamp"); a street has a number.
    let street = text.is(at, STREET) && text.token(at + 1).is_some_and(|next| next.kind == Token::Digits);
    street || text.is(at, NOUN | STOP | ROLE | MONTH | ORG | ORG_FORM | REGION | LABELS | LABEL_NAME | UNIVERSITY_WORD)
}

/// "Anna Weber", "Anna-Lena von der Heide"; "Anna" alone, if it is no other word.
fn given_first(text: &Text, at: usize) -> Option<(usize, usize)> {
    if !text.is(at, GIVEN) {
        return None;
    }
    if at > 0 && text.is_mark(at - 1, '-') && text.gap(at) == Gap::None && text.capital(at.saturating_sub(2)) {
        return None;
    }
    let upper = text.token(at)?.case == Case::Upper;
    let first_last = joined(text, at);
    // "Otto-Motor", "Paul-Ehrlich-Institut": named after somebody, nobody.
    if (at + 2..=first_last).step_by(2).any(|at| !text.is(at, GIVEN | SURNAME)) {
        return None;
    }
    let unsure = text.is(at, UNSURE) && first_last == at;
    let last = extend(text, first_last, NAME_WORDS_MAX - 1, |next| {
        let sure = text.is(next, SURNAME | GIVEN) && !(text.is(next, UNSURE) && text.is(next, NOUN) && unsure);
        let same_case = !upper || text.token(next).is_some_and(|it| it.case == Case::Upper);
        sure || !unsure && same_case && !known_word(text, next) && !text.is(next, CITY | UNIVERSITY)
    });
    // A street, a company, a school that is named after somebody belongs to another recogniser.
    if text.is_mark(last + 1, '-') && text.gap(last + 1) == Gap::None && text.gap(last + 2) == Gap::None {
        return None;
    }
    (last > at || !unsure).then_some((at, last))
}

/// "Weber, Anna": a surname of the dictionary, or any word where a line or a cell begins.
fn surname_first(text: &Text, at: usize) -> Option<(usize, usize)> {
    let last = joined(text, at);
    let given = last + 2;
    let form = text.is_mark(last + 1, ',')
        && text.gap(last + 1) == Gap::None
        && text.gap(given) == Gap::Blank
        && text.is(given, GIVEN)
        && text.capital(given);
    if !form || !may_be(text, at) || text.is(given, UNSURE) && !text.is(at, SURNAME) {
        return None;
    }
    let begins = text.gap(at) >= Gap::Line
        || matches!(text.back(at, 1).map(|it| it.kind), Some(Token::Mark(':' | ';' | '|' | '"' | '-' | '•')));
    // "Gestern kamen Weber, Anna und Paul": a list; then both are names all the same.
    if text.is(at, SURNAME) || begins && !known_word(text, at) {
        let end = extend(text, joined(text, given), 2, |next| text.is(next, GIVEN) && !text.is_mark(next + 1, ','));
        return Some((at, end));
    }
    None
}

/// "E. Weber", "A. B. Smith".
fn initials(text: &Text, at: usize) -> Option<(usize, usize)> {
    let mut next = at;
    for _ in 0..3 {
        let letter = text
            .token(next)
            .is_some_and(|it| it.kind == Token::Word && it.end - it.start <= 2 && text.str(next).chars().count() == 1);
        if letter
            && text.capital(next)
            && text.is_mark(next + 1, '.')
            && text.gap(next + 1) == Gap::None
            && (next == at || text.gap(next) <= Gap::Blank)
        {
            next += 2;
        } else {
            break;
        }
    }
    if next == at || !may_be(text, next) || text.gap(next) != Gap::Blank && text.gap(next) != Gap::None {
        return None;
    }
    let free = at == 0 || text.gap(at) != Gap::None || matches!(text.back(at, 1)?.kind, Token::Mark('(' | '"' | '„'));
    (free && text.is(next, SURNAME) && text.capital(next)).then(|| (at, joined(text, next)))
}

/// After "Name:", "Ansprechpartner:", "mein Name ist", "heißt", "Mit freundlichen Grüßen".
fn announced(text: &Text, at: usize, flags: Flags) -> Option<(usize, usize)> {
    let mut next = at + 1;
    let line = |at: usize| text.gap(at) == Gap::Line || text.gap(at) == Gap::Paragraph;
    if flags & CLOSING != 0 {
        // The end of a letter: the name stands on the next line, or behind a comma.
        let comma = text.is_mark(next, ',');
        next += usize::from(comma);
        if !line(next) {
            return if comma { apposition(text, next) } else { None };
        }
    } else if flags & LABEL_NAME != 0 {
        // "Name des Kunden: …", "Ansprechpartnerin ist …".
        let stop = (next..next + 4).take_while(|at| !line(*at)).find(|at| text.is_mark(*at, ':') || text.is(*at, IS));
        let Some(stop) = stop else { return apposition(text, at + 1) };
        next = stop + 1;
        if line(next) {
            return None;
        }
    }
    while next < at + 8 && (text.is(next, TITLE) || text.is_mark(next, '.')) {
        next += 1;
    }
    // Something else than a name may stand there: two words, or one of a dictionary.
    if !may_be(text, next)
        || known_word(text, next) && !text.is(next, GIVEN | SURNAME)
        || text.is(next, UNSURE | CITY) && !text.is(next, GIVEN)
    {
        return None;
    }
    if let Some(name) = surname_first(text, next) {
        return Some(name);
    }
    let first_last = joined(text, next);
    let last = extend(text, first_last, 3, |at| !known_word(text, at) || text.is(at, SURNAME | GIVEN));
    let one = last == first_last;
    (!one || first_last > next || text.is(next, GIVEN | SURNAME)).then_some((next, last))
}

/// "Patientin Öznur Karabulut": two capitals right behind, of which nothing else is known.
fn apposition(text: &Text, at: usize) -> Option<(usize, usize)> {
    let plain = |at: usize| {
        may_be(text, at)
            && text.gap(at) == Gap::Blank
            && text.str(at).chars().count() >= 3
            && !known_word(text, at)
            && !text.is(at, CITY | TITLE)
    };
    let second = joined(text, at) + 1;
    (plain(at) && plain(second)).then(|| (at, joined(text, second)))
}
