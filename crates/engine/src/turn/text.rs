//! Tokens to text, one token at a time. A token may be a part of a letter (bytes of one UTF-8 character) and its text may
//! depend on its neighbour (a leading space), so a token's text is what it adds to the text of the tokens before it, and
//! nothing is given out while the text ends inside a character. All parts together are the text of all tokens.

use tokenizers::Tokenizer;

/// A whole character takes 4 bytes, hence 4 tokens at most. A model that goes on talking rubbish beyond this many tokens
/// is shown as it is, so that the text of a few tokens is decoded at each step and not of all.
const HELD_MAX: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Text {
    ids: Vec<u32>,
    /// The text of the tokens before this place is given out; they are kept to decode the next with.
    given: usize,
}

impl Text {
    /// The text that this token completes; often all of its own, sometimes none.
    pub(crate) fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> tokenizers::Result<String> {
        self.ids.push(id);
        let (before, all) = self.decode(tokenizer)?;
        if all.ends_with('\u{FFFD}') && self.ids.len() - self.given <= HELD_MAX {
            return Ok(String::new());
        }
        self.ids.drain(..self.given);
        self.given = self.ids.len();
        Ok(added(&before, &all))
    }

    /// What is still held, with a replacement character where the last one is incomplete.
    pub(crate) fn finish(&mut self, tokenizer: &Tokenizer) -> tokenizers::Result<String> {
        let (before, all) = self.decode(tokenizer)?;
        self.given = self.ids.len();
        Ok(added(&before, &all))
    }

    fn decode(&self, tokenizer: &Tokenizer) -> tokenizers::Result<(String, String)> {
        Ok((tokenizer.decode(&self.ids[..self.given], true)?, tokenizer.decode(&self.ids, true)?))
    }
}

/// What `all` has beyond `before`. They share a beginning, except where a decoder rewrites it; then what differs is given.
fn added(before: &str, all: &str) -> String {
    match all.strip_prefix(before) {
        Some(rest) => rest.to_owned(),
        None => {
            let shared = before.chars().zip(all.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
            all[shared..].to_owned()
        }
    }
}
