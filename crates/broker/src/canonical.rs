//! A context as Go's `json.Marshal` writes a map: what `context.signature` is over.
//!
//! Keys sorted by their bytes at every depth, the last of doubled ones; no spaces; `<`, `>`, `&`, U+2028 and U+2029 escaped.
//! A number that came through Go's decoder is a float64 and written in Go's shortest form, one that never did is an integer
//! and written as it is: so integers stay as they came and everything else is normalised. Read from the text and not from a
//! parsed value, which would have lost the digits of large numbers.

use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A context is flat or has one level of labels; each level costs one more pass over the text.
const DEPTH_MAX: usize = 16;

/// Go 1.22 began to write backspace and form feed as `\b` and `\f`; before they were `\u0008` and `\u000c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Before22,
    Since22,
}

impl Form {
    pub const ALL: [Form; 2] = [Form::Since22, Form::Before22];
}

/// Writes an object canonically, without these of its own members. None: not an object, or nested deeper than any context.
pub fn canonical(object: &RawValue, without: &[&str], form: Form) -> Option<String> {
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(object.get()).ok()?;
    members.retain(|name, _| !without.contains(&name.as_str()));
    let mut out = String::with_capacity(object.get().len());
    write_object(&mut out, &members, form, DEPTH_MAX)?;
    Some(out)
}

fn write_object(out: &mut String, members: &BTreeMap<String, &RawValue>, form: Form, depth: usize) -> Option<()> {
    out.push('{');
    for (place, (name, value)) in members.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        write_string(out, name, form);
        out.push(':');
        write_value(out, value, form, depth.checked_sub(1)?)?;
    }
    out.push('}');
    Some(())
}

fn write_value(out: &mut String, value: &RawValue, form: Form, depth: usize) -> Option<()> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'{' => write_object(out, &serde_json::from_str(text).ok()?, form, depth)?,
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            out.push('[');
            for (place, item) in items.into_iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_value(out, item, form, depth.checked_sub(1)?)?;
            }
            out.push(']');
        }
        b'"' => write_string(out, &serde_json::from_str::<String>(text).ok()?, form),
        b'-' | b'0'..=b'9' => write_number(out, text)?,
        _ => out.push_str(text),
    }
    Some(())
}

fn write_string(out: &mut String, text: &str, form: Form) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' if form == Form::Since22 => out.push_str("\\b"),
            '\u{c}' if form == Form::Since22 => out.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing into a string does not fail.
                let _written = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Integers of up to 21 digits are what Go writes of an int64, a uint64 and a float64 alike, so they stay.
fn write_number(out: &mut String, text: &str) -> Option<()> {
    let digits = text.trim_start_matches('-');
    if digits.len() <= 21 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        out.push_str(text);
        return Some(());
    }
    let value: f64 = text.parse().ok().filter(|value: &f64| value.is_finite())?;
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        // Rust's shortest digits are Go's; Go writes the sign of the exponent, and two digits of one above zero.
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        match exponent.strip_prefix('-') {
            Some(exponent) => write!(out, "{mantissa}e-{exponent}").ok()?,
            None => write!(out, "{mantissa}e+{exponent:0>2}").ok()?,
        }
    } else {
        write!(out, "{value}").ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(text: &str, form: Form) -> Option<String> {
        let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
        canonical(&raw, &["signature"], form)
    }

    fn check(text: &str, expect: &str) {
        assert_eq!(form(text, Form::Since22).as_deref(), Some(expect), "{text}");
    }

    #[test]
    fn maps_are_sorted_at_every_depth_and_lose_their_spaces() {
        check("{}", "{}");
        check(r#" { "b" : 1 , "a" : [ 1 , { "d" : null , "c" : true } ] } "#, r#"{"a":[1,{"c":true,"d":null}],"b":1}"#);
        // By bytes of UTF-8: capitals first, then small letters, then what is above ASCII.
        check(r#"{"ä":1,"z":1,"Z":1,"_":1,"":1,"a b":1}"#, r#"{"":1,"Z":1,"_":1,"a b":1,"z":1,"ä":1}"#);
        check(r#"{"x":{"b":1},"x":{"a":2}}"#, r#"{"x":{"a":2}}"#);
        // The signature itself is left out at the top only.
        check(r#"{"signature":"x","a":{"signature":"y"}}"#, r#"{"a":{"signature":"y"}}"#);
    }

    #[test]
    fn strings_are_escaped_for_html() {
        check(r#"{"k<>&":"<script>&"}"#, r#"{"k\u003c\u003e\u0026":"\u003cscript\u003e\u0026"}"#);
        check("{\"a\":\"x\u{2028}y\u{2029}\"}", r#"{"a":"x\u2028y\u2029"}"#);
        check(r#"{"a":"\u2028\u003c\/ \u00e4 \ud83d\ude00"}"#, "{\"a\":\"\\u2028\\u003c/ ä 😀\"}");
        check(r#"{"a":"\"\\\n\r\t\u0001\u001f\u007f"}"#, "{\"a\":\"\\\"\\\\\\n\\r\\t\\u0001\\u001f\u{7f}\"}");
        check(r#"{"a":"\b\f"}"#, r#"{"a":"\b\f"}"#);
        assert_eq!(form(r#"{"a":"\b\f"}"#, Form::Before22).as_deref(), Some(r#"{"a":"\u0008\u000c"}"#));
    }

    #[test]
    fn numbers_as_go_writes_them() {
        for (number, expect) in [
            ("0", "0"),
            ("-0", "-0"),
            ("-7", "-7"),
            ("9007199254740993", "9007199254740993"),
            ("18446744073709551615", "18446744073709551615"),
            ("1.0", "1"),
            ("1e3", "1000"),
            ("1.50", "1.5"),
            ("0.1", "0.1"),
            ("1E+20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("1.5e300", "1.5e+300"),
            ("1000000000000000000000000", "1e+24"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("1.25e-9", "1.25e-9"),
            ("1e-10", "1e-10"),
            ("5e-324", "5e-324"),
            ("-0.0", "-0"),
            ("179769313486231570000e288", "1.7976931348623157e+308"),
        ] {
            check(&format!("{{\"n\":{number}}}"), &format!("{{\"n\":{expect}}}"));
        }
        assert_eq!(form(r#"{"n":1e999}"#, Form::Since22), None);
    }

    #[test]
    fn what_is_no_context() {
        for text in ["[]", "1", "\"x\"", "null"] {
            assert_eq!(form(text, Form::Since22), None, "{text}");
        }
        let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(form(&nested(DEPTH_MAX), Form::Since22).is_some());
        assert_eq!(form(&nested(DEPTH_MAX + 1), Form::Since22), None);
        // Nothing of ours goes as deep as the text.
        assert_eq!(form(&format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)), Form::Since22), None);
    }

    proptest! {
        /// What is canonical stays as it is, and means what it meant.
        #[test]
        fn once_is_enough(text in proptest::collection::btree_map(".{0,6}", (".{0,12}", any::<i64>()), 0..5)) {
            let value: serde_json::Map<_, _> =
                text.into_iter().map(|(name, (text, number))| (name, serde_json::json!([text, number, { "n": number }]))).collect();
            let once = form(&serde_json::Value::Object(value.clone()).to_string(), Form::Since22).unwrap();
            let mut meant = value;
            meant.remove("signature");
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&once).unwrap(), serde_json::Value::Object(meant));
            prop_assert_eq!(form(&once, Form::Since22).unwrap(), once);
        }
    }
}
