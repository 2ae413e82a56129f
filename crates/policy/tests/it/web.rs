//! Searches of the web: off, until a rule permits that names them.

use crate::{OURS, THEIRS, facts, rule, shown};
use policy::{Bundle, Question, WEB_SEARCH, check_rule};
use types::snapshot::Rule;
use types::{Country, DataClass, EndpointId, KeyId, ProjectId, TenantId};

fn ask(rules: &[Rule], tenant: TenantId, class: DataClass, country: Option<Country>, facts_are: &str) -> String {
    for rule in rules {
        check_rule(rule.tenant, &rule.name, &rule.text).unwrap();
    }
    let facts = facts(facts_are);
    shown(&Bundle::compile(rules).unwrap().decide_web(&Question {
        tenant,
        project: ProjectId(tenant.0 * 10),
        key: KeyId(tenant.0 * 100),
        class,
        country,
        model: WEB_SEARCH,
        endpoint: EndpointId(0),
        facts: &facts,
    }))
}

const NAMES_IT: &str =
    "permit (principal, action == Action::\"search_web\", resource) when { context.class == \"public\" };";

#[test]
fn it_is_off_until_a_rule_names_it() {
    let check = |rules: &[Rule], class: DataClass, expect: &str| {
        assert_eq!(ask(rules, OURS, class, None, "FR/FR none"), expect, "{rules:?}");
    };
    check(&[], DataClass::Public, "refuse no-permit");
    // The shipped rules permit inference, and a rule for any action does not mean this one.
    let wide = rule(None, "wide", "permit (principal, action, resource);");
    check(std::slice::from_ref(&wide), DataClass::Public, "refuse no-permit");
    let named = rule(None, "web", NAMES_IT);
    check(std::slice::from_ref(&named), DataClass::Public, "permit web");
    check(std::slice::from_ref(&named), DataClass::Internal, "refuse no-permit");
    check(&[named.clone(), wide], DataClass::Public, "permit web wide");
    let listed = "permit (principal, action in [Action::\"infer\", Action::\"search_web\"], resource);";
    check(&[rule(None, "both", listed)], DataClass::Public, "permit both");
}

#[test]
fn what_forbids_an_endpoint_forbids_a_provider_of_searches() {
    let named = rule(None, "web", NAMES_IT);
    let tenants =
        rule(Some(OURS), "no-us", "forbid (principal, action, resource) when { resource.jurisdiction == \"US\" };");
    let rules = [named, tenants];
    let ask = |tenant, facts_are| ask(&rules, tenant, DataClass::Public, None, facts_are);
    assert_eq!(ask(OURS, "FR/FR none"), "permit web");
    assert_eq!(ask(OURS, "FR/US none"), "refuse no-us");
    assert_eq!(ask(THEIRS, "FR/US none"), "permit web");
}

#[test]
fn residency_has_no_fallback_here_either() {
    let rules = [rule(None, "web", NAMES_IT)];
    let ask = |country: &str| ask(&rules, OURS, DataClass::Public, Some(country.parse().unwrap()), "FR/FR none");
    assert_eq!(ask("DE"), "refuse residency");
    assert_eq!(ask("FR"), "permit web");
}

#[test]
fn a_tenant_cannot_permit_it() {
    assert!(check_rule(Some(OURS), "mine", NAMES_IT).is_err());
}

#[test]
fn a_rule_for_searches_permits_no_inference() {
    let bundle =
        Bundle::compile(&[rule(None, "web", "permit (principal, action == Action::\"search_web\", resource);")])
            .unwrap();
    assert!(!crate::ask(&bundle, OURS, DataClass::Secret, &facts("US/US limited")).permit);
}
