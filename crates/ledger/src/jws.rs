//! JWS compact (RFC 7515) as this house writes it: a header of `alg`, `kid` and `typ` and nothing else, Ed25519.
//!
//! A verifier takes neither key nor algorithm from the token. The key comes from the verifier's own [`Jwks`], the
//! algorithm is Ed25519 because the key is; the header is only checked to say so. `typ` keeps one kind of our JWTs from
//! passing for another.

use crate::hash;
use crate::jwks::Jwks;
use crate::key;
use serde::{Deserialize, Serialize};

/// Why a text is not one of our JWTs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JwsError {
    Form,
    Header(String),
    Algorithm(String),
    Type(String),
    UnknownKey(String),
    Signature,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<'a> {
    alg: std::borrow::Cow<'a, str>,
    kid: std::borrow::Cow<'a, str>,
    typ: std::borrow::Cow<'a, str>,
}

/// Read and not yet believed.
pub(crate) struct Parsed<'a> {
    pub signing_input: &'a str,
    pub kid: String,
    pub payload: Vec<u8>,
    pub signature: [u8; 64],
}

/// The first part of a signing input, with its point.
pub(crate) fn header(kid: &str, typ: &str) -> Result<String, JwsError> {
    let header = Header { alg: "EdDSA".into(), kid: kid.into(), typ: typ.into() };
    let header = serde_json::to_vec(&header).map_err(|e| JwsError::Header(e.to_string()))?;
    Ok(hash::b64url(&header) + ".")
}

/// Returns the key id. RFC 9864 deprecates the name `EdDSA` for `Ed25519`; both mean the same key here.
pub(crate) fn read_header(json: &[u8], typ: &str) -> Result<String, JwsError> {
    let header: Header<'_> = serde_json::from_slice(json).map_err(|e| JwsError::Header(e.to_string()))?;
    if header.alg != "EdDSA" && header.alg != "Ed25519" {
        return Err(JwsError::Algorithm(header.alg.into_owned()));
    }
    if header.typ != typ {
        return Err(JwsError::Type(header.typ.into_owned()));
    }
    Ok(header.kid.into_owned())
}

/// Reads a JWT of at most `bytes_max` bytes without believing it.
pub(crate) fn parse<'a>(jwt: &'a str, typ: &str, bytes_max: usize) -> Result<Parsed<'a>, JwsError> {
    if jwt.len() > bytes_max {
        return Err(JwsError::Form);
    }
    let (signing_input, signature) = jwt.rsplit_once('.').ok_or(JwsError::Form)?;
    let (header, payload) = signing_input.split_once('.').ok_or(JwsError::Form)?;
    let part = |text: &str| hash::from_b64url(text).ok_or(JwsError::Form);
    let kid = read_header(&part(header)?, typ)?;
    let payload = part(payload)?;
    let signature = part(signature)?.try_into().map_err(|_| JwsError::Signature)?;
    Ok(Parsed { signing_input, kid, payload, signature })
}

impl Parsed<'_> {
    /// Believes it if a key of the set signed it.
    pub fn verify(&self, jwks: &Jwks) -> Result<(), JwsError> {
        let public = jwks.find(&self.kid).ok_or_else(|| JwsError::UnknownKey(self.kid.clone()))?;
        match key::verify(public, self.signing_input.as_bytes(), &self.signature) {
            true => Ok(()),
            false => Err(JwsError::Signature),
        }
    }
}
