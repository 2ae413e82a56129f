//! Who a robot is: manufacturer and serial number, unique together.

use crate::limits::NAME_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// `manufacturer/serialNumber`, as in `fleet::order::Assignee::Robot`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RobotId {
    manufacturer: String,
    serial: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a robot is named manufacturer/serialNumber, each of 1 to {NAME_BYTES_MAX} letters, digits and _ . : - (as in its topics)"
)]
pub struct RobotIdError;

impl RobotId {
    pub fn new(manufacturer: &str, serial: &str) -> Result<RobotId, RobotIdError> {
        // `+`, `#`, `/` and `$` mean something in a topic; the standard names these characters as the portable ones.
        let good = |text: &str| {
            (1..=NAME_BYTES_MAX).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
        };
        match good(manufacturer) && good(serial) {
            true => Ok(RobotId { manufacturer: manufacturer.to_owned(), serial: serial.to_owned() }),
            false => Err(RobotIdError),
        }
    }

    pub fn manufacturer(&self) -> &str {
        &self.manufacturer
    }

    pub fn serial(&self) -> &str {
        &self.serial
    }
}

impl fmt::Display for RobotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.manufacturer, self.serial)
    }
}

impl FromStr for RobotId {
    type Err = RobotIdError;
    fn from_str(text: &str) -> Result<RobotId, RobotIdError> {
        let (manufacturer, serial) = text.split_once('/').ok_or(RobotIdError)?;
        RobotId::new(manufacturer, serial)
    }
}

impl TryFrom<String> for RobotId {
    type Error = RobotIdError;
    fn try_from(text: String) -> Result<RobotId, RobotIdError> {
        text.parse()
    }
}

impl From<RobotId> for String {
    fn from(id: RobotId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_a_topic_can_carry() {
        let check = |text: &str, good: bool| assert_eq!(text.parse::<RobotId>().is_ok(), good, "{text}");
        check("acme/r-1", true);
        check(&format!("acme/{}", "a".repeat(NAME_BYTES_MAX)), true);
        check(&format!("acme/{}", "a".repeat(NAME_BYTES_MAX + 1)), false);
        check("acme", false);
        check("acme/", false);
        check("acme/r/1", false);
        check("acme/+", false);
        check("acme/#", false);
        check("ac me/r1", false);
    }
}
