//! The agents' desk over a real store: tokens, withdrawn certificates, what becomes of reports, what machines are told.

use crate::site::Site;
use agent::ca::Issued;
use agent::site::{Desk, FullState, NumberedEvent, Redeem, Refusal, Run, Seen};
use agent::token::Token;
use agent::wire::{CommandKind, Done};
use controller::agents::{AgentDesk, SKEW_MOVED_MILLIS, STANDING_MILLIS};
use controller::reconcile::{Bell, Wanted, Wants};
use fleet::action::Action;
use fleet::machine::{Finding, Lifecycle};
use fleet::observed::{AgentSeen, EventKind, SuiteRefused, Validation};
use serde_json::json;
use std::collections::BTreeMap;
use store::Decided;
use types::{MachineId, UnixMillis};

const NOW: UnixMillis = UnixMillis(1_794_700_900_000);

fn later(millis: i64) -> UnixMillis {
    UnixMillis(NOW.0 + millis)
}

fn seen(machine: MachineId, at: UnixMillis) -> Seen {
    Seen { machine, certificate: "07".into(), at, skew_ms: 12, state: None, events: Vec::new(), done: Vec::new() }
}

fn state() -> FullState {
    let agent = AgentSeen {
        at: UnixMillis(0),
        serial: "S1".into(),
        driver: "580".into(),
        gpus: BTreeMap::new(),
        clock_skew_ms: 0,
    };
    FullState { agent, running: 3, stopped: false, engines: Vec::new(), no_nvml: None }
}

async fn desk(site: &Site) -> (AgentDesk, Wants, MachineId) {
    let (wants, machine) = (Wants::default(), site.machine().await);
    let desk = AgentDesk::new(site.store.clone(), wants.clone(), Bell::default());
    let issued = Issued {
        machine,
        number: "07".into(),
        key: "k1".into(),
        not_after: later(1 << 40),
        certificate: String::new(),
    };
    desk.issued(&issued).await.unwrap();
    (desk, wants, machine)
}

#[tokio::test]
async fn a_token_from_the_api_is_spent_by_one_key() {
    let site = Site::start().await;
    let (desk, _, machine) = desk(&site).await;
    let path = format!("/api/v1/machines/{machine}/agent-token");
    let made = site.ask(&site.admin, "POST", &path, Some(json!({}))).await.expect(201);
    let token = Token::parse(made["token"].as_str().unwrap()).unwrap().hash();
    let serial = site.store.machine(machine).await.unwrap().unwrap().spec.serials.get("chassis").cloned();
    let serial = serial.unwrap_or_else(|| "any".to_owned());
    let ask = async |token: &str, key: &str| {
        let (serial, hostname, now) = (serial.clone(), "host".into(), UnixMillis(crate::site::START));
        desk.redeem(&Redeem { token: token.into(), key: key.into(), serial, hostname, now }).await
    };
    assert_eq!(ask("nothing", "k1").await, Err(Refusal::TokenUnknown));
    assert_eq!(ask(&token, "k1").await, Ok(machine));
    assert_eq!(ask(&token, "k1").await, Ok(machine));
    assert_eq!(ask(&token, "k2").await, Err(Refusal::TokenSpent { machine: Some(machine) }));
}

#[tokio::test]
async fn reports_become_observations_and_presence_is_written_rarely() {
    let site = Site::start().await;
    let (desk, _, machine) = desk(&site).await;
    let xid = |number| NumberedEvent {
        instance: 9,
        number,
        at: NOW,
        what: EventKind::Xid { code: 79, gpu: 3, driver: "580".into() },
    };
    let full = Seen { state: Some(state()), events: vec![xid(1)], ..seen(machine, NOW) };
    desk.report(&full).await.unwrap();
    let observed = site.store.observed(machine).await.unwrap();
    let agent = observed.agent.unwrap();
    // Time and skew are the site's, not the agent's.
    assert_eq!((agent.at, agent.clock_skew_ms, observed.running, observed.events.len()), (NOW, 12, 3, 1));
    // The same event again, and a new one.
    desk.report(&Seen { events: vec![xid(1), xid(2)], ..seen(machine, later(10)) }).await.unwrap();
    assert_eq!(site.store.observed(machine).await.unwrap().events.len(), 2);
    desk.report(&seen(machine, later(20_000))).await.unwrap();
    assert_eq!(site.store.observed(machine).await.unwrap().agent.unwrap().at, NOW);
    desk.flush().await.unwrap();
    assert_eq!(site.store.observed(machine).await.unwrap().agent.unwrap().at, later(20_000));
}

/// Within a minute, whatever the agent says.
#[tokio::test]
async fn a_withdrawn_certificate_is_heard_no_more() {
    let site = Site::start().await;
    let (desk, _, machine) = desk(&site).await;
    desk.report(&seen(machine, NOW)).await.unwrap();
    let path = format!("/api/v1/machines/{machine}");
    let deed = json!({ "do": "revoke", "reason": "its disk was stolen" });
    site.ask(&site.admin, "POST", &path, Some(deed.clone())).await.expect(200);
    assert_eq!(site.ask(&site.admin, "POST", &path, Some(deed)).await.code(), "conflict");
    let told = site.get(&path).await.expect(200)["events"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(told["kind"], "agent revoked");
    assert!(told["text"].as_str().unwrap().starts_with("its disk was stolen ("), "{told}");
    desk.report(&seen(machine, later(STANDING_MILLIS - 1))).await.unwrap();
    let late = desk.report(&seen(machine, later(STANDING_MILLIS))).await;
    assert_eq!(late, Err(Refusal::Revoked));
    let validation = Validation {
        suite: "short".into(),
        entry: 1,
        attempt: 0,
        begun_at: NOW,
        ended_at: Some(NOW),
        tests: Vec::new(),
    };
    let run = Run { machine, certificate: "07".into(), validation };
    assert_eq!(desk.validation(&run).await, Err(Refusal::Revoked));
    assert_eq!(site.store.observed(machine).await.unwrap().validation, None);
    // One that was never issued, and one of another machine.
    assert_eq!(desk.standing(machine, "08").await, Err(Refusal::Revoked));
    assert_eq!(desk.standing(MachineId(5), "07").await, Err(Refusal::Revoked));
}

#[tokio::test]
async fn machines_are_told_what_is_wanted_of_them() {
    let site = Site::start().await;
    let (desk, wants, machine) = desk(&site).await;
    let want_in = |lifecycle: Lifecycle, actions: Vec<Action>| {
        let slot = "h1/r01/k01/u01".to_owned();
        wants.set(Wanted { machine, slot, lifecycle, entry: 5, attempt: 1, actions });
    };
    let want = |actions: Vec<Action>| want_in(Lifecycle::Accepted, actions);
    let told = async |stopped| {
        let state = Some(FullState { stopped, ..state() });
        let commands = desk.report(&Seen { state, ..seen(machine, NOW) }).await.unwrap();
        commands.into_iter().map(|command| command.id).collect::<Vec<_>>()
    };
    assert!(told(false).await.is_empty());
    // Not one that nothing is known of, as in a process that does not reconcile, and not one that somebody repairs.
    assert!(told(true).await.is_empty());
    for state in Lifecycle::ALL.iter().filter(|state| **state != Lifecycle::Accepted) {
        want_in(*state, Vec::new());
        assert!(told(true).await.is_empty(), "{state}");
    }
    want(vec![
        Action::Validate { suite: "short".into() },
        Action::PowerOn,
        Action::ResetGpu { gpu: 2, since: NOW },
        Action::StopWork,
    ]);
    assert_eq!(told(false).await, ["validate/5/1", &format!("reset/2/{}", NOW.0), "stop/5"]);
    want(Vec::new());
    // Nobody wants it stopped any more.
    assert_eq!(told(true).await, ["resume/5"]);
    let commands = desk.report(&seen(machine, NOW)).await.unwrap();
    assert_eq!(commands[0].what, CommandKind::ResumeWork);
    desk.finding(Some(machine), Finding::new("agent_clock_off", "", "a day", NOW)).await;
    let events = site.store.fleet_events_last(Some(machine), 1).await.unwrap();
    assert_eq!((events[0].kind.as_str(), events[0].text.as_str()), ("agent", "agent_clock_off: a day"));
}

fn issued(machine: MachineId, number: &str, millis: i64) -> Issued {
    let (key, certificate) = (format!("k{number}"), String::new());
    Issued { machine, number: number.to_owned(), key, not_after: later((1 << 40) + millis), certificate }
}

/// A machine that is installed anew after its identity was stolen; and a copy that renews.
#[tokio::test]
async fn who_enrols_anew_or_renews_withdraws_what_was_before() {
    let site = Site::start().await;
    let (desk, _, machine) = desk(&site).await;
    let say = async |certificate: &str, at: UnixMillis| {
        let certificate = certificate.to_owned();
        desk.report(&Seen { certificate, ..seen(machine, at) }).await.map(drop)
    };
    say("07", NOW).await.unwrap();
    desk.enrolled(&issued(machine, "08", 1)).await.unwrap();
    // At once, although the desk had found it good a moment ago.
    assert_eq!(say("07", later(1)).await, Err(Refusal::Revoked));
    assert_eq!(desk.standing(machine, "07").await, Err(Refusal::Revoked));
    say("08", later(2)).await.unwrap();
    // The answer to a renewal may be lost: until the next certificate is seen, the one before is good.
    desk.issued(&issued(machine, "09", 2)).await.unwrap();
    say("08", later(STANDING_MILLIS * 2)).await.unwrap();
    say("09", later(STANDING_MILLIS * 2 + 1)).await.unwrap();
    assert_eq!(say("08", later(STANDING_MILLIS * 2 + 2)).await, Err(Refusal::Revoked));
    assert_eq!(desk.standing(machine, "08").await, Err(Refusal::Revoked));
    say("09", later(STANDING_MILLIS * 2 + 3)).await.unwrap();
}

/// Its whole state says nothing new: the digest is the same. What holds the machine must end all the same.
#[tokio::test]
async fn a_clock_that_was_set_is_seen_without_anything_else() {
    let site = Site::start().await;
    let (desk, _, machine) = desk(&site).await;
    let skew = async || site.store.observed(machine).await.unwrap().agent.unwrap().clock_skew_ms;
    const DAY: i64 = 86_400_000;
    // Before anything is known of it there is nothing to correct.
    desk.report(&Seen { skew_ms: DAY, ..seen(machine, NOW) }).await.unwrap();
    desk.report(&Seen { state: Some(state()), skew_ms: DAY, ..seen(machine, NOW) }).await.unwrap();
    assert_eq!(skew().await, DAY);
    for (said, stored) in [
        (DAY - SKEW_MOVED_MILLIS, DAY),
        (DAY - SKEW_MOVED_MILLIS - 1, DAY - SKEW_MOVED_MILLIS - 1),
        (7, 7),
        (7 + SKEW_MOVED_MILLIS, 7),
        (-DAY, -DAY),
    ] {
        desk.report(&Seen { skew_ms: said, ..seen(machine, later(10_000)) }).await.unwrap();
        assert_eq!(skew().await, stored, "after {said}");
    }
    // The rest of what is known stays, and it is due.
    let observed = site.store.observed(machine).await.unwrap();
    assert_eq!((observed.agent.unwrap().driver.as_str(), observed.running), ("580", 3));
}

/// What an agent will never begin holds its machine, with its words; what it does not begin for now does not.
#[tokio::test]
async fn a_suite_that_is_refused_is_seen_and_told() {
    let site = Site::start().await;
    let (desk, wants, machine) = desk(&site).await;
    let slot = "h1/r01/k01/u01".to_owned();
    let actions = vec![Action::Validate { suite: "burn-in".into() }];
    wants.set(Wanted { machine, slot, lifecycle: Lifecycle::Provisioned, entry: 5, attempt: 1, actions });
    let say = async |id: &str, later: bool, at: UnixMillis| {
        let (id, text) = (id.to_owned(), "suite: there is none called burn-in".to_owned());
        let done = vec![Done { id, ok: false, text, later }];
        desk.report(&Seen { done, ..seen(machine, at) }).await.unwrap();
        let observed = site.store.observed(machine).await.unwrap().refused;
        let told = site.store.fleet_events_last(Some(machine), 100).await.unwrap();
        let told = told.into_iter().filter(|event| event.kind == "agent").map(|event| event.text);
        (observed, told.collect::<Vec<_>>())
    };
    assert_eq!(say("validate/5/1", true, NOW).await, (None, Vec::new()));
    // Of an attempt before, and of something else.
    assert_eq!(say("validate/5/0", false, NOW).await, (None, Vec::new()));
    assert_eq!(say("reset/3/1", false, NOW).await, (None, Vec::new()));
    let (refused, told) = say("validate/5/1", false, NOW).await;
    let text = "suite: there is none called burn-in".to_owned();
    let expected = SuiteRefused { suite: "burn-in".into(), entry: 5, attempt: 1, text, at: NOW };
    assert_eq!(refused.as_ref(), Some(&expected));
    assert_eq!(told, ["suite_refused: burn-in: suite: there is none called burn-in"]);
    // Said again, it is nothing new.
    assert_eq!(say("validate/5/1", false, later(10)).await, (refused, told));
}

/// An agent says it once. After a start of ours it may be before anybody said what is wanted; its machine's row has it.
#[tokio::test]
async fn a_suite_that_is_refused_while_nothing_is_wanted_yet_is_seen() {
    let site = Site::start().await;
    let (desk, _, machine) = desk(&site).await;
    let epoch = site.store.fleet_epoch_take().await.unwrap();
    let due = site.store.machines_due(NOW, 1_000).await.unwrap();
    let due = due.into_iter().find(|due| due.row.machine.id == machine).unwrap();
    let (entry, attempt) = (due.row.machine.entry, due.row.machine.attempt);
    let decided = Decided {
        at: NOW,
        machine: due.row.machine.clone(),
        wants: vec![Action::Validate { suite: "burn-in".into() }],
        wake_at: later(1),
        events_taken: 0,
        order: None,
        cancel_orders: false,
        acceptance: None,
        happened: Vec::new(),
        due,
    };
    assert_eq!(site.store.machines_step(epoch, &[decided]).await.unwrap().stored, [machine]);
    for (asked, seen_then) in [(attempt + 1, false), (attempt, true)] {
        let id = format!("validate/{entry}/{asked}");
        let done = vec![Done { id, ok: false, text: "no suite is called so".into(), later: false }];
        desk.report(&Seen { done, ..seen(machine, NOW) }).await.unwrap();
        let refused = site.store.observed(machine).await.unwrap().refused;
        assert_eq!(
            refused.map(|it| (it.suite, it.entry, it.attempt)),
            seen_then.then(|| ("burn-in".to_owned(), entry, attempt))
        );
    }
}
