//! What 2.1 calls otherwise than 3.0, as tables, applied to JSON before reading and after writing. Values of action
//! parameters are the site's own and stay as they are.

use crate::topic::Topic;
use serde_json::{Map, Value};

/// (3.0, 2.1), wherever the key stands in a message of one of these topics.
type Keys = &'static [(&'static str, &'static str)];
/// (key as in 3.0, word in 3.0, word in 2.1). Reading takes the first line that fits, writing too.
type Words = &'static [(&'static str, &'static str, &'static str)];

const TOLD_KEYS: Keys = &[
    ("nodeDescriptor", "nodeDescription"),
    ("edgeDescriptor", "edgeDescription"),
    ("actionDescriptor", "actionDescription"),
    ("maximumSpeed", "maxSpeed"),
    ("maximumMobileRobotHeight", "maxHeight"),
    ("minimumLoadHandlingDeviceHeight", "minHeight"),
];

/// SINGLE allows driving; HARD, which 2.1 knows, allows less.
const TOLD_WORDS: Words = &[("blockingType", "SINGLE", "HARD")];

const STATE_KEYS: Keys = &[
    ("mobileRobotPosition", "agvPosition"),
    ("localized", "positionInitialized"),
    ("powerSupply", "batteryState"),
    ("stateOfCharge", "batteryCharge"),
    ("range", "reach"),
    ("activeEmergencyStop", "eStop"),
    ("nodeDescriptor", "nodeDescription"),
    ("edgeDescriptor", "edgeDescription"),
    ("actionDescriptor", "actionDescription"),
    ("actionResult", "resultDescription"),
    ("infoDescriptor", "infoDescription"),
];

/// Only the renamed and the new words; the others are alike. Rejections had names of their own.
const STATE_WORDS: Words = &[
    ("operatingMode", "TEACH_IN", "TEACHIN"),
    ("operatingMode", "STARTUP", "SERVICE"),
    ("operatingMode", "INTERVENED", "SEMIAUTOMATIC"),
    ("activeEmergencyStop", "MANUAL", "AUTOACK"),
    ("actionStatus", "PAUSED", "RUNNING"),
    ("actionStatus", "RETRIABLE", "FAILED"),
    ("errorLevel", "URGENT", "WARNING"),
    ("errorLevel", "CRITICAL", "FATAL"),
    ("errorType", "VALIDATION_FAILURE", "validationError"),
    ("errorType", "VALIDATION_FAILURE", "orderError"),
    ("errorType", "OUTDATED_ORDER_UPDATE", "orderUpdateError"),
    ("errorType", "NO_ROUTE_TO_TARGET", "noRouteError"),
    ("errorType", "NO_ORDER_TO_CANCEL", "noOrderToCancel"),
];

/// Words of 3.0 that, written for 2.1, become one that 2.1 means otherwise: not undone when reading.
const LOSSY: &[&str] = &["STARTUP", "INTERVENED", "PAUSED", "RETRIABLE", "URGENT", "CRITICAL", "SINGLE", "HIBERNATING"];
/// And of 2.1, read as one that 3.0 has: not undone when writing.
const READ_ONLY: &[&str] = &["AUTOACK", "orderError", "FLOAT"];

const CONNECTION_WORDS: Words =
    &[("connectionState", "CONNECTION_BROKEN", "CONNECTIONBROKEN"), ("connectionState", "HIBERNATING", "OFFLINE")];

const FACTSHEET_KEYS: Keys = &[
    ("mobileRobotKinematics", "agvKinematic"),
    ("mobileRobotClass", "agvClass"),
    ("maximumLoadMass", "maxLoadMass"),
    ("minimumSpeed", "speedMin"),
    ("maximumSpeed", "speedMax"),
    ("maximumAcceleration", "accelerationMax"),
    ("maximumDeceleration", "decelerationMax"),
    ("minimumHeight", "heightMin"),
    ("maximumHeight", "heightMax"),
    ("maximumStringLengths", "maxStringLens"),
    ("maximumMessageLength", "msgLen"),
    ("maximumIdLength", "idLen"),
    ("maximumArrayLengths", "maxArrayLens"),
    ("minimumOrderInterval", "minOrderInterval"),
    ("minimumStateInterval", "minStateInterval"),
    ("mobileRobotActions", "agvActions"),
    ("mobileRobotGeometry", "agvGeometry"),
];

const FACTSHEET_WORDS: Words = &[
    ("mobileRobotKinematics", "DIFFERENTIAL", "DIFF"),
    ("mobileRobotKinematics", "OMNIDIRECTIONAL", "OMNI"),
    ("mobileRobotKinematics", "THREE_WHEEL", "THREEWHEEL"),
    ("navigationTypes", "FREELY_NAVIGATING", "AUTONOMOUS"),
    ("valueDataType", "NUMBER", "FLOAT"),
];

fn tables(topic: Topic) -> (Keys, Words) {
    match topic {
        Topic::Order | Topic::InstantActions => (TOLD_KEYS, TOLD_WORDS),
        Topic::State => (STATE_KEYS, STATE_WORDS),
        Topic::Connection => (&[], CONNECTION_WORDS),
        Topic::Factsheet => (FACTSHEET_KEYS, FACTSHEET_WORDS),
        Topic::Responses | Topic::ZoneSet => (&[], &[]),
    }
}

/// From the spelling of 2.1 to that of 3.0.
pub fn to_v3(topic: Topic, value: &mut Value) {
    let (keys, words) = tables(topic);
    let key = |key: &str| keys.iter().find(|(_, old)| *old == key).map(|(new, _)| *new);
    let word = |key: &str, word: &str| {
        let line = words.iter().find(|(at, new, old)| *at == key && *old == word && !LOSSY.contains(new));
        line.map(|(_, new, _)| *new)
    };
    translate(value, "", &key, &word);
    if topic == Topic::Order {
        each(value, "nodes", |node| {
            each_position(node, |deviation| {
                let radius = deviation.take();
                *deviation = serde_json::json!({"a": radius, "b": radius, "theta": 0.0});
            })
        });
    }
}

/// From the spelling of 3.0 to that of 2.1. What 2.1 does not know is left out, what it needs beyond is filled in.
pub fn to_v2(topic: Topic, value: &mut Value) {
    match topic {
        Topic::Order => order_to_v2(value),
        Topic::State => {
            // Instant actions stand among the others there.
            let instant = value.as_object_mut().and_then(|it| it.remove("instantActionStates"));
            let all = value.get_mut("actionStates").and_then(Value::as_array_mut);
            if let (Some(Value::Array(instant)), Some(all)) = (instant, all) {
                all.extend(instant);
            }
            remove(value, &["zoneRequests", "edgeRequests", "zoneSets", "zoneActionStates"]);
        }
        Topic::Factsheet => {
            let features = value.get_mut("protocolFeatures").and_then(|it| it.get_mut("mobileRobotActions"));
            for action in features.and_then(Value::as_array_mut).into_iter().flatten() {
                // The published 2.1.0 asks that the list of blocking types be one word: nothing can be written there.
                remove(action, &["pauseAllowed", "cancelAllowed", "blockingTypes"]);
            }
        }
        _ => {}
    }
    let (keys, words) = tables(topic);
    let key = |key: &str| keys.iter().find(|(new, _)| *new == key).map(|(_, old)| *old);
    let word = |key: &str, word: &str| {
        let line = words.iter().find(|(at, new, old)| *at == key && *new == word && !READ_ONLY.contains(old));
        line.map(|(_, _, old)| *old)
    };
    translate(value, "", &key, &word);
}

/// An edge of 3.0 does not name its ends, one of 2.1 does.
pub fn tidy_v3(value: &mut Value) {
    each(value, "edges", |edge| remove(edge, &["startNodeId", "endNodeId"]));
}

fn order_to_v2(value: &mut Value) {
    remove(value, &["orderDescription"]);
    let nodes: Vec<Value> =
        value.get("nodes").and_then(Value::as_array).into_iter().flatten().map(|node| node["nodeId"].clone()).collect();
    let mut place = 0;
    each(value, "edges", |edge| {
        if let (Some(edge), Some([start, end])) = (edge.as_object_mut(), nodes.get(place..place + 2)) {
            edge.insert("startNodeId".to_owned(), start.clone());
            edge.insert("endNodeId".to_owned(), end.clone());
        }
        place += 1;
        each(edge, "actions", |action| remove(action, &["retriable"]));
    });
    each(value, "nodes", |node| each(node, "actions", |action| remove(action, &["retriable"])));
}

fn each(value: &mut Value, key: &str, work: impl FnMut(&mut Value)) {
    value.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().for_each(work);
}

fn each_position(node: &mut Value, work: impl FnMut(&mut Value)) {
    let position = node.get_mut("nodePosition").and_then(|it| it.get_mut("allowedDeviationXY"));
    position.into_iter().filter(|it| it.is_number()).for_each(work);
}

fn remove(value: &mut Value, keys: &[&str]) {
    if let Some(fields) = value.as_object_mut() {
        keys.iter().for_each(|key| {
            fields.remove(*key);
        });
    }
}

/// Renames keys and words everywhere but in the values of action parameters. Words go by the key in 3.0's spelling.
fn translate(
    value: &mut Value,
    at: &str,
    key: &dyn Fn(&str) -> Option<&'static str>,
    word: &dyn Fn(&str, &str) -> Option<&'static str>,
) {
    match value {
        Value::Object(fields) => {
            let old = std::mem::take(fields);
            let mut new = Map::new();
            for (name, mut inner) in old {
                let renamed = key(&name);
                if name != "actionParameters" || at == "mobileRobotActions" || at == "agvActions" {
                    // Both spellings are tried: one of the two is the key as the table of words has it.
                    let in_v3 = renamed.filter(|it| word_keys(it)).unwrap_or(&name);
                    translate(&mut inner, in_v3, key, word);
                }
                new.insert(renamed.map_or(name, str::to_owned), inner);
            }
            *fields = new;
        }
        Value::Array(entries) => entries.iter_mut().for_each(|it| translate(it, at, key, word)),
        Value::String(text) => {
            if let Some(other) = word(at, text) {
                *text = other.to_owned();
            }
        }
        _ => {}
    }
}

/// Keys under which a word of a table stands.
fn word_keys(key: &str) -> bool {
    [TOLD_WORDS, STATE_WORDS, CONNECTION_WORDS, FACTSHEET_WORDS].into_iter().flatten().any(|(at, _, _)| *at == key)
}
