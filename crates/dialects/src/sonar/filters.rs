//! Which passages a question may rest on, as Sonar's clients say it.
//!
//! A filter holds, whoever searched: what retrieval gives is looked at once more here. A passage of which a filtered fact is not
//! known does not pass that filter.

use super::fields::{Fields, Finding};
use std::fmt;
use std::str::FromStr;
use types::{Passage, UnixMillis};

/// As many as Perplexity takes.
pub const DOMAINS_MAX: usize = 20;
pub const LANGUAGES_MAX: usize = 20;

/// A calendar day, UTC; `2026-11-27` as passages carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    year: u16,
    month: u8,
    day: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a date is written month/day/year, for example 3/1/2026, or 2026-03-01")]
pub struct DayError;

impl FromStr for Day {
    type Err = DayError;

    /// `3/1/2026` and `03/01/2026` as Sonar has it, `2026-03-01`, and the day of a time after it.
    fn from_str(text: &str) -> Result<Day, DayError> {
        let text = text.split('T').next().unwrap_or_default();
        let parts: Vec<&str> = text.split(['/', '-']).collect();
        let [year, month, day] = match (parts.as_slice(), text.contains('/')) {
            (&[month, day, year], true) => [year, month, day],
            (&[year, month, day], false) => [year, month, day],
            _ => return Err(DayError),
        };
        let number = |part: &str, digits: std::ops::RangeInclusive<usize>| -> Result<u16, DayError> {
            let fits = digits.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            if fits { part.parse().map_err(|_| DayError) } else { Err(DayError) }
        };
        let (year, month, day) = (number(year, 4..=4)?, number(month, 1..=2)? as u8, number(day, 1..=2)? as u8);
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            2 => 28 + u8::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return Err(DayError),
        };
        if (1..=days).contains(&day) { Ok(Day { year, month, day }) } else { Err(DayError) }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Day {
    /// The day that a time is in. From the days since 1970 by way of the days before each year and month: calendars are short here.
    pub fn of(time: UnixMillis) -> Day {
        const DAY_MILLIS: i64 = 86_400_000;
        let month = time.month();
        let first = |days: i64| UnixMillis(days * DAY_MILLIS).month() == month;
        let today = time.0.div_euclid(DAY_MILLIS);
        let before = (0..31).take_while(|back| first(today - back)).count();
        Day { year: u16::try_from(month.year).unwrap_or_default(), month: month.month, day: before as u8 }
    }
}

/// A host, and a path below it if one was named.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Domain {
    host: String,
    path: String,
}

impl Domain {
    fn parse(text: &str) -> Domain {
        let (host, path) = split_url(text);
        Domain { host, path: path.trim_end_matches('/').to_owned() }
    }

    fn covers(&self, url: &str) -> bool {
        let (host, path) = split_url(url);
        let below = host.strip_suffix(self.host.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let within = path.strip_prefix(self.path.as_str());
        below && within.is_some_and(|rest| self.path.is_empty() || rest.is_empty() || rest.starts_with(['/', '?', '#']))
    }
}

/// Host in lower case without port and `www.`, and the path.
fn split_url(url: &str) -> (String, &str) {
    let rest = url.trim().split_once("://").map_or(url.trim(), |(_, rest)| rest);
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default();
    let host = host.to_lowercase();
    (host.strip_prefix("www.").map_or(host.clone(), str::to_owned), path)
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    domains: Vec<Domain>,
    domains_not: Vec<Domain>,
    pub after: Option<Day>,
    pub before: Option<Day>,
    pub updated_after: Option<Day>,
    pub updated_before: Option<Day>,
    pub languages: Vec<String>,
}

impl Filters {
    /// `now` for `search_recency_filter`. A document's date is a day, so that `hour` and `day` both mean since yesterday.
    pub fn parse(fields: &Fields, now: UnixMillis) -> Result<Filters, Finding> {
        const RECENCY: [(&str, i64); 5] = [("hour", 1), ("day", 1), ("week", 7), ("month", 31), ("year", 366)];
        let mut filters = Filters::default();
        for domain in fields.texts("search_domain_filter", DOMAINS_MAX)? {
            let (list, domain) = match domain.strip_prefix('-') {
                Some(domain) => (&mut filters.domains_not, domain),
                None => (&mut filters.domains, domain),
            };
            let domain = Domain::parse(domain);
            if domain.host.is_empty() {
                let message =
                    "search_domain_filter names hosts, for example example.com, or -example.com to leave one out";
                return Err(Finding::of("search_domain_filter", message));
            }
            list.push(domain);
        }
        let day = |name: &str| -> Result<Option<Day>, Finding> {
            let parse =
                |text: &str| text.parse().map_err(|error: DayError| Finding::of(name, format!("{name}: {error}")));
            fields.text(name)?.map(parse).transpose()
        };
        filters.after = day("search_after_date_filter")?;
        filters.before = day("search_before_date_filter")?;
        filters.updated_after = day("last_updated_after_filter")?;
        filters.updated_before = day("last_updated_before_filter")?;
        if let Some(recency) = fields.choice("search_recency_filter", &RECENCY.map(|(word, _)| word))? {
            let days = RECENCY.iter().find(|(word, _)| *word == recency).map_or(0, |(_, days)| *days);
            let since = Day::of(UnixMillis(now.0.saturating_sub(days * 86_400_000)));
            filters.after = filters.after.max(Some(since));
        }
        for language in fields.texts("search_language_filter", LANGUAGES_MAX)? {
            let short = language.to_lowercase();
            let short = short.split(['-', '_']).next().unwrap_or_default();
            if short.len() != 2 || !short.bytes().all(|byte| byte.is_ascii_lowercase()) {
                let message = "search_language_filter names languages by ISO 639-1, for example de or en";
                return Err(Finding::of("search_language_filter", message));
            }
            filters.languages.push(short.to_owned());
        }
        Ok(filters)
    }

    /// Hosts that alone may be found, for a search that can use them; empty is all.
    pub fn hosts(&self) -> Vec<String> {
        self.domains.iter().map(|domain| domain.host.clone()).collect()
    }

    /// Whether a passage passes all filters but those of the last change, of which a passage says nothing.
    pub fn keep(&self, passage: &Passage) -> bool {
        let covered = |domains: &[Domain]| domains.iter().any(|domain| domain.covers(&passage.url));
        if (!self.domains.is_empty() && !covered(&self.domains)) || covered(&self.domains_not) {
            return false;
        }
        let date: Option<Day> = passage.date.as_deref().and_then(|date| date.parse().ok());
        // Both ends belong to what is asked for.
        let dated = |bound: Option<Day>, within: fn(Day, Day) -> bool| {
            bound.is_none_or(|bound| date.is_some_and(|date| within(date, bound)))
        };
        let spoken = |language: &String| passage.language.as_deref() == Some(language.as_str());
        dated(self.after, |date, bound| date >= bound)
            && dated(self.before, |date, bound| date <= bound)
            && (self.languages.is_empty() || self.languages.iter().any(spoken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sonar::tests::passage;
    use crate::time::timestamp;

    /// Friday, 2026-11-27, 10:00.
    const NOW: UnixMillis = UnixMillis(1_795_773_600_000);

    fn filters(json: &str) -> Result<Filters, Finding> {
        Filters::parse(&Fields::parse(json.as_bytes()).unwrap(), NOW)
    }

    #[test]
    fn days() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(text.parse::<Day>().ok().map(|day| day.to_string()).as_deref(), expect, "{text}");
        };
        check("3/1/2026", Some("2026-03-01"));
        check("03/01/2026", Some("2026-03-01"));
        check("2026-03-01", Some("2026-03-01"));
        check("2026-03-01T10:00:00Z", Some("2026-03-01"));
        check("2024-02-29", Some("2024-02-29"));
        for bad in
            ["", "2026", "13/1/2026", "2/29/2026", "2100-02-29", "4/31/2026", "0/1/2026", "1/0/2026", "1/1/26", "a/b/c"]
        {
            check(bad, None);
        }
        assert_eq!(Day::of(NOW).to_string(), "2026-11-27");
        assert_eq!(timestamp(UnixMillis(NOW.0 + 3_723_999)), "2026-11-27T11:02:03Z");
        assert_eq!(Day::of(UnixMillis(0)).to_string(), "1970-01-01");
        assert_eq!(Day::of(UnixMillis(1_772_323_199_999)).to_string(), "2026-02-28");
        assert_eq!(Day::of(UnixMillis(1_772_323_200_000)).to_string(), "2026-03-01");
    }

    #[test]
    fn domains() {
        let check = |filter: &str, url: &str, expect: bool| {
            let mut one = passage("a");
            one.url = url.to_owned();
            let filters = filters(&format!(r#"{{"search_domain_filter":{filter}}}"#)).unwrap();
            assert_eq!(filters.keep(&one), expect, "{filter} {url}");
        };
        check(r#"["example.com"]"#, "https://example.com/a", true);
        check(r#"["example.com"]"#, "https://wiki.Example.com:8443/a", true);
        check(r#"["example.com"]"#, "https://badexample.com/", false);
        check(r#"["example.com"]"#, "https://example.com.evil.org/", false);
        check(r#"["www.example.com"]"#, "http://example.com", true);
        check(r#"["https://example.com/hr/"]"#, "https://example.com/hr/a", true);
        check(r#"["example.com/hr"]"#, "https://example.com/hrm", false);
        check(r#"["-example.com"]"#, "https://a.example.com/", false);
        check(r#"["-example.com"]"#, "https://example.org/", true);
        check(r#"["example.com","-secret.example.com"]"#, "https://secret.example.com/", false);
        check(r#"["example.com"]"#, "hoheit://vs_1/file_2#3", false);
        check("[]", "hoheit://vs_1/file_2#3", true);
    }

    #[test]
    fn dates_and_languages_pass_only_what_is_known() {
        let check = |json: &str, date: Option<&str>, language: Option<&str>, expect: bool| {
            let mut one = passage("a");
            (one.date, one.language) = (date.map(str::to_owned), language.map(str::to_owned));
            assert_eq!(filters(json).unwrap().keep(&one), expect, "{json} {date:?} {language:?}");
        };
        let after = r#"{"search_after_date_filter":"3/1/2026"}"#;
        check(after, Some("2026-03-01"), None, true);
        check(after, Some("2026-02-28"), None, false);
        check(after, None, None, false);
        let before = r#"{"search_before_date_filter":"3/1/2026"}"#;
        check(before, Some("2026-03-01"), None, true);
        check(before, Some("2026-03-02"), None, false);
        check(r#"{"search_recency_filter":"week"}"#, Some("2026-11-20"), None, true);
        check(r#"{"search_recency_filter":"week"}"#, Some("2026-11-19"), None, false);
        check(r#"{"search_recency_filter":"hour"}"#, Some("2026-11-26"), None, true);
        let both = r#"{"search_recency_filter":"year","search_after_date_filter":"11/1/2026"}"#;
        check(both, Some("2026-10-31"), None, false);
        check(r#"{"search_language_filter":["de-DE","en"]}"#, None, Some("de"), true);
        check(r#"{"search_language_filter":["fr"]}"#, None, Some("de"), false);
        check(r#"{"search_language_filter":["fr"]}"#, None, None, false);
    }

    #[test]
    fn bad_filters_are_named() {
        for (json, param) in [
            (r#"{"search_domain_filter":["-"]}"#, "search_domain_filter"),
            (r#"{"search_domain_filter":[7]}"#, "search_domain_filter"),
            (r#"{"search_after_date_filter":"gestern"}"#, "search_after_date_filter"),
            (r#"{"last_updated_before_filter":7}"#, "last_updated_before_filter"),
            (r#"{"search_recency_filter":"decade"}"#, "search_recency_filter"),
            (r#"{"search_language_filter":["german"]}"#, "search_language_filter"),
        ] {
            assert_eq!(filters(json).unwrap_err().param.as_deref(), Some(param), "{json}");
        }
        let many = |count| format!(r#"{{"search_domain_filter":[{}]}}"#, vec![r#""a.de""#; count].join(","));
        assert!(filters(&many(DOMAINS_MAX)).is_ok());
        assert!(filters(&many(DOMAINS_MAX + 1)).is_err());
    }
}
