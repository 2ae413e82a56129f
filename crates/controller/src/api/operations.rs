//! Orders of platforms that a person fulfils: dedicated capacity, and changes of it. The platform polls until somebody decides.

use super::brokers::InstanceBody;
use super::{Answer, List};
use crate::access::{Action, Allowed, BrokerFulfil, BrokerRead};
use crate::input::{self, Body, Id};
use crate::osb::{By, OrderDecision, decide_order, instance_of};
use crate::{Controller, Problem};
use axum::Json;
use axum::extract::State;
use broker::{Asked, Instance, Plan, State as Stage};
use serde::{Deserialize, Serialize};
use types::{BrokerId, OperationId, UnixMillis};
use utoipa::ToSchema;

/// An order that runs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Operation)]
pub struct OperationBody {
    #[schema(value_type = String, example = "op_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: OperationId,
    #[schema(value_type = String)]
    pub broker: BrokerId,
    /// The platform's id of the instance.
    pub instance: String,
    /// create or change.
    pub kind: String,
    #[schema(value_type = String)]
    pub plan: Plan,
    /// What is ordered.
    #[schema(value_type = Object)]
    pub parameters: broker::InstanceParameters,
    /// The platform's customer.
    pub subaccount: String,
    pub name: Option<String>,
    /// Milliseconds since 1970.
    #[schema(value_type = i64)]
    pub ordered_at: UnixMillis,
    /// When the order fails by itself.
    #[schema(value_type = i64)]
    pub ends_at: UnixMillis,
}

fn operation(broker: BrokerId, id: String, instance: Instance) -> Option<OperationBody> {
    let (kind, order, at, asked): (_, _, _, Asked) = match instance.state {
        Stage::Ordered { operation, at } => ("create", operation, at, instance.asked),
        Stage::Changing { operation, at, to } => ("change", operation, at, *to),
        Stage::Refused { .. } | Stage::Ready { .. } | Stage::Ending => return None,
    };
    Some(OperationBody {
        id: order,
        broker,
        instance: id,
        kind: kind.to_owned(),
        plan: asked.plan,
        parameters: asked.parameters,
        subaccount: instance.subaccount,
        name: asked.name,
        ordered_at: at,
        ends_at: UnixMillis(at.0 + broker::POLLING_SECS_MAX * 1_000),
    })
}

/// Lists the orders that wait for the operator, the oldest first, 1000 at most.
#[utoipa::path(get, path = "/api/v1/operations", tag = "brokers", responses((status = 200, body = List<OperationBody>)))]
pub async fn list(may: Allowed<BrokerRead>, State(controller): State<Controller>) -> Answer<List<OperationBody>> {
    let (now, mut data) = (controller.now(), Vec::new());
    // An order's id is made after its time was taken: what is older than this is over.
    let oldest = OperationId::from_parts(UnixMillis(now.0 - broker::POLLING_SECS_MAX * 1_000), [0; 10]);
    let rows = if may.caller.sees(None) {
        controller.store().broker_orders(oldest, input::LIST_LIMIT_MAX).await?
    } else {
        Vec::new()
    };
    for row in rows {
        let instance = instance_of(&row)?.at(now);
        data.extend(operation(row.broker, row.id, instance));
    }
    Ok(Json(List { data }))
}

/// What to do with an order.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationDecision {
    /// fulfil: the capacity is there. refuse: it will not be.
    #[serde(rename = "do")]
    pub verb: String,
    /// Kept in the audit log; of a refusal the customer reads it too.
    pub reason: String,
}

/// Fulfils or refuses an order. The platform learns it at its next poll.
#[utoipa::path(post, path = "/api/v1/operations/{id}", tag = "brokers", params(("id" = String, Path, description = "op_…")),
    request_body = OperationDecision,
    responses((status = 200, body = InstanceBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn decide(
    may: Allowed<BrokerFulfil>,
    State(controller): State<Controller>,
    Id(id): Id<OperationId>,
    Body(asked): Body<OperationDecision>,
) -> Answer<InstanceBody> {
    may.caller.require(None)?;
    input::words("reason", &asked.reason)?;
    let decision = match asked.verb.as_str() {
        "fulfil" => OrderDecision::Fulfil,
        "refuse" => OrderDecision::Refuse(asked.reason.clone()),
        _ => return Err(Problem::invalid("do: fulfil or refuse.")),
    };
    let detail = serde_json::json!({ "do": asked.verb, "reason": asked.reason, "order": id });
    let by = By { actor: may.caller.actor.clone(), action: BrokerFulfil::NAME, detail: &detail };
    let row = decide_order(&controller, id, &decision, &by).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(InstanceBody::of(&controller, row)?))
}
