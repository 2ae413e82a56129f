//! A document's text in pieces: what is found, cited and hashed. A piece is some sentences, at most [`PASSAGE_CHARS_MAX`]
//! characters, with its place in the text. Where a paragraph is cut, the next piece begins with the last sentences of the one
//! before, so that a sentence and what it refers to stand together in one of them.
//!
//! Sentences end as German and English ones do: not after `z. B.`, `Nr.`, `e.g.` or the `3.` of a date. Pure: text in, pieces out.

/// A piece is closed when the next sentence would take it past this: about 200 tokens, so that ten pieces fit into any prompt.
pub(crate) const PASSAGE_CHARS_TARGET: usize = 900;

/// No piece is longer. A single sentence that is (a table without ends) is cut between words, or between characters at worst.
pub const PASSAGE_CHARS_MAX: usize = 1_200;

/// A piece shorter than this is not closed at the end of a paragraph but goes on with the next.
const PASSAGE_CHARS_MIN: usize = 250;

/// What a piece repeats of the one before: one or two sentences.
const OVERLAP_CHARS_MAX: usize = 200;

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    /// Where it begins in the text, in characters.
    pub start: u32,
}

/// A part of the text that is not cut where it need not be: a sentence, or a piece of one that is too long.
#[derive(Debug, Clone, Copy)]
struct Unit<'t> {
    text: &'t str,
    /// In bytes.
    at: usize,
    /// A paragraph begins with it.
    opens: bool,
    /// It is a heading, or begins with one.
    heading: bool,
}

/// The text in pieces, in order. Nothing but white space is lost.
pub fn pieces(text: &str) -> Vec<Piece> {
    let units = units(text);
    let mut pieces = Vec::new();
    let mut chars = CharCount { text, byte: 0, chars: 0 };
    let mut open: Vec<Unit<'_>> = Vec::new();
    // How many of the open units are repeated of the piece before.
    let mut repeated = 0;
    let mut close = |open: &[Unit<'_>]| {
        let (Some(first), Some(last)) = (open.first(), open.last()) else { return };
        let piece = text[first.at..last.at + last.text.len()].trim_end();
        pieces.push(Piece { text: piece.to_owned(), start: chars.at(first.at) });
    };
    for unit in units {
        let length = |units: &[Unit<'_>]| match (units.first(), units.last()) {
            (Some(first), Some(last)) => text[first.at..last.at + last.text.len()].chars().count(),
            _ => 0,
        };
        let held = length(&open);
        let fresh = open.len() > repeated;
        let joined = open.first().map_or(0, |first| text[first.at..unit.at + unit.text.len()].chars().count());
        let ends_here = unit.opens && (held >= PASSAGE_CHARS_MIN || unit.heading) && joined > PASSAGE_CHARS_TARGET / 2;
        if fresh && (joined > PASSAGE_CHARS_TARGET || ends_here) {
            close(&open);
            repeated = 0;
            if unit.opens {
                open.clear();
            } else {
                let kept = open.iter().rposition(|kept| length_to(text, kept.at, &open) > OVERLAP_CHARS_MAX);
                open.drain(..kept.map_or(0, |last| last + 1).max(1).min(open.len()));
                let joined = open.first().map_or(0, |first| text[first.at..unit.at + unit.text.len()].chars().count());
                if joined > PASSAGE_CHARS_MAX {
                    open.clear();
                }
                repeated = open.len();
            }
        }
        open.push(unit);
    }
    if open.len() > repeated {
        close(&open);
    }
    pieces
}

/// Characters from a place to the end of the open units.
fn length_to(text: &str, from: usize, open: &[Unit<'_>]) -> usize {
    open.last().map_or(0, |last| text[from..last.at + last.text.len()].chars().count())
}

/// Counts characters up to ascending or nearby places without counting from the beginning each time.
struct CharCount<'t> {
    text: &'t str,
    byte: usize,
    chars: u32,
}

impl CharCount<'_> {
    fn at(&mut self, byte: usize) -> u32 {
        if byte < self.byte {
            self.chars -= count(&self.text[byte..self.byte]);
        } else {
            self.chars += count(&self.text[self.byte..byte]);
        }
        self.byte = byte;
        self.chars
    }
}

fn count(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

fn units(text: &str) -> Vec<Unit<'_>> {
    let mut units = Vec::new();
    for (at, paragraph) in paragraphs(text) {
        let heading = paragraph.starts_with('#');
        let mut opens = true;
        for (inside, sentence) in sentences(paragraph) {
            for (offset, part) in cut(sentence) {
                units.push(Unit { text: part, at: at + inside + offset, opens, heading: heading && opens });
                opens = false;
            }
        }
    }
    units
}

/// Paragraphs with their places: what blank lines, headings and list items part.
fn paragraphs(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut begin: Option<usize> = None;
    let mut at = 0;
    let mut after_heading = false;
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        let heading = bare.starts_with('#');
        if (bare.is_empty() || heading || after_heading)
            && let Some(from) = begin.take()
        {
            found.push((from, text[from..at].trim_end()));
        }
        after_heading = heading;
        if !bare.is_empty() && begin.is_none() {
            begin = Some(at + (line.len() - line.trim_start().len()));
        }
        at += line.len();
    }
    if let Some(from) = begin {
        found.push((from, text[from..].trim_end()));
    }
    found
}

/// Sentences of a paragraph with their places.
fn sentences(paragraph: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut from = 0;
    let mut places = paragraph.char_indices().peekable();
    while let Some((at, c)) = places.next() {
        let line_of_list =
            c == '\n' && paragraph[at + 1..].trim_start_matches(' ').starts_with(['-', '*', '•', '–', '|']);
        if !matches!(c, '.' | '!' | '?' | '…') && !line_of_list {
            continue;
        }
        let mut end = at + c.len_utf8();
        while let Some((next, closing)) =
            places.next_if(|(_, c)| matches!(c, '.' | '!' | '?' | '"' | '\'' | '”' | '“' | '’' | '»' | '«' | ')' | ']'))
        {
            end = next + closing.len_utf8();
        }
        let rest = &paragraph[end..];
        if !line_of_list && (!rest.starts_with(char::is_whitespace) || !ends(&paragraph[from..at], c, rest)) {
            continue;
        }
        push(&mut found, paragraph, from, end);
        from = end;
    }
    push(&mut found, paragraph, from, paragraph.len());
    found
}

fn push<'t>(found: &mut Vec<(usize, &'t str)>, text: &'t str, from: usize, to: usize) {
    let part = &text[from..to];
    let bare = part.trim();
    if !bare.is_empty() {
        found.push((from + (part.len() - part.trim_start().len()), bare));
    }
}

/// What ends with a point and no sentence with it.
const ABBREVIATIONS: &[&str] = &[
    "abb", "abs", "allg", "art", "aufl", "bd", "bspw", "bzgl", "ca", "chr", "co", "corp", "dept", "dez", "dgl", "dipl",
    "dr", "e.g", "eigtl", "etc", "ev", "evtl", "feb", "fig", "geb", "gem", "ges", "ggf", "ggü", "hr", "hrsg", "i.e",
    "inc", "ing", "inkl", "insb", "jan", "jr", "kap", "lfd", "ltd", "max", "min", "mr", "mrs", "ms", "nr", "no", "nov",
    "okt", "p", "pp", "pos", "prof", "rd", "sec", "sep", "sept", "sog", "sr", "st", "std", "str", "tab", "tel", "u.a",
    "usw", "v.a", "vgl", "vol", "vs", "z.b", "ziff", "zzgl",
];

/// Whether a mark after these words ends a sentence, seen what follows.
fn ends(before: &str, mark: char, rest: &str) -> bool {
    let next = rest.trim_start().chars().next();
    let begins = next.is_none_or(|c| c.is_uppercase() || c.is_numeric() || !c.is_alphanumeric());
    if mark != '.' {
        return begins;
    }
    let word = before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    let lower = word.to_lowercase();
    // The letter of `z. B.`, the number of `am 3. Mai`.
    let letter = word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
    let ordinal = !word.is_empty() && word.len() <= 2 && word.bytes().all(|b| b.is_ascii_digit());
    begins && !letter && !ordinal && !ABBREVIATIONS.contains(&lower.as_str())
}

/// A sentence in parts of at most [`PASSAGE_CHARS_MAX`] characters, cut between words where there are any.
fn cut(sentence: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some((most, _)) = sentence[from..].char_indices().nth(PASSAGE_CHARS_MAX) {
        let window = &sentence[from..from + most];
        let end = window.rfind(char::is_whitespace).filter(|end| *end > 0).unwrap_or(most);
        push(&mut parts, sentence, from, from + end);
        from += end;
    }
    push(&mut parts, sentence, from, sentence.len());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sentence_ends() {
        let check = |text: &str, expect: &[&str]| {
            let found: Vec<&str> = sentences(text).into_iter().map(|(_, sentence)| sentence).collect();
            assert_eq!(found, expect, "{text}");
        };
        check("Eins. Zwei! Drei? Vier", &["Eins.", "Zwei!", "Drei?", "Vier"]);
        check("Das gilt z. B. am 3. Mai. Danach nicht.", &["Das gilt z. B. am 3. Mai.", "Danach nicht."]);
        check("Siehe Abs. 2 Nr. 4 des Vertrags. Ende.", &["Siehe Abs. 2 Nr. 4 des Vertrags.", "Ende."]);
        check("See e.g. Section 4. It applies.", &["See e.g. Section 4. It applies."]);
        check(
            "It costs 3.50 euros. Pay at www.example.com now.",
            &["It costs 3.50 euros.", "Pay at www.example.com now."],
        );
        check("„Halt!“ Dann ging sie. (So war es.) Ja.", &["„Halt!“", "Dann ging sie.", "(So war es.)", "Ja."]);
        check("Seit 2024. Neu ist das.", &["Seit 2024.", "Neu ist das."]);
        check("Punkte:\n- eins\n- zwei", &["Punkte:", "- eins", "- zwei"]);
        check("Version 2.5.1 läuft. äh, ja", &["Version 2.5.1 läuft. äh, ja"]);
        check("", &[]);
    }

    #[test]
    fn a_short_text_is_one_piece() {
        let text = "  # Titel\n\nEin Satz.\nNoch einer.\n";
        assert_eq!(pieces(text), [Piece { text: "# Titel\n\nEin Satz.\nNoch einer.".to_owned(), start: 2 }]);
        assert_eq!(pieces(" \n\n "), []);
    }

    #[test]
    fn a_cut_paragraph_repeats_its_last_sentences_and_a_new_one_does_not() {
        let long: Vec<String> =
            (0..40).map(|n| format!("Satz {n:02} handelt von Übergängen zwischen Stücken.")).collect();
        let found = pieces(&long.join(" "));
        assert!(found.len() >= 2);
        for pair in found.windows(2) {
            let last = sentences(&pair[0].text).last().unwrap().1;
            assert!(pair[1].text.contains(last), "{pair:?}");
            assert!(!pair[1].text.starts_with(&pair[0].text[..30]));
        }
        let apart = format!("{}\n\n{}", long[..15].join(" "), long[15..30].join(" "));
        let found = pieces(&apart);
        assert_eq!(found.len(), 2);
        assert!(found[1].text.starts_with("Satz 15"));
    }

    #[test]
    fn what_has_no_ends_is_cut_between_words_or_characters() {
        let words = "wort ".repeat(1_000);
        let found = pieces(&words);
        assert!(found.iter().all(|piece| piece.text.chars().count() <= PASSAGE_CHARS_MAX));
        assert!(found.iter().all(|piece| piece.text.starts_with("wort") && piece.text.ends_with("wort")));
        let found = pieces(&"ä".repeat(3_000));
        assert_eq!(found.iter().map(|piece| piece.text.chars().count()).collect::<Vec<_>>(), [1_200, 1_200, 600]);
        assert_eq!(found.iter().map(|piece| piece.start).collect::<Vec<_>>(), [0, 1_200, 2_400]);
    }

    proptest! {
        /// Whatever the text: pieces are bounded, lie where they say, cover every word, and go forward.
        #[test]
        fn pieces_are_of_the_text(text in "([a-zäöüß]{1,12}[ .!?\n#-]{1,3}|[A-ZÄ]\\. |3\\. |\\n\\n){0,400}") {
            let chars: Vec<char> = text.chars().collect();
            let mut covered = vec![false; chars.len()];
            let mut last = None;
            for piece in pieces(&text) {
                let length = piece.text.chars().count();
                let start = piece.start as usize;
                prop_assert!(length > 0 && length <= PASSAGE_CHARS_MAX);
                prop_assert_eq!(chars[start..start + length].iter().collect::<String>(), piece.text);
                prop_assert!(last < Some(start));
                last = Some(start);
                covered[start..start + length].fill(true);
            }
            for (c, covered) in chars.iter().zip(covered) {
                prop_assert!(covered || c.is_whitespace(), "{:?} is lost", c);
            }
        }
    }
}
