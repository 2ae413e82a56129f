//! The set of receipt keys as a JWK set (RFC 7517, RFC 8037), served at `/.well-known/jwks.json` and handed to auditors.
//!
//! The set is the root of trust: whoever verifies a receipt brings it. A key that this file does not understand is
//! skipped, as RFC 7517 asks, because an operator may publish other keys beside ours. A key of ours that contradicts
//! itself is an error, and so is a set that gives a private key away.

use crate::{hash, key};
use serde::{Deserialize, Serialize};

/// Why a text is not a usable key set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    #[error("the key set is not JSON of the form {{\"keys\": [...]}}: {0}")]
    Json(String),
    #[error("the key set holds no Ed25519 key (kty OKP, crv Ed25519)")]
    Empty,
    #[error("an Ed25519 key of the set has no 32-byte \"x\" in base64url")]
    Public,
    #[error("the set calls a key \"{stated}\", but its id is \"{derived}\": the set was changed or is not Hoheit's")]
    Kid { stated: String, derived: String },
    #[error("the key \"{0}\" is in the set twice")]
    Twice(String),
    #[error("the set holds a private key (\"d\"): it must never leave the site; do not use it further")]
    Private,
}

/// The receipt keys that a verifier trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwks {
    keys: Vec<(String, [u8; 32])>,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Serialize)]
struct Jwk<'a> {
    kty: &'a str,
    crv: &'a str,
    kid: String,
    #[serde(rename = "use")]
    usage: &'a str,
    alg: &'a str,
    x: String,
}

impl Jwks {
    /// The set of these keys, in memory.
    pub fn of(publics: &[[u8; 32]]) -> Jwks {
        Jwks { keys: publics.iter().map(|public| (key::kid(public), *public)).collect() }
    }

    pub fn parse(json: &str) -> Result<Jwks, JwksError> {
        let set: Set = serde_json::from_str(json).map_err(|e| JwksError::Json(e.to_string()))?;
        let mut keys: Vec<(String, [u8; 32])> = Vec::new();
        for jwk in &set.keys {
            let field = |name: &str| jwk.get(name).and_then(|v| v.as_str());
            if jwk.get("d").is_some() {
                return Err(JwksError::Private);
            }
            let ours = field("kty") == Some("OKP") && field("crv") == Some("Ed25519");
            let signs = field("use").is_none_or(|u| u == "sig");
            let alg = field("alg").is_none_or(|a| a == "EdDSA" || a == "Ed25519");
            if !(ours && signs && alg) {
                continue;
            }
            let public = field("x").and_then(hash::from_b64url).and_then(|x| <[u8; 32]>::try_from(x).ok());
            let public = public.ok_or(JwksError::Public)?;
            let derived = key::kid(&public);
            if let Some(stated) = field("kid").filter(|stated| *stated != derived) {
                return Err(JwksError::Kid { stated: stated.to_owned(), derived });
            }
            if keys.iter().any(|(kid, _)| *kid == derived) {
                return Err(JwksError::Twice(derived));
            }
            keys.push((derived, public));
        }
        if keys.is_empty() { Err(JwksError::Empty) } else { Ok(Jwks { keys }) }
    }

    /// The key that a receipt names, if the verifier trusts it.
    pub fn find(&self, kid: &str) -> Option<&[u8; 32]> {
        self.keys.iter().find(|(known, _)| known == kid).map(|(_, public)| public)
    }
}

/// The JSON text of a set of public keys.
pub fn render(publics: &[[u8; 32]]) -> String {
    let jwk = |public: &[u8; 32]| Jwk {
        kty: "OKP",
        crv: "Ed25519",
        kid: key::kid(public),
        usage: "sig",
        alg: "EdDSA",
        x: hash::b64url(public),
    };
    let keys: Vec<Jwk<'_>> = publics.iter().map(jwk).collect();
    serde_json::json!({ "keys": keys }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    fn public(seed: u8) -> [u8; 32] {
        SigningKey::from_seed(&[seed; 32]).unwrap().public()
    }

    #[test]
    fn text_and_back() {
        let set = Jwks::parse(&render(&[public(1), public(2)])).unwrap();
        assert_eq!(set, Jwks::of(&[public(1), public(2)]));
        assert_eq!(set.find(&key::kid(&public(2))), Some(&public(2)));
        assert_eq!(set.find(&key::kid(&public(3))), None);
    }

    #[test]
    fn what_is_refused() {
        let one = render(&[public(1)]);
        let kid = key::kid(&public(1));
        let check = |json: &str, expect: fn(&JwksError) -> bool| {
            let error = Jwks::parse(json).unwrap_err();
            assert!(expect(&error), "{json}: {error}");
        };
        check("{", |e| matches!(e, JwksError::Json(_)));
        check("{\"keys\":[]}", |e| matches!(e, JwksError::Empty));
        check("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\"}]}", |e| matches!(e, JwksError::Empty));
        check(&one.replace("\"sig\"", "\"enc\""), |e| matches!(e, JwksError::Empty));
        check(&one.replace("\"EdDSA\"", "\"HS256\""), |e| matches!(e, JwksError::Empty));
        check(&one.replace(&kid, "0000000000000000"), |e| matches!(e, JwksError::Kid { .. }));
        check(&one.replace("\"x\":\"", "\"x\":\"A"), |e| matches!(e, JwksError::Public));
        check(&one.replace("\"x\":", "\"d\":\"AA\",\"x\":"), |e| matches!(e, JwksError::Private));
        check(&render(&[public(1), public(1)]), |e| matches!(e, JwksError::Twice(_)));
    }

    #[test]
    fn foreign_keys_are_skipped() {
        let json = render(&[public(1)]).replace("[", "[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"},");
        assert_eq!(Jwks::parse(&json).unwrap(), Jwks::of(&[public(1)]));
    }
}
