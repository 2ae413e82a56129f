//! What must hold whatever bytes come, one function for each parser that faces the network or the journal. Property
//! tests call them with near misses, the fuzz targets in `fuzz/` with whatever coverage suggests. Not in the product.
//!
//! Each panics where its guarantee does not hold; returning is all there is to say.

use crate::allowance::Length;
use crate::chunk::{Chunk, carries_output, finishes, member_range, place_of};
use crate::dispatch::Failure;
use crate::edit::EngineEdit;
use crate::fields::{Fields, Operation};
use crate::meter::text_bytes;
use crate::record::{INTENT, Record, decode, encode_receipt, encode_watermark};
use crate::sse::{Splitter, data_range};
use bytes::Bytes;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use types::snapshot::EngineKind;

/// A stream splits the same however it arrives, and no byte of it is lost, made up or moved.
pub fn stream(bytes: &[u8], cuts: &[usize]) {
    let split = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let mut splitter = Splitter::new(usize::MAX);
        let mut events = Vec::new();
        for chunk in chunks {
            splitter.push(chunk);
            while let Some(event) = splitter.next_event().expect("there is no limit") {
                events.push(event);
            }
        }
        (events, splitter.rest().to_vec())
    };
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(bytes.len())).chain([0, bytes.len()]).collect();
    cuts.sort_unstable();
    let whole = split(&mut std::iter::once(bytes));
    assert_eq!(split(&mut cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]])), whole);
    let (events, rest) = whole;
    assert_eq!([events.concat(), rest].concat(), bytes);
    events.iter().for_each(|each| event(each));
}

/// An event of an engine: looking at it never panics, and what is left when usage is cut out is the rest of it.
pub fn event(event: &[u8]) {
    let Some(range) = data_range(event) else { return };
    let data = &event[range.clone()];
    let _classified = Failure::event(data);
    let Ok(chunk) = serde_json::from_slice::<Chunk>(data) else { return };
    for choice in chunk.choices.iter().flatten() {
        let _looked_at = (carries_output(choice), finishes(choice));
    }
    let Some(usage) = chunk.usage else { return };
    let cut = member_range(event, place_of(event, usage));
    assert!(range.start < cut.start && cut.end < range.end, "the cut stays inside the data");
    let left = [&data[..cut.start - range.start], &data[cut.end - range.start..]].concat();
    // Members that we do not read may have names that are no text: they pass as they came.
    let Ok(mut members) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(data) else { return };
    members.remove("usage");
    let kept: BTreeMap<String, &RawValue> = serde_json::from_slice(&left).expect("still JSON");
    assert_eq!(texts(&kept), texts(&members), "nothing but usage is gone");
}

/// A whole answer of an engine.
pub fn answer(bytes: &[u8]) {
    assert!(text_bytes(bytes) <= bytes.len() as u64, "text is counted, not made up");
}

fn texts<'a>(members: &BTreeMap<String, &'a RawValue>) -> BTreeMap<String, &'a str> {
    members.iter().map(|(name, raw)| (name.clone(), raw.get())).collect()
}

/// The members that may differ between what a client sent and what an engine gets.
const OURS: [&str; 6] =
    ["model", "max_tokens", "max_completion_tokens", "max_tokens_fitting", "stream_options", "cache_salt"];

/// A request body: refused or read, never a panic; what is forwarded is JSON again, every member that is not ours is
/// byte for byte the client's, and no length exceeds what was reserved.
pub fn body(bytes: &[u8]) {
    for operation in [Operation::ChatCompletions, Operation::Completions, Operation::Embeddings] {
        let Ok(fields) = Fields::parse(operation, bytes) else { continue };
        // What we do not read may be text that is none (a lone surrogate, no UTF-8): its engine refuses it, not we.
        let Ok(sent) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(bytes) else {
            let edit = EngineEdit {
                kind: EngineKind::Vllm,
                model_alias: None,
                length: Length::Named { max: 3 },
                cache_salt: "salt",
            };
            drop(fields.for_engine(&Bytes::copy_from_slice(bytes), &edit));
            continue;
        };
        let named: String = serde_json::from_str(sent["model"].get()).expect("a string");
        assert_eq!(named, fields.model);
        let lengths = [Length::Named { max: 3 }, Length::Fits { max: 3 }, Length::Open { cap: 3 }];
        for kind in [EngineKind::Openai, EngineKind::Vllm, EngineKind::Sglang, EngineKind::Embedded] {
            for length in lengths {
                let edit = EngineEdit { kind, model_alias: Some("al\"ias"), length, cache_salt: "salt" };
                forwarded(&fields, &sent, bytes, &edit);
            }
        }
    }
}

fn forwarded(fields: &Fields, sent: &BTreeMap<String, &RawValue>, bytes: &[u8], edit: &EngineEdit<'_>) {
    let edited = fields.for_engine(&Bytes::copy_from_slice(bytes), edit);
    let got: BTreeMap<String, &RawValue> = serde_json::from_slice(&edited).expect("the engine gets JSON");
    let theirs = |members: &BTreeMap<String, &RawValue>| {
        let mut texts: BTreeMap<String, String> =
            members.iter().map(|(name, raw)| (name.clone(), raw.get().to_owned())).collect();
        OURS.iter().for_each(|name| drop(texts.remove(*name)));
        texts
    };
    assert_eq!(theirs(&got), theirs(sent));
    assert_eq!(got["model"].get(), r#""al\"ias""#);
    if fields.operation != Operation::Embeddings && matches!(edit.length, Length::Named { .. }) {
        for name in ["max_tokens", "max_completion_tokens"] {
            let length = got.get(name).map(|raw| raw.get().parse::<u64>());
            assert!(length.is_none_or(|length| length.is_ok_and(|length| length <= 3)), "{name}: {got:?}");
        }
    }
    if fields.stream {
        let options: BTreeMap<String, &RawValue> = serde_json::from_str(got["stream_options"].get()).expect("options");
        assert_eq!(options["include_usage"].get(), "true");
    }
}

/// A journal record's payload: known and the same when it is written again, or unknown.
pub fn record(bytes: &[u8]) {
    let Ok(record) = decode(bytes) else { return };
    let again = match &record {
        // The forms of earlier versions are read and never written.
        Record::Intent(intent) if bytes[0] == INTENT => intent.encode().expect("an intent of this form can be written"),
        Record::Intent(_) => return,
        Record::Watermark(watermark) => encode_watermark(watermark),
        Record::Receipt(receipt) => encode_receipt(receipt),
    };
    assert_eq!(decode(&again).as_ref(), Ok(&record));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    /// Names and values as requests and chunks have them, and as nobody should write them.
    fn members() -> impl Strategy<Value = String> {
        let names = vec![
            "model",
            "messages",
            "prompt",
            "input",
            "stream",
            "stream_options",
            "max_tokens",
            "max_completion_tokens",
            "n",
            "best_of",
            "cache_salt",
            "tools",
            "choices",
            "usage",
            "error",
            "us\\u0061ge",
            "mod\\u0065l",
            "",
            "\\\"",
            "ü",
        ];
        let values = vec![
            "1",
            "0",
            "-1",
            "1.5",
            "1e999",
            "99999999999999999999",
            "7",
            "null",
            "true",
            "false",
            "\"m\"",
            "\"\\ud800\"",
            "[]",
            "[1]",
            "[\"a\",\"b\"]",
            "{}",
            "{ }",
            "{\"include_usage\":false}",
            "{\"x\":1,\"include_usage\":true}",
            "{\"continuous_usage_stats\":null}",
            "[{\"delta\":{\"content\":\"a\"}}]",
            "[{\"usage\":1}]",
            "\"image_url\"",
            "{\"prompt_tokens\":1,\"completion_tokens\":2}",
            "\"\\\"usage\\\":\"",
        ];
        let space = || select(vec!["", "", " ", "\t \n"]);
        let member = (space(), select(names), space(), select(values), space())
            .prop_map(|(a, name, b, value, c)| format!("{a}\"{name}\"{b}:{value}{c}"));
        vec(member, 0..7).prop_map(|members| format!("{{{}}}", members.join(",")))
    }

    /// Objects that are read more often than not, so that what happens after reading is tried too.
    fn requests() -> impl Strategy<Value = String> {
        members().prop_map(|rest| {
            let rest = rest.trim_start_matches('{');
            let comma = if rest == "}" { "" } else { "," };
            format!(r#"{{"model":"m","messages":[1],"prompt":["a"],"input":"a","stream":true{comma}{rest}"#)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_body_panics_and_what_is_forwarded_is_the_clients(text in prop_oneof![members(), requests()], at: prop::sample::Index, byte: u8) {
            body(text.as_bytes());
            let mut near = text.into_bytes();
            let at = at.index(near.len());
            near[at] = byte;
            body(&near);
            body(&near[..at]);
        }

        #[test]
        fn no_event_panics_and_usage_is_cut_cleanly(text in members(), at: prop::sample::Index, byte: u8) {
            let mut bytes = format!("data: {text}\n\n").into_bytes();
            event(&bytes);
            answer(&bytes);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            event(&bytes);
        }

        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200), cuts in vec(0..200usize, 0..4), tag in select(b"IWR".to_vec())) {
            body(&bytes);
            stream(&bytes, &cuts);
            answer(&bytes);
            record(&bytes);
            record(&[&[tag], &bytes[..]].concat());
        }

        #[test]
        fn f11_a_stream_is_split_the_same_however_it_arrives(lines in vec(prop_oneof![members(), select(vec!["[DONE]".to_owned(), String::new()])], 0..6),
            ends in vec(select(vec!["\n\n", "\r\n\r\n", "\r\r", "\n", "\r\n: ping\n\n"]), 6), cuts in vec(0..600usize, 0..9)) {
            let text: String = lines.iter().zip(ends).map(|(line, end)| format!("data: {line}{end}")).collect();
            stream(text.as_bytes(), &cuts);
        }
    }
}
