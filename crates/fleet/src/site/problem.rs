//! What is wrong with a site file: where (file, line, column), what, and what to do about it. All of it is collected, not
//! the first only: whoever plans a hall wants to correct it in one go.

use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// 200 lines are some screens; behind them stand mostly consequences of the first. The others are counted.
pub const PROBLEMS_MAX: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum File {
    /// `site.toml`.
    Site,
    /// The CSV that it names under `serials`.
    Serials,
}

/// Where something was written. Lines and columns count from 1; columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    pub file: File,
    pub line: u32,
    pub column: u32,
}

impl Place {
    pub const START: Place = Place { file: File::Site, line: 1, column: 1 };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The site cannot be built so.
    Error,
    /// It can, and somebody should know.
    Warning,
}

/// One thing that is wrong. The code is stable, the texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub severity: Severity,
    pub place: Place,
    /// For example `feed_overloaded`; docs/site.md lists them.
    pub code: &'static str,
    pub what: String,
    /// What to do.
    pub advice: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let file = match self.place.file {
            File::Site => "line",
            File::Serials => "serials line",
        };
        let Place { line, column, .. } = self.place;
        write!(f, "{file} {line}:{column}: {word}: {} [{}]; {}", self.what, self.code, self.advice)
    }
}

/// The problems found so far, at most [`PROBLEMS_MAX`] of either severity.
#[derive(Debug, Default)]
pub(super) struct Problems {
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    left_out: usize,
}

impl Problems {
    pub fn error(&mut self, place: Place, code: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Error, place, code, what.into(), advice.into());
    }

    pub fn warning(&mut self, place: Place, code: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.add(Severity::Warning, place, code, what.into(), advice.into());
    }

    fn add(&mut self, severity: Severity, place: Place, code: &'static str, what: String, advice: String) {
        let list = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        if list.len() < PROBLEMS_MAX {
            list.push(Problem { severity, place, code, what, advice });
        } else {
            self.left_out += 1;
        }
    }

    pub fn any_error(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Errors first, then warnings, each as in the file; and how many more there were.
    pub fn sorted(mut self) -> (Vec<Problem>, usize) {
        self.errors.sort_by_key(|problem| problem.place);
        self.warnings.sort_by_key(|problem| problem.place);
        self.errors.append(&mut self.warnings);
        (self.errors, self.left_out)
    }
}

/// Where lines begin, to tell the line of a byte.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after).collect() }
    }

    pub fn place(&self, span: &Range<usize>) -> Place {
        let at = span.start.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= at).max(1);
        let start = self.starts[line - 1];
        let column = self.text.get(start..at).map_or(0, |before| before.chars().count());
        Place {
            file: File::Site,
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column + 1).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one() {
        let lines = Lines::new("aä b\n\nc");
        let at = |byte: usize| {
            let place = lines.place(&(byte..byte));
            (place.line, place.column)
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(4), (1, 4), "characters, not bytes");
        assert_eq!(at(6), (2, 1));
        assert_eq!(at(7), (3, 1));
        assert_eq!(at(99), (3, 2), "behind the end is the end");
    }

    #[test]
    fn problems_are_bounded_and_the_rest_is_counted() {
        let mut problems = Problems::default();
        for _ in 0..=PROBLEMS_MAX {
            problems.error(Place::START, "x", "y", "z");
        }
        problems.warning(Place::START, "x", "y", "z");
        let (list, left_out) = problems.sorted();
        assert_eq!((list.len(), left_out), (PROBLEMS_MAX + 1, 1));
        assert_eq!(list.last().map(|problem| problem.severity), Some(Severity::Warning), "errors do not crowd it out");
    }
}
