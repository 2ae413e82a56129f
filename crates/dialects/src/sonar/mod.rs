//! Perplexity's Sonar dialect: what its clients ask, in OpenAI's words for an engine, and what an engine answered, in Sonar's.
//!
//! - [`fields`]: members of a request, each of its type or a finding that names it.
//! - [`request`]: `/chat/completions`: a question, how it is to be searched and answered.
//! - [`filters`]: which passages a question may rest on: domains, dates, languages.
//! - [`answer`]: a whole answer or a stream in Sonar's form, with citations checked, results and cost.
//! - [`usage`]: tokens and cost in the form that clients read.
//! - [`search`]: results alone, `/search`.
//! - [`later`]: `/async/chat/completions`: a question whose answer is fetched later.
//!
//! What it is not: it searches nothing and asks no engine (`partners`). What of the contract we do not have is refused with the
//! member named where the answer would be another, and has no effect where it only ranks (`docs/partners-perplexity.md` lists both).

pub mod answer;
pub mod fields;
pub mod filters;
pub mod later;
pub mod request;
pub mod search;
pub mod usage;

pub use crate::time::timestamp;
pub use answer::{Answer, Frame};
pub use fields::Finding;
pub use filters::Filters;
pub use later::{Later, Status};
pub use request::Question;
pub use search::Search;

#[cfg(test)]
pub(crate) mod tests {
    use types::{CollectionId, FileId, Passage};

    /// A passage of this text.
    pub fn passage(text: &str) -> Passage {
        Passage {
            collection: CollectionId(1),
            file: FileId(2),
            number: 0,
            title: "Handbuch".to_owned(),
            url: "https://intern.example/handbuch".to_owned(),
            text: text.to_owned(),
            start: 0,
            page: Some(3),
            date: Some("2026-03-01".to_owned()),
            language: Some("de".to_owned()),
            hash: "sha256:00".to_owned(),
        }
    }
}
