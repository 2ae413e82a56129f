//! A message of the robot: is it one, is it this robot's, is it new? Then what its connection and factsheet say.

use super::{Abilities, Got, Out, Presence, Session};
use crate::job::action_types;
use crate::limits::CLOCK_SKEW_MS;
use crate::message::factsheet::Factsheet;
use crate::message::state::Connection;
use crate::message::words::{ActionScope, ConnectionState};
use crate::message::{Header, Message, read};
use crate::topic::Topic;
use crate::version::Version;
use fleet::order::Verb;
use std::collections::BTreeSet;

impl Session {
    pub(super) fn receive(&mut self, version: Version, topic: Topic, bytes: &[u8], retained: bool, out: &mut Out<'_>) {
        let (message, unknown) = match read(version, topic, bytes) {
            Ok(read) => read,
            Err(error) => {
                self.find("message_invalid", format!("{}: {error}", topic.as_str()), out);
                return;
            }
        };
        let header = message.header();
        if header.manufacturer != self.robot.manufacturer() || header.serial_number != self.robot.serial() {
            let text = format!("{} of {}/{}", topic.as_str(), header.manufacturer, header.serial_number);
            self.find("wrong_sender", text, out);
            return;
        }
        let online = matches!(&message, Message::Connection(it) if it.connection_state == ConnectionState::Online);
        let other = version != self.version && !online && self.presence == Presence::Online;
        if Version::from_text(&header.version) != Some(version) || other {
            let text = format!("{} of version {} on a topic of {}", topic.as_str(), header.version, version.text());
            self.find("version_differs", text, out);
            return;
        }
        if !unknown.is_empty() {
            self.find("unknown_word", format!("{}: {}", topic.as_str(), unknown.join(", ")), out);
        }
        // A will was written when the robot connected; the broker sends it when it is gone.
        let will =
            matches!(&message, Message::Connection(it) if it.connection_state == ConnectionState::ConnectionBroken);
        if !will && !self.fresh(topic, header, retained, out) {
            return;
        }
        match message {
            Message::Connection(it) => self.connection(version, &it, out),
            Message::Factsheet(it) => self.factsheet(&it, out),
            Message::State(it) => self.state(&it, out),
            // Our own topics; nobody subscribes to them for us.
            Message::Order(_) | Message::InstantActions(_) | Message::Responses(_) | Message::ZoneSet(_) => {}
        }
    }

    /// Newer than what came last on this topic. Header ids count; a robot that came online anew may begin at zero, and then
    /// its clock decides.
    fn fresh(&mut self, topic: Topic, header: &Header, retained: bool, out: &mut Out<'_>) -> bool {
        let at = header.at();
        match at {
            None => {
                self.find("clock", format!("\"{}\" is no time", header.timestamp), out);
            }
            Some(at) if !retained && (at.0 - out.now.0).abs() > CLOCK_SKEW_MS => {
                self.find("clock", format!("its clock is {} s from ours", (at.0 - out.now.0) / 1_000), out);
            }
            Some(_) => {}
        }
        if let Some(last) = self.got.get(&topic) {
            let ahead = header.header_id.wrapping_sub(last.header_id);
            let counted = ahead != 0 && ahead < u32::MAX / 2;
            let later = at.is_some_and(|at| last.at.is_none_or(|last| at > last));
            let restarted = match topic {
                Topic::State => later && self.online_at.is_some_and(|online| at.is_some_and(|at| at >= online)),
                _ => later,
            };
            if !counted && !restarted {
                // The broker hands out what it keeps each time that we subscribe: the same again, not a robot's fault.
                if !(retained && ahead == 0) {
                    let text = format!(
                        "{} with header id {} after {}: not believed",
                        topic.as_str(),
                        header.header_id,
                        last.header_id
                    );
                    self.find("stale_header", text, out);
                }
                return false;
            }
        }
        if topic == Topic::State && self.online_at.is_some_and(|online| at.is_some_and(|at| at >= online)) {
            self.online_at = None;
        }
        self.got.insert(topic, Got { header_id: header.header_id, at });
        true
    }

    fn connection(&mut self, version: Version, it: &Connection, out: &mut Out<'_>) {
        let was = self.presence;
        match it.connection_state {
            ConnectionState::Online => {
                self.version = version;
                self.presence = Presence::Online;
                self.online_at = it.header.at();
                self.greeted_at = Some(out.now);
                self.asked_factsheet = false;
                self.broken_at = None;
                // Its first state may take as long as any.
                self.heard_at = Some(out.now);
                self.silent = false;
            }
            ConnectionState::Offline => {
                self.presence = Presence::Offline;
                self.broken_at = None;
                self.lose("offline", "it went offline with the task".to_owned(), out);
            }
            ConnectionState::Hibernating => {
                self.presence = Presence::Hibernating;
                if self.current.is_some() {
                    self.find("hibernating", "it hibernates with a task".to_owned(), out);
                    self.broken_at.get_or_insert(out.now);
                }
            }
            ConnectionState::ConnectionBroken => {
                self.presence = Presence::Broken;
                if was == Presence::Online {
                    self.find("connection_broken", "its connection to the broker broke".to_owned(), out);
                }
                self.broken_at.get_or_insert(out.now);
            }
            // Told as an unknown word.
            ConnectionState::Other(_) => {}
        }
    }

    fn factsheet(&mut self, it: &Factsheet, out: &mut Out<'_>) {
        let mass = it.type_specification.maximum_load_mass;
        if !mass.is_finite() || mass < 0.0 {
            self.find("factsheet", format!("a maximumLoadMass of {mass} kg"), out);
        }
        let actions = &it.protocol_features.mobile_robot_actions;
        let at_nodes = actions.iter().filter(|it| it.action_scopes.contains(&ActionScope::Node));
        let types: BTreeSet<&str> = at_nodes.map(|it| it.action_type.as_str()).collect();
        let can = |verb: Verb| {
            let needed = action_types(verb);
            !needed.is_empty() && needed.iter().all(|it| types.contains(it))
        };
        let limits = &it.protocol_limits;
        let entries = |name: &str| limits.maximum_array_lengths.get(name).copied().unwrap_or(0) as usize;
        let strings = &limits.maximum_string_lengths;
        self.abilities = Some(Abilities {
            // Rounded down, and never more than a robot can be: a cast of what is too large gives the largest.
            payload_g: (mass.max(0.0) * 1_000.0) as u32,
            verbs: Verb::ALL.iter().copied().filter(|verb| can(*verb)).collect(),
            message_bytes_max: strings.maximum_message_length.unwrap_or(0) as usize,
            id_bytes_max: strings.maximum_id_length.unwrap_or(0) as usize,
            ids_numerical: strings.id_numerical_only.unwrap_or(false),
            nodes_max: entries("order.nodes"),
            actions_max: entries("node.actions"),
        });
    }
}
