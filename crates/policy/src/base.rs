//! The rules that ship with Hoheit, one per data class. They are part of every bundle; the operator adds to them, and
//! reads them in `rules/`, where each says in a comment what it is for.
//!
//! Why each class has one rule that permits, and none that forbids: a class without a rule is refused, and an operator can
//! permit more where a contract allows it. What nobody can lift is residency, which is no rule.

use types::DataClass;

/// A shipped rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseRule {
    pub name: &'static str,
    pub class: DataClass,
    pub text: &'static str,
}

/// In the order of the classes.
pub const BASE: [BaseRule; 4] = [
    BaseRule { name: "base-public", class: DataClass::Public, text: include_str!("../rules/public.cedar") },
    BaseRule { name: "base-internal", class: DataClass::Internal, text: include_str!("../rules/internal.cedar") },
    BaseRule {
        name: "base-confidential",
        class: DataClass::Confidential,
        text: include_str!("../rules/confidential.cedar"),
    },
    BaseRule { name: "base-secret", class: DataClass::Secret, text: include_str!("../rules/secret.cedar") },
];

/// Name and text of each shipped rule, for `hoheit policy` and the console.
pub fn base_rules() -> Vec<(String, String)> {
    BASE.iter().map(|rule| (rule.name.to_owned(), rule.text.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The EU's 27, the EEA's other three, Switzerland: written three times in the rules because Cedar has no constants,
    /// and therefore compared here.
    #[test]
    fn the_lists_of_countries_are_one_list() {
        let codes = |block: &str| -> Vec<String> {
            block.split('"').skip(1).step_by(2).map(str::to_owned).filter(|code| code.len() == 2).collect()
        };
        let lists: Vec<Vec<String>> = BASE
            .iter()
            .flat_map(|rule| rule.text.split('[').skip(1))
            .map(|rest| codes(rest.split(']').next().unwrap()))
            .collect();
        assert_eq!(lists.len(), 3);
        assert!(lists.iter().all(|list| *list == lists[0]));
        let mut unique = lists[0].clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!((lists[0].len(), unique.len()), (27 + 3 + 1, 31));
    }

    #[test]
    fn every_class_has_its_rule() {
        assert_eq!(BASE.map(|rule| rule.class), DataClass::ALL);
        for rule in BASE {
            assert!(rule.text.contains(&format!("@id(\"{}\")", rule.name)), "{}", rule.name);
            assert!(rule.text.contains(&format!("context.class == \"{}\"", rule.class)), "{}", rule.name);
            assert!(rule.text.starts_with("// "), "{} says what it is for", rule.name);
        }
    }
}
