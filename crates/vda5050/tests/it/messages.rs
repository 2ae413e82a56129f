//! Messages that the session's tests do not write, their limits, and words that differ between the versions.

use super::robot::{World, id};
use super::schema::faults;
use serde_json::json;
use types::UnixMillis;
use vda5050::limits::{ENTRIES_MAX, MESSAGE_BYTES_MAX, TEXT_BYTES_MAX};
use vda5050::message::order::{Action, InstantActions, Vertex, Zone, ZoneSet, ZoneSetMessage};
use vda5050::message::words::{BlockingType, ZoneType};
use vda5050::message::{Header, Message, ReadError, WriteError, read, write};
use vda5050::{Topic, Version};

fn header(version: Version) -> Header {
    Header::new(1, UnixMillis(1_764_225_212_000), version, &id())
}

fn zone_set(corners: usize) -> Message {
    let vertices = (0..corners).map(|n| Vertex { x: n as f64, y: 0.5 }).collect();
    let zones = vec![Zone { zone_id: "z1".to_owned(), zone_type: ZoneType::Blocked, vertices }];
    Message::ZoneSet(ZoneSetMessage {
        header: header(Version::V3),
        zone_set: ZoneSet { map_id: "hall-1".to_owned(), zone_set_id: "s1".to_owned(), zones },
    })
}

#[test]
fn zones_are_of_3_0_and_have_three_corners() {
    let json = write(Version::V3, &zone_set(3), 0).unwrap();
    assert_eq!(faults(Version::V3, Topic::ZoneSet, &json), Vec::<String>::new());
    assert!(matches!(write(Version::V3, &zone_set(2), 0), Err(WriteError::Form(_))));
    assert_eq!(write(Version::V2, &zone_set(3), 0), Err(WriteError::Version("2.1.0")));
}

#[test]
fn an_instant_action_blocks_nothing() {
    let message = |blocking_type| {
        let action = Action {
            action_type: "cancelOrder".to_owned(),
            action_id: "a".to_owned(),
            action_descriptor: None,
            blocking_type,
            action_parameters: Vec::new(),
            retriable: None,
        };
        Message::InstantActions(InstantActions { header: header(Version::V3), actions: vec![action] })
    };
    assert!(write(Version::V3, &message(BlockingType::None), 0).is_ok());
    assert!(matches!(write(Version::V3, &message(BlockingType::Hard), 0), Err(WriteError::Form(_))));
    assert!(matches!(write(Version::V3, &message(BlockingType::Other("X".to_owned())), 0), Err(WriteError::Form(_))));
    let json = write(Version::V3, &message(BlockingType::None), 0).unwrap();
    assert_eq!(write(Version::V3, &message(BlockingType::None), json.len()).unwrap(), json);
    let longer = WriteError::TooLong { bytes: json.len(), max: json.len() - 1 };
    assert_eq!(write(Version::V3, &message(BlockingType::None), json.len() - 1), Err(longer));
}

#[test]
fn limits_of_reading_hold_at_their_edge() {
    let order = |description: usize, entries: usize| {
        let value = json!({"headerId": 1, "timestamp": "t", "version": "3.0.0", "manufacturer": "a", "serialNumber": "b",
            "orderId": "o", "orderUpdateId": 0, "nodes": [], "edges": [], "orderDescription": "x".repeat(description),
            "unknown": vec![0; entries]});
        read(Version::V3, Topic::Order, value.to_string().as_bytes()).map(|_| ())
    };
    assert_eq!(order(TEXT_BYTES_MAX, ENTRIES_MAX), Ok(()));
    let text = ReadError::TextTooLong { key: "orderDescription".to_owned(), bytes: TEXT_BYTES_MAX + 1 };
    assert_eq!(order(TEXT_BYTES_MAX + 1, 0), Err(text));
    let entries = ReadError::TooMany { key: "unknown".to_owned(), entries: ENTRIES_MAX + 1 };
    assert_eq!(order(0, ENTRIES_MAX + 1), Err(entries));
    let long = vec![b' '; MESSAGE_BYTES_MAX + 1];
    assert_eq!(read(Version::V3, Topic::Order, &long), Err(ReadError::TooLong { bytes: MESSAGE_BYTES_MAX + 1 }));
}

#[test]
fn words_of_2_1_are_those_of_3_0() {
    let mut world = World::bare(Version::V2);
    let mut state = world.idle();
    state.operating_mode = vda5050::message::words::OperatingMode::TeachIn;
    let json = write(Version::V2, &Message::State(Box::new(state.clone())), 0).unwrap();
    for word in ["\"TEACHIN\"", "\"batteryState\"", "\"batteryCharge\"", "\"eStop\""] {
        assert!(json.contains(word), "{word} in {json}");
    }
    let (back, unknown) = read(Version::V2, Topic::State, json.as_bytes()).unwrap();
    assert_eq!((back, unknown), (Message::State(Box::new(state)), Vec::new()));
    let broken = r#"{"headerId":1,"timestamp":"t","version":"2.1.0","manufacturer":"a","serialNumber":"b","connectionState":"CONNECTIONBROKEN"}"#;
    let (Message::Connection(it), unknown) = read(Version::V2, Topic::Connection, broken.as_bytes()).unwrap() else {
        panic!("another message")
    };
    assert_eq!((it.connection_state.as_str(), unknown), ("CONNECTION_BROKEN", Vec::new()));
}
