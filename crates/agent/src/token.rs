//! The one-time token with which a machine enrols: `hen.<secret>.<pin>`, both base64url without padding.
//!
//! The secret is 256 random bits; the site keeps its hash. The pin is the SHA-256 of the site's authority, so that the machine
//! knows whom it talks to before it has a certificate; whoever can change the token could have enrolled with it anyway.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// How long a token is good: long enough for an installer that waits for its turn over a weekend.
pub const TOKEN_LIFE_MS: i64 = 3 * 24 * 3_600 * 1_000;

/// A token, read.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: [u8; 32],
    /// SHA-256 of the authority's certificate, DER.
    pub pin: [u8; 32],
}

/// Why a text is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a token is hen.SECRET.PIN, 43 characters of base64url each; copy the whole line that the site printed")]
pub struct NoToken;

impl Token {
    pub fn new(secret: [u8; 32], pin: [u8; 32]) -> Token {
        Token { secret, pin }
    }

    pub fn parse(text: &str) -> Result<Token, NoToken> {
        let mut parts = text.trim().split('.');
        let (Some("hen"), Some(secret), Some(pin), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoToken);
        };
        let bytes = |text: &str| -> Option<[u8; 32]> { URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok() };
        Ok(Token { secret: bytes(secret).ok_or(NoToken)?, pin: bytes(pin).ok_or(NoToken)? })
    }

    /// What the operator carries to the machine.
    pub fn text(&self) -> String {
        format!("hen.{}.{}", URL_SAFE_NO_PAD.encode(self.secret), URL_SAFE_NO_PAD.encode(self.pin))
    }

    /// What the site stores: SHA-256 of the secret, hex. 256 random bits need no salt.
    pub fn hash(&self) -> String {
        hex(&sha256(&self.secret))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let token = Token::new([7; 32], [9; 32]);
        let text = token.text();
        assert_eq!(Token::parse(&format!("{text}\n")), Ok(token.clone()));
        assert_ne!(token.hash(), Token::new([8; 32], [9; 32]).hash());
        assert_eq!(format!("{token:?}"), "Token(..)");
        for bad in
            ["", "hen", "hen..", &text[1..], &text[..text.len() - 1], &format!("{text}.x"), &text.replace("hen", "hk")]
        {
            assert_eq!(Token::parse(bad), Err(NoToken), "{bad}");
        }
    }
}
