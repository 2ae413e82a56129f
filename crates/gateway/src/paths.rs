//! Every path under `/v1`, in one table: what is not in it does not exist, and a test walks it with no key, a wrong key
//! and ids of somebody else, so that a new path cannot be forgotten there.

use crate::fields::Operation;

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Infer(Operation),
    Read(Reading),
}

/// What reads and costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    Models,
    Model,
    Receipts,
    Receipt,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    pub method: &'static str,
    /// `{id}` stands at the end only, and for the rest of the path: names of models may hold a slash.
    pub template: &'static str,
    pub purpose: Purpose,
}

const fn infer(operation: Operation) -> Path {
    Path { method: "POST", template: operation.path(), purpose: Purpose::Infer(operation) }
}

const fn read(template: &'static str, reading: Reading) -> Path {
    Path { method: "GET", template, purpose: Purpose::Read(reading) }
}

pub const PATHS: [Path; 7] = [
    infer(Operation::ChatCompletions),
    infer(Operation::Completions),
    infer(Operation::Embeddings),
    read("/v1/models", Reading::Models),
    read("/v1/models/{id}", Reading::Model),
    read("/v1/receipts", Reading::Receipts),
    read("/v1/receipts/{id}", Reading::Receipt),
];

/// What stands under `/v1` and is not the gateway's: documents of a project, which `partners` keeps.
pub const OTHERS: [&str; 2] = ["/v1/files", "/v1/vector_stores"];

pub fn is_anothers(asked: &str) -> bool {
    OTHERS.iter().any(|other| asked.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// The row that a path is in, and its id, as it stands there; empty where the row has none.
pub fn find(asked: &str) -> Option<(Path, &str)> {
    PATHS.into_iter().find_map(|path| match path.template.strip_suffix("{id}") {
        None => (asked == path.template).then_some((path, "")),
        Some(before) => asked.strip_prefix(before).filter(|id| !id.is_empty()).map(|id| (path, id)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_in_one_row_or_in_none() {
        let purpose = |asked| find(asked).map(|(path, id)| (path.purpose, id));
        assert_eq!(purpose("/v1/completions"), Some((Purpose::Infer(Operation::Completions), "")));
        assert_eq!(purpose("/v1/models"), Some((Purpose::Read(Reading::Models), "")));
        assert_eq!(purpose("/v1/models/org/name"), Some((Purpose::Read(Reading::Model), "org/name")));
        assert_eq!(purpose("/v1/receipts/rcp_1"), Some((Purpose::Read(Reading::Receipt), "rcp_1")));
        for (path, others) in
            [("/v1/files", true), ("/v1/files/x", true), ("/v1/filesystem", false), ("/v1/models", false)]
        {
            assert_eq!(is_anothers(path), others, "{path}");
        }
        for none in ["/v1", "/v1/", "/v1/models/", "/v1//v1/models", "/v1//v1/models/x", "/v1/model", "/v2/models", ""]
        {
            assert_eq!(purpose(none), None, "{none}");
        }
    }
}
