//! What must hold of a message before it is written, and the words in one that was read which the standard does not know.

use super::order::{Action, InstantActions, Order, Responses, ZoneSetMessage};
use super::words::BlockingType;
use super::{Header, Message, WriteError};
use crate::limits::{ENTRIES_MAX, NAME_BYTES_MAX, NODES_MAX, TEXT_BYTES_MAX};
use std::collections::BTreeSet;

pub(super) fn check(message: &Message) -> Result<(), WriteError> {
    header(message.header())?;
    if let Some(word) = unknown_words(message).first() {
        return Err(WriteError::Form(format!("{word} is not a word of the standard")));
    }
    match message {
        Message::Order(it) => order(it),
        Message::InstantActions(it) => instant_actions(it),
        Message::Responses(it) => responses(it),
        Message::ZoneSet(it) => zone_set(it),
        Message::State(_) | Message::Connection(_) | Message::Factsheet(_) => Ok(()),
    }
}

fn wrong<T>(text: impl Into<String>) -> Result<T, WriteError> {
    Err(WriteError::Form(text.into()))
}

fn text(what: &str, text: &str, bytes_max: usize) -> Result<(), WriteError> {
    match (1..=bytes_max).contains(&text.len()) {
        true => Ok(()),
        false => wrong(format!("{what} has {} bytes, not 1 to {bytes_max}", text.len())),
    }
}

fn header(header: &Header) -> Result<(), WriteError> {
    text("manufacturer", &header.manufacturer, NAME_BYTES_MAX)?;
    text("serialNumber", &header.serial_number, NAME_BYTES_MAX)?;
    match header.at() {
        Some(_) => Ok(()),
        None => wrong("timestamp is no time of ISO 8601"),
    }
}

/// One counter for nodes and edges, edges one fewer than nodes, the base before the horizon, ids unique.
fn order(order: &Order) -> Result<(), WriteError> {
    text("orderId", &order.order_id, TEXT_BYTES_MAX)?;
    if order.nodes.is_empty() || order.nodes.len() > NODES_MAX || order.edges.len() + 1 != order.nodes.len() {
        return wrong(format!("{} nodes and {} edges", order.nodes.len(), order.edges.len()));
    }
    let first = order.nodes[0].sequence_id;
    if !first.is_multiple_of(2) || !order.nodes[0].released {
        return wrong("the first node is released and its sequenceId even");
    }
    let mut released = true;
    for (place, node) in order.nodes.iter().enumerate() {
        text("nodeId", &node.node_id, TEXT_BYTES_MAX)?;
        let sequence = first + 2 * place as u32;
        let edge = order.edges.get(place);
        if node.sequence_id != sequence || edge.is_some_and(|edge| edge.sequence_id != sequence + 1) {
            return wrong(format!("sequenceId {sequence} or the one after it is out of sequence"));
        }
        if node.released && !released {
            return wrong("a released node behind the horizon's beginning");
        }
        released = node.released;
        if edge.is_some_and(|edge| edge.released && !released) {
            return wrong("a released edge in the horizon");
        }
        if let Some(edge) = edge {
            text("edgeId", &edge.edge_id, TEXT_BYTES_MAX)?;
        }
        let position = node.node_position.iter().flat_map(|it| [Some(it.x), Some(it.y), it.theta]).flatten();
        if position.into_iter().any(|number| !number.is_finite()) {
            return wrong("a position that is no number");
        }
    }
    let nodes = order.nodes.iter().flat_map(|it| &it.actions);
    actions(nodes.chain(order.edges.iter().flat_map(|it| &it.actions)))
}

fn actions<'a>(actions: impl Iterator<Item = &'a Action>) -> Result<(), WriteError> {
    let mut ids = BTreeSet::new();
    for action in actions {
        text("actionType", &action.action_type, TEXT_BYTES_MAX)?;
        text("actionId", &action.action_id, TEXT_BYTES_MAX)?;
        if !ids.insert(&action.action_id) {
            return wrong(format!("actionId {} twice", action.action_id));
        }
        if action.action_parameters.iter().any(|it| it.value.is_null()) {
            return wrong(format!("a parameter without a value in {}", action.action_id));
        }
    }
    if ids.len() > ENTRIES_MAX {
        return wrong(format!("{} actions, of at most {ENTRIES_MAX}", ids.len()));
    }
    Ok(())
}

fn instant_actions(it: &InstantActions) -> Result<(), WriteError> {
    if it.actions.iter().any(|action| action.blocking_type != BlockingType::None || action.retriable.is_some()) {
        return wrong("an instant action blocks nothing (NONE) and is not retriable");
    }
    actions(it.actions.iter())
}

fn responses(it: &Responses) -> Result<(), WriteError> {
    it.responses.iter().try_for_each(|response| text("requestId", &response.request_id, TEXT_BYTES_MAX))
}

fn zone_set(it: &ZoneSetMessage) -> Result<(), WriteError> {
    text("zoneSetId", &it.zone_set.zone_set_id, TEXT_BYTES_MAX)?;
    text("mapId", &it.zone_set.map_id, TEXT_BYTES_MAX)?;
    for zone in &it.zone_set.zones {
        text("zoneId", &zone.zone_id, TEXT_BYTES_MAX)?;
        let finite = zone.vertices.iter().all(|it| it.x.is_finite() && it.y.is_finite());
        if zone.vertices.len() < 3 || !finite {
            return wrong(format!("zone {} has fewer than three corners", zone.zone_id));
        }
    }
    Ok(())
}

/// `key WORD` of each word that the standard does not know.
pub(super) fn unknown_words(message: &Message) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut see = |key: &str, word: Option<&str>| {
        if let Some(word) = word {
            found.insert(format!("{key} {}", word.chars().take(64).collect::<String>()));
        }
    };
    match message {
        Message::Order(it) => {
            let nodes = it.nodes.iter().flat_map(|it| &it.actions);
            for action in nodes.chain(it.edges.iter().flat_map(|it| &it.actions)) {
                see("blockingType", action.blocking_type.unknown());
            }
        }
        Message::InstantActions(it) => it.actions.iter().for_each(|it| see("blockingType", it.blocking_type.unknown())),
        Message::Responses(it) => it.responses.iter().for_each(|it| see("grantType", it.grant_type.unknown())),
        Message::ZoneSet(it) => it.zone_set.zones.iter().for_each(|it| see("zoneType", it.zone_type.unknown())),
        Message::Connection(it) => see("connectionState", it.connection_state.unknown()),
        Message::State(it) => {
            for action in it.action_states.iter().chain(&it.instant_action_states) {
                see("actionStatus", action.action_status.unknown());
            }
            see("operatingMode", it.operating_mode.unknown());
            see("activeEmergencyStop", it.safety_state.active_emergency_stop.unknown());
            it.errors.iter().for_each(|it| see("errorLevel", it.error_level.unknown()));
            it.zone_requests.iter().for_each(|it| see("requestStatus", it.request_status.unknown()));
        }
        Message::Factsheet(it) => {
            for action in &it.protocol_features.mobile_robot_actions {
                action.action_scopes.iter().for_each(|it| see("actionScopes", it.unknown()));
                action.blocking_types.iter().for_each(|it| see("blockingTypes", it.unknown()));
                action.action_parameters.iter().for_each(|it| see("valueDataType", it.value_data_type.unknown()));
            }
        }
    }
    found.into_iter().collect()
}
