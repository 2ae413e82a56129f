//! A robot for the tables: writes states, in either version, and keeps what our side said.

use fleet::order::Verb;
use serde_json::Value;
use types::{TaskId, UnixMillis};
use vda5050::message::factsheet::*;
use vda5050::message::state::*;
use vda5050::message::words::*;
use vda5050::message::{Header, Message, read, write};
use vda5050::session::{Effect, Input, Presence, Progress, Report, Rules, Session};
use vda5050::{Job, RobotId, Topic, Version};

pub const START: UnixMillis = UnixMillis(1_764_225_212_000);

pub fn id() -> RobotId {
    RobotId::new("acme", "r1").unwrap()
}

pub fn job(task: u128, verb: Verb) -> Job {
    Job {
        task: TaskId(task),
        attempt: 1,
        verb,
        subject: "u11".to_owned(),
        slot: "h1/r2/k3/u11".to_owned(),
        serial: Some("SN1".to_owned()),
        mass_g: 142_400,
        zone: "h1/r2/k3".to_owned(),
        route: ["aisle", "rack"].map(str::to_owned).to_vec(),
    }
}

/// A session and the robot at its other end.
pub struct World {
    pub version: Version,
    pub session: Session,
    pub rules: Rules,
    pub now: UnixMillis,
    pub next: std::collections::BTreeMap<Topic, u32>,
    /// What was published, newest last.
    pub sent: Vec<(Topic, String)>,
    pub reports: Vec<Report>,
}

impl World {
    /// Online, idle, known.
    pub fn new(version: Version) -> World {
        let mut world = World::bare(version);
        world.connection(ConnectionState::Online);
        world.factsheet(200.0, &["pick", "scanAsset", "insertServer", "photograph", "verifyLabel"]);
        let idle = world.idle();
        world.state(idle);
        world.reports.clear();
        world
    }

    pub fn bare(version: Version) -> World {
        World {
            version,
            session: Session::new(id(), version),
            rules: Rules::default(),
            now: START,
            next: Default::default(),
            sent: Vec::new(),
            reports: Vec::new(),
        }
    }

    pub fn step(&mut self, input: Input<'_>) {
        let (session, effects) = self.session.clone().step(&self.rules, input, self.now);
        // What is kept as JSON is the session.
        self.session = serde_json::from_value(serde_json::to_value(&session).unwrap()).unwrap();
        assert_eq!(self.session, session);
        for effect in effects {
            match effect {
                Effect::Publish { topic, name, json, .. } => {
                    assert_eq!(self.rules.names.read(&name), Some((self.version, id(), topic)));
                    assert_eq!(super::schema::faults(self.version, topic, &json), Vec::<String>::new(), "{json}");
                    self.sent.push((topic, json));
                }
                Effect::Report(report) => self.reports.push(report),
            }
        }
    }

    pub fn wait(&mut self, ms: i64) {
        self.now.0 += ms;
        self.step(Input::Tick);
    }

    pub fn header(&mut self, topic: Topic) -> Header {
        let next = self.next.entry(topic).or_insert(0);
        *next += 1;
        Header::new(*next, self.now, self.version, &id())
    }

    pub fn say(&mut self, message: &Message) {
        let json = write(self.version, message, 0).unwrap();
        assert_eq!(super::schema::faults(self.version, message.topic(), &json), Vec::<String>::new());
        self.say_json(message.topic(), &json, false);
    }

    pub fn say_json(&mut self, topic: Topic, json: &str, retained: bool) {
        self.step(Input::Message { version: self.version, topic, bytes: json.as_bytes(), retained });
    }

    pub fn connection(&mut self, connection_state: ConnectionState) {
        let header = self.header(Topic::Connection);
        self.say(&Message::Connection(Connection { header, connection_state }));
    }

    pub fn factsheet(&mut self, maximum_load_mass: f64, actions: &[&str]) {
        let header = self.header(Topic::Factsheet);
        let action = |name: &&str| RobotAction {
            action_type: (*name).to_owned(),
            action_scopes: vec![ActionScope::Node],
            action_parameters: Vec::new(),
            blocking_types: vec![BlockingType::Hard],
            pause_allowed: Text(false),
            cancel_allowed: Text(true),
        };
        let sheet = Factsheet {
            header,
            type_specification: TypeSpecification {
                series_name: "s".to_owned(),
                mobile_robot_kinematics: "OMNIDIRECTIONAL".to_owned(),
                mobile_robot_class: "CARRIER".to_owned(),
                maximum_load_mass,
                localization_types: vec!["NATURAL".to_owned()],
                navigation_types: vec!["FREELY_NAVIGATING".to_owned()],
            },
            physical_parameters: PhysicalParameters {
                minimum_speed: 0.0,
                maximum_speed: 1.0,
                maximum_acceleration: 1.0,
                maximum_deceleration: 1.0,
                minimum_height: 1.0,
                maximum_height: 2.0,
                width: 1.0,
                length: 1.0,
            },
            protocol_limits: ProtocolLimits::default(),
            protocol_features: ProtocolFeatures {
                optional_parameters: Vec::new(),
                mobile_robot_actions: actions.iter().map(action).collect(),
            },
            mobile_robot_geometry: Nothing {},
            load_specification: Nothing {},
        };
        self.say(&Message::Factsheet(Box::new(sheet)));
    }

    pub fn idle(&mut self) -> State {
        State {
            header: self.header(Topic::State),
            order_id: String::new(),
            order_update_id: 0,
            last_node_id: "home".to_owned(),
            last_node_sequence_id: 0,
            node_states: Vec::new(),
            edge_states: Vec::new(),
            driving: false,
            paused: None,
            new_base_request: None,
            zone_requests: Vec::new(),
            action_states: Vec::new(),
            instant_action_states: Vec::new(),
            power_supply: PowerSupply { state_of_charge: 80.0, charging: false },
            operating_mode: OperatingMode::Automatic,
            errors: Vec::new(),
            safety_state: SafetyState { active_emergency_stop: EmergencyStop::None, field_violation: false },
        }
    }

    /// A state of our newest order: at this place, its actions like this.
    pub fn at(&mut self, place: usize, status: ActionStatus) -> State {
        let order = self.order();
        let mut state = self.idle();
        state.order_id = order.order_id.clone();
        state.order_update_id = order.order_update_id;
        state.last_node_id = order.nodes[place].node_id.clone();
        state.last_node_sequence_id = order.nodes[place].sequence_id;
        let node = |it: &vda5050::message::order::Node| NodeState {
            node_id: it.node_id.clone(),
            sequence_id: it.sequence_id,
            released: it.released,
        };
        let edge = |it: &vda5050::message::order::Edge| EdgeState {
            edge_id: it.edge_id.clone(),
            sequence_id: it.sequence_id,
            released: it.released,
        };
        let action = |it: &vda5050::message::order::Action| ActionState {
            action_id: it.action_id.clone(),
            action_type: Some(it.action_type.clone()),
            action_status: status.clone(),
            action_result: Some("SN1".to_owned()),
        };
        state.node_states = order.nodes[place + 1..].iter().map(node).collect();
        state.edge_states = order.edges[place..].iter().map(edge).collect();
        state.action_states = order.nodes.iter().flat_map(|it| &it.actions).map(action).collect();
        state
    }

    pub fn state(&mut self, state: State) {
        self.say(&Message::State(Box::new(state)));
    }

    /// The newest order that was sent.
    pub fn order(&self) -> vda5050::message::order::Order {
        let (_, json) = self.sent.iter().rfind(|(topic, _)| *topic == Topic::Order).unwrap();
        match read(self.version, Topic::Order, json.as_bytes()).unwrap() {
            (Message::Order(order), unknown) if unknown.is_empty() => order,
            other => panic!("{other:?}"),
        }
    }

    /// (type, id, what it is about) of the newest instant action.
    pub fn instant(&self) -> (String, String, Option<String>) {
        let (_, json) = self.sent.iter().rfind(|(topic, _)| *topic == Topic::InstantActions).unwrap();
        let value: Value = serde_json::from_str(json).unwrap();
        let action = &value["actions"][0];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let about = text(&action["actionParameters"][0]["value"]);
        (text(&action["actionType"]).unwrap(), text(&action["actionId"]).unwrap(), about)
    }

    pub fn instant_state(&self, status: ActionStatus) -> ActionState {
        ActionState { action_id: self.instant().1, action_type: None, action_status: status, action_result: None }
    }

    /// What was reported since: `finding CODE`, and progress in short.
    pub fn told(&mut self) -> Vec<String> {
        let told = self.reports.iter().filter_map(|report| match report {
            Report::Finding { finding, .. } => Some(format!("finding {}", finding.code)),
            Report::Task { task, progress, .. } => Some(format!("{} {}", task.0, short(progress))),
            Report::View(_) => None,
        });
        let told = told.collect();
        self.reports.clear();
        told
    }

    pub fn sent_kinds(&mut self) -> Vec<Topic> {
        self.sent.iter().map(|(topic, _)| *topic).collect()
    }

    pub fn presence(&self) -> Presence {
        self.session.view().presence
    }
}

pub fn short(progress: &Progress) -> String {
    match progress {
        Progress::Started => "started".to_owned(),
        Progress::Running { done, of } => format!("running {done}/{of}"),
        Progress::Retrying { action, times } => format!("retrying {action} {times}"),
        Progress::Done { evidence } => {
            let kinds: Vec<&str> = evidence.iter().map(|it| it.kind.as_str()).collect();
            format!("done {}", kinds.join(","))
        }
        Progress::Failed { code, .. } => format!("failed {code}"),
        Progress::Refused { code, .. } => format!("refused {code}"),
        Progress::Cancelled => "cancelled".to_owned(),
        Progress::Lost { code, .. } => format!("lost {code}"),
    }
}
