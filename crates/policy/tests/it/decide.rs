//! Decisions with rules of operators and tenants, one case each: who is bound, which names are shown, what refuses.

use crate::{OURS, THEIRS, ask, ask_within, country, facts, rule, shown};
use policy::{Bundle, Problem};
use types::snapshot::Rule;
use types::{DataClass, RuleId};

const NO_US: &str = r#"forbid (principal, action, resource) when { resource.jurisdiction == "US" };"#;

fn check(rules: &[Rule], class: DataClass, at: &str, expect: &str) {
    let bundle = Bundle::compile(rules).unwrap();
    assert_eq!(shown(&ask(&bundle, OURS, class, &facts(at))), expect, "{class} at {at}");
}

#[test]
fn a_tenants_rule_forbids_and_is_named() {
    let rules = [rule(Some(OURS), "no-us", NO_US)];
    check(&rules, DataClass::Public, "DE/US none", "refuse no-us");
    check(&rules, DataClass::Public, "DE/DE none", "permit base-public");
    // Both would refuse: what forbids is what decided.
    check(&rules, DataClass::Secret, "DE/US none", "refuse no-us");
    check(&rules, DataClass::Secret, "FR/DE none", "refuse no-permit base-secret");
}

#[test]
fn a_tenants_rule_binds_only_that_tenant() {
    let bundle = Bundle::compile(&[
        rule(Some(OURS), "no-us", NO_US),
        rule(Some(OURS), "nothing", "forbid (principal, action, resource);"),
    ])
    .unwrap();
    let at = facts("US/US unlimited");
    assert_eq!(shown(&ask(&bundle, OURS, DataClass::Public, &at)), "refuse no-us nothing");
    assert_eq!(shown(&ask(&bundle, THEIRS, DataClass::Public, &at)), "permit base-public");
}

#[test]
fn operators_rules_permit_more_and_forbid_for_all() {
    let wider = r#"permit (principal in Project::"prj_0000000000000000000000000a", action, resource)
        when { context.class == "confidential" && resource.provider == "Beispiel AG" };"#;
    let rules = [rule(None, "contract-42", wider)];
    check(&rules, DataClass::Confidential, "DE/US limited", "permit contract-42");
    check(&rules, DataClass::Confidential, "DE/DE none", "permit base-confidential contract-42");
    let bundle = Bundle::compile(&rules).unwrap();
    let theirs = ask(&bundle, THEIRS, DataClass::Confidential, &facts("DE/US limited"));
    assert_eq!(shown(&theirs), "refuse no-permit base-confidential", "another project");
    let rules = [rule(None, "contract-42", wider), rule(None, "no-us", NO_US), rule(Some(THEIRS), "x", NO_US)];
    check(&rules, DataClass::Confidential, "DE/US limited", "refuse no-us");
}

#[test]
fn levels_say_and_above() {
    let text = r#"forbid (principal, action, resource)
        when { context.class_level >= 2 } unless { resource.site == "muc1" };"#;
    let mut away = facts("DE/DE none");
    away.site = "ber1".into();
    let bundle = Bundle::compile(&[rule(Some(OURS), "home", text)]).unwrap();
    let permits = DataClass::ALL.map(|class| ask(&bundle, OURS, class, &away).permit);
    assert_eq!(permits, [true, true, false, false]);
    assert!(DataClass::ALL.iter().all(|&class| ask(&bundle, OURS, class, &facts("DE/DE none")).permit));
}

#[test]
fn residency_is_no_rule_and_no_rule_lifts_it() {
    let all = "permit (principal, action, resource);";
    let bundle = Bundle::compile(&[rule(None, "everything", all)]).unwrap();
    for class in DataClass::ALL {
        let within = |home| ask_within(&bundle, OURS, class, home, &facts("FR/FR none"));
        let refused = within(Some(country("DE")));
        assert_eq!((shown(&refused), refused.residency), ("refuse residency".to_owned(), false));
        assert!(within(Some(country("FR"))).permit && within(None).permit && within(None).residency);
    }
}

/// Cedar skips a rule that fails while it is evaluated. A `forbid` that is skipped is a hole; so it refuses instead.
#[test]
fn a_rule_that_fails_refuses() {
    let text = "forbid (principal, action, resource) when { context.class_level + 9223372036854775807 < 0 };";
    let rules = [rule(Some(OURS), "sum", text)];
    check(&rules, DataClass::Public, "DE/DE none", "permit base-public"); // 0 + the largest number still fits
    check(&rules, DataClass::Internal, "DE/DE none", "refuse rule-error sum");
    check(&[rule(Some(THEIRS), "sum", text)], DataClass::Internal, "DE/DE none", "permit base-internal");
}

#[test]
fn the_digest_is_of_what_decides() {
    let digest = |rules: &[Rule]| Bundle::compile(rules).unwrap().digest().to_owned();
    let (a, b) = (rule(None, "a", NO_US), rule(Some(OURS), "b", NO_US));
    let both = digest(&[a.clone(), b.clone()]);
    assert!(both.starts_with("sha256:") && both.len() == 7 + 64);
    assert_eq!(both, digest(&[b.clone(), Rule { id: RuleId(99), ..a.clone() }]), "neither order nor ids count");
    let changed = [
        vec![],
        vec![a.clone()],
        vec![a.clone(), Rule { tenant: Some(THEIRS), ..b.clone() }],
        vec![a.clone(), Rule { tenant: None, ..b.clone() }],
        vec![a.clone(), Rule { name: "c".into(), ..b.clone() }],
        vec![a.clone(), Rule { text: format!("{NO_US} // why"), ..b.clone() }],
    ];
    let mut digests: Vec<String> = changed.iter().map(|rules| digest(rules)).chain([both]).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), changed.len() + 1);
    // Anyone who holds the rules can repeat it: canonical JSON, hashed.
    let canonical = policy::bundle::canonical(&[b, a]);
    let json: serde_json::Value = serde_json::from_str(&canonical).unwrap();
    assert_eq!(serde_json::to_string(&json).unwrap(), canonical, "keys sorted, no spaces");
    assert_eq!(json["rules"][0]["owner"], serde_json::Value::Null);
    assert_eq!(json["rules"][1]["owner"], "ten_00000000000000000000000001");
    assert_eq!(json["base"].as_array().map(Vec::len), Some(4));
}

#[test]
fn names_are_unique_where_they_meet() {
    let problem = |rules: &[Rule]| Bundle::compile(rules).err().map(|error| error.problem);
    let of = |owner| rule(owner, "same", NO_US);
    assert_eq!(problem(&[of(None), of(None)]), Some(Problem::Doubled));
    assert_eq!(problem(&[of(Some(OURS)), of(Some(OURS))]), Some(Problem::Doubled));
    assert_eq!(problem(&[of(Some(OURS)), of(None)]), Some(Problem::Doubled), "a receipt could not tell them apart");
    assert_eq!(problem(&[of(Some(OURS)), of(Some(THEIRS))]), None);
}

#[test]
fn rules_per_owner_have_a_limit() {
    let many = |owner, count| -> Vec<Rule> { (0..count).map(|i| rule(owner, &format!("r{i}"), NO_US)).collect() };
    let most = policy::rule::RULES_PER_OWNER_MAX;
    assert!(Bundle::compile(&[many(Some(OURS), most), many(Some(THEIRS), 1)].concat()).is_ok());
    let error = Bundle::compile(&many(Some(OURS), most + 1)).unwrap_err();
    assert_eq!((error.problem, error.rule.as_str()), (Problem::TooMany, "r100"));
}
