//! Bindings: keys of an instance's project, with their credentials told again as often as the platform asks.

use super::door::{Binding, Platform, Query};
use super::instances::{Sent, sent};
use super::reply::{Failure, Good, Reply};
use crate::{Controller, Problem};
use axum::extract::State;
use broker::{Answer, Bind, Named, Place};
use serde_json::Value;
use store::{InstanceRow, SlotRow};

impl Controller {
    fn credentials(&self, binding: &broker::Binding, row: &InstanceRow) -> Result<Value, Failure> {
        let (Some(tenant), Some(project)) = (row.tenant, row.project) else {
            return Err(Problem::internal("a binding of an instance without a project").into());
        };
        let parts = self.parts();
        let place =
            Place { url: (parts.broker.public_url)(), site: parts.site.clone(), log_vkey: parts.log_vkey.clone() };
        let text = format!("hk_{}_{}", binding.key.digits(), self.secret(binding));
        Ok(binding.body(broker::credentials(&place, tenant, project, binding.key, &text)))
    }
}

pub(super) async fn bind(
    platform: Platform,
    Binding(instance, id): Binding,
    State(controller): State<Controller>,
    body: Sent,
) -> Reply {
    let ask = Bind::read(&platform.registration, &instance, &sent(body)?)?;
    let by = platform.by("binding.create");
    let (status, binding, row) = controller.bind(platform.id, &instance, &id, &by, &ask).await?;
    Ok(Good(Answer::new(status, controller.credentials(&binding, &row)?)))
}

pub(super) async fn unbind(
    platform: Platform,
    Binding(instance, id): Binding,
    query: Query,
    State(controller): State<Controller>,
) -> Reply {
    let named = Named::read(query.which)?;
    let by = platform.by("binding.delete");
    Ok(Good(controller.unbind(platform.id, &instance, &id, &by, &named).await?))
}

pub(super) async fn fetch(
    platform: Platform,
    Binding(instance, id): Binding,
    query: Query,
    State(controller): State<Controller>,
) -> Reply {
    let (row, of) = controller.instance(platform.id, &instance).await?;
    let (_, slot) = controller.binding(platform.id, &instance, &id).await?;
    let binding = broker::fetch_binding(&of, &slot, &query.which, controller.now())?;
    let SlotRow::Held(row) = row else { return Err(broker::Refusal::not_found().into()) };
    let mut body = controller.credentials(binding, &row)?;
    if let Ok(parameters) = serde_json::to_value(&binding.parameters) {
        body["parameters"] = parameters;
    }
    Ok(Good(Answer::new(200, body)))
}

pub(super) async fn last_operation(
    platform: Platform,
    Binding(instance, id): Binding,
    query: Query,
    State(controller): State<Controller>,
) -> Reply {
    let (_, slot) = controller.binding(platform.id, &instance, &id).await?;
    Ok(Good(broker::last_operation_binding(&slot, &query.which, controller.now())?))
}
