//! Secrets that people carry: API keys `hk_<id>_<secret>`, control tokens `ht_<id>_<secret>`, the admin token.
//!
//! Stored is only the HMAC-SHA-256 of the secret under the site's pepper: a secret holds 256 random bits, so a slow
//! password hash would buy nothing, and a stolen database without the pepper tells nothing. Comparison takes the same
//! time wherever the difference is.

use aws_lc_rs::{constant_time, hmac};

/// Crockford's digits, as in ids.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// 256 bits in digits of 5: 52, the last one holding a single bit.
pub const SECRET_DIGITS: usize = 52;

/// The site's HMAC key for stored secrets.
#[derive(Clone)]
pub struct Pepper(hmac::Key);

impl Pepper {
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// What is stored of a secret: 64 hex digits.
    pub fn hash(&self, secret: &str) -> String {
        let tag = hmac::sign(&self.0, secret.as_bytes());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A secret that can be told again: from the site's pepper, what it is for, and a salt that is stored. Neither the database
    /// nor the pepper alone gives it. No purpose looks like a secret, whose digits hold no space.
    pub fn derive(&self, purpose: &str, salt: &str) -> [u8; 32] {
        let key = hmac::sign(&self.0, purpose.as_bytes());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), salt.as_bytes());
        let mut secret = [0; 32];
        secret.copy_from_slice(tag.as_ref());
        secret
    }

    /// Whether the secret is the one that was stored.
    pub fn matches(&self, secret: &str, stored: &str) -> bool {
        constant_time::verify_slices_are_equal(self.hash(secret).as_bytes(), stored.as_bytes()).is_ok()
    }
}

impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pepper(..)")
    }
}

/// Writes 32 random bytes as 52 digits, most significant bit first.
pub fn encode(random: &[u8; 32]) -> String {
    let bit = |index: usize| random.get(index / 8).is_some_and(|byte| byte >> (7 - index % 8) & 1 == 1);
    (0..SECRET_DIGITS)
        .map(|digit| (0..5).fold(0, |value, offset| value << 1 | usize::from(bit(digit * 5 + offset))))
        .map(|value| DIGITS[value] as char)
        .collect()
}

/// Splits `<prefix><26 id digits>_<52 secret digits>`.
pub fn split<'a>(text: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    let (id, secret) = text.strip_prefix(prefix)?.split_once('_')?;
    (secret.len() == SECRET_DIGITS && secret.bytes().all(|byte| DIGITS.contains(&byte))).then_some((id, secret))
}

/// A new admin token: the operator's first credential. Stored as `Pepper::hash` over the whole text.
pub fn admin_token(random: &[u8; 32]) -> String {
    format!("ha_{}", encode(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        assert_eq!(encode(&[0; 32]), "0".repeat(52));
        assert_eq!(encode(&[255; 32]), format!("{}g", "z".repeat(51)));
        let mut one = [0; 32];
        one[31] = 1;
        assert_eq!(encode(&one), format!("{}g", "0".repeat(51)));
    }

    #[test]
    fn hashes_match_only_their_secret_and_pepper() {
        let pepper = Pepper::new(b"pepper");
        let stored = pepper.hash("secret");
        assert_eq!(stored.len(), 64);
        assert!(pepper.matches("secret", &stored));
        assert!(!pepper.matches("secreT", &stored));
        assert!(!Pepper::new(b"other").matches("secret", &stored));
        assert!(!pepper.matches("secret", ""));
    }

    #[test]
    fn derived_secrets_differ_by_everything_they_are_made_of() {
        let of = |pepper: &[u8], purpose: &str, salt: &str| Pepper::new(pepper).derive(purpose, salt);
        let first = of(b"pepper", "a binding", "00");
        assert_eq!(first, of(b"pepper", "a binding", "00"));
        for other in [of(b"other", "a binding", "00"), of(b"pepper", "another", "00"), of(b"pepper", "a binding", "01")]
        {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn credentials_split_exactly() {
        let secret = encode(&[7; 32]);
        let text = format!("ht_00000000000000000000000007_{secret}");
        assert_eq!(split(&text, "ht_"), Some(("00000000000000000000000007", secret.as_str())));
        for bad in ["", "ht_", "ht_x", &text[1..], &text[..text.len() - 1], &format!("{text}0"), &text.to_uppercase()] {
            assert_eq!(split(bad, "ht_"), None, "{bad}");
        }
    }
}
