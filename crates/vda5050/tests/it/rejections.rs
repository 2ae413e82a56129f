//! How robots reject orders, in both versions' words.

use super::robot::{World, job};
use fleet::order::Verb;
use vda5050::Version;
use vda5050::message::state::{Error, Reference};
use vda5050::message::words::{ActionStatus, ErrorLevel};
use vda5050::session::Input;

fn error(kind: &str, order: Option<&str>) -> Error {
    let reference = |it: &str| Reference { reference_key: "orderId".to_owned(), reference_value: it.to_owned() };
    Error {
        error_type: kind.to_owned(),
        error_references: order.map(reference).into_iter().collect(),
        error_description: None,
        error_level: ErrorLevel::Warning,
    }
}

fn rejected(version: Version, kind: &str, order: Option<&str>) -> Vec<String> {
    let mut world = World::new(version);
    world.step(Input::Give(Box::new(job(7, Verb::Insert))));
    let ours = world.order().order_id;
    let mut state = world.idle();
    state.errors.push(error(kind, order.map(|it| if it == "ours" { ours.as_str() } else { it })));
    world.state(state);
    world.told()
}

#[test]
fn rejections_end_the_task_before_it_began() {
    let check = |version, kind: &str, order, expect: &[&str]| {
        assert_eq!(rejected(version, kind, order), expect, "{kind} {order:?}");
    };
    for kind in [
        "VALIDATION_FAILURE",
        "INVALID_ORDER_ACTION",
        "OTHER_ORDER_ACTIVE",
        "START_NODE_OUT_OF_RANGE",
        "NO_ROUTE_TO_TARGET",
        "MOBILE_ROBOT_NOT_AVAILABLE",
        "UNKNOWN_MAP_ID",
        "OUTDATED_ORDER_UPDATE",
        "ORDER_UPDATE_FOLLOWING_CANCEL",
    ] {
        check(Version::V3, kind, Some("ours"), &[&format!("7 refused {kind}")]);
        check(Version::V3, kind, None, &[&format!("7 refused {kind}")]);
        check(Version::V3, kind, Some("another"), &[]);
    }
    // It has the order already: no rejection.
    check(Version::V3, "SAME_ORDER_UPDATE_ID", Some("ours"), &[]);
    check(Version::V3, "LOCALIZATION_ERROR", None, &[]);
    check(Version::V2, "validationError", Some("ours"), &["7 refused VALIDATION_FAILURE"]);
    check(Version::V2, "orderError", Some("ours"), &["7 refused VALIDATION_FAILURE"]);
    check(Version::V2, "noRouteError", None, &["7 refused NO_ROUTE_TO_TARGET"]);
}

#[test]
fn a_rejection_that_stood_there_before_is_not_about_this_order() {
    let mut world = World::new(Version::V3);
    let mut state = world.idle();
    state.errors.push(error("VALIDATION_FAILURE", None));
    world.state(state);
    world.step(Input::Give(Box::new(job(7, Verb::Insert))));
    let mut state = world.at(0, ActionStatus::Waiting);
    state.errors.push(error("VALIDATION_FAILURE", None));
    world.state(state);
    assert_eq!(world.told(), ["7 started"]);
}
