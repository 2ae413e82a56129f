//! One robot's session: what it should do, and each thing that a robot can do wrong.

use super::robot::{World, job};
use fleet::order::Verb;
use types::TaskId;
use vda5050::message::words::{ActionStatus, ConnectionState, EmergencyStop, OperatingMode};
use vda5050::message::{Message, write};
use vda5050::session::{Input, Presence};
use vda5050::{Topic, Version};

const BOTH: [Version; 2] = [Version::V2, Version::V3];

fn given(version: Version) -> World {
    let mut world = World::new(version);
    world.step(Input::Give(Box::new(job(7, Verb::Insert))));
    world
}

/// Given, and the robot has begun it.
fn begun(version: Version) -> World {
    let mut world = given(version);
    let state = world.at(0, ActionStatus::Waiting);
    world.state(state);
    assert_eq!(world.told(), ["7 started"]);
    world
}

#[test]
fn an_order_goes_from_given_to_done() {
    for version in BOTH {
        let mut world = begun(version);
        assert_eq!(
            world.order().nodes.iter().map(|it| it.node_id.as_str()).collect::<Vec<_>>(),
            ["home", "aisle", "rack"]
        );
        for (place, status) in [(1, ActionStatus::Waiting), (2, ActionStatus::Running)] {
            let state = world.at(place, status);
            world.state(state);
            assert_eq!(world.told(), Vec::<String>::new());
        }
        let state = world.at(2, ActionStatus::Finished);
        world.state(state.clone());
        assert_eq!(world.told(), ["7 done "]);
        assert!(world.session.view().free());
        // The state stays so until the next order; that is not done again.
        let mut again = state;
        again.header = world.header(Topic::State);
        world.state(again);
        assert_eq!(world.told(), Vec::<String>::new());
    }
}

#[test]
fn evidence_is_what_the_actions_answered() {
    let mut world = World::new(Version::V3);
    world.step(Input::Give(Box::new(job(7, Verb::Receive))));
    let state = world.at(2, ActionStatus::Finished);
    world.state(state);
    assert_eq!(
        world.told(),
        ["7 started", "7 running 3/3", "7 done label,scan,photo"]
            .into_iter()
            .filter(|it| it.contains("done"))
            .collect::<Vec<_>>()
    );
}

#[test]
fn given_twice_is_given_once_and_another_is_refused() {
    let mut world = begun(Version::V3);
    let sent = world.sent.len();
    world.step(Input::Give(Box::new(job(7, Verb::Insert))));
    assert_eq!(world.told(), ["7 running 0/1"]);
    world.step(Input::Give(Box::new(job(8, Verb::Insert))));
    assert_eq!(world.told(), ["8 refused busy"]);
    assert_eq!(world.sent.len(), sent);
}

#[test]
fn what_a_robot_cannot_do_it_is_not_given() {
    type Change = fn(&mut World);
    let cases: [(&str, Change); 9] = [
        ("8 refused verb", |world| world.factsheet(200.0, &["pick"])),
        ("8 refused payload", |world| world.factsheet(142.0, &["insertServer"])),
        ("8 refused not_available", |world| world.connection(ConnectionState::Offline)),
        ("8 refused not_available", |world| world.connection(ConnectionState::Hibernating)),
        ("8 refused not_available", |world| {
            let mut state = world.idle();
            state.operating_mode = OperatingMode::Manual;
            world.state(state);
        }),
        ("8 refused not_available", |world| {
            let mut state = world.idle();
            state.safety_state.active_emergency_stop = EmergencyStop::Remote;
            world.state(state);
        }),
        ("8 refused not_available", |world| {
            let mut state = world.idle();
            state.paused = Some(true);
            world.state(state);
        }),
        ("8 refused not_available", |world| world.wait(70_000)),
        ("8 refused not_available", |world| *world = World::bare(Version::V3)),
    ];
    for (expect, change) in cases {
        let mut world = World::new(Version::V3);
        change(&mut world);
        world.told();
        world.step(Input::Give(Box::new(job(8, Verb::Insert))));
        assert_eq!(world.told(), [expect]);
        assert!(!world.sent_kinds().contains(&Topic::Order));
    }
    // The mass that it can carry, exactly.
    let mut world = World::new(Version::V3);
    world.factsheet(142.4, &["insertServer"]);
    world.step(Input::Give(Box::new(job(8, Verb::Insert))));
    assert_eq!(world.told(), Vec::<String>::new());
    assert!(world.sent_kinds().contains(&Topic::Order));
}

#[test]
fn an_unanswered_order_is_sent_again_as_it_was_and_then_handed_over() {
    let mut world = given(Version::V3);
    let first = world.order();
    for _ in 0..2 {
        world.wait(9_999);
        let sent = world.sent.len();
        world.wait(1);
        assert_eq!(world.sent.len(), sent + 1);
        let again = world.order();
        assert_eq!((&again.order_id, again.order_update_id), (&first.order_id, first.order_update_id));
        assert_eq!((&again.nodes, &again.edges), (&first.nodes, &first.edges));
        assert!(again.header.header_id > first.header.header_id);
    }
    assert_eq!(world.told(), Vec::<String>::new());
    world.wait(10_000);
    assert_eq!(world.told(), ["7 lost order_unanswered"]);
    assert_eq!(world.instant().0, "cancelOrder");
}

#[test]
fn a_long_route_is_released_piece_by_piece() {
    for version in BOTH {
        let mut world = World::new(version);
        let route = (0..30).map(|n| format!("n{n}")).collect();
        world.step(Input::Give(Box::new(vda5050::Job { route, ..job(7, Verb::Insert) })));
        let whole = world.order();
        assert_eq!(whole.nodes.len(), 31);
        let base = whole.nodes.iter().filter(|it| it.released).count();
        let mut state = world.at(0, ActionStatus::Waiting);
        state.last_node_sequence_id = whole.nodes[base - 2].sequence_id;
        state.last_node_id = whole.nodes[base - 2].node_id.clone();
        world.state(state);
        let update = world.order();
        assert_eq!(update.order_update_id, 1);
        // It begins with the last base node, and nothing older.
        assert_eq!(update.nodes[0].sequence_id, whole.nodes[base - 1].sequence_id);
        assert!(update.nodes[0].released && update.nodes[1].released);
        assert_eq!(update.nodes.last(), whole.nodes.last());
    }
}

/// A robot is where nobody let it: what it says there counts for nothing, and lets it no further.
#[test]
fn a_robot_at_a_node_that_was_not_released_is_not_believed() {
    for version in BOTH {
        let mut world = World::new(version);
        let route = (0..30).map(|n| format!("n{n}")).collect();
        world.step(Input::Give(Box::new(vda5050::Job { route, ..job(7, Verb::Insert) })));
        let whole = world.order();
        let base = whole.nodes.iter().filter(|it| it.released).count();
        let at = |world: &mut World, place: usize| {
            let mut state = world.at(0, ActionStatus::Waiting);
            state.last_node_sequence_id = whole.nodes[place].sequence_id;
            state.last_node_id = whole.nodes[place].node_id.clone();
            let before = world.sent.len();
            world.state(state);
            (world.told(), world.sent_kinds().split_off(before))
        };
        assert_eq!(at(&mut world, base), (vec!["finding impossible_state".to_owned()], Vec::new()));
        // At the last one that was released, it is let on.
        let (told, sent) = at(&mut world, base - 1);
        assert_eq!((told, sent), (vec!["7 started".to_owned()], vec![Topic::Order]));
    }
}

#[test]
fn another_order_is_a_finding_and_never_progress() {
    let mut world = begun(Version::V3);
    let mut other = world.at(2, ActionStatus::Finished);
    other.order_id = "somebody-elses".to_owned();
    world.state(other);
    assert_eq!(world.told(), ["finding other_order"]);
    world.wait(29_999);
    assert_eq!(world.told(), Vec::<String>::new());
    world.wait(1);
    assert_eq!(world.told(), ["7 lost other_order"]);
}

#[test]
fn what_cannot_be_true_changes_nothing() {
    type Change = fn(&mut vda5050::message::state::State);
    let cases: [(&str, Change); 8] = [
        ("an action that was never sent", |state| {
            let mut action = state.action_states[0].clone();
            action.action_id = "never".to_owned();
            state.action_states.push(action);
        }),
        ("back", |state| {
            state.last_node_sequence_id = 0;
            state.last_node_id = "home".to_owned();
        }),
        ("beyond the end", |state| state.last_node_sequence_id = 6),
        ("on an edge", |state| state.last_node_sequence_id = 3),
        ("another node there", |state| state.last_node_id = "elsewhere".to_owned()),
        ("a node that is not in the order", |state| {
            let node = vda5050::message::state::NodeState { node_id: "x".to_owned(), sequence_id: 4, released: true };
            state.node_states.push(node);
        }),
        ("an update that was never sent", |state| state.order_update_id = 1),
        ("finished before its node", |state| {
            state.last_node_sequence_id = 2;
            state.last_node_id = "aisle".to_owned();
        }),
    ];
    for (name, change) in cases {
        let mut world = begun(Version::V3);
        let state = world.at(1, ActionStatus::Waiting);
        world.state(state);
        let before = world.session.view();
        let mut state = world.at(2, ActionStatus::Finished);
        change(&mut state);
        world.state(state);
        assert_eq!(world.told(), ["finding impossible_state"], "{name}");
        assert_eq!(world.session.view().busy, before.busy);
        // And the truth afterwards counts.
        let state = world.at(2, ActionStatus::Finished);
        world.state(state);
        assert_eq!(world.told(), ["7 done "], "{name}");
    }
}

#[test]
fn a_finished_action_does_not_run_again() {
    let mut world = World::new(Version::V3);
    world.step(Input::Give(Box::new(job(7, Verb::Receive))));
    let mut state = world.at(2, ActionStatus::Waiting);
    state.action_states[0].action_status = ActionStatus::Finished;
    world.state(state);
    assert_eq!(world.told(), ["7 started", "7 running 1/3"]);
    let state = world.at(2, ActionStatus::Running);
    world.state(state);
    assert_eq!(world.told(), ["finding impossible_state"]);
}

#[test]
fn old_header_ids_are_not_believed_unless_the_robot_began_anew() {
    let mut world = begun(Version::V3);
    // A replay: an older number, an older time.
    let mut old = world.at(2, ActionStatus::Finished);
    old.header.header_id = 1;
    old.header.timestamp = vda5050::stamp::write(super::robot::START);
    world.now.0 += 1_000;
    world.state(old.clone());
    assert_eq!(world.told(), ["finding stale_header"]);
    // An older number with a new time, but no ONLINE before.
    world.now.0 += 60_000;
    old.header.timestamp = vda5050::stamp::write(world.now);
    world.state(old.clone());
    assert_eq!(world.told(), ["finding stale_header"]);
    // It came online: its counters begin anew, once.
    world.next.clear();
    world.connection(ConnectionState::Online);
    world.now.0 += 60_000;
    let state = world.at(2, ActionStatus::Finished);
    assert!(state.header.header_id < 3);
    world.state(state);
    assert_eq!(world.told(), ["7 done "]);
    let state = world.idle();
    world.state(state);
    assert_eq!(world.told(), Vec::<String>::new());
    // And its own old states from before that are old still.
    old.header.header_id = 1;
    world.state(old);
    assert_eq!(world.told(), ["finding stale_header"]);
}

#[test]
fn a_retained_message_that_comes_again_is_nobodys_fault() {
    let mut world = World::new(Version::V3);
    let header = world.header(Topic::Connection);
    let message =
        Message::Connection(vda5050::message::state::Connection { header, connection_state: ConnectionState::Online });
    let json = write(Version::V3, &message, 0).unwrap();
    world.say_json(Topic::Connection, &json, false);
    world.say_json(Topic::Connection, &json, true);
    assert_eq!(world.told(), Vec::<String>::new());
    world.say_json(Topic::Connection, &json, false);
    assert_eq!(world.told(), ["finding stale_header"]);
}

#[test]
fn a_robot_that_dies_is_known_by_its_will_and_its_task_handed_over() {
    for version in BOTH {
        let mut world = begun(version);
        let mut will = world.header(Topic::Connection);
        will.header_id = 0;
        will.timestamp = vda5050::stamp::write(types::UnixMillis(0));
        world.say(&Message::Connection(vda5050::message::state::Connection {
            header: will,
            connection_state: ConnectionState::ConnectionBroken,
        }));
        assert_eq!(world.told(), ["finding connection_broken"]);
        assert_eq!(world.presence(), Presence::Broken);
        world.wait(14_999);
        assert_eq!(world.told(), Vec::<String>::new());
        world.wait(1);
        assert_eq!(world.told(), ["7 lost connection_broken"]);
        // It comes back and goes on with it: cancelled, and its end is nobody's progress.
        world.connection(ConnectionState::Online);
        let state = world.at(1, ActionStatus::Waiting);
        world.state(state);
        assert_eq!(world.told(), ["finding order_after_handover"]);
        assert_eq!(world.instant().0, "cancelOrder");
        let state = world.at(2, ActionStatus::Finished);
        world.state(state);
        assert_eq!(world.told(), Vec::<String>::new());
        assert!(world.session.view().free());
    }
}

#[test]
fn a_robot_that_comes_back_in_time_goes_on() {
    let mut world = begun(Version::V3);
    world.connection(ConnectionState::ConnectionBroken);
    world.wait(5_000);
    world.connection(ConnectionState::Online);
    world.wait(20_000);
    let state = world.at(2, ActionStatus::Finished);
    world.state(state);
    assert_eq!(world.told(), ["finding connection_broken", "7 done "]);
}

#[test]
fn silence_is_found_and_then_the_task_handed_over() {
    let mut world = begun(Version::V3);
    world.wait(69_999);
    assert_eq!(world.told(), Vec::<String>::new());
    world.wait(1);
    assert_eq!(world.told(), ["finding silent"]);
    world.wait(29_999);
    assert_eq!(world.told(), Vec::<String>::new());
    world.wait(1);
    assert_eq!(world.told(), ["7 lost silent"]);
}

#[test]
fn silence_of_our_own_link_is_not_the_robots() {
    let mut world = begun(Version::V3);
    world.now.0 += 3_600_000;
    world.step(Input::Linked);
    world.wait(69_999);
    assert_eq!(world.told(), Vec::<String>::new());
}

#[test]
fn going_offline_hands_over_at_once() {
    let mut world = begun(Version::V3);
    world.connection(ConnectionState::Offline);
    assert_eq!(world.told(), ["7 lost offline"]);
}

#[test]
fn a_cancelled_task_ends_when_the_robot_says_so() {
    for version in BOTH {
        let mut world = begun(version);
        world.step(Input::Cancel { task: TaskId(8) });
        world.step(Input::Cancel { task: TaskId(7) });
        world.step(Input::Cancel { task: TaskId(7) });
        assert_eq!(world.instant().0, "cancelOrder");
        assert_eq!(world.sent_kinds().iter().filter(|it| **it == Topic::InstantActions).count(), 1);
        let mut state = world.at(1, ActionStatus::Failed);
        state.instant_action_states.push(world.instant_state(ActionStatus::Running));
        world.state(state);
        assert_eq!(world.told(), Vec::<String>::new());
        let mut state = world.at(1, ActionStatus::Failed);
        state.instant_action_states.push(world.instant_state(ActionStatus::Finished));
        world.state(state);
        assert_eq!(world.told(), ["7 cancelled"]);
    }
}

#[test]
fn a_robot_that_was_faster_than_the_cancellation_is_done() {
    let mut world = begun(Version::V3);
    world.step(Input::Cancel { task: TaskId(7) });
    let mut state = world.at(2, ActionStatus::Finished);
    state.instant_action_states.push(world.instant_state(ActionStatus::Failed));
    world.state(state);
    assert_eq!(world.told(), ["7 done "]);
}

#[test]
fn a_cancellation_that_nobody_answers_is_repeated_and_then_handed_over() {
    let mut world = begun(Version::V3);
    world.step(Input::Cancel { task: TaskId(7) });
    let first = world.instant().1;
    for _ in 0..2 {
        world.wait(10_000);
        assert_eq!(world.instant().1, first);
    }
    assert_eq!(world.sent_kinds().iter().filter(|it| **it == Topic::InstantActions).count(), 3);
    world.wait(10_000);
    assert_eq!(world.told(), ["finding instant_unanswered", "7 lost cancel_unanswered"]);
}

#[test]
fn a_retriable_action_is_begun_anew_so_often_and_then_given_up() {
    let mut world = begun(Version::V3);
    for times in 1..=3 {
        let state = world.at(2, ActionStatus::Retriable);
        let id = state.action_states[0].action_id.clone();
        world.state(state.clone());
        let (kind, _, about) = world.instant();
        assert_eq!(about, Some(id));
        if times < 3 {
            assert_eq!((kind.as_str(), world.told()), ("retry", vec![format!("7 retrying insertServer {times}")]));
        } else {
            assert_eq!((kind.as_str(), world.told()), ("skipRetry", Vec::new()));
        }
        // The same state again asks for nothing more.
        let sent = world.sent.len();
        let mut again = state;
        again.header = world.header(Topic::State);
        world.state(again);
        assert_eq!(world.sent.len(), sent);
        // The robot took the instant action.
        let mut state = world.at(2, ActionStatus::Running);
        state.instant_action_states.push(world.instant_state(ActionStatus::Finished));
        world.state(state);
        world.told();
    }
    let state = world.at(2, ActionStatus::Failed);
    world.state(state);
    assert_eq!(world.told(), ["7 failed action_failed"]);
    assert_eq!(world.instant().0, "cancelOrder");
}

#[test]
fn a_pause_is_an_instant_action() {
    let mut world = begun(Version::V3);
    world.step(Input::Pause(true));
    assert_eq!(world.instant().0, "startPause");
    world.step(Input::Pause(false));
    assert_eq!(world.instant().0, "stopPause");
}

#[test]
fn a_controller_without_its_sessions_adopts_the_order_that_it_gives_again() {
    let mut before = begun(Version::V3);
    let state = before.at(1, ActionStatus::Waiting);
    let mut world = World::new(Version::V3);
    world.sent = before.sent.clone();
    world.next = before.next.clone();
    world.state(state);
    assert_eq!(world.told(), ["finding other_order"]);
    let orders = |world: &World| world.sent.iter().filter(|(topic, _)| *topic == Topic::Order).count();
    let sent = orders(&world);
    world.step(Input::Give(Box::new(job(7, Verb::Insert))));
    assert_eq!(orders(&world), sent);
    let state = before.at(2, ActionStatus::Finished);
    before.next = world.next.clone();
    let mut state = state;
    state.header = world.header(Topic::State);
    world.state(state);
    assert!(world.told().contains(&"7 done ".to_owned()));
}

/// The session was kept before the robot ended one task and was given the next: what it shows to have is adopted.
#[test]
fn a_session_that_is_too_old_adopts_the_newer_order() {
    let old = begun(Version::V3);
    let mut newer = begun(Version::V3);
    let state = newer.at(2, ActionStatus::Finished);
    newer.state(state);
    newer.step(Input::Give(Box::new(job(8, Verb::Insert))));
    let mut world = World { session: old.session.clone(), ..newer };
    world.told();
    let state = world.at(0, ActionStatus::Waiting);
    world.state(state);
    world.told();
    let orders = |world: &World| world.sent.iter().filter(|(topic, _)| *topic == Topic::Order).count();
    let sent = orders(&world);
    world.step(Input::Give(Box::new(job(8, Verb::Insert))));
    assert_eq!(orders(&world), sent, "it has it, and nothing is sent");
    // What stood in the session is somebody's no more; its end was told before it was forgotten, or is told now.
    assert_eq!(world.told(), ["7 lost other_order"]);
    let state = world.at(2, ActionStatus::Finished);
    world.state(state);
    assert!(world.told().contains(&"8 done ".to_owned()));
}

#[test]
fn messages_that_are_none_are_findings() {
    let cases: [(&str, Topic, String); 6] = [
        ("finding message_invalid", Topic::State, "no json".to_owned()),
        ("finding message_invalid", Topic::State, "{}".to_owned()),
        ("finding message_invalid", Topic::State, "[".repeat(100_000)),
        ("finding message_invalid", Topic::State, format!("\"{}\"", "x".repeat(600_000))),
        ("finding wrong_sender", Topic::Connection, connection("other", "3.0.0", "ONLINE")),
        ("finding version_differs", Topic::Connection, connection("r1", "2.1.0", "ONLINE")),
    ];
    for (expect, topic, json) in cases {
        let mut world = begun(Version::V3);
        world.say_json(topic, &json, false);
        assert_eq!(world.told(), [expect], "{}", &json[..json.len().min(80)]);
    }
    let mut world = begun(Version::V3);
    world.say_json(Topic::Connection, &connection("r1", "3.0.0", "ASLEEP"), false);
    assert_eq!(world.told(), ["finding unknown_word"]);
    assert_eq!(world.presence(), Presence::Online);
}

fn connection(serial: &str, version: &str, state: &str) -> String {
    let at = vda5050::stamp::write(super::robot::START);
    format!(
        r#"{{"headerId":900,"timestamp":"{at}","version":"{version}","manufacturer":"acme","serialNumber":"{serial}","connectionState":"{state}","more":1}}"#
    )
}

#[test]
fn a_clock_that_is_a_day_off_is_a_finding_and_the_message_counts() {
    let mut world = begun(Version::V3);
    let mut state = world.at(2, ActionStatus::Finished);
    state.header.timestamp = vda5050::stamp::write(types::UnixMillis(world.now.0 - 86_400_000));
    world.state(state);
    assert_eq!(world.told(), ["finding clock", "7 done "]);
}

#[test]
fn a_zone_is_granted_to_the_robot_whose_task_is_there() {
    let mut world = begun(Version::V3);
    let mut state = world.at(1, ActionStatus::Waiting);
    for (request, zone) in [("q1", "h1/r2/k3"), ("q2", "elsewhere")] {
        state.zone_requests.push(vda5050::message::state::ZoneRequest {
            request_id: request.to_owned(),
            request_type: "ACCESS".to_owned(),
            zone_id: zone.to_owned(),
            zone_set_id: "s".to_owned(),
            request_status: vda5050::message::words::RequestStatus::Requested,
        });
    }
    world.state(state);
    let (topic, json) = world.sent.last().unwrap();
    assert_eq!(*topic, Topic::Responses);
    // Compared as values: the order of members is whichever features the build has.
    let sent: serde_json::Value = serde_json::from_str(json).unwrap();
    let granted = serde_json::json!([{ "requestId": "q1", "grantType": "GRANTED" },
        { "requestId": "q2", "grantType": "REJECTED" }]);
    assert_eq!(sent["responses"], granted, "{json}");
}
