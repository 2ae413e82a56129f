//! Receipts against a JOSE library that is not ours, and against every byte of theirs being changed.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ledger::SigningKey;
use ledger::hash::{Hash, b64url, from_b64url};
use ledger::jwks::{self, Jwks};
use ledger::receipt::{self, ReceiptError};
use proptest::prelude::*;
use types::ReceiptClaims;

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32]).unwrap()
}

fn trusted() -> Jwks {
    Jwks::of(&[SigningKey::from_seed(&[6; 32]).unwrap().public(), key().public()])
}

pub fn claims() -> ReceiptClaims {
    serde_json::from_value(serde_json::json!({
        "iss": "de-test", "jti": "rcp_00000000000000000000000001", "iat": 1_795_000_000,
        "sub": "ten_00000000000000000000000001", "project": "prj_00000000000000000000000001",
        "key": "key_00000000000000000000000001", "dialect": "openai", "operation": "chat.completions",
        "model": "nano", "data_class": "internal",
        "served_by": {
            "endpoint": "end_00000000000000000000000001", "provider": "Hoheit", "jurisdiction": "DE",
            "operator": "Hoheit", "site": "de-test", "country": "DE", "machine": "eng_00000000000000000000000001",
            "retention": "none", "attestation": "none"
        },
        "policy": {"digest": "sha256:00", "permit": true, "rules": ["internal-in-europe"]},
        "usage": {"input": 12, "cached": 0, "output": 34, "reasoning": 0}, "usage_source": "engine",
        "price_book": "sha256:00", "cost_micro_eur": 56, "outcome": "completed",
        "received_at": 1_795_000_000_123i64, "ended_at": 1_795_000_001_456i64,
        "request_commitment": Hash([1; 32]).b64url(), "answer_commitment": Hash([2; 32]).b64url(),
        "opening": Hash([3; 32]).b64url(), "inc": "inc_00000000000000000000000001", "seq": 1,
        "prev": Hash::ZERO.b64url()
    }))
    .unwrap()
}

fn input() -> String {
    receipt::signing_input(&key().kid(), &claims()).unwrap().0
}

/// A token of our key with this header and these claims.
fn forged(header: &str, claims: &str) -> String {
    receipt::jwt(&format!("{}.{}", b64url(header.as_bytes()), b64url(claims.as_bytes())), &key())
}

#[test]
fn the_form_is_fixed() {
    let input = input();
    let (header, body) = input.split_once('.').unwrap();
    let header = String::from_utf8(from_b64url(header).unwrap()).unwrap();
    assert_eq!(header, format!("{{\"alg\":\"EdDSA\",\"kid\":\"{}\",\"typ\":\"receipt+jwt\"}}", key().kid()));
    assert_eq!(from_b64url(body).unwrap(), serde_json::to_vec(&claims()).unwrap());
    assert_eq!(receipt::kid_of(&input), Ok(key().kid()));
    assert_eq!(receipt::claims_of(&input), Ok(claims()));
    // The leaf is this formula and no other; a change of it would orphan every log that exists.
    let expect = ledger::hash::sha256(&[b"hoheit/receipt-leaf/v1\0", input.as_bytes()]);
    assert_eq!(receipt::leaf(&input), expect);
}

#[test]
fn the_jose_library_verifies_ours() {
    let jwt = receipt::jwt(&input(), &key());
    let set: JwkSet = serde_json::from_str(&jwks::render(&[key().public()])).unwrap();
    let header = jsonwebtoken::decode_header(&jwt).unwrap();
    let jwk = set.find(header.kid.as_deref().unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let token = jsonwebtoken::decode::<ReceiptClaims>(&jwt, &DecodingKey::from_jwk(jwk).unwrap(), &validation).unwrap();
    assert_eq!(token.claims, claims());
    assert_eq!(header.typ.as_deref(), Some("receipt+jwt"));
}

#[test]
fn we_verify_the_jose_librarys() {
    let pkcs8 = {
        let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        der.extend([7u8; 32]);
        der
    };
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some("receipt+jwt".into());
    header.kid = Some(key().kid());
    let jwt = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_ed_der(&pkcs8)).unwrap();
    assert_eq!(receipt::verify(&jwt, &trusted()).unwrap().claims, claims());
}

#[test]
fn what_is_refused() {
    let kid = key().kid();
    let body = serde_json::to_string(&claims()).unwrap();
    let head = |alg: &str, typ: &str| format!("{{\"alg\":\"{alg}\",\"kid\":\"{kid}\",\"typ\":\"{typ}\"}}");
    let good = head("EdDSA", "receipt+jwt");
    assert!(receipt::verify(&forged(&good, &body), &trusted()).is_ok());
    assert!(receipt::verify(&forged(&head("Ed25519", "receipt+jwt"), &body), &trusted()).is_ok(), "RFC 9864's name");
    // All of these are signed by the right key: it is the form that is refused.
    let check = |jwt: String, expect: fn(&ReceiptError) -> bool| {
        let error = receipt::verify(&jwt, &trusted()).unwrap_err();
        assert!(expect(&error), "{error}");
    };
    for alg in ["none", "HS256", "ES256", "eddsa", ""] {
        check(forged(&head(alg, "receipt+jwt"), &body), |e| matches!(e, ReceiptError::Algorithm(_)));
    }
    for typ in ["JWT", "at+jwt", "Receipt+JWT", ""] {
        check(forged(&head("EdDSA", typ), &body), |e| matches!(e, ReceiptError::Type(_)));
    }
    for more in ["\"crit\":[\"x\"],", "\"jwk\":{\"kty\":\"OKP\"},", "\"alg\":\"EdDSA\",", "\"b64\":false,"] {
        check(forged(&good.replacen('{', &format!("{{{more}"), 1), &body), |e| matches!(e, ReceiptError::Header(_)));
    }
    check(forged("{\"alg\":\"EdDSA\",\"typ\":\"receipt+jwt\"}", &body), |e| matches!(e, ReceiptError::Header(_)));
    check(forged(&good, "{}"), |e| matches!(e, ReceiptError::Claims(_)));
    check(forged(&good, &body.replacen("\"seq\":1", "\"seq\":1,\"seq\":2", 1)), |e| {
        matches!(e, ReceiptError::Claims(_))
    });
    check(forged(&good, &body.replacen("\"completed\"", "\"sold\"", 1)), |e| matches!(e, ReceiptError::Claims(_)));
    let jwt = receipt::jwt(&input(), &key());
    let stranger = SigningKey::from_seed(&[8; 32]).unwrap();
    check(receipt::jwt(&input(), &stranger), |e| *e == ReceiptError::Signature);
    let theirs = receipt::signing_input(&stranger.kid(), &claims()).unwrap().0;
    check(receipt::jwt(&theirs, &stranger), |e| matches!(e, ReceiptError::UnknownKey(_)));
    check(jwt[..jwt.len() - 6].to_owned(), |e| matches!(e, ReceiptError::Signature | ReceiptError::Form));
    for form in [format!("{jwt}="), format!("{jwt}."), format!(" {jwt}"), format!("{jwt}\n"), input(), String::new()] {
        check(form, |e| matches!(e, ReceiptError::Form | ReceiptError::Signature | ReceiptError::Claims(_)));
    }
    check("a".repeat(receipt::JWT_BYTES_MAX + 1), |e| *e == ReceiptError::Form);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever single byte is changed, to whatever: the token does not verify. There is no second spelling either.
    #[test]
    fn no_changed_byte_verifies(place: prop::sample::Index, byte in 0x20u8..0x7f) {
        let jwt = receipt::jwt(&input(), &key());
        let mut bytes = jwt.clone().into_bytes();
        let place = place.index(bytes.len());
        prop_assume!(bytes[place] != byte);
        bytes[place] = byte;
        prop_assert!(receipt::verify(&String::from_utf8(bytes).unwrap(), &trusted()).is_err());
    }

    /// Any text is read or refused, never a panic.
    #[test]
    fn any_text_is_safe(text in "\\PC{0,80}", tail in "[A-Za-z0-9_.-]{0,200}") {
        let _ = receipt::parse(&text);
        let _ = receipt::parse(&tail);
        let _ = jwks::Jwks::parse(&text);
        let _ = ledger::note::Note::parse(&text);
        let _ = text.parse::<ledger::note::Vkey>();
        let _ = ledger::proof::TlogProof::parse(&format!("c2sp.org/tlog-proof@v1\n{text}\n\n{tail}"));
        let _ = ledger::witness::Request::parse(&format!("old 0\n{text}\n\n{tail}"));
        let _ = ledger::tile::Tile::parse(&format!("tile/{tail}"));
    }
}

/// What differs between the receipts of one key at one replica, and what must not break their text.
fn requests() -> impl Strategy<Value = ReceiptClaims> {
    let ids = (any::<u128>(), any::<u128>(), proptest::option::of(any::<u128>()));
    let numbers = (any::<[u64; 4]>(), any::<i64>(), any::<u64>(), any::<[i64; 3]>());
    let words = (0usize..6, proptest::option::of(0..types::Code::ALL.len()), any::<bool>(), any::<[u8; 32]>());
    (ids, numbers, words).prop_map(
        |((jti, inc, intent), (usage, cost, seq, times), (outcome, code, answered, bytes))| {
            let [input, cached, output, reasoning] = usage;
            ReceiptClaims {
                jti: types::ReceiptId(jti),
                inc: types::IncarnationId(inc),
                intent_inc: intent.map(types::IncarnationId),
                usage: types::Usage { input, cached, output, reasoning },
                cost_micro_eur: types::MicroEur(cost),
                seq,
                iat: times[0],
                received_at: types::UnixMillis(times[1]),
                ended_at: types::UnixMillis(times[2]),
                outcome: types::Outcome::ALL[outcome],
                code: code.map(|at| types::Code::ALL[at]),
                opening: Hash(bytes).b64url(),
                answer_commitment: answered.then(|| Hash(bytes).b64url()),
                request_commitment: if answered { Hash(bytes).b64url() } else { String::new() },
                passages: (0..outcome).map(|n| format!("sha256:{n:064x}")).collect(),
                egress: answered.then(|| {
                    std::sync::Arc::new(types::receipt::Egress {
                        provider: "suche \"im Web\"".to_owned(),
                        jurisdiction: "FR".parse().unwrap(),
                        query_commitment: Hash(bytes).b64url(),
                    })
                }),
                ..claims()
            }
        },
    )
}

proptest! {
    #[test]
    fn a_stencil_writes_what_serde_writes(claims in requests(), site in ".{0,20}", model in ".{0,20}", served: bool) {
        let mut claims = ReceiptClaims { iss: site.into(), model: model.clone().into(), price_book: model.into(), ..claims };
        if !served {
            claims.served_by = None;
        }
        let stencil = ledger::stencil::Stencil::of(&ReceiptClaims { jti: types::ReceiptId(0), seq: 7, ..claims.clone() }).unwrap();
        let mut text = Vec::new();
        stencil.write(&claims, &mut text);
        prop_assert_eq!(String::from_utf8(text).unwrap(), serde_json::to_string(&claims).unwrap());
        let header = receipt::EncodedHeader::new("kid").unwrap();
        prop_assert_eq!(header.signing_input_from(&stencil, &claims), header.signing_input(&claims).unwrap());
    }
}
