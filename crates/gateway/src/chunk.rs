//! What we look at in an event of an engine's stream, and how a part of it is cut out without writing it anew.

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::ops::Range;

#[derive(Deserialize)]
pub struct Chunk<'a> {
    #[serde(borrow, default)]
    pub choices: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    pub usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

/// Whether a delta holds something besides the role: text, reasoning, a tool call, or what engines think of next.
struct Delta(bool);

impl<'de> Deserialize<'de> for Delta {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Delta, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Delta;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a delta")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Delta, A::Error> {
                let mut speaks = false;
                while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
                    match &*name {
                        "role" => drop(members.next_value::<IgnoredAny>()?),
                        _ => speaks |= full(Some(members.next_value::<&RawValue>()?)),
                    }
                }
                Ok(Delta(speaks))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

fn full(raw: Option<&RawValue>) -> bool {
    raw.is_some_and(|raw| !matches!(raw.get(), "null" | "\"\"" | "[]" | "{}"))
}

/// Whether a choice of an event holds something of an answer: the first event has only a role, the last only a reason.
pub fn carries_output(choice: &RawValue) -> bool {
    match serde_json::from_str::<Choice>(choice.get()) {
        Ok(Choice { delta: Some(Delta(speaks)), .. }) => speaks,
        Ok(Choice { text, .. }) => full(text),
        Err(_) => false,
    }
}

/// Whether a choice has ended, be it without a word.
pub fn finishes(choice: &RawValue) -> bool {
    serde_json::from_str::<Choice>(choice.get()).is_ok_and(|choice| full(choice.finish_reason))
}

pub fn place_of(event: &[u8], raw: &RawValue) -> Range<usize> {
    let start = raw.get().as_ptr() as usize - event.as_ptr() as usize;
    start..start + raw.get().len()
}

/// Where the name of the member begins whose value begins here, in an object that was parsed. However the name is written:
/// `us\u0061ge` is one too.
fn name_before(event: &[u8], value: usize) -> usize {
    let close = memchr::memrchr(b'"', &event[..value]).unwrap_or(0);
    let mut open = close;
    while let Some(quote) = memchr::memrchr(b'"', &event[..open]) {
        open = quote;
        // A quote behind an odd number of backslashes belongs to the name.
        if event[..quote].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0 {
            break;
        }
    }
    open
}

/// The whole member around a value: its name before it and one comma on one side.
pub fn member_range(event: &[u8], value: Range<usize>) -> Range<usize> {
    let name = name_before(event, value.start);
    let before = event[..name].iter().rposition(|byte| !byte.is_ascii_whitespace());
    if let Some(at) = before.filter(|&at| event[at] == b',') {
        return at..value.end;
    }
    let after = event[value.end..].iter().position(|byte| !byte.is_ascii_whitespace()).map(|at| value.end + at);
    match after.filter(|&at| event[at] == b',') {
        Some(at) => name..at + 1,
        None => name..value.end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_member_is_cut_cleanly() {
        let check = |event: &str, expect: &str| {
            let parsed: Chunk = serde_json::from_str(event).unwrap();
            let cut = member_range(event.as_bytes(), place_of(event.as_bytes(), parsed.usage.unwrap()));
            let rest = format!("{}{}", &event[..cut.start], &event[cut.end..]);
            assert_eq!(rest, expect);
            serde_json::from_str::<serde_json::Value>(&rest).unwrap();
        };
        check(r#"{"choices":[1],"usage":{"a":1}}"#, r#"{"choices":[1]}"#);
        check(r#"{"usage":{"a":1},"choices":[1]}"#, r#"{"choices":[1]}"#);
        check(r#"{"a":"\"usage\"" , "usage" : {"a":1} , "b":2}"#, r#"{"a":"\"usage\""  , "b":2}"#);
        check(r#"{"usage":{}}"#, "{}");
    }

    #[test]
    fn only_output_counts_as_output() {
        let check = |choice: &str, expect: bool| {
            let raw: &RawValue = serde_json::from_str(choice).unwrap();
            assert_eq!(carries_output(raw), expect, "{choice}");
        };
        check(r#"{"delta":{"role":"assistant","content":""}}"#, false);
        check(r#"{"delta":{"content":"a"}}"#, true);
        check(r#"{"delta":{"tool_calls":[{}]}}"#, true);
        check(r#"{"delta":{},"finish_reason":"stop"}"#, false);
        check(r#"{"text":"a"}"#, true);
        check(r#"{"text":""}"#, false);
        check(r#"{"delta":{"reasoning":"hm"}}"#, true);
        check(r#"{"delta":{"role":"assistant","content":null,"refusal":null,"tool_calls":[]}}"#, false);
    }
}
