//! Ed25519 keys: sign, verify, and the key id of JWTs.
//!
//! Signatures are deterministic (RFC 8032), so a receipt can be signed when it is handed out, as often as it is handed
//! out, and is always the same bytes. Public keys of small order are refused: for them a signature fits more than one
//! message, and evidence that fits two messages is none.

use crate::hash;
use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// The seed was refused by the cryptographic library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an Ed25519 key is made from 32 random bytes; these were refused")]
pub struct KeyError;

/// A private key. It has no `Debug` and cannot be turned back into its seed.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl SigningKey {
    pub fn from_seed(seed: &[u8; 32]) -> Result<SigningKey, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError)?;
        Ok(SigningKey { pair, public })
    }

    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }

    /// The `kid` under which this key signs receipts.
    pub fn kid(&self) -> String {
        kid(&self.public)
    }
}

/// True if `signature` is `public`'s over `message`.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    !small_order(public) && UnparsedPublicKey::new(&signature::ED25519, public).verify(message, signature).is_ok()
}

/// The key id of receipts: the first 16 hex digits of SHA-256 over the public key.
pub fn kid(public: &[u8; 32]) -> String {
    let mut id = hash::sha256(&[public]).hex();
    id.truncate(16);
    id
}

/// The encodings of the eight points of small order, without the sign bit (y = 0, 1, p-1, p, p+1 and two of order 8).
fn small_order(public: &[u8; 32]) -> bool {
    const ORDER_8: [&str; 2] = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ];
    let mut y = *public;
    y[31] &= 0x7f;
    let low = y[1..].iter().all(|&b| b == 0) && y[0] <= 1;
    let high = y[31] == 0x7f && y[1..31].iter().all(|&b| b == 0xff) && y[0] >= 0xec;
    low || high || ORDER_8.contains(&hash::hex(&y).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn rfc_8032() {
        let seed = hash::from_hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
        let key = SigningKey::from_seed(&seed.try_into().unwrap()).unwrap();
        assert_eq!(hash::hex(&key.public()), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = key.sign(&[0x72]);
        assert_eq!(
            hash::hex(&signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert!(verify(&key.public(), &[0x72], &signature));
        assert!(!verify(&key.public(), &[0x73], &signature));
    }

    /// With the neutral element as key, the neutral element and zero are a signature over every message.
    #[test]
    fn keys_of_small_order_are_refused() {
        let mut neutral = [0u8; 32];
        neutral[0] = 1;
        let mut signature = [0u8; 64];
        signature[0] = 1;
        assert!(UnparsedPublicKey::new(&signature::ED25519, neutral).verify(b"anything", &signature).is_ok());
        assert!(!verify(&neutral, b"anything", &signature));
        for low in ["00", "01", "ec", "ed", "ee"] {
            let fill = if low.starts_with('0') { "00" } else { "ff" };
            let last = if low.starts_with('0') { "00" } else { "7f" };
            let text = format!("{low}{}{last}", fill.repeat(30));
            assert!(small_order(&hash::from_hex(&text).unwrap().try_into().unwrap()), "{text}");
        }
        assert!(!small_order(&SigningKey::from_seed(&[7; 32]).unwrap().public()));
    }

    /// S + L is the same signature in another spelling; it must not pass.
    #[test]
    fn signatures_are_not_malleable() {
        const L: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let mut signature = key.sign(b"m");
        let mut carry = 0u16;
        for (s, l) in signature[32..].iter_mut().zip(hash::from_hex(L).unwrap()) {
            let sum = u16::from(*s) + u16::from(l) + carry;
            *s = sum as u8;
            carry = sum >> 8;
        }
        assert!(!verify(&key.public(), b"m", &signature));
    }
}
