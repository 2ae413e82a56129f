//! One BMC: a shared tree, what is different about this machine, and what it does when asked.

use super::Tree;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A machine's BMC.
pub struct Bmc {
    tree: Arc<Tree>,
    serial: String,
    uuid: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    user: String,
    password: String,
    /// Resources that are no longer the tree's.
    changed: BTreeMap<String, Value>,
    sessions: BTreeSet<String>,
    sessions_made: u64,
    misdeeds: BTreeMap<String, Misdeed>,
    resets: Vec<String>,
    booted_from: Option<String>,
    /// Task to component, version and how often it was looked at.
    tasks: BTreeMap<String, (String, String, u32)>,
    /// Firmware takes effect at a restart.
    stages: bool,
    /// Component and version that wait for one.
    staged: Vec<(String, String)>,
    requests: u64,
}

/// What a BMC does wrong at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misdeed {
    /// Answers with this status.
    Status(u16),
    /// Answers 200 with this.
    Body(String),
    /// Sends elsewhere.
    Redirect(String),
    /// Never answers.
    Hang,
    /// Closes the connection.
    Close,
    /// Does what it is asked, and closes the connection.
    DoneThenClose,
}

/// A request, as far as it matters.
pub struct Question<'a> {
    pub method: &'a str,
    /// With its query.
    pub path: &'a str,
    pub authorization: Option<&'a str>,
    pub token: Option<&'a str>,
    pub body: &'a [u8],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    Never,
    Close,
}

const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";
const TASKS: &str = "/redfish/v1/TaskService/Tasks/";
/// How often a task is looked at until it is done.
const TASK_LOOKS: u32 = 2;

impl Bmc {
    pub fn new(tree: Arc<Tree>, serial: &str, uuid: &str, user: &str, password: &str) -> Bmc {
        let state = State { user: user.to_owned(), password: password.to_owned(), ..State::default() };
        Bmc { tree, serial: serial.to_owned(), uuid: uuid.to_owned(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `pointer` (RFC 6901) of a resource shall be from now on.
    pub fn set(&self, path: &str, pointer: &str, value: Value) {
        let mut state = self.state();
        let Some(mut resource) = self.resource(&state, path) else { return };
        put(&mut resource, pointer, value);
        state.changed.insert(path.to_owned(), resource);
    }

    /// A resource as this machine has it.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.resource(&self.state(), path)
    }

    /// An entry at the end of its log.
    pub fn complain(&self, log: &str, created: &str, severity: &str, message: &str) {
        let mut state = self.state();
        let Some(mut entries) = self.resource(&state, log) else { return };
        let Some(members) = entries["Members"].as_array_mut() else { return };
        let id = format!("{}", members.len() + 1);
        members.push(json!({
            "@odata.id": format!("{log}/{id}"), "Id": id, "Created": created, "Severity": severity, "Message": message,
        }));
        entries["Members@odata.count"] = json!(members.len());
        state.changed.insert(log.to_owned(), entries);
    }

    /// Misbehaves at this path and all below it, until [`Bmc::behave`].
    pub fn misbehave(&self, path: &str, misdeed: Misdeed) {
        self.state().misdeeds.insert(path.to_owned(), misdeed);
    }

    pub fn behave(&self) {
        self.state().misdeeds.clear();
    }

    /// All sessions end, as after a restart of the BMC.
    pub fn forget_sessions(&self) {
        self.state().sessions.clear();
    }

    pub fn sessions(&self) -> usize {
        self.state().sessions.len()
    }

    pub fn requests(&self) -> u64 {
        self.state().requests
    }

    /// Words of all resets so far.
    pub fn resets(&self) -> Vec<String> {
        self.state().resets.clone()
    }

    /// Components of all updates so far, in the order of their requests.
    pub fn updates(&self) -> Vec<String> {
        let state = self.state();
        let asked = (1..=state.tasks.len()).filter_map(|n| state.tasks.get(&n.to_string()));
        asked.map(|(component, ..)| component.clone()).collect()
    }

    /// Firmware is staged from now on: what was updated takes effect when the machine is restarted.
    pub fn stage_updates(&self) {
        self.state().stages = true;
    }

    /// What the last boot was overridden with.
    pub fn booted_from(&self) -> Option<String> {
        self.state().booted_from.clone()
    }

    fn resource(&self, state: &State, path: &str) -> Option<Value> {
        state.changed.get(path).or_else(|| self.tree.get(path)).cloned()
    }

    /// Does what is asked, and answers.
    pub fn answer(&self, question: &Question<'_>) -> Reply {
        let mut state = self.state();
        state.requests += 1;
        let full = question.path;
        let (path, query) = full.split_once('?').unwrap_or((full, ""));
        let path = path.trim_end_matches('/');
        let misdeed =
            state.misdeeds.iter().rev().find(|(below, _)| full.starts_with(below.as_str())).map(|(_, one)| one.clone());
        match misdeed {
            Some(Misdeed::Status(status)) => return error(status, "as told"),
            Some(Misdeed::Body(body)) => return answer(200, Vec::new(), body.into_bytes()),
            Some(Misdeed::Redirect(to)) => return answer(307, vec![("location", to)], Vec::new()),
            Some(Misdeed::Hang) => return Reply::Never,
            Some(Misdeed::Close) => return Reply::Close,
            Some(Misdeed::DoneThenClose) => {
                let _unheard = self.done(&mut state, question, path, query);
                return Reply::Close;
            }
            None => {}
        }
        self.done(&mut state, question, path, query)
    }

    fn done(&self, state: &mut State, question: &Question<'_>, path: &str, query: &str) -> Reply {
        if question.method == "POST" && path == SESSIONS {
            return state.log_in(question.body);
        }
        if path != "/redfish" && path != "/redfish/v1" && !state.admits(question) {
            return error(401, "log in first");
        }
        match question.method {
            "GET" => self.read(state, path, query),
            "DELETE" => {
                let token = path.rsplit('/').next().unwrap_or_default();
                if state.sessions.remove(token) {
                    answer(204, Vec::new(), Vec::new())
                } else {
                    error(404, "no such session")
                }
            }
            "PATCH" => self.patch(state, path, question.body),
            "POST" => self.act(state, path, question.body),
            _ => error(405, "not that"),
        }
    }

    fn read(&self, state: &mut State, path: &str, query: &str) -> Reply {
        if let Some(task) = path.strip_prefix(TASKS) {
            return self.look_at(state, task);
        }
        // A capture has pages as resources of their own.
        let paged = (!query.is_empty()).then(|| self.resource(state, &format!("{path}?{query}"))).flatten();
        let Some(mut resource) = paged.or_else(|| self.resource(state, path)) else {
            return error(404, "no such resource");
        };
        if query.contains("$expand")
            && let Some(members) = resource["Members"].as_array_mut()
        {
            for member in members {
                let whole = member["@odata.id"].as_str().and_then(|path| self.resource(state, path));
                *member = whole.unwrap_or_else(|| member.take());
            }
        }
        let text = resource.to_string().replace("{serial}", &self.serial).replace("{uuid}", &self.uuid);
        answer(200, Vec::new(), text.replace("{user}", &state.user).into_bytes())
    }

    fn patch(&self, state: &mut State, path: &str, body: &[u8]) -> Reply {
        let Some(mut resource) = self.resource(state, path) else { return error(404, "no such resource") };
        let Ok(Value::Object(mut change)) = serde_json::from_slice(body) else { return error(400, "not an object") };
        if let Some(Value::String(password)) = change.remove("Password") {
            state.password = password;
        }
        for (field, value) in change {
            match (resource[&field].as_object_mut(), value) {
                (Some(old), Value::Object(new)) => old.extend(new),
                (_, value) => resource[&field] = value,
            }
        }
        state.changed.insert(path.to_owned(), resource);
        answer(204, Vec::new(), Vec::new())
    }

    fn act(&self, state: &mut State, path: &str, body: &[u8]) -> Reply {
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return error(400, "not JSON") };
        if let Some(system) = path.strip_suffix("/Actions/ComputerSystem.Reset") {
            return self.reset(state, system, body["ResetType"].as_str().unwrap_or_default());
        }
        if path.ends_with("/UpdateService.SimpleUpdate") || path.ends_with("/Actions/SimpleUpdate") {
            return state.update(body["ImageURI"].as_str().unwrap_or_default());
        }
        error(404, "no such action")
    }

    fn reset(&self, state: &mut State, path: &str, word: &str) -> Reply {
        let Some(mut system) = self.resource(state, path) else { return error(404, "no such system") };
        let power = match word {
            "On" | "ForceOn" | "PowerCycle" | "ForceRestart" => "On",
            "ForceOff" | "GracefulShutdown" => "Off",
            _ => return error(400, "no such type of reset"),
        };
        state.resets.push(word.to_owned());
        let boots = power == "On" && (system["PowerState"] != "On" || word != "On");
        system["PowerState"] = json!(power);
        if boots {
            for (component, version) in std::mem::take(&mut state.staged) {
                self.flash(state, &component, &version);
            }
            let once = system["Boot"]["BootSourceOverrideEnabled"] == "Once";
            let target = system["Boot"]["BootSourceOverrideTarget"].as_str().map(str::to_owned);
            state.booted_from = target.filter(|_| once);
            if once {
                put(&mut system, "/Boot/BootSourceOverrideEnabled", json!("Disabled"));
                put(&mut system, "/Boot/BootSourceOverrideTarget", json!("None"));
            }
        }
        state.changed.insert(path.to_owned(), system);
        answer(204, Vec::new(), Vec::new())
    }

    fn look_at(&self, state: &mut State, id: &str) -> Reply {
        let Some((component, version, looks)) = state.tasks.get_mut(id) else { return error(404, "no such task") };
        *looks += 1;
        if *looks < TASK_LOOKS {
            let body = json!({ "Id": id, "TaskState": "Running", "PercentComplete": *looks * 100 / TASK_LOOKS });
            return answer(202, Vec::new(), body.to_string().into_bytes());
        }
        let (component, version) = (component.clone(), version.clone());
        let there = self.resource(state, &firmware(&component)).is_some();
        if there && state.stages {
            state.staged.push((component, version));
        } else if !there || !self.flash(state, &component, &version) {
            let messages = json!([{ "Message": "the image is for another machine" }]);
            let body = json!({ "Id": id, "TaskState": "Exception", "Messages": messages });
            return answer(200, Vec::new(), body.to_string().into_bytes());
        };
        let body = json!({ "Id": id, "TaskState": "Completed", "PercentComplete": 100 });
        answer(200, Vec::new(), body.to_string().into_bytes())
    }

    /// False if there is no such component.
    fn flash(&self, state: &mut State, component: &str, version: &str) -> bool {
        let path = firmware(component);
        let Some(mut resource) = self.resource(state, &path) else { return false };
        put(&mut resource, "/Version", json!(version));
        state.changed.insert(path, resource);
        true
    }
}

impl State {
    fn admits(&self, question: &Question<'_>) -> bool {
        let expected = || format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)));
        match (question.token, question.authorization) {
            (Some(token), _) => self.sessions.contains(token),
            (None, Some(authorization)) => authorization == expected(),
            (None, None) => false,
        }
    }

    fn log_in(&mut self, body: &[u8]) -> Reply {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        if body["UserName"] != self.user.as_str() || body["Password"] != self.password.as_str() {
            return error(401, "wrong user or password");
        }
        self.sessions_made += 1;
        let token = format!("token{}", self.sessions_made);
        self.sessions.insert(token.clone());
        let headers = vec![("location", format!("{SESSIONS}/{token}")), ("x-auth-token", token)];
        answer(201, headers, b"{}".to_vec())
    }

    /// An image is named after what it holds: `http://site/HostBIOS_0@01.06`.
    fn update(&mut self, image: &str) -> Reply {
        let name = image.rsplit('/').next().unwrap_or_default();
        let Some((component, version)) = name.split_once('@') else { return error(400, "no such image") };
        let id = format!("{}", self.tasks.len() + 1);
        self.tasks.insert(id.clone(), (component.to_owned(), version.to_owned(), 0));
        answer(202, vec![("location", format!("{TASKS}{id}"))], Vec::new())
    }
}

fn firmware(component: &str) -> String {
    format!("/redfish/v1/UpdateService/FirmwareInventory/{component}")
}

/// Sets what a pointer names, making objects on the way where there are none.
fn put(resource: &mut Value, pointer: &str, value: Value) {
    let mut at = resource;
    for part in pointer.split('/').skip(1) {
        at = match part.parse::<usize>() {
            Ok(index) if at.get(index).is_some() => &mut at[index],
            _ => {
                if !at.is_object() {
                    *at = json!({});
                }
                &mut at[part]
            }
        };
    }
    *at = value;
}

fn answer(status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8>) -> Reply {
    Reply::Answer { status, headers, body }
}

fn error(status: u16, message: &str) -> Reply {
    let body = json!({ "error": { "code": "Base.1.8.GeneralError", "message": message } });
    answer(status, Vec::new(), body.to_string().into_bytes())
}
