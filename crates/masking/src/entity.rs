//! What may be masked: SAP's entities by their names, ours beside them, and patterns of the client's own; and what stands in
//! their place.
//!
//! An entity is what a client asks for; a kind (`find::Kind`) is what a recogniser finds. One entity may be several kinds:
//! `profile-nationalid` is four German numbers. Where two entities of a request claim one kind, the narrower one has it.

use crate::find::{self, Kind};
use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::util::syntax;

/// A compiled pattern, and what it caches while it runs: 256 KiB each. `\w{1,20}` takes 150.
const PATTERN_PROGRAM_MAX: usize = 256 << 10;
/// Bytes of a pattern as written. Our longest is below 100.
const PATTERN_TEXT_MAX: usize = 1024;
/// Brackets in brackets.
const PATTERN_NEST_MAX: u32 = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// For good: every person is `MASKED_PERSON`, and nothing is put back.
    Anonymize,
    /// Numbered: the same value is the same tag in all texts of a request, and is put back into the answer.
    Pseudonymize,
}

/// What a rule looks for.
#[derive(Debug, Clone)]
pub enum Entity {
    Person,
    Org,
    University,
    Location,
    Address,
    Phone,
    Email,
    Url,
    Iban,
    /// Steuer-ID, Sozialversicherungs- and Krankenversichertennummer, Personalausweis.
    NationalId,
    /// The US number, and the German Sozialversicherungsnummer.
    Ssn,
    CreditCard,
    /// Passports, and identity cards, whose numbers look the same.
    Passport,
    DriverLicence,
    UsernamePassword,
    SapIdsInternal,
    SapIdsPublic,
    Nationality,
    ReligiousGroup,
    PoliticalGroup,
    Gender,
    SexualOrientation,
    TradeUnion,
    Ethnicity,
    /// All seven before together.
    SensitiveData,
    /// Ours, with names of our own: SAP's list has no word for them.
    TaxId,
    PensionInsuranceNumber,
    HealthInsuranceNumber,
    IdentityCard,
    LicencePlate,
    BirthDate,
    Custom(Pattern),
}

/// A pattern of the client's own. Searching is linear in the text for any pattern: there is no backtracking, and one match is at most
/// [`crate::find::PATTERN_MATCH_MAX`] bytes long.
#[derive(Debug, Clone)]
pub struct Pattern {
    pub(crate) regex: Regex,
}

impl Pattern {
    pub fn new(pattern: &str) -> Result<Self, SetupError> {
        let broken = |why: String| SetupError::Pattern { pattern: shorten(pattern), why };
        if pattern.is_empty() || pattern.len() > PATTERN_TEXT_MAX {
            return Err(broken(format!("it has to be 1 to {PATTERN_TEXT_MAX} bytes long")));
        }
        let limits = Config::new().nfa_size_limit(Some(PATTERN_PROGRAM_MAX)).hybrid_cache_capacity(PATTERN_PROGRAM_MAX);
        let regex = Regex::builder()
            .configure(limits)
            .syntax(syntax::Config::new().nest_limit(PATTERN_NEST_MAX))
            .build(pattern)
            .map_err(|error| broken(why(&error)))?;
        Ok(Self { regex })
    }
}

/// The last line says it; those before show where, for who sees them below each other.
fn why(error: &BuildError) -> String {
    if let Some(most) = error.size_limit() {
        return format!("compiled it is larger than {most} bytes");
    }
    let said = error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string);
    said.lines().last().unwrap_or_default().to_owned()
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Entity by name, and the label in its tags.
const NAMES: &[(&str, &str, Entity)] = &[
    ("profile-person", "MASKED_PERSON", Entity::Person),
    ("profile-org", "MASKED_ORG", Entity::Org),
    ("profile-university", "MASKED_UNIVERSITY", Entity::University),
    ("profile-location", "MASKED_LOCATION", Entity::Location),
    ("profile-address", "MASKED_ADDRESS", Entity::Address),
    ("profile-phone", "MASKED_PHONE", Entity::Phone),
    ("profile-email", "MASKED_EMAIL", Entity::Email),
    ("profile-url", "MASKED_URL", Entity::Url),
    ("profile-iban", "MASKED_IBAN", Entity::Iban),
    ("profile-nationalid", "MASKED_NATIONALID", Entity::NationalId),
    ("profile-ssn", "MASKED_SSN", Entity::Ssn),
    ("profile-credit-card-number", "MASKED_CREDIT_CARD_NUMBER", Entity::CreditCard),
    ("profile-passport", "MASKED_PASSPORT", Entity::Passport),
    ("profile-driverlicense", "MASKED_DRIVERLICENSE", Entity::DriverLicence),
    ("profile-username-password", "MASKED_USERNAME_PASSWORD", Entity::UsernamePassword),
    ("profile-sapids-internal", "MASKED_SAPIDS_INTERNAL", Entity::SapIdsInternal),
    ("profile-sapids-public", "MASKED_SAPIDS_PUBLIC", Entity::SapIdsPublic),
    ("profile-nationality", "MASKED_NATIONALITY", Entity::Nationality),
    ("profile-religious-group", "MASKED_RELIGIOUS_GROUP", Entity::ReligiousGroup),
    ("profile-political-group", "MASKED_POLITICAL_GROUP", Entity::PoliticalGroup),
    ("profile-gender", "MASKED_GENDER", Entity::Gender),
    ("profile-sexual-orientation", "MASKED_SEXUAL_ORIENTATION", Entity::SexualOrientation),
    ("profile-trade-union", "MASKED_TRADE_UNION", Entity::TradeUnion),
    ("profile-ethnicity", "MASKED_ETHNICITY", Entity::Ethnicity),
    ("profile-sensitive-data", "MASKED_SENSITIVE_DATA", Entity::SensitiveData),
    ("hoheit-tax-id", "MASKED_TAX_ID", Entity::TaxId),
    ("hoheit-pension-insurance-number", "MASKED_PENSION_INSURANCE_NUMBER", Entity::PensionInsuranceNumber),
    ("hoheit-health-insurance-number", "MASKED_HEALTH_INSURANCE_NUMBER", Entity::HealthInsuranceNumber),
    ("hoheit-identity-card", "MASKED_IDENTITY_CARD", Entity::IdentityCard),
    ("hoheit-licence-plate", "MASKED_LICENCE_PLATE", Entity::LicencePlate),
    ("hoheit-birth-date", "MASKED_BIRTH_DATE", Entity::BirthDate),
];

/// Entities that SAP has and we have no recogniser for. "sie" is she, they and you: without a parser of German a mask for pronouns
/// hits everything or misses half, so we say that we have none.
const NOT_RECOGNISED: [&str; 1] = ["profile-pronouns-gender"];

impl Entity {
    /// By the name that stands in a request, `profile-person` for example.
    pub fn named(name: &str) -> Result<Self, SetupError> {
        if let Some((_, _, entity)) = NAMES.iter().find(|(it, _, _)| *it == name) {
            return Ok(entity.clone());
        }
        match NOT_RECOGNISED.iter().find(|it| **it == name) {
            Some(entity) => Err(SetupError::NotRecognised { entity }),
            None => Err(SetupError::Unknown { entity: shorten(name) }),
        }
    }

    /// All names that [`Entity::named`] takes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _, _)| *name)
    }

    fn entry(&self) -> Option<&'static (&'static str, &'static str, Entity)> {
        let same = |it: &Entity| std::mem::discriminant(it) == std::mem::discriminant(self);
        NAMES.iter().find(|(_, _, it)| same(it))
    }

    /// `None` for a pattern of the client's own.
    pub fn name(&self) -> Option<&'static str> {
        self.entry().map(|(name, _, _)| *name)
    }

    /// What stands in tags without a replacement of the client's own.
    pub(crate) fn label(&self) -> &'static str {
        self.entry().map_or("MASKED_CUSTOM", |(_, label, _)| label)
    }

    pub(crate) fn kinds(&self) -> &'static [Kind] {
        match self {
            Self::Person => &[Kind::Person],
            Self::Org => &[Kind::Org],
            Self::University => &[Kind::University],
            Self::Location => &[Kind::Location],
            Self::Address => &[Kind::Address],
            Self::Phone => &[Kind::Phone],
            Self::Email => &[Kind::Email],
            Self::Url => &[Kind::Url],
            Self::Iban => &[Kind::Iban],
            Self::NationalId => &[Kind::TaxId, Kind::PensionNumber, Kind::HealthNumber, Kind::IdentityCard],
            Self::Ssn => &[Kind::Ssn, Kind::PensionNumber],
            Self::CreditCard => &[Kind::Card],
            Self::Passport => &[Kind::Passport, Kind::IdentityCard],
            Self::DriverLicence => &[Kind::DrivingLicence],
            Self::UsernamePassword => &[Kind::Credential],
            Self::SapIdsInternal => &[Kind::SapInternal],
            Self::SapIdsPublic => &[Kind::SapPublic],
            Self::Nationality => &[Kind::Nationality],
            Self::ReligiousGroup => &[Kind::Religion],
            Self::PoliticalGroup => &[Kind::Party],
            Self::Gender => &[Kind::Gender],
            Self::SexualOrientation => &[Kind::Orientation],
            Self::TradeUnion => &[Kind::Union],
            Self::Ethnicity => &[Kind::Ethnicity],
            Self::SensitiveData => &find::GROUPS,
            Self::TaxId => &[Kind::TaxId],
            Self::PensionInsuranceNumber => &[Kind::PensionNumber],
            Self::HealthInsuranceNumber => &[Kind::HealthNumber],
            Self::IdentityCard => &[Kind::IdentityCard],
            Self::LicencePlate => &[Kind::Plate],
            Self::BirthDate => &[Kind::BirthDate],
            Self::Custom(_) => &[],
        }
    }
}

/// What stands in the place of a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Replacement {
    /// The entity's own label: `MASKED_PERSON`, numbered when it can be put back.
    #[default]
    Label,
    /// A label of the client's, numbered likewise.
    Constant(String),
    /// An invented value of the same kind, the same for the same value, drawn from the seed.
    Fabricated,
}

/// One line of what a client asks for.
#[derive(Debug, Clone)]
pub struct Rule {
    pub entity: Entity,
    pub replacement: Replacement,
}

impl From<Entity> for Rule {
    fn from(entity: Entity) -> Self {
        Self { entity, replacement: Replacement::Label }
    }
}

/// What is wrong with what a client asks for: always the client's to change, never worth a retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    #[error("{entity} is not recognised here: a request that relies on it is refused rather than answered unmasked")]
    NotRecognised { entity: &'static str },
    #[error("there is no entity {entity}")]
    Unknown { entity: String },
    #[error("the pattern {pattern} cannot be used: {why}")]
    Pattern { pattern: String, why: String },
    #[error("{entity} cannot be fabricated: use a constant")]
    NotFabricated { entity: String },
    #[error("the constant {value:?} cannot be used: {why}")]
    Constant { value: String, why: &'static str },
    #[error("{what}: at most {most}")]
    TooMany { what: &'static str, most: usize },
}
