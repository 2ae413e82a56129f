//! `context.signature`: RSA PKCS#1 v1.5 with SHA-256, by the platform's key or, while it changes it, by the next one.

use crate::canonical::{Form, canonical};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The longest text of a key: base64 of a PEM of 8,192 bits is 2 KB.
const KEY_BYTES_MAX: usize = 8 * 1_024;

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a public RSA key of 2048 to 8192 bits, as PEM (BEGIN PUBLIC KEY) or base64 of that, as /v1/info shows it")]
pub struct PublicKeyError;

/// A platform's public key, as DER in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(String);

impl PublicKey {
    /// Reads PEM, or base64 of PEM.
    pub fn parse(text: &str) -> Result<Self, PublicKeyError> {
        if text.len() > KEY_BYTES_MAX {
            return Err(PublicKeyError);
        }
        let text = text.trim();
        let pem = if text.starts_with("-----") {
            text.to_owned()
        } else {
            let bytes = STANDARD.decode(text.replace(['\n', '\r', ' '], "")).map_err(|_| PublicKeyError)?;
            String::from_utf8(bytes).map_err(|_| PublicKeyError)?
        };
        let inner = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----").ok_or(PublicKeyError)?;
        let inner = inner.strip_suffix("-----END PUBLIC KEY-----").ok_or(PublicKeyError)?;
        let key = Self(inner.split_whitespace().collect());
        key.parsed().ok_or(PublicKeyError)?;
        Ok(key)
    }

    fn parsed(&self) -> Option<ParsedPublicKey> {
        let der = STANDARD.decode(&self.0).ok()?;
        ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).ok()
    }

    fn signed(&self, message: &str, signature: &[u8]) -> bool {
        self.parsed().is_some_and(|key| key.verify_sig(message.as_bytes(), signature).is_ok())
    }
}

/// Whether contexts must be signed, and by which keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Signing {
    pub required: bool,
    pub key: Option<PublicKey>,
    pub successor: Option<PublicKey>,
}

impl Signing {
    /// Whether one of the keys signed this context.
    pub fn signed(&self, context: &RawValue, signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        Form::ALL.into_iter().filter_map(|form| canonical(context, &["signature"], form)).any(|message| {
            [&self.key, &self.successor].into_iter().flatten().any(|key| key.signed(&message, &signature))
        })
    }
}
