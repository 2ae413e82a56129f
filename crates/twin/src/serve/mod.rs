//! The factory on loopback: simulated BMCs, agents, robots and people around a site that is running, over the real protocols:
//! Redfish, mutual TLS, MQTT, the control API. For demonstrations, for training, and to measure the control plane with the
//! whole site. `hoheit twin serve`.
//!
//! What it is not: work takes no time here and nobody errs. The factory with durations and failures, in virtual time, is
//! [`crate::factory`]; the deciding code is the product's in both.
//!
//! If we crash here: the site sees what it would see if the machines' power and the network went away; a twin that is started
//! again finds the machines as the site knows them and gives them their agents anew.

mod agents;
mod api;
mod faults;
mod iron;
mod people;
mod robots;

use ::robots::Broker;
use agent::link::Address;
use api::Api;
use fleet::machine::Lifecycle;
use http::Method;
use iron::{BMC_PASSWORD, BMC_USER, Iron};
use redfish::fake::Server;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use types::MachineId;

/// Files of one machine: the port of its BMC, two connections to it, its agent's.
const FILES_PER_MACHINE: u64 = 4;
/// And the twin's own: connections of people, robots, the terminal.
const FILES_OWN: u64 = 256;
/// BMCs in one request: 1,000 of about 150 bytes are 150 kB.
const BMCS_PER_REQUEST: usize = 1_000;
/// Complaints that are kept for whoever asks; more are counted.
const COMPLAINTS_KEPT: usize = 8;

/// What stops the twin, or is told of while it runs.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{0} is not a site on this machine (http://127.0.0.1:PORT); what is simulated must not reach another")]
    NotHere(String),
    #[error("the site file has errors:\n  {0}")]
    Site(String),
    #[error("this site has another site file already; the twin would fake its machines")]
    OtherSite,
    #[error("{path}: the site does not answer: {why}")]
    Away { path: String, why: String },
    #[error("{path}: the site refused with {status}: {detail}")]
    Refused { path: String, status: u16, detail: String },
    #[error("{path}: the site's answer is not what was expected: {why}")]
    Answer { path: String, why: String },
    #[error("an agent: {0}")]
    Agent(String),
    #[error("a robot: {0}")]
    Robot(String),
    #[error("the site has no machine in {0}")]
    NoMachine(String),
    #[error("{machines} machines need {need} open files, and {limit} are allowed: raise `ulimit -Hn`")]
    Files { machines: usize, need: u64, limit: u64 },
    #[error("simulated BMCs: {0}")]
    Bmcs(std::io::Error),
}

/// What is simulated, and around which site.
pub struct Options {
    /// Its control API, on this machine.
    pub url: String,
    /// The operator's token.
    pub token: String,
    /// Where its agents connect.
    pub agents: Address,
    /// The site file, and the serial numbers that it names.
    pub text: String,
    pub serials: Option<String>,
    pub people: usize,
    /// So many, at this broker.
    pub robots: Option<(Broker, usize)>,
    /// Of the whole site, an hour; 0 is none.
    pub faults_per_hour: f64,
    pub seed: u64,
}

/// What everybody in the twin knows.
struct World {
    api: Api,
    token: String,
    agents: Address,
    irons: Vec<Iron>,
    by_slot: BTreeMap<String, usize>,
    /// As the site names the machines; the same places as `irons`.
    ids: Vec<MachineId>,
    has_robots: bool,
    stop: watch::Sender<bool>,
    tally: Tally,
    /// Orders in which people worked.
    orders: Mutex<BTreeSet<String>>,
    complaints: Mutex<Vec<String>>,
}

/// What was done so far.
#[derive(Debug, Default)]
struct Tally {
    deeds: AtomicU64,
    conflicts: AtomicU64,
    orders: AtomicU64,
    agents: AtomicU64,
    reports: AtomicU64,
    suites: AtomicU64,
    faults: AtomicU64,
    complaints: AtomicU64,
}

/// What was done so far, to be shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Done {
    /// Requests of people about tasks.
    pub deeds: u64,
    /// Of those refused for now: somebody was faster.
    pub conflicts: u64,
    pub orders: u64,
    /// Enrolments.
    pub agents: u64,
    pub reports: u64,
    pub suites: u64,
    pub faults: u64,
    /// What went wrong and was tried again.
    pub complaints: u64,
}

/// The site's machines, as it counts them itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// In the order of a machine's life.
    pub lifecycles: Vec<(&'static str, u64)>,
    /// That are capacity.
    pub open: u64,
    /// That wait for a person.
    pub held: u64,
}

/// A running twin. Dropped, everything of it ends at once.
pub struct Twin {
    world: Arc<World>,
    at_work: JoinSet<()>,
    _bmcs: Server,
}

impl World {
    fn iron(&self, slot: &str) -> Option<&Iron> {
        self.by_slot.get(slot).map(|at| &self.irons[*at])
    }

    fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Something that is tried again; the first few are kept.
    fn complain(&self, error: &ServeError) {
        if self.is_stopping() {
            return;
        }
        self.tally.complaints.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < COMPLAINTS_KEPT {
            kept.push(error.to_string());
        }
    }
}

/// Raises the soft limit on open files to the hard one, and says if that is too few.
fn files(machines: usize) -> Result<(), ServeError> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // That it cannot be raised is no error: what counts is what is in force.
    let _raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let need = machines as u64 * FILES_PER_MACHINE + FILES_OWN;
    if need > limit { Err(ServeError::Files { machines, need, limit }) } else { Ok(()) }
}

/// The serial numbers that the site is given: its own file's, and for every other part those of the delivery notes.
fn delivery(text: &str, given: Option<&str>) -> Result<(Vec<Iron>, String), ServeError> {
    let reading = fleet::site::read(text, given);
    let errors: Vec<String> = reading.errors().map(ToString::to_string).collect();
    let site = reading.site.ok_or_else(|| ServeError::Site(errors.join("\n  ")))?;
    let mut trees = iron::Trees::default();
    let mut serials = String::from("slot,part,serial\n");
    let mut irons = Vec::new();
    for (number, planned) in site.machines().iter().enumerate() {
        irons.push(Iron::new(planned, number, &mut trees));
        for (part, serial) in iron::note(planned, number) {
            serials.push_str(&format!("{},{part},{serial}\n", planned.spec.slot));
        }
    }
    Ok((irons, serials))
}

impl Twin {
    /// Applies the site file where there is none yet, tells where the BMCs are, and puts everybody to work.
    pub async fn start(options: Options) -> Result<Twin, ServeError> {
        let (irons, serials) = delivery(&options.text, options.serials.as_deref())?;
        files(irons.len())?;
        let bmcs =
            Server::start(irons.iter().map(|iron| iron.bmc.clone()).collect(), redfish::fake::Options::default());
        let bmcs = bmcs.await.map_err(ServeError::Bmcs)?;
        let api = Api::new(&options.url)?;
        apply(&api, &options.token, &options.text, &serials).await?;
        let by_slot: BTreeMap<String, usize> =
            irons.iter().enumerate().map(|(at, iron)| (iron.slot.clone(), at)).collect();
        let (ids, there) = machines(&api, &options.token, &irons, &by_slot).await?;
        let urls: Vec<Value> = irons
            .iter()
            .enumerate()
            .map(|(at, iron)| json!({ "machine": iron.slot, "url": bmcs.url(at), "username": BMC_USER, "password": BMC_PASSWORD }))
            .collect();
        for some in urls.chunks(BMCS_PER_REQUEST) {
            api.value(&options.token, Method::PUT, "/api/v1/bmcs", Some(&json!({ "bmcs": some }))).await?;
        }
        let world = Arc::new(World {
            api,
            token: options.token,
            agents: options.agents,
            irons,
            by_slot,
            ids,
            has_robots: options.robots.is_some(),
            stop: watch::Sender::new(false),
            tally: Tally::default(),
            orders: Mutex::default(),
            complaints: Mutex::default(),
        });
        let people = people::hire(&world, options.people).await?;
        let mut at_work = JoinSet::new();
        at_work.spawn(people::work(world.clone(), people));
        at_work.spawn(agents::run(world.clone(), there));
        if let Some((broker, count)) = options.robots {
            at_work.spawn(robots::work(world.clone(), broker, count));
        }
        if options.faults_per_hour > 0.0 {
            at_work.spawn(faults::run(world.clone(), options.faults_per_hour, options.seed));
        }
        Ok(Twin { world, at_work, _bmcs: bmcs })
    }

    pub fn machines(&self) -> usize {
        self.world.irons.len()
    }

    /// What was done so far.
    pub fn done(&self) -> Done {
        let Tally { deeds, conflicts, orders, agents, reports, suites, faults, complaints } = &self.world.tally;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Done {
            deeds: read(deeds),
            conflicts: read(conflicts),
            orders: read(orders),
            agents: read(agents),
            reports: read(reports),
            suites: read(suites),
            faults: read(faults),
            complaints: read(complaints),
        }
    }

    /// What went wrong since the last call and was tried again; the first few.
    pub fn complaints(&self) -> Vec<String> {
        std::mem::take(&mut self.world.complaints.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The machines as the site counts them.
    pub async fn counts(&self) -> Result<Counts, ServeError> {
        let reply = self.world.api.ask(&self.world.token, Method::GET, "/metrics", None).await?;
        Ok(counted(&String::from_utf8_lossy(&reply.body)))
    }

    /// Ends what was begun, and then everything.
    pub async fn stop(mut self) {
        self.world.stop.send_replace(true);
        while self.at_work.join_next().await.is_some() {}
    }
}

/// Reads the site's metrics.
fn counted(metrics: &str) -> Counts {
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<f64>().ok().map(|value| value as u64)
    };
    let of = |state: &Lifecycle| {
        let word = state.as_str();
        (word, value(&format!("hoheit_machines{{lifecycle=\"{word}\"}}")).unwrap_or(0))
    };
    Counts {
        lifecycles: Lifecycle::ALL.iter().map(of).collect(),
        open: value("hoheit_machines_scheduling{scheduling=\"open\"}").unwrap_or(0),
        held: value("hoheit_machines_held").unwrap_or(0),
    }
}

/// Makes the file the site; a site that has another one is left alone.
async fn apply(api: &Api, token: &str, text: &str, serials: &str) -> Result<(), ServeError> {
    let path = "/api/v1/site";
    let present = api.ask(token, Method::GET, path, None).await?;
    if present.status.is_success() {
        let present: Value = present.read(path)?;
        let same = present["text"] == text && present["serials"] == serials;
        return if same { Ok(()) } else { Err(ServeError::OtherSite) };
    }
    api.value(token, Method::PUT, path, Some(&json!({ "text": text, "serials": serials }))).await.map(drop)
}

/// The machines' ids, and which of them have been running already.
async fn machines(
    api: &Api,
    token: &str,
    irons: &[Iron],
    by_slot: &BTreeMap<String, usize>,
) -> Result<(Vec<MachineId>, Vec<usize>), ServeError> {
    let path = "/api/v1/machines";
    let mut ids: Vec<Option<MachineId>> = vec![None; irons.len()];
    let mut there = Vec::new();
    for row in api.all(token, path).await? {
        let text = |field: &str| row[field].as_str().unwrap_or_default();
        let (Some(at), Some(state)) = (by_slot.get(text("slot")), Lifecycle::from_word(text("lifecycle"))) else {
            continue;
        };
        use Lifecycle::{Installed, Planned, Received, Retired};
        if state == Retired {
            continue;
        }
        let id = text("id").parse();
        ids[*at] =
            Some(id.map_err(|_| ServeError::Answer { path: path.to_owned(), why: "no machine's id".to_owned() })?);
        if !matches!(state, Planned | Received | Installed) {
            irons[*at].switch_on();
            there.push(*at);
        }
    }
    let named = ids.into_iter().zip(irons).map(|(id, iron)| id.ok_or_else(|| ServeError::NoMachine(iron.slot.clone())));
    Ok((named.collect::<Result<_, _>>()?, there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delivery_notes_fit_the_site_file() {
        for (name, text) in crate::factory::SITES {
            let (irons, serials) = delivery(text, None).unwrap();
            let read = fleet::site::read(text, Some(&serials));
            let site = read.site.unwrap_or_else(|| panic!("{name}: {:?}", read.problems));
            for (planned, iron) in site.machines().iter().zip(&irons) {
                assert_eq!(planned.spec.serials["chassis"], iron.serial);
                let wanted: u32 = planned.spec.parts.values().sum();
                assert_eq!(planned.spec.serials.len(), wanted as usize, "{}", iron.slot);
            }
        }
    }

    #[test]
    fn counts_are_read_from_the_metrics() {
        let metrics = "# HELP hoheit_machines Machines by state\nhoheit_machines{lifecycle=\"planned\"} 3\n\
            hoheit_machines{lifecycle=\"accepted\"} 12\nhoheit_machines_scheduling{scheduling=\"open\"} 11\n\
            hoheit_machines_held 2\n";
        let counts = counted(metrics);
        let of = |word: &str| counts.lifecycles.iter().find(|(name, _)| *name == word).map(|(_, count)| *count);
        assert_eq!((of("planned"), of("accepted"), of("repair")), (Some(3), Some(12), Some(0)));
        assert_eq!((counts.open, counts.held), (11, 2));
        assert_eq!(counted("").open, 0);
    }
}
