//! A checker for the part of JSON Schema that VDA 5050's schemas use: a keyword that it does not know fails the test. With
//! the published schemas where they are (`../shared/data/vda5050`), else with small ones of our own: required fields and
//! types. Also used by the tests of `robots`.
//!
//! Why our own: the jsonschema crate costs 98 CPU seconds to build; Python's is asked as well, in `robots`' tests.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use vda5050::{Topic, Version};

/// The published schemas, repaired, or ours.
static SCHEMAS: LazyLock<BTreeMap<(Version, Topic), Value>> = LazyLock::new(|| {
    let all = [Version::V2, Version::V3].into_iter().flat_map(|version| Topic::ALL.map(|topic| (version, topic)));
    all.map(|(version, topic)| ((version, topic), published(version, topic).unwrap_or_else(|| ours(version, topic))))
        .collect()
});

pub fn schema(version: Version, topic: Topic) -> &'static Value {
    &SCHEMAS[&(version, topic)]
}

/// `shared` beside the repository, or further up: a worktree lies deeper.
pub fn folder() -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.map(|it| it.join("shared/data/vda5050")).find(|it| it.is_dir())
}

fn published(version: Version, topic: Topic) -> Option<Value> {
    let text =
        std::fs::read_to_string(folder()?.join(version.text()).join(format!("{}.schema", topic.as_str()))).ok()?;
    // As published, order, factsheet and visualization of 3.0.0 have commas before closing brackets …
    let mut strict = String::new();
    for (at, c) in text.char_indices() {
        let closes = |rest: &str| rest.trim_start().starts_with([']', '}']);
        if c != ',' || !closes(&text[at + 1..]) {
            strict.push(c);
        }
    }
    // … and the factsheet requires a name that it does not define.
    let strict = strict.replace("\"mobileRobotKinematic\"", "\"mobileRobotKinematics\"");
    Some(serde_json::from_str(&strict).unwrap())
}

/// What is wrong with a message; nothing if it is valid.
pub fn faults(version: Version, topic: Topic, json: &str) -> Vec<String> {
    let schema = schema(version, topic);
    let mut found = Vec::new();
    check(schema, schema, &serde_json::from_str(json).unwrap(), topic.as_str(), &mut found);
    found
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    for (keyword, wanted) in schema.as_object().unwrap() {
        let number = || (value.as_f64(), wanted.as_f64().unwrap());
        let bad = match keyword.as_str() {
            "$schema" | "title" | "description" | "subtopic" | "examples" | "unit" | "default" | "definitions"
            | "$defs" | "then" | "$comment" => false,
            "type" => match wanted {
                Value::String(kind) => !is(value, kind),
                kinds => !kinds.as_array().unwrap().iter().any(|kind| is(value, kind.as_str().unwrap())),
            },
            "enum" => !wanted.as_array().unwrap().contains(value),
            "const" => value != wanted,
            "minimum" => matches!(number(), (Some(it), min) if it < min),
            "maximum" => matches!(number(), (Some(it), max) if it > max),
            "exclusiveMinimum" => matches!(number(), (Some(it), min) if it <= min),
            "minItems" => value.as_array().is_some_and(|it| (it.len() as u64) < wanted.as_u64().unwrap()),
            "format" => wanted == "date-time" && value.as_str().is_some_and(|it| vda5050::stamp::read(it).is_none()),
            "required" => {
                let missing = wanted.as_array().unwrap().iter().filter(|it| value.get(it.as_str().unwrap()).is_none());
                let missing: Vec<_> = missing.collect();
                if value.is_object() && !missing.is_empty() {
                    found.push(format!("{at}: without {missing:?}"));
                }
                false
            }
            "properties" => {
                for (name, inner) in wanted.as_object().unwrap() {
                    if let Some(it) = value.get(name) {
                        check(root, inner, it, &format!("{at}.{name}"), found);
                    }
                }
                false
            }
            "items" => {
                for (place, it) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, wanted, it, &format!("{at}[{place}]"), found);
                }
                false
            }
            "$ref" => {
                let pointer = wanted.as_str().unwrap().strip_prefix('#').unwrap();
                check(root, root.pointer(pointer).unwrap(), value, at, found);
                false
            }
            "allOf" => {
                wanted.as_array().unwrap().iter().for_each(|it| check(root, it, value, at, found));
                false
            }
            "if" => {
                let mut not = Vec::new();
                check(root, wanted, value, at, &mut not);
                if let (true, Some(then)) = (not.is_empty(), schema.get("then")) {
                    check(root, then, value, at, found);
                }
                false
            }
            other => panic!("{at}: the checker does not know {other}"),
        };
        if bad {
            found.push(format!("{at}: {value} is not {keyword} {wanted}"));
        }
    }
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("the checker does not know the type {other}"),
    }
}

/// Required fields and their types, for machines that have not the published schemas.
fn ours(version: Version, topic: Topic) -> Value {
    let action = "actions:[actionType:s actionId:s blockingType:s]";
    let fields = match (topic, version) {
        (Topic::Order, Version::V3) => format!(
            "orderId:s orderUpdateId:i nodes:[nodeId:s sequenceId:i released:b {action}] edges:[edgeId:s sequenceId:i released:b {action}]"
        ),
        (Topic::Order, Version::V2) => format!(
            "orderId:s orderUpdateId:i nodes:[nodeId:s sequenceId:i released:b {action}] edges:[edgeId:s sequenceId:i released:b startNodeId:s endNodeId:s {action}]"
        ),
        (Topic::InstantActions, _) => action.to_owned(),
        (Topic::Responses, _) => "responses:[requestId:s grantType:s]".to_owned(),
        (Topic::ZoneSet, _) => "zoneSet:{mapId:s zoneSetId:s zones:[zoneId:s zoneType:s vertices:[x:n y:n]]}".to_owned(),
        (Topic::Connection, _) => "connectionState:s".to_owned(),
        (Topic::State, _) => {
            let (power, stop, instant) = match version {
                Version::V3 => ("powerSupply:{stateOfCharge:n charging:b}", "activeEmergencyStop", "instantActionStates:[actionId:s actionStatus:s]"),
                Version::V2 => ("batteryState:{batteryCharge:n charging:b}", "eStop", ""),
            };
            format!(
                "orderId:s orderUpdateId:i lastNodeId:s lastNodeSequenceId:i driving:b operatingMode:s \
                 nodeStates:[nodeId:s sequenceId:i released:b] edgeStates:[edgeId:s sequenceId:i released:b] \
                 actionStates:[actionId:s actionStatus:s] errors:[errorType:s errorLevel:s] {power} {instant} \
                 safetyState:{{{stop}:s fieldViolation:b}}"
            )
        }
        (Topic::Factsheet, Version::V3) => "typeSpecification:{seriesName:s mobileRobotKinematics:s mobileRobotClass:s maximumLoadMass:n} protocolFeatures:{optionalParameters:[parameter:s] mobileRobotActions:[actionType:s actionScopes:[] pauseAllowed:s cancelAllowed:s]}".to_owned(),
        (Topic::Factsheet, Version::V2) => "typeSpecification:{seriesName:s agvKinematic:s agvClass:s maxLoadMass:n} protocolFeatures:{optionalParameters:[parameter:s] agvActions:[actionType:s actionScopes:[]]}".to_owned(),
    };
    let text = format!("headerId:i timestamp:s version:s manufacturer:s serialNumber:s {fields}}}");
    object(&mut text.chars().peekable(), '}')
}

fn object(text: &mut std::iter::Peekable<std::str::Chars<'_>>, end: char) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    loop {
        while text.next_if(|c| c.is_whitespace()).is_some() {}
        if text.next_if_eq(&end).is_some() {
            return json!({"type": "object", "required": required, "properties": properties});
        }
        let mut name = String::new();
        while let Some(c) = text.next_if(|c| *c != ':') {
            name.push(c);
        }
        text.next();
        let schema = match text.next().unwrap() {
            's' => json!({"type": "string"}),
            'i' => json!({"type": "integer"}),
            'b' => json!({"type": "boolean"}),
            'n' => json!({"type": "number"}),
            '{' => object(text, '}'),
            '[' if text.peek() == Some(&']') => {
                text.next();
                json!({"type": "array"})
            }
            '[' => json!({"type": "array", "items": object(text, ']')}),
            other => panic!("{other}"),
        };
        required.push(json!(name));
        properties.insert(name, schema);
    }
}

#[test]
fn both_kinds_of_schema_find_what_is_wrong() {
    let at = "2026-11-27T06:46:52.000Z";
    let good = json!({"headerId": 1, "timestamp": at, "version": "3.0.0", "manufacturer": "a", "serialNumber": "b",
        "connectionState": "ONLINE"});
    for schema in [schema(Version::V3, Topic::Connection), &ours(Version::V3, Topic::Connection)] {
        let faults = |value: &Value| {
            let mut found = Vec::new();
            check(schema, schema, value, "", &mut found);
            found.len()
        };
        assert_eq!(faults(&good), 0);
        let mut bad = good.clone();
        bad["headerId"] = json!("one");
        assert_eq!(faults(&bad), 1);
        bad.as_object_mut().unwrap().remove("connectionState");
        assert_eq!(faults(&bad), 2);
    }
}
