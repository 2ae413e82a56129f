//! Work grows with the text, not with its square: counted in steps, not by the clock.

use super::{constant, everything, fabricated};
use masking::{Entity, MaskError, Masker, Method, Pattern, Rule};

const LONG: usize = 1 << 20;
/// Steps per byte that the worst text may take: some twenty recognisers, each looking a dozen tokens around.
const STEPS_PER_BYTE_MAX: u64 = 700;

fn steps(unit: &str, bytes: usize, rules: Vec<Rule>) -> u64 {
    let text = unit.repeat(bytes / unit.len());
    let mut masker = Masker::new(Method::Pseudonymize, rules, &["Anna Anna Anna Anna".to_owned()], 0).unwrap();
    let masked = masker.mask(&text).unwrap();
    assert_eq!(masker.unmask(&masked), text, "{unit:?}");
    masker.steps()
}

#[test]
fn work_grows_with_a_hostile_text_and_not_with_its_square() {
    let units = [
        "a",
        "1",
        "1 ",
        "12-",
        "A",
        "A-",
        "Anna ",
        "Anna-",
        "Anna Weber, ",
        "Frau Dr. ",
        "@",
        "a@",
        "a.",
        "a.b@c.d@",
        "http://",
        "www.a.",
        "https://a/",
        "Straße ",
        "Am Am Am 1 ",
        "Lindenweg 4, ",
        "12345 Berlin ",
        "Universität ",
        "GmbH ",
        "A & ",
        "Tel. 0171 ",
        "+49",
        "(",
        "0171-",
        "Passwort: a ",
        "passwort passwort ",
        "benutzer ",
        "DE89 ",
        "DE89370400440532013000 ",
        "IBAN DE",
        "M-AB ",
        "M-",
        "1.1.",
        "geb. ",
        "12.03.",
        "MASKED_PERSON_1 ",
        "MASKED_PERSON_",
        "_",
        "<<<<",
        "P<",
        "A1",
        "C01X00T47",
        "Steuer-ID ",
        "Karte 4111 ",
        "ü",
        "🦀",
        "\n",
        "  ",
        "name: ",
        "Mustermann, ",
        "\"",
        "(at) ",
        "O'",
        "von der ",
        "Erika Mustermann Erika ",
        "in ",
        "IG ",
        "Frankfurt am ",
    ];
    for unit in units {
        // Four times the text, about four times the work, and never more than so much for a byte.
        let (short, long) = (steps(unit, LONG / 256, everything()), steps(unit, LONG / 64, everything()));
        assert!(long <= short * 5, "{unit:?}: {short} steps for a quarter, {long} for all");
        assert!(
            long <= STEPS_PER_BYTE_MAX * LONG as u64 / 32,
            "{unit:?}: {} steps per byte",
            long / (LONG as u64 / 32)
        );
    }
    let long = steps("Anna Weber, a@1-", LONG, everything());
    assert!(long <= STEPS_PER_BYTE_MAX * LONG as u64, "{} steps per byte", long / LONG as u64);
}

#[test]
fn hostile_patterns() {
    // Each match has to look far ahead for a longer one that never comes.
    let rule = |pattern: &str| vec![constant(Entity::Custom(Pattern::new(pattern).unwrap()), "X")];
    let text = format!("{}{}\n", "ab ".repeat(500), "d".repeat(200_000));
    for pattern in ["a(?:.*c)?", "(?:a|b)+?(?:[^c]*c)?"] {
        let mut masker = Masker::new(Method::Pseudonymize, rule(pattern), &[], 0).unwrap();
        let masked = masker.mask(&text).unwrap();
        assert_eq!(masker.unmask(&masked), text);
        // 500 or 1,000 windows of 8 KiB, not of 200.
        assert!(masker.steps() < 10 << 20, "{pattern}: {} steps", masker.steps());
    }
    // A match may have so many bytes; a longer one is refused, not masked in parts.
    let longest = masking::PATTERN_MATCH_MAX;
    let mut masker = Masker::new(Method::Pseudonymize, rule("x+"), &[], 0).unwrap();
    assert_eq!(masker.mask(&"x".repeat(longest)).unwrap(), "X_1");
    for long in [longest + 1, 3 * longest] {
        let error = masker.mask(&"x".repeat(long)).unwrap_err();
        assert_eq!(error, MaskError::TooLongMatch { most: longest }, "{long}");
    }
}

/// Where a window ends the text does not: nothing that looks ahead may take it for an end.
#[test]
fn the_edge_of_a_window_is_no_end() {
    const WINDOW: usize = 2 * masking::PATTERN_MATCH_MAX;
    let masked = |pattern: &str, text: &str| {
        let rules = vec![constant(Entity::Custom(Pattern::new(pattern).unwrap()), "X")];
        let mut masker = Masker::new(Method::Anonymize, rules, &[], 0).unwrap();
        masker.mask(text).unwrap()
    };
    // The first window ends within the word, and in each of these the first alternative holds only at an end.
    let word = "y".repeat(WINDOW + 10);
    for pattern in [r"\Ay+$|\Ay", r"\Ay+\z|\Ay", r"\Ay+\b|\Ay"] {
        let text = format!("{word} z");
        assert_eq!(masked(pattern, &text), format!("X{} z", &word[1..]), "{pattern}");
    }
    // And what stands before a window is seen as well: these are no beginnings.
    assert_eq!(masked(r"\bz", &format!("{word}z")), format!("{word}z"));
    assert_eq!(masked("^z", &format!("{word}z")), format!("{word}z"));
    // Where the text does end, it ends.
    assert_eq!(masked("z$", &format!("{word}z")), format!("{word}X"));
}

#[test]
fn many_invented_values() {
    let text: String = (0..20_000).map(|n| format!("a{n}@example.com ")).collect();
    let mut masker = Masker::new(Method::Pseudonymize, vec![fabricated("profile-email")], &[], 0).unwrap();
    let masked = masker.mask(&text).unwrap();
    assert_eq!(masker.unmask(&masked), text);
}
