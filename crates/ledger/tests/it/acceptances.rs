//! Certificates of acceptance: their form, that they are no receipts, and that any change of one shows.

use crate::receipts;
use ledger::SigningKey;
use ledger::acceptance::{self, AcceptanceError};
use ledger::hash::{Hash, from_b64url};
use ledger::jwks::Jwks;
use ledger::receipt;
use types::AcceptanceClaims;

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32]).unwrap()
}

fn trusted() -> Jwks {
    Jwks::of(&[key().public()])
}

fn claims() -> AcceptanceClaims {
    let firmware = [("BMC", "24.01"), ("GPU_SXM_1", "96.00")].map(|(c, v)| (c.to_owned(), v.to_owned()));
    serde_json::from_value(serde_json::json!({
        "iss": "de-test", "jti": "acc_00000000000000000000000001", "iat": 1_795_000_000,
        "machine": "mach_00000000000000000000000001", "kind": "dgx-b200", "slot": "h1/r01/k01/u01",
        "occasion": "installation", "serials": {"chassis": "S1", "gpu1": "G1"},
        "firmware": {"BMC": "24.01", "GPU_SXM_1": "96.00"},
        "firmware_digest": acceptance::firmware_digest(&firmware.into()),
        "suite": "dgx-b200", "validated_at": 1_795_000_000_000i64,
        "tests": [
            {"name": "memory", "outcome": "passed", "threshold": ">= 100 GB/s", "value": "212 GB/s"},
            {"name": "dcgm-3", "outcome": "skipped", "threshold": "", "value": "no dcgmi"}
        ],
        "custody": {"serial": "S1", "by": "person:tok_00000000000000000000000001", "at": 1_794_000_000_000i64},
        "work": [{"task": "lift", "subject": "u01", "state": "done", "by": "robot:acme/7",
            "confirmed_by": ["tok_a", "tok_b"], "at": 1_794_000_100_000i64,
            "evidence": [{"kind": "photo", "value": "lift.jpg", "sha256": "00"}]}],
        "opening": Hash([3; 32]).b64url()
    }))
    .unwrap()
}

fn made(change: impl FnOnce(&mut AcceptanceClaims)) -> Result<String, AcceptanceError> {
    let mut claims = claims();
    change(&mut claims);
    acceptance::signing_input(&key().kid(), &claims)
}

#[test]
fn the_form_is_fixed() {
    let input = made(|_| {}).unwrap();
    let (header, body) = input.split_once('.').unwrap();
    let header = String::from_utf8(from_b64url(header).unwrap()).unwrap();
    assert_eq!(header, format!("{{\"alg\":\"EdDSA\",\"kid\":\"{}\",\"typ\":\"acceptance+jwt\"}}", key().kid()));
    assert_eq!(from_b64url(body).unwrap(), serde_json::to_vec(&claims()).unwrap());
    assert_eq!(acceptance::claims_of(&input), Ok(claims()));
    assert_eq!(acceptance::kid_of(&input), Ok(key().kid()));
    let expect = ledger::hash::sha256(&[b"hoheit/acceptance-leaf/v1\0", input.as_bytes()]);
    assert_eq!(acceptance::leaf(&input), expect);
    let verified = acceptance::verify(&acceptance::jwt(&input, &key()), &trusted()).unwrap();
    assert_eq!((verified.claims, verified.leaf), (claims(), expect));
}

/// One key signs both; neither may be shown as the other, as a token or as a leaf.
#[test]
fn a_certificate_is_no_receipt_and_a_receipt_no_certificate() {
    let input = made(|_| {}).unwrap();
    let jwt = acceptance::jwt(&input, &key());
    assert!(
        matches!(receipt::verify(&jwt, &trusted()), Err(receipt::ReceiptError::Type(typ)) if typ == acceptance::TYP)
    );
    assert_ne!(receipt::leaf(&input), acceptance::leaf(&input));
    let other = receipt::signing_input(&key().kid(), &receipts::claims()).unwrap().0;
    let other = receipt::jwt(&other, &key());
    assert_eq!(acceptance::verify(&other, &trusted()), Err(AcceptanceError::Type("receipt+jwt".to_owned())));
}

#[test]
fn any_changed_byte_shows() {
    let jwt = acceptance::jwt(&made(|_| {}).unwrap(), &key());
    for place in 0..jwt.len() {
        let mut bytes = jwt.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(acceptance::verify(&changed, &trusted()).is_err(), "byte {place}");
    }
    let stranger = SigningKey::from_seed(&[8; 32]).unwrap();
    assert!(matches!(acceptance::verify(&jwt, &Jwks::of(&[stranger.public()])), Err(AcceptanceError::UnknownKey(_))));
}

/// What contradicts itself is neither made nor believed, even with our signature under it.
#[test]
fn what_contradicts_itself_is_no_certificate() {
    let check = |change: fn(&mut AcceptanceClaims), expect: AcceptanceError| {
        assert_eq!(made(change), Err(expect.clone()));
        let mut claims = claims();
        change(&mut claims);
        let header = ledger::hash::b64url(
            format!("{{\"alg\":\"EdDSA\",\"kid\":\"{}\",\"typ\":\"acceptance+jwt\"}}", key().kid()).as_bytes(),
        );
        let forged = format!("{header}.{}", ledger::hash::b64url(&serde_json::to_vec(&claims).unwrap()));
        assert_eq!(acceptance::verify(&acceptance::jwt(&forged, &key()), &trusted()), Err(expect));
    };
    check(|claims| claims.firmware.clear(), AcceptanceError::FirmwareDigest);
    check(|claims| claims.tests[0].outcome = "failed".to_owned(), AcceptanceError::Test("memory".to_owned()));
    check(|claims| claims.tests.clear(), AcceptanceError::NoTest);
    check(|claims| drop(claims.tests.remove(0)), AcceptanceError::NoTest);
}

#[test]
fn a_certificate_has_a_largest_size() {
    let with = |bytes: usize| made(|claims| claims.work[0].note = Some("x".repeat(bytes)));
    let fits = (0..200_000).rev().step_by(1_000).find(|bytes| with(*bytes).is_ok()).unwrap();
    assert!(fits > 150_000, "{fits}");
    let largest = (fits..fits + 1_000).rev().find(|bytes| with(*bytes).is_ok()).unwrap();
    let jwt = acceptance::jwt(&with(largest).unwrap(), &key());
    assert!(jwt.len() <= acceptance::JWT_BYTES_MAX && jwt.len() > acceptance::JWT_BYTES_MAX - 4, "{}", jwt.len());
    assert!(acceptance::verify(&jwt, &trusted()).is_ok());
    assert_eq!(with(largest + 1), Err(AcceptanceError::Form));
    assert_eq!(acceptance::verify(&(jwt + "AAAA"), &trusted()), Err(AcceptanceError::Form));
}
