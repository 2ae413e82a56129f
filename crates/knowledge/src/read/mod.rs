//! Files to text. A file is hostile: it is read in a child process that has little memory, little time, no files, no network and
//! no environment ([`bounds`]), and whose whole world is the file's bytes on its input and one JSON text on its output. Whatever
//! happens to it, the parent gets a [`Document`] or a [`Finding`] that says what to do.
//!
//! What a file is, its bytes decide ([`kind`]), never its name or what the client declares.
//!
//! If the child dies, nothing is lost: the file is stored, and can be attached again.

pub mod bounds;
mod child;
mod docx;
mod finding;
mod html;
mod kind;
mod pdf;
mod plain;
mod process;
mod table;
mod zipped;

pub use child::child;
pub use finding::Finding;
pub(crate) use process::Reader;
pub use process::ReaderProgram;

use serde::{Deserialize, Serialize};

/// A file's text, and what it tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// What it was read as: `pdf`, `docx`, `html`, `csv`, `text`.
    pub kind: String,
    pub title: Option<String>,
    pub text: String,
    /// Where each page begins in the text, in characters; empty where there are no pages.
    pub pages: Vec<u32>,
}

/// What the child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    Document(Document),
    Finding(Finding),
}

/// Text gathered within a limit. What goes past it is a finding, not a cut.
pub(crate) struct Gathered {
    text: String,
    chars: u32,
    bytes_max: usize,
}

impl Gathered {
    pub(crate) fn new(bytes_max: usize) -> Gathered {
        Gathered { text: String::new(), chars: 0, bytes_max }
    }

    pub(crate) fn push(&mut self, text: &str) -> Result<(), Finding> {
        if self.text.len() + text.len() > self.bytes_max {
            return Err(Finding::TooMuchText);
        }
        self.chars += u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        self.text.push_str(text);
        Ok(())
    }

    /// Characters so far.
    pub(crate) fn chars(&self) -> u32 {
        self.chars
    }

    /// Ends a line, or a paragraph where there are two breaks; never more than that many, and none at the beginning.
    pub(crate) fn break_to(&mut self, breaks: usize) -> Result<(), Finding> {
        let there = self.text.len() - self.text.trim_end_matches('\n').len();
        if self.text.is_empty() || there >= breaks {
            return Ok(());
        }
        self.push(&"\n"[..].repeat(breaks - there))
    }

    /// Ends a line that `next` goes on with. A word that was parted at the end of the line is put together: `Wartungs-` and
    /// `intervall`, but not `Ein-` and `und Ausgang`.
    pub(crate) fn end_line(&mut self, next: &str) -> Result<(), Finding> {
        const APART: [&str; 6] = ["und ", "oder ", "bzw", "sowie ", "and ", "or "];
        let parted = self.text.strip_suffix('-').is_some_and(|before| before.ends_with(char::is_lowercase));
        if parted && next.starts_with(char::is_lowercase) && !APART.iter().any(|word| next.starts_with(word)) {
            self.text.pop();
            self.chars -= 1;
            return Ok(());
        }
        self.break_to(1)
    }

    pub(crate) fn begins_line(&self) -> bool {
        self.text.is_empty() || self.text.ends_with('\n')
    }

    pub(crate) fn ends_with_space(&self) -> bool {
        self.text.is_empty() || self.text.ends_with(char::is_whitespace)
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}
