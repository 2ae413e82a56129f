//! Grounded answers: passages numbered for a prompt, citations checked in the answer.
//!
//! - [`prompt`]: the passages that were found and a question, as rules and a task for a model that is to answer from them alone.
//! - [`check`]: what the model wrote, sentence by sentence: a citation of a passage that it was not given is removed, a claim
//!   without a citation is marked. Also over a stream.
//! - [`citations`]: `[n]` in text that comes in pieces.
//! - [`language`]: German or English, and the sentences that we write in either.
//!
//! What it is not: it does not know whether a passage supports the sentence that cites it, only that the model was given it; and
//! it retrieves nothing (`knowledge`). A passage is data: its text cannot end its own frame, and brackets with numbers in it,
//! which a model might copy, are no citations. That a model obeys none of what a passage says cannot be shown by text alone; so it
//! is given nothing that it could betray: passages of its own project, and no tools.
//!
//! If we crash here: nothing is lost, nothing here is kept.

pub mod check;
mod citations;
pub mod language;
pub mod prompt;

pub use check::{Checker, Findings, Marks};
pub use language::Language;
pub use prompt::{Grounding, Limits};
