//! Puts values back, also into an answer that comes in pieces: what may be the begin of a tag is held back until it is decided.
//!
//! Whatever the pieces are, what comes out is the same. Held back is at most the longest tag or fabricated value and two
//! characters.

use crate::table::{Look, Numbers, Table};
use std::sync::Arc;

/// For one stream of text: each choice of an answer has its own.
#[derive(Debug, Clone)]
pub struct Unmasker {
    table: Arc<Table>,
    held: String,
    /// The character before `held`.
    before: Option<char>,
}

impl Unmasker {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self { table, held: String::new(), before: None }
    }

    /// The next piece; returns what is decided.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        self.release(false)
    }

    /// Nothing follows; returns what was held back.
    pub fn end(&mut self) -> String {
        self.release(true)
    }

    fn release(&mut self, last: bool) -> String {
        let mut out = String::with_capacity(self.held.len());
        let mut at = 0;
        while let Some(c) = self.held[at..].chars().next() {
            match self.table.look(&self.held, at, self.before, last, Numbers::Given) {
                Look::More => break,
                Look::Found { len, value } => {
                    out.push_str(value);
                    self.before = self.held[..at + len].chars().next_back();
                    at += len;
                }
                Look::Nothing => {
                    out.push(c);
                    self.before = Some(c);
                    at += c.len_utf8();
                }
            }
        }
        self.held.drain(..at);
        out
    }
}
