//! What is said to somebody who writes a rule that cannot be. One case each, with the whole text: an error is only good
//! if it says which rule, where, and what to do.

use crate::{OURS, THEIRS, ask, facts, rule};
use policy::{Bundle, Problem, check_rule};
use proptest::prelude::*;
use types::{DataClass, TenantId};

fn refused(owner: Option<TenantId>, name: &str, text: &str) -> (Problem, String) {
    let error = check_rule(owner, name, text).expect_err(text);
    (error.problem, error.to_string())
}

#[test]
fn refusals_in_full() {
    let cases = [
        "",
        "forbid (principal, action, resource)",
        "verbiete (principal, action, resource);",
        "forbid (principal, action, resource)\nwhen { resource.jurisdiction = \"US\" };",
        "forbid (principal, action, resource);\nforbid (principal, action, resource);",
        "forbid (principal == ?principal, action, resource);",
        "permit (principal, action, resource);",
        "@id(\"other\")\nforbid (principal, action, resource);",
        "forbid (principal, action, resource)\n  when { resource.contry == \"US\" };",
        "forbid (principal, action, resource)\n  when { context.class_level == \"secret\" };",
        "forbid (principal, action == Action::\"delete\", resource);",
        "forbid (principal is Keys, action, resource);",
        "forbid (principal, action, resource) when { resource.country == \"US\" && false };",
        "forbid (principal, action, resource)\n  when { resource.country == \"Germany\" };",
        "forbid (principal, action, resource)\n  unless { [\"DE\", \"fr\"].contains(resource.jurisdiction) };",
        "forbid (principal, action, resource) when { \"no\" != resource[\"retention\"] };",
        "forbid (principal, action, resource) when { context.class == \"geheim\" };",
        "forbid (principal, action, resource) when { context.class_level > 4 };",
        "forbid (principal in Project::\"demo\", action, resource);",
        "forbid (principal in Tenant::\"ten_00000000000000000000000002\", action, resource);",
        "forbid (principal, action, resource == Endpoint::\"nano\");",
    ];
    let mut shown = String::new();
    for text in cases {
        let (problem, error) = refused(Some(OURS), "mine", text);
        shown += &format!("{text}\n=> {problem:?}: {error}\n\n");
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn rules_that_pass() {
    for text in [
        "forbid (principal, action, resource);",
        "@id(\"mine\")\n// why\nforbid (principal, action == Action::\"infer\", resource);",
        "forbid (principal in Project::\"prj_00000000000000000000000001\", action, resource);",
        "forbid (principal in Tenant::\"ten_00000000000000000000000001\", action, resource);",
        "forbid (principal == Key::\"key_00000000000000000000000001\", action, resource is Endpoint);",
        "forbid (principal, action, resource) unless { resource.provider like \"*AG\" || resource.site == \"muc1\" };",
        "forbid (principal, action, resource) when { resource.provider == \"Яндекс Cloud\" };",
        "forbid (principal, action, resource) when { if context.class_level < 3 then resource.retention != \"none\" else true };",
    ] {
        check_rule(Some(OURS), "mine", text).unwrap();
        check_rule(None, "mine", text).unwrap();
    }
    check_rule(None, "mine", "permit (principal, action, resource);").unwrap();
    check_rule(None, "mine", "forbid (principal in Tenant::\"ten_00000000000000000000000002\", action, resource);")
        .unwrap();
    assert_eq!(refused(Some(THEIRS), "mine", "permit (principal, action, resource);").0, Problem::Permits);
}

#[test]
fn names() {
    let good = "forbid (principal, action, resource);";
    for name in ["a", "no-us", "Nur EU_2.1", "kein-übersee", &"a".repeat(64)] {
        check_rule(None, name, good).unwrap();
    }
    for name in [
        "",
        " a",
        "a ",
        "a/b",
        "a\nb",
        "a\u{202e}b",
        "\"",
        &"a".repeat(65),
        "residency",
        "no-permit",
        "rule-error",
        "base-secret",
    ] {
        assert_eq!(refused(None, name, good).0, Problem::Name, "{name:?}");
        assert_eq!(refused(Some(OURS), name, good).0, Problem::Name, "{name:?}");
    }
}

/// A rule that overflows a stack would end the process. The deepest rules within the limits are checked and decided on a
/// thread of 1.5 MiB (Rust gives 2 MiB), in the unoptimised build that needs most.
#[test]
fn long_and_deep_texts_are_refused_or_taken_and_nothing_breaks() {
    let most = policy::rule::RULE_BYTES_MAX;
    let long = format!("forbid (principal, action, resource); // {}", "x".repeat(most));
    assert_eq!(refused(None, "mine", &long).0, Problem::TooLong);
    let wrap = |middle: &str| format!("forbid (principal, action, resource) when {{ {middle} }};");
    let shapes: [fn(usize) -> String; 12] = [
        |n| format!("{}true{}", "(".repeat(n), ")".repeat(n)),
        |n| format!("{}1{}", "[".repeat(n), "]".repeat(n)),
        |n| format!("{}1{}", "{a:".repeat(n), "}".repeat(n)),
        |n| format!("{}true{}", "!!!!(".repeat(n), ")".repeat(n)),
        |n| format!("{}resource.site{}", "resource.site.contains(".repeat(n), ")".repeat(n)),
        |n| format!("true{}", " || resource.site == \"a\"".repeat(n)),
        |n| format!("true{}", " && true".repeat(n)),
        |n| format!("1 < 1{}", " + 1".repeat(n)),
        |n| format!("resource{}", ".a".repeat(n)),
        |n| format!("resource{}", "[\"a\"]".repeat(n)),
        |n| format!("{}true{}", "if true then ".repeat(n), " else false".repeat(n)),
        |n| {
            format!(
                "{}true{}{}",
                "(if true then ".repeat(n.min(8)),
                " || true".repeat(n),
                " else false)".repeat(n.min(8))
            )
        },
    ];
    let mut texts = Vec::new();
    for shape in shapes {
        assert_eq!(refused(None, "mine", &wrap(&shape(100))).0, Problem::TooDeep, "{}", shape(2));
        // The largest of its kind that is not refused as too deep.
        let deepest = (1..=100).rev().map(|n| wrap(&shape(n))).find(|text| {
            let shape = policy::shape::measure(text);
            shape.nesting <= policy::shape::NESTING_MAX && shape.steps <= policy::shape::STEPS_MAX
        });
        texts.extend(deepest);
    }
    assert_eq!(texts.len(), shapes.len());
    check_rule(None, "warm", "forbid (principal, action, resource);").unwrap();
    let checked = std::thread::Builder::new().stack_size(1536 * 1024).spawn(move || {
        texts
            .iter()
            .filter(|text| check_rule(None, "mine", text).is_ok())
            .inspect(|text| {
                let bundle = Bundle::compile(&[rule(Some(OURS), "mine", text)]).unwrap();
                let _ = ask(&bundle, OURS, DataClass::Public, &facts("DE/DE none"));
            })
            .count()
    });
    assert!(checked.unwrap().join().unwrap() >= 6, "most of them are rules that fit the schema");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_panics(text in "\\PC{0,80}", name in "\\PC{0,10}") {
        let _ = check_rule(Some(OURS), &name, &text);
    }

    /// Texts that are nearly rules reach deeper than noise does.
    #[test]
    fn no_near_rule_panics(parts in prop::collection::vec(prop::sample::select(vec![
        "forbid", "permit", "(", ")", "principal", "action", "resource", ",", ";", "when", "{", "}", "==", "in", "has",
        "resource.country", "context.class", "\"US\"", "ü", "Tenant::\"x\"", "@id(\"a\")", "\n", "!", "[", "]", "1", "//",
        "forbid (principal, action, resource)",
    ]), 0..30)) {
        let _ = check_rule(Some(OURS), "mine", &parts.join(" "));
    }
}
