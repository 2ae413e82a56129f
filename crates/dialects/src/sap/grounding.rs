//! The grounding module: which question is asked of which collections, and what of the passages goes into the prompt. SAP's
//! repositories are our collections.
//!
//! It is not Sonar's grounding: passages are not numbered and citations are not checked, because the client's own template says
//! what the model does with them. Their hashes are in the receipt all the same.

use super::read::{Object, Wrong};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use types::{CollectionId, Passage};

/// Passages that one request may put into its prompt: as many as a receipt names.
pub const PASSAGES_MAX: u64 = 32;

/// Passages of one filter, where it does not say.
pub const PASSAGES_USUAL: u64 = 5;

/// Filters of one request: each is a retrieval, and all of them share [`PASSAGES_MAX`].
const FILTERS_MAX: usize = 8;

/// Between two passages in the prompt, as SAP's service has it.
const BETWEEN: &str = "```";

/// What `metadata_params` may name, and SAP's names for the same.
const METADATA: [&str; 7] = ["title", "source", "url", "webUrl", "date", "page", "language"];

#[derive(Debug, Clone, PartialEq)]
pub struct Grounding {
    filters: Vec<Filter>,
    /// Placeholders that hold the question.
    pub(super) input: Vec<String>,
    /// The placeholder that gets the passages.
    pub(super) output: String,
    metadata: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct Filter {
    collections: Vec<CollectionId>,
    top: u64,
    one_per_document: bool,
    attributes: BTreeMap<String, String>,
}

/// A question to be asked of the project's collections.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrieval {
    pub text: String,
    /// None named: all of the project's.
    pub collections: Vec<CollectionId>,
    pub top: usize,
    /// Of each document its best passage only.
    pub one_per_document: bool,
    /// What the document's metadata must say.
    pub attributes: BTreeMap<String, String>,
}

impl Grounding {
    pub(super) fn read(grounding: &Object<'_>) -> Result<Grounding, Wrong> {
        grounding.only(&["type", "config"])?;
        let kind = grounding.need_text("type")?;
        if kind != "document_grounding_service" {
            return Err(format!("{}.type: only document_grounding_service is known here", grounding.path));
        }
        let config = grounding.need_object("config")?;
        config.only(&["filters", "placeholders", "metadata_params"])?;
        let placeholders = config.need_object("placeholders")?;
        placeholders.only(&["input", "output"])?;
        let input = placeholders.texts("input")?.unwrap_or_default();
        if input.is_empty() {
            return Err(format!("{}.input must name at least one placeholder", placeholders.path));
        }
        let metadata = config.texts("metadata_params")?.unwrap_or_default();
        if let Some(unknown) = metadata.iter().find(|name| !METADATA.contains(&name.as_str())) {
            let known = METADATA.join(", ");
            return Err(format!("{}.metadata_params: {unknown} is not known here; known are: {known}", config.path));
        }
        let filters = config.list("filters")?.unwrap_or_default();
        if filters.len() > FILTERS_MAX {
            return Err(format!("{}.filters may have at most {FILTERS_MAX} elements", config.path));
        }
        let filters = match filters.is_empty() {
            true => vec![Filter::default()],
            false => filters.iter().map(|(path, filter)| Filter::read(path, filter)).collect::<Result<_, _>>()?,
        };
        Ok(Grounding { filters, input, output: placeholders.need_text("output")?.to_owned(), metadata })
    }

    /// The same question to each filter's collections.
    pub(super) fn retrievals(&self, text: &str) -> Vec<Retrieval> {
        let one = |filter: &Filter| Retrieval {
            text: text.to_owned(),
            collections: filter.collections.clone(),
            top: usize::try_from(filter.top).unwrap_or(usize::MAX),
            one_per_document: filter.one_per_document,
            attributes: filter.attributes.clone(),
        };
        self.filters.iter().map(one).collect()
    }

    /// What goes into the prompt.
    pub(super) fn text(&self, passages: &[Passage]) -> String {
        let texts: Vec<String> = passages.iter().map(|passage| self.one(passage)).collect();
        texts.join(BETWEEN)
    }

    fn one(&self, passage: &Passage) -> String {
        if self.metadata.is_empty() {
            return passage.text.clone();
        }
        let mut known = Map::new();
        for name in &self.metadata {
            let value = match name.as_str() {
                "title" | "source" => Value::from(passage.title.clone()),
                "url" | "webUrl" => Value::from(passage.url.clone()),
                "date" => Value::from(passage.date.clone()),
                "page" => Value::from(passage.page),
                _ => Value::from(passage.language.clone()),
            };
            if !value.is_null() {
                known.insert(name.clone(), value);
            }
        }
        json!({"content": passage.text, "metadata": known}).to_string()
    }
}

/// As it stands in `intermediate_results`.
pub(super) fn result(query: &str, text: &str, passages: usize) -> Value {
    let message = match passages {
        0 => "no document matched",
        _ => "grounding result",
    };
    json!({"message": message, "data": {"grounding_query": query, "grounding_result": text}})
}

/// The passages of several retrievals, each once, at most as many as a receipt names.
pub fn united(found: Vec<Vec<Passage>>) -> Vec<Passage> {
    let mut united: Vec<Passage> = Vec::new();
    for passage in found.into_iter().flatten() {
        if united.len() as u64 == PASSAGES_MAX {
            break;
        }
        if !united.iter().any(|known| known.hash == passage.hash) {
            united.push(passage);
        }
    }
    united
}

impl Default for Filter {
    fn default() -> Filter {
        Filter { collections: Vec::new(), top: PASSAGES_USUAL, one_per_document: false, attributes: BTreeMap::new() }
    }
}

impl Filter {
    fn read(path: &str, value: &Value) -> Result<Filter, Wrong> {
        let filter = Object::of(value, path)?;
        for name in ["data_repository_metadata", "chunk_metadata"] {
            if filter.get(name).is_some() {
                return Err(format!("{path}.{name} is not supported here: name collections, or use document_metadata"));
            }
        }
        filter.only(&["id", "data_repositories", "data_repository_type", "search_config", "document_metadata"])?;
        filter.text("id")?;
        match filter.need_text("data_repository_type")? {
            "vector" => {}
            "help.sap.com" => {
                return Err(format!("{path}.data_repository_type: help.sap.com lies outside this site; use vector"));
            }
            _ => return Err(format!("{path}.data_repository_type must be vector")),
        }
        let repositories = filter.texts("data_repositories")?.unwrap_or_else(|| vec!["*".to_owned()]);
        let collections = match repositories.iter().any(|repository| repository == "*") {
            true => Vec::new(),
            false if repositories.is_empty() => {
                return Err(format!("{path}.data_repositories names none: [\"*\"] is all of them"));
            }
            false => {
                let id = |text: &String| {
                    text.parse().map_err(|_| format!("{path}.data_repositories: there is no collection {text}"))
                };
                repositories.iter().map(id).collect::<Result<_, _>>()?
            }
        };
        let (mut top, mut one_per_document) = (PASSAGES_USUAL, false);
        if let Some(search) = filter.object("search_config")? {
            search.only(&["max_chunk_count", "max_document_count"])?;
            let chunks = search.whole("max_chunk_count", 1..=PASSAGES_MAX)?;
            let documents = search.whole("max_document_count", 1..=PASSAGES_MAX)?;
            if chunks.is_some() && documents.is_some() {
                return Err(format!("{}: max_chunk_count or max_document_count, not both", search.path));
            }
            one_per_document = documents.is_some();
            top = chunks.or(documents).unwrap_or(PASSAGES_USUAL);
        }
        let mut attributes = BTreeMap::new();
        for (path, pair) in filter.list("document_metadata")?.unwrap_or_default() {
            let pair = Object::of(pair, &*path)?;
            pair.only(&["key", "value"])?;
            let [value] = <[String; 1]>::try_from(pair.texts("value")?.unwrap_or_default())
                .map_err(|_| format!("{path}.value must have exactly one element here"))?;
            attributes.insert(pair.need_text("key")?.to_owned(), value);
        }
        Ok(Filter { collections, top, one_per_document, attributes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::FileId;

    fn read(value: &Value) -> Result<Grounding, Wrong> {
        Grounding::read(&Object::of(value, "grounding").unwrap())
    }

    fn with(filter: Value) -> Value {
        json!({"type": "document_grounding_service", "config": {
            "filters": [filter], "placeholders": {"input": ["q"], "output": "found"},
        }})
    }

    pub fn passage(number: u32, text: &str) -> Passage {
        Passage {
            collection: CollectionId(1),
            file: FileId(2),
            number,
            title: "Handbuch".to_owned(),
            url: "https://example.org/h".to_owned(),
            text: text.to_owned(),
            start: 0,
            page: None,
            date: Some("2026-01-01".to_owned()),
            language: None,
            hash: format!("sha256:{number:064}"),
        }
    }

    #[test]
    fn repositories_are_collections() {
        let id = CollectionId(7);
        let filter = json!({"data_repository_type": "vector", "data_repositories": [id.to_string()],
            "search_config": {"max_document_count": 3}, "document_metadata": [{"key": "dept", "value": ["hr"]}]});
        let retrievals = read(&with(filter)).unwrap().retrievals("why");
        let expect = Retrieval {
            text: "why".to_owned(),
            collections: vec![id],
            top: 3,
            one_per_document: true,
            attributes: BTreeMap::from([("dept".to_owned(), "hr".to_owned())]),
        };
        assert_eq!(retrievals, [expect]);
        let all = read(&with(json!({"data_repository_type": "vector", "data_repositories": ["*"]}))).unwrap();
        assert!(all.retrievals("x")[0].collections.is_empty());
        assert_eq!(all.retrievals("x")[0].top, 5);
    }

    #[test]
    fn what_we_do_not_have_is_refused() {
        let check = |filter: Value, named: &str| {
            let wrong = read(&with(filter)).unwrap_err();
            assert!(wrong.contains(named), "{named}: {wrong}");
        };
        check(json!({"data_repository_type": "help.sap.com"}), "outside this site");
        check(json!({}), "data_repository_type is missing");
        check(json!({"data_repository_type": "vector", "data_repositories": ["wiki"]}), "no collection wiki");
        check(json!({"data_repository_type": "vector", "data_repositories": []}), "names none");
        check(json!({"data_repository_type": "vector", "chunk_metadata": []}), "chunk_metadata");
        let metadata = json!([{"key": "dept", "value": ["hr", "it"]}]);
        check(json!({"data_repository_type": "vector", "document_metadata": metadata}), "exactly one element");
        let count = |count: u64| json!({"data_repository_type": "vector", "search_config": {"max_chunk_count": count}});
        assert!(read(&with(count(32))).is_ok());
        check(count(33), "from 1 to 32");
        check(count(0), "from 1 to 32");
    }

    #[test]
    fn passages_in_the_prompt() {
        let mut grounding = read(&with(json!({"data_repository_type": "vector"}))).unwrap();
        let passages = [passage(1, "one"), passage(2, "two")];
        assert_eq!(grounding.text(&passages), "one```two");
        grounding.metadata = vec!["title".to_owned(), "page".to_owned(), "date".to_owned()];
        let shown: Value = serde_json::from_str(&grounding.text(&passages[..1])).unwrap();
        let metadata = json!({"title": "Handbuch", "date": "2026-01-01"});
        assert_eq!(shown, json!({"content": "one", "metadata": metadata}));
        assert_eq!(grounding.text(&[]), "");
    }

    #[test]
    fn each_passage_once_and_at_most_as_many_as_a_receipt_names() {
        let many: Vec<Passage> = (0..40).map(|number| passage(number, "x")).collect();
        let united = united(vec![many[..3].to_vec(), many.clone()]);
        assert_eq!(united.len(), 32);
        assert_eq!(united.iter().filter(|passage| passage.number == 1).count(), 1);
    }
}
