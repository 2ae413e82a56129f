//! What a model wrote against what it was given: foreign citations removed, claims without a citation marked.
//!
//! The unit is the sentence. A sentence is cited if a citation stands in it or directly behind its end (`So ist es. [1]`). Every
//! sentence with a word in it is a claim, but for: questions, headings, lines that end with a colon, the first row of a table,
//! blocks of code, and the sentence that the documents say nothing. A cited sentence does not vouch for the one before it: who
//! marks too much is noticed, who marks too little is believed.
//!
//! The mark is ` [unbelegt]` or ` [uncited]`, behind the sentence. Where the answer's form was prescribed (JSON) there is no place
//! for it; then [`Findings`] alone says so.
//!
//! What leaves in pieces is what would leave in one: characters are looked at one by one, and held back are only an open bracket,
//! spaces, and the end of a sentence until the next character says that it was one. What is wrong is judged in favour of going on:
//! after an abbreviation that we do not know a sentence may be taken for two, and its first part marked.

use super::citations::{Citations, Token};
use super::language::{Language, says_absent};
use serde::Serialize;
use std::collections::BTreeSet;

/// Whether the text itself shows what is not cited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    InText,
    /// The text passes untouched: its form was prescribed.
    None,
}

/// What was found in an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Numbers of the passages that are cited.
    pub cited: BTreeSet<usize>,
    /// Citations of what was not given, removed.
    pub foreign: u64,
    /// Sentences that claim something,
    pub claims: u64,
    /// and those of them that cite nothing.
    pub uncited: u64,
    /// The answer says that the documents say nothing.
    pub absent: bool,
}

/// A line is read by what it begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Prose,
    Heading,
    Row,
}

/// Where we are in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing of the line was seen but so many backticks.
    Start {
        ticks: usize,
    },
    Within(Line),
    /// In a block of code, with what its present line began with.
    Code {
        ticks: usize,
        begun: bool,
    },
    /// In the line that ends a block of code.
    CodeEnd,
}

/// The sentence that is being read.
#[derive(Debug, Default)]
struct Sentence {
    /// It has a word or a number in it.
    claim: bool,
    question: bool,
    cited: bool,
    /// Its end was seen, if that is an end.
    ended: bool,
    /// The last character that is no space.
    last: Option<char>,
    /// The word that is being read, for abbreviations.
    word: String,
    /// Its beginning, to recognise the sentence of absence.
    text: String,
}

/// Of a word and of a sentence: longer than what either is compared with.
const WORD_BYTES_KEPT: usize = 12;
const TEXT_BYTES_KEPT: usize = 200;

/// After these a full stop ends no sentence. Some do end sentences (`usw.`, `etc.`) and are left out.
const ABBREVIATIONS: &[&str] = &[
    "abs", "abt", "allg", "approx", "art", "aufl", "bd", "bspw", "bzgl", "bzw", "ca", "co", "dept", "dipl", "dr",
    "einschl", "evtl", "fig", "fr", "geb", "gem", "ggf", "ggfs", "hr", "inc", "ing", "inkl", "insb", "lit", "ltd",
    "max", "min", "mind", "mio", "mr", "mrd", "mrs", "ms", "nr", "prof", "rd", "rn", "s", "sec", "sog", "st", "std",
    "str", "tel", "tsd", "ust", "vgl", "vs", "ziff", "zzgl", "zzt",
];

pub struct Checker {
    citations: Citations,
    language: Language,
    marks: Marks,
    place: Place,
    sentence: Sentence,
    /// Spaces that have not left.
    spaces: String,
    /// The line before was a row of a table.
    table: bool,
    out: String,
    findings: Findings,
}

impl Checker {
    /// For an answer from so many passages.
    pub fn new(given: usize, language: Language, marks: Marks) -> Checker {
        Checker {
            citations: Citations::new(given),
            language,
            marks,
            place: Place::Start { ticks: 0 },
            sentence: Sentence::default(),
            spaces: String::new(),
            table: false,
            out: String::new(),
            findings: Findings::default(),
        }
    }

    /// The next piece of an answer; what of it, and of pieces before, may leave.
    pub fn push(&mut self, piece: &str) -> String {
        let mut tokens = Vec::new();
        for c in piece.chars() {
            if matches!(self.place, Place::Code { .. } | Place::CodeEnd) {
                self.token(Token::Char(c));
            } else {
                self.citations.push(c, &mut tokens);
                tokens.drain(..).for_each(|token| self.token(token));
            }
        }
        match self.marks {
            Marks::InText => std::mem::take(&mut self.out),
            Marks::None => {
                self.out.clear();
                piece.to_owned()
            }
        }
    }

    /// The answer ended: what was held back.
    pub fn end(&mut self) -> String {
        let mut tokens = Vec::new();
        self.citations.end(&mut tokens);
        tokens.drain(..).for_each(|token| self.token(token));
        self.line_end();
        match self.marks {
            Marks::InText => std::mem::take(&mut self.out),
            Marks::None => String::new(),
        }
    }

    /// A whole answer.
    pub fn whole(mut self, text: &str) -> (String, Findings) {
        let mut checked = self.push(text);
        checked.push_str(&self.end());
        (checked, self.findings())
    }

    /// So far.
    pub fn findings(&self) -> Findings {
        Findings { foreign: self.citations.foreign, ..self.findings.clone() }
    }

    fn token(&mut self, token: Token) {
        match token {
            Token::Char('\n') => {
                self.line_end();
                self.out.push('\n');
            }
            Token::Char(c) => self.char(c),
            Token::Cited(number) => {
                self.findings.cited.insert(number);
                self.begin_line();
                self.let_spaces_go();
                self.sentence.cited = true;
                self.sentence.word.clear();
                self.out.push_str(&format!("[{number}]"));
            }
        }
    }

    fn char(&mut self, c: char) {
        match &mut self.place {
            Place::Code { ticks, begun } => {
                match c {
                    '`' if !*begun => *ticks += 1,
                    ' ' if *ticks == 0 => {}
                    _ => *begun = true,
                }
                if *ticks == FENCE {
                    self.place = Place::CodeEnd;
                }
                return self.out.push(c);
            }
            Place::CodeEnd => return self.out.push(c),
            Place::Start { ticks } if c == '`' => {
                *ticks += 1;
                if *ticks == FENCE {
                    self.place = Place::Code { ticks: 0, begun: true };
                    self.sentence = Sentence::default();
                }
                self.let_spaces_go();
                return self.out.push(c);
            }
            Place::Start { ticks: 0 } if c == '#' => self.place = Place::Within(Line::Heading),
            Place::Start { ticks: 0 } if c == '|' => self.place = Place::Within(Line::Row),
            Place::Start { .. } if !c.is_whitespace() => self.begin_line(),
            _ => {}
        }
        if c.is_whitespace() {
            self.sentence.word.clear();
            return self.spaces.push(c);
        }
        self.visible(c);
    }

    fn begin_line(&mut self) {
        if let Place::Start { .. } = self.place {
            self.place = Place::Within(Line::Prose);
        }
    }

    /// A character that is no space, outside of code.
    fn visible(&mut self, c: char) {
        if self.sentence.ended {
            let closes =
                matches!(c, '"' | '\'' | '”' | '“' | '’' | '‘' | '»' | '«' | ')' | '*' | '_' | '.' | '!' | '?' | '…');
            if !(closes && self.spaces.is_empty()) {
                if !self.spaces.is_empty() && !c.is_lowercase() {
                    self.close();
                }
                self.sentence.ended = false;
            }
        }
        self.let_spaces_go();
        self.out.push(c);
        let stops = matches!(c, '.' | '!' | '?' | '…') && self.place == Place::Within(Line::Prose);
        let sentence = &mut self.sentence;
        if stops && !sentence.ended {
            sentence.ended = c != '.' || !abbreviates(&sentence.word);
        }
        sentence.question |= stops && c == '?';
        sentence.claim |= c.is_alphanumeric();
        sentence.last = Some(c);
        push_bounded(&mut sentence.word, c, WORD_BYTES_KEPT);
        push_bounded(&mut sentence.text, c, TEXT_BYTES_KEPT);
    }

    fn let_spaces_go(&mut self) {
        self.out.push_str(&self.spaces);
        self.spaces.clear();
    }

    fn line_end(&mut self) {
        match self.place {
            Place::Code { .. } => self.place = Place::Code { ticks: 0, begun: false },
            Place::CodeEnd => self.place = Place::Start { ticks: 0 },
            Place::Start { .. } | Place::Within(_) => {
                let row = self.place == Place::Within(Line::Row);
                let leads = self.sentence.last == Some(':');
                if self.place == Place::Within(Line::Heading) || leads || (row && !self.table) {
                    self.sentence = Sentence::default();
                }
                self.close();
                self.table = row;
                self.place = Place::Start { ticks: 0 };
            }
        }
        self.let_spaces_go();
    }

    /// The sentence is over: judged, and marked before the spaces that follow it.
    fn close(&mut self) {
        let sentence = std::mem::take(&mut self.sentence);
        if !sentence.claim || sentence.question {
            return;
        }
        if says_absent(&sentence.text) {
            self.findings.absent = true;
            return;
        }
        self.findings.claims += 1;
        if !sentence.cited {
            self.findings.uncited += 1;
            self.out.push_str(self.language.uncited());
        }
    }
}

/// So many backticks at the beginning of a line begin and end a block of code.
const FENCE: usize = 3;

fn push_bounded(text: &mut String, c: char, bytes_max: usize) {
    if text.len() + c.len_utf8() <= bytes_max {
        text.push(c);
    }
}

/// Whether a full stop after this word ends no sentence: abbreviations, initials, and numbers of one or two digits (`am 3. Mai`,
/// `1. Schritt`); a year ends one.
fn abbreviates(word: &str) -> bool {
    let word = word.trim_start_matches(|c: char| !c.is_alphanumeric());
    let mut parts = word.split('.').filter(|part| !part.is_empty());
    let one = |part: &str| part.chars().count() == 1;
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return matches!(word.len(), 1 | 2);
    }
    parts.all(one) || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

#[cfg(test)]
mod tests;
