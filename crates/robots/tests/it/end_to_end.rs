//! Through Mosquitto.

use crate::broker::{Mosquitto, PATIENCE, Process, Reader, options, record, validate};
use fleet::order::Verb;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use robots::connection::{Connection, Incoming};
use robots::{Broker, Job, Presence, Progress, Report, RobotId, start};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use types::TaskId;
use vda5050::{Topic, Version};

fn id(serial: &str) -> RobotId {
    RobotId::new("acme", serial).unwrap()
}

fn job(task: u128, verb: Verb) -> Job {
    Job {
        task: TaskId(task),
        attempt: 1,
        verb,
        subject: "u11".to_owned(),
        slot: "h1/r2/k3/u11".to_owned(),
        serial: Some("SN1".to_owned()),
        mass_g: 142_400,
        zone: "h1/r2/k3".to_owned(),
        // Long enough for updates of the order.
        route: (0..20).map(|n| format!("n{n}")).collect(),
    }
}

fn progress(report: &Report) -> Option<(u128, &Progress)> {
    match report {
        Report::Robot(vda5050::Report::Task { task, progress, .. }) => Some((task.0, progress)),
        _ => None,
    }
}

fn ended(task: u128) -> impl Fn(&Report) -> bool {
    move |report| progress(report).is_some_and(|(of, it)| of == task && it.ended())
}

fn found(code: &str) -> impl Fn(&Report) -> bool + '_ {
    move |report| match report {
        Report::Robot(vda5050::Report::Finding { finding, .. }) | Report::Stranger(finding) => finding.code == code,
        _ => false,
    }
}

#[tokio::test]
async fn an_order_end_to_end_in_both_versions_every_message_valid() {
    let Some(mosquitto) = Mosquitto::start(|_| String::new()).await else { return };
    let recorded = record(&mosquitto.broker()).await;
    let (handle, reports) = start(options(mosquitto.broker(), Vec::new()), BTreeMap::new()).unwrap();
    let mut reports = Reader(reports);
    for (task, serial, version) in [(1, "new", "3.0"), (2, "old", "2.1")] {
        let mut robot = Process::start(&mosquitto.url(), &id(serial), &["--version", version]);
        reports.until_free(&handle, &id(serial)).await;
        let view = handle.views().into_iter().find(|it| it.robot == id(serial)).unwrap();
        assert_eq!((view.payload_g, view.battery_pct, view.node.as_str()), (200_000, Some(80), "home"));
        handle.give(&id(serial), job(task, Verb::Receive)).unwrap();
        let read = reports.until(ended(task)).await;
        let Some((_, Progress::Done { evidence })) = read.last().and_then(progress) else { panic!("{read:?}") };
        let kinds: Vec<(&str, &str)> = evidence.iter().map(|it| (it.kind.as_str(), it.value.as_str())).collect();
        assert_eq!(kinds[..2], [("label", "SN1"), ("scan", "SN1")]);
        assert_eq!(evidence[2].sha256.as_ref().map(String::len), Some(64));
        robot.end();
        let offline = |report: &Report| matches!(report, Report::Robot(vda5050::Report::View(it)) if it.presence == Presence::Offline);
        reports.until(offline).await;
    }
    let counts = validate(&recorded);
    for version in [Version::V3, Version::V2] {
        // The order and its updates; online and offline.
        assert!(counts[&(version, Topic::Order)] > 1, "{counts:?}");
        assert_eq!(counts[&(version, Topic::Connection)], 2, "{counts:?}");
        assert!(counts[&(version, Topic::State)] > 2 && counts[&(version, Topic::Factsheet)] == 1, "{counts:?}");
    }
    handle.stop().unwrap();
    while reports.0.recv().await.is_some() {}
}

#[tokio::test]
async fn a_robot_killed_in_the_middle_is_known_by_its_will_and_its_task_handed_over() {
    let Some(mosquitto) = Mosquitto::start(|_| String::new()).await else { return };
    let recorded = record(&mosquitto.broker()).await;
    let (handle, reports) = start(options(mosquitto.broker(), Vec::new()), BTreeMap::new()).unwrap();
    let mut reports = Reader(reports);
    let mut robot = Process::start(&mosquitto.url(), &id("r1"), &["--work-ms", "3600000"]);
    reports.until_free(&handle, &id("r1")).await;
    handle.give(&id("r1"), job(1, Verb::Insert)).unwrap();
    reports.until(|it| matches!(progress(it), Some((1, Progress::Started)))).await;
    robot.kill();
    let read = reports.until(ended(1)).await;
    assert!(read.iter().any(found("connection_broken")), "{read:?}");
    let Some((_, Progress::Lost { code, .. })) = read.last().and_then(progress) else { panic!("{read:?}") };
    assert_eq!(code, "connection_broken");
    // Another robot takes it over, as a new attempt.
    let _other = Process::start(&mosquitto.url(), &id("r2"), &[]);
    reports.until_free(&handle, &id("r2")).await;
    handle.give(&id("r2"), Job { attempt: 2, ..job(1, Verb::Insert) }).unwrap();
    let read = reports.until(ended(1)).await;
    assert!(matches!(read.last().and_then(progress), Some((_, Progress::Done { .. }))), "{read:?}");
    validate(&recorded);
}

#[tokio::test]
async fn a_controller_that_starts_anew_goes_on_with_what_it_saved() {
    let Some(mosquitto) = Mosquitto::start(|_| String::new()).await else { return };
    let recorded = record(&mosquitto.broker()).await;
    let (handle, reports) = start(options(mosquitto.broker(), Vec::new()), BTreeMap::new()).unwrap();
    let mut reports = Reader(reports);
    let _robot = Process::start(&mosquitto.url(), &id("r1"), &["--work-ms", "2000"]);
    reports.until_free(&handle, &id("r1")).await;
    handle.give(&id("r1"), job(1, Verb::Insert)).unwrap();
    reports.until(|it| matches!(progress(it), Some((1, Progress::Started)))).await;
    let saved = handle.export().await.unwrap();
    handle.stop().unwrap();
    while reports.0.recv().await.is_some() {}
    let (handle, reports) = start(options(mosquitto.broker(), Vec::new()), saved).unwrap();
    // Given again, as a reconciler does that does not know whether it was.
    handle.give(&id("r1"), job(1, Verb::Insert)).unwrap();
    let mut reports = Reader(reports);
    let read = reports.until(ended(1)).await;
    assert!(matches!(read.last().and_then(progress), Some((_, Progress::Done { .. }))), "{read:?}");
    let orders: Vec<u64> = recorded
        .lock()
        .unwrap()
        .iter()
        .filter(|(topic, _)| topic.ends_with("/order"))
        .map(|(_, json)| {
            let value: serde_json::Value = serde_json::from_str(json).unwrap();
            value["orderUpdateId"].as_u64().unwrap()
        })
        .collect();
    assert!(orders.windows(2).all(|pair| pair[0] < pair[1]), "no update twice: {orders:?}");
}

#[tokio::test]
async fn strangers_and_endless_messages_are_findings_and_the_link_stays() {
    let Some(mosquitto) = Mosquitto::start(|_| String::new()).await else { return };
    let (handle, reports) = start(options(mosquitto.broker(), vec![id("r1")]), BTreeMap::new()).unwrap();
    let mut reports = Reader(reports);
    reports.until(|it| matches!(it, Report::Link { up: true, .. })).await;
    let mut stranger = Connection::open(&mosquitto.broker(), "stranger", None).await.unwrap();
    let topic = |serial: &str| format!("vda5050/v3/acme/{serial}/state");
    // Kept by the broker: at each reconnect it would come again.
    stranger.publish(topic("r1"), 0, true, "x".repeat(1_000_000)).unwrap();
    stranger.publish(topic("r9"), 0, false, "{}".to_owned()).unwrap();
    stranger.publish(topic("r1"), 0, false, "{}".to_owned()).unwrap();
    stranger.close().await.unwrap();
    reports.until(found("message_too_long")).await;
    reports.until(found("unknown_robot")).await;
    reports.until(found("message_invalid")).await;
    let _robot = Process::start(&mosquitto.url(), &id("r1"), &[]);
    reports.until_free(&handle, &id("r1")).await;
}

/// A CA, a broker's certificate of it for 127.0.0.1, another CA.
fn certificates(folder: &Path) {
    let write = |name: &str, pem: String| std::fs::write(folder.join(name), pem).unwrap();
    for name in ["other", "ca"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        write(&format!("{name}.pem"), params.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let broker = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        // The last one stays.
        write("broker.pem", broker.signed_by(&key, &issuer).unwrap().pem());
        write("broker.key", key.serialize_pem());
    }
}

#[tokio::test]
async fn tls_and_a_password_and_neither_without_the_other() {
    let secured = |folder: &Path| {
        certificates(folder);
        let passwords = folder.join("passwords");
        std::fs::write(&passwords, "site:a word\n").unwrap();
        let mut hash = Command::new("mosquitto_passwd");
        assert!(hash.arg("-U").arg(&passwords).status().unwrap().success());
        let file = |name: &str| folder.join(name).display().to_string();
        format!(
            "allow_anonymous false\npassword_file {}\ncafile {}\ncertfile {}\nkeyfile {}\n",
            passwords.display(),
            file("ca.pem"),
            file("broker.pem"),
            file("broker.key")
        )
    };
    let Some(mosquitto) = Mosquitto::start(secured).await else { return };
    let url = format!("mqtts://127.0.0.1:{}", mosquitto.port);
    let pem = |name: &str| std::fs::read(mosquitto.folder.path().join(name)).unwrap();
    let credentials = |word: &str| Some(("site".to_owned(), word.to_owned()));
    let open = |broker: Broker| async move {
        let mut connection = Connection::open(&broker, "somebody", None).await?;
        connection.subscribe(vec![("vda5050/#".to_owned(), 0)])?;
        connection.next().await
    };
    let good = Broker::new(&url, credentials("a word"), Some(&pem("ca.pem"))).unwrap();
    assert!(matches!(open(good.clone()).await, Ok(Incoming::Subscribed)));
    for (word, ca) in [("another", "ca.pem"), ("a word", "other.pem")] {
        let broker = Broker::new(&url, credentials(word), Some(&pem(ca))).unwrap();
        assert!(open(broker).await.is_err(), "{word} {ca}");
    }
    assert!(open(Broker::new(&url, None, Some(&pem("ca.pem"))).unwrap()).await.is_err());
    // Without TLS it hears nothing that it understands.
    let plain = Broker::new(&format!("mqtt://127.0.0.1:{}", mosquitto.port), credentials("a word"), None).unwrap();
    assert!(open(plain).await.is_err());

    let (handle, reports) = start(options(good, Vec::new()), BTreeMap::new()).unwrap();
    let mut reports = Reader(reports);
    let ca = mosquitto.folder.path().join("ca.pem").display().to_string();
    let _robot = Process::start(&url, &id("r1"), &["--ca", &ca, "--user", "site", "--password", "a word"]);
    reports.until_free(&handle, &id("r1")).await;
    handle.give(&id("r1"), job(1, Verb::Insert)).unwrap();
    let read = tokio::time::timeout(PATIENCE, reports.until(ended(1))).await.unwrap();
    assert!(matches!(read.last().and_then(progress), Some((_, Progress::Done { .. }))), "{read:?}");
}
