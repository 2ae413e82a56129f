//! Replaces what is new in every run (ids, tokens, times) by names, the same thing by the same name.

use std::collections::BTreeMap;
use std::sync::Mutex;

#[derive(Default)]
pub struct Redactor {
    known: Mutex<BTreeMap<String, String>>,
}

/// Ids that end in 26 digits, and what they name. A deployment's prefix is one letter: it comes last.
const IDS: [(&str, &str); 6] = [
    ("conf_", "configuration"),
    ("key_", "key"),
    ("ten_", "tenant"),
    ("prj_", "project"),
    ("rcp_", "receipt"),
    ("d", "deployment"),
];

impl Redactor {
    pub fn redact(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        let mut inside = false;
        while let Some(c) = rest.chars().next() {
            let found = if inside { None } else { found(rest) };
            match found {
                Some((length, what)) => {
                    out.push_str(&self.name(&rest[..length], what));
                    rest = &rest[length..];
                }
                None => {
                    inside = c.is_alphanumeric() || c == '_';
                    out.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        out
    }

    fn name(&self, text: &str, what: &str) -> String {
        if matches!(what, "token" | "time" | "month" | "request" | "secret" | "jti") {
            return format!("<{what}>");
        }
        let mut known = self.known.lock().unwrap();
        let next = known.values().filter(|name| name.starts_with(&format!("<{what}-"))).count() + 1;
        known.entry(text.to_owned()).or_insert_with(|| format!("<{what}-{next}>")).clone()
    }
}

/// What stands at the beginning of the text, and how long it is.
fn found(text: &str) -> Option<(usize, &'static str)> {
    let run = |accept: fn(char) -> bool| text.find(|c| !accept(c)).unwrap_or(text.len());
    if text.starts_with("eyJ") {
        return Some((run(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')), "token"));
    }
    if text.starts_with("hk_") {
        return Some((run(|c| c.is_ascii_alphanumeric() || c == '_'), "secret"));
    }
    let word = &text[..run(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':'))];
    let shape: String = word.chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }).collect();
    if shape == "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" {
        return Some((word.len(), "request"));
    }
    if shape == "xxxx-xx-xxTxx:xx:xxZ" {
        return Some((word.len(), "time"));
    }
    if shape == "xxxx-xx" && word.starts_with("20") {
        return Some((word.len(), "month"));
    }
    if word.len() == 22 && word.chars().any(|c| c.is_ascii_uppercase()) && word.chars().any(|c| c.is_ascii_digit()) {
        return Some((word.len(), "jti"));
    }
    let id = |(prefix, what): (&str, &'static str)| {
        let digits = word.strip_prefix(prefix)?;
        let fits = digits.len() == 26 && digits.chars().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase());
        fits.then_some((word.len(), what))
    };
    IDS.into_iter().find_map(id)
}
