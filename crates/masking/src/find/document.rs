//! Passports, identity cards and driving licences: a number of letters and digits means nothing alone, so a word has to say what it
//! is; only the machine readable lines of a document speak for themselves.

use super::{Found, Kind};
use crate::checksum;
use crate::text::{Gap, Kind as Token, Text};
use crate::words::*;

const LABEL_BEFORE: usize = 8;
/// A label that counts although another one stands nearer: "identity card number".
const LABEL_RIGHT_BEFORE: usize = 4;

/// A word of letters and digits stuck together, in capitals: its bytes, where it ends, its last token.
fn mixed<'a>(text: &Text<'a>, at: usize, longest: usize) -> Option<(&'a str, usize)> {
    let first = text.token(at)?;
    if at > 0 && first.gap == Gap::None && matches!(text.back(at, 1)?.kind, Token::Word | Token::Digits) {
        return None;
    }
    let mut last = at;
    while text
        .token(last + 1)
        .is_some_and(|it| it.gap == Gap::None && !matches!(it.kind, Token::Mark(_)) && it.end - first.start <= longest)
    {
        last += 1;
    }
    let word = &text.source[first.start..text.token(last)?.end];
    let stuck = text.token(last + 1).is_some_and(|it| it.gap == Gap::None && !matches!(it.kind, Token::Mark(_)));
    (!stuck && word.bytes().all(|it| it.is_ascii_digit() || it.is_ascii_uppercase())).then_some((word, last))
}

/// Letters that German documents use: no vowels, nothing that looks like a digit.
fn german(word: &str) -> bool {
    word.bytes().all(|it| it.is_ascii_digit() || b"CFGHJKLMNPRTVWXYZ".contains(&it))
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.bytes().any(|it| it.is_ascii_digit())
}

/// Passports and identity cards.
pub(crate) fn find(text: &Text, found: &mut Vec<Found>) {
    let mut done = 0;
    for at in 0..text.len() {
        let Some(token) = text.token(at).copied() else { break };
        if token.start < done || matches!(token.kind, Token::Mark(_)) {
            continue;
        }
        if let Some(end) = machine_readable(text, token.start) {
            found.push(Found { start: token.start, end, kind: Kind::Passport });
            done = end;
            continue;
        }
        let Some((word, last)) = mixed(text, at, 12) else { continue };
        let near = text.label(at, LABEL_RIGHT_BEFORE, LABEL_PASSPORT | LABEL_IDENTITY);
        let label = if near != 0 { near } else { text.label(at, LABEL_BEFORE, LABELS) };
        if label & (LABEL_PASSPORT | LABEL_IDENTITY) == 0 || !(7..=11).contains(&word.len()) {
            continue;
        }
        let body = word.strip_suffix('D').filter(|_| word.len() == 11).unwrap_or(word);
        let right = match body.len() {
            // With its check digit.
            10 => german(body) && checksum::travel_document(body.as_bytes()),
            // As it stands on the front, or the old number of an identity card with digits only.
            9 => german(body) || foreign(body) || body.bytes().filter(u8::is_ascii_digit).count() >= 7,
            7 | 8 => foreign(body),
            _ => false,
        };
        if right {
            let kind = if label & LABEL_PASSPORT != 0 { Kind::Passport } else { Kind::IdentityCard };
            let end = text.token(last).map_or(token.end, |it| it.end);
            found.push(Found { start: token.start, end, kind });
            done = end;
        }
    }
}

/// One or two letters and digits: passports of most other countries.
fn foreign(word: &str) -> bool {
    let letters = word.bytes().take_while(u8::is_ascii_uppercase).count();
    (1..=2).contains(&letters) && word[letters..].bytes().all(|it| it.is_ascii_digit())
}

/// A line of a machine readable zone, ICAO 9303: the line with the name by its form, the line with the numbers by its check digits.
fn machine_readable(text: &Text, start: usize) -> Option<usize> {
    let bytes = &text.source.as_bytes()[start..];
    let before = text.source[..start].chars().next_back();
    if before.is_some_and(|c| c.is_alphanumeric() || c == '<') {
        return None;
    }
    let length =
        bytes.iter().take(45).take_while(|it| it.is_ascii_digit() || it.is_ascii_uppercase() || **it == b'<').count();
    text.count(length);
    let line = bytes.get(..length).filter(|it| matches!(it.len(), 30 | 36 | 44) && it.contains(&b'<'))?;
    let right = match line.len() {
        // Passport: number, date of birth and date of expiry with their check digits.
        44 | 36 if line[0] != b'P' && line[0] != b'I' && line[0] != b'V' || line[1].is_ascii_digit() => {
            checksum::travel_document(&line[..10]) && checksum::travel_document(&line[13..20])
        }
        // Identity card: first and second line; the third is the name.
        30 if line[0].is_ascii_digit() => {
            checksum::travel_document(&line[..7]) && checksum::travel_document(&line[8..15])
        }
        30 if matches!(line[0], b'I' | b'A' | b'C') && line[5..15].iter().any(u8::is_ascii_digit) => {
            checksum::travel_document(&line[5..15])
        }
        _ => {
            line.windows(2).any(|two| two == b"<<")
                && line[0].is_ascii_uppercase()
                && !line[5..].iter().any(u8::is_ascii_digit)
        }
    };
    right.then_some(start + length)
}

/// Driving licences: the German number has a check digit, others have a form per country.
pub(crate) fn licences(text: &Text, found: &mut Vec<Found>) {
    for at in 0..text.len() {
        if !matches!(text.token(at).map(|it| it.kind), Some(Token::Word | Token::Digits)) {
            continue;
        }
        if text.label(at, LABEL_BEFORE, LABELS) & LABEL_LICENCE == 0 {
            continue;
        }
        let Some((word, last)) = mixed(text, at, 18) else { continue };
        let (Some(first), Some(last)) = (text.token(at), text.token(last)) else { continue };
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        let right = match word.len() {
            11 => checksum::driving_licence(word.as_bytes()),
            // Britain: five letters of the name, six digits of the birth, initials, checks.
            16 => word.bytes().take(5).all(|it| it.is_ascii_uppercase() || it == b'9') && digits >= 6,
            // States of the USA: a letter and digits.
            8 | 9 | 13 | 15 => foreign(word),
            _ => false,
        };
        if right {
            found.push(Found { start: first.start, end: last.end, kind: Kind::DrivingLicence });
        }
    }
}
