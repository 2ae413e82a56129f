//! What groups somebody belongs to: nationality, religion, party, gender, orientation, union, ethnicity. Small dictionaries; most
//! words count only beside one that makes them a statement about somebody ("Konfession: evangelisch", "ist Türkin").

use super::{Found, Kind};
use crate::text::{Gap, Text};
use crate::words::*;

pub(crate) const KINDS: [Kind; 7] =
    [Kind::Nationality, Kind::Religion, Kind::Party, Kind::Gender, Kind::Orientation, Kind::Union, Kind::Ethnicity];

pub(crate) fn find(text: &Text, found: &mut Vec<Found>) {
    for at in 0..text.len() {
        let Some(token) = text.token(at).copied() else { break };
        if token.flags != 0
            && let Some(kind) = group(text, at, token.flags)
        {
            found.push(Found { start: token.start, end: token.end, kind });
        }
    }
    for phrase in &text.phrases {
        let Some(start) = text.token(phrase.first).map(|it| it.start) else { continue };
        let last = text.index_at(phrase.end.saturating_sub(1));
        let kind = match phrase.flags {
            flags if flags & UNION != 0 => Kind::Union,
            flags if flags & ETHNICITY != 0 => Kind::Ethnicity,
            flags if flags & PARTY != 0 && text.near(phrase.first, 5, last, 5, LABEL_PARTY) => Kind::Party,
            _ => continue,
        };
        found.push(Found { start, end: phrase.end, kind });
    }
}

fn group(text: &Text, at: usize, flags: Flags) -> Option<Kind> {
    let capital = text.capital(at);
    let said = |label| text.near(at, 5, at, 3, label);
    // "ist Türkin", "is a German": up to two words between. At the begin of a line nothing is said of anybody.
    let is = || at > 0 && text.gap(at) < Gap::Line && text.before(at, 2, IS);
    if flags & NATIONALITY != 0 && (said(LABEL_NATIONALITY) || capital && is()) {
        return Some(Kind::Nationality);
    }
    if flags & REGION != 0 && text.before(at, 2, LABEL_NATIONALITY) {
        return Some(Kind::Nationality);
    }
    if flags & RELIGION != 0 && (said(LABEL_RELIGION) || is()) || flags & RELIGION_PERSON != 0 && capital {
        return Some(Kind::Religion);
    }
    if flags & PARTY != 0 && capital && said(LABEL_PARTY) {
        return Some(Kind::Party);
    }
    if flags & GENDER != 0 && text.before(at, 4, LABEL_GENDER) {
        return Some(Kind::Gender);
    }
    if flags & ORIENTATION != 0 {
        return Some(Kind::Orientation);
    }
    if flags & UNION != 0 {
        return Some(Kind::Union);
    }
    (flags & ETHNICITY != 0 || flags & ETHNICITY_UNSURE != 0 && text.before(at, 4, LABEL_ETHNICITY))
        .then_some(Kind::Ethnicity)
}
