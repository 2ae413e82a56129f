//! Postal addresses, German and English, and places. An address is a street with its number, what belongs to it (postcode, town), a
//! post office box, or a postcode with a town that the dictionary knows. A place is a town, Land or country of the dictionary.

use super::{Found, Kind};
use crate::text::{Gap, Kind as Token, Text};
use crate::words::*;

/// "Am Alten Markt", "Karl-Marx-Allee": words of one street.
const STREET_WORDS_MAX: usize = 6;

pub(crate) fn find(text: &Text, found: &mut Vec<Found>) {
    let mut done = 0;
    for at in 0..text.len() {
        if at < done {
            continue;
        }
        let it = match text.token(at).map(|it| it.kind) {
            Some(Token::Word) => {
                street(text, at).or_else(|| box_number(text, at)).or_else(|| street_by_begin(text, at))
            }
            Some(Token::Digits) => postcode(text, at, false).map(|last| (at, last)).or_else(|| english(text, at)),
            _ => None,
        };
        if let Some((first, last)) = it {
            // "D-80331": the letter of the country belongs to it.
            let first =
                match first >= 2 && text.is_mark(first - 1, '-') && matches!(text.str(first - 2), "D" | "A" | "CH") {
                    true => first - 2,
                    false => first,
                };
            let (Some(start), Some(end)) = (text.token(first), text.token(last)) else { continue };
            found.push(Found { start: start.start, end: end.end, kind: Kind::Address });
            done = last + 1;
        }
    }
    places(text, found);
}

fn places(text: &Text, found: &mut Vec<Found>) {
    for at in 0..text.len() {
        let Some(token) = text.token(at).copied() else { break };
        let unsure =
            token.flags & CITY_UNSURE != 0 && at > 0 && text.is(at - 1, PLACE_BEFORE) && text.gap(at) <= Gap::Blank;
        let known = token.flags & (CITY | REGION) != 0 && token.flags & CITY_UNSURE == 0;
        if text.capital(at) && (known || unsure || lived_in(text, at)) {
            found.push(Found { start: token.start, end: token.end, kind: Kind::Location });
        }
    }
    for phrase in text.phrases.iter().filter(|phrase| phrase.flags & (CITY | REGION) != 0) {
        if let Some(token) = text.token(phrase.first) {
            found.push(Found { start: token.start, end: phrase.end, kind: Kind::Location });
        }
    }
}

/// "lives in Tulsa", "geboren in Leer": a capital behind "in", whatever it is called.
fn lived_in(text: &Text, at: usize) -> bool {
    let place = at > 1 && matches!(text.str(at - 1), "in" | "aus" | "near" | "from") && text.gap(at) == Gap::Blank;
    place
        && text.label(at - 1, 5, LABEL_ADDRESS | LABEL_BIRTH | PLACE_BEFORE) & (LABEL_ADDRESS | LABEL_BIRTH) != 0
        && !text.is(at, STOP | NOUN | MONTH | STREET | STREET_ALONE)
}

/// The last token of a house number that begins here: "12", "12a", "12 a", "12-14", "12/3".
fn house(text: &Text, at: usize) -> Option<usize> {
    let token = text.token(at)?;
    if token.kind != Token::Digits
        || token.end - token.start > 4
        || token.gap > Gap::Blank
        || text.str(at).starts_with('0')
    {
        return None;
    }
    let mut last = at;
    if matches!(text.token(at + 1).map(|it| it.kind), Some(Token::Mark('-' | '/' | '–')))
        && text
            .token(at + 2)
            .is_some_and(|it| it.kind == Token::Digits && it.end - it.start <= 4 && it.gap <= Gap::Blank)
    {
        last = at + 2;
    }
    if let Some(letter) = text.token(last + 1)
        && letter.kind == Token::Word
        && letter.end - letter.start == 1
        && matches!(text.str(last + 1).to_ascii_lowercase().as_bytes()[0], b'a'..=b'h')
        && (letter.gap == Gap::None
            || letter.gap == Gap::Blank
                && text.token(last + 2).is_none_or(|it| !matches!(it.kind, Token::Word) || it.gap != Gap::Blank))
    {
        last += 1;
    }
    // "Platz 3.000", "Weg 12 %": no number of a house.
    let more = text.token(last + 2).is_some_and(|it| it.kind == Token::Digits && it.gap == Gap::None);
    let decimal = more && (text.is_mark(last + 1, '.') || text.is_mark(last + 1, ',') || text.is_mark(last + 1, ':'));
    (!decimal && !matches!(text.str(last + 1), "%" | "€" | "km" | "m" | "Uhr")).then_some(last)
}

/// A German street by its last word.
fn street(text: &Text, at: usize) -> Option<(usize, usize)> {
    let token = text.token(at)?;
    // "Platz" needs a name before it, "Schillerplatz" has it.
    let alone = token.flags & STREET_ALONE != 0;
    let whole = token.flags & STREET != 0 && token.flags & STREET_NOT == 0 && !alone;
    if !text.capital(at) || !whole && !alone {
        return None;
    }
    let first = begin(text, at);
    let named = first < at;
    let mut next = at + 1;
    if text.is_mark(next, '.') && text.gap(next) == Gap::None {
        next += 1;
    } else if alone
        && matches!(text.str(at), "Straße" | "Strasse" | "Platz" | "Allee" | "Weg")
        && matches!(text.str(next), "des" | "der" | "am" | "an" | "von")
    {
        // "Straße des 17. Juni 135", "Platz der Republik 1".
        let end = (next + 1..next + STREET_WORDS_MAX)
            .find(|at| house(text, *at).is_some() && !text.is_mark(*at + 1, '.') && text.is(*at - 1, !0))
            .or_else(|| {
                (next + 1..next + STREET_WORDS_MAX).find(|at| house(text, *at).is_some() && !text.is_mark(*at + 1, '.'))
            })?;
        let between = (next..end).all(|at| {
            text.gap(at) <= Gap::Blank
                && (text.capital(at)
                    || !matches!(text.token(at).map(|it| it.kind), Some(Token::Word))
                    || matches!(text.str(at), "des" | "der" | "den" | "am" | "an" | "von"))
        });
        return between.then(|| (at, with_town(text, house(text, end).unwrap_or(end))));
    }
    let number = house(text, next).filter(|_| text.gap(next) <= Gap::Blank);
    match number {
        Some(last) if whole || named => Some((first, with_town(text, last))),
        // A street without a number: only by an ending that is no other word's.
        None if whole && sure(text.str(at)) && text.gap(at) != Gap::None || named && sure(text.str(at)) => {
            Some((first, with_town(text, at)))
        }
        _ => None,
    }
}

fn sure(word: &str) -> bool {
    let word = word.to_lowercase();
    ["straße", "strasse", "gasse", "allee", "chaussee"].iter().any(|it| word.ends_with(it)) && word.chars().count() > 5
        || word == "straße"
        || word == "strasse"
        || word == "allee"
}

/// Where the name of a street begins: words joined by hyphens, and before it an adjective or the name of a town ("Berliner").
fn begin(text: &Text, at: usize) -> usize {
    let mut first = at;
    for _ in 0..STREET_WORDS_MAX {
        let hyphen = first >= 2 && text.is_mark(first - 1, '-') && text.gap(first) == Gap::None;
        match text.back(first, 2).map(|token| token.kind) {
            Some(Token::Word) if hyphen && text.gap(first - 1) == Gap::None => first -= 2,
            // "St.-Anna-Straße".
            Some(Token::Mark('.')) if hyphen && first >= 3 && text.capital(first - 3) => first -= 3,
            _ => break,
        }
    }
    let before = text.str(first.wrapping_sub(1));
    let adjective = ["er", "e", "es", "en"].iter().any(|it| before.ends_with(it)) && before.chars().count() >= 4;
    if first >= 1
        && text.capital(first - 1)
        && text.gap(first) == Gap::Blank
        && adjective
        && (!text.is(first - 1, STOP | NOUN | TITLE) || text.is(first - 1, STREET_BEGIN))
    {
        first -= 1;
    }
    first
}

/// After a street: a comma or a new line, a postcode and its town.
fn with_town(text: &Text, last: usize) -> usize {
    let mut at = last + 1;
    if text.is_mark(at, ',') || text.is_mark(at, ';') || text.is_mark(at, '|') {
        at += 1;
    }
    if matches!(text.str(at), "D" | "A" | "CH" | "DE") && text.is_mark(at + 1, '-') {
        at += 2;
    }
    if text.gap(at) == Gap::Paragraph {
        return last;
    }
    if let Some(town) = postcode(text, at, true) {
        return town;
    }
    // A street and its town without a postcode: "Lindenweg 4 in Kassel" stays two, "Lindenweg 4, Kassel" is one.
    if at == last + 2 && text.is(at, CITY) && text.capital(at) { at } else { last }
}

/// A German postcode and its town, from the token of its digits; after a street the town needs no dictionary. Austrian and Swiss
/// ones, of four digits, only after a street.
fn postcode(text: &Text, at: usize, after_street: bool) -> Option<usize> {
    let token = text.token(at)?;
    let digits = text.str(at);
    let german = digits.len() == 5 && !digits.starts_with("00") && digits != "99999";
    let abroad = after_street && digits.len() == 4;
    if token.kind != Token::Digits || !(german || abroad) {
        return None;
    }
    if at > 0
        && token.gap == Gap::None
        && matches!(text.back(at, 1)?.kind, Token::Digits | Token::Word | Token::Mark('.' | ',' | '/'))
    {
        return None;
    }
    if text.gap(at + 1) != Gap::Blank || !text.capital(at + 1) {
        return None;
    }
    let country = at >= 2 && text.is_mark(at - 1, '-') && matches!(text.str(at - 2), "D" | "DE");
    let phrase = text
        .phrases
        .binary_search_by_key(&(at + 1), |it| it.first)
        .ok()
        .map(|it| text.phrases[it])
        .filter(|it| it.flags & CITY != 0);
    if let Some(phrase) = phrase {
        return Some(town_rest(text, text.index_at(phrase.end - 1)));
    }
    let known = text.is(at + 1, CITY | CITY_UNSURE);
    let said = text.before(at, 8, LABEL_ADDRESS);
    if known || after_street || country || said && !text.is(at + 1, NOUN | STOP) {
        return Some(town_rest(text, at + 1));
    }
    None
}

/// More words of a town: "Frankfurt am Main", "Halle (Saale)", "Neustadt an der Weinstraße", "Villingen-Schwenningen".
fn town_rest(text: &Text, first: usize) -> usize {
    let mut last = first;
    for _ in 0..3 {
        if text.is_mark(last + 1, '-')
            && text.gap(last + 1) == Gap::None
            && text.gap(last + 2) == Gap::None
            && text.capital(last + 2)
        {
            last += 2;
        }
    }
    if matches!(text.str(first), "Bad" | "Sankt" | "Markt" | "Neu" | "Alt" | "St") && last == first {
        let next = if text.is_mark(first + 1, '.') { first + 2 } else { first + 1 };
        if text.capital(next) && text.gap(next) <= Gap::Blank {
            last = next;
        }
    }
    let blank = |at: usize| text.gap(at) <= Gap::Blank;
    if blank(last + 1) && matches!(text.str(last + 1), "am" | "an" | "im" | "in" | "bei" | "ob" | "vor" | "unter") {
        let mut name = last + 2;
        name += usize::from(matches!(text.str(name), "der" | "dem" | "den"));
        if text.capital(name) && blank(name) && !text.is(name, NOUN | STOP | MONTH) {
            last = name;
        }
    } else if text.is_mark(last + 1, '(') && blank(last + 1) && text.capital(last + 2) && text.is_mark(last + 3, ')') {
        last += 3;
    } else if text.is_mark(last + 1, '/') && text.capital(last + 2) && text.gap(last + 2) == Gap::None {
        last += 2;
    }
    last
}

/// "Am Alten Markt 5, 18055 Rostock", "Unter den Linden 77": a preposition, capitals, a number; only with a postcode behind or a
/// word such as "wohnhaft" before, because "Am Montag 5" is none.
fn street_by_begin(text: &Text, at: usize) -> Option<(usize, usize)> {
    if text.token(at)?.flags & STREET_BEGIN == 0 {
        return None;
    }
    let mut next = at + 1;
    next += usize::from(matches!(text.str(next), "der" | "den" | "dem" | "die" | "das"));
    let words = (next..next + 4).take_while(|at| text.capital(*at) && text.gap(*at) <= Gap::Blank).count();
    // "an die Schützenstraße 40": the street begins behind the preposition.
    if !text.capital(at) && (next..next + words).any(|at| text.is(at, STREET)) {
        return None;
    }
    let house = house(text, next + words).filter(|_| words > 0)?;
    let last = with_town(text, house);
    let said = text.before(at, 8, LABEL_ADDRESS) && !text.is(next, MONTH | STOP);
    (last > house || said && text.capital(at) || said && text.str(at + 1).starts_with("de")).then_some((at, last))
}

/// "Postfach 12 34 56", "P.O. Box 123".
fn box_number(text: &Text, at: usize) -> Option<(usize, usize)> {
    let word = text.str(at);
    if word != "Postfach" && word != "PO" && word != "P" && word != "Box" {
        return None;
    }
    let mut next = at + 1;
    if word == "P" {
        if !(text.is_mark(next, '.') && text.str(next + 1) == "O" && text.is_mark(next + 2, '.')) {
            return None;
        }
        next += 3;
    }
    if word.starts_with('P') && word != "Postfach" {
        if text.str(next) != "Box" {
            return None;
        }
        next += 1;
    }
    if word == "Box" {
        return None;
    }
    let digits = (next..next + 4)
        .take_while(|at| {
            text.token(*at).is_some_and(|it| it.kind == Token::Digits && it.gap == Gap::Blank && it.end - it.start <= 6)
        })
        .count();
    // A postcode behind has five digits and a town.
    let town = (0..digits).find(|skip| *skip > 0 && postcode(text, next + skip, true).is_some());
    match (digits, town) {
        (0, _) => None,
        (_, Some(skip)) => Some((at, postcode(text, next + skip, true)?)),
        (digits, None) => Some((at, with_town(text, next + digits - 1))),
    }
}

/// "221B Baker Street, London NW1 6XE", "742 Evergreen Terrace, Springfield, OR 97403".
fn english(text: &Text, at: usize) -> Option<(usize, usize)> {
    let token = text.token(at)?;
    if token.end - token.start > 5 || text.str(at).starts_with('0') {
        return None;
    }
    let mut next = at + 1;
    if text.gap(next) == Gap::None && text.str(next).len() == 1 && text.capital(next) {
        next += 1;
    }
    let mut words = 0;
    while words < 4
        && text.capital(next)
        && text.gap(next) == Gap::Blank
        && !(words > 0 && text.is(next, STREET_ENGLISH))
    {
        next += 1;
        words += 1;
        next += usize::from(text.is_mark(next, '.') && text.gap(next) == Gap::None && text.str(next - 1).len() <= 2);
    }
    if words == 0 || !text.is(next, STREET_ENGLISH) || text.gap(next) != Gap::Blank || !text.capital(next) {
        return None;
    }
    let mut last = next;
    if text.is_mark(last + 1, '.') && text.gap(last + 1) == Gap::None && text.str(last).len() <= 4 {
        last += 1;
    }
    Some((at, english_town(text, last)))
}

/// Up to three parts after commas: a flat, the town, the state with its code, a British postcode.
fn english_town(text: &Text, mut last: usize) -> usize {
    for _ in 0..3 {
        let mut at = last + 1;
        if !text.is_mark(at, ',') && text.gap(at) != Gap::Line {
            break;
        }
        at += usize::from(text.is_mark(at, ','));
        let flat = matches!(text.str(at), "Apt" | "Flat" | "Suite" | "Unit" | "Apartment" | "Floor");
        let town = text.is(at, CITY)
            || text.capital(at) && state_or_code(text, at + 1).is_some()
            || text.capital(at) && text.capital(at + 1) && state_or_code(text, at + 2).is_some();
        if flat {
            last = at + 1 + usize::from(text.is_mark(at + 1, '.'));
            continue;
        }
        if let Some(code) = state_or_code(text, at) {
            last = code;
            continue;
        }
        if !town || text.gap(at) == Gap::Paragraph {
            break;
        }
        let name =
            if text.capital(at + 1) && text.gap(at + 1) == Gap::Blank && !text.is(at, CITY) { at + 1 } else { at };
        last = state_or_code(text, name + 1).unwrap_or(name);
    }
    last
}

/// "NY 10001", "OR 97403-1234", "NW1 6XE", perhaps after a comma: its last token.
fn state_or_code(text: &Text, at: usize) -> Option<usize> {
    let at = at + usize::from(text.is_mark(at, ','));
    let word = text.str(at);
    let next = text.token(at + 1)?;
    if word.len() == 2
        && word.bytes().all(|it| it.is_ascii_uppercase())
        && next.kind == Token::Digits
        && text.str(at + 1).len() == 5
    {
        let more = text.is_mark(at + 2, '-') && text.str(at + 3).len() == 4;
        return Some(if more { at + 3 } else { at + 1 });
    }
    let out = matches!(word.len(), 1 | 2)
        && word.bytes().all(|it| it.is_ascii_uppercase())
        && next.kind == Token::Digits
        && next.gap == Gap::None;
    let letter = usize::from(text.gap(at + 2) == Gap::None && text.str(at + 2).len() == 1);
    let inner = at + 2 + letter;
    let inward = text.str(inner).len() == 1
        && text.str(inner + 1).len() == 2
        && text.gap(inner + 1) == Gap::None
        && text.capital(inner + 1);
    (out && inward).then_some(inner + 1)
}
