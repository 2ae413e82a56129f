//! The executor for BMCs over a real store and BMCs in memory: one that never answers delays no other, another machine in a
//! slot is noticed, and what does harm when it is done twice is sent once.

use crate::reconcile::{entry, spec};
use crate::site::{START, Site};
use controller::reconcile::bmcs::{BmcParts, GLANCE_EVERY, PROVISION_AGAIN, READ_EVERY, run};
use controller::reconcile::{Wanted, Wants};
use fleet::action::Action;
use fleet::machine::{Lifecycle, Machine};
use fleet::observed::{BmcSeen, Observed, UpdateState};
use redfish::fake::{Bmc, Misdeed, Options, Server, Shape};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use store::SiteChange;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use types::{MachineId, UnixMillis};

const SYSTEM: &str = "/redfish/v1/Systems/System";
const PSU: &str = "/redfish/v1/Chassis/Chassis/PowerSubsystem/PowerSupplies/PSU0";
const LOG: &str = "/redfish/v1/Systems/System/LogServices/EventLog/Entries";

/// Machines with BMCs, and the executor that looks after them.
struct Hall {
    site: Site,
    bmcs: Vec<Arc<Bmc>>,
    wants: Wants,
    executor: JoinHandle<()>,
    server: Server,
}

impl Drop for Hall {
    fn drop(&mut self) {
        self.executor.abort();
    }
}

impl Hall {
    /// So many machines; `prepare` sees their BMCs before anybody asks them.
    async fn start(machines: u128, prepare: impl FnOnce(&[Arc<Bmc>])) -> Hall {
        let site = Site::start().await;
        let add = (1..=machines).map(|n| (spec(n), Machine::planned(MachineId(n), UnixMillis(START)))).collect();
        let change = SiteChange { add, change: Vec::new() };
        let applied = entry(&site, "site.apply");
        site.store.site_apply(("", None), "sha256:00", UnixMillis(START), &change, &applied).await.unwrap();
        let tree = Arc::new(Shape { gpus: 2, dimms: 2, psus: 2, nics: 2, drives: 2, ..Shape::dgx_b200() }.tree());
        let bmc = |n: u128| Arc::new(Bmc::new(tree.clone(), &format!("S{n}"), &format!("uuid-{n}"), "root", "pw"));
        let bmcs: Vec<_> = (1..=machines).map(bmc).collect();
        prepare(&bmcs);
        let server = Server::start(bmcs.clone(), Options::default()).await.unwrap();
        let row = |n: u128| store::Bmc {
            machine: MachineId(n),
            url: server.url(n as usize - 1),
            username: "root".to_owned(),
            password: "pw".to_owned(),
            pin: None,
        };
        let rows: Vec<_> = (1..=machines).map(row).collect();
        site.store.bmc_set(&rows, &entry(&site, "bmc.set")).await.unwrap();
        let wants = Wants::default();
        let executor = tokio::spawn(run(Hall::parts(&site, &wants)));
        Hall { site, bmcs, wants, executor, server }
    }

    fn parts(site: &Site, wants: &Wants) -> BmcParts {
        let clock = site.clock.clone();
        BmcParts {
            store: site.store.clone(),
            wants: wants.clone(),
            bell: Default::default(),
            clock: Arc::new(move || UnixMillis(clock.load(Ordering::Relaxed))),
            random: Arc::new(|bytes| bytes.fill(0)),
            ca: None,
            plain_on_loopback: true,
            firmware_url: Some("http://127.0.0.1:9/firmware".to_owned()),
            read_again: 0,
        }
    }

    /// The controller dies and is started.
    fn restart(&mut self) {
        self.executor.abort();
        self.executor = tokio::spawn(run(Hall::parts(&self.site, &self.wants)));
    }

    /// Waits until the BMC of machine 1 was reset so often.
    async fn resets(&self, count: usize) -> Vec<String> {
        while self.bmcs[0].resets().len() < count {
            tokio::task::yield_now().await;
        }
        self.bmcs[0].resets()
    }

    fn want(&self, n: u128, entry: u64, actions: Vec<Action>) {
        let (machine, slot) = (MachineId(n), spec(n).slot);
        self.wants.set(Wanted { machine, slot, lifecycle: Lifecycle::Installed, entry, attempt: 0, actions });
    }

    /// What is stored of this machine when it is so. Whoever waits for what never comes is ended by the runner.
    async fn seen(&self, n: u128, so: impl Fn(&BmcSeen) -> bool) -> BmcSeen {
        loop {
            let seen = self.site.store.observed(MachineId(n)).await.unwrap().bmc;
            if let Some(seen) = seen.filter(|seen| so(seen)) {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    }

    /// What is stored of machine 1 when it is so.
    async fn observed(&self, so: impl Fn(&Observed) -> bool) -> Observed {
        loop {
            let seen = self.site.store.observed(MachineId(1)).await.unwrap();
            if so(&seen) {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Time goes on, and the executor looks what is due.
    fn later(&self, millis: i64) {
        self.site.clock.fetch_add(millis, Ordering::Relaxed);
        let entry = self.site.clock.load(Ordering::Relaxed) as u64;
        self.want(100, entry, vec![Action::StopWork]);
    }
}

/// Machine 1's BMC takes the question and never answers. Until its client gives up (30 s a request, 240 s in all) the
/// inventory and the power of machine 2 were served; if they were not, the question is closed first and this fails.
#[tokio::test]
async fn a_bmc_that_never_answers_delays_no_other() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let hall = Hall::start(2, |_| {}).await;
    let row =
        store::Bmc { machine: MachineId(1), url, username: "root".to_owned(), password: "pw".to_owned(), pin: None };
    hall.site.store.bmc_set(&[row], &entry(&hall.site, "bmc.set")).await.unwrap();
    hall.want(1, 1, vec![Action::PowerOn, Action::ReadInventory]);
    let asked = silent.accept().await.unwrap().0;
    let gives_up = async |mut socket: TcpStream| {
        let mut bytes = [0; 4_096];
        while socket.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    };
    let served = async {
        hall.want(2, 1, vec![Action::ReadInventory]);
        hall.seen(2, |_| true).await;
        hall.want(2, 1, vec![Action::PowerOn, Action::ReadInventory]);
        hall.seen(2, |seen| seen.inventory.power == fleet::observed::Power::On).await;
        assert_eq!(hall.bmcs[1].resets(), ["On"]);
        // And the next stay's wish goes out as well.
        hall.want(2, 2, vec![Action::PowerOff, Action::ReadInventory]);
        hall.seen(2, |seen| seen.inventory.power == fleet::observed::Power::Off).await;
    };
    tokio::select! {
        () = served => {}
        () = gives_up(asked) => panic!("machine 2 waits for the BMC of machine 1"),
    }
}

/// A glance shows no parts and no chassis: another host at the same address is read as a whole, and at once.
#[tokio::test]
async fn another_machine_at_the_same_address_is_read_anew() {
    let hall = Hall::start(1, |_| {}).await;
    hall.want(1, 1, vec![Action::ReadInventory]);
    let before = hall.seen(1, |_| true).await;
    assert_eq!(before.inventory.serial, "S1");
    hall.want(1, 1, Vec::new());
    // A glance at the right one, and nothing is under way.
    hall.later(GLANCE_EVERY);
    let now = hall.site.clock.load(Ordering::Relaxed);
    assert_eq!(hall.seen(1, |seen| seen.at.0 >= now).await.inventory.serial, "S1");
    hall.bmcs[0].set(SYSTEM, "/SerialNumber", json!("S9"));
    hall.bmcs[0].set("/redfish/v1/Chassis/Chassis", "/SerialNumber", json!("S9"));
    hall.later(GLANCE_EVERY);
    let after = hall.seen(1, |seen| seen.inventory.serial != "S1").await;
    assert_eq!(after.inventory.serial, "S9");
}

/// What breaks in service shows in an inventory only: it is read when the complaints change, and every hour.
#[tokio::test]
async fn parts_are_read_anew_when_something_is_complained_about_and_every_hour() {
    let hall = Hall::start(1, |_| {}).await;
    hall.want(1, 1, vec![Action::ReadInventory]);
    hall.seen(1, |_| true).await;
    hall.want(1, 1, Vec::new());
    let healthy = |seen: &BmcSeen| seen.inventory.parts["psu1"].healthy;
    // A glance to compare with.
    hall.later(GLANCE_EVERY);
    let now = hall.site.clock.load(Ordering::Relaxed);
    assert!(healthy(&hall.seen(1, |seen| seen.at.0 >= now).await));
    hall.bmcs[0].set(PSU, "/Status/Health", json!("Critical"));
    hall.bmcs[0].complain(LOG, "2026-11-15T00:00:00Z", "Critical", "power supply 1 failed");
    hall.later(GLANCE_EVERY);
    hall.seen(1, |seen| !healthy(seen)).await;
    // Nobody complains when it is exchanged.
    hall.bmcs[0].set(PSU, "/Status/Health", json!("OK"));
    hall.later(READ_EVERY);
    hall.seen(1, healthy).await;
}

/// A resource that cannot be read is not missing; after three readings it is.
#[tokio::test]
async fn an_inventory_with_gaps_is_asked_for_again() {
    let hall = Hall::start(1, |_| {}).await;
    hall.want(1, 1, vec![Action::ReadInventory]);
    let count = |seen: &BmcSeen| seen.inventory.parts.values().filter(|part| part.kind == "psu").count();
    assert_eq!(count(&hall.seen(1, |_| true).await), 2);
    hall.bmcs[0].misbehave("/redfish/v1/Chassis", Misdeed::Status(503));
    let before = hall.bmcs[0].requests();
    let seen = hall.seen(1, |seen| count(seen) == 0).await;
    assert!(hall.bmcs[0].requests() > before + 2);
    // Its chassis could not be read either, and it is the same machine all the same.
    assert_eq!(seen.inventory.serial, "S1");
}

/// An installation takes more than an hour: neither time nor the next start cuts it off. What is asked afterwards is the proof
/// that it could have been sent again and was not.
#[tokio::test]
async fn an_installation_that_runs_is_not_begun_anew() {
    let mut hall = Hall::start(1, |_| {}).await;
    hall.want(1, 1, vec![Action::Provision]);
    assert_eq!(hall.resets(1).await, ["On"]);
    hall.later(50 * 60_000);
    hall.restart();
    hall.want(1, 1, vec![Action::Provision, Action::PowerOff]);
    assert_eq!(hall.resets(2).await, ["On", "ForceOff"]);
    // One that has had its time is begun anew; and at once if a person says so.
    hall.later(PROVISION_AGAIN);
    hall.want(1, 1, vec![Action::Provision]);
    hall.resets(3).await;
    let (machine, slot) = (MachineId(1), spec(1).slot);
    let actions = vec![Action::Provision];
    hall.wants.set(Wanted { machine, slot, lifecycle: Lifecycle::Powered, entry: 1, attempt: 1, actions });
    hall.resets(4).await;
}

/// Components are flashed for hours, and the list of those that differ shrinks meanwhile.
#[tokio::test]
async fn firmware_that_is_being_flashed_is_not_sent_again() {
    let hall = Hall::start(1, |_| {}).await;
    let update = |names: &[&str]| {
        let components = names.iter().map(|name| format!("{name}@2")).collect();
        Action::UpdateFirmware { components }
    };
    hall.want(1, 1, vec![update(&["a", "b"])]);
    while hall.bmcs[0].updates().len() < 2 {
        tokio::task::yield_now().await;
    }
    hall.want(1, 1, vec![update(&["b"]), Action::PowerOn]);
    hall.resets(1).await;
    assert_eq!(hall.bmcs[0].updates(), ["a", "b"]);
}

/// A controller that another has taken over from still has its wishes of before, which are old.
#[tokio::test]
async fn a_fenced_controller_sends_nothing_more() {
    let hall = Hall::start(1, |_| {}).await;
    hall.wants.begin(hall.site.store.fleet_epoch_take().await.unwrap());
    hall.want(1, 1, vec![Action::Provision]);
    hall.resets(1).await;
    hall.site.store.fleet_epoch_take().await.unwrap();
    hall.later(PROVISION_AGAIN);
    while hall.wants.of(MachineId(1)).is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(hall.bmcs[0].resets().len(), 1);
}

const RESET: &str = "/redfish/v1/Systems/System/Actions/ComputerSystem.Reset";
const UPDATE: &str = "/redfish/v1/UpdateService/Actions/UpdateService.SimpleUpdate";
/// Longer than any wait after a refusal that may pass by itself.
const REFUSED_AGAIN_MAX: i64 = 300_000;

/// The BMC does it and its answer is lost. What is asked afterwards is the proof that it could have been sent again and was not.
#[tokio::test]
async fn what_may_have_been_done_is_not_sent_again() {
    let hall = Hall::start(1, |bmcs| bmcs[0].misbehave(RESET, Misdeed::DoneThenClose)).await;
    hall.want(1, 1, vec![Action::Provision]);
    assert_eq!(hall.resets(1).await, ["On"]);
    let trouble = hall.observed(|seen| seen.bmc_trouble.is_some()).await.bmc_trouble.unwrap();
    assert!(trouble.text.starts_with("booting the installer: it may have been done: "), "{}", trouble.text);
    let now = hall.site.clock.load(Ordering::Relaxed);
    assert!(trouble.next_try.unwrap().0 > now + REFUSED_AGAIN_MAX, "{trouble:?}");
    hall.bmcs[0].behave();
    hall.later(REFUSED_AGAIN_MAX);
    hall.want(1, 1, vec![Action::Provision, Action::PowerOff]);
    assert_eq!(hall.resets(2).await, ["On", "ForceOff"]);
    // Firmware the same.
    hall.bmcs[0].misbehave(UPDATE, Misdeed::DoneThenClose);
    let update = |name: &str| Action::UpdateFirmware { components: vec![format!("{name}@2")] };
    hall.want(1, 1, vec![update("a")]);
    hall.observed(|seen| seen.bmc_trouble.as_ref().is_some_and(|it| it.text.starts_with("updating a@2"))).await;
    hall.bmcs[0].behave();
    hall.later(REFUSED_AGAIN_MAX);
    hall.want(1, 1, vec![update("a"), update("b")]);
    while !hall.bmcs[0].updates().contains(&"b".to_owned()) {
        tokio::task::yield_now().await;
    }
    assert_eq!(hall.bmcs[0].updates(), ["a", "b"]);
    // What nobody wants any more is no trouble.
    hall.bmcs[0].misbehave(UPDATE, Misdeed::Status(400));
    hall.want(1, 1, vec![update("c")]);
    hall.observed(|seen| seen.bmc_trouble.as_ref().is_some_and(|it| it.text.starts_with("updating c@2"))).await;
    hall.want(1, 1, Vec::new());
    hall.observed(|seen| seen.bmc_trouble.is_none()).await;
}

/// What was refused was not done: it is sent again soon, later each time. What brings about what is so already is looked at first
/// and may be sent at any time.
#[tokio::test]
async fn what_was_refused_is_sent_again_and_what_is_so_already_is_not() {
    let hall = Hall::start(1, |bmcs| bmcs[0].misbehave(RESET, Misdeed::Status(503))).await;
    hall.want(1, 1, vec![Action::Provision]);
    let trouble = hall.observed(|seen| seen.bmc_trouble.is_some()).await.bmc_trouble.unwrap();
    let now = hall.site.clock.load(Ordering::Relaxed);
    assert!((now..=now + 10_000).contains(&trouble.next_try.unwrap().0), "{trouble:?}");
    assert_eq!((trouble.kind.as_str(), hall.bmcs[0].resets().len()), ("deed", 0));
    hall.bmcs[0].behave();
    hall.later(10_000);
    assert_eq!(hall.resets(1).await, ["On"]);
    assert_eq!(hall.observed(|seen| seen.bmc_trouble.is_none()).await.bmc_trouble, None);
    // It is on by now, and the answer to that was lost; nothing more is asked of its power.
    hall.bmcs[0].misbehave(RESET, Misdeed::DoneThenClose);
    hall.want(1, 2, vec![Action::PowerOff]);
    hall.resets(2).await;
    hall.observed(|seen| seen.bmc_trouble.is_some()).await;
    hall.bmcs[0].behave();
    hall.later(10_000);
    hall.observed(|seen| seen.bmc_trouble.is_none()).await;
    assert_eq!(hall.bmcs[0].resets(), ["On", "ForceOff"]);
}

/// Why a BMC says nothing is kept with its machine: its kind, since when, and when it is asked again.
#[tokio::test]
async fn why_a_bmc_does_not_answer_is_kept_until_it_does() {
    let mut hall = Hall::start(1, |_| {}).await;
    let set = async |hall: &Hall, url: &str, password: &str| {
        let (machine, url) = (MachineId(1), url.to_owned());
        let (username, password) = ("root".to_owned(), password.to_owned());
        let row = store::Bmc { machine, url, username, password, pin: None };
        hall.site.store.bmc_set(&[row], &entry(&hall.site, "bmc.set")).await.unwrap();
    };
    let url = hall.server.url(0);
    set(&hall, &url, "wrong").await;
    hall.want(1, 1, vec![Action::ReadInventory, Action::PowerOn]);
    let first = hall.observed(|seen| seen.bmc_trouble.is_some()).await.bmc_trouble.unwrap();
    assert_eq!((first.kind.as_str(), first.text.contains("credentials refused")), ("credentials", true), "{first:?}");
    let next = first.next_try.unwrap();
    assert!(next.0 - first.since.0 >= 900_000, "asked on, it would lock the account: {first:?}");
    // As long as it is so, it is since then, over the next start, too.
    hall.restart();
    hall.later(1_800_000);
    let later = hall.observed(|seen| seen.bmc_trouble.as_ref().is_some_and(|it| it.next_try > Some(next))).await;
    assert_eq!(later.bmc_trouble.unwrap().since, first.since);
    // One without a pin, at an address that needs one.
    set(&hall, "https://127.0.0.1:1", "pw").await;
    let unusable = hall.observed(|seen| seen.bmc_trouble.as_ref().is_some_and(|it| it.kind == "unusable")).await;
    let unusable = unusable.bmc_trouble.unwrap();
    assert_eq!((unusable.next_try, unusable.text.contains("--pin")), (None, true), "{unusable:?}");
    // Set right, all of it is done at once, also what waited for half an hour.
    set(&hall, &url, "pw").await;
    hall.resets(1).await;
    hall.observed(|seen| seen.bmc_trouble.is_none() && seen.bmc.is_some()).await;
}

/// A machine whose BMC nobody has set says so.
#[tokio::test]
async fn a_bmc_that_is_not_set_is_said() {
    let mut hall = Hall::start(1, |_| {}).await;
    let add = [2, 3].map(|n| (spec(n), Machine::planned(MachineId(n), UnixMillis(START)))).to_vec();
    let change = SiteChange { add, change: Vec::new() };
    let applied = entry(&hall.site, "site.apply");
    hall.site.store.site_apply(("", None), "sha256:00", UnixMillis(START), &change, &applied).await.unwrap();
    hall.want(2, 1, vec![Action::ReadInventory]);
    let said = async |hall: &Hall, n: u128| loop {
        if let Some(trouble) = hall.site.store.observed(MachineId(n)).await.unwrap().bmc_trouble {
            break trouble;
        }
        tokio::task::yield_now().await;
    };
    let trouble = said(&hall, 2).await;
    assert_eq!((trouble.kind.as_str(), trouble.next_try), ("not_set", None));
    assert!(trouble.text.contains("hoheit machine bmc set"), "{}", trouble.text);
    // It is so since then, over the next start, too. What is said of the other is stored with it.
    hall.restart();
    hall.later(60_000);
    hall.want(3, 1, vec![Action::ReadInventory]);
    assert_eq!(said(&hall, 3).await.since.0, trouble.since.0 + 60_000);
    assert_eq!(said(&hall, 2).await, trouble);
}

const TASKS: &str = "/redfish/v1/TaskService/Tasks";
const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";

/// A BMC locks an account after a few wrong passwords, also if they come because it is watched. Machine 2 shows that time went on.
#[tokio::test]
async fn a_bmc_that_does_not_let_us_in_is_not_watched_on() {
    let running = Misdeed::Body(json!({ "TaskState": "Running" }).to_string());
    let hall = Hall::start(2, |bmcs| bmcs[0].misbehave(TASKS, running)).await;
    let update = || vec![Action::UpdateFirmware { components: vec!["HostBIOS_0@9.9".to_owned()] }];
    let rounds = async || {
        for _ in 0..5 {
            hall.later(15_000);
            let done = hall.bmcs[1].resets().len();
            hall.want(2, done as u64 + 1, vec![Action::PowerCycle]);
            while hall.bmcs[1].resets().len() == done {
                tokio::task::yield_now().await;
            }
        }
        hall.bmcs[0].requests()
    };
    hall.want(1, 1, update());
    hall.observed(|seen| seen.updates.is_some()).await;
    let before = hall.bmcs[0].requests();
    while rounds().await == before {}
    // A machine that went on is not watched for what it was.
    hall.want(1, 2, Vec::new());
    let before = rounds().await;
    assert_eq!(rounds().await, before);
    hall.want(1, 1, update());
    for path in [TASKS, SESSIONS] {
        hall.bmcs[0].misbehave(path, Misdeed::Status(401));
    }
    hall.later(15_000);
    let trouble = hall.observed(|seen| seen.bmc_trouble.is_some()).await.bmc_trouble.unwrap();
    let now = hall.site.clock.load(Ordering::Relaxed);
    assert_eq!(
        (trouble.kind.as_str(), trouble.next_try.unwrap().0 >= now + 900_000),
        ("credentials", true),
        "{trouble:?}"
    );
    let before = hall.bmcs[0].requests();
    assert_eq!(rounds().await, before, "each is a wrong password");
    // Half an hour later it is tried.
    hall.bmcs[0].behave();
    hall.later(1_800_000);
    let over = |seen: &Observed| {
        seen.updates.as_ref().is_some_and(|it| it.components.values().all(|it| it.state == UpdateState::Ended))
    };
    while !over(&hall.site.store.observed(MachineId(1)).await.unwrap()) {
        hall.later(15_000);
        tokio::task::yield_now().await;
    }
}

/// What a BMC took over is watched to its end, over a restart of ours; the restart that it waits for is noted, and brings it.
#[tokio::test]
async fn firmware_is_watched_to_its_end_and_restarted_for() {
    let mut hall = Hall::start(1, |bmcs| bmcs[0].stage_updates()).await;
    let update = |name: &str| Action::UpdateFirmware { components: vec![name.to_owned()] };
    let bios = "HostBIOS_0@9.9";
    hall.want(1, 1, vec![update(bios), update("other@1")]);
    let state = |seen: &Observed, name: &str| {
        let updates = seen.updates.as_ref()?;
        Some(updates.components.get(name)?.state.clone())
    };
    let sent = hall.observed(|seen| state(seen, "other@1").is_some()).await.updates.unwrap();
    assert_eq!((sent.entry, sent.attempt, sent.restarted_at), (1, 0, None));
    hall.restart();
    let over = |seen: &Observed| state(seen, bios) == Some(UpdateState::Ended);
    while !over(&hall.site.store.observed(MachineId(1)).await.unwrap()) {
        hall.later(15_000);
        tokio::task::yield_now().await;
    }
    let failed = UpdateState::Failed("the image is for another machine".to_owned());
    hall.observed(|seen| state(seen, "other@1").as_ref() == Some(&failed)).await;
    hall.want(1, 1, vec![Action::ReadInventory]);
    let version = |seen: &BmcSeen| seen.inventory.firmware.get("HostBIOS_0").cloned().unwrap_or_default();
    assert_ne!(version(&hall.seen(1, |_| true).await), "9.9");
    hall.want(1, 1, vec![Action::PowerCycle, Action::ReadInventory]);
    let now = hall.site.clock.load(Ordering::Relaxed);
    let restarted = hall.observed(|seen| seen.updates.as_ref().is_some_and(|it| it.restarted_at.is_some())).await;
    assert_eq!(restarted.updates.unwrap().restarted_at, Some(UnixMillis(now)));
    hall.seen(1, |seen| version(seen) == "9.9").await;
    assert_eq!(hall.bmcs[0].resets().len(), 1);
    // Another stay begins with nothing.
    hall.want(1, 2, vec![update(bios)]);
    hall.observed(|seen| seen.updates.as_ref().is_some_and(|it| it.entry == 2 && it.restarted_at.is_none())).await;
}
