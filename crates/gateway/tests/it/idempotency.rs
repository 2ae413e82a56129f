//! What makes a repeat the same request, and who may have its answer.

use crate::world::*;
use serde_json::json;
use twin::engine::{Behaviour, ScriptedEngine};
use types::snapshot::{Project, Rule};
use types::{DataClass, KeyId, ProjectId, RuleId};

const SIBLING: KeyId = KeyId(23);

/// A second project of the first tenant, with a key and a higher class.
fn sibling(snapshot: &mut types::Snapshot) {
    let project = Project { id: ProjectId(13), class: DataClass::Confidential, ..snapshot.projects[0].clone() };
    let key = types::snapshot::Key { id: SIBLING, project: project.id, ..snapshot.keys[0].clone() };
    snapshot.projects.push(project);
    snapshot.keys.push(key);
}

async fn ask(world: &World, key: KeyId, class: &str) -> Reply {
    let auth = bearer(key);
    let headers = [("authorization", auth.as_str()), ("idempotency-key", "job"), ("hoheit-data-class", class)];
    world.post_with("/v1/chat/completions", &headers, chat(json!({})).to_string()).await
}

fn replayed(reply: &Reply) -> bool {
    reply.headers.contains_key("idempotent-replayed")
}

#[tokio::test]
async fn another_project_has_another_request_under_the_same_key() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").edit(sibling).start().await;
    let first = ask(&world, KEY, "internal").await;
    let other = ask(&world, SIBLING, "internal").await;
    assert_eq!((first.status, other.status), (200, 200));
    assert!(!replayed(&other), "a project's answer was given to another project");
    assert_ne!(first.receipt(), other.receipt());
    for (key, own) in [(KEY, &first), (SIBLING, &other)] {
        let again = ask(&world, key, "internal").await;
        assert!(replayed(&again));
        assert_eq!(again.receipt(), own.receipt());
    }
    // What its project's class is already, the header does not change.
    assert!(replayed(&ask(&world, SIBLING, "confidential").await));
    assert_eq!(engine.requests().len(), 2);
    world.receipts().await;
}

#[tokio::test]
async fn another_class_is_another_request() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let world = Setup::new().engine(&engine.url(), "DE").start().await;
    assert_eq!(ask(&world, KEY, "internal").await.status, 200);
    let raised = ask(&world, KEY, "confidential").await;
    assert_eq!((raised.status, raised.code().as_str()), (422, "idempotency_mismatch"));
    // A lower one changes nothing.
    assert!(replayed(&ask(&world, KEY, "public").await));
    world.receipts().await;
}

#[tokio::test]
async fn what_policy_refuses_today_is_not_answered_from_yesterday() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let setup = Setup::new().engine(&engine.url(), "DE");
    let mut next = setup.snapshot.clone();
    let world = setup.start().await;
    assert_eq!(ask(&world, KEY, "internal").await.status, 200);
    assert!(replayed(&ask(&world, KEY, "internal").await));
    next.version += 1;
    next.rules.push(Rule {
        id: RuleId(7),
        tenant: Some(TENANT),
        name: "closed".to_owned(),
        text: "forbid (principal, action, resource);".to_owned(),
    });
    world.gateway.publish(&signed(next, gateway::Clock::now(&gateway::SystemClock::start()))).unwrap();
    let refused = ask(&world, KEY, "internal").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "policy_refused"));
    let receipts = world.receipts().await;
    assert_eq!(receipts.len(), 2);
    assert!(!receipts[1].policy.permit);
}
