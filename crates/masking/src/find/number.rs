//! Numbers with check digits: IBAN, Steuer-ID, Sozialversicherungsnummer, Krankenversichertennummer, payment cards; and the US
//! Social Security number, which has none.
//!
//! A check digit alone lets one wrong number in ten pass (IBAN: one in 97), so a number without a form of its own needs a word
//! beside it that says what it is: eleven bare digits are a Steuer-ID after "Steuer-ID", and an order number otherwise. The
//! nearest such word before decides; "Bestellnummer" speaks against.

use super::{Found, Kind, free_after, free_before, run};
use crate::checksum;
use crate::text::{Gap, Kind as Token, Text};
use crate::words::*;

/// A label that counts although another one stands nearer.
const LABEL_RIGHT_BEFORE: usize = 3;
/// How many tokens before a number its label may stand: "Meine Steuer-ID (falls Sie sie noch brauchen) ist …".
const LABEL_BEFORE: usize = 12;
/// And after: "… ist meine Steuer-ID".
const LABEL_AFTER: usize = 6;

/// Length of an IBAN by country, of the SWIFT registry.
const IBAN_LENGTHS: &[(usize, &str)] = &[
    (15, "NO"),
    (16, "BE"),
    (18, "DK FI FO GL NL SD FK OM"),
    (19, "MK SI"),
    (20, "AT BA EE KZ LT LU XK MN"),
    (21, "CH HR LI LV"),
    (22, "BG BH CR DE GB GE IE ME RS VA"),
    (23, "AE GI IL IQ TL SO"),
    (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
    (25, "LY PT ST"),
    (26, "IS TR"),
    (27, "BI DJ FR GR IT MC MR SM"),
    (28, "AL AZ BY CY DO GT HU LB NI PL"),
    (29, "BR EG PS QA UA"),
    (30, "JO KW MU YE"),
    (31, "MT SC"),
    (32, "LC"),
    (33, "RU"),
];

/// First digits of cards, from and to, and the lengths they have. Maestro, whose range is half of all numbers, is not among them.
const CARDS: &[(&str, &str, &[usize])] = &[
    ("4", "4", &[13, 16, 19]),
    ("51", "55", &[16]),
    ("2221", "2720", &[16]),
    ("34", "34", &[15]),
    ("37", "37", &[15]),
    ("300", "305", &[14]),
    ("36", "36", &[14]),
    ("38", "39", &[14, 16]),
    ("6011", "6011", &[16, 19]),
    ("644", "649", &[16, 19]),
    ("65", "65", &[16, 19]),
    ("3528", "3589", &[16, 19]),
    ("62", "62", &[16, 17, 18, 19]),
    ("67", "67", &[16, 18, 19]),
];

pub(crate) fn find(text: &Text, found: &mut Vec<Found>) {
    for at in 0..text.len() {
        let Some(token) = text.token(at).copied() else { break };
        let it = match token.kind {
            Token::Digits if free_before(text, at) => {
                pension(text, at).or_else(|| card(text, at)).or_else(|| tax(text, at)).or_else(|| ssn(text, at))
            }
            Token::Word if free_before(text, at) => iban(text, at).or_else(|| health(text, at)),
            _ => None,
        };
        if let Some((end, kind)) = it
            && found.last().is_none_or(|last: &Found| last.end <= token.start)
        {
            found.push(Found { start: token.start, end, kind });
        }
    }
}

/// Whether a label says so: the nearest before, one right before ("Insurance card: …"), or one shortly after.
fn labelled(text: &Text, first: usize, last: usize, flags: Flags) -> bool {
    text.label(first, LABEL_BEFORE, LABELS) & flags != 0
        || text.before(first, LABEL_RIGHT_BEFORE, flags)
        || text.after(last, LABEL_AFTER, flags)
}

/// Whether this group is one of a longer row: another one stands before it.
fn in_row(text: &Text, at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| text.token(before));
    text.gap(at) == Gap::Blank && before.is_some_and(|it| it.kind == Token::Digits)
}

/// Letters and digits from here, blanks and hyphens between them left out; and where so many of them end.
fn squeezed(text: &Text, start: usize, count: usize) -> Option<(Vec<u8>, usize)> {
    let mut all = Vec::with_capacity(count);
    let mut end = start;
    let mut parted = false;
    for (offset, c) in text.source[start..].char_indices() {
        text.count(1);
        match c {
            _ if c.is_ascii_alphanumeric() => {
                all.push(c.to_ascii_uppercase() as u8);
                end = start + offset + 1;
                parted = false;
            }
            ' ' | '\u{a0}' | '\u{202f}' | '-' if !parted => parted = true,
            _ => break,
        }
        if all.len() == count {
            break;
        }
    }
    let over = text.source[end..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    (all.len() == count && !over).then_some((all, end))
}

fn iban(text: &Text, at: usize) -> Option<(usize, Kind)> {
    let country = text.str(at);
    let next = text.token(at + 1)?;
    if country.len() != 2 || next.kind != Token::Digits || next.gap > Gap::Blank {
        return None;
    }
    let country = country.to_ascii_uppercase();
    let (length, _) = IBAN_LENGTHS.iter().find(|(_, all)| all.split(' ').any(|it| it == country))?;
    let (all, end) = squeezed(text, text.token(at)?.start, *length)?;
    checksum::iban(&all).then_some((end, Kind::Iban))
}

fn health(text: &Text, at: usize) -> Option<(usize, Kind)> {
    let (letter, next) = (text.token(at)?, text.token(at + 1)?);
    if letter.end - letter.start != 1 || next.kind != Token::Digits || next.gap > Gap::Blank {
        return None;
    }
    let (all, end) = squeezed(text, letter.start, 10)?;
    let last = text.index_at(end - 1);
    (checksum::health_number(&all) && labelled(text, at, last, LABEL_HEALTH)).then_some((end, Kind::HealthNumber))
}

/// Area and date before the letter, serial and check digit after it; its form is rare enough to need no word.
fn pension(text: &Text, at: usize) -> Option<(usize, Kind)> {
    let start = text.token(at)?.start;
    // "15 070649 C 103", "15 070649 C 10 3", "15070649C103"; a letter stands within the first four tokens.
    (at + 1..at + 5).find(|at| text.token(*at).is_some_and(|it| it.kind == Token::Word && it.end - it.start == 1))?;
    let (all, end) = squeezed(text, start, 12)?;
    checksum::pension_number(&all).then_some((end, Kind::PensionNumber))
}

fn tax(text: &Text, at: usize) -> Option<(usize, Kind)> {
    let run = run(text, at)?;
    let one = |groups: usize| {
        let (digits, end) = run.take(groups);
        let last = run.groups[groups - 1].token;
        (free_after(text, last) && checksum::tax_id(digits.as_bytes())).then_some((end, last))
    };
    // As it is printed on letters of the tax office: no word needed.
    if run.begins(&[2, 3, 3, 3], &[' '])
        && !in_row(text, at)
        && let Some((end, _)) = one(4)
        && text.label(at, 4, LABEL_OTHER) == 0
    {
        return Some((end, Kind::TaxId));
    }
    // Any other grouping of eleven digits, and the Steuernummer of an office ("181/815/08155"), which has a check digit that
    // differs by Land: only where a word says so.
    if !(text.label(at, LABEL_BEFORE, LABELS) & LABEL_TAX != 0 || text.after(at, LABEL_AFTER + 2, LABEL_TAX)) {
        return None;
    }
    for groups in 1..=run.groups.len() {
        if run.take(groups).0.len() == 11
            && let Some((end, last)) = one(groups)
            && labelled(text, at, last, LABEL_TAX)
        {
            return Some((end, Kind::TaxId));
        }
    }
    let office = [[2, 3, 5], [3, 3, 5], [3, 4, 4], [2, 3, 4]].iter().any(|lengths| run.begins(lengths, &['/', ' ']));
    let (_, end) = run.take(run.groups.len().min(3));
    (office && labelled(text, at, run.groups[2].token, LABEL_TAX)).then_some((end, Kind::TaxId))
}

fn is_card(digits: &str) -> bool {
    let known = CARDS.iter().any(|(from, to, lengths)| {
        let begin = digits.get(..from.len()).unwrap_or_default();
        *from <= begin && begin <= *to && lengths.contains(&digits.len())
    });
    known && checksum::luhn(digits.as_bytes()) && !digits.bytes().all(|it| it == digits.as_bytes()[0])
}

/// Printed in groups as on the card, no word is needed but none may speak against; otherwise a word, or an expiry date beside it.
fn card(text: &Text, at: usize) -> Option<(usize, Kind)> {
    let run = run(text, at)?;
    let printed: [&[usize]; 4] = [&[4, 4, 4, 4], &[4, 6, 5], &[4, 4, 4, 4, 3], &[4, 6, 4]];
    for lengths in printed {
        let last = run.groups.get(lengths.len() - 1).map(|group| group.token);
        if run.begins(lengths, &[' ', '-'])
            && last.is_some_and(|last| free_after(text, last))
            && is_card(run.take(lengths.len()).0)
            && !in_row(text, at)
            && run.groups.get(lengths.len()).is_none_or(|next| next.len != 4)
            && text.label(at, LABEL_BEFORE, LABELS) & LABEL_OTHER == 0
        {
            return Some((run.take(lengths.len()).1, Kind::Card));
        }
    }
    for groups in 1..=run.groups.len() {
        let (digits, end) = run.take(groups);
        let last = run.groups[groups - 1].token;
        if (13..=19).contains(&digits.len())
            && is_card(digits)
            && free_after(text, last)
            && (labelled(text, at, last, LABEL_CARD) || expiry(text, last))
        {
            return Some((end, Kind::Card));
        }
    }
    None
}

/// A month and a year, as they stand beside a card number: "12/27".
fn expiry(text: &Text, last: usize) -> bool {
    (last + 1..last + 4).any(|at| {
        let month = text.str(at).parse::<u32>().is_ok_and(|month| (1..=12).contains(&month)) && text.str(at).len() == 2;
        let year = text.str(at + 2);
        month && text.is_mark(at + 1, '/') && matches!(year.len(), 2 | 4) && year.parse::<u32>().is_ok()
    })
}

fn ssn(text: &Text, at: usize) -> Option<(usize, Kind)> {
    let run = run(text, at)?;
    let grouped = run.begins(&[3, 2, 4], &['-', ' ']);
    let groups = if grouped { 3 } else { 1 };
    let (digits, end) = run.take(groups);
    let last = run.groups[groups - 1].token;
    if digits.len() != 9 || !free_after(text, last) || run.groups.get(groups).is_some_and(|it| it.separator != ' ') {
        return None;
    }
    let given = !matches!(&digits[..3], "000" | "666") && !digits.starts_with('9') && &digits[3..5] != "00";
    let label = text.label(at, LABEL_BEFORE, LABELS);
    let printed = grouped && run.groups[1].separator == '-' && label & (LABEL_OTHER | LABEL_PHONE) == 0;
    let plausible = given && &digits[5..] != "0000";
    (plausible && (printed || labelled(text, at, last, LABEL_SSN))).then_some((end, Kind::Ssn))
}
