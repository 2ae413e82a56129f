//! SHA-256 values and the two hashes of RFC 6962, with the three spellings that our formats use: hex (ids, origins),
//! base64 (notes, proofs) and base64url without padding (JWT claims).
//!
//! Every reader here accepts exactly one spelling per value. Two texts for one hash would let somebody change a signed
//! file's bytes without changing its meaning.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::fmt;

/// A SHA-256 value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

/// The root of the empty tree: SHA-256 of nothing.
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

impl Hash {
    /// 32 zero bytes: the `prev` of a chain's first receipt.
    pub const ZERO: Hash = Hash([0; 32]);

    pub fn from_slice(bytes: &[u8]) -> Option<Hash> {
        bytes.try_into().ok().map(Hash)
    }

    /// 64 lower-case digits.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    pub fn from_hex(text: &str) -> Option<Hash> {
        Hash::from_slice(&from_hex(text)?)
    }

    /// Standard base64 with padding, as in notes and proofs: 44 characters.
    pub fn b64(&self) -> String {
        b64(&self.0)
    }

    pub fn from_b64(text: &str) -> Option<Hash> {
        Hash::from_slice(&from_b64(text)?)
    }

    /// base64url without padding, as in claims: 43 characters.
    pub fn b64url(&self) -> String {
        b64url(&self.0)
    }

    pub fn from_b64url(text: &str) -> Option<Hash> {
        Hash::from_slice(&from_b64url(text)?)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// SHA-256 over the parts, one after the other. Nothing separates them: who needs separation writes a length or a tag.
pub fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    Hash::from_slice(context.finish().as_ref()).expect("SHA-256 yields 32 bytes")
}

/// The tree's hash of an entry: H(0x00 || entry).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    sha256(&[&[0x00], entry])
}

/// The tree's hash of two children: H(0x01 || left || right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[0x01], &left.0, &right.0])
}

pub fn b64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Appends, so that a text of many hashes is one allocation.
pub fn b64_into(bytes: &[u8], text: &mut String) {
    STANDARD.encode_string(bytes, text);
}

/// Refuses missing padding, foreign characters and non-zero trailing bits.
pub fn from_b64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub fn b64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The same, behind a text that is there already.
pub fn b64url_into(bytes: &[u8], text: &mut String) {
    URL_SAFE_NO_PAD.encode_string(bytes, text);
}

/// Refuses padding, foreign characters and non-zero trailing bits.
pub fn from_b64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

/// Refuses upper case and odd lengths.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(sha256(&[]), EMPTY_ROOT);
        assert_eq!(sha256(&[b"a", b"bc"]).hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        // RFC 6962's hash of an empty leaf, as in Certificate Transparency's test data.
        assert_eq!(leaf_hash(b"").hex(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }

    #[test]
    fn one_spelling_per_value() {
        let hash = sha256(&[b"x"]);
        assert_eq!(Hash::from_hex(&hash.hex()), Some(hash));
        assert_eq!(Hash::from_b64(&hash.b64()), Some(hash));
        assert_eq!(Hash::from_b64url(&hash.b64url()), Some(hash));
        assert_eq!(Hash::from_hex(&hash.hex().to_uppercase()), None);
        assert_eq!(Hash::from_hex("abc"), None);
        assert_eq!(Hash::from_b64url(&hash.b64()), None);
        assert_eq!(Hash::from_b64(hash.b64().trim_end_matches('=')), None);
        // The last character carries bits that mean nothing: set, they must not be accepted.
        assert_eq!(from_b64url("AA"), Some(vec![0]));
        assert_eq!(from_b64url("AB"), None);
        assert_eq!(from_b64("AB=="), None);
    }
}
