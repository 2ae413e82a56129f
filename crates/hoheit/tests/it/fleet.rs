//! A machine from the pallet into custody and before its rack, by the command line alone, as a person types it: what is
//! applied, what is to be done, who confirms, what holds it and how it goes on.

use crate::sdk::root;
use crate::site::{Site, hoheit, text};
use serde_json::Value;
use std::process::Output;
use std::time::{Duration, Instant};

/// How long a reconciler may take before the test has failed: far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// In sites/small, with its serial number.
const SLOT: &str = "h1/r01/k01/u01";
const SERIAL: &str = "1663522000017";
/// Its neighbour, of which no serial number is known.
const NEIGHBOUR: &str = "h1/r01/k01/u13";

/// Asks until the answer has what is waited for.
fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let begin = Instant::now();
    loop {
        match ask() {
            Ok(found) => return found,
            Err(last) => assert!(begin.elapsed() < PATIENCE, "{what} did not come; last: {last}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn machine_when(site: &Site, slot: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    until(what, || {
        let machine = site.cli(&["machine", "show", slot]);
        if is(&machine) { Ok(machine) } else { Err(machine.to_string()) }
    })
}

/// The task that can be worked on in this slot, once there is one with this verb.
fn task_when(site: &Site, slot: &str, verb: &str) -> Value {
    until(&format!("{verb} in {slot}"), || {
        let tasks = site.cli(&["task", "list"]);
        let found = tasks["data"].as_array().unwrap().iter().find(|task| task["slot"] == slot && task["verb"] == verb);
        found.cloned().ok_or_else(|| tasks.to_string())
    })
}

/// As this bearer of a token.
fn as_who(site: &Site, token: &str, arguments: &[&str]) -> Output {
    hoheit(arguments).env("HOHEIT_URL", &site.url).env("HOHEIT_TOKEN", token).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Begins and ends a task by its slot.
fn work(site: &Site, slot: &str, verb: &str, shown: &[&str]) -> Output {
    task_when(site, slot, verb);
    let started = site.run(&["task", "start", slot]);
    assert!(started.status.success(), "{}", said(&started));
    site.run(&[&["task", "done", slot], shown].concat())
}

fn worked(site: &Site, slot: &str, verb: &str, shown: &[&str]) {
    let output = work(site, slot, verb, shown);
    assert!(output.status.success(), "{verb}: {}", said(&output));
}

#[test]
fn from_the_pallet_to_before_the_rack_by_commands() {
    let site = Site::start(&["--no-model"]);
    let file = root().join("sites/small/site.toml");
    let file = file.to_str().unwrap();

    // What would happen, and then it happens, once.
    let dry = site.cli(&["site", "apply", file, "--dry-run"]);
    assert_eq!((dry["added"].as_array().unwrap().len(), &dry["version"]), (2, &Value::Null));
    assert_eq!(site.run(&["site", "show"]).status.code(), Some(1));
    assert_eq!(site.cli(&["site", "apply", file])["version"], 1);
    assert_eq!(site.cli(&["site", "apply", file])["version"], Value::Null);
    assert!(said(&site.run(&["site", "show"])).contains("[[rack_kinds]]"));
    let machines = site.cli(&["machine", "list"]);
    let slots: Vec<&Value> = machines["data"].as_array().unwrap().iter().map(|machine| &machine["slot"]).collect();
    assert_eq!(slots, [SLOT, NEIGHBOUR]);
    assert!(site.cli(&["machine", "list", "--state", "accepted"])["data"].as_array().unwrap().is_empty());

    // Another machine comes off the truck: the scan is taken down, counts for nothing, and a person must look.
    worked(&site, SLOT, "receive", &[]);
    let wrong = work(&site, SLOT, "scan", &["--scan", "1663522000099"]);
    assert_eq!(wrong.status.code(), Some(1), "{}", said(&wrong));
    assert!(said(&wrong).contains("wanted 1663522000017, scanned 1663522000099"), "{}", said(&wrong));
    let held = machine_when(&site, SLOT, "the hold", |machine| machine["held"] == "order_held");
    assert_eq!(held["lifecycle"], "planned");
    let page = said(&site.run(&["machine", "show", SLOT]));
    assert!(page.contains("HELD") && page.contains("wanted 1663522000017, scanned 1663522000099"), "{page}");
    assert!(page.contains("next          a person: mend it"), "{page}");
    let failed = site.cli(&["task", "list", "--state", "failed"]);
    assert_eq!((&failed["data"][0]["slot"], &failed["data"][0]["verb"]), (&SLOT.into(), &"scan".into()), "{failed}");
    let ready = site.cli(&["task", "list"]);
    assert!(ready["data"].as_array().unwrap().iter().all(|task| task["slot"] != SLOT), "{ready}");
    let status = site.cli(&["fleet", "status"]);
    assert_eq!((&status["machines"], &status["held"][0]["finding"]), (&2.into(), &"order_held".into()));

    // The right one stands there now.
    let order = text(&held["orders"][0]["id"]);
    site.cli(&["order", "resume", &order, "--reason", "the right machine stands there now"]);
    worked(&site, SLOT, "scan", &["--scan", SERIAL]);
    let photo = site.scratch("front.jpg");
    std::fs::write(&photo, b"abc").unwrap();
    worked(&site, SLOT, "photograph", &["--photo", photo.to_str().unwrap()]);
    let received = machine_when(&site, SLOT, "receipt", |machine| machine["lifecycle"] == "received");
    assert_eq!(received["observed"]["custody"]["serial"], SERIAL);
    // The hash went there, as sha256sum says; the photograph did not.
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(received["observed"]["custody"]["photo"], hash);
    let order = site.cli(&["order", "show", &order]);
    assert_eq!((&order["state"], &order["tasks"][2]["evidence"][0]["value"]), (&"done".into(), &"front.jpg".into()));

    hold_point(&site);
    cancelled_and_released(&site);

    let events = said(&site.run(&["fleet", "events"]));
    assert!(events.contains("received") && events.contains("order_cancelled"), "{events}");
    let watched = site.run(&["fleet", "watch"]);
    assert_eq!(watched.status.code(), Some(2));
    assert!(said(&watched).contains("hoheit fleet status"), "{}", said(&watched));
    let none = site.run(&["machine", "certificate", SLOT, "--out", site.scratch("certificate").to_str().unwrap()]);
    assert!(none.status.code() == Some(1) && said(&none).contains("has no certificate"), "{}", said(&none));
}

/// Lifting waits for two people; one who says it twice is one.
fn hold_point(site: &Site) {
    worked(site, SLOT, "move", &[]);
    worked(site, SLOT, "scan", &["--scan", SERIAL]);
    let lift = task_when(site, SLOT, "lift");
    let id = text(&lift["id"]);
    assert_eq!((&lift["state"], &lift["confirmations_min"]), (&"held".into(), &2.into()));
    let token = |name: &str| text(&site.cli(&["token", "create", name, "--role", "installer"])["token"]);
    let (anna, ben) = (token("anna"), token("ben"));
    let early = as_who(site, &anna, &["task", "start", &id]);
    assert!(early.status.code() == Some(1) && said(&early).contains("the task is held"), "{}", said(&early));
    for _ in 0..2 {
        let once = as_who(site, &anna, &["task", "confirm", &id]);
        assert!(said(&once).contains("is held: 1 of 2 confirmed"), "{}", said(&once));
    }
    let twice = as_who(site, &ben, &["task", "confirm", &id]);
    assert!(said(&twice).contains("is ready"), "{}", said(&twice));
    let begun = as_who(site, &ben, &["task", "start", &id]);
    assert!(begun.status.success(), "{}", said(&begun));
    // It is Ben's; Anna cannot end it.
    let others = as_who(site, &anna, &["task", "done", &id]);
    assert!(others.status.code() == Some(1) && said(&others).contains("somebody else's"), "{}", said(&others));
    assert!(as_who(site, &ben, &["task", "done", &id]).status.success());
}

/// A cancelled order holds its machine; a release makes a new one.
fn cancelled_and_released(site: &Site) {
    let task = task_when(site, NEIGHBOUR, "receive");
    let order = text(&task["order"]);
    site.cli(&["order", "cancel", &order, "--reason", "delivered to the wrong hall"]);
    machine_when(site, NEIGHBOUR, "the hold", |machine| machine["held"] == "order_cancelled");
    let again = site.run(&["machine", "release", SLOT, "--reason", "it is not held"]);
    assert!(again.status.code() == Some(1) && said(&again).contains("not held"), "{}", said(&again));
    site.cli(&["machine", "release", NEIGHBOUR, "--reason", "it is here now"]);
    let another = until("another order", || {
        let task = task_when(site, NEIGHBOUR, "receive");
        if task["order"] != order.as_str() { Ok(task) } else { Err(task.to_string()) }
    });
    assert_eq!(another["state"], "ready");
    let machine = machine_when(site, NEIGHBOUR, "no hold", |machine| machine["held"].is_null());
    assert_eq!(machine["orders"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_not_there_is_said_with_what_to_do() {
    let site = Site::start(&["--no-model"]);
    let check = |arguments: &[&str], exit: i32, parts: &[&str]| {
        let output = site.run(arguments);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {}", said(&output));
        for part in parts {
            assert!(said(&output).contains(part), "{arguments:?}: {}", said(&output));
        }
    };
    check(&["machine", "list"], 0, &["hoheit site apply"]);
    check(&["site", "show"], 1, &["No site file is applied", "hoheit site apply"]);
    check(
        &["machine", "show", "h9/r01/k01/u01"],
        1,
        &["No machine has the slot h9/r01/k01/u01", "hoheit machine list"],
    );
    check(&["task", "list"], 0, &["Nothing to do"]);
    check(&["task", "start", "h9/r01/k01/u01"], 1, &["No machine has the slot"]);
    check(&["fleet", "status"], 0, &["No machines"]);
    check(&["fleet", "events"], 0, &["Nothing happened yet"]);
    let wrong = site.scratch("site.toml");
    std::fs::write(&wrong, "format = 1\n[site]\nname = \"x\"\nhalls = 3\n").unwrap();
    check(&["site", "apply", wrong.to_str().unwrap()], 1, &["nothing was applied", "hoheit site check"]);
    let bmcs = site.scratch("bmcs.csv");
    std::fs::write(&bmcs, "machine,url,username,password\nh9/r01/k01/u01,https://10.0.0.1,a,geheim\n").unwrap();
    check(&["machine", "bmc", "set", "--file", bmcs.to_str().unwrap()], 1, &["h9/r01/k01/u01 is neither"]);
}
