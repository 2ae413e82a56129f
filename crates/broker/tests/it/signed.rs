//! Signed contexts: right, wrong, by the successor, for another instance, for another customer.
//!
//! The platform of these tests signs with keys of its own over texts that are written out here, as Go's encoder writes them.

use crate::lives::registration;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::*;
use serde_json::value::RawValue;
use std::sync::LazyLock;

/// Generating one takes a part of a second.
static KEYS: LazyLock<[RsaKeyPair; 3]> =
    LazyLock::new(|| std::array::from_fn(|_| RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));

/// As `/v1/info` shows it: base64 of PEM.
fn shown(key: &RsaKeyPair) -> String {
    STANDARD.encode(pem(key))
}

fn pem(key: &RsaKeyPair) -> String {
    let der = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der>::as_der(key.public_key()).unwrap();
    let text = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn sign(key: &RsaKeyPair, message: &str) -> String {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    STANDARD.encode(signature)
}

/// A context as sent, from the text that is signed.
fn context(message: &str, signature: &str) -> Box<RawValue> {
    let (open, rest) = message.split_at(1);
    serde_json::from_str(&format!("{open}\"signature\":\"{signature}\",{rest}")).unwrap()
}

fn required() -> Registration {
    let signing = Signing {
        required: true,
        key: Some(PublicKey::parse(&shown(&KEYS[0])).unwrap()),
        successor: Some(PublicKey::parse(&pem(&KEYS[1])).unwrap()),
    };
    Registration { signing, subaccounts: Some(vec!["sub".to_owned()]), ..registration() }
}

const MESSAGE: &str = "{\"crm_customer_id\":\"\",\"env_type\":\"sapcp\",\"instance_name\":\"Müller \\u0026 Söhne \\u003cmain\\u003e \\u2028\",\"labels\":{\"a\":[\"1\",\"2\"],\"b\":{\"x\":1,\"y\":0.5}},\"platform\":\"service-manager\",\"service_instance_id\":\"inst\",\"subaccount_id\":\"sub\"}";

#[test]
fn right_successor_wrong_and_changed() {
    let ours = required();
    let read = |ours: &Registration, message: &str, signature: &str, instance: &str| {
        Context::read(ours, Some(&context(message, signature)), instance)
            .map_err(|refusal| (refusal.status, refusal.description))
    };
    for key in &KEYS[..2] {
        let read = read(&ours, MESSAGE, &sign(key, MESSAGE), "inst").unwrap();
        assert_eq!(
            read,
            Context { subaccount: Some("sub".into()), name: Some("Müller & Söhne <main> \u{2028}".into()) }
        );
    }
    let right = sign(&KEYS[0], MESSAGE);
    let refused = |ours: &Registration, message: &str, signature: &str, instance: &str, word: &str| {
        let (status, why) = read(ours, message, signature, instance).unwrap_err();
        assert!(status == 400 && why.contains(word), "{why}");
    };
    refused(&ours, MESSAGE, &sign(&KEYS[2], MESSAGE), "inst", "context.signature");
    refused(&ours, &MESSAGE.replace("sapcp", "other"), &right, "inst", "context.signature");
    refused(&ours, MESSAGE, "", "inst", "context.signature");
    refused(&ours, MESSAGE, "!", "inst", "context.signature");
    refused(&ours, MESSAGE, &right, "another", "service_instance_id");
    // Signed, and not ours.
    let foreign = MESSAGE.replace("\"sub\"", "\"foreign\"");
    refused(&ours, &foreign, &sign(&KEYS[0], &foreign), "inst", "subaccount_id");
    for lost in [",\"subaccount_id\":\"sub\"", ",\"service_instance_id\":\"inst\""] {
        let message = MESSAGE.replace(lost, "");
        refused(&ours, &message, &sign(&KEYS[0], &message), "inst", "context");
    }
    // Without a successor, the successor's is a stranger's.
    let mut one = ours.clone();
    one.signing.successor = None;
    refused(&one, MESSAGE, &sign(&KEYS[1], MESSAGE), "inst", "context.signature");
}

#[test]
fn however_the_text_came() {
    let ours = required();
    let signature = sign(&KEYS[0], MESSAGE);
    // Spaces, order and escapes are lost on the way through proxies that read and write JSON; the meaning is what is signed.
    let value: serde_json::Value = serde_json::from_str(context(MESSAGE, &signature).get()).unwrap();
    let pretty: Box<RawValue> = RawValue::from_string(serde_json::to_string_pretty(&value).unwrap()).unwrap();
    Context::read(&ours, Some(&pretty), "inst").unwrap();
}

#[test]
fn off_is_a_decision_and_no_excuse() {
    let read = |ours: &Registration, text: Option<&str>| {
        let raw: Option<Box<RawValue>> = text.map(|text| serde_json::from_str(text).unwrap());
        Context::read(ours, raw.as_deref(), "inst").map_err(|refusal| refusal.status)
    };
    let plain = "{\"subaccount_id\":\"sub\"}";
    for (text, required_status) in [(None, 400), (Some("null"), 400), (Some("{}"), 400), (Some(plain), 400)] {
        assert_eq!(read(&required(), text), Err(required_status), "{text:?}");
        read(&registration(), text).unwrap();
    }
    // Where a key is known, a signature that does not fit is refused although none is needed.
    let mut off = required();
    off.signing.required = false;
    read(&off, Some(plain)).unwrap();
    assert_eq!(
        read(&off, Some("{\"signature\":\"AAAA\",\"subaccount_id\":\"sub\",\"service_instance_id\":\"inst\"}")),
        Err(400)
    );
}

#[test]
fn keys_are_read_or_refused() {
    let good = shown(&KEYS[0]);
    for bad in [
        "",
        "x",
        "LS0tLS0=",
        &good[..good.len() - 8],
        &STANDARD.encode("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"),
        &"A".repeat(10_000),
    ] {
        assert!(PublicKey::parse(bad).is_err(), "{bad}");
    }
    let same = PublicKey::parse(&pem(&KEYS[0])).unwrap();
    assert_eq!(PublicKey::parse(&good).unwrap(), same);
    assert_eq!(PublicKey::parse(&pem(&KEYS[0]).replace('\n', "\r\n")).unwrap(), same);
    let mut ours = registration();
    ours.signing.required = true;
    assert_eq!(ours.check(), Err(RegistrationError::SignatureKey));
    required().check().unwrap();
}
