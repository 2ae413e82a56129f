//! Pages of a list as OpenAI's clients turn them: `limit`, `order`, `after`, `before`.

use crate::envelope::Refused;
use axum::extract::Query;
use serde_json::{Value, json};
use std::collections::HashMap;

pub(crate) type Asked = HashMap<String, String>;

/// The query of an address; one that is none is empty.
pub(crate) fn asked(uri: &http::Uri) -> Asked {
    Query::<Asked>::try_from_uri(uri).map(|Query(asked)| asked).unwrap_or_default()
}

/// A part of a list that is sorted from oldest to newest, newest first unless `order=asc` is asked for.
pub(crate) fn page(
    asked: &Asked,
    mut items: Vec<(String, Value)>,
    usual: usize,
    limit_max: usize,
) -> Result<Value, Refused> {
    let limit = match asked.get("limit") {
        None => usual,
        Some(text) => {
            let number = text.parse().ok().filter(|number| (1..=limit_max).contains(number));
            number.ok_or_else(|| Refused::invalid("limit", format!("limit must be a number from 1 to {limit_max}")))?
        }
    };
    match asked.get("order").map(String::as_str) {
        None | Some("desc") => items.reverse(),
        Some("asc") => {}
        Some(_) => return Err(Refused::invalid("order", "order must be asc or desc")),
    }
    // An item that is gone meanwhile, or never was, ends a page: there is nothing behind it.
    let place = |name: &str| asked.get(name).map(|id| items.iter().position(|(item, _)| item == id));
    let after = place("after");
    let before = place("before");
    let from = after.map_or(0, |found| found.map_or(items.len(), |at| at + 1));
    let to = before.map_or(items.len(), |found| found.unwrap_or(0)).max(from);
    let window = &items[from..to];
    // Towards `before`, a page is the items nearest to it.
    let part = if before.is_some() && after.is_none() {
        &window[window.len().saturating_sub(limit)..]
    } else {
        &window[..window.len().min(limit)]
    };
    let id = |item: Option<&(String, Value)>| item.map(|(id, _)| id.clone());
    let data: Vec<&Value> = part.iter().map(|(_, value)| value).collect();
    Ok(json!({
        "object": "list",
        "data": data,
        "first_id": id(part.first()),
        "last_id": id(part.last()),
        "has_more": part.len() < window.len(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let items = || (1..=5).map(|n| (n.to_string(), json!(n))).collect::<Vec<_>>();
        let check = |query: &str, expect: &[u32], more: bool| {
            let asked = asked(&format!("/x?{query}").parse().unwrap());
            let page = page(&asked, items(), 20, 100).unwrap();
            assert_eq!((&page["data"], &page["has_more"]), (&json!(expect), &json!(more)), "{query}");
            assert_eq!(page["last_id"], json!(expect.last().map(u32::to_string)), "{query}");
        };
        check("", &[5, 4, 3, 2, 1], false);
        check("limit=2", &[5, 4], true);
        check("limit=2&after=4", &[3, 2], true);
        check("limit=2&after=2", &[1], false);
        check("order=asc&limit=5", &[1, 2, 3, 4, 5], false);
        check("order=asc&after=3", &[4, 5], false);
        check("order=asc&before=4&limit=2", &[2, 3], true);
        check("after=9", &[], false);
        for bad in ["limit=0", "limit=101", "limit=x", "order=up"] {
            assert!(page(&asked(&format!("/x?{bad}").parse().unwrap()), items(), 20, 100).is_err(), "{bad}");
        }
    }
}
