//! Receipts as JWTs (JWS compact, RFC 7515), and the leaf that stands for one in the log.
//!
//! The signing input is fixed once, when the receipt is journalled; leaf and signature are functions of that text, so a
//! crash between journal and hand-out changes nothing: whoever signs later signs the same bytes.
//!
//! What a verifier takes from the token and what not stands in [`crate::jws`].

use crate::hash::{self, Hash};
use crate::jwks::Jwks;
use crate::jws::{self, JwsError};
use crate::key::{self, SigningKey};
use crate::stencil::Stencil;
use types::ReceiptClaims;

/// Separates a receipt's leaf from every other use of SHA-256.
const LEAF_TAG: &[u8] = b"hoheit/receipt-leaf/v1\0";

/// `typ` of the header: says what is signed, so that no other JWT of this key passes for a receipt.
pub const TYP: &str = "receipt+jwt";

/// A receipt has about 1.5 kB; 64 kB keep a verifier from swallowing a file that is none.
pub const JWT_BYTES_MAX: usize = 65_536;

/// `base64url(header).base64url(claims)`: what is journalled, hashed into the log and signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningInput(pub String);

impl SigningInput {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a receipt of a trusted key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    #[error("not a JWT: three parts of base64url joined by points, at most {JWT_BYTES_MAX} bytes")]
    Form,
    #[error("the header is not the one of a receipt (alg, kid, typ and nothing else): {0}")]
    Header(String),
    #[error("alg is \"{0}\"; a receipt is signed with Ed25519 (EdDSA)")]
    Algorithm(String),
    #[error("typ is \"{0}\"; a receipt says \"{TYP}\"")]
    Type(String),
    #[error("the claims are not those of a receipt: {0}")]
    Claims(String),
    #[error("key \"{0}\" is not in the key set")]
    UnknownKey(String),
    #[error("the signature does not fit: the text was changed or another key signed it")]
    Signature,
}

impl From<JwsError> for ReceiptError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::Form => ReceiptError::Form,
            JwsError::Header(why) => ReceiptError::Header(why),
            JwsError::Algorithm(found) => ReceiptError::Algorithm(found),
            JwsError::Type(found) => ReceiptError::Type(found),
            JwsError::UnknownKey(kid) => ReceiptError::UnknownKey(kid),
            JwsError::Signature => ReceiptError::Signature,
        }
    }
}

/// A receipt that was read and not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedReceipt {
    pub claims: ReceiptClaims,
    pub signing_input: String,
    pub signature: [u8; 64],
    pub kid: String,
}

/// A receipt whose signature fits a trusted key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReceipt {
    pub claims: ReceiptClaims,
    pub leaf: Hash,
}

/// The first part of every signing input of one key, with its point: made once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedHeader(String);

impl EncodedHeader {
    pub fn new(kid: &str) -> Result<EncodedHeader, ReceiptError> {
        Ok(EncodedHeader(jws::header(kid, TYP)?))
    }

    /// Fixes the text of a receipt. After this it is never serialised again.
    pub fn signing_input(&self, claims: &ReceiptClaims) -> Result<SigningInput, ReceiptError> {
        let mut json = Vec::with_capacity(CLAIMS_BYTES_USUAL);
        serde_json::to_writer(&mut json, claims).map_err(|e| ReceiptError::Claims(e.to_string()))?;
        Ok(self.encode(&json))
    }

    /// The same text, from a stencil that fits these claims.
    pub fn signing_input_from(&self, stencil: &Stencil, claims: &ReceiptClaims) -> SigningInput {
        let mut json = Vec::with_capacity(CLAIMS_BYTES_USUAL);
        stencil.write(claims, &mut json);
        self.encode(&json)
    }

    fn encode(&self, json: &[u8]) -> SigningInput {
        let mut text = String::with_capacity(self.0.len() + json.len().div_ceil(3) * 4);
        text.push_str(&self.0);
        hash::b64url_into(json, &mut text);
        SigningInput(text)
    }
}

/// The claims of an ordinary receipt have 1.3 kB of JSON; longer ones grow the buffer once.
const CLAIMS_BYTES_USUAL: usize = 2_048;

/// Fixes the text of a single receipt; who writes many keeps the [`EncodedHeader`].
pub fn signing_input(kid: &str, claims: &ReceiptClaims) -> Result<SigningInput, ReceiptError> {
    EncodedHeader::new(kid)?.signing_input(claims)
}

/// What the log holds for this receipt: 32 bytes that hide it, thanks to the random `opening` among its claims.
pub fn leaf(signing_input: &str) -> Hash {
    hash::sha256(&[LEAF_TAG, signing_input.as_bytes()])
}

/// The receipt as it is handed out. `key` must be the one that the signing input names (see [`kid_of`]).
pub fn jwt(signing_input: &str, key: &SigningKey) -> String {
    format!("{signing_input}.{}", hash::b64url(&key.sign(signing_input.as_bytes())))
}

/// Which key a signing input asks for: after a change of keys, older receipts are still signed by the older key.
pub fn kid_of(signing_input: &str) -> Result<String, ReceiptError> {
    let header = signing_input.split('.').next().and_then(hash::from_b64url).ok_or(ReceiptError::Form)?;
    Ok(jws::read_header(&header, TYP)?)
}

/// The claims of a signing input, as the store and the journal hold it.
pub fn claims_of(signing_input: &str) -> Result<ReceiptClaims, ReceiptError> {
    let claims = signing_input.split('.').nth(1).and_then(hash::from_b64url).ok_or(ReceiptError::Form)?;
    read_claims(&claims)
}

/// Reads a JWT without believing it.
pub fn parse(jwt: &str) -> Result<ParsedReceipt, ReceiptError> {
    let jws::Parsed { signing_input, kid, payload, signature } = jws::parse(jwt, TYP, JWT_BYTES_MAX)?;
    Ok(ParsedReceipt { claims: read_claims(&payload)?, signing_input: signing_input.to_owned(), signature, kid })
}

/// Reads a JWT and believes it if a key of the set signed it.
pub fn verify(jwt: &str, jwks: &Jwks) -> Result<VerifiedReceipt, ReceiptError> {
    let receipt = parse(jwt)?;
    let public = jwks.find(&receipt.kid).ok_or_else(|| ReceiptError::UnknownKey(receipt.kid.clone()))?;
    if !key::verify(public, receipt.signing_input.as_bytes(), &receipt.signature) {
        return Err(ReceiptError::Signature);
    }
    Ok(VerifiedReceipt { leaf: leaf(&receipt.signing_input), claims: receipt.claims })
}

fn read_claims(json: &[u8]) -> Result<ReceiptClaims, ReceiptError> {
    serde_json::from_slice(json).map_err(|e| ReceiptError::Claims(e.to_string()))
}
