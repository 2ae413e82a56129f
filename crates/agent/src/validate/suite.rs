//! Suites: TOML, one `[[test]]` each, in the order in which they run.

use crate::wire::{NAME_MAX, SUITE_BYTES_MAX, TESTS_MAX};
use serde::Deserialize;
use std::collections::BTreeSet;

/// A test may take so long: DCGM's longest level takes two hours on eight GPUs; a burn-in is many runs.
pub const TIMEOUT_S_MAX: u64 = 4 * 3_600;

/// The suites that the agent brings, by the names that machines' specifications use.
pub const SUITES: [(&str, &str); 3] = [
    ("dgx-b200", include_str!("../../suites/dgx-b200.toml")),
    ("rtx-pro", include_str!("../../suites/rtx-pro.toml")),
    ("generic", include_str!("../../suites/generic.toml")),
];

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    pub name: String,
    #[serde(rename = "test")]
    pub tests: Vec<Test>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    pub name: String,
    /// Our own check.
    pub builtin: Option<Builtin>,
    /// Or a program and its arguments; its exit status decides, and what it prints if there is a threshold.
    pub command: Option<Vec<String>>,
    /// `>= 2400 GB/s` against what the builtin measured, or the last number that the command printed.
    pub threshold: Option<Threshold>,
    pub timeout_s: u64,
    /// How thorough: 1 is a minute, 2 minutes, 3 an hour, 4 hours. A run takes all up to its own.
    #[serde(default = "first")]
    pub level: u8,
    /// Programs or files that must be there; without one the test is skipped.
    #[serde(default)]
    pub needs: Vec<String>,
    /// A test that is skipped fails the machine unless this says that it may be.
    #[serde(default)]
    pub optional: bool,
    /// Mebibytes that memory and disk checks use, DCGM's level.
    #[serde(default)]
    pub size: u64,
}

fn first() -> u8 {
    1
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Builtin {
    /// Patterns written and verified; GB/s.
    Memory,
    /// Written, flushed, read back and compared; MB/s.
    Disk,
    /// Written and flushed in 4 kB; the 99th percentile in ms.
    DiskLatency,
    /// One computation, on every core again and again: all must agree; runs.
    Processor,
    /// `dcgmi diag`.
    Dcgm,
}

/// What a number must be.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Threshold {
    pub text: String,
    at_least: bool,
    limit: f64,
}

impl TryFrom<String> for Threshold {
    type Error = String;

    fn try_from(text: String) -> Result<Threshold, String> {
        let wrong = || format!("threshold \"{text}\": write >= or <=, a number, a unit");
        let mut words = text.split_whitespace();
        let at_least = match words.next() {
            Some(">=") => true,
            Some("<=") => false,
            _ => return Err(wrong()),
        };
        let limit: f64 =
            words.next().and_then(|it| it.parse().ok()).filter(|it: &f64| it.is_finite()).ok_or_else(wrong)?;
        Ok(Threshold { at_least, limit, text })
    }
}

impl Threshold {
    pub fn holds(&self, value: f64) -> bool {
        if self.at_least { value >= self.limit } else { value <= self.limit }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("suite: {0}")]
pub struct SuiteError(pub String);

impl Suite {
    pub fn parse(text: &str) -> Result<Suite, SuiteError> {
        if text.len() > SUITE_BYTES_MAX {
            return Err(SuiteError(format!("{} bytes; at most {SUITE_BYTES_MAX}", text.len())));
        }
        let suite: Suite = toml::from_str(text).map_err(|error| SuiteError(error.to_string()))?;
        suite.check()?;
        Ok(suite)
    }

    /// The suite of this name that the agent brings.
    pub fn named(name: &str) -> Result<Suite, SuiteError> {
        let found = SUITES.iter().find(|(known, _)| *known == name);
        let (_, text) = found.ok_or_else(|| SuiteError(format!("there is none called {name}")))?;
        Suite::parse(text)
    }

    fn check(&self) -> Result<(), SuiteError> {
        if self.tests.is_empty() || self.tests.len() > TESTS_MAX || self.name.len() > NAME_MAX {
            return Err(SuiteError(format!("it has 1 to {TESTS_MAX} tests and a name of at most {NAME_MAX} bytes")));
        }
        let mut names = BTreeSet::new();
        for test in &self.tests {
            let wrong = |text: &str| Err(SuiteError(format!("test {}: {text}", test.name)));
            if test.name.is_empty() || test.name.len() > NAME_MAX || !names.insert(&test.name) {
                return wrong("its name is empty, too long, or there twice");
            }
            if test.builtin.is_some() == test.command.is_some() {
                return wrong("either builtin or command");
            }
            if test.command.as_ref().is_some_and(|it| it.first().is_none_or(String::is_empty)) {
                return wrong("its command is empty");
            }
            if test.timeout_s == 0 || test.timeout_s > TIMEOUT_S_MAX {
                return wrong("timeout_s is 1 to 14400");
            }
            if test.level == 0 || test.level > 4 {
                return wrong("level is 1 to 4");
            }
            if test.threshold.as_ref().is_some_and(|it| it.text.len() > NAME_MAX) {
                return wrong("its threshold is too long");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_brings_is_right() {
        for (name, _) in SUITES {
            assert_eq!(Suite::named(name).unwrap().name, name);
        }
        assert!(Suite::named("other").is_err());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |text: &str, says: &str| {
            let error = Suite::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        };
        let suite = |test: &str| format!("name = \"s\"\n[[test]]\nname = \"a\"\n{test}");
        check("", "name");
        check("name = \"s\"\ntest = []", "1 to 128");
        check(&suite("timeout_s = 1"), "either builtin or command");
        check(&suite("builtin = \"memory\"\ncommand = [\"x\"]\ntimeout_s = 1"), "either");
        check(&suite("command = []\ntimeout_s = 1"), "empty");
        check(&suite("builtin = \"memory\"\ntimeout_s = 0"), "1 to 14400");
        check(&suite("builtin = \"memory\"\ntimeout_s = 14401"), "1 to 14400");
        check(&suite("builtin = \"memory\"\ntimeout_s = 1\nlevel = 5"), "1 to 4");
        check(&suite("builtin = \"memory\"\ntimeout_s = 1\nthreshold = \"fast\""), ">= or <=");
        check(&suite("builtin = \"memory\"\ntimeout_s = 1\nsurprise = 1"), "surprise");
        check(
            &suite("builtin = \"memory\"\ntimeout_s = 1\n[[test]]\nname = \"a\"\nbuiltin = \"disk\"\ntimeout_s = 1"),
            "twice",
        );
    }

    #[test]
    fn thresholds() {
        let threshold = |text: &str| Threshold::try_from(text.to_owned()).unwrap();
        assert!(threshold(">= 2400 GB/s").holds(2400.0));
        assert!(!threshold(">= 2400 GB/s").holds(2399.9));
        assert!(threshold("<= 5 ms").holds(5.0));
        assert!(!threshold("<= 5 ms").holds(f64::NAN));
    }
}
