//! Money in whole micro-euro. There is no floating point anywhere on the way from a token to an invoice.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A millionth of a euro. `i64` holds nine billion euro: more than this site's power bill for its lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroEur(pub i64);

impl MicroEur {
    pub const ZERO: MicroEur = MicroEur(0);
    /// One euro.
    pub const EURO: MicroEur = MicroEur(1_000_000);

    pub fn checked_add(self, other: MicroEur) -> Option<MicroEur> {
        self.0.checked_add(other.0).map(MicroEur)
    }

    /// Never wraps: an amount beyond the type's range is already an amount that nobody may spend.
    pub fn saturating_add(self, other: MicroEur) -> MicroEur {
        MicroEur(self.0.saturating_add(other.0))
    }

    pub fn saturating_sub(self, other: MicroEur) -> MicroEur {
        MicroEur(self.0.saturating_sub(other.0))
    }
}

/// `12.345678 EUR`, always with six decimals: what is shown is what is booked.
impl fmt::Display for MicroEur {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let abs = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06} EUR", abs / 1_000_000, abs % 1_000_000)
    }
}

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an amount in euro looks like 5, 5.00 or 0.000001: digits, a point, at most six decimals, not below zero")]
pub struct AmountError;

impl FromStr for MicroEur {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
            return Err(AmountError);
        }
        let whole: i64 = whole.parse().map_err(|_| AmountError)?;
        let micro: i64 = format!("{fraction:0<6}").parse().map_err(|_| AmountError)?;
        whole.checked_mul(1_000_000).and_then(|w| w.checked_add(micro)).map(MicroEur).ok_or(AmountError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        let check = |text: &str, expect: Option<i64>| assert_eq!(text.parse().ok(), expect.map(MicroEur), "{text}");
        check("5", Some(5_000_000));
        check("5.00", Some(5_000_000));
        check("0.000001", Some(1));
        check("9223372036854.775807", Some(i64::MAX));
        check("9223372036854.775808", None);
        check("0.0000001", None);
        check("-1", None);
        check("1e3", None);
        check("1,50", None);
        check(".5", None);
        check("5.", None);
        check("", None);
        assert_eq!(MicroEur(-1_500_000).to_string(), "-1.500000 EUR");
    }
}
