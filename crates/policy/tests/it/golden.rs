//! The shipped rules as a table of ticks: each class against each combination of facts that could matter. A change of a
//! shipped rule shows here as a change of ticks (`INSTA_UPDATE=always` writes it anew).

use crate::{OURS, ask, facts};
use policy::Bundle;
use std::fmt::Write;
use types::{Country, DataClass};

const COUNTRIES: [&str; 6] = ["DE", "FR", "NO", "CH", "GB", "US"];
const RETENTIONS: [&str; 3] = ["none", "limited", "unlimited"];

#[test]
fn classes_by_facts() {
    let bundle = Bundle::compile(&[]).unwrap();
    let mut table = String::from("country jurisdiction retention  public internal confidential secret\n");
    for at in COUNTRIES {
        for law in COUNTRIES {
            for retention in RETENTIONS {
                let facts = facts(&format!("{at}/{law} {retention}"));
                let mut line = format!("{at:<8}{law:<13}{retention:<10}");
                for class in DataClass::ALL {
                    let decision = ask(&bundle, OURS, class, &facts);
                    let expect = if decision.permit {
                        vec![format!("base-{class}")]
                    } else {
                        vec!["no-permit".to_owned(), format!("base-{class}")]
                    };
                    assert_eq!(decision.rules, expect, "{line}");
                    let width = [7, 9, 13, 0][class as usize];
                    write!(line, " {:<width$}", if decision.permit { "✓" } else { "·" }).unwrap();
                }
                writeln!(table, "{}", line.trim_end()).unwrap();
            }
        }
    }
    insta::assert_snapshot!(table);
}

/// The table shows six countries; this asks for all 676 codes, against the treaty lists written a second time.
#[test]
fn every_country_code() {
    let european = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK IS LI NO CH";
    let bundle = Bundle::compile(&[]).unwrap();
    for (a, b) in (b'A'..=b'Z').flat_map(|a| (b'A'..=b'Z').map(move |b| (a, b))) {
        let code: Country = std::str::from_utf8(&[a, b]).unwrap().parse().unwrap();
        let inside = european.split(' ').any(|other| other == code.as_str());
        let permit = |class, facts: &str| ask(&bundle, OURS, class, &crate::facts(facts)).permit;
        assert_eq!(permit(DataClass::Internal, &format!("{code}/US unlimited")), inside, "internal in {code}");
        assert_eq!(permit(DataClass::Confidential, &format!("{code}/DE none")), inside, "confidential in {code}");
        assert_eq!(permit(DataClass::Confidential, &format!("DE/{code} none")), inside, "confidential under {code}");
        let germany = code == Country::DE;
        assert_eq!(permit(DataClass::Secret, &format!("{code}/DE none")), germany, "secret in {code}");
        assert_eq!(permit(DataClass::Secret, &format!("DE/{code} none")), germany, "secret under {code}");
    }
}
