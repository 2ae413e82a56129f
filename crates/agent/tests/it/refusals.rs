//! What an agent must not say: each is refused, found, and changes nothing that is known of any machine.

use crate::place::{NOW, Place, first_report};
use agent::ca::Authority;
use agent::link::LinkError;
use agent::site::{Limits, code};
use agent::wire::{Command, CommandKind, REPORT, REPORT_BYTES_MAX, Sighting, State, VALIDATION, ValidationReport};
use fleet::observed::{EventKind, GpuSeen};
use std::sync::Arc;
use std::time::Duration;
use types::{MachineId, UnixMillis};

fn code_of<T: std::fmt::Debug>(result: Result<T, LinkError>) -> String {
    match result {
        Err(error) => error.code().map_or_else(|| format!("{error}"), str::to_owned),
        Ok(value) => format!("{value:?}"),
    }
}

fn xid(number: u64) -> Sighting {
    Sighting { number, age_ms: 1_000, what: EventKind::Xid { code: 79, gpu: 3, driver: "580".into() } }
}

#[tokio::test]
async fn reports_of_another_machine() {
    let place = Place::open().await;
    let mut mine = place.agent(5, "S5").await;
    place.agent(6, "S6").await.send().await.unwrap();
    mine.report.machine = MachineId(6);
    assert_eq!(code_of(mine.send().await), code::OTHER_MACHINE);
    // With the other's serial, as when a disk is moved into another chassis.
    mine.report.machine = MachineId(5);
    mine.report.serial = "S6".into();
    assert_eq!(code_of(mine.send().await), code::OTHER_SERIAL);
    let run = ValidationReport {
        machine: MachineId(6),
        serial: "S6".into(),
        suite: "generic".into(),
        entry: 1,
        attempt: 0,
        age_ms: 0,
        ended: true,
        tests: Vec::new(),
    };
    assert_eq!(code_of(mine.link.post::<_, agent::wire::Taken>(VALIDATION, &run).await), code::OTHER_MACHINE);
    // Found on the machine that spoke, and nothing of it is known.
    assert_eq!(place.codes(Some(5)), [code::OTHER_MACHINE, code::OTHER_SERIAL]);
    assert!(place.codes(Some(6)).is_empty());
    {
        let desk = place.site.desk().look();
        assert!(!desk.states.contains_key(&MachineId(5)));
        assert_eq!(desk.reports, 1);
        assert!(desk.runs.is_empty());
    }
    place.close().await;
}

#[tokio::test]
async fn no_certificate_and_those_of_strangers() {
    let place = Place::open().await;
    let report = first_report(MachineId(5), "S5");
    let config = agent::tls::enrolling(place.site.make_token().pin, place.clock.clone()).unwrap();
    let mut nobody = agent::link::Link::new(place.address.clone(), Arc::new(config));
    assert_eq!(code_of(nobody.post::<_, agent::wire::Answer>(REPORT, &report).await), code::NO_CERTIFICATE);

    // Another site's authority signed for the same machine.
    let other = Place::open().await;
    let identity = other.enrol(&other.token(5, None), "S5").await.unwrap();
    let mut mine = place.agent(5, "S5").await;
    mine.link.replace(identity.tls(other.clock.clone()).unwrap());
    assert!(matches!(mine.send().await, Err(LinkError::Tls { .. } | LinkError::Broken(_))));
    assert_eq!(place.site.desk().look().reports, 0);
    other.close().await;
    place.close().await;
}

#[tokio::test]
async fn a_retired_machine_is_heard_no_more() {
    let place = Place::open().await;
    let mut mine = place.agent(5, "S5").await;
    mine.send().await.unwrap();
    place.site.desk().look().revoked.insert(MachineId(5));
    assert_eq!(code_of(mine.send().await), code::REVOKED);
    let renewed = agent::enrol::renew(None, &mut mine.link, place.clock.clone()).await;
    assert!(matches!(renewed, Err(agent::enrol::EnrolError::Link(error)) if error.code() == Some(code::REVOKED)));
    assert_eq!(place.codes(Some(5)), [code::REVOKED]);
    place.close().await;
}

/// TLS looks at a certificate when a connection is opened; this one stays open longer than the certificate lives.
#[tokio::test]
async fn a_kept_connection_does_not_outlive_its_certificate() {
    let place = Place::open().await;
    let mut mine = place.agent(5, "S5").await;
    place.clock.pass(agent::ca::AGENT_LIFE_MS);
    mine.send().await.unwrap();
    place.clock.pass(1_000);
    assert_eq!(code_of(mine.send().await), code::CERTIFICATE_OVER);
    assert_eq!(mine.link.connects, 1);
    place.close().await;
}

#[tokio::test]
async fn too_large_too_many_and_no_json() {
    let limits = Limits { burst: 4, ..Limits::default() };
    let place = Place::with(limits).await;
    let mut mine = place.agent(5, "S5").await;
    let over = vec![b' '; REPORT_BYTES_MAX + 1];
    let (status, _) = mine.link.send(REPORT, over.into()).await.unwrap();
    assert_eq!(status, 413);
    let (status, _) = mine.link.send(REPORT, "{\"machine\":".into()).await.unwrap();
    assert_eq!(status, 400);
    let gpus = (0..17).map(|at| (format!("GPU-{at}"), GpuSeen::default())).collect();
    mine.report.state = Some(State { gpus, ..State::default() });
    assert_eq!(code_of(mine.send().await), code::TOO_LARGE);
    mine.report = first_report(MachineId(5), "S5");
    mine.send().await.unwrap();
    assert_eq!(code_of(mine.send().await), code::TOO_MANY);
    assert_eq!(place.codes(Some(5)), [code::TOO_LARGE, code::MALFORMED, code::TOO_MANY]);
    // A refill later it is heard again.
    place.clock.pass(1_000);
    mine.send().await.unwrap();
    place.close().await;
}

#[tokio::test]
async fn a_limit_at_its_edge() {
    let place = Place::open().await;
    let mut mine = place.agent(5, "S5").await;
    let mut body = serde_json::to_vec(&mine.report).unwrap();
    body.resize(REPORT_BYTES_MAX, b' ');
    let (status, _) = mine.link.send(REPORT, body.into()).await.unwrap();
    assert_eq!(status, 200);
    place.close().await;
}

#[tokio::test]
async fn state_goes_over_once_and_events_are_taken_once() {
    let place = Place::open().await;
    let mut mine = place.agent(5, "S5").await;
    // A site that knows nothing asks for everything.
    let state = mine.report.state.take();
    assert!(mine.send().await.unwrap().full);
    mine.report.state = state;
    mine.report.events = vec![xid(1), xid(2)];
    let answer = mine.send().await.unwrap();
    assert!(!answer.full);
    assert_eq!(answer.events_taken, 2);
    // The answer was lost: the same report again, then the next with one event more.
    mine.report.number -= 1;
    mine.send().await.unwrap();
    mine.report.state = None;
    mine.report.events = vec![xid(2), xid(3)];
    assert_eq!(mine.send().await.unwrap().events_taken, 3);
    {
        let desk = place.site.desk().look();
        let numbers: Vec<u64> = desk.events[&MachineId(5)].iter().map(|it| it.number).collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(desk.events[&MachineId(5)][0].at, UnixMillis(NOW - 1_000));
        assert_eq!((desk.reports, desk.full_reports), (4, 1));
    }
    // Changed, and only its digest sent.
    mine.report.digest = "other".into();
    assert!(mine.send().await.unwrap().full);
    // The desk could not take it: nothing is remembered as taken.
    place.site.desk().look().away = true;
    mine.report.state = Some(State { running: 1, ..State::default() });
    mine.report.events = vec![xid(4)];
    assert_eq!(code_of(mine.send().await), code::UNAVAILABLE);
    place.site.desk().look().away = false;
    let answer = mine.send().await.unwrap();
    assert_eq!((answer.full, answer.events_taken), (false, 4));
    assert_eq!(place.site.desk().look().states[&MachineId(5)].running, 1);
    // An older report that comes late changes nothing.
    mine.report.number = 1;
    assert_eq!(code_of(mine.send().await), code::OLD_REPORT);
    assert_eq!(mine.link.connects, 1, "one connection for all of it");
    place.close().await;
}

#[tokio::test]
async fn a_copied_disk_shows() {
    let place = Place::open().await;
    let mut mine = place.agent(5, "S5").await;
    mine.send().await.unwrap();
    // A restart is a new instance and nothing to look at.
    mine.report.instance = 12;
    mine.report.number = 1;
    mine.send().await.unwrap();
    assert!(place.codes(Some(5)).is_empty());
    mine.report.instance = 11;
    mine.send().await.unwrap();
    assert_eq!(place.codes(Some(5)), [code::TWO_INSTANCES]);
    place.close().await;
}

#[tokio::test]
async fn commands_are_told_until_they_are_done() {
    let place = Place::open().await;
    let mut mine = place.agent(5, "S5").await;
    let what = CommandKind::ResetGpu { gpu: 2, since: UnixMillis(1) };
    let command = Command { id: "reset/3/1".into(), what };
    place.site.desk().look().commands.insert(MachineId(5), vec![command.clone()]);
    assert_eq!(mine.send().await.unwrap().commands, std::slice::from_ref(&command));
    assert_eq!(mine.send().await.unwrap().commands, [command]);
    mine.report.done = vec![agent::wire::Done { id: "reset/3/1".into(), ok: true, text: String::new(), later: false }];
    assert!(mine.send().await.unwrap().commands.is_empty());
    place.close().await;
}

/// What an agent calls a part goes into findings and to a terminal.
#[tokio::test]
async fn names_with_control_characters() {
    let place = Place::open().await;
    let mut mine = place.agent(5, "S5").await;
    let named = |name: &str| EventKind::Part { part: name.to_owned(), text: "gone\n".to_owned() };
    let link = |name: &str| EventKind::LinkDown { domain: "leaf-1".to_owned(), port: name.to_owned() };
    for (what, fits) in [(named("\0"), false), (link("p\u{1b}[2J"), false), (named("psu1"), true), (link("p1"), true)] {
        mine.report.events = vec![Sighting { number: 1, age_ms: 1_000, what }];
        let sent = mine.send().await;
        assert_eq!(sent.is_ok(), fits, "{sent:?}");
    }
    assert_eq!(place.codes(Some(5)), [code::TOO_LARGE]);
    place.close().await;
}

/// Whoever reaches the port may open what he likes: machines are heard.
#[tokio::test]
async fn strangers_shut_nobody_out() {
    let handshake = Duration::from_secs(3_600);
    let limits = Limits { connections_max: 1, strangers_max: 2, handshake, ..Limits::default() };
    let place = Place::with(limits).await;
    let knock = async || tokio::net::TcpStream::connect(place.at).await.unwrap();
    let first = [knock().await, knock().await, knock().await];
    // One with a certificate; the strangers that were there first make room, and are no machines.
    let mut mine = place.agent(5, "S5").await;
    let more = [knock().await, knock().await];
    mine.send().await.unwrap();
    mine.send().await.unwrap();
    drop((first, more));
    place.close().await;
}

#[tokio::test]
async fn a_connection_that_broke_is_opened_again() {
    let place = Place::with(Limits { idle: Duration::from_millis(1), ..Limits::default() }).await;
    let mut mine = place.agent(5, "S5").await;
    mine.send().await.unwrap();
    // However soon the site closes the idle connection: each report arrives.
    for _ in 0..3 {
        tokio::task::yield_now().await;
        mine.send().await.unwrap();
    }
    place.close().await;
}

/// Of a request for a certificate only its key is used.
#[tokio::test]
async fn a_request_that_asks_for_more_gets_no_more() {
    let place = Place::open().await;
    let key = rcgen_key();
    let asked = Authority::read_request(&key).unwrap();
    let (authority, _) = Authority::make("site", place.clock.clone()).unwrap();
    let issued = authority.issue(asked, MachineId(5), "S5").unwrap();
    let der = pem_der(&issued.certificate);
    let holder = agent::ca::holder(&der).unwrap();
    assert_eq!((holder.machine, holder.serial.as_str()), (MachineId(5), "S5"));
    place.close().await;
}

fn pem_der(text: &str) -> rustls::pki_types::CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::from_pem_slice(text.as_bytes()).unwrap()
}

/// A request that wants to be an authority and another machine.
fn rcgen_key() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "S6");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let name = format!("{}{}", agent::ca::URN, MachineId(6));
    params.subject_alt_names.push(rcgen::SanType::URI(name.try_into().unwrap()));
    params.serialize_request(&key).unwrap().der().to_vec()
}
