//! A tenant's rules only narrow, and only for their owner: shown for random rules and random questions.

use crate::{OURS, THEIRS, ask, ask_within, facts, rule};
use policy::{Bundle, check_rule};
use proptest::prelude::*;
use types::snapshot::Rule;
use types::{DataClass, EndpointFacts, TenantId};

fn condition() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["DE", "FR", "US", "CH"]).prop_map(|c| format!("resource.country == \"{c}\"")),
        prop::sample::select(vec!["DE", "US"]).prop_map(|c| format!("resource.jurisdiction != \"{c}\"")),
        Just("[\"DE\", \"FR\"].contains(resource.jurisdiction)".to_owned()),
        prop::sample::select(vec!["none", "limited"]).prop_map(|r| format!("resource.retention == \"{r}\"")),
        (0..=3).prop_map(|level| format!("context.class_level >= {level}")),
        Just("resource.provider like \"*AG\"".to_owned()),
        Just("principal in Project::\"prj_0000000000000000000000000a\"".to_owned()),
        Just("context.class_level + 9223372036854775806 > 0".to_owned()), // fails for confidential and secret
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

/// A forbid, or now and then a permit that must be refused when it is written.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let effect = prop_oneof![4 => Just("forbid"), 1 => Just("permit")];
    let kind = prop::sample::select(vec!["when", "unless"]);
    let text = (effect, kind, condition()).prop_map(|(effect, kind, condition)| {
        format!("{effect} (principal, action, resource) {kind} {{ {condition} }};")
    });
    prop::collection::vec(text, 1..4)
}

fn any_facts() -> impl Strategy<Value = EndpointFacts> {
    let code = || prop::sample::select(vec!["DE", "FR", "CH", "US"]);
    (code(), code(), prop::sample::select(vec!["none", "limited", "unlimited"]))
        .prop_map(|(at, law, retention)| facts(&format!("{at}/{law} {retention}")))
}

fn written(owner: TenantId, texts: &[String]) -> Vec<Rule> {
    texts
        .iter()
        .enumerate()
        .map(|(i, text)| rule(Some(owner), &format!("r{i}"), text))
        .filter(|rule| check_rule(rule.tenant, &rule.name, &rule.text).is_ok())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tenants_rules_only_narrow(ours in texts(), theirs in texts(), at in any_facts(), widened: bool) {
        let operator = match widened {
            true => vec![rule(None, "wide", "permit (principal, action, resource) when { resource.country != \"US\" };")],
            false => vec![],
        };
        let before = Bundle::compile(&operator).unwrap();
        let after = Bundle::compile(&[operator, written(OURS, &ours), written(THEIRS, &theirs)].concat()).unwrap();
        let alone = Bundle::compile(&[written(OURS, &ours)].concat()).unwrap();
        for class in DataClass::ALL {
            let (was, is) = (ask(&before, OURS, class, &at), ask(&after, OURS, class, &at));
            prop_assert!(was.permit || !is.permit, "{class}: a tenant's rules permitted what was refused");
            if is.permit {
                prop_assert_eq!(&was, &is, "permitted by the same rules as before");
            }
            // A tenant without rules of its own is decided as if there were no other's.
            prop_assert_eq!(ask(&before, TenantId(3), class, &at), ask(&after, TenantId(3), class, &at));
            if !widened {
                prop_assert_eq!(ask(&alone, OURS, class, &at), is, "another tenant's rules changed a decision");
            }
            let home = Some("DE".parse().unwrap());
            let within = ask_within(&after, OURS, class, home, &at);
            prop_assert!(!within.permit || at.country.as_str() == "DE");
        }
    }

    #[test]
    fn a_tenants_permit_is_never_taken(texts in texts()) {
        for text in texts {
            if text.starts_with("permit") {
                prop_assert!(check_rule(Some(OURS), "mine", &text).is_err());
                prop_assert!(Bundle::compile(&[rule(Some(OURS), "mine", &text)]).is_err());
            }
        }
    }
}
