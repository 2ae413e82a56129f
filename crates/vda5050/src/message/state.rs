//! `state` and `connection`: what robots tell us all the time. Only what is decided on; the rest is kept out.

use super::Header;
use super::words::{ActionStatus, ConnectionState, EmergencyStop, ErrorLevel, OperatingMode, RequestStatus};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    #[serde(flatten)]
    pub header: Header,
    /// Empty before the first order.
    pub order_id: String,
    pub order_update_id: u32,
    pub last_node_id: String,
    pub last_node_sequence_id: u32,
    pub node_states: Vec<NodeState>,
    pub edge_states: Vec<EdgeState>,
    pub driving: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_base_request: Option<bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zone_requests: Vec<ZoneRequest>,
    pub action_states: Vec<ActionState>,
    /// In 2.1 these stand among `actionStates`.
    #[serde(default)]
    pub instant_action_states: Vec<ActionState>,
    pub power_supply: PowerSupply,
    pub operating_mode: OperatingMode,
    pub errors: Vec<Error>,
    pub safety_state: SafetyState,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeState {
    pub node_id: String,
    pub sequence_id: u32,
    pub released: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeState {
    pub edge_id: String,
    pub sequence_id: u32,
    pub released: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionState {
    pub action_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_type: Option<String>,
    pub action_status: ActionStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_result: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ZoneRequest {
    pub request_id: String,
    pub request_type: String,
    pub zone_id: String,
    pub zone_set_id: String,
    pub request_status: RequestStatus,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PowerSupply {
    /// Percent.
    pub state_of_charge: f64,
    pub charging: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Error {
    pub error_type: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error_references: Vec<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_description: Option<String>,
    pub error_level: ErrorLevel,
}

impl Error {
    /// What it refers to: `orderId`, `actionId`, `nodeId`.
    pub fn about(&self, key: &str) -> Option<&str> {
        let found = self.error_references.iter().find(|it| it.reference_key == key)?;
        Some(&found.reference_value)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    pub reference_key: String,
    pub reference_value: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SafetyState {
    pub active_emergency_stop: EmergencyStop,
    pub field_violation: bool,
}

/// Retained; the robot's last will is one of these, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    #[serde(flatten)]
    pub header: Header,
    pub connection_state: ConnectionState,
}
