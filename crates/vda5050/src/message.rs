//! Messages: read from bytes with limits and leniently, checked and written strictly. In both versions' spelling; what is
//! between is 3.0's.

pub mod factsheet;
pub mod order;
pub mod state;
mod strict;
pub mod words;

use crate::dialect;
use crate::limits::{ENTRIES_MAX, MESSAGE_BYTES_MAX, TEXT_BYTES_MAX, WORDS_MAX};
use crate::robot::RobotId;
use crate::stamp;
use crate::topic::Topic;
use crate::version::Version;
use factsheet::Factsheet;
use order::{InstantActions, Order, Responses, ZoneSetMessage};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use state::{Connection, State};
use types::UnixMillis;

/// Begins every message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Counts per topic, one up for each message that is sent.
    pub header_id: u32,
    pub timestamp: String,
    pub version: String,
    pub manufacturer: String,
    pub serial_number: String,
}

impl Header {
    pub fn new(header_id: u32, at: UnixMillis, version: Version, robot: &RobotId) -> Header {
        Header {
            header_id,
            timestamp: stamp::write(at),
            version: version.text().to_owned(),
            manufacturer: robot.manufacturer().to_owned(),
            serial_number: robot.serial().to_owned(),
        }
    }

    pub fn at(&self) -> Option<UnixMillis> {
        stamp::read(&self.timestamp)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    Order(Order),
    InstantActions(InstantActions),
    Responses(Responses),
    ZoneSet(ZoneSetMessage),
    State(Box<State>),
    Connection(Connection),
    Factsheet(Box<Factsheet>),
}

impl Message {
    pub fn topic(&self) -> Topic {
        match self {
            Message::Order(_) => Topic::Order,
            Message::InstantActions(_) => Topic::InstantActions,
            Message::Responses(_) => Topic::Responses,
            Message::ZoneSet(_) => Topic::ZoneSet,
            Message::State(_) => Topic::State,
            Message::Connection(_) => Topic::Connection,
            Message::Factsheet(_) => Topic::Factsheet,
        }
    }

    pub fn header(&self) -> &Header {
        match self {
            Message::Order(it) => &it.header,
            Message::InstantActions(it) => &it.header,
            Message::Responses(it) => &it.header,
            Message::ZoneSet(it) => &it.header,
            Message::State(it) => &it.header,
            Message::Connection(it) => &it.header,
            Message::Factsheet(it) => &it.header,
        }
    }
}

/// Why bytes are no message: the sender's fault; sending them again will not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("{bytes} bytes, of at most {MESSAGE_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("a text of {bytes} bytes in \"{key}\", of at most {TEXT_BYTES_MAX}")]
    TextTooLong { key: String, bytes: usize },
    #[error("{entries} entries in \"{key}\", of at most {ENTRIES_MAX}")]
    TooMany { key: String, entries: usize },
    #[error("not the message that its topic names: {0}")]
    Form(String),
}

/// Why a message of ours does not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("{bytes} bytes, of at most {max} that the receiver takes")]
    TooLong { bytes: usize, max: usize },
    #[error("{0}")]
    Form(String),
    #[error("version {0} has no such message")]
    Version(&'static str),
}

/// Reads a message, and names the words in it that the standard does not know.
pub fn read(version: Version, topic: Topic, bytes: &[u8]) -> Result<(Message, Vec<String>), ReadError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(ReadError::TooLong { bytes: bytes.len() });
    }
    let mut value: Value = serde_json::from_slice(bytes).map_err(form)?;
    within(&value, "")?;
    if version == Version::V2 {
        dialect::to_v3(topic, &mut value);
    }
    let message = match topic {
        Topic::Order => Message::Order(serde_json::from_value(value).map_err(form)?),
        Topic::InstantActions => Message::InstantActions(serde_json::from_value(value).map_err(form)?),
        Topic::Responses => Message::Responses(serde_json::from_value(value).map_err(form)?),
        Topic::ZoneSet => Message::ZoneSet(serde_json::from_value(value).map_err(form)?),
        Topic::State => Message::State(serde_json::from_value(value).map_err(form)?),
        Topic::Connection => Message::Connection(serde_json::from_value(value).map_err(form)?),
        Topic::Factsheet => Message::Factsheet(serde_json::from_value(value).map_err(form)?),
    };
    let mut unknown = strict::unknown_words(&message);
    unknown.truncate(WORDS_MAX);
    Ok((message, unknown))
}

fn form(error: serde_json::Error) -> ReadError {
    ReadError::Form(error.to_string())
}

fn within(value: &Value, key: &str) -> Result<(), ReadError> {
    let text = |key: &str, text: &str| match text.len() > TEXT_BYTES_MAX {
        true => Err(ReadError::TextTooLong { key: key.chars().take(64).collect(), bytes: text.len() }),
        false => Ok(()),
    };
    let many = |entries: usize| match entries > ENTRIES_MAX {
        true => Err(ReadError::TooMany { key: key.chars().take(64).collect(), entries }),
        false => Ok(()),
    };
    match value {
        Value::String(it) => text(key, it),
        Value::Array(entries) => {
            many(entries.len())?;
            entries.iter().try_for_each(|it| within(it, key))
        }
        Value::Object(fields) => {
            many(fields.len())?;
            fields.iter().try_for_each(|(key, it)| text(key, key).and_then(|()| within(it, key)))
        }
        _ => Ok(()),
    }
}

/// Checks a message and writes it; `bytes_max` is what the receiver takes, 0 if it does not say.
pub fn write(version: Version, message: &Message, bytes_max: usize) -> Result<String, WriteError> {
    if version == Version::V2 && matches!(message, Message::Responses(_) | Message::ZoneSet(_)) {
        return Err(WriteError::Version(version.text()));
    }
    strict::check(message)?;
    let value = match message {
        Message::Order(it) => serde_json::to_value(it),
        Message::InstantActions(it) => serde_json::to_value(it),
        Message::Responses(it) => serde_json::to_value(it),
        Message::ZoneSet(it) => serde_json::to_value(it),
        Message::State(it) => serde_json::to_value(it),
        Message::Connection(it) => serde_json::to_value(it),
        Message::Factsheet(it) => serde_json::to_value(it),
    };
    let mut value = value.map_err(|error| WriteError::Form(error.to_string()))?;
    match version {
        Version::V2 => dialect::to_v2(message.topic(), &mut value),
        Version::V3 => dialect::tidy_v3(&mut value),
    }
    let text = value.to_string();
    let max = if bytes_max == 0 { MESSAGE_BYTES_MAX } else { bytes_max.min(MESSAGE_BYTES_MAX) };
    match text.len() > max {
        true => Err(WriteError::TooLong { bytes: text.len(), max }),
        false => Ok(text),
    }
}
