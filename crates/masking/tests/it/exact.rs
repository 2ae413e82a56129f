//! What is put back is what was taken, exactly: any text, any pieces.

use super::{constant, everything, fabricated};
use masking::{Entity, Masker, Method, Pattern, Rule};
use proptest::prelude::*;

/// Pieces that recognisers, tags and their edges are made of, between any characters.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => proptest::sample::select(vec![
            "Frau ", "Herr Dr. ", "Erika Mustermann", "Weber", "Anna", "MASKED_PERSON_1", "MASKED_PERSON_", "MASKED_", "_1", "_", "1", "12",
            "WHO_1", "WHO", "O_1", "IBAN ", "DE89370400440532013000", "Tel. 0171 2345678", "a@b.de", "https://x.de/", "Lindenweg 4, 34117 Kassel",
            "Müller GmbH", "geb. 12.03.1971", "M-AB 123", "Passwort: geheim1!", " ", "\n", "ß", "ü", "s", "es", ".", ",", "-", "4111 1111 1111 1111",
            "x1", "Alex", "Falkenstein", " GmbH", "Universität Kassel", "MASKED_EMAIL_2", "MASKED_IBAN_1", "e\u{301}", "🦀", "\u{200b}", "\u{a0}",
        ]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn rules(which: u8) -> Vec<Rule> {
    let digits = || Entity::Custom(Pattern::new("[0-9]{2}").unwrap());
    let letters = || Entity::Custom(Pattern::new("(?i)[eü]s").unwrap());
    match which {
        0 => everything(),
        1 => vec![constant(Entity::Person, "WHO"), constant(digits(), "O"), constant(letters(), "MASKED_PERSON")],
        2 => ["profile-person", "profile-email", "profile-iban", "profile-phone", "profile-address", "profile-org"]
            .iter()
            .map(|name| fabricated(name))
            .collect(),
        3 => vec![
            fabricated("profile-person"),
            Entity::Email.into(),
            constant(digits(), "x-1"),
            constant(letters(), "[E]"),
        ],
        _ => vec![
            constant(digits(), "A"),
            constant(letters(), "A_1_B"),
            constant(Entity::Phone, "1"),
            Entity::SensitiveData.into(),
        ],
    }
}

/// Cut at these characters.
fn pieces(text: &str, cuts: &[prop::sample::Index]) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(chars.len() + 1)).collect();
    at.extend([0, chars.len()]);
    at.sort_unstable();
    at.windows(2).map(|two| chars[two[0]..two[1]].iter().collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(768) })]

    #[test]
    fn any_texts_come_back_from_any_pieces(
        texts in proptest::collection::vec(text(), 1..4),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        which in 0..5_u8,
        seed in any::<u64>(),
    ) {
        let mut masker = Masker::new(Method::Pseudonymize, rules(which), &["Anna".to_owned()], seed).unwrap();
        let masked: Vec<String> = texts.iter().map(|text| masker.mask(text).unwrap()).collect();
        for (text, masked) in texts.iter().zip(&masked) {
            prop_assert_eq!(&masker.unmask(masked), text, "masked: {:?}", masked);
            let mut unmasker = masker.unmasker();
            let mut out = String::new();
            for piece in pieces(masked, &cuts) {
                out.push_str(&unmasker.push(&piece));
            }
            out.push_str(&unmasker.end());
            prop_assert_eq!(&out, text, "masked: {:?}", masked);
        }
        // Twice the same is the same.
        let again: Vec<String> = texts.iter().map(|text| masker.mask(text).unwrap()).collect();
        let mut masker = Masker::new(Method::Pseudonymize, rules(which), &["Anna".to_owned()], seed).unwrap();
        let first: Vec<String> = texts.iter().map(|text| masker.mask(text).unwrap()).collect();
        prop_assert_eq!(&first, &masked);
        for (text, again) in texts.iter().zip(&again) {
            prop_assert_eq!(&masker_back(&mut masker, &texts, again), text);
        }
    }

    #[test]
    fn any_answer_is_the_same_in_any_pieces(
        given in text(),
        answer in text(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        which in 0..5_u8,
    ) {
        let mut masker = Masker::new(Method::Pseudonymize, rules(which), &[], 5).unwrap();
        let answer = format!("{}{answer}", masker.mask(&given).unwrap());
        let mut unmasker = masker.unmasker();
        let mut out: String = pieces(&answer, &cuts).iter().map(|piece| unmasker.push(piece)).collect();
        out.push_str(&unmasker.end());
        prop_assert_eq!(out, masker.unmask(&answer));
    }
}

/// Masks the texts once more, as the first masker did, and puts back.
fn masker_back(masker: &mut Masker, texts: &[String], masked: &str) -> String {
    for text in texts {
        masker.mask(text).unwrap();
    }
    masker.unmask(masked)
}

#[test]
fn little_is_held_back() {
    let mut masker = Masker::new(Method::Pseudonymize, everything(), &[], 0).unwrap();
    masker.mask("Frau Erika Mustermann").unwrap();
    let mut unmasker = masker.unmasker();
    assert_eq!(unmasker.push("Liebe M"), "Liebe ");
    assert_eq!(unmasker.push("ASKED_PERSON"), "");
    assert_eq!(unmasker.push("_1"), "", "a digit may follow");
    assert_eq!(unmasker.push("s Katze"), "Erika Mustermanns Katze");
    assert_eq!(unmasker.push(" MASKED_PERSON_"), " ");
    assert_eq!(unmasker.push(&"1".repeat(1000)).len(), "MASKED_PERSON_".len() + 1000, "no number is that long");
    assert_eq!(unmasker.push("MASKED"), "");
    assert_eq!(unmasker.end(), "MASKED");
}
