//! `/oauth/token`: an API key for an access token, and what an access token is worth.
//!
//! A token is a JWT (HS256) that names the key, and nothing else is taken from it: at each use the key is looked up in the snapshot,
//! so that revoking it ends its tokens at once, however long they say they hold. They say twelve hours because a client of SAP's
//! asks for a new one as soon as less than an hour is left.
//!
//! Its signing key is derived from the site's secret: all gateways of a site take each other's tokens, and no other site's.

use super::form;
use super::refused::{Refused, json};
use crate::Partners;
use aws_lc_rs::hmac;
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use gateway::Principal;
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use serde_json::{Value, json};
use types::{Code, KeyId};

/// As SAP's: twelve hours but a second.
const EXPIRES_IN: i64 = 43_199;

/// A form of some hundred bytes.
const FORM_BYTES_MAX: usize = 16 << 10;

/// `{"alg":"HS256","typ":"JWT"}`: the only header that is taken, byte for byte, so there is no algorithm to choose.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

#[derive(Deserialize)]
struct Claims {
    client_id: String,
    exp: i64,
}

fn signing_key(partners: &Partners) -> hmac::Key {
    let root = hmac::Key::new(hmac::HMAC_SHA256, &partners.parts().token_key);
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, b"hoheit aicore access token 1").as_ref())
}

/// The principal of `Authorization: Bearer <token>`.
pub(super) fn bearer(partners: &Partners, headers: &HeaderMap) -> Result<Principal, Refused> {
    const FORM: &str = "send Authorization: Bearer with an access token of POST /oauth/token";
    let shown = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| Refused::of(Code::KeyMissing, FORM))?;
    let now = (partners.parts().clock)().seconds();
    match read(&signing_key(partners), shown, now) {
        Ok(key) => Ok(partners.parts().inner.principal(key)?),
        Err(Unread::Expired) => Err(Refused::of(Code::KeyExpired, "this access token has expired: ask for a new one")),
        Err(Unread::Invalid) => Err(Refused::of(Code::KeyInvalid, format!("this access token is not valid: {FORM}"))),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Unread {
    Invalid,
    Expired,
}

fn read(key: &hmac::Key, token: &str, now: i64) -> Result<KeyId, Unread> {
    let (signed, signature) = token.rsplit_once('.').ok_or(Unread::Invalid)?;
    let (header, payload) = signed.split_once('.').ok_or(Unread::Invalid)?;
    let signature = BASE64.decode(signature).map_err(|_| Unread::Invalid)?;
    if header != HEADER || hmac::verify(key, signed.as_bytes(), &signature).is_err() {
        return Err(Unread::Invalid);
    }
    let payload = BASE64.decode(payload).map_err(|_| Unread::Invalid)?;
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| Unread::Invalid)?;
    match claims.exp > now {
        true => claims.client_id.parse().map_err(|_| Unread::Invalid),
        false => Err(Unread::Expired),
    }
}

fn write(key: &hmac::Key, claims: &Value) -> String {
    let signed = format!("{HEADER}.{}", BASE64.encode(claims.to_string()));
    let signature = BASE64.encode(hmac::sign(key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// OAuth's own shape of errors (RFC 6749, section 5.2): neither of AI Core's.
fn oauth(status: u16, error: &str, description: impl Into<String>) -> Response {
    json(status, json!({"error": error, "error_description": description.into()}).to_string())
}

/// A refusal of the gateway's: the form is not taken, or nothing is now.
fn unread(refusal: gateway::Refusal) -> Response {
    let error = if refusal.status() < 500 { "invalid_request" } else { "temporarily_unavailable" };
    let mut response = oauth(refusal.status(), error, refusal.message);
    if let Some(seconds) = refusal.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

pub(super) async fn issue(State(partners): State<Partners>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = match partners.parts().inner.read(&head.headers, body, FORM_BYTES_MAX).await {
        Ok(body) => body,
        Err(refusal) => return unread(refusal),
    };
    let form = form::pairs(&String::from_utf8_lossy(&body.bytes));
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    match field("grant_type") {
        Some("client_credentials") => {}
        Some(_) => return oauth(400, "unsupported_grant_type", "grant_type must be client_credentials"),
        None => return oauth(400, "invalid_request", "grant_type is missing"),
    }
    let (Some(id), Some(secret)) = (field("client_id"), field("client_secret")) else {
        let message = "client_id and client_secret are missing: they go into the form, not into Authorization";
        return oauth(400, "invalid_request", message);
    };
    let principal = match holder(&partners, id, secret) {
        Ok(principal) => principal,
        Err(refusal) if refusal.code.status() == 401 => {
            let message = "unknown client_id, or client_secret is not its key, or the key was revoked or has expired";
            return oauth(401, "invalid_client", message);
        }
        Err(refusal) => return unread(refusal),
    };
    let mut response = json(200, token(&partners, &principal).to_string());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whose key this is, if it is the key that `id` names.
fn holder(partners: &Partners, id: &str, secret: &str) -> Result<Principal, gateway::Refusal> {
    let unknown = || gateway::Refusal::new(Code::KeyInvalid, "not valid");
    let value = HeaderValue::try_from(format!("Bearer {secret}")).map_err(|_| unknown())?;
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    let principal = partners.parts().inner.identify(&headers)?;
    let named = id.parse().or_else(|_| KeyId::from_digits(id)).ok();
    if named == Some(principal.key_id()) { Ok(principal) } else { Err(unknown()) }
}

/// The answer of the endpoint. Claims that SAP's code looks at, and no more: zone and client.
fn token(partners: &Partners, principal: &Principal) -> Value {
    let now = (partners.parts().clock)().seconds();
    let mut random = [0; 16];
    (partners.parts().random)(&mut random);
    let jti = BASE64.encode(random);
    let (client, zone) = (principal.key_id().to_string(), principal.tenant().to_string());
    let site = &partners.parts().site;
    let scope = [format!("{site}.inference"), format!("{site}.lm")];
    let claims = json!({
        "jti": jti,
        "iss": format!("{}/oauth/token", partners.parts().public_url),
        "sub": client,
        "cid": client,
        "azp": client,
        "client_id": client,
        "aud": [client],
        "zid": zone,
        "grant_type": "client_credentials",
        "scope": scope,
        "authorities": scope,
        "ext_attr": {"enhancer": "hoheit", "zdn": zone, "project": principal.project()},
        "iat": now,
        "exp": now + EXPIRES_IN,
    });
    json!({
        "access_token": write(&signing_key(partners), &claims),
        "token_type": "bearer",
        "expires_in": EXPIRES_IN,
        "scope": scope.join(" "),
        "jti": jti,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_with_this_key_and_still_holds() {
        let key = |byte| hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32]);
        let id = KeyId(5);
        let token = write(&key(1), &json!({"client_id": id, "exp": 100}));
        assert_eq!(read(&key(1), &token, 99), Ok(id));
        assert_eq!(read(&key(1), &token, 100), Err(Unread::Expired));
        assert_eq!(read(&key(2), &token, 99), Err(Unread::Invalid), "another site's");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (_, payload) = signed.split_once('.').unwrap();
        // No algorithm but ours, also not one that a client signs with what it knows.
        let none = format!("{}.{payload}.", BASE64.encode(r#"{"alg":"none","typ":"JWT"}"#));
        let other = BASE64.encode(json!({"client_id": KeyId(6), "exp": 100}).to_string());
        for bad in
            ["", ".", "..", "a.b.c", &none, &format!("{HEADER}.{other}.{signature}"), signed, &format!("{token}A")]
        {
            assert_eq!(read(&key(1), bad, 99), Err(Unread::Invalid), "{bad}");
        }
        assert_eq!(BASE64.decode(HEADER).unwrap(), br#"{"alg":"HS256","typ":"JWT"}"#);
    }
}
