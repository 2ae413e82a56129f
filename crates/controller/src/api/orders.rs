//! Orders and their tasks, for people: `hoheit order`, `hoheit task`. A robot's words come in over MQTT and go through the
//! same rules.

use super::{Answer, List};
use crate::access::{Allowed, OrderRead, OrderUpdate, TaskRead, TaskUpdate};
use crate::input::{self, Body, Id, Query};
use crate::reconcile::orders::{TaskError, apply};
use crate::{Controller, Problem};
use axum::Json;
use axum::extract::State;
use fleet::order::{Assignee, Event, Evidence, Order, OrderState, Task, TaskState};
use serde::{Deserialize, Serialize};
use store::OrderRow;
use types::{MachineId, OrderId, TaskId, UnixMillis};
use utoipa::ToSchema;

/// An order with its tasks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Order)]
pub struct OrderBody {
    #[schema(value_type = String, example = "ord_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: OrderId,
    #[schema(value_type = String)]
    pub machine: MachineId,
    pub slot: String,
    /// `receive`, `install`, `repair`, `remove`.
    pub kind: String,
    /// `open`, `held`, `done`, `cancelled`.
    pub state: String,
    #[schema(value_type = i64)]
    pub made_at: UnixMillis,
    /// The serial number that must be scanned.
    pub serial: Option<String>,
    /// Why it is held.
    pub finding: Option<String>,
    pub tasks: Vec<TaskBody>,
}

/// One step of an order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Task)]
pub struct TaskBody {
    #[schema(value_type = String, example = "tsk_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: TaskId,
    #[schema(value_type = String)]
    pub order: OrderId,
    pub slot: String,
    /// `lift`, `insert`, `cable` …
    pub verb: String,
    pub subject: String,
    /// `waiting`, `held` (two people must confirm), `ready`, `assigned`, `running`, `done`, `failed`, `skipped`.
    pub state: String,
    pub confirmations: usize,
    pub confirmations_min: u8,
    /// `robot:manufacturer/serial` or `person:tok_…`.
    pub assignee: Option<String>,
    pub attempts: u32,
    #[schema(value_type = Vec<Object>)]
    pub evidence: Vec<Evidence>,
    pub note: Option<String>,
}

fn task(order: &Order, task: &Task) -> TaskBody {
    TaskBody {
        id: task.id,
        order: order.id,
        slot: order.slot.clone(),
        verb: task.verb.to_string(),
        subject: task.subject.clone(),
        state: task.state.to_string(),
        confirmations: task.confirmed_by.len(),
        confirmations_min: task.confirmations_min,
        assignee: task.assignee.as_ref().map(|who| match who {
            Assignee::Robot(id) => format!("robot:{id}"),
            Assignee::Person(id) => format!("person:{id}"),
        }),
        attempts: task.attempts,
        evidence: task.evidence.clone(),
        note: task.note.clone(),
    }
}

impl From<&Order> for OrderBody {
    fn from(order: &Order) -> Self {
        Self {
            id: order.id,
            machine: order.machine,
            slot: order.slot.clone(),
            kind: order.kind.to_string(),
            state: order.state.to_string(),
            made_at: order.made_at,
            serial: order.serial.clone(),
            finding: order.finding.as_ref().map(|finding| finding.text.clone()),
            tasks: order.tasks.iter().map(|one| task(order, one)).collect(),
        }
    }
}

/// Which orders to list, by id ascending.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderFilter {
    state: Option<String>,
    after: Option<OrderId>,
    limit: Option<u32>,
}

/// Lists orders. For the next page send the last id as `after`.
#[utoipa::path(get, path = "/api/v1/orders", tag = "fleet",
    params(("state" = Option<String>, Query, description = "open, held, done or cancelled"),
        ("after" = Option<String>, Query, description = "only orders with a greater id"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, otherwise 100")),
    responses((status = 200, body = List<OrderBody>), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn list(
    may: Allowed<OrderRead>,
    State(controller): State<Controller>,
    Query(filter): Query<OrderFilter>,
) -> Answer<List<OrderBody>> {
    let state = match filter.state.as_deref() {
        None => None,
        Some(word) => Some(
            OrderState::from_word(word)
                .ok_or_else(|| Problem::invalid("state: write open, held, done or cancelled."))?
                .as_str(),
        ),
    };
    let limit = input::limit(filter.limit)?;
    let rows = match may.caller.sees(None) {
        true => controller.store().orders(filter.after, state, limit).await?,
        false => Vec::new(),
    };
    Ok(List::of(&rows, |row: &OrderRow| OrderBody::from(&row.order)))
}

/// Shows an order.
#[utoipa::path(get, path = "/api/v1/orders/{id}", tag = "fleet", params(("id" = String, Path, description = "ord_…")),
    responses((status = 200, body = OrderBody), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn get(
    may: Allowed<OrderRead>,
    State(controller): State<Controller>,
    Id(id): Id<OrderId>,
) -> Answer<OrderBody> {
    may.caller.require(None)?;
    let row = controller.store().order(id).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(OrderBody::from(&row.order)))
}

/// What a person decides about an order.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum OrderDeed {
    /// Let a held order go on; what failed is begun anew.
    Resume { reason: String },
    /// Nothing more is done in it; its machine is held until somebody releases it.
    Cancel { reason: String },
}

/// Resumes or cancels an order.
#[utoipa::path(post, path = "/api/v1/orders/{id}", tag = "fleet", params(("id" = String, Path, description = "ord_…")),
    request_body = OrderDeed,
    responses((status = 200, body = OrderBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn update(
    may: Allowed<OrderUpdate>,
    State(controller): State<Controller>,
    Id(id): Id<OrderId>,
    Body(deed): Body<OrderDeed>,
) -> Answer<OrderBody> {
    may.caller.require(None)?;
    let by = may.caller.actor.clone();
    let event = match &deed {
        OrderDeed::Resume { reason } => Event::Resume { by, reason: reason.clone() },
        OrderDeed::Cancel { reason } => Event::Cancel { why: format!("{reason} ({by})") },
    };
    let (OrderDeed::Resume { reason } | OrderDeed::Cancel { reason }) = &deed;
    input::words("reason", reason)?;
    let row = controller.store().order(id).await?.ok_or_else(Problem::not_found)?;
    let entry = may.entry(&controller, id, None, &deed);
    let next = apply(controller.store(), &row, &event, Some(&entry), controller.now()).await.map_err(problem)?;
    controller.bell().ring();
    Ok(Json(OrderBody::from(&next)))
}

fn problem(error: TaskError) -> Problem {
    match error {
        TaskError::Refused(refusal) => Problem::conflict(format!("Nothing was changed: {refusal}.")),
        TaskError::Store(error) => error.into(),
    }
}

/// Which tasks to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskFilter {
    state: Option<String>,
    after: Option<TaskId>,
    limit: Option<u32>,
}

/// Lists the tasks of open orders that can be worked on, oldest order first; of each order the next one. Where a state is asked
/// for, of held orders too: what failed holds its order. For the next page send the last id as `after`.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "fleet",
    params(("state" = Option<String>, Query, description = "only held, ready, assigned, running or failed ones"),
        ("after" = Option<String>, Query, description = "only tasks after this one, and of later orders"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, otherwise 100")),
    responses((status = 200, body = List<TaskBody>), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn tasks(
    may: Allowed<TaskRead>,
    State(controller): State<Controller>,
    Query(filter): Query<TaskFilter>,
) -> Answer<List<TaskBody>> {
    let state = match filter.state.as_deref() {
        None => None,
        Some(word) => {
            let words = "state: write held, ready, assigned, running or failed.";
            Some(TaskState::from_word(word).ok_or_else(|| Problem::invalid(words))?)
        }
    };
    let limit = input::limit(filter.limit)?;
    let wanted = |one: &&Task| match state {
        Some(state) => one.state == state,
        None => !matches!(one.state, TaskState::Waiting | TaskState::Done | TaskState::Skipped),
    };
    let lists = |order: &Order| match order.state {
        OrderState::Open => true,
        OrderState::Held => state.is_some(),
        OrderState::Done | OrderState::Cancelled => false,
    };
    let mut bodies = Vec::new();
    let mut after = None;
    if let Some(id) = filter.after.filter(|_| may.caller.sees(None)) {
        let unknown = || Problem::invalid("after: there is no such task; send the id of the last one that you got.");
        let OrderRow { order, .. } = controller.store().order_of_task(id).await?.ok_or_else(unknown)?;
        after = Some(order.id);
        // Its order may have more of them, where a state was asked for that several tasks of an order are in.
        if lists(&order) {
            let rest = order.tasks.iter().skip_while(|one| one.id != id).skip(1);
            bodies.extend(rest.filter(wanted).map(|one| task(&order, one)));
        }
    }
    while may.caller.sees(None) && bodies.len() < limit as usize {
        let store = controller.store();
        let rows = match state {
            None => store.orders(after, Some(OrderState::Open.as_str()), limit).await?,
            Some(_) => store.orders_live(after, limit).await?,
        };
        let Some(last) = rows.last() else { break };
        after = Some(last.order.id);
        for row in rows.iter().filter(|row| lists(&row.order)) {
            bodies.extend(row.order.tasks.iter().filter(wanted).map(|one| task(&row.order, one)));
        }
    }
    bodies.truncate(limit as usize);
    Ok(Json(List { data: bodies }))
}

/// What a person does with a task.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum TaskDeed {
    /// Stand at the hold point and say so; the same person twice counts once.
    Confirm,
    /// Take it, also from a robot that has not begun.
    Take,
    Start,
    /// Done, and what shows it.
    Done {
        #[serde(default)]
        evidence: Vec<EvidenceNew>,
    },
    Fail {
        why: String,
        #[serde(default)]
        retriable: bool,
    },
    /// Leave it out; never a scan.
    Skip {
        reason: String,
    },
}

/// What shows that a task was done. Files stay with the operator: give the hash.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvidenceNew {
    /// `scan`, `photo`, `torque`, `label`.
    pub kind: String,
    /// What was read, or the file's name.
    pub value: String,
    /// SHA-256 of the file, 64 hex digits.
    pub sha256: Option<String>,
}

/// Works on a task: confirm, take, start, done, fail, skip.
#[utoipa::path(post, path = "/api/v1/tasks/{id}", tag = "fleet", params(("id" = String, Path, description = "tsk_…")),
    request_body = TaskDeed,
    responses((status = 200, body = OrderBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn work(
    may: Allowed<TaskUpdate>,
    State(controller): State<Controller>,
    Id(id): Id<TaskId>,
    Body(deed): Body<TaskDeed>,
) -> Answer<OrderBody> {
    may.caller.require(None)?;
    let (actor, now) = (may.caller.actor.clone(), controller.now());
    let by = Assignee::Person(actor.clone());
    let event = match &deed {
        TaskDeed::Confirm => Event::Confirm { task: id, by: actor },
        TaskDeed::Take => Event::Assign { task: id, to: by },
        TaskDeed::Start => Event::Start { task: id, by },
        TaskDeed::Fail { why, retriable } => {
            input::words("why", why)?;
            Event::Fail { task: id, by, why: why.clone(), retriable: *retriable }
        }
        TaskDeed::Skip { reason } => {
            input::words("reason", reason)?;
            Event::Skip { task: id, by: actor, reason: reason.clone() }
        }
        TaskDeed::Done { evidence } => {
            let mut shown = Vec::with_capacity(evidence.len());
            for one in evidence {
                input::words("evidence.kind", &one.kind)?;
                input::words("evidence.value", &one.value)?;
                input::digest("evidence.sha256", one.sha256.as_ref().map(|hex| format!("sha256:{hex}")).as_deref())?;
                shown.push(Evidence {
                    kind: one.kind.clone(),
                    value: one.value.clone(),
                    sha256: one.sha256.clone(),
                    by: actor.clone(),
                    at: now,
                });
            }
            Event::Done { task: id, by, evidence: shown }
        }
    };
    let row = controller.store().order_of_task(id).await?.ok_or_else(Problem::not_found)?;
    let entry = may.entry(&controller, id, None, &deed);
    let next = apply(controller.store(), &row, &event, Some(&entry), now).await.map_err(problem)?;
    controller.bell().ring();
    Ok(Json(OrderBody::from(&next)))
}
