//! Wall-clock time as a claim: milliseconds since 1970-01-01T00:00:00Z, as BIGINT in SQL. Durations inside a process
//! use the monotonic clock of the I/O crate that measures them; order is given by sequence numbers, never by time.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Whole seconds, rounded down: what JWT's NumericDate and cosignatures carry.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The calendar month in UTC that budgets and invoices count in.
    pub fn month(self) -> Month {
        // Civil date from days, after H. Hinnant's public-domain algorithm (days_from_civil, inverted).
        let days = self.0.div_euclid(86_400_000) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Month { year: year as i32, month: month as u8 }
    }
}

/// A calendar month, UTC; `2026-11` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    pub year: i32,
    pub month: u8,
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// A month is written `YYYY-MM`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a month is written YYYY-MM, for example 2026-11")]
pub struct MonthError;

impl FromStr for Month {
    type Err = MonthError;
    fn from_str(text: &str) -> Result<Self, MonthError> {
        let (year, month) = text.split_once('-').ok_or(MonthError)?;
        let digits = |part: &str, len| part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return Err(MonthError);
        }
        let month: u8 = month.parse().map_err(|_| MonthError)?;
        let year = year.parse().map_err(|_| MonthError)?;
        if (1..=12).contains(&month) { Ok(Month { year, month }) } else { Err(MonthError) }
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months() {
        let check = |ms: i64, expect: &str| assert_eq!(UnixMillis(ms).month().to_string(), expect, "{ms}");
        check(0, "1970-01");
        check(-1, "1969-12");
        check(951_782_399_999, "2000-02"); // 28 Feb 23:59:59.999
        check(951_868_799_999, "2000-02"); // 29 Feb, a leap day
        check(951_868_800_000, "2000-03");
        check(1_795_996_799_999, "2026-11");
        check(1_796_083_200_000, "2026-12");
    }
}
