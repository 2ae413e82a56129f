//! Session and simulated robot face to face, without broker, in virtual time: each thing that a robot does wrong.

use fleet::order::Verb;
use robots::sim::{Do, Fault, Machine, Sheet};
use robots::{Job, Progress, RobotId, Rules};
use types::{TaskId, UnixMillis};
use vda5050::session::{Effect, Input, Report, Session};
use vda5050::{Topic, Version};

struct Pair {
    session: Session,
    robot: Option<Machine>,
    version: Version,
    now: UnixMillis,
    told: Vec<String>,
}

impl Pair {
    fn new(version: Version, fault: &str) -> Pair {
        let id = RobotId::new("acme", "r1").unwrap();
        let mut sheet = Sheet::new(id.clone(), version);
        sheet.work_ms = 1_000;
        sheet.faults = fault.split_whitespace().map(|it| it.parse::<Fault>().unwrap()).collect();
        let mut pair = Pair {
            session: Session::new(id, version),
            robot: Some(Machine::new(sheet)),
            version,
            now: UnixMillis(1_764_225_212_000),
            told: Vec::new(),
        };
        let now = pair.now;
        let hello = pair.robot.as_mut().unwrap().hello(now);
        pair.robot_says(hello);
        assert_eq!(pair.session.view().unavailable, None);
        pair
    }

    fn robot_says(&mut self, doing: Vec<Do>) {
        for it in doing {
            match it {
                Do::Publish(topic, json) => {
                    assert_eq!(crate::schema::faults(self.version, topic, &json), Vec::<String>::new(), "{json}");
                    let bytes = json.into_bytes();
                    self.step(Input::Message { version: self.version, topic, bytes: &bytes, retained: false });
                }
                Do::Die => self.robot = None,
                Do::Reconnect => {
                    let now = self.now;
                    let hello = self.robot.as_mut().unwrap().hello(now);
                    self.robot_says(hello);
                }
            }
        }
    }

    fn step(&mut self, input: Input<'_>) {
        let (session, effects) = self.session.clone().step(&Rules::default(), input, self.now);
        self.session = session;
        let mut heard: Vec<(Topic, String)> = Vec::new();
        for effect in effects {
            match effect {
                Effect::Publish { topic, json, .. } => heard.push((topic, json)),
                Effect::Report(Report::Finding { finding, .. }) => self.told.push(format!("finding {}", finding.code)),
                Effect::Report(Report::Task { progress, .. }) => {
                    self.told.push(match progress {
                        Progress::Started | Progress::Running { .. } => continue,
                        Progress::Retrying { .. } => "retrying".to_owned(),
                        Progress::Done { .. } => "done".to_owned(),
                        Progress::Failed { code, .. } => format!("failed {code}"),
                        Progress::Refused { code, .. } => format!("refused {code}"),
                        Progress::Cancelled => "cancelled".to_owned(),
                        Progress::Lost { code, .. } => format!("lost {code}"),
                    });
                }
                Effect::Report(Report::View(_)) => {}
            }
        }
        for (topic, json) in heard {
            let now = self.now;
            let Some(robot) = self.robot.as_mut() else { continue };
            let doing = robot.hear(topic, json.as_bytes(), now);
            self.robot_says(doing);
        }
    }

    fn run(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now.0 += 1_000;
            let now = self.now;
            let doing = self.robot.as_mut().map(|it| it.tick(now)).unwrap_or_default();
            self.robot_says(doing);
            self.step(Input::Tick);
        }
    }
}

fn job() -> Job {
    Job {
        task: TaskId(7),
        attempt: 1,
        verb: Verb::Insert,
        subject: "u11".to_owned(),
        slot: "h1/r2/k3/u11".to_owned(),
        serial: None,
        mass_g: 142_400,
        zone: String::new(),
        route: (0..20).map(|n| format!("n{n}")).collect(),
    }
}

#[test]
fn what_a_robot_does_wrong_is_found_and_its_task_ends_once() {
    let check = |version: Version, fault: &str, expect: &[&str]| {
        let mut pair = Pair::new(version, fault);
        pair.step(Input::Give(Box::new(job())));
        pair.run(300);
        assert_eq!(pair.told, expect, "{version:?} {fault}");
    };
    for version in [Version::V3, Version::V2] {
        check(version, "", &["done"]);
        check(version, "fail", &["failed action_failed"]);
        check(version, "reject=NO_ROUTE_TO_TARGET", &["refused NO_ROUTE_TO_TARGET"]);
        check(version, "silent", &["finding silent", "lost silent"]);
        // Without a broker there is no will: it is silent.
        check(version, "die", &["finding silent", "lost silent"]);
        check(version, "impossible", &["finding impossible_state", "done"]);
        check(version, "old-headers", &["finding stale_header", "done"]);
    }
    check(Version::V3, "retriable=2", &["retrying", "retrying", "done"]);
    check(Version::V3, "retriable=3", &["retrying", "retrying", "failed action_failed"]);
    // 2.1 knows no such thing: it has failed.
    check(Version::V2, "retriable=1", &["failed action_failed"]);
}

#[test]
fn a_robot_that_works_for_somebody_else_loses_the_task() {
    let mut pair = Pair::new(Version::V3, "other-order");
    pair.step(Input::Give(Box::new(job())));
    pair.run(120);
    assert_eq!(pair.told[0], "finding other_order");
    assert!(pair.told.contains(&"lost other_order".to_owned()), "{:?}", pair.told);
    assert!(!pair.told.contains(&"done".to_owned()));
    assert!(!pair.session.view().free());
}

#[test]
fn a_cancelled_task_ends_and_the_robot_is_free() {
    for version in [Version::V3, Version::V2] {
        let mut pair = Pair::new(version, "");
        pair.robot.as_mut().unwrap();
        pair.step(Input::Give(Box::new(job())));
        pair.step(Input::Cancel { task: TaskId(7) });
        pair.run(1);
        assert_eq!(pair.told, ["cancelled"]);
        assert!(pair.session.view().free());
        pair.step(Input::Give(Box::new(Job { attempt: 2, ..job() })));
        pair.run(5);
        assert_eq!(pair.told, ["cancelled", "done"]);
    }
}
