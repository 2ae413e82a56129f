//! Certificates of acceptance as JWTs, and the leaf that stands for one in the log: an entry kind of its own, told apart
//! from a receipt by `typ` and by the tag of its hash. Neither can be shown as the other.
//!
//! The signing input is fixed once, when the certificate gets its place in the log; leaf and signature are functions of
//! that text. If we crash between place and hand-out, whoever signs later signs the same bytes.

use crate::hash::{self, Hash};
use crate::jwks::Jwks;
use crate::jws::{self, JwsError};
use crate::key::SigningKey;
use types::AcceptanceClaims;

/// Separates a certificate's leaf from every other use of SHA-256.
const LEAF_TAG: &[u8] = b"hoheit/acceptance-leaf/v1\0";

/// `typ` of the header.
pub const TYP: &str = "acceptance+jwt";

/// 66 firmware entries, 40 serial numbers, 200 tests and 60 tasks of 150 bytes each are 55 kB, a third more as base64url;
/// four times that keeps a verifier from swallowing a file that is none.
pub const JWT_BYTES_MAX: usize = 262_144;

/// Why a text is not a certificate of a trusted key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptanceError {
    #[error("not a JWT: three parts of base64url joined by points, at most {JWT_BYTES_MAX} bytes")]
    Form,
    #[error("the header is not the one of a certificate (alg, kid, typ and nothing else): {0}")]
    Header(String),
    #[error("alg is \"{0}\"; a certificate is signed with Ed25519 (EdDSA)")]
    Algorithm(String),
    #[error("typ is \"{0}\"; a certificate of acceptance says \"{TYP}\"")]
    Type(String),
    #[error("the claims are not those of a certificate: {0}")]
    Claims(String),
    #[error("the firmware digest is not the one of the firmware that is listed")]
    FirmwareDigest,
    #[error("test \"{0}\" did not pass, so this is no certificate")]
    Test(String),
    #[error("there is no test in it, so nothing was accepted")]
    NoTest,
    #[error("key \"{0}\" is not in the key set")]
    UnknownKey(String),
    #[error("the signature does not fit: the text was changed or another key signed it")]
    Signature,
}

impl From<JwsError> for AcceptanceError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::Form => AcceptanceError::Form,
            JwsError::Header(why) => AcceptanceError::Header(why),
            JwsError::Algorithm(found) => AcceptanceError::Algorithm(found),
            JwsError::Type(found) => AcceptanceError::Type(found),
            JwsError::UnknownKey(kid) => AcceptanceError::UnknownKey(kid),
            JwsError::Signature => AcceptanceError::Signature,
        }
    }
}

/// A certificate whose signature fits a trusted key and whose claims agree with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAcceptance {
    pub claims: AcceptanceClaims,
    pub leaf: Hash,
}

/// `sha256:<hex>` of the firmware list.
pub fn firmware_digest(firmware: &std::collections::BTreeMap<String, String>) -> String {
    format!("sha256:{}", hash::sha256(&[AcceptanceClaims::firmware_lines(firmware).as_bytes()]).hex())
}

/// Fixes the text of a certificate. Refuses what a verifier would refuse.
pub fn signing_input(kid: &str, claims: &AcceptanceClaims) -> Result<String, AcceptanceError> {
    coherent(claims)?;
    let json = serde_json::to_vec(claims).map_err(|e| AcceptanceError::Claims(e.to_string()))?;
    let text = jws::header(kid, TYP)? + &hash::b64url(&json);
    match text.len() + 87 <= JWT_BYTES_MAX {
        true => Ok(text),
        false => Err(AcceptanceError::Form),
    }
}

/// What the log holds for this certificate.
pub fn leaf(signing_input: &str) -> Hash {
    hash::sha256(&[LEAF_TAG, signing_input.as_bytes()])
}

/// The certificate as it is handed out. `key` must be the one that the signing input names (see [`kid_of`]).
pub fn jwt(signing_input: &str, key: &SigningKey) -> String {
    format!("{signing_input}.{}", hash::b64url(&key.sign(signing_input.as_bytes())))
}

/// Which key a signing input asks for.
pub fn kid_of(signing_input: &str) -> Result<String, AcceptanceError> {
    let header = signing_input.split('.').next().and_then(hash::from_b64url).ok_or(AcceptanceError::Form)?;
    Ok(jws::read_header(&header, TYP)?)
}

/// The claims of a signing input, as the store holds it.
pub fn claims_of(signing_input: &str) -> Result<AcceptanceClaims, AcceptanceError> {
    let claims = signing_input.split('.').nth(1).and_then(hash::from_b64url).ok_or(AcceptanceError::Form)?;
    read_claims(&claims)
}

/// Reads a JWT and believes it if a key of the set signed it and its claims agree with each other.
pub fn verify(jwt: &str, jwks: &Jwks) -> Result<VerifiedAcceptance, AcceptanceError> {
    let parsed = jws::parse(jwt, TYP, JWT_BYTES_MAX)?;
    let claims = read_claims(&parsed.payload)?;
    parsed.verify(jwks)?;
    coherent(&claims)?;
    Ok(VerifiedAcceptance { leaf: leaf(parsed.signing_input), claims })
}

fn read_claims(json: &[u8]) -> Result<AcceptanceClaims, AcceptanceError> {
    serde_json::from_slice(json).map_err(|e| AcceptanceError::Claims(e.to_string()))
}

/// What must hold inside one certificate, whoever signed it.
fn coherent(claims: &AcceptanceClaims) -> Result<(), AcceptanceError> {
    if claims.firmware_digest != firmware_digest(&claims.firmware) {
        return Err(AcceptanceError::FirmwareDigest);
    }
    if let Some(test) = claims.tests.iter().find(|test| !matches!(test.outcome.as_str(), "passed" | "skipped")) {
        return Err(AcceptanceError::Test(test.name.clone()));
    }
    match claims.tests.iter().any(|test| test.outcome == "passed") {
        true => Ok(()),
        false => Err(AcceptanceError::NoTest),
    }
}
