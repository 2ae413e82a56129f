//! How often random digits pass for a number with check digits: never without a form or a word that says what they are, and as
//! often as arithmetic says with one. `docs/masking.md` holds the figures.

use masking::{Entity, Masker, Method, checksum};
use std::fmt::Write as _;

const PAGE: &str = include_str!("../../../../docs/masking.md");
const STRINGS: usize = 100_000;

struct Dice(u64);

impl Dice {
    /// Xorshift; the same strings in every run.
    fn draw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    /// `#` a digit, `A` a letter, everything else itself.
    fn fill(&mut self, form: &str) -> String {
        let mut one = |c| match c {
            '#' => char::from(b'0' + self.draw(10) as u8),
            '@' => char::from(b'A' + self.draw(26) as u8),
            c => c,
        };
        form.chars().map(&mut one).collect()
    }
}

const CHECKED: [&str; 7] = [
    "profile-iban",
    "profile-nationalid",
    "profile-ssn",
    "profile-credit-card-number",
    "profile-passport",
    "profile-driverlicense",
    "hoheit-tax-id",
];

/// How many of so many texts of this form have something masked.
fn hits(form: &str, strings: usize) -> usize {
    let mut dice = Dice(0x5eed_0000_0000_0001);
    let text: Vec<String> = (0..strings).map(|_| dice.fill(form)).collect();
    let rules = CHECKED.iter().map(|name| Entity::named(name).unwrap().into()).collect();
    let mut masker = Masker::new(Method::Anonymize, rules, &[], 0).unwrap();
    // An empty line between two: no word of one is near another.
    masker.find(&text.join("\n\n")).unwrap().len()
}

#[test]
fn no_bare_digits_pass_for_a_number_with_check_digits() {
    let mut dice = Dice(0x5eed_0000_0000_0002);
    let mut text = String::new();
    let mut arithmetic = [0; 3];
    for _ in 0..STRINGS {
        let digits = dice.fill(&"#".repeat(8 + dice.0 as usize % 15));
        let bytes = digits.as_bytes();
        arithmetic[0] += usize::from(checksum::luhn(bytes));
        arithmetic[1] += usize::from(bytes.len() >= 11 && checksum::tax_id(&bytes[..11]));
        arithmetic[2] += usize::from(bytes.len() >= 9 && checksum::travel_document(&bytes[..9]));
        write!(text, "{digits}\n\n").unwrap();
    }
    let rules = CHECKED.iter().map(|name| Entity::named(name).unwrap().into()).collect();
    let mut masker = Masker::new(Method::Anonymize, rules, &[], 0).unwrap();
    assert!(masker.find(&text).unwrap().is_empty(), "of {STRINGS} strings of 8 to 22 digits");
    // The control: the same strings do pass the arithmetic alone, as often as it lets them.
    let [luhn, tax, document] = arithmetic;
    println!("arithmetic alone: Luhn {luhn}, Steuer-ID {tax}, ICAO {document} of {STRINGS}");
    assert!((9_000..11_000).contains(&luhn) && (100..400).contains(&tax) && (8_500..10_500).contains(&document));
}

#[test]
fn digits_in_the_form_of_a_number_pass_as_often_as_the_page_says() {
    let forms = [
        ("IBAN, as printed", "DE## #### #### #### #### ##"),
        ("Steuer-ID, as printed", "## ### ### ###"),
        ("Steuer-ID, bare after its word", "Steuer-ID ###########"),
        ("Sozialversicherungsnummer, as printed", "## ###### @ ###"),
        ("Krankenversichertennummer, without its word", "@#########"),
        ("Krankenversichertennummer, after its word", "KVNR @#########"),
        ("card, as printed", "#### #### #### ####"),
        ("card, bare after its word", "Kreditkarte ################"),
        ("identity card, after its word", "Personalausweis L#########"),
        ("driving licence, after its word", "Führerschein @##########"),
    ];
    let mut table = String::from("| random digits in the form of | masked of 20,000 | share |\n|---|---|---|\n");
    for (name, form) in forms {
        let hits = hits(form, STRINGS / 5);
        writeln!(table, "| {name} | {hits} | {:.2} % |", hits as f64 * 500.0 / STRINGS as f64).unwrap();
    }
    println!("{table}");
    assert!(PAGE.contains(&table), "docs/masking.md says something else; the table is now:\n{table}");
}
