//! `[n]` in text that comes in pieces: found whatever the pieces, kept where passage n was given, otherwise gone.
//!
//! A citation is a bracket with nothing but numbers in it: `[1]`, `[1, 3]`, `[2-4]`, `[^1]`, and what some models write,
//! `【1】` and `【1†source】`. What remains is written `[1][3]`. Text is held back only from an opening bracket to where it is known
//! what it is, at most [`HELD_BYTES_MAX`] bytes.
//!
//! Why what stands before a removed citation is looked at again: `[1[9]2]` would otherwise become `[12]`.

/// `[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]` has 39: more than anybody cites at once.
const HELD_BYTES_MAX: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Char(char),
    /// Of a passage that was given.
    Cited(usize),
}

#[derive(Debug, Default)]
pub(super) struct Citations {
    given: usize,
    /// Spaces, in case what follows them is removed,
    spaces: usize,
    /// and the text from the first bracket on that may be a citation.
    held: String,
    /// Numbers removed.
    pub foreign: u64,
}

/// Numbers from one to another, as `2-4` says.
type Range = (u64, u64);

impl Citations {
    pub fn new(given: usize) -> Self {
        Citations { given, ..Citations::default() }
    }

    pub fn push(&mut self, c: char, out: &mut Vec<Token>) {
        let c = match c {
            '【' => '[',
            '】' => ']',
            other => other,
        };
        match c {
            '[' => self.held.push('['),
            ' ' if self.held.is_empty() => self.spaces += 1,
            ']' if !self.held.is_empty() => self.close(out),
            c if !self.held.is_empty() && self.may_go_on(c) => self.held.push(c),
            c => {
                self.release(out);
                out.push(Token::Char(c));
            }
        }
        if self.held.len() > HELD_BYTES_MAX {
            // What would close it comes too late: it is written so that nothing can.
            self.held = self.held.replace('[', "(");
            self.release(out);
        }
    }

    /// The end: what is held is no citation.
    pub fn end(&mut self, out: &mut Vec<Token>) {
        self.release(out);
    }

    fn may_go_on(&self, c: char) -> bool {
        let inner = self.held.rsplit('[').next().unwrap_or_default();
        match c {
            '0'..='9' | ',' | ';' | ' ' | '-' | '–' => true,
            '^' => inner.is_empty(),
            '†' => inner.starts_with(|c: char| c.is_ascii_digit()),
            c => inner.contains('†') && c != '\n',
        }
    }

    fn close(&mut self, out: &mut Vec<Token>) {
        let open = self.held.rfind('[').unwrap_or_default();
        let Some(ranges) = numbers(&self.held[open + 1..]) else {
            self.release(out);
            return out.push(Token::Char(']'));
        };
        let mut cited = Vec::new();
        for (from, to) in ranges {
            let (first, last) = (from.max(1), to.min(self.given as u64));
            cited.extend((first..=last).map(|number| Token::Cited(number as usize)));
            self.foreign += u64::from(from == 0 || to > self.given as u64);
        }
        self.held.truncate(open);
        if !cited.is_empty() {
            self.release(out);
            out.append(&mut cited);
        } else if self.held.is_empty() {
            self.spaces = 0;
        }
    }

    fn release(&mut self, out: &mut Vec<Token>) {
        out.extend(std::iter::repeat_n(Token::Char(' '), std::mem::take(&mut self.spaces)));
        out.extend(self.held.drain(..).map(Token::Char));
    }
}

/// What stands between the brackets, if it is numbers.
fn numbers(inner: &str) -> Option<Vec<Range>> {
    let inner = inner.split('†').next().unwrap_or_default();
    let inner = inner.strip_prefix('^').unwrap_or(inner);
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let mut ranges = Vec::new();
    for piece in inner.split([',', ';', ' ']).filter(|piece| !piece.is_empty()) {
        let (from, to) = piece.split_once(['-', '–']).unwrap_or((piece, piece));
        ranges.push((number(from)?, number(to)?));
    }
    (!ranges.is_empty()).then_some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(given: usize, text: &str) -> (String, u64) {
        let (mut citations, mut out) = (Citations::new(given), Vec::new());
        text.chars().for_each(|c| citations.push(c, &mut out));
        citations.end(&mut out);
        let show = |token: &Token| match token {
            Token::Char(c) => c.to_string(),
            Token::Cited(number) => format!("<{number}>"),
        };
        (out.iter().map(show).collect(), citations.foreign)
    }

    #[test]
    fn forms() {
        let check = |text: &str, expect: &str, foreign: u64| {
            assert_eq!(run(3, text), (expect.to_owned(), foreign), "{text}");
        };
        check("Ja [1].", "Ja <1>.", 0);
        check("Ja [1, 3][2].", "Ja <1><3><2>.", 0);
        check("Ja [2-3] [1;2] [1 2] [^1]", "Ja <2><3> <1><2> <1><2> <1>", 0);
        check("Ja 【1】 【2†L3-L5】 [3†Quelle].", "Ja <1> <2> <3>.", 0);
        check("Ja [4].", "Ja.", 1);
        check("Ja [1, 9].", "Ja <1>.", 1);
        check("Ja [0] [1-99999999999999999999]", "Ja <1><2><3>", 2);
        check("Ja [3-1] nein", "Ja nein", 0);
        check("[] [ ] [a] [1a] [-] [1-] - [x] 1]", "[] [ ] [a] [1a] [-] [1-] - [x] 1]", 0);
        check("Ende [1", "Ende [1", 0);
        check("[[1]] [siehe [2]]", "[<1>] [siehe <2>]", 0);
        check("[1](https://example.com)", "<1>(https://example.com)", 0);
    }

    #[test]
    fn nothing_that_remains_becomes_a_citation() {
        for text in ["Ja [1[9]2].", "Ja [[9]9].", "[[[9]1[9]]2]", "【1【9】2】"] {
            let (once, foreign) = run(3, text);
            assert!(foreign > 0, "{text}");
            let written = once.replace('<', "[").replace('>', "]");
            assert_eq!(run(3, &written), (once, 0), "{text}");
        }
    }

    #[test]
    fn an_endless_bracket_is_none() {
        let inside = "1".repeat(HELD_BYTES_MAX - 1);
        assert_eq!(run(3, &format!("[{inside}]")), (String::new(), 1));
        let long = "1".repeat(HELD_BYTES_MAX);
        assert_eq!(run(3, &format!("[{long}]")), (format!("({long}]"), 0));
        let nested = "[".repeat(200);
        assert!(!run(3, &format!("{nested}1]")).0.contains("[1]"));
    }
}
