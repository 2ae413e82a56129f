//! Masks the texts of one request. All of them share one table: a name in the system prompt and in a question is one tag.
//!
//! What is put back is what was taken, exactly, and a tag that somebody wrote himself brings nobody's data: what only looks like
//! a tag (or like an invented value that was given out) is masked like a value, and comes back as what it was. For that to hold
//! at every edge, a masked span takes with it what is stuck to it and could be read as part of a tag: letters, digits, `_`.
//!
//! Overlaps are joined; the longest decides what the whole is called. So nothing that any recogniser found is left over.

use crate::entity::{Entity, Method, Replacement, Rule, SetupError};
use crate::fabricate::{self, Inventor};
use crate::find::{self, Kind, Known};
use crate::table::{Look, Numbers, Table};
use crate::text::Text;
use crate::trie::Trie;
use crate::unmask::Unmasker;
use regex_automata::meta::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// Rules of one request: every entity once, and 32 patterns.
pub const RULES_MAX: usize = 64;
/// Terms that are never masked. Each byte is a node of a trie, of some 80 bytes: 10 MiB at worst, for as long as the request.
pub const ALLOWED_MAX: usize = 1000;
/// Bytes of such a term, and of a constant.
const TERM_MAX: usize = 128;

/// Why a text was not masked. It must not go out then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    #[error("a pattern matches more than {most} times in one text: narrow it")]
    TooManyMatches { most: usize },
    #[error("a pattern matches more than {most} bytes at once: narrow it")]
    TooLongMatch { most: usize },
}

#[derive(Debug, Clone)]
pub struct Masker {
    method: Method,
    rules: Vec<Ready>,
    /// By kind: the rule that has it.
    by_kind: [Option<usize>; Kind::COUNT],
    patterns: Vec<(usize, Regex)>,
    allowed: Trie<()>,
    /// Characters of labels beside letters, digits and `_`.
    label_marks: BTreeSet<char>,
    table: Arc<Table>,
    given: BTreeMap<(usize, String), String>,
    inventor: Inventor,
    known: Known,
    steps: u64,
}

#[derive(Debug, Clone)]
enum Ready {
    /// The label, its index in the table.
    Label(String, usize),
    Invented(Kind),
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    rule: usize,
    /// Of the longest part: it decides the rule.
    longest: usize,
}

impl Span {
    fn join(&mut self, other: &Span) {
        if other.longest > self.longest {
            (self.rule, self.longest) = (other.rule, other.longest);
        }
        self.end = self.end.max(other.end);
    }
}

impl Masker {
    /// `seed` decides invented values and nothing else: give a random one per request, so that nobody knows them before.
    pub fn new(method: Method, rules: Vec<Rule>, allowed: &[String], seed: u64) -> Result<Self, SetupError> {
        if rules.len() > RULES_MAX {
            return Err(SetupError::TooMany { what: "entities", most: RULES_MAX });
        }
        if allowed.len() > ALLOWED_MAX || allowed.iter().any(|term| term.len() > TERM_MAX) {
            return Err(SetupError::TooMany { what: "terms of the allowlist, or bytes of one", most: ALLOWED_MAX });
        }
        let mut masker = Self {
            method,
            rules: Vec::new(),
            by_kind: [None; Kind::COUNT],
            patterns: Vec::new(),
            allowed: Trie::default(),
            label_marks: BTreeSet::new(),
            table: Arc::default(),
            given: BTreeMap::new(),
            inventor: Inventor::new(seed),
            known: Known::default(),
            steps: 0,
        };
        for term in allowed.iter().filter(|term| !term.is_empty()) {
            *masker.allowed.slot(term.to_lowercase().into_bytes()) = Some(());
        }
        let mut width = [usize::MAX; Kind::COUNT];
        for rule in &rules {
            let index = masker.rules.len();
            for kind in rule.entity.kinds() {
                if rule.entity.kinds().len() < width[*kind as usize] {
                    width[*kind as usize] = rule.entity.kinds().len();
                    masker.by_kind[*kind as usize] = Some(index);
                }
            }
            if let Entity::Custom(pattern) = &rule.entity {
                masker.patterns.push((index, pattern.regex.clone()));
            }
            let ready = masker.ready(rule)?;
            masker.rules.push(ready);
        }
        Ok(masker)
    }

    fn ready(&mut self, rule: &Rule) -> Result<Ready, SetupError> {
        let label = match &rule.replacement {
            Replacement::Fabricated => {
                let kind = rule.entity.kinds().first().copied().filter(|kind| fabricate::can(*kind));
                let entity = rule.entity.name().unwrap_or("a pattern").to_owned();
                return kind.map(Ready::Invented).ok_or(SetupError::NotFabricated { entity });
            }
            Replacement::Label => rule.entity.label(),
            Replacement::Constant(value) => {
                let broken = |why| Err(SetupError::Constant { value: value.chars().take(80).collect(), why });
                if value.is_empty() || value.len() > TERM_MAX {
                    return broken("it has to be 1 to 128 bytes long");
                }
                if self.method == Method::Pseudonymize && value.chars().any(|c| c.is_whitespace() || c.is_control()) {
                    return broken("what is put back has to be one word");
                }
                value
            }
        };
        self.label_marks.extend(label.chars().filter(|c| !c.is_ascii_alphanumeric() && *c != '_'));
        self.inventor.taken(label);
        let index = Arc::make_mut(&mut self.table).label(label);
        Ok(Ready::Label(label.to_owned(), index))
    }

    /// One text of the request. The table grows with it.
    pub fn mask(&mut self, source: &str) -> Result<String, MaskError> {
        let spans = self.joined(source)?;
        if self.rules.iter().any(|rule| matches!(rule, Ready::Invented(_))) {
            self.inventor.taken(source);
        }
        let mut masked = String::with_capacity(source.len());
        let mut done = 0;
        for span in spans {
            masked.push_str(&source[done..span.start]);
            masked.push_str(&self.replacement(span.rule, &source[span.start..span.end]));
            done = span.end;
        }
        masked.push_str(&source[done..]);
        Ok(masked)
    }

    /// What [`Masker::mask`] would mask, in order, none within another. Remembers names that it met, as masking does.
    pub fn find(&mut self, source: &str) -> Result<Vec<Range<usize>>, MaskError> {
        Ok(self.joined(source)?.into_iter().map(|span| span.start..span.end).collect())
    }

    /// Puts back what [`Masker::mask`] took out of any text so far. Nothing, where the method is for good.
    pub fn unmask(&self, text: &str) -> String {
        let mut unmasker = self.unmasker();
        let mut out = unmasker.push(text);
        out.push_str(&unmasker.end());
        out
    }

    /// For an answer that comes in pieces, once all texts are masked.
    pub fn unmasker(&self) -> Unmasker {
        Unmasker::new(match self.method {
            Method::Pseudonymize => self.table.clone(),
            Method::Anonymize => Arc::default(),
        })
    }

    /// How much was looked at so far, in tokens and bytes. The measure by which work is held to be linear.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    fn joined(&mut self, source: &str) -> Result<Vec<Span>, MaskError> {
        let text = Text::new(source);
        let mut spans = self.spans(&text)?;
        if self.method == Method::Pseudonymize {
            self.escape(&text, &mut spans);
            join(&mut spans, false);
            self.take_along(&text, &mut spans);
            join(&mut spans, true);
        } else {
            join(&mut spans, false);
        }
        self.steps += text.steps();
        Ok(spans)
    }

    fn spans(&mut self, text: &Text) -> Result<Vec<Span>, MaskError> {
        let allowed = self.allowed_in(text);
        let mut spans = Vec::new();
        let mut add = |start: usize, end: usize, rule| {
            let at = allowed.partition_point(|(_, allowed_end)| *allowed_end < end);
            // Sorted by end, and the first that reaches so far begins first of all that do.
            if allowed.get(at).is_none_or(|(allowed_start, _)| *allowed_start > start) {
                spans.push(Span { start, end, rule, longest: end - start });
            }
        };
        let by_kind = self.by_kind;
        for found in find::find(text, &|kind| by_kind[kind as usize].is_some(), &mut self.known) {
            if let Some(rule) = by_kind[found.kind as usize] {
                add(found.start, found.end, rule);
            }
        }
        for (rule, regex) in &self.patterns {
            find::find_pattern(text, regex, |start, end| add(start, end, *rule))?;
        }
        Ok(spans)
    }

    /// Where terms of the allowlist stand, the longest at each place, none within another.
    fn allowed_in(&self, text: &Text) -> Vec<(usize, usize)> {
        let mut allowed: Vec<(usize, usize)> = Vec::new();
        if !self.allowed.goes_on(self.allowed.root()) {
            return allowed;
        }
        let mut before: Option<char> = None;
        for (start, c) in text.source.char_indices() {
            if !before.replace(c).is_some_and(char::is_alphanumeric) || !c.is_alphanumeric() {
                let mut at = Some(self.allowed.root());
                let mut end = 0;
                for (offset, c) in text.source[start..].char_indices() {
                    text.count(1);
                    let mut lower = c.to_lowercase().flat_map(|c| c.to_string().into_bytes());
                    at = at.and_then(|at| lower.try_fold(at, |at, byte| self.allowed.step(at, byte)));
                    let Some(node) = at else { break };
                    let after = start + offset + c.len_utf8();
                    if self.allowed.value(node).is_some() && !text.source[after..].starts_with(char::is_alphanumeric) {
                        end = after;
                    }
                }
                if end > allowed.last().map_or(0, |(_, end)| *end) {
                    allowed.push((start, end));
                }
            }
        }
        allowed
    }

    /// What only looks like a tag or an invented value.
    fn escape(&self, text: &Text, spans: &mut Vec<Span>) {
        let label = self.rules.iter().position(|rule| matches!(rule, Ready::Label(..))).unwrap_or(0);
        let mut before = None;
        let mut at = 0;
        while let Some(c) = text.source[at..].chars().next() {
            text.count(1);
            let len = match self.table.look(text.source, at, before, true, Numbers::Any) {
                Look::Found { len, .. } => {
                    spans.push(Span { start: at, end: at + len, rule: label, longest: len });
                    len
                }
                _ => c.len_utf8(),
            };
            before = text.source[at..at + len].chars().next_back();
            at += len;
        }
    }

    fn take_along(&self, text: &Text, spans: &mut [Span]) {
        for span in spans {
            let invented = matches!(self.rules[span.rule], Ready::Invented(_));
            let stuck = |c: &char| {
                text.count(1);
                c.is_ascii_alphanumeric()
                    || *c == '_'
                    || self.label_marks.contains(c)
                    || invented && c.is_alphanumeric()
            };
            let before = text.source[..span.start].chars().rev().take_while(stuck).map(char::len_utf8).sum::<usize>();
            let after = text.source[span.end..].chars().take_while(stuck).map(char::len_utf8).sum::<usize>();
            span.start -= before;
            span.end += after;
        }
    }

    fn replacement(&mut self, rule: usize, value: &str) -> String {
        let slot = match &self.rules[rule] {
            Ready::Label(label, _) if self.method == Method::Anonymize => return label.clone(),
            Ready::Label(_, index) => *index,
            Ready::Invented(kind) => usize::MAX - *kind as usize,
        };
        let key = (slot, value.to_owned());
        if let Some(given) = self.given.get(&key) {
            return given.clone();
        }
        let table = Arc::make_mut(&mut self.table);
        let given = match &self.rules[rule] {
            Ready::Label(label, index) => format!("{label}_{}", table.number(*index, value)),
            Ready::Invented(kind) => {
                let invented = self.inventor.invent(*kind);
                table.fabricate(&invented, value);
                invented
            }
        };
        self.given.insert(key, given.clone());
        given
    }
}

/// Sorts, and joins what overlaps; with `touching` also what stands wall to wall.
fn join(spans: &mut Vec<Span>, touching: bool) {
    spans.sort_unstable_by_key(|span| (span.start, std::cmp::Reverse(span.end), span.rule));
    let mut joined: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans.drain(..) {
        match joined.last_mut() {
            Some(last) if span.start < last.end || touching && span.start == last.end => last.join(&span),
            _ => joined.push(span),
        }
    }
    *spans = joined;
}
