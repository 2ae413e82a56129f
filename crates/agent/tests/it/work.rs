//! The whole agent against a site: GPUs of the stub, an XID, a validation, engines, work stopped and resumed.

use crate::gpus::Driver;
use crate::place::{Place, claim};
use agent::run::{Options, RunError, run};
use agent::site::code;
use agent::supervise::parse;
use agent::wire::{Command, CommandKind};
use fleet::observed::{EventKind, TestOutcome};
use tokio::sync::oneshot;
use types::{MachineId, UnixMillis};

const ME: MachineId = MachineId(5);

fn options(place: &Place, folder: &tempfile::TempDir) -> Options {
    Options {
        address: place.address.clone(),
        folder: folder.path().into(),
        token: Some(place.token(5, Some("S5"))),
        claim: claim("S5"),
        nvml: None,
        engines: Vec::new(),
        level: 1,
    }
}

#[tokio::test]
async fn it_enrols_reports_gpus_and_xids_validates_and_ends() {
    let place = Place::open().await;
    let desk = place.site.desk();
    let folder = tempfile::tempdir().unwrap();
    let driver = Driver::with("driver 580.1\ngpus 8\n");
    let options = Options { nvml: Some(driver.library()), ..options(&place, &folder) };
    let (stop, stopped) = oneshot::channel::<()>();
    let working = tokio::spawn(run(options.clone(), place.clock.clone(), async {
        let _ = stopped.await;
    }));
    desk.until(|it| it.states.get(&ME).is_some_and(|it| it.agent.gpus.len() == 8)).await;
    assert_eq!(desk.look().states[&ME].agent.driver, "580.1");

    // Neither an event nor a result waits for the next interval.
    driver.becomes("driver 580.1\ngpus 8\nxid 3 79\n");
    let xid = EventKind::Xid { code: 79, gpu: 3, driver: "580.1".into() };
    desk.until(|it| it.events.get(&ME).is_some_and(|it| it.iter().any(|it| it.what == xid))).await;

    let text = "name = \"short\"\n[[test]]\nname = \"memory\"\nbuiltin = \"memory\"\nsize = 1\ntimeout_s = 60\n\
                [[test]]\nname = \"fails\"\ncommand = [\"false\"]\ntimeout_s = 60\n";
    let suite = |text: Option<&str>| CommandKind::RunSuite {
        suite: "short".into(),
        text: text.map(str::to_owned),
        entry: 3,
        attempt: 1,
    };
    let commands = [
        Command { id: "validate/3/1".into(), what: suite(Some(text)) },
        Command { id: "validate/3/2".into(), what: suite(None) },
        Command { id: "restart/3/1".into(), what: CommandKind::RestartEngine { gpu: 3, since: UnixMillis(9) } },
    ];
    desk.look().commands.insert(ME, commands.to_vec());
    // Wakes it: its next report is seconds away.
    driver.becomes("driver 580.1\ngpus 8\nxid 3 79\nxid 3 48\n");
    desk.until(|it| it.done.get(&ME).is_some_and(|it| it.len() == 3)).await;
    {
        let desk = desk.look();
        let run = &desk.runs[0].validation;
        assert_eq!((run.suite.as_str(), run.entry, run.attempt), ("short", 3, 1));
        assert!(run.ended_at.is_some());
        let outcomes: Vec<_> = run.tests.iter().map(|it| it.outcome).collect();
        assert_eq!(outcomes, [TestOutcome::Passed, TestOutcome::Failed]);
        let second = desk.done[&ME].iter().find(|it| it.id == "validate/3/2").unwrap();
        assert!(!second.ok, "one at a time: {}", second.text);
        let restarted = EventKind::Restarted { gpu: 3, since: UnixMillis(9) };
        assert!(desk.events[&ME].iter().any(|it| it.what == restarted));
    }
    // What was refused for now is begun when it is told again after the first has ended.
    let again = Command { id: "validate/3/2".into(), what: suite(Some(text)) };
    desk.look().commands.insert(ME, vec![again]);
    driver.becomes("driver 580.1\ngpus 8\nxid 3 79\nxid 3 48\nxid 3 94\n");
    desk.until(|it| it.done.get(&ME).is_some_and(|it| it.iter().any(|it| it.id == "validate/3/2" && it.ok))).await;
    stop.send(()).unwrap();
    working.await.unwrap().unwrap();

    // The next start has its identity and needs no token; a machine that is retired meanwhile ends by itself.
    desk.look().revoked.insert(ME);
    let again = run(Options { token: None, ..options }, place.clock.clone(), std::future::pending()).await;
    assert!(matches!(again, Err(RunError::Refused(error)) if error.code() == Some(code::REVOKED)));
    place.close().await;
}

/// What no driver calls an event: links, heat, a GPU that is gone. Told at start as it is, then as it changes.
#[tokio::test]
async fn links_heat_and_a_gpu_that_is_gone_are_events() {
    let place = Place::open().await;
    let desk = place.site.desk();
    let folder = tempfile::tempdir().unwrap();
    let driver = Driver::with("gpus 8\n");
    let options = Options { nvml: Some(driver.library()), ..options(&place, &folder) };
    let (stop, stopped) = oneshot::channel::<()>();
    let working = tokio::spawn(run(options, place.clock.clone(), async {
        let _ = stopped.await;
    }));
    let told = async |what: EventKind| {
        desk.until(|it| it.events.get(&ME).is_some_and(|it| it.iter().any(|it| it.what == what))).await;
    };
    let domain = || agent::signs::NVLINK.to_owned();
    told(EventKind::LinkUp { domain: domain(), port: "all".to_owned() }).await;
    // From here its pauses take no time.
    tokio::time::pause();
    driver.becomes("gpus 8\nlinks 3 17\nhot 4 91\nlost 5\n");
    told(EventKind::LinkDown { domain: domain(), port: "gpu3:17".to_owned() }).await;
    told(EventKind::Thermal { gpu: 4, temperature_c: 91 }).await;
    let text = "GPU 5 (GPU-00000000-0000-0000-0000-000000000005) is not there any more; the driver listed it before";
    told(EventKind::Part { part: "1650000000005".to_owned(), text: text.to_owned() }).await;
    assert_eq!(desk.look().states[&ME].agent.gpus.len(), 7);
    tokio::time::resume();
    stop.send(()).unwrap();
    working.await.unwrap().unwrap();
    place.close().await;
}

/// An agent that was started before the driver was loaded finds its GPUs when it is, and its events when they may be had.
#[tokio::test]
async fn a_driver_that_is_loaded_late_is_found() {
    let place = Place::open().await;
    let desk = place.site.desk();
    let folder = tempfile::tempdir().unwrap();
    let driver = Driver::unloaded("driver 580.1\ngpus 8\nmute\n");
    let options = Options { nvml: Some(driver.library()), ..options(&place, &folder) };
    let (stop, stopped) = oneshot::channel::<()>();
    let working = tokio::spawn(run(options, place.clock.clone(), async {
        let _ = stopped.await;
    }));
    desk.until(|it| it.states.get(&ME).is_some_and(|it| it.no_nvml.is_some() && it.agent.gpus.is_empty())).await;
    // From here its pauses take no time.
    tokio::time::pause();
    driver.load();
    desk.until(|it| it.states.get(&ME).is_some_and(|it| it.no_nvml.is_none() && it.agent.gpus.len() == 8)).await;
    driver.becomes("driver 580.1\ngpus 8\nxid 3 79\n");
    let xid = EventKind::Xid { code: 79, gpu: 3, driver: "580.1".into() };
    desk.until(|it| it.events.get(&ME).is_some_and(|it| it.iter().any(|it| it.what == xid))).await;
    tokio::time::resume();
    stop.send(()).unwrap();
    working.await.unwrap().unwrap();
    place.close().await;
}

#[tokio::test]
async fn an_engine_that_is_given_up_is_a_finding_and_work_stops_when_told() {
    let place = Place::open().await;
    let desk = place.site.desk();
    let folder = tempfile::tempdir().unwrap();
    let engines =
        parse("[[engine]]\nname = \"e\"\ncommand = [\"/nowhere/engine\"]\nhealth = \"http://127.0.0.1:1/health\"\n")
            .unwrap();
    let options = Options { engines, nvml: Some("/nowhere/nvml.so".into()), ..options(&place, &folder) };
    // Enrolled in real time; from here pauses take none.
    let (stop, stopped) = oneshot::channel::<()>();
    let working = tokio::spawn(run(options, place.clock.clone(), async {
        let _ = stopped.await;
    }));
    desk.until(|it| it.states.contains_key(&ME)).await;
    assert!(desk.look().states[&ME].no_nvml.as_ref().is_some_and(|it| it.contains("/nowhere/nvml.so")));
    tokio::time::pause();
    desk.until(|it| !it.codes(Some(ME)).is_empty()).await;
    assert_eq!(desk.look().codes(Some(ME)), [code::ENGINE_GIVEN_UP]);
    let command = Command { id: "stop/4".into(), what: CommandKind::StopWork { reason: "drain".into() } };
    desk.look().commands.insert(ME, vec![command]);
    desk.until(|it| it.states[&ME].stopped && it.states[&ME].engines[0].state == "stopped").await;
    tokio::time::resume();
    stop.send(()).unwrap();
    working.await.unwrap().unwrap();
    place.close().await;
}

/// A disk that was moved brings the identity of the machine that it was in; the other machine's serial number gives it away.
#[tokio::test]
async fn a_disk_in_another_machine_is_refused() {
    let place = Place::open().await;
    let desk = place.site.desk();
    let folder = tempfile::tempdir().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let working = tokio::spawn(run(options(&place, &folder), place.clock.clone(), async {
        let _ = stopped.await;
    }));
    desk.until(|it| it.states.contains_key(&ME)).await;
    stop.send(()).unwrap();
    working.await.unwrap().unwrap();
    let moved = Options { claim: claim("S6"), ..options(&place, &folder) };
    let ended = run(moved, place.clock.clone(), std::future::pending()).await;
    assert!(matches!(ended, Err(RunError::Refused(error)) if error.code() == Some(code::OTHER_SERIAL)));
    assert_eq!(place.codes(Some(5)), [code::OTHER_SERIAL]);
    place.close().await;
}

#[tokio::test]
async fn without_a_token_it_says_so() {
    let place = Place::open().await;
    let folder = tempfile::tempdir().unwrap();
    let options = Options { token: None, ..options(&place, &folder) };
    let ended = run(options, place.clock.clone(), std::future::pending()).await;
    assert!(matches!(ended, Err(RunError::NoToken)));
    place.close().await;
}
