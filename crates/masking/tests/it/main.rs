//! Masking as a dialect uses it: tags, exactness, chance, cost, and what each recogniser finds and misses.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod chance;
mod exact;
mod linear;
mod measured;
mod tags;

use masking::{Entity, Masker, Method, Replacement, Rule};

/// Every entity, as a label.
fn everything() -> Vec<Rule> {
    Entity::names().map(|name| Entity::named(name).unwrap().into()).collect()
}

fn masker(method: Method, names: &[&str]) -> Masker {
    let rules = names.iter().map(|name| Entity::named(name).unwrap().into()).collect();
    Masker::new(method, rules, &[], 7).unwrap()
}

fn fabricated(name: &str) -> Rule {
    Rule { entity: Entity::named(name).unwrap(), replacement: Replacement::Fabricated }
}

fn constant(entity: Entity, value: &str) -> Rule {
    Rule { entity, replacement: Replacement::Constant(value.to_owned()) }
}
