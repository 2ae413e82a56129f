//! Printing: JSON as it came for programs, tables for people. Text from the site may hold anything a tenant typed, so
//! control characters are taken out before they reach a terminal.

use super::Failure;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;
use std::io::Write;
use types::{MicroEur, UnixMillis};

/// One column: the title, and the field or a function of the row.
pub type Column = (&'static str, fn(&Value) -> String);

/// Prints a line; a closed pipe ends the program quietly.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => Ok(result?),
    }
}

/// Prints the API's JSON.
pub fn json(value: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::failed(error.to_string()))?;
    line(&text)
}

/// Prints a list: `{"data": […]}`.
pub fn list(as_json: bool, value: &Value, columns: &[Column], empty: &str) -> Result<(), Failure> {
    if as_json {
        return json(value);
    }
    let rows = value["data"].as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return line(empty);
    }
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(columns.iter().map(|(title, _)| title.to_uppercase()));
    for row in rows {
        table.add_row(columns.iter().map(|(_, cell)| cell(row)));
    }
    line(&table.trim_fmt())
}

/// Prints one object, a field a line.
pub fn one(as_json: bool, value: &Value) -> Result<(), Failure> {
    if as_json {
        return json(value);
    }
    let mut table = Table::new();
    table.load_preset(NOTHING);
    for (name, field) in value.as_object().into_iter().flatten() {
        let shown = if name.ends_with("_micro_eur") { euro(field) } else { text(field) };
        table.add_row([name.trim_end_matches("_micro_eur").replace('_', " "), shown]);
    }
    line(&table.trim_fmt())
}

/// Prints what was done, or the API's JSON.
pub fn done(as_json: bool, value: &Value, text: &str) -> Result<(), Failure> {
    if as_json { json(value) } else { line(&clean(text)) }
}

/// Any value in a cell.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => clean(text),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        other => clean(&other.to_string()),
    }
}

/// Micro-euro in a cell.
pub fn euro(value: &Value) -> String {
    value.as_i64().map_or_else(|| "no limit".to_owned(), |amount| MicroEur(amount).to_string())
}

/// Milliseconds in a cell, as a date and time in UTC.
pub fn time(value: &Value) -> String {
    let shown =
        |millis: i64| jiff::Timestamp::from_millisecond(UnixMillis(millis).0).ok().map(|time| format!("{time:.0}"));
    value.as_i64().and_then(shown).unwrap_or_else(|| "-".to_owned())
}

/// Without control characters, except the line break.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// A column that shows a field as it is.
macro_rules! field {
    ($title:literal) => {
        ($title, |row: &serde_json::Value| $crate::cli::show::text(&row[$title]))
    };
    ($title:literal, $name:literal) => {
        ($title, |row: &serde_json::Value| $crate::cli::show::text(&row[$name]))
    };
    ($title:literal, $name:literal, $with:path) => {
        ($title, |row: &serde_json::Value| $with(&row[$name]))
    };
}
pub(super) use field;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells() {
        assert_eq!(text(&json!("a\u{1b}[31mb")), "a\u{fffd}[31mb");
        assert_eq!(text(&json!(["a", "b"])), "a, b");
        assert_eq!(text(&json!(null)), "-");
        assert_eq!(euro(&json!(1_500_000)), "1.500000 EUR");
        assert_eq!(euro(&json!(null)), "no limit");
        assert_eq!(time(&json!(0)), "1970-01-01T00:00:00Z");
    }
}
