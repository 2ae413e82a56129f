//! People: each has a token and works an order until nothing is left in it for people; then the next. Where two must stand,
//! another one comes by and confirms as well. What robots can do is left to them, if there are robots.

use super::api::PAGE;
use super::iron::Iron;
use super::{ServeError, World};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// How soon somebody looks again for work when nothing was to be done.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// After a site that did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One person.
#[derive(Debug, Clone)]
pub struct Person {
    /// As orders name them: `person:tok_…`.
    pub name: String,
    pub token: String,
}

/// A task as the control API shows it.
#[derive(Debug, Clone, Deserialize)]
struct Task {
    id: String,
    order: String,
    slot: String,
    verb: String,
    subject: String,
    state: String,
    assignee: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Order {
    state: String,
    tasks: Vec<Task>,
}

#[derive(Debug, Deserialize)]
struct Tasks {
    data: Vec<Task>,
}

/// Racks in which somebody is about to work, or works.
type Claims = Arc<Mutex<BTreeSet<String>>>;

/// Makes the tokens of so many people.
pub async fn hire(world: &World, count: usize) -> Result<Vec<Person>, ServeError> {
    let mut people = Vec::with_capacity(count);
    for number in 1..=count {
        let new = json!({ "name": format!("twin person {number}"), "role": "installer" });
        let path = "/api/v1/tokens";
        let made = world.api.value(&world.token, Method::POST, path, Some(&new)).await?;
        let text = |field: &str| made[field].as_str().unwrap_or_default().to_owned();
        people.push(Person { name: format!("person:{}", text("id")), token: text("token") });
    }
    Ok(people)
}

/// All of them at work until the twin stops; then what was begun is ended.
pub async fn work(world: Arc<World>, people: Vec<Person>) {
    let claims = Claims::default();
    // Two orders wait for each person, so that nobody waits for the list.
    let (tell, told) = mpsc::channel(people.len().max(1) * 2);
    let told = Arc::new(tokio::sync::Mutex::new(told));
    let mut at_work = tokio::task::JoinSet::new();
    for at in 0..people.len() {
        let (me, other) = (people[at].clone(), people[(at + 1) % people.len()].clone());
        let (world, told, claims) = (world.clone(), told.clone(), claims.clone());
        at_work.spawn(async move {
            loop {
                let next = told.lock().await.recv().await;
                let Some(task) = next else { return };
                let rack = rack(&task).to_owned();
                if let Err(error) = order(&world, [&me, &other], task).await {
                    world.complain(&error);
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                claims.lock().unwrap_or_else(PoisonError::into_inner).remove(&rack);
            }
        });
    }
    while !world.is_stopping() {
        match look(&world, &people[0], &claims, &tell).await {
            Ok(0) => tokio::time::sleep(LOOK_AGAIN).await,
            Ok(_) => {}
            Err(error) => {
                world.complain(&error);
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
    drop(tell);
    while at_work.join_next().await.is_some() {}
}

fn rack(task: &Task) -> &str {
    task.slot.rsplit_once('/').map_or(task.slot.as_str(), |(rack, _)| rack)
}

/// Lists what can be done and hands it out, one order for each rack; how many were handed out.
async fn look(world: &World, person: &Person, claims: &Claims, tell: &mpsc::Sender<Task>) -> Result<usize, ServeError> {
    let mut given = 0;
    let mut after = String::new();
    loop {
        let path = format!("/api/v1/tasks?limit={PAGE}{after}");
        let reply = world.api.ask(&person.token, Method::GET, &path, None).await?;
        if !reply.status.is_success() {
            let detail = String::from_utf8_lossy(&reply.body).into_owned();
            return Err(ServeError::Refused { path, status: reply.status.as_u16(), detail });
        }
        let page: Tasks = reply.read(&path)?;
        let (count, last) = (page.data.len(), page.data.last().map(|task| task.id.clone()));
        for task in page.data {
            if world.iron(&task.slot).is_none() || !is_for_people(&task, world.has_robots) {
                continue;
            }
            if !claims.lock().unwrap_or_else(PoisonError::into_inner).insert(rack(&task).to_owned()) {
                continue;
            }
            given += 1;
            if world.is_stopping() || tell.send(task).await.is_err() {
                return Ok(given);
            }
        }
        match last.filter(|_| count == PAGE) {
            Some(last) => after = format!("&after={last}"),
            None => return Ok(given),
        }
    }
}

/// What no robot of the twin does is people's, and so is every hold point.
fn is_for_people(task: &Task, robots: bool) -> bool {
    let by_hand = matches!(task.verb.as_str(), "receive" | "power_on" | "swap" | "extract");
    let a_robot_s = task.assignee.as_deref().is_some_and(|who| who.starts_with("robot:"));
    match task.state.as_str() {
        "held" => true,
        "ready" => by_hand || !robots,
        "assigned" | "running" => !a_robot_s,
        _ => false,
    }
}

/// Works an order on from this task.
async fn order(world: &World, [me, other]: [&Person; 2], mut task: Task) -> Result<(), ServeError> {
    let Some(iron) = world.iron(&task.slot) else { return Ok(()) };
    loop {
        // What was begun is ended; nothing new is begun once the twin stops.
        if !is_for_people(&task, world.has_robots) || (world.is_stopping() && task.state != "running") {
            return Ok(());
        }
        let order = match task.state.as_str() {
            "held" => match deed(world, me, &task, &json!({ "do": "confirm" })).await? {
                Some(_) => deed(world, other, &task, &json!({ "do": "confirm" })).await?,
                None => None,
            },
            "ready" => deed(world, me, &task, &json!({ "do": "start" })).await?,
            // Somebody who left before beginning it.
            "assigned" => match deed(world, me, &task, &json!({ "do": "take" })).await? {
                Some(_) => deed(world, me, &task, &json!({ "do": "start" })).await?,
                None => None,
            },
            "running" if task.assignee.as_ref() == Some(&me.name) => {
                let evidence = evidence(&task, iron);
                deed(world, me, &task, &json!({ "do": "done", "evidence": evidence })).await?
            }
            _ => return Ok(()),
        };
        // Somebody was faster, or works in this zone: whoever comes by next looks again.
        let Some(order) = order else { return Ok(()) };
        if world.orders.lock().unwrap_or_else(PoisonError::into_inner).insert(task.order.clone()) {
            world.tally.orders.fetch_add(1, Ordering::Relaxed);
        }
        if order.state != "open" {
            return Ok(());
        }
        match order.tasks.into_iter().find(|task| !matches!(task.state.as_str(), "done" | "skipped")) {
            Some(next) => task = next,
            None => return Ok(()),
        }
    }
}

/// One deed, with what became of its order; none if the site refused it for now.
async fn deed(world: &World, who: &Person, task: &Task, body: &Value) -> Result<Option<Order>, ServeError> {
    let path = format!("/api/v1/tasks/{}", task.id);
    let reply = world.api.ask(&who.token, Method::POST, &path, Some(body)).await?;
    world.tally.deeds.fetch_add(1, Ordering::Relaxed);
    match reply.status {
        StatusCode::OK => reply.read(&path).map(Some),
        StatusCode::CONFLICT => {
            world.tally.conflicts.fetch_add(1, Ordering::Relaxed);
            Ok(None)
        }
        status => {
            let detail = String::from_utf8_lossy(&reply.body).into_owned();
            Err(ServeError::Refused { path, status: status.as_u16(), detail })
        }
    }
}

/// What a person who did it right shows.
fn evidence(task: &Task, iron: &Iron) -> Value {
    match task.verb.as_str() {
        "scan" => json!([{ "kind": "scan", "value": iron.serial }]),
        "swap" => {
            let serial = iron.exchange(&task.subject);
            super::faults::exchanged(iron, &task.subject);
            json!([{ "kind": "scan", "value": serial }])
        }
        "photograph" => {
            // Whoever looks at a machine that is in repair reseats what is loose.
            super::faults::inspected(iron);
            // There is no picture: the digest of nothing.
            let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
            json!([{ "kind": "photo", "value": "twin.jpg", "sha256": sha256 }])
        }
        "torque" => json!([{ "kind": "torque", "value": "5.0" }]),
        "cable" => json!([{ "kind": "label", "value": task.subject.split(' ').next() }]),
        _ => json!([]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(verb: &str, state: &str, assignee: Option<&str>) -> Task {
        Task {
            id: "tsk_1".to_owned(),
            order: "ord_1".to_owned(),
            slot: "h1/r01/k01/u01".to_owned(),
            verb: verb.to_owned(),
            subject: "cab-7 h1/r01/k01/u01:hca1 leaf-1:3".to_owned(),
            state: state.to_owned(),
            assignee: assignee.map(str::to_owned),
        }
    }

    #[test]
    fn robots_keep_what_they_can_do() {
        let check = |verb: &str, state: &str, assignee: Option<&str>, robots: bool, expect: bool| {
            assert_eq!(is_for_people(&task(verb, state, assignee), robots), expect, "{verb} {state} {robots}");
        };
        check("cable", "ready", None, false, true);
        check("cable", "ready", None, true, false);
        check("power_on", "ready", None, true, true);
        check("lift", "held", None, true, true);
        check("lift", "running", Some("robot:twin/r1"), true, false);
        check("scan", "running", Some("person:tok_1"), true, true);
        check("scan", "failed", None, false, false);
        check("scan", "waiting", None, false, false);
    }

    #[test]
    fn what_is_shown_fits_the_task() {
        let site = fleet::site::read(crate::factory::site_named("small").unwrap(), None).site.unwrap();
        let iron = Iron::new(&site.machines()[0], 0, &mut Default::default());
        let check = |verb: &str, expect: Value| assert_eq!(evidence(&task(verb, "running", None), &iron), expect);
        check("scan", json!([{ "kind": "scan", "value": "1663522000017" }]));
        check("cable", json!([{ "kind": "label", "value": "cab-7" }]));
        check("torque", json!([{ "kind": "torque", "value": "5.0" }]));
        check("lift", json!([]));
    }
}
