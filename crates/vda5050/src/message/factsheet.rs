//! `factsheet`: what a robot can do and carry, and how long a message of ours may be.

use super::Header;
use super::words::{ActionScope, BlockingType, ValueType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Factsheet {
    #[serde(flatten)]
    pub header: Header,
    pub type_specification: TypeSpecification,
    pub physical_parameters: PhysicalParameters,
    pub protocol_limits: ProtocolLimits,
    pub protocol_features: ProtocolFeatures,
    /// Not decided on; objects without required fields.
    #[serde(default)]
    pub mobile_robot_geometry: Nothing,
    #[serde(default)]
    pub load_specification: Nothing,
}

/// `{}`; whatever stands in it is kept out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Nothing {}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeSpecification {
    pub series_name: String,
    /// The published schema of 3.0.0 defines this name and requires `mobileRobotKinematic`; both are read.
    #[serde(alias = "mobileRobotKinematic")]
    pub mobile_robot_kinematics: String,
    pub mobile_robot_class: String,
    /// Kilogrammes.
    pub maximum_load_mass: f64,
    #[serde(default)]
    pub localization_types: Vec<String>,
    #[serde(default)]
    pub navigation_types: Vec<String>,
}

/// Metres, seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhysicalParameters {
    pub minimum_speed: f64,
    pub maximum_speed: f64,
    pub maximum_acceleration: f64,
    pub maximum_deceleration: f64,
    /// Not required in 2.1.
    #[serde(default)]
    pub minimum_height: f64,
    pub maximum_height: f64,
    pub width: f64,
    pub length: f64,
}

/// What is missing or zero is not limited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProtocolLimits {
    pub maximum_string_lengths: StringLengths,
    /// `order.nodes`, `node.actions` …
    pub maximum_array_lengths: BTreeMap<String, u32>,
    pub timing: Timing,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StringLengths {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_message_length: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_id_length: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_numerical_only: Option<bool>,
}

/// Seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timing {
    pub minimum_order_interval: f64,
    pub minimum_state_interval: f64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProtocolFeatures {
    #[serde(default)]
    pub optional_parameters: Vec<OptionalParameter>,
    pub mobile_robot_actions: Vec<RobotAction>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OptionalParameter {
    pub parameter: String,
    pub support: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RobotAction {
    pub action_type: String,
    pub action_scopes: Vec<ActionScope>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub action_parameters: Vec<ActionParameter>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocking_types: Vec<BlockingType>,
    /// Required in 3.0, unknown in 2.1; texts in the published schema.
    #[serde(default)]
    pub pause_allowed: Text,
    #[serde(default)]
    pub cancel_allowed: Text,
}

/// `"true"` or `"false"`; robots also send the bare words, which are no texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Text(pub bool);

impl Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0 { "true" } else { "false" })
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Text(value == serde_json::Value::Bool(true) || value == "true"))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionParameter {
    pub key: String,
    pub value_data_type: ValueType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_optional: Option<bool>,
}
