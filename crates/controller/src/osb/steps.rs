//! Decide, then do: reads what is stored, lets `broker` decide, writes, publishes. If somebody else wrote in between, it reads
//! and decides again.

use super::door::registration;
use super::reply::Failure;
use crate::{Controller, Problem, secret};
use broker::{Act, Answer, Asked, Binding, Fresh, FreshBinding, Instance, Next, Refusal, Registration, Slot, Step};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use store::{BindingRow, BindingWrite, BrokerWrite, InstanceRow, InstanceWrite, ProjectWrite, SlotRow, StoreError};
use types::audit::AuditEntry;
use types::snapshot::{Key, Project, Tenant};
use types::{AuditId, BrokerId, DataClass, KeyId, OperationId, ProjectId, TenantId, UnixMillis};

/// Reads and decides so often while others write the same instance; each time one of them has got on.
const TRIES_MAX: usize = 5;

/// What a binding's secret is derived for.
const SECRET_OF_BINDING: &str = "the secret of a binding's key";

/// Characters of a tenant's, project's or key's name that are the platform's; the rest tells two of one name apart.
const NAME_CHARS: usize = 50;

/// Who does it, for the audit log.
pub(crate) struct By<'a> {
    pub actor: String,
    pub action: &'static str,
    /// Written into the entry: the call, or the operator's words.
    pub detail: &'a Value,
}

impl By<'_> {
    fn entry(&self, controller: &Controller, object: String, tenant: Option<TenantId>, what: Value) -> AuditEntry {
        let mut detail = self.detail.clone();
        if let (Some(detail), Value::Object(what)) = (detail.as_object_mut(), what) {
            detail.extend(what);
            detail.retain(|_, value| !value.is_null());
        }
        AuditEntry {
            id: controller.id(AuditId::from_parts),
            at: controller.now(),
            actor: self.actor.clone(),
            action: self.action.to_owned(),
            object,
            tenant,
            detail: detail.to_string(),
        }
    }
}

fn read<T: DeserializeOwned>(what: &str, body: &str) -> Result<T, Problem> {
    serde_json::from_str(body).map_err(|error| Problem::internal(format!("{what} is stored unreadably: {error}")))
}

fn write<T: serde::Serialize>(what: &T) -> Result<String, Problem> {
    serde_json::to_string(what).map_err(|error| Problem::internal(format!("not to be written: {error}")))
}

/// What a row says of its instance.
pub(crate) fn instance_of(row: &InstanceRow) -> Result<Instance, Problem> {
    read("an instance", &row.body)
}

fn slot<R, T>(row: &SlotRow<R>, held: impl Fn(&R) -> Result<T, Problem>) -> Result<Slot<T>, Problem> {
    Ok(match row {
        SlotRow::Free => Slot::Free,
        SlotRow::Held(row) => Slot::Held(held(row)?),
        SlotRow::Gone { until, operation } => Slot::Gone { until: *until, operation: *operation },
    })
}

fn again(error: StoreError) -> Result<(), Failure> {
    match error {
        StoreError::Conflict { .. } => Ok(()),
        other => Err(other.into()),
    }
}

fn too_many_tries() -> Failure {
    Refusal::concurrent("Too many calls for this id at once. Try again.").into()
}

/// A name from what the platform says, which need not be unique, and from an id, which is.
fn name(given: &str, digits: &str) -> String {
    let given: String = given.chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect();
    let tail = digits.get(digits.len().saturating_sub(8)..).unwrap_or(digits);
    format!("{} {tail}", given.trim()).trim().to_owned()
}

impl Controller {
    pub(super) async fn instance(
        &self,
        broker: BrokerId,
        id: &str,
    ) -> Result<(SlotRow<InstanceRow>, Slot<Instance>), Problem> {
        let row = self.store().broker_instance(broker, id).await?;
        let slot = slot(&row, instance_of)?;
        Ok((row, slot))
    }

    pub(super) async fn binding(
        &self,
        broker: BrokerId,
        instance: &str,
        id: &str,
    ) -> Result<(SlotRow<BindingRow>, Slot<Binding>), Problem> {
        let row = self.store().broker_binding(broker, instance, id).await?;
        let slot = slot(&row, |row| read("a binding", &row.body))?;
        Ok((row, slot))
    }

    fn fresh(&self) -> Fresh {
        Fresh { project: self.id(ProjectId::from_parts), operation: self.id(OperationId::from_parts) }
    }

    /// One step of an instance.
    pub(super) async fn step(
        &self,
        broker: BrokerId,
        rules: &Registration,
        id: &str,
        by: &By<'_>,
        decide: impl Fn(&Slot<Instance>, Fresh, UnixMillis) -> Result<Step<Instance>, Failure>,
    ) -> Result<Stepped, Failure> {
        for _ in 0..TRIES_MAX {
            let mut turn = self.turn().await;
            let (row, slot) = self.instance(broker, id).await?;
            let now = self.now();
            let step = decide(&slot, self.fresh(), now)?;
            let written = match self.write_instance(broker, rules, id, by, (&row, &slot), &step, now).await {
                Ok(()) => true,
                Err(Failure::Failed(problem)) if problem.code == types::Code::Conflict => false,
                Err(failure) => return Err(failure),
            };
            if written {
                turn.settle().await?;
                let project = match &step.next {
                    Next::Held(next) => next.project,
                    Next::Same | Next::Gone { .. } => None,
                };
                return Ok(Stepped { answer: step.answer, act: step.act, project });
            }
        }
        Err(too_many_tries())
    }

    #[expect(clippy::too_many_arguments, reason = "one caller; the parts of one decision")]
    async fn write_instance(
        &self,
        broker: BrokerId,
        rules: &Registration,
        id: &str,
        by: &By<'_>,
        (row, slot): (&SlotRow<InstanceRow>, &Slot<Instance>),
        step: &Step<Instance>,
        now: UnixMillis,
    ) -> Result<(), Failure> {
        let held = match row {
            SlotRow::Held(row) => Some(row),
            SlotRow::Free | SlotRow::Gone { .. } => None,
        };
        let at = BrokerWrite { broker, instance: id, read: held.map(|row| row.version), now };
        let old = match slot {
            Slot::Held(old) => Some(old),
            Slot::Free | Slot::Gone { .. } => None,
        };
        match &step.next {
            Next::Same => Ok(()),
            Next::Gone { until, operation } => match held {
                None => Ok(self.store().broker_bury(&at, "", *until, *operation).await?),
                Some(row) => {
                    let entry =
                        by.entry(self, object(id, row.project), row.tenant, json!({ "instance": id, "gone": true }));
                    let gone = InstanceWrite::Gone { until: *until, operation: *operation };
                    Ok(self.store().broker_instance_write(&at, &gone, &ProjectWrite::Nothing, &entry).await?)
                }
            },
            Next::Held(next) => {
                let made = match step.act {
                    Act::Make => Some(self.make(broker, rules, next).await?),
                    Act::Nothing if held.is_none() => {
                        self.room(broker, rules, next, None).await?;
                        None
                    }
                    Act::Nothing | Act::Change | Act::End => None,
                };
                let changed = match (step.act, old, next.project) {
                    (Act::Change, Some(old), Some(project)) => self.changed(&old.asked, &next.asked, project).await?,
                    _ => None,
                };
                let project = match (&made, &changed, step.act, next.project) {
                    (Some((project, tenant)), ..) => ProjectWrite::Make {
                        project,
                        tenant: tenant.as_ref().map(|tenant| (tenant, next.subaccount.as_str())),
                    },
                    (None, Some(project), ..) => ProjectWrite::Change(project),
                    (None, None, Act::End, Some(project)) => ProjectWrite::End(project),
                    _ => ProjectWrite::Nothing,
                };
                let tenant = made.as_ref().map(|(project, _)| project.tenant).or(held.and_then(|row| row.tenant));
                let what = json!({
                    "instance": id, "plan": next.asked.plan, "parameters": next.asked.parameters,
                    "subaccount": next.subaccount, "project": next.project, "operation": next.order(), "state": next.state,
                });
                let entry = by.entry(self, object(id, next.project), tenant, what);
                let body = write(next)?;
                let put = InstanceWrite::Put { body: &body, project: next.project, operation: next.order() };
                Ok(self.store().broker_instance_write(&at, &put, &project, &entry).await?)
            }
        }
    }

    /// Whether the registration has room for one more; answers the customer's tenant, if it has one.
    async fn room(
        &self,
        broker: BrokerId,
        rules: &Registration,
        next: &Instance,
        own: Option<u64>,
    ) -> Result<Option<TenantId>, Failure> {
        let (instances, tenants) = self.store().broker_counts(broker).await?;
        if instances.saturating_sub(own.unwrap_or_default()) >= u64::from(rules.instances_max) {
            return Err(Refusal::bad(format!(
                "This registration has its {} instances. Delete some, or ask the operator for more.",
                rules.instances_max
            ))
            .into());
        }
        let tenant = self.store().broker_tenant(broker, &next.subaccount).await?;
        if tenant.is_none() && tenants >= u64::from(rules.tenants_max) {
            return Err(Refusal::bad(format!(
                "This registration has its {} customers. Ask the operator for more.",
                rules.tenants_max
            ))
            .into());
        }
        Ok(tenant)
    }

    /// The project of an instance, and the tenant if it is the customer's first.
    async fn make(
        &self,
        broker: BrokerId,
        rules: &Registration,
        next: &Instance,
    ) -> Result<(Project, Option<Tenant>), Failure> {
        // An instance that was ordered is counted already.
        let own = matches!(next.state, broker::State::Ready { operation: Some(_), .. }).then_some(1);
        let tenant = match self.room(broker, rules, next, own).await? {
            Some(tenant) => (tenant, None),
            None => {
                let id = self.id(TenantId::from_parts);
                let tenant = Tenant { id, name: name(&next.subaccount, &id.digits()), budget: rules.tenant_budget };
                (id, Some(tenant))
            }
        };
        let Some(id) = next.project else { return Err(Problem::internal("a project without an id").into()) };
        let parameters = &next.asked.parameters;
        let project = Project {
            id,
            tenant: tenant.0,
            name: name(next.asked.name.as_deref().unwrap_or("instance"), &id.digits()),
            class: parameters.data_class.unwrap_or(DataClass::Internal),
            country: parameters.country,
            budget: parameters.budget(),
            limits: parameters.limits(),
            commitment_key: self.random32().iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        Ok((project, tenant.1))
    }

    /// A project after a change of its instance: only what the change is about, the rest may be somebody else's hand.
    async fn changed(&self, old: &Asked, new: &Asked, id: ProjectId) -> Result<Option<Project>, Failure> {
        let Some(mut project) = self.store().project(id).await? else {
            return Err(Problem::internal(format!("project {id} of an instance is not there")).into());
        };
        let before = project.clone();
        let (was, is) = (&old.parameters, &new.parameters);
        if was.data_class != is.data_class {
            project.class = is.data_class.unwrap_or(DataClass::Internal);
        }
        if was.country != is.country {
            project.country = is.country;
        }
        if was.budget() != is.budget() {
            project.budget = is.budget();
        }
        if was.requests_per_minute != is.requests_per_minute {
            project.limits.requests_per_minute = is.requests_per_minute;
        }
        if was.tokens_per_minute != is.tokens_per_minute {
            project.limits.tokens_per_minute = is.tokens_per_minute;
        }
        if old.name != new.name {
            project.name = name(new.name.as_deref().unwrap_or("instance"), &id.digits());
        }
        Ok((project != before).then_some(project))
    }

    /// Makes a binding, or finds it.
    pub(super) async fn bind(
        &self,
        broker: BrokerId,
        instance: &str,
        id: &str,
        by: &By<'_>,
        ask: &broker::Bind,
    ) -> Result<(u16, Binding, InstanceRow), Failure> {
        for _ in 0..TRIES_MAX {
            let mut turn = self.turn().await;
            let (row, of) = self.instance(broker, instance).await?;
            let (_, slot) = self.binding(broker, instance, id).await?;
            let predecessor = match &ask.predecessor {
                Some(predecessor) => Some(self.binding(broker, instance, predecessor).await?.1),
                None => None,
            };
            let count = self.store().broker_bindings(broker, instance).await?;
            let now = self.now();
            let salt = self.random32().iter().map(|byte| format!("{byte:02x}")).collect();
            let fresh = FreshBinding { key: self.id(KeyId::from_parts), salt };
            let step = broker::bind(&of, &slot, predecessor.as_ref(), count, ask, fresh, now)?;
            let status = step.answer?.status;
            let SlotRow::Held(row) = row else { return Err(Refusal::not_found().into()) };
            let binding = match (step.next, slot) {
                (Next::Held(made), _) => {
                    let at = BrokerWrite { broker, instance, read: Some(row.version), now };
                    match self.write_binding(&at, id, by, &made, &row).await {
                        Ok(()) => made,
                        Err(error) => {
                            again(error)?;
                            continue;
                        }
                    }
                }
                (_, Slot::Held(held)) => held,
                _ => return Err(Refusal::not_found().into()),
            };
            turn.settle().await?;
            return Ok((status, binding, row));
        }
        Err(too_many_tries())
    }

    async fn write_binding(
        &self,
        at: &BrokerWrite<'_>,
        id: &str,
        by: &By<'_>,
        made: &Binding,
        row: &InstanceRow,
    ) -> Result<(), StoreError> {
        let Some(project) = row.project else { return Err(StoreError::NotFound { what: "the instance's project" }) };
        let key = Key {
            id: made.key,
            project,
            name: name(id, &made.key.digits()),
            secret_hash: self.parts().pepper.hash(&self.secret(made)),
            revoked: false,
            expires_at: made.expires_at,
            budget: made.parameters.budget(),
            limits: made.parameters.limits(),
        };
        let what = json!({
            "instance": at.instance, "binding": id, "project": project, "parameters": made.parameters,
            "predecessor": made.predecessor, "app": made.app, "expires_at": made.expires_at,
        });
        let entry = by.entry(self, made.key.to_string(), row.tenant, what);
        let body = serde_json::to_string(made).map_err(|error| StoreError::Corrupt { what: error.to_string() })?;
        self.store().broker_binding_write(at, id, &BindingWrite::Make { body: &body, key: &key }, &entry).await
    }

    /// Ends a binding: its key is unknown to the gateway when this returns.
    pub(super) async fn unbind(
        &self,
        broker: BrokerId,
        instance: &str,
        id: &str,
        by: &By<'_>,
        named: &broker::Named,
    ) -> Result<Answer, Failure> {
        for _ in 0..TRIES_MAX {
            let mut turn = self.turn().await;
            let tenant = match self.store().broker_instance(broker, instance).await? {
                SlotRow::Held(row) => row.tenant,
                SlotRow::Free | SlotRow::Gone { .. } => None,
            };
            let (row, slot) = self.binding(broker, instance, id).await?;
            let now = self.now();
            let step = broker::unbind(&slot, named, now);
            let at = BrokerWrite { broker, instance, read: None, now };
            let written = match (&step.next, &row) {
                (Next::Gone { until, .. }, SlotRow::Held(row)) => {
                    let entry =
                        by.entry(self, row.key.to_string(), tenant, json!({ "instance": instance, "binding": id }));
                    let gone = BindingWrite::Gone { key: row.key, until: *until };
                    self.store().broker_binding_write(&at, id, &gone, &entry).await
                }
                (Next::Gone { until, operation }, _) => self.store().broker_bury(&at, id, *until, *operation).await,
                _ => Ok(()),
            };
            match written {
                Ok(()) => {
                    turn.settle().await?;
                    return Ok(step.answer?);
                }
                Err(error) => again(error)?,
            }
        }
        Err(too_many_tries())
    }

    /// The digits that a binding's key ends with.
    pub(super) fn secret(&self, binding: &Binding) -> String {
        let salt = format!("{} {}", binding.key, binding.salt);
        secret::encode(&self.parts().pepper.derive(SECRET_OF_BINDING, &salt))
    }
}

/// The object of an audit entry: our id, or the platform's where we have none.
fn object(id: &str, project: Option<ProjectId>) -> String {
    project.map_or_else(|| id.to_owned(), |project| project.to_string())
}

/// What a step came to.
pub(super) struct Stepped {
    pub answer: Result<Answer, Refusal>,
    pub act: Act,
    pub project: Option<ProjectId>,
}

/// What the operator says about an order.
pub(crate) enum OrderDecision {
    Fulfil,
    Refuse(String),
}

/// Ends an order, well or not. None: it does not run (any more).
pub(crate) async fn decide_order(
    controller: &Controller,
    operation: OperationId,
    decision: &OrderDecision,
    by: &By<'_>,
) -> Result<Option<InstanceRow>, Problem> {
    let Some(row) = controller.store().broker_instance_of(operation).await? else { return Ok(None) };
    let Some(platform) = controller.store().broker(row.broker).await? else { return Ok(None) };
    let rules = registration(&platform)?;
    let decide = |slot: &Slot<Instance>, fresh: Fresh, now: UnixMillis| {
        let step = match decision {
            OrderDecision::Fulfil => broker::fulfil(slot, operation, fresh, now),
            OrderDecision::Refuse(why) => broker::refuse(slot, operation, why, now),
        };
        step.ok_or_else(|| Failure::Refused(Refusal::not_found()))
    };
    match controller.step(row.broker, &rules, &row.id, by, decide).await {
        Ok(_) => match controller.store().broker_instance(row.broker, &row.id).await? {
            SlotRow::Held(row) => Ok(Some(row)),
            SlotRow::Free | SlotRow::Gone { .. } => Ok(None),
        },
        Err(Failure::Refused(refusal)) if refusal.status == 404 => Ok(None),
        Err(Failure::Refused(refusal)) => Err(Problem::conflict(refusal.description)),
        Err(Failure::Failed(problem)) => Err(problem),
    }
}
