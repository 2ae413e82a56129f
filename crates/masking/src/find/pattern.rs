//! The client's own patterns. Nothing here goes back in a text, but finding all matches may still look at the rest of the text once for
//! each of them; so each search sees a window only, and there are at most so many matches.
//!
//! What stands around a window is seen by `$`, `\b` and their like: where the text goes on is no end. A match that is longer than a
//! client's pattern may have is refused where it shows itself; one that does not fit into a window does not.

use crate::masker::MaskError;
use crate::text::Text;
use regex_automata::Input;
use regex_automata::meta::Regex;

/// The longest match of a client's pattern, in bytes. What a pattern finds are values, not paragraphs.
pub const PATTERN_MATCH_MAX: usize = 4096;
/// Matches of one pattern in one text: with windows of twice the longest match this is 80 MiB to look at, a tenth of a second.
const MATCHES_MAX: usize = 10_000;

pub(crate) fn find(text: &Text, regex: &Regex, mut found: impl FnMut(usize, usize)) -> Result<(), MaskError> {
    let source = text.source;
    let mut matches = 0;
    let mut at = 0;
    while at < source.len() {
        let end = source.floor_char_boundary(at + 2 * PATTERN_MATCH_MAX);
        text.count(end - at);
        let next = source.floor_char_boundary(at + PATTERN_MATCH_MAX);
        match regex.search(&Input::new(source).span(at..end)) {
            // It may be longer than the window shows: look again from where it begins.
            Some(it) if it.start() >= next && end < source.len() => at = it.start(),
            Some(it) if it.len() > PATTERN_MATCH_MAX => {
                return Err(MaskError::TooLongMatch { most: PATTERN_MATCH_MAX });
            }
            Some(it) => {
                matches += 1;
                if matches > MATCHES_MAX {
                    return Err(MaskError::TooManyMatches { most: MATCHES_MAX });
                }
                if it.end() > it.start() {
                    found(it.start(), it.end());
                }
                at = match it.end() > at {
                    true => it.end(),
                    false => source.ceil_char_boundary(at + 1),
                };
            }
            None if end == source.len() => break,
            None => at = next,
        }
    }
    Ok(())
}
