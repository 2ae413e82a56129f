//! What stands in the place of a value, and that a tag means its value and nothing else.

use super::{constant, everything, fabricated, masker};
use masking::{ALLOWED_MAX, Entity, MaskError, Masker, Method, Pattern, RULES_MAX, Replacement, Rule, SetupError};

const LETTER: &str = "Sehr geehrte Frau Erika Mustermann,\nIhre Erika Mustermann schreibt an erika@example.org.";

#[test]
fn anonymized_for_good() {
    let mut masker = masker(Method::Anonymize, &["profile-person", "profile-email"]);
    let masked = masker.mask(LETTER).unwrap();
    assert_eq!(masked, "Sehr geehrte Frau MASKED_PERSON,\nIhre MASKED_PERSON schreibt an MASKED_EMAIL.");
    assert_eq!(masker.unmask(&masked), masked);
    // Invented for good.
    let mut masker = Masker::new(Method::Anonymize, vec![fabricated("profile-email")], &[], 1).unwrap();
    let masked = masker.mask(LETTER).unwrap();
    assert!(masked.contains("@example.org") && !masked.contains("erika@"), "{masked}");
    assert_eq!(masker.unmask(&masked), masked);
}

#[test]
fn one_value_is_one_tag_in_all_texts_of_a_request() {
    let mut masker = masker(Method::Pseudonymize, &["profile-person", "profile-email"]);
    assert_eq!(masker.mask("Du hilfst Frau Erika Mustermann.").unwrap(), "Du hilfst Frau MASKED_PERSON_1.");
    assert_eq!(
        masker.mask(LETTER).unwrap(),
        "Sehr geehrte Frau MASKED_PERSON_1,\nIhre MASKED_PERSON_1 schreibt an MASKED_EMAIL_1."
    );
    assert_eq!(masker.mask("Herr Peter Krause").unwrap(), "Herr MASKED_PERSON_2");
    // An answer is not a text that was masked: tags stand where the model puts them.
    let answer = "**MASKED_PERSON_1**, MASKED_PERSON_2s Brief an _MASKED_EMAIL_1_; MASKED_PERSON_3, MASKED_PERSON_12, MASKED_PERSON_01.";
    assert_eq!(
        masker.unmask(answer),
        "**Erika Mustermann**, Peter Krauses Brief an _erika@example.org_; MASKED_PERSON_3, MASKED_PERSON_12, MASKED_PERSON_01."
    );
}

#[test]
fn a_tag_that_somebody_wrote_brings_nobodys_data() {
    for attack in ["MASKED_PERSON_1", "xMASKED_PERSON_1", "MASKED_PERSON_1_", "MASKED_PERSON_MASKED_PERSON_1"] {
        for before in [true, false] {
            let mut masker = masker(Method::Pseudonymize, &["profile-person"]);
            let mut masked = String::new();
            if before {
                masked = masker.mask(attack).unwrap();
            }
            assert!(masker.mask("Frau Erika Mustermann").unwrap().starts_with("Frau MASKED_PERSON_"));
            if !before {
                masked = masker.mask(attack).unwrap();
            }
            // A model that repeats what it was given gives the user what the user wrote.
            let back = masker.unmask(&format!("You said {masked}."));
            assert_eq!(back, format!("You said {attack}."));
        }
    }
}

#[test]
fn an_invented_value_that_somebody_wrote_brings_nobodys_data() {
    let rules = vec![fabricated("profile-person")];
    let mut masker = Masker::new(Method::Pseudonymize, rules, &[], 3).unwrap();
    let masked = masker.mask("Frau Erika Mustermann").unwrap();
    let invented = masked.strip_prefix("Frau ").unwrap().to_owned();
    // Had it stood in a text before, another one would have been invented.
    let mut other = Masker::new(Method::Pseudonymize, vec![fabricated("profile-person")], &[], 3).unwrap();
    let word = invented.split(' ').next_back().unwrap();
    let before = other.mask(&format!("{word}, {invented}.")).unwrap();
    let after = other.mask("Frau Erika Mustermann").unwrap();
    assert!(!after.contains(word), "{after}");
    assert_eq!(other.unmask(&before), format!("{word}, {invented}."));
    let echo = masker.mask(&format!("Wer ist {invented}?")).unwrap();
    assert!(!echo.contains(&invented), "{echo}");
    assert_eq!(masker.unmask(&echo), format!("Wer ist {invented}?"));
    assert_eq!(masker.unmask(&masked), "Frau Erika Mustermann");
}

#[test]
fn invented_values_are_the_same_for_a_seed_and_come_back() {
    let names = [
        "profile-person",
        "profile-org",
        "profile-university",
        "profile-location",
        "profile-address",
        "profile-phone",
        "profile-email",
        "profile-url",
        "profile-iban",
        "profile-credit-card-number",
    ];
    let text = "Herr Peter Krause von der Krause Technik GmbH, Universität Kassel, wohnt in Kassel, Lindenweg 4, 34117 Kassel, \
        Tel. 0561 123456, peter@krause.example, https://krause.example/p, DE89 3704 0044 0532 0130 00, 4111 1111 1111 1111; \
        Herr Peter Krause.";
    let mask = |seed| {
        let rules = names.iter().map(|name| fabricated(name)).collect();
        let mut masker = Masker::new(Method::Pseudonymize, rules, &[], seed).unwrap();
        let masked = masker.mask(text).unwrap();
        assert_eq!(masker.unmask(&masked), text);
        masked
    };
    let masked = mask(1);
    assert_eq!(masked, mask(1));
    assert_ne!(masked, mask(2));
    for gone in ["Krause", "Kassel", "123456", "krause", "DE89", "4111"] {
        assert!(!masked.contains(gone), "{gone} in {masked}");
    }
    // The same person twice.
    let person = masked.split(" von der ").next().unwrap();
    assert_eq!(masked.matches(person).count(), 2, "{masked}");
}

#[test]
fn a_genitive_is_put_back() {
    let mut masker = Masker::new(Method::Pseudonymize, vec![fabricated("profile-person")], &[], 3).unwrap();
    let invented = masker.mask("Erika Mustermann").unwrap();
    assert_eq!(masker.unmask(&format!("{invented}s Brief")), "Erika Mustermanns Brief");
    // A word that only contains it is another word.
    assert_eq!(masker.unmask(&format!("{invented}sch")), format!("{invented}sch"));
    assert_eq!(masker.unmask(&format!("un{invented}")), format!("un{invented}"));
}

#[test]
fn patterns_and_constants_of_the_client() {
    let badge = || Entity::Custom(Pattern::new(r"\bEMP-\d{4}\b").unwrap());
    let mut masker = Masker::new(Method::Pseudonymize, vec![constant(badge(), "BADGE")], &[], 0).unwrap();
    assert_eq!(masker.mask("EMP-1234, EMP-9999, EMP-1234").unwrap(), "BADGE_1, BADGE_2, BADGE_1");
    assert_eq!(masker.unmask("BADGE_2 und BADGE_1"), "EMP-9999 und EMP-1234");
    let mut masker = Masker::new(Method::Anonymize, vec![constant(badge(), "[a badge]")], &[], 0).unwrap();
    assert_eq!(masker.mask("EMP-1234").unwrap(), "[a badge]");
    let mut masker = Masker::new(Method::Pseudonymize, vec![constant(Entity::Person, "WHO")], &[], 0).unwrap();
    assert_eq!(masker.mask("Frau Weber").unwrap(), "Frau WHO_1");
    // A match in the middle of a number takes the number with it: "12" of "x12345" would leave WHO_1345.
    let two = Entity::Custom(Pattern::new("12").unwrap());
    let mut masker = Masker::new(Method::Pseudonymize, vec![constant(two, "TWO")], &[], 0).unwrap();
    assert_eq!(masker.mask("x12345 ü").unwrap(), "TWO_1 ü");
}

#[test]
fn the_allowlist_holds_by_value_and_by_place() {
    let rules = || vec![Entity::Org.into(), Entity::Person.into(), Entity::Location.into()];
    let allowed = ["SAP".to_owned(), "Max-Planck-Straße".to_owned(), "paris".to_owned()];
    let mut masker = Masker::new(Method::Anonymize, rules(), &allowed, 0).unwrap();
    assert_eq!(
        masker.mask("SAP und Siemens, in Paris und in Kassel").unwrap(),
        "SAP und MASKED_ORG, in Paris und in MASKED_LOCATION"
    );
    // What is longer than the term is masked all the same.
    assert_eq!(masker.mask("SAP SE").unwrap(), "MASKED_ORG");
}

#[test]
fn narrower_entities_have_their_kinds() {
    let both = |names: &[&str], text: &str| masker(Method::Anonymize, names).mask(text).unwrap();
    let number = "SV-Nummer 15 070649 C 103";
    assert_eq!(both(&["profile-nationalid"], number), "SV-Nummer MASKED_NATIONALID");
    assert_eq!(both(&["profile-ssn"], number), "SV-Nummer MASKED_SSN");
    assert_eq!(both(&["profile-nationalid", "profile-ssn"], number), "SV-Nummer MASKED_SSN");
    assert_eq!(
        both(&["profile-ssn", "hoheit-pension-insurance-number"], number),
        "SV-Nummer MASKED_PENSION_INSURANCE_NUMBER"
    );
    assert_eq!(both(&["profile-phone"], "IBAN DE89 3704 0044 0532 0130 00"), "IBAN DE89 3704 0044 0532 0130 00");
}

#[test]
fn what_is_asked_wrongly_is_named() {
    assert_eq!(
        Entity::named("profile-pronouns-gender").unwrap_err(),
        SetupError::NotRecognised { entity: "profile-pronouns-gender" }
    );
    assert!(matches!(Entity::named("profile-shoe-size").unwrap_err(), SetupError::Unknown { .. }));
    for pattern in ["(", "", "(?=x)", &"(".repeat(40), &"x".repeat(1025), r"\w{1000}", "(a{100}){100}"] {
        assert!(matches!(Pattern::new(pattern).unwrap_err(), SetupError::Pattern { .. }), "{pattern}");
    }
    let new = |rule: Rule, method| Masker::new(method, vec![rule], &[], 0).map(|_| ()).unwrap_err();
    assert!(matches!(new(fabricated("profile-ssn"), Method::Pseudonymize), SetupError::NotFabricated { .. }));
    let custom = Rule { entity: Entity::Custom(Pattern::new("a").unwrap()), replacement: Replacement::Fabricated };
    assert!(matches!(new(custom, Method::Pseudonymize), SetupError::NotFabricated { .. }));
    for value in ["", "two words", "line\n", &"x".repeat(129)] {
        let rule = constant(Entity::Person, value);
        assert!(matches!(new(rule, Method::Pseudonymize), SetupError::Constant { .. }), "{value:?}");
    }
    let most = |count: usize| Masker::new(Method::Anonymize, vec![Entity::Iban.into(); count], &[], 0).is_ok();
    assert!(most(RULES_MAX) && !most(RULES_MAX + 1));
    let terms = |count: usize| Masker::new(Method::Anonymize, everything(), &vec!["x".to_owned(); count], 0).is_ok();
    assert!(terms(ALLOWED_MAX) && !terms(ALLOWED_MAX + 1));
}

#[test]
fn a_pattern_that_matches_everywhere_is_refused_with_its_text() {
    let rule = constant(Entity::Custom(Pattern::new("a").unwrap()), "A");
    let mut masker = Masker::new(Method::Pseudonymize, vec![rule], &[], 0).unwrap();
    assert!(masker.mask(&"a b ".repeat(10_000)).is_ok());
    assert!(matches!(masker.mask(&"a b ".repeat(10_001)).unwrap_err(), MaskError::TooManyMatches { .. }));
}
