//! A newtype per id, each with a readable prefix on the wire: `ten_`, `prj_`, `key_`, `rcp_` and so on.
//!
//! An id is 128 bits: 48 bits of milliseconds and 80 random bits, written as 26 lower-case Crockford base32 digits,
//! so ids sort by the time they were made. This is ULID's layout; its text is upper case, ours is lower case because
//! people type it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Crockford's digits: no i, l, o, u, so a digit read aloud is not mistaken for another.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// 26 digits of 5 bits hold 130 bits; the first digit therefore carries only 3 (0..=7).
pub const ID_DIGITS: usize = 26;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The prefix names another kind of thing.
    #[error("an id of this kind starts with \"{want}\"")]
    Prefix { want: &'static str },
    /// After the prefix come exactly 26 base32 digits below 2^128.
    #[error("after \"{want}\" come 26 characters of 0-9 and a-z without i, l, o, u")]
    Digits { want: &'static str },
}

/// Writes 128 bits as 26 digits.
fn encode(value: u128) -> [u8; ID_DIGITS] {
    let mut text = [0u8; ID_DIGITS];
    for (place, slot) in text.iter_mut().enumerate() {
        let shift = 5 * (ID_DIGITS - 1 - place);
        *slot = DIGITS[((value >> shift) & 31) as usize];
    }
    text
}

/// Reads 26 digits. One spelling per id: upper case and look-alike letters are refused, so that ids compare as text.
fn decode(text: &[u8]) -> Option<u128> {
    if text.len() != ID_DIGITS || text[0] > b'7' {
        return None;
    }
    text.iter().try_fold(0u128, |value, digit| {
        let digit = DIGITS.iter().position(|d| d == digit)?;
        Some((value << 5) | digit as u128)
    })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u128);

        impl $name {
            /// What every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an id from a wall-clock time and 10 random bytes; both come from the caller.
            pub fn from_parts(now: crate::UnixMillis, random: [u8; 10]) -> Self {
                let mut tail = [0u8; 16];
                tail[6..].copy_from_slice(&random);
                let time = (now.0.max(0) as u128) & ((1 << 48) - 1);
                Self((time << 80) | u128::from_be_bytes(tail))
            }

            /// The 26 digits without the prefix.
            pub fn digits(self) -> String {
                encode(self.0).iter().map(|&b| b as char).collect()
            }

            /// Reads the 26 digits without a prefix.
            pub fn from_digits(text: &str) -> Result<Self, IdError> {
                decode(text.as_bytes()).map(Self).ok_or(IdError::Digits { want: $prefix })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = encode(self.0);
                f.write_str($prefix)?;
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let digits = text.strip_prefix($prefix).ok_or(IdError::Prefix { want: $prefix })?;
                Self::from_digits(digits)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A customer.
    TenantId = "ten_";
    /// A part of a tenant with its own keys, budget and policy.
    ProjectId = "prj_";
    /// An API key; on the wire a caller shows `hk_<digits>_<secret>`.
    KeyId = "key_";
    /// A bearer of rights at the control API; shown as `ht_<digits>_<secret>`.
    TokenId = "tok_";
    /// A registered engine. One engine is one replica of its endpoint.
    EngineId = "eng_";
    /// A model offered under one set of facts.
    EndpointId = "end_";
    /// A policy rule.
    RuleId = "rul_";
    /// One request's receipt; fixed when the request is received.
    ReceiptId = "rcp_";
    /// One boot of one gateway.
    IncarnationId = "inc_";
    /// One entry of the audit log.
    AuditId = "aud_";
    /// A server, from the day it is planned.
    MachineId = "mach_";
    /// Robot or human work on machines, in tasks.
    OrderId = "ord_";
    /// One step of an order.
    TaskId = "tsk_";
    /// The signed certificate that makes capacity.
    AcceptanceId = "acc_";
    /// Passages of one project under one index; a vector store in OpenAI's words.
    CollectionId = "vs_";
    /// A platform that orders through the Open Service Broker, with its credential.
    BrokerId = "brk_";
    /// Something that a platform ordered and that the operator fulfils.
    OperationId = "op_";
    /// A document that a project uploaded.
    FileId = "file_";
    /// A question whose answer is fetched later.
    AsyncId = "async_";
    /// A model configuration in AI Core's words.
    ConfigurationId = "conf_";
    /// A configuration that is callable, in AI Core's words.
    DeploymentId = "d";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UnixMillis;
    use proptest::prelude::*;

    #[test]
    fn near_misses_are_refused() {
        let good = TenantId(7).to_string();
        assert_eq!(good, "ten_00000000000000000000000007");
        for bad in [
            "",
            "ten_",
            "prj_00000000000000000000000007",
            "ten_0000000000000000000000000I",
            "ten_80000000000000000000000000",
            "ten_000000000000000000000000070",
            "TEN_00000000000000000000000007",
        ] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_sort_by_time() {
        let early = ReceiptId::from_parts(UnixMillis(1_000), [255; 10]);
        let late = ReceiptId::from_parts(UnixMillis(1_001), [0; 10]);
        assert!(early < late && early.to_string() < late.to_string());
    }

    proptest! {
        #[test]
        fn text_and_back(value: u128) {
            let id = KeyId(value);
            prop_assert_eq!(id.to_string().parse::<KeyId>(), Ok(id));
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<KeyId>(&json).unwrap(), id);
        }
    }
}
