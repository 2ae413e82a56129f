//! A state of the robot: what of it can be true, and what that means for our order.

use super::{Current, INSTANT, Out, Progress, Seen, Session};
use crate::job::evidence_kind;
use crate::limits::{BASE_NODES_MIN, RETRIES_MAX};
use crate::message::Message;
use crate::message::order::{Response, Responses};
use crate::message::state::{ActionState, Error, State};
use crate::message::words::{ActionStatus, EmergencyStop, ErrorLevel, GrantType, OperatingMode, RequestStatus};
use crate::topic::Topic;
use crate::version::Version;
use fleet::order::Evidence;
use std::collections::BTreeSet;
use types::UnixMillis;

/// Error types by which a robot rejects an order. What 2.1 calls them is translated before.
const REJECTIONS: [&str; 9] = [
    "VALIDATION_FAILURE",
    "INVALID_ORDER_ACTION",
    "OUTDATED_ORDER_UPDATE",
    "ORDER_UPDATE_FOLLOWING_CANCEL",
    "OTHER_ORDER_ACTIVE",
    "START_NODE_OUT_OF_RANGE",
    "NO_ROUTE_TO_TARGET",
    "MOBILE_ROBOT_NOT_AVAILABLE",
    "UNKNOWN_MAP_ID",
];

impl Session {
    pub(super) fn state(&mut self, state: &State, out: &mut Out<'_>) {
        self.heard_at = Some(out.now);
        self.silent = false;
        let seen = seen(state);
        let granted = self.seen.take().map(|it| it.zone_requests).unwrap_or_default();
        self.seen = Some(seen);
        self.troubles(state, out);
        self.zone_requests(state, &granted, out);
        let cancelled = self.instant_states(state);
        match self.current.take() {
            None => self.without_order(state, out),
            Some(current) => self.with_order(current, state, cancelled, out),
        }
    }

    /// What is wrong with the robot itself.
    fn troubles(&mut self, state: &State, out: &mut Out<'_>) {
        let stop = &state.safety_state.active_emergency_stop;
        if *stop != EmergencyStop::None {
            self.find("emergency_stop", format!("{}; somebody has to release it there", stop.as_str()), out);
        }
        if state.safety_state.field_violation {
            self.find("field_violation", "somebody or something is in its protective field".to_owned(), out);
        }
        let bad = |it: &&Error| matches!(it.error_level, ErrorLevel::Urgent | ErrorLevel::Critical | ErrorLevel::Fatal);
        if let Some(error) = state.errors.iter().find(bad) {
            self.find("robot_error", told(error), out);
        }
    }

    /// A robot asks to enter a zone: it may while its task is there.
    fn zone_requests(&mut self, state: &State, answered: &BTreeSet<String>, out: &mut Out<'_>) {
        if self.version != Version::V3 {
            return;
        }
        let zone = self.current.as_ref().map(|it| it.job.zone.clone());
        let open = |it: &&crate::message::state::ZoneRequest| {
            it.request_status == RequestStatus::Requested
                && !answered.contains(&it.request_id)
                && !it.request_id.is_empty()
        };
        let answer = |it: &crate::message::state::ZoneRequest| Response {
            request_id: it.request_id.clone(),
            grant_type: if Some(&it.zone_id) == zone.as_ref() { GrantType::Granted } else { GrantType::Rejected },
            lease_expiry: None,
        };
        let responses: Vec<Response> = state.zone_requests.iter().filter(open).map(answer).collect();
        if !responses.is_empty() {
            let header = self.header(Topic::Responses, out.now);
            if let Err(error) = self.publish(&Message::Responses(Responses { header, responses }), out) {
                self.find("not_written", error, out);
            }
        }
    }

    /// Instant actions that the state shows are answered. True if a cancellation ended.
    fn instant_states(&mut self, state: &State) -> bool {
        let mut cancelled = false;
        for it in state.instant_action_states.iter().chain(&state.action_states) {
            let Some(instant) = self.instants.get(&it.action_id) else { continue };
            let cancel = instant.action_type == "cancelOrder";
            if !cancel || it.action_status.ended() {
                cancelled |= cancel;
                self.instants.remove(&it.action_id);
            }
        }
        cancelled
    }

    fn without_order(&mut self, state: &State, out: &mut Out<'_>) {
        let active = active(state);
        if self.left.as_ref() == Some(&state.order_id) && active {
            let text = format!("it came back with {}, which was handed over: cancelled", state.order_id);
            if self.find("order_after_handover", text, out) {
                self.instant("cancelOrder", None, out);
            }
            return;
        }
        // Whatever it had of ours, it has no longer.
        self.left = None;
        if active {
            self.find("other_order", format!("it works on \"{}\", which is not ours", state.order_id), out);
        }
    }

    fn with_order(&mut self, mut current: Current, state: &State, cancelled: bool, out: &mut Out<'_>) {
        if !current.cancelling
            && let Some(error) = rejection(&current, state)
        {
            let (code, text) = (error.error_type.clone(), told(error));
            return match current.begun {
                // An update was refused; what it has of the order it goes on with, so it is ended.
                true => {
                    self.tell(&current.job, Progress::Failed { code, text }, out);
                    self.end(current, out);
                }
                false => self.tell(&current.job, Progress::Refused { code, text }, out),
            };
        }
        if state.order_id != current.plan.order_id {
            // Whatever it has now, ours it has not.
            if cancelled {
                return self.cancelled(current, out);
            }
            if current.begun || active(state) {
                let text = format!("it reports order \"{}\", not {}", state.order_id, current.plan.order_id);
                current.other_since.get_or_insert(out.now);
                self.current = Some(current);
                self.find("other_order", text, out);
                return;
            }
            // It has not read ours yet.
            self.current = Some(current);
            return;
        }
        current.other_since = None;
        if let Err(text) = possible(&current, state) {
            match cancelled {
                true => self.cancelled(current, out),
                false => self.current = Some(current),
            }
            self.find("impossible_state", text, out);
            return;
        }
        self.advance(current, state, cancelled, out);
    }

    /// The state can be true and is about our order.
    fn advance(&mut self, mut current: Current, state: &State, cancelled: bool, out: &mut Out<'_>) {
        let before = (current.begun, current.done());
        current.answered |= state.order_update_id == current.plan.update_id;
        current.begun = true;
        current.reached = current.plan.place(state.last_node_sequence_id).unwrap_or(current.reached);
        for it in state.action_states.iter().filter(|it| current.plan.action(&it.action_id).is_some()) {
            current.actions.insert(it.action_id.clone(), it.action_status.clone());
            if let Some(result) = &it.action_result {
                current.results.insert(it.action_id.clone(), result.clone());
            }
        }
        if current.complete(state) {
            if !current.told_end {
                self.tell(
                    &current.job,
                    Progress::Done { evidence: current.evidence(&self.robot.to_string(), out.now) },
                    out,
                );
            }
            return;
        }
        if cancelled {
            return self.cancelled(current, out);
        }
        if current.cancelling {
            self.current = Some(current);
            return;
        }
        if let Some((id, _)) = current.actions.iter().find(|(_, status)| **status == ActionStatus::Failed) {
            let text = self.why_failed(&current, id, state);
            self.tell(&current.job, Progress::Failed { code: "action_failed".to_owned(), text }, out);
            return self.end(current, out);
        }
        if !before.0 {
            self.tell(&current.job, Progress::Started, out);
        }
        if before.1 != current.done() {
            self.tell(&current.job, current.running(), out);
        }
        self.retry(&mut current, out);
        self.extend(&mut current, state, out);
        self.current = Some(current);
    }

    fn why_failed(&self, current: &Current, id: &str, state: &State) -> String {
        let action = current.plan.action(id).map_or("", |(_, it)| &it.action_type);
        let error = state.errors.iter().find(|it| it.about("actionId") == Some(id)).map(told);
        let why = error.or_else(|| current.results.get(id).cloned()).unwrap_or_default();
        format!("{action} failed{}{why}", if why.is_empty() { "" } else { ": " })
    }

    fn cancelled(&mut self, current: Current, out: &mut Out<'_>) {
        if !current.told_end {
            self.tell(&current.job, Progress::Cancelled, out);
        }
    }

    /// Its end was told; the robot is freed of what it still has of it.
    fn end(&mut self, mut current: Current, out: &mut Out<'_>) {
        current.cancelling = true;
        current.told_end = true;
        self.current = Some(current);
        self.instant("cancelOrder", None, out);
    }

    /// Begins failed actions anew where the robot says that this may help.
    fn retry(&mut self, current: &mut Current, out: &mut Out<'_>) {
        let retriable: Vec<String> = current
            .actions
            .iter()
            .filter(|(_, it)| **it == ActionStatus::Retriable)
            .map(|(id, _)| id.clone())
            .collect();
        for id in retriable {
            if self.instants.values().any(|it| it.action_id.as_ref() == Some(&id)) {
                continue;
            }
            let times = current.retries.entry(id.clone()).or_insert(0);
            *times += 1;
            let (times, action) = (*times, current.plan.action(&id).map_or("", |(_, it)| &it.action_type).to_owned());
            if times <= RETRIES_MAX {
                self.tell(&current.job, Progress::Retrying { action, times }, out);
                self.instant("retry", Some(id), out);
            } else {
                // It becomes FAILED by that, and the task with it.
                self.instant("skipRetry", Some(id), out);
            }
        }
    }

    /// Releases more of the route before the robot has to stop.
    fn extend(&mut self, current: &mut Current, state: &State, out: &mut Out<'_>) {
        let left = current.plan.base - 1 - current.reached.min(current.plan.base - 1);
        if !current.answered || (left >= BASE_NODES_MIN && state.new_base_request != Some(true)) {
            return;
        }
        let Some(stitch) = current.plan.extend(current.reached) else { return };
        current.from = stitch;
        current.answered = false;
        current.sends = 1;
        current.sent_at = out.now;
        let header = self.header(Topic::Order, out.now);
        if let Err(error) = self.publish(&Message::Order(current.plan.message(stitch, header)), out) {
            self.find("not_written", error, out);
        }
    }
}

impl Current {
    fn done(&self) -> usize {
        self.actions.values().filter(|it| **it == ActionStatus::Finished).count()
    }

    pub(super) fn running(&self) -> Progress {
        Progress::Running { done: self.done(), of: self.plan.actions().count() }
    }

    /// All of it: at the last node, nothing before it, every action finished.
    fn complete(&self, state: &State) -> bool {
        let finished = |id: &str| self.actions.get(id) == Some(&ActionStatus::Finished);
        self.reached + 1 == self.plan.nodes.len()
            && state.node_states.is_empty()
            && state.edge_states.is_empty()
            && self.plan.actions().all(|(_, it)| finished(&it.action_id))
    }

    fn evidence(&self, by: &str, at: UnixMillis) -> Vec<Evidence> {
        let kept = self.plan.actions().filter_map(|(_, action)| {
            let (value, kind) = (self.results.get(&action.action_id)?.clone(), evidence_kind(&action.action_type)?);
            // A robot stores its photographs itself and answers with the file's digest.
            let sha256 = (kind == "photo").then(|| value.clone());
            Some(Evidence { kind: kind.to_owned(), value, sha256, by: by.to_owned(), at })
        });
        kept.collect()
    }
}

fn seen(state: &State) -> Seen {
    let charge = state.power_supply.state_of_charge;
    Seen {
        order_id: state.order_id.clone(),
        update_id: state.order_update_id,
        sequence: state.last_node_sequence_id,
        node: state.last_node_id.clone(),
        automatic: state.operating_mode == OperatingMode::Automatic,
        mode: state.operating_mode.as_str().to_owned(),
        stopped: state.safety_state.active_emergency_stop != EmergencyStop::None,
        paused: state.paused.unwrap_or(false),
        battery_pct: (0.0..=100.0).contains(&charge).then_some(charge as u8),
        charging: state.power_supply.charging,
        active: active(state),
        errors: state.errors.iter().map(fingerprint).collect(),
        zone_requests: state.zone_requests.iter().map(|it| it.request_id.clone()).collect(),
    }
}

/// It has an order that is not at its end.
fn active(state: &State) -> bool {
    let open = |it: &ActionState| !it.action_status.ended() && !it.action_id.starts_with(INSTANT);
    !state.node_states.is_empty() || state.action_states.iter().any(open)
}

fn fingerprint(error: &Error) -> String {
    let mut text = error.error_type.clone();
    for it in &error.error_references {
        text.push_str(&format!(" {}={}", it.reference_key, it.reference_value));
    }
    text
}

fn told(error: &Error) -> String {
    let text = error.error_description.as_deref().unwrap_or_default();
    format!("{} {}{}{text}", error.error_level.as_str(), error.error_type, if text.is_empty() { "" } else { ": " })
}

/// The error by which the robot rejects our order: it names it, or it is new and names none.
fn rejection<'a>(current: &Current, state: &'a State) -> Option<&'a Error> {
    state.errors.iter().find(|error| {
        let ours = match error.about("orderId") {
            Some(order) => order == current.plan.order_id,
            None => !current.answered && !current.errors_before.contains(&fingerprint(error)),
        };
        ours && REJECTIONS.contains(&error.error_type.as_str())
    })
}

/// Whether a state of our order can be true, given what we sent and what it said before.
fn possible(current: &Current, state: &State) -> Result<(), String> {
    let plan = &current.plan;
    if state.order_update_id > plan.update_id {
        return Err(format!("order update {} was never sent", state.order_update_id));
    }
    let sequence = state.last_node_sequence_id;
    let Some(place) = plan.place(sequence) else {
        return Err(format!("node {sequence} is not in the order"));
    };
    if place < current.reached {
        return Err(format!("back at node {sequence} after {}", 2 * current.reached));
    }
    if place >= plan.base {
        return Err(format!("at node {sequence}, which was not released"));
    }
    if place > 0 && plan.nodes[place].node_id != state.last_node_id {
        return Err(format!("node {sequence} is {}, not {}", plan.nodes[place].node_id, state.last_node_id));
    }
    for node in &state.node_states {
        if plan.place(node.sequence_id).is_none_or(|at| plan.nodes[at].node_id != node.node_id) {
            return Err(format!("node {} with sequenceId {} is not in the order", node.node_id, node.sequence_id));
        }
    }
    for it in state.action_states.iter().filter(|it| !it.action_id.starts_with(INSTANT)) {
        let Some((at, _)) = plan.action(&it.action_id) else {
            return Err(format!("action {} was never sent", it.action_id));
        };
        let begun = !matches!(it.action_status, ActionStatus::Waiting | ActionStatus::Failed | ActionStatus::Other(_));
        if begun && at > place {
            return Err(format!("action {} is {} before its node", it.action_id, it.action_status.as_str()));
        }
        let was = current.actions.get(&it.action_id);
        if was == Some(&ActionStatus::Finished) && it.action_status != ActionStatus::Finished {
            return Err(format!("action {} was finished and is {}", it.action_id, it.action_status.as_str()));
        }
    }
    Ok(())
}
