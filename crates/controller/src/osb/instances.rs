//! The catalog, and the life of an instance.

use super::door::{Instance, Platform, Query};
use super::reply::{Failure, Good, Reply};
use super::steps::By;
use crate::{Controller, Problem};
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use broker::{Act, Answer, Change, Named, Provision, Refusal};

pub(super) type Sent = Result<Bytes, BytesRejection>;

pub(super) fn sent(body: Sent) -> Result<Bytes, Failure> {
    body.map_err(|_| Refusal::new(413, "A body has at most 1 MiB.").into())
}

impl Platform {
    pub(super) fn by(&self, action: &'static str) -> By<'_> {
        By { actor: self.id.to_string(), action, detail: &self.call }
    }
}

pub(super) async fn catalog(platform: Platform) -> Reply {
    Ok(Good(Answer::new(200, broker::catalog(&platform.registration))))
}

pub(super) async fn provision(
    platform: Platform,
    Instance(id): Instance,
    query: Query,
    State(controller): State<Controller>,
    body: Sent,
) -> Reply {
    let rules = &platform.registration;
    let ask = Provision::read(rules, &id, &sent(body)?, query.incomplete)?;
    let decide = |slot: &_, fresh, now| Ok(broker::provision(slot, &ask, fresh, now)?);
    Ok(Good(controller.step(platform.id, rules, &id, &platform.by("instance.create"), decide).await?.answer?))
}

pub(super) async fn update(
    platform: Platform,
    Instance(id): Instance,
    query: Query,
    State(controller): State<Controller>,
    body: Sent,
) -> Reply {
    let rules = &platform.registration;
    let change = Change::read(rules, &id, &sent(body)?, query.incomplete)?;
    let decide = |slot: &_, fresh, now| Ok(broker::update(slot, &change, fresh, now)?);
    Ok(Good(controller.step(platform.id, rules, &id, &platform.by("instance.update"), decide).await?.answer?))
}

pub(super) async fn deprovision(
    platform: Platform,
    Instance(id): Instance,
    query: Query,
    State(controller): State<Controller>,
) -> Reply {
    let (rules, by) = (&platform.registration, platform.by("instance.delete"));
    let named = Named::read(query.which)?;
    let first = controller
        .step(platform.id, rules, &id, &by, |slot, _, now| Ok(broker::deprovision(slot, &named, now)))
        .await?;
    let (Act::End, Some(project)) = (first.act, first.project) else { return Ok(Good(first.answer?)) };
    // No key works any more; now nothing that was stored can be read any more, and only then is it gone.
    let destroyed = controller.parts().broker.on_deprovision.on_deprovision(project).await;
    destroyed.map_err(|why| Problem::internal(format!("what project {project} stored is still there: {why}")))?;
    let second = controller.step(platform.id, rules, &id, &by, |slot, _, now| Ok(broker::ended(slot, now))).await?;
    Ok(Good(second.answer?))
}

pub(super) async fn fetch(
    platform: Platform,
    Instance(id): Instance,
    query: Query,
    State(controller): State<Controller>,
) -> Reply {
    let (_, slot) = controller.instance(platform.id, &id).await?;
    Ok(Good(broker::fetch(&slot, &query.which, controller.now())?))
}

pub(super) async fn last_operation(
    platform: Platform,
    Instance(id): Instance,
    query: Query,
    State(controller): State<Controller>,
) -> Reply {
    let (_, slot) = controller.instance(platform.id, &id).await?;
    Ok(Good(broker::last_operation(&slot, &query.which, controller.now())?))
}
