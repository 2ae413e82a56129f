//! Any messages, commands and times in any order: no panic, no progress for a task that was not given, one end per task.

use super::robot::{World, id, job};
use fleet::order::Verb;
use proptest::prelude::*;
use std::collections::BTreeMap;
use types::TaskId;
use vda5050::message::words::{ActionStatus, ConnectionState};
use vda5050::session::{Input, Report};
use vda5050::{Topic, Version};

#[derive(Debug, Clone)]
enum Move {
    Give(u128),
    Cancel(u128),
    Pause(bool),
    Wait(i64),
    Linked,
    Connection(ConnectionState),
    /// Of the newest order: place, status, order's id kept, header id moved by this much.
    State {
        place: usize,
        status: ActionStatus,
        ours: bool,
        back: u32,
        sequence: Option<u32>,
        update: u32,
    },
    Idle,
    Bytes(Topic, Vec<u8>),
}

fn moves() -> impl Strategy<Value = Move> {
    let status = proptest::sample::select(ActionStatus::ALL.to_vec());
    let state =
        (0usize..3, status, any::<bool>(), 0u32..3, proptest::option::weighted(0.1, 0u32..9), 0u32..2).prop_map(
            |(place, status, ours, back, sequence, update)| Move::State { place, status, ours, back, sequence, update },
        );
    prop_oneof![
        3 => (1u128..4).prop_map(Move::Give),
        1 => (1u128..4).prop_map(Move::Cancel),
        1 => any::<bool>().prop_map(Move::Pause),
        3 => (0i64..40_000).prop_map(Move::Wait),
        1 => Just(Move::Linked),
        3 => proptest::sample::select(ConnectionState::ALL.to_vec()).prop_map(Move::Connection),
        8 => state,
        2 => Just(Move::Idle),
        1 => (proptest::sample::select(Topic::ALL.to_vec()), proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(topic, bytes)| Move::Bytes(topic, bytes)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_believed_that_was_not_given(version in prop_oneof![Just(Version::V2), Just(Version::V3)],
        moves in proptest::collection::vec(moves(), 0..60)) {
        let mut world = World::new(version);
        // (task, attempt) to whether it ended; an attempt is given again only after it ended, as a new attempt.
        let mut open: BTreeMap<u128, bool> = BTreeMap::new();
        for it in moves {
            world.now.0 += 10;
            match it {
                Move::Give(task) => {
                    open.insert(task, false);
                    world.step(Input::Give(Box::new(job(task, Verb::Insert))));
                }
                Move::Cancel(task) => world.step(Input::Cancel { task: TaskId(task) }),
                Move::Pause(pause) => world.step(Input::Pause(pause)),
                Move::Wait(ms) => world.wait(ms),
                Move::Linked => world.step(Input::Linked),
                Move::Connection(state) => world.connection(state),
                Move::Idle => {
                    let state = world.idle();
                    world.state(state);
                }
                Move::Bytes(topic, bytes) => {
                    world.step(Input::Message { version, topic, bytes: &bytes, retained: false });
                }
                Move::State { place, status, ours, back, sequence, update } => {
                    if !world.sent_kinds().contains(&Topic::Order) {
                        continue;
                    }
                    let mut state = world.at(place, status);
                    state.header.header_id = state.header.header_id.saturating_sub(back * 5);
                    state.order_update_id += update;
                    if let Some(sequence) = sequence {
                        state.last_node_sequence_id = sequence;
                    }
                    if !ours {
                        state.order_id = "somebody-elses".to_owned();
                    }
                    world.state(state);
                }
            }
            for report in std::mem::take(&mut world.reports) {
                if let Report::Task { robot, task, progress, .. } = report {
                    prop_assert_eq!(robot, id());
                    let ended = open.get_mut(&task.0);
                    prop_assert!(ended.is_some(), "progress of a task that was never given");
                    let ended = ended.unwrap();
                    prop_assert!(!*ended, "{:?} after the end", progress);
                    *ended = progress.ended();
                }
            }
        }
    }
}
