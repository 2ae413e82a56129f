//! Scenarios and sites that come with the program, by name: no file is needed to begin.

/// Name and text.
pub const SCENARIOS: &[(&str, &str)] = &[
    ("munich-rollout", include_str!("../../scenarios/munich-rollout.toml")),
    ("munich-180-days", include_str!("../../scenarios/munich-180-days.toml")),
];

/// Name and text of its site file; none of them has a CSV of serial numbers.
pub const SITES: &[(&str, &str)] = &[
    ("munich", include_str!("../../../../sites/munich/site.toml")),
    ("small", include_str!("../../../../sites/small/site.toml")),
];

fn named(all: &[(&'static str, &'static str)], name: &str) -> Option<&'static str> {
    all.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

pub fn scenario_named(name: &str) -> Option<&'static str> {
    named(SCENARIOS, name)
}

pub fn site_named(name: &str) -> Option<&'static str> {
    named(SITES, name)
}
