//! OpenAI's filters of a search, as far as retrieval knows them: equality of attributes, a time between two dates, all of them
//! together. What else there is (`or`, `ne`, `in`) is refused: a filter that is not held to would find what it should not.

use crate::envelope::Refused;
use knowledge::Filters;
use serde_json::Value;

pub(super) fn filters(said: Option<&Value>) -> Result<Filters, Refused> {
    let mut filters = Filters::default();
    if let Some(said) = said {
        add(&mut filters, said, 0)?;
    }
    Ok(filters)
}

/// `and` within `and`: nobody needs more.
const DEPTH_MAX: usize = 4;

fn wrong() -> Refused {
    let message = "filters here are eq of an attribute, gte and lte of date and updated, and and of these";
    Refused::invalid("filters", message)
}

fn add(filters: &mut Filters, said: &Value, depth: usize) -> Result<(), Refused> {
    let kind = said.get("type").and_then(Value::as_str).unwrap_or_default();
    if kind == "and" {
        let all = said.get("filters").and_then(Value::as_array).filter(|_| depth < DEPTH_MAX).ok_or_else(wrong)?;
        return all.iter().try_for_each(|one| add(filters, one, depth + 1));
    }
    let key = said.get("key").and_then(Value::as_str).ok_or_else(wrong)?;
    let value = match said.get("value") {
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
        _ => return Err(wrong()),
    };
    let place = match (kind, key) {
        ("gte", "date") => &mut filters.after,
        ("lte", "date") => &mut filters.before,
        ("gte", "updated") => &mut filters.updated_after,
        ("lte", "updated") => &mut filters.updated_before,
        ("eq", "language") if filters.languages.is_empty() => {
            filters.languages.push(value);
            return Ok(());
        }
        ("eq", key) if !["date", "updated", "language", "url", "title"].contains(&key) => {
            let before = filters.metadata.insert(key.to_owned(), value.clone());
            // Two values of one attribute are never both there.
            return if before.is_none_or(|before| before == value) { Ok(()) } else { Err(wrong()) };
        }
        _ => return Err(wrong()),
    };
    if place.is_some() {
        return Err(wrong());
    }
    *place = Some(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_held_to_and_what_is_refused() {
        let all = json!({"type": "and", "filters": [
            {"type": "eq", "key": "team", "value": "hr"}, {"type": "eq", "key": "year", "value": 2026},
            {"type": "gte", "key": "date", "value": "2026-01-01"}, {"type": "eq", "key": "language", "value": "de"}]});
        let read = filters(Some(&all)).unwrap();
        assert_eq!((read.metadata["team"].as_str(), read.metadata["year"].as_str()), ("hr", "2026"));
        assert_eq!((read.after.as_deref(), read.languages), (Some("2026-01-01"), vec!["de".to_owned()]));
        assert_eq!(filters(None).unwrap(), Filters::default());
        for bad in [
            json!({"type": "or", "filters": []}),
            json!({"type": "ne", "key": "a", "value": "b"}),
            json!({"type": "in", "key": "a", "value": ["b"]}),
            json!({"type": "eq", "key": "url", "value": "b"}),
            json!({"type": "eq", "key": "a"}),
            json!({"type": "and"}),
            json!({"type": "and", "filters": [{"type": "eq", "key": "a", "value": "b"}, {"type": "eq", "key": "a", "value": "c"}]}),
            json!([]),
        ] {
            assert!(filters(Some(&bad)).is_err(), "{bad}");
        }
        let mut deep = json!({"type": "eq", "key": "a", "value": "b"});
        for depth in 1..=DEPTH_MAX + 1 {
            deep = json!({"type": "and", "filters": [deep]});
            assert_eq!(filters(Some(&deep)).is_ok(), depth <= DEPTH_MAX, "{depth}");
        }
    }
}
