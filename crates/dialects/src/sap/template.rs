//! Placeholders of a prompt: `{{?name}}`, also `{{ ?name }}`. What a value holds is never looked at again, so that a value
//! cannot name a placeholder.

use std::collections::{BTreeMap, BTreeSet};

/// What placeholders are filled with, and which of them were asked for.
#[derive(Debug, Default)]
pub(super) struct Filling<'a> {
    values: BTreeMap<&'a str, &'a str>,
    pub asked: BTreeSet<String>,
    pub missing: BTreeSet<String>,
}

impl<'a> Filling<'a> {
    /// Later values win: defaults first.
    pub fn of(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Filling<'a> {
        Filling { values: values.into_iter().collect(), ..Filling::default() }
    }

    /// The text with its placeholders filled; missing ones are noted, and stay.
    pub fn fill(&mut self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(open) = rest.find("{{") {
            let (before, from) = rest.split_at(open);
            filled.push_str(before);
            let Some(inner) = from[2..].trim_start().strip_prefix('?') else {
                // Braces of somebody else: one of them, since the next may open a placeholder.
                filled.push('{');
                rest = &from[1..];
                continue;
            };
            let (name, after) = name(inner).ok_or_else(|| {
                let shown: String = from.chars().take(40).collect();
                format!(
                    "the placeholder at `{shown}` is not closed: write {{{{?name}}}}, with letters, digits, _, - and ."
                )
            })?;
            self.asked.insert(name.to_owned());
            match self.values.get(name) {
                Some(value) => filled.push_str(value),
                None => {
                    self.missing.insert(name.to_owned());
                }
            }
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// The name behind the question mark, and what follows the closing braces.
fn name(inner: &str) -> Option<(&str, &str)> {
    let inner = inner.trim_start();
    let end = inner.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))).unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    let after = after.trim_start().strip_prefix("}}")?;
    (!name.is_empty()).then_some((name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders() {
        let check = |text: &str, expect: &str| {
            let mut filling = Filling::of([("x", "1"), ("long-name_2.b", "zwei"), ("evil", "{{?x}}"), ("Größe", "3")]);
            assert_eq!(filling.fill(text).unwrap(), expect, "{text}");
            assert!(filling.missing.is_empty());
        };
        check("none", "none");
        check("{{?x}}", "1");
        check("a {{ ?x }} b {{?  x}}{{?long-name_2.b}}", "a 1 b 1zwei");
        check("{{?Größe}}", "3");
        // A value is not a template.
        check("{{?evil}}", "{{?x}}");
        // Braces of Jinja, JSON and LaTeX are left alone.
        check("{{ x }} {\"a\":{\"b\":1}} {{{?x}}}", "{{ x }} {\"a\":{\"b\":1}} {1}");
        check("{{", "{{");
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut filling = Filling::of([("x", "1")]);
        filling.fill("{{?x}} {{?y}} {{?z}} {{?y}}").unwrap();
        assert_eq!(filling.missing.iter().map(String::as_str).collect::<Vec<_>>(), ["y", "z"]);
        assert_eq!(filling.asked.len(), 3);
    }

    #[test]
    fn broken_placeholders_are_refused() {
        for text in ["{{?x", "{{?x}", "{{?}}", "{{? }}", "{{?a b}}", "{{?x$}}"] {
            assert!(Filling::default().fill(text).is_err(), "{text}");
        }
    }
}
