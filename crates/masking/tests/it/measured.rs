//! Precision and recall of each recogniser on the written test set in `tests/data`, and that `docs/masking.md` says the same.
//!
//! A line is a text; `⟦…⟧` is what has to be found; `\n` is a new line. A value counts as found when no byte of it is left
//! (recall); what is masked counts as right when it touches a value (precision). "Exact" is found to the byte.

use super::everything;
use masking::{Entity, Masker, Method};
use std::fmt::Write as _;

const PAGE: &str = include_str!("../../../../docs/masking.md");

macro_rules! sets {
    ($($file:literal $name:literal $($entity:literal)*;)*) => {
        &[$(($name, include_str!(concat!("../data/", $file, ".txt")), &[$($entity),*])),*]
    };
}

/// What the row is called, its texts, the entities asked for.
const SETS: &[(&str, &str, &[&str])] = sets! {
    "person" "names of people" "profile-person";
    "person-hard" "names, written to be missed" "profile-person";
    "org" "organisations" "profile-org";
    "university" "universities" "profile-university";
    "location" "places" "profile-location";
    "address" "addresses" "profile-address";
    "phone" "telephone" "profile-phone";
    "email" "e-mail" "profile-email";
    "url" "web addresses" "profile-url";
    "iban" "IBAN" "profile-iban";
    "tax-id" "Steuer-ID" "hoheit-tax-id";
    "pension-number" "Sozialversicherungsnummer" "hoheit-pension-insurance-number";
    "health-number" "Krankenversichertennummer" "hoheit-health-insurance-number";
    "card" "payment cards" "profile-credit-card-number";
    "ssn" "US SSN" "profile-ssn";
    "document" "passport, identity card" "profile-passport" "hoheit-identity-card";
    "driving-licence" "driving licence" "profile-driverlicense";
    "plate" "licence plates" "hoheit-licence-plate";
    "birth-date" "dates of birth" "hoheit-birth-date";
    "credential" "user name, password" "profile-username-password";
    "sap-id" "SAP ids" "profile-sapids-internal" "profile-sapids-public";
    "groups" "nationality, religion, party, …" "profile-sensitive-data";
    "drawn-person" "drawn: names" "profile-person";
    "drawn-address" "drawn: addresses" "profile-address";
    "drawn-org" "drawn: companies" "profile-org";
    "drawn-plate" "drawn: licence plates" "hoheit-licence-plate";
    "letters" "**letters, everything on**";
};

/// Text and the values in it.
fn read(line: &str) -> (String, Vec<(usize, usize)>) {
    let (mut text, mut values, mut begin) = (String::new(), Vec::new(), 0);
    for c in line.replace("\\n", "\n").chars() {
        match c {
            '⟦' => begin = text.len(),
            '⟧' => values.push((begin, text.len())),
            c => text.push(c),
        }
    }
    (text, values)
}

#[derive(Default)]
struct Count {
    values: usize,
    without: usize,
    recalled: usize,
    exact: usize,
    found: usize,
    right: usize,
    wrong: Vec<String>,
}

fn count(texts: &str, entities: &[&str]) -> Count {
    let mut count = Count::default();
    for line in texts.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (text, values) = read(line);
        let rules = match entities {
            [] => everything(),
            some => some.iter().map(|name| Entity::named(name).unwrap().into()).collect(),
        };
        let mut masker = Masker::new(Method::Anonymize, rules, &[], 0).unwrap();
        let found = masker.find(&text).unwrap();
        count.values += values.len();
        count.without += usize::from(values.is_empty());
        count.found += found.len();
        let right = count.right;
        count.recalled += values.iter().filter(|it| found.iter().any(|f| f.start <= it.0 && it.1 <= f.end)).count();
        count.exact += values.iter().filter(|it| found.contains(&(it.0..it.1))).count();
        count.right += found.iter().filter(|f| values.iter().any(|it| f.start < it.1 && it.0 < f.end)).count();
        let all = values.iter().all(|it| found.contains(&(it.0..it.1)));
        if !all || count.right - right < found.len() {
            let shown: Vec<_> = found.iter().map(|it| &text[it.clone()]).collect();
            count.wrong.push(format!("{line}  found {shown:?}"));
        }
    }
    count
}

#[test]
fn precision_and_recall_are_as_the_page_says() {
    let mut table = String::from(
        "| recogniser | values | texts without | recall | exact | precision |\n|---|---|---|---|---|---|\n",
    );
    let mut wrong = String::new();
    for (name, texts, entities) in SETS {
        let count = count(texts, entities);
        let share = |part: usize, whole: usize| format!("{part}/{whole} = {:.3}", part as f64 / whole.max(1) as f64);
        let exact = count.exact as f64 / count.values.max(1) as f64;
        let (recall, precision) = (share(count.recalled, count.values), share(count.right, count.found));
        writeln!(table, "| {name} | {} | {} | {recall} | {exact:.3} | {precision} |", count.values, count.without)
            .unwrap();
        for line in count.wrong {
            writeln!(wrong, "{name}: {line}").unwrap();
        }
    }
    println!("{table}\n{wrong}");
    assert!(PAGE.contains(&table), "docs/masking.md says something else; the table is now:\n{table}");
}
