//! What the simulated robot does with messages and time. No clock of its own, no socket.

use std::str::FromStr;
use types::UnixMillis;
use vda5050::message::factsheet::{
    Factsheet, Nothing, PhysicalParameters, ProtocolFeatures, ProtocolLimits, RobotAction, Text, Timing,
    TypeSpecification,
};
use vda5050::message::order::{Action, InstantActions, Order};
use vda5050::message::state::{
    ActionState, Connection, EdgeState, Error, NodeState, PowerSupply, Reference, SafetyState, State,
};
use vda5050::message::words::{
    ActionScope, ActionStatus, BlockingType, ConnectionState, EmergencyStop, ErrorLevel, OperatingMode,
};
use vda5050::message::{Header, Message, read, write};
use vda5050::{RobotId, Topic, Version};

/// By the rules at least every 30 s.
const STATE_EVERY_MS: i64 = 20_000;
/// Instant actions that stay in the state; older ones are forgotten.
const INSTANT_STATES_MAX: usize = 16;

/// What kind of robot it is.
#[derive(Debug, Clone)]
pub struct Sheet {
    pub robot: RobotId,
    pub version: Version,
    pub payload_kg: f64,
    /// Types of action that it can do.
    pub actions: Vec<String>,
    /// How long an edge and an action take; 0 is at once.
    pub drive_ms: i64,
    pub work_ms: i64,
    pub node: String,
    pub faults: Vec<Fault>,
}

impl Sheet {
    /// All agreed actions, a machine's mass, at once.
    pub fn new(robot: RobotId, version: Version) -> Sheet {
        let actions =
            ["pick", "drop", "scanAsset", "insertServer", "torqueRails", "connectCable", "photograph", "verifyLabel"];
        Sheet {
            robot,
            version,
            payload_kg: 200.0,
            actions: actions.map(str::to_owned).to_vec(),
            drive_ms: 0,
            work_ms: 0,
            node: "home".to_owned(),
            faults: Vec::new(),
        }
    }
}

/// How it misbehaves, once, when it begins the first action of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The process ends without a word; the broker sends the will.
    Die,
    /// Connected, and never says anything again.
    Silent,
    /// The action fails and may be begun anew, so many times.
    Retriable(u32),
    /// The action fails for good.
    Fail,
    /// It works on an order of somebody else instead.
    OtherOrder,
    /// It says that it finished an action which nobody sent.
    Impossible,
    /// It connects again and repeats header ids from its beginning, with the times of then.
    OldHeaders,
    /// It rejects each order, with this type of error.
    Reject(String),
}

/// Why a text is no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a fault is die, silent, retriable[=TIMES], fail, other-order, impossible, old-headers or reject=ERROR_TYPE")]
pub struct FaultError;

impl FromStr for Fault {
    type Err = FaultError;
    fn from_str(text: &str) -> Result<Fault, FaultError> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        match (name, value) {
            ("die", None) => Ok(Fault::Die),
            ("silent", None) => Ok(Fault::Silent),
            ("retriable", None) => Ok(Fault::Retriable(1)),
            ("retriable", Some(times)) => times.parse().map(Fault::Retriable).map_err(|_| FaultError),
            ("fail", None) => Ok(Fault::Fail),
            ("other-order", None) => Ok(Fault::OtherOrder),
            ("impossible", None) => Ok(Fault::Impossible),
            ("old-headers", None) => Ok(Fault::OldHeaders),
            ("reject", Some(kind)) => Ok(Fault::Reject(kind.to_owned())),
            _ => Err(FaultError),
        }
    }
}

/// What the carrier shall do.
#[derive(Debug, Clone, PartialEq)]
pub enum Do {
    Publish(Topic, String),
    Die,
    /// Connect again.
    Reconnect,
}

/// One simulated robot.
#[derive(Debug)]
pub struct Machine {
    sheet: Sheet,
    next: std::collections::BTreeMap<Topic, u32>,
    order: Option<Order>,
    /// Place of the last node.
    reached: usize,
    node: String,
    sequence: u32,
    actions: Vec<ActionState>,
    instants: Vec<ActionState>,
    errors: Vec<Error>,
    paused: bool,
    mute: bool,
    /// When the present edge or action ends.
    due_at: Option<UnixMillis>,
    told_at: UnixMillis,
    first_at: Option<UnixMillis>,
}

impl Machine {
    pub fn new(sheet: Sheet) -> Machine {
        Machine {
            node: sheet.node.clone(),
            sheet,
            next: Default::default(),
            order: None,
            reached: 0,
            sequence: 0,
            actions: Vec::new(),
            instants: Vec::new(),
            errors: Vec::new(),
            paused: false,
            mute: false,
            due_at: None,
            told_at: UnixMillis(0),
            first_at: None,
        }
    }

    pub fn sheet(&self) -> &Sheet {
        &self.sheet
    }

    /// The last will, to be left with the broker when connecting.
    pub fn will(&mut self, now: UnixMillis) -> String {
        self.connection(ConnectionState::ConnectionBroken, now)
    }

    /// After connecting.
    pub fn hello(&mut self, now: UnixMillis) -> Vec<Do> {
        self.first_at.get_or_insert(now);
        let online = self.connection(ConnectionState::Online, now);
        let sheet = self.factsheet(now);
        let mut out = vec![Do::Publish(Topic::Connection, online), Do::Publish(Topic::Factsheet, sheet)];
        self.tell(now, &mut out);
        out
    }

    /// It said hello once.
    pub fn greeted(&self) -> bool {
        self.first_at.is_some()
    }

    /// Before a clean disconnect.
    pub fn goodbye(&mut self, now: UnixMillis) -> String {
        self.connection(ConnectionState::Offline, now)
    }

    /// When [`Machine::tick`] has something to do.
    pub fn wake_at(&self) -> UnixMillis {
        let state = UnixMillis(self.told_at.0 + STATE_EVERY_MS);
        self.due_at.map_or(state, |due| due.min(state))
    }

    pub fn tick(&mut self, now: UnixMillis) -> Vec<Do> {
        let mut out = Vec::new();
        self.work(now, &mut out);
        if now.0 - self.told_at.0 >= STATE_EVERY_MS {
            self.tell(now, &mut out);
        }
        out
    }

    /// A message of the fleet's side; one that it cannot read is an error in its state.
    pub fn hear(&mut self, topic: Topic, bytes: &[u8], now: UnixMillis) -> Vec<Do> {
        let mut out = Vec::new();
        match read(self.sheet.version, topic, bytes) {
            Ok((Message::Order(order), _)) => self.take(order, now, &mut out),
            Ok((Message::InstantActions(it), _)) => self.at_once(&it, now, &mut out),
            Ok(_) => {}
            Err(error) => self.reject("VALIDATION_FAILURE", "", &error.to_string()),
        }
        self.tell(now, &mut out);
        self.work(now, &mut out);
        out
    }

    fn reject(&mut self, kind: &str, order_id: &str, text: &str) {
        let references = [("orderId", order_id)].into_iter().filter(|(_, value)| !value.is_empty());
        let reference =
            |(key, value): (&str, &str)| Reference { reference_key: key.to_owned(), reference_value: value.to_owned() };
        self.errors.push(Error {
            error_type: kind.to_owned(),
            error_references: references.map(reference).collect(),
            error_description: Some(text.to_owned()),
            error_level: ErrorLevel::Warning,
        });
    }

    fn take(&mut self, order: Order, now: UnixMillis, out: &mut Vec<Do>) {
        let id = order.order_id.clone();
        if let Some(kind) = self.sheet.faults.iter().find_map(|it| match it {
            Fault::Reject(kind) => Some(kind.clone()),
            _ => None,
        }) {
            return self.reject(&kind, &id, "as it was told to");
        }
        let working = self.working();
        match self.order.as_mut() {
            Some(mine) if mine.order_id == id && mine.order_update_id == order.order_update_id => return,
            Some(mine) if mine.order_id == id && mine.order_update_id > order.order_update_id => {
                return self.reject("OUTDATED_ORDER_UPDATE", &id, "an older update");
            }
            Some(mine) if mine.order_id == id => {
                // Stitched at the last node of the base: what lies behind it is new.
                let Some(at) = mine.nodes.iter().position(|it| it.sequence_id == order.nodes[0].sequence_id) else {
                    return self.reject("VALIDATION_FAILURE", &id, "it does not begin at a node of the order");
                };
                mine.nodes.truncate(at);
                mine.edges.truncate(at);
                mine.nodes.extend(order.nodes);
                mine.edges.extend(order.edges);
                mine.order_update_id = order.order_update_id;
                let nodes = mine.nodes.clone();
                for action in nodes.iter().flat_map(|it| &it.actions) {
                    if self.actions.iter().all(|it| it.action_id != action.action_id) {
                        self.actions.push(waiting(action));
                    }
                }
            }
            Some(_) if working => return self.reject("OTHER_ORDER_ACTIVE", &id, "it has an order"),
            _ => {
                if order.nodes.is_empty() {
                    return self.reject("VALIDATION_FAILURE", &id, "an order without nodes");
                }
                self.errors.clear();
                self.reached = 0;
                self.node = order.nodes[0].node_id.clone();
                self.sequence = order.nodes[0].sequence_id;
                self.actions = order.nodes.iter().flat_map(|it| &it.actions).map(waiting).collect();
                self.order = Some(order);
            }
        }
        if self.due_at.is_none() {
            self.due_at = self.next_due(now);
        }
        self.misbehave(now, out);
    }

    /// An order that is not at its end.
    fn working(&self) -> bool {
        let left = self.order.as_ref().is_some_and(|it| self.reached + 1 < it.nodes.len());
        left || self.actions.iter().any(|it| !it.action_status.ended())
    }

    fn misbehave(&mut self, now: UnixMillis, out: &mut Vec<Do>) {
        let fault = |it: &Fault| {
            matches!(it, Fault::Die | Fault::Silent | Fault::OtherOrder | Fault::Impossible | Fault::OldHeaders)
        };
        let Some(at) = self.sheet.faults.iter().position(fault) else { return };
        match self.sheet.faults.remove(at) {
            Fault::Die => {
                self.tell(now, out);
                out.push(Do::Die);
                self.mute = true;
            }
            Fault::Silent => {
                self.tell(now, out);
                self.mute = true;
            }
            Fault::OtherOrder => {
                self.tell(now, out);
                if let Some(order) = self.order.as_mut() {
                    order.order_id = "somebody-elses-order".to_owned();
                }
                self.due_at = None;
            }
            Fault::Impossible => {
                let mut state = self.state(now);
                state.action_states.push(ActionState {
                    action_id: "never-sent".to_owned(),
                    action_type: None,
                    action_status: ActionStatus::Finished,
                    action_result: None,
                });
                self.publish(Message::State(Box::new(state)), out);
            }
            Fault::OldHeaders => {
                self.next.clear();
                let then = self.first_at.unwrap_or(now);
                let online = self.connection(ConnectionState::Online, then);
                out.push(Do::Publish(Topic::Connection, online));
                self.tell(then, out);
                self.told_at = now;
                out.push(Do::Reconnect);
            }
            _ => {}
        }
    }

    fn at_once(&mut self, it: &InstantActions, now: UnixMillis, out: &mut Vec<Do>) {
        for action in &it.actions {
            if self.instants.iter().any(|it| it.action_id == action.action_id) {
                continue;
            }
            let about =
                action.action_parameters.iter().find(|it| it.key == "actionId").and_then(|it| it.value.as_str());
            let done = match action.action_type.as_str() {
                "cancelOrder" => self.cancel(),
                "startPause" => {
                    self.paused = true;
                    true
                }
                "stopPause" => {
                    self.paused = false;
                    self.due_at = self.next_due(now);
                    true
                }
                "retry" => self.again(about, ActionStatus::Waiting, now),
                "skipRetry" => self.again(about, ActionStatus::Failed, now),
                "stateRequest" => true,
                "factsheetRequest" => {
                    let sheet = self.factsheet(now);
                    out.push(Do::Publish(Topic::Factsheet, sheet));
                    true
                }
                _ => {
                    self.reject("INVALID_INSTANT_ACTION", "", &action.action_type);
                    false
                }
            };
            self.instants.push(ActionState {
                action_id: action.action_id.clone(),
                action_type: Some(action.action_type.clone()),
                action_status: if done { ActionStatus::Finished } else { ActionStatus::Failed },
                action_result: None,
            });
            let old = self.instants.len().saturating_sub(INSTANT_STATES_MAX);
            self.instants.drain(..old);
        }
    }

    fn cancel(&mut self) -> bool {
        if !self.working() {
            self.reject("NO_ORDER_TO_CANCEL", "", "it has none");
            return false;
        }
        for it in self.actions.iter_mut().filter(|it| !it.action_status.ended()) {
            it.action_status = ActionStatus::Failed;
        }
        if let Some(order) = self.order.as_mut() {
            order.nodes.truncate(self.reached + 1);
            order.edges.truncate(self.reached);
        }
        self.due_at = None;
        true
    }

    fn again(&mut self, id: Option<&str>, status: ActionStatus, now: UnixMillis) -> bool {
        let found = self
            .actions
            .iter_mut()
            .find(|it| Some(it.action_id.as_str()) == id && it.action_status == ActionStatus::Retriable);
        let Some(found) = found else { return false };
        found.action_status = status;
        self.due_at = self.next_due(now);
        true
    }

    /// The action at the node where it stands that is next.
    fn next_action(&self) -> Option<(Action, usize)> {
        let here = self.order.as_ref()?.nodes.get(self.reached)?;
        here.actions.iter().find_map(|action| {
            let at = self.actions.iter().position(|it| it.action_id == action.action_id)?;
            (self.actions[at].action_status != ActionStatus::Finished).then(|| (action.clone(), at))
        })
    }

    fn next_due(&self, now: UnixMillis) -> Option<UnixMillis> {
        if self.paused {
            return None;
        }
        if let Some((_, at)) = self.next_action() {
            let ready = matches!(self.actions[at].action_status, ActionStatus::Waiting | ActionStatus::Running);
            return ready.then_some(UnixMillis(now.0 + self.sheet.work_ms));
        }
        let next = self.order.as_ref()?.nodes.get(self.reached + 1)?;
        next.released.then_some(UnixMillis(now.0 + self.sheet.drive_ms))
    }

    /// Ends what is due, and begins what comes next. What takes no time is told with what comes after it.
    fn work(&mut self, now: UnixMillis, out: &mut Vec<Do>) {
        let mut changed = false;
        while let Some(due) = self.due_at.filter(|due| *due <= now) {
            changed = true;
            match self.next_action() {
                Some((action, at)) => self.finish(&action, at),
                None => {
                    self.reached += 1;
                    if let Some(node) = self.order.as_ref().and_then(|it| it.nodes.get(self.reached)) {
                        self.node = node.node_id.clone();
                        self.sequence = node.sequence_id;
                    }
                }
            }
            self.due_at = self.next_due(due);
        }
        if changed {
            self.tell(now, out);
        }
    }

    fn finish(&mut self, action: &Action, at: usize) {
        let fault = |it: &Fault| matches!(it, Fault::Fail | Fault::Retriable(1..));
        let known = self.sheet.actions.contains(&action.action_type);
        let status = match self.sheet.faults.iter_mut().find(|it| fault(it)) {
            Some(Fault::Retriable(times)) => {
                *times -= 1;
                ActionStatus::Retriable
            }
            Some(_) => ActionStatus::Failed,
            None if !known => ActionStatus::Failed,
            None => ActionStatus::Finished,
        };
        if status == ActionStatus::Finished {
            self.actions[at].action_result = result(action);
        }
        self.actions[at].action_status = status;
    }

    fn tell(&mut self, now: UnixMillis, out: &mut Vec<Do>) {
        let state = self.state(now);
        self.told_at = now;
        self.publish(Message::State(Box::new(state)), out);
    }

    fn publish(&mut self, message: Message, out: &mut Vec<Do>) {
        if !self.mute {
            out.push(Do::Publish(message.topic(), self.written(&message)));
        }
    }

    fn written(&self, message: &Message) -> String {
        write(self.sheet.version, message, 0).unwrap_or_else(|error| format!("\"{error}\""))
    }

    fn header(&mut self, topic: Topic, now: UnixMillis) -> Header {
        let next = self.next.entry(topic).or_insert(0);
        let header = Header::new(*next, now, self.sheet.version, &self.sheet.robot);
        *next += 1;
        header
    }

    fn connection(&mut self, connection_state: ConnectionState, now: UnixMillis) -> String {
        let header = self.header(Topic::Connection, now);
        self.written(&Message::Connection(Connection { header, connection_state }))
    }

    fn state(&mut self, now: UnixMillis) -> State {
        let header = self.header(Topic::State, now);
        let order = self.order.as_ref();
        let nodes = order.map(|it| it.nodes.get(self.reached + 1..).unwrap_or_default()).unwrap_or_default();
        let edges = order.map(|it| it.edges.get(self.reached..).unwrap_or_default()).unwrap_or_default();
        State {
            header,
            order_id: order.map(|it| it.order_id.clone()).unwrap_or_default(),
            order_update_id: order.map_or(0, |it| it.order_update_id),
            last_node_id: self.node.clone(),
            last_node_sequence_id: self.sequence,
            node_states: nodes
                .iter()
                .map(|it| NodeState { node_id: it.node_id.clone(), sequence_id: it.sequence_id, released: it.released })
                .collect(),
            edge_states: edges
                .iter()
                .map(|it| EdgeState { edge_id: it.edge_id.clone(), sequence_id: it.sequence_id, released: it.released })
                .collect(),
            driving: self.due_at.is_some() && self.next_action().is_none(),
            paused: Some(self.paused),
            new_base_request: None,
            zone_requests: Vec::new(),
            action_states: self.actions.clone(),
            instant_action_states: self.instants.clone(),
            power_supply: PowerSupply { state_of_charge: 80.0, charging: false },
            operating_mode: OperatingMode::Automatic,
            errors: self.errors.clone(),
            safety_state: SafetyState { active_emergency_stop: EmergencyStop::None, field_violation: false },
        }
    }

    fn factsheet(&mut self, now: UnixMillis) -> String {
        let header = self.header(Topic::Factsheet, now);
        let action = |name: &String| RobotAction {
            action_type: name.clone(),
            action_scopes: vec![ActionScope::Node],
            action_parameters: Vec::new(),
            blocking_types: vec![BlockingType::Soft, BlockingType::Hard],
            pause_allowed: Text(false),
            cancel_allowed: Text(true),
        };
        let sheet = Factsheet {
            header,
            type_specification: TypeSpecification {
                series_name: "simulated".to_owned(),
                mobile_robot_kinematics: "OMNIDIRECTIONAL".to_owned(),
                mobile_robot_class: "CARRIER".to_owned(),
                maximum_load_mass: self.sheet.payload_kg,
                localization_types: vec!["NATURAL".to_owned()],
                navigation_types: vec!["FREELY_NAVIGATING".to_owned()],
            },
            physical_parameters: PhysicalParameters {
                minimum_speed: 0.0,
                maximum_speed: 1.5,
                maximum_acceleration: 0.5,
                maximum_deceleration: 1.0,
                minimum_height: 1.2,
                maximum_height: 2.4,
                width: 0.9,
                length: 1.4,
            },
            protocol_limits: ProtocolLimits {
                timing: Timing { minimum_order_interval: 0.0, minimum_state_interval: 0.0 },
                ..ProtocolLimits::default()
            },
            protocol_features: ProtocolFeatures {
                optional_parameters: Vec::new(),
                mobile_robot_actions: self.sheet.actions.iter().map(action).collect(),
            },
            mobile_robot_geometry: Nothing {},
            load_specification: Nothing {},
        };
        self.written(&Message::Factsheet(Box::new(sheet)))
    }
}

fn waiting(action: &Action) -> ActionState {
    ActionState {
        action_id: action.action_id.clone(),
        action_type: Some(action.action_type.clone()),
        action_status: ActionStatus::Waiting,
        action_result: None,
    }
}

/// What a robot that does it right would read.
fn result(action: &Action) -> Option<String> {
    let text = |key: &str| {
        let found = action.action_parameters.iter().find(|it| it.key == key)?;
        found.value.as_str().map(str::to_owned)
    };
    match action.action_type.as_str() {
        // A machine whose serial number nobody knows yet has one all the same.
        "scanAsset" | "verifyLabel" => text("serial").or_else(|| {
            let digits = action.action_id.chars().filter(char::is_ascii_alphanumeric).collect::<Vec<_>>();
            let tail: String = digits.iter().skip(digits.len().saturating_sub(12)).collect();
            Some(format!("SIM-{tail}"))
        }),
        "connectCable" => text("cableId"),
        "torqueRails" => Some("5.0 N·m".to_owned()),
        // There is no picture: the digest of nothing.
        "photograph" => Some("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned()),
        _ => None,
    }
}
