//! Finding: each kind of value has its recogniser, one file or one section of a file each. They know nothing of each other; where
//! what they found overlaps, `masker` joins it.
//!
//! Every recogniser goes once over the tokens and looks a bounded number of them ahead and back, so the work is linear in the text.

mod address;
mod credential;
mod date;
mod document;
mod group;
mod internet;
mod number;
mod organisation;
mod pattern;
mod person;
mod phone;
mod plate;

use crate::text::{Gap, Kind as Token, Text};
pub(crate) use group::KINDS as GROUPS;
pub use pattern::PATTERN_MATCH_MAX;
pub(crate) use pattern::find as find_pattern;
pub(crate) use person::Known;

/// What a recogniser finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Person,
    Org,
    University,
    Location,
    Address,
    Phone,
    Email,
    Url,
    Iban,
    TaxId,
    PensionNumber,
    HealthNumber,
    Card,
    Ssn,
    Passport,
    IdentityCard,
    DrivingLicence,
    Plate,
    BirthDate,
    Credential,
    SapInternal,
    SapPublic,
    Nationality,
    Religion,
    Party,
    Gender,
    Orientation,
    Union,
    Ethnicity,
}

impl Kind {
    pub(crate) const COUNT: usize = Self::Ethnicity as usize + 1;

    /// Numbers whose form and check digits say what they are: where one is, a weaker recogniser of numbers is wrong.
    fn strong(self) -> bool {
        matches!(
            self,
            Self::Iban | Self::TaxId | Self::PensionNumber | Self::HealthNumber | Self::Card | Self::DrivingLicence
        )
    }

    fn weak(self) -> bool {
        matches!(self, Self::Phone | Self::Ssn | Self::Plate | Self::SapPublic | Self::SapInternal)
    }
}

/// Bytes of the source, at the edges of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) kind: Kind,
}

/// Everything of the kinds that are wanted, in no order, overlaps included.
pub(crate) fn find(text: &Text, wanted: &dyn Fn(Kind) -> bool, known: &mut Known) -> Vec<Found> {
    let mut strong = Vec::new();
    number::find(text, &mut strong);
    document::licences(text, &mut strong);
    strong.sort_unstable_by_key(|found| found.start);
    let mut found = Vec::new();
    if wanted(Kind::Person) {
        person::find(text, known, &mut found);
    }
    if wanted(Kind::Location) || wanted(Kind::Address) {
        address::find(text, &mut found);
    }
    if wanted(Kind::Org) || wanted(Kind::University) {
        organisation::find(text, &mut found);
    }
    if wanted(Kind::Email) || wanted(Kind::Url) {
        internet::find(text, &mut found);
    }
    if wanted(Kind::Phone) {
        phone::find(text, &mut found);
    }
    if wanted(Kind::Plate) {
        plate::find(text, &mut found);
    }
    if wanted(Kind::Passport) || wanted(Kind::IdentityCard) {
        document::find(text, &mut found);
    }
    if wanted(Kind::BirthDate) {
        date::find(text, &mut found);
    }
    if wanted(Kind::Credential) || wanted(Kind::SapInternal) || wanted(Kind::SapPublic) {
        credential::find(text, &mut found);
    }
    if GROUPS.iter().any(|kind| wanted(*kind)) {
        group::find(text, &mut found);
    }
    // A telephone number within an IBAN is none, whether the IBAN is to be masked or not.
    found.retain(|it| !it.kind.weak() || !overlaps(&strong, it));
    found.extend(strong);
    found.retain(|it| wanted(it.kind));
    found
}

/// Whether one of these, sorted and apart from each other, overlaps.
fn overlaps(sorted: &[Found], it: &Found) -> bool {
    let at = sorted.partition_point(|strong| strong.end <= it.start);
    sorted.get(at).is_some_and(|strong| strong.kind.strong() && strong.start < it.end)
}

/// Groups of digits that stand together: blanks, hyphens, strokes or points between them, one each.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) groups: Vec<Group>,
    pub(crate) digits: String,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    pub(crate) token: usize,
    pub(crate) end: usize,
    pub(crate) len: usize,
    /// Before this group; `\0` before the first.
    pub(crate) separator: char,
}

/// Groups that a run may have: an IBAN has six of four digits, a number of anything else fewer.
const GROUPS_MAX: usize = 10;

/// The run that begins with this token of digits.
pub(crate) fn run(text: &Text, first: usize) -> Option<Run> {
    let mut run = Run { groups: Vec::new(), digits: String::new() };
    let mut at = first;
    let mut separator = '\0';
    for _ in 0..GROUPS_MAX {
        let token = *text.token(at)?;
        if token.kind != Token::Digits {
            break;
        }
        let digits = text.str(at);
        if digits.len() > 40 {
            return None;
        }
        run.digits.push_str(digits);
        run.groups.push(Group { token: at, end: token.end, len: digits.len(), separator });
        let Some(next) = text.token(at + 1) else { break };
        (at, separator) = match (next.kind, next.gap) {
            (Token::Digits, Gap::Blank) => (at + 1, ' '),
            (Token::Mark(mark @ ('-' | '/' | '.' | '\u{2010}' | '\u{2011}' | '\u{2013}')), Gap::None)
                if text.token(at + 2).is_some_and(|it| it.kind == Token::Digits && it.gap == Gap::None) =>
            {
                (at + 2, if matches!(mark, '/' | '.') { mark } else { '-' })
            }
            _ => break,
        };
    }
    Some(run)
}

impl Run {
    /// Whether the run begins with groups of these lengths, all parted by the same one of these separators.
    pub(crate) fn begins(&self, lengths: &[usize], separators: &[char]) -> bool {
        self.groups.len() >= lengths.len()
            && self.groups.iter().zip(lengths).all(|(group, len)| group.len == *len)
            && self.groups[1..lengths.len()]
                .iter()
                .all(|it| it.separator == self.groups[1].separator && separators.contains(&it.separator))
    }

    /// Digits and end of so many groups.
    pub(crate) fn take(&self, groups: usize) -> (&str, usize) {
        let digits = self.groups[..groups].iter().map(|group| group.len).sum();
        (&self.digits[..digits], self.groups[groups - 1].end)
    }
}

/// Whether a number may begin here: nothing is stuck to its front that would make it part of something longer.
pub(crate) fn free_before(text: &Text, index: usize) -> bool {
    if index == 0 || text.gap(index) != Gap::None {
        return true;
    }
    let stuck = |kinds: &[Token]| {
        text.gap(index - 1) == Gap::None && text.back(index, 2).is_some_and(|token| kinds.contains(&token.kind))
    };
    match text.back(index, 1).map(|token| token.kind) {
        Some(Token::Word | Token::Digits | Token::Mark('$' | '€' | '#' | '_')) => false,
        Some(Token::Mark('-' | '/' | ',')) => !stuck(&[Token::Word, Token::Digits]),
        Some(Token::Mark('.')) => !stuck(&[Token::Digits]),
        _ => true,
    }
}

/// Whether a number may end with this token.
pub(crate) fn free_after(text: &Text, index: usize) -> bool {
    let Some(next) = text.token(index + 1) else { return true };
    match (next.kind, next.gap) {
        (_, gap) if gap != Gap::None => true,
        (Token::Word | Token::Digits, _) => false,
        (Token::Mark('-' | '.' | '/' | ',' | '_' | '%' | '€' | '\''), _) => text
            .token(index + 2)
            .is_none_or(|it| it.gap != Gap::None || !matches!(it.kind, Token::Digits | Token::Word)),
        _ => true,
    }
}
