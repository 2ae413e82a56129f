//! What may be found at all: conditions on documents. They are asked before anything is ranked, so that a filter never leaves a
//! list half empty.

use crate::{Attributes, KnowledgeError};
use std::collections::BTreeMap;

/// Entries of a list, as Sonar's `search_domain_filter` has at most 20.
const ENTRIES_MAX: usize = 20;

/// Every condition that is set must hold; one on what a document does not tell does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    /// Hosts of the document's URL, with their subdomains: `example.com`. With a `-` before it: not those. Empty: all.
    pub domains: Vec<String>,
    /// The document's date, `YYYY-MM-DD`, is this or later; this or earlier.
    pub after: Option<String>,
    pub before: Option<String>,
    /// The same of the day it was last changed.
    pub updated_after: Option<String>,
    pub updated_before: Option<String>,
    /// `de`, `en`. Empty: all.
    pub languages: Vec<String>,
    /// Each pair must be in the document's metadata.
    pub metadata: BTreeMap<String, String>,
}

/// `YYYY-MM-DD`, so that dates compare as texts.
pub(crate) fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let number =
        |range: std::ops::Range<usize>| text.get(range).and_then(|digits| digits.parse::<u8>().ok()).unwrap_or(0);
    bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, b)| if at == 4 || at == 7 { *b == b'-' } else { b.is_ascii_digit() })
        && (1..=12).contains(&number(5..7))
        && (1..=31).contains(&number(8..10))
}

/// The host of a URL, in small letters, without user and port.
fn host(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = host.split(':').next()?.trim_end_matches('.');
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

fn within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

impl Filters {
    pub(crate) fn check(&self) -> Result<(), KnowledgeError> {
        let invalid = |why: &str| Err(KnowledgeError::Invalid(why.to_owned()));
        if self.domains.len() > ENTRIES_MAX || self.languages.len() > ENTRIES_MAX || self.metadata.len() > ENTRIES_MAX {
            return invalid("a filter has at most 20 entries");
        }
        if self.domains.iter().any(|domain| domain.trim_start_matches('-').is_empty()) {
            return invalid("a domain in a filter is a host's name, as example.com or -example.com");
        }
        let dates = [&self.after, &self.before, &self.updated_after, &self.updated_before];
        if dates.into_iter().flatten().any(|date| !is_date(date)) {
            return invalid("a date in a filter is written YYYY-MM-DD");
        }
        Ok(())
    }

    /// Whether passages of this document may be found.
    pub(crate) fn allow(&self, document: &Attributes) -> bool {
        let within_dates = |date: &Option<String>, after: &Option<String>, before: &Option<String>| match date {
            Some(date) => {
                after.as_ref().is_none_or(|after| date >= after) && before.as_ref().is_none_or(|before| date <= before)
            }
            None => after.is_none() && before.is_none(),
        };
        self.allow_host(document.url.as_deref())
            && within_dates(&document.date, &self.after, &self.before)
            && within_dates(&document.updated, &self.updated_after, &self.updated_before)
            && (self.languages.is_empty() || document.language.as_ref().is_some_and(|it| self.languages.contains(it)))
            && self.metadata.iter().all(|(key, value)| document.metadata.get(key) == Some(value))
    }

    fn allow_host(&self, url: Option<&str>) -> bool {
        if self.domains.is_empty() {
            return true;
        }
        let host = url.and_then(host);
        let is_in = |domain: &str| host.as_ref().is_some_and(|host| within(host, &domain.to_ascii_lowercase()));
        let (without, only): (Vec<&str>, Vec<&str>) =
            self.domains.iter().map(String::as_str).partition(|domain| domain.starts_with('-'));
        !without.iter().any(|domain| is_in(domain.trim_start_matches('-')))
            && (only.is_empty() || only.iter().any(|domain| is_in(domain)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_hosts() {
        for (text, good) in
            [("2026-11-27", true), ("2026-13-01", false), ("2026-1-1", false), ("2026-01-00", false), ("", false)]
        {
            assert_eq!(is_date(text), good, "{text}");
        }
        for (url, expect) in [
            ("https://Wiki.Example.com:8443/a?b", Some("wiki.example.com")),
            ("http://user@example.com", Some("example.com")),
            ("hoheit://vs_1/file_1", Some("vs_1")),
            ("example.com", None),
            ("https:///x", None),
        ] {
            assert_eq!(host(url).as_deref(), expect, "{url}");
        }
    }

    #[test]
    fn conditions() {
        let document = Attributes {
            url: Some("https://wiki.example.com/a".to_owned()),
            date: Some("2026-05-01".to_owned()),
            language: Some("de".to_owned()),
            metadata: BTreeMap::from([("site".to_owned(), "b".to_owned())]),
            ..Attributes::default()
        };
        let check = |expect: bool, set: &dyn Fn(&mut Filters)| {
            let mut filters = Filters::default();
            set(&mut filters);
            assert_eq!(filters.allow(&document), expect, "{filters:?}");
            // What tells nothing of itself is let through by no condition, except by those that say what not.
            let asks_for_nothing =
                filters == Filters::default() || filters.domains.iter().any(|it| it.starts_with('-'));
            assert_eq!(filters.allow(&Attributes::default()), asks_for_nothing, "{filters:?}");
        };
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        check(true, &|_| {});
        check(true, &|it| it.domains = texts(&["example.com"]));
        check(true, &|it| it.domains = texts(&["other.org", "WIKI.example.com"]));
        check(false, &|it| it.domains = texts(&["ample.com"]));
        check(false, &|it| it.domains = texts(&["-example.com"]));
        check(true, &|it| it.domains = texts(&["-other.org"]));
        check(true, &|it| it.after = Some("2026-05-01".to_owned()));
        check(false, &|it| it.after = Some("2026-05-02".to_owned()));
        check(true, &|it| it.before = Some("2026-05-01".to_owned()));
        check(false, &|it| it.before = Some("2026-04-30".to_owned()));
        check(false, &|it| it.updated_after = Some("2020-01-01".to_owned()));
        check(true, &|it| it.languages = texts(&["en", "de"]));
        check(false, &|it| it.languages = texts(&["en"]));
        check(true, &|it| drop(it.metadata.insert("site".to_owned(), "b".to_owned())));
        check(false, &|it| drop(it.metadata.insert("site".to_owned(), "c".to_owned())));
        check(false, &|it| drop(it.metadata.insert("x".to_owned(), "b".to_owned())));
    }

    #[test]
    fn filters_that_are_none() {
        let refused = |set: &dyn Fn(&mut Filters)| {
            let mut filters = Filters::default();
            set(&mut filters);
            filters.check().is_err()
        };
        assert!(!refused(&|_| {}));
        assert!(refused(&|it| it.after = Some("yesterday".to_owned())));
        assert!(refused(&|it| it.domains = vec!["-".to_owned()]));
        assert!(refused(&|it| it.domains = vec!["a".to_owned(); 21]));
        assert!(!refused(&|it| it.domains = vec!["a".to_owned(); 20]));
    }
}
