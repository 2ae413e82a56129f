//! What policy decides on: the class of the data and the facts of the endpoint. Facts are stated by the operator and
//! written into every receipt; that they are true is the matter of enrolment and attestation, not of this file.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// How sensitive the content of a request is, from least to most. The order is the meaning: a request may raise its
/// project's class, never lower it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataClass {
    Public,
    Internal,
    Confidential,
    /// §203 StGB and the like.
    Secret,
}

impl DataClass {
    pub const ALL: [DataClass; 4] =
        [DataClass::Public, DataClass::Internal, DataClass::Confidential, DataClass::Secret];

    pub fn as_str(self) -> &'static str {
        match self {
            DataClass::Public => "public",
            DataClass::Internal => "internal",
            DataClass::Confidential => "confidential",
            DataClass::Secret => "secret",
        }
    }
}

impl fmt::Display for DataClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no data class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the data classes are public, internal, confidential and secret")]
pub struct DataClassError;

impl FromStr for DataClass {
    type Err = DataClassError;
    fn from_str(text: &str) -> Result<Self, DataClassError> {
        DataClass::ALL.into_iter().find(|class| class.as_str() == text).ok_or(DataClassError)
    }
}

/// ISO 3166-1 alpha-2, upper case. The type checks the shape, not that the country exists: codes are assigned and
/// withdrawn by others, and a wrong one can only make policy refuse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

impl Country {
    pub const DE: Country = Country(*b"DE");

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no country code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a country is two capital letters (ISO 3166-1 alpha-2), for example DE")]
pub struct CountryError;

impl FromStr for Country {
    type Err = CountryError;
    fn from_str(text: &str) -> Result<Self, CountryError> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Ok(Country([*a, *b])),
            _ => Err(CountryError),
        }
    }
}

impl Serialize for Country {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Country {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What the provider keeps of prompts and answers after the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retention {
    #[default]
    None,
    /// Kept for a while, for example to find abuse.
    Limited,
    /// Kept without a stated end, or used for training.
    Unlimited,
}

impl Retention {
    pub fn as_str(self) -> &'static str {
        match self {
            Retention::None => "none",
            Retention::Limited => "limited",
            Retention::Unlimited => "unlimited",
        }
    }
}

/// A text that names no retention.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("retention is one of none, limited, unlimited")]
pub struct RetentionError;

impl FromStr for Retention {
    type Err = RetentionError;
    fn from_str(text: &str) -> Result<Self, RetentionError> {
        [Retention::None, Retention::Limited, Retention::Unlimited]
            .into_iter()
            .find(|retention| retention.as_str() == text)
            .ok_or(RetentionError)
    }
}

/// The facts that make one endpoint another endpoint. Two engines with equal facts and the same model are replicas of
/// one endpoint; an engine that differs in one fact is an endpoint of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EndpointFacts {
    /// Where the engine stands.
    pub country: Country,
    /// The site it stands in; for a partner's engine the partner's own word.
    pub site: String,
    /// Who runs the machine.
    pub operator: String,
    /// Who offers the model.
    pub provider: String,
    /// Whose law can compel the provider.
    pub jurisdiction: Country,
    pub retention: Retention,
    /// How the machine proves what it is: `none` or the name of a scheme.
    pub attestation: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ordered_as_they_are_named() {
        assert!(DataClass::ALL.is_sorted());
        for class in DataClass::ALL {
            assert_eq!(class.as_str().parse(), Ok(class));
        }
        assert!("Secret".parse::<DataClass>().is_err());
    }

    #[test]
    fn countries() {
        assert_eq!("DE".parse(), Ok(Country::DE));
        for bad in ["de", "D", "DEU", "D1", ""] {
            assert!(bad.parse::<Country>().is_err(), "{bad}");
        }
    }
}
