//! Machines: what they are, why, and what a person may decide about them. `hoheit machine`, `hoheit fleet`.

use super::{Answer, List};
use crate::access::{Allowed, MachineEnrol, MachineRead, MachineUpdate};
use crate::input::{self, Body, Id, Query};
use crate::{Controller, Problem};
use axum::Json;
use axum::extract::State;
use fleet::lifecycle::{self, Rules};
use fleet::machine::{Health, Lifecycle, Machine, Spec};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{AgentToken, Bmc, FleetEvent, MachineRow};
use types::{AcceptanceId, MachineId, UnixMillis};
use utoipa::ToSchema;

/// The last events that `machine show` tells.
const EVENTS_SHOWN: u32 = 20;

/// A machine in one line.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Machine)]
pub struct MachineBody {
    #[schema(value_type = String, example = "mach_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: MachineId,
    /// `hall/row/rack/u11`.
    pub slot: String,
    pub unit: String,
    /// `dgx-b200`, `rtx-pro`.
    pub kind: String,
    /// `planned` … `accepted`, `drain`, `repair`, `retired`.
    pub lifecycle: String,
    /// `healthy`, `degraded`, `faulted`.
    pub health: String,
    /// `open` is capacity; `cordoned`, `draining`.
    pub scheduling: String,
    /// Milliseconds since 1970, when it entered its state.
    #[schema(value_type = i64)]
    pub since: UnixMillis,
    /// Why it is in this state.
    pub reason: String,
    /// The code of what holds it; a person must act.
    pub held: Option<String>,
}

impl From<&MachineRow> for MachineBody {
    fn from(row: &MachineRow) -> Self {
        let (spec, machine) = (&row.spec, &row.machine);
        Self {
            id: machine.id,
            slot: spec.slot.clone(),
            unit: spec.unit.clone(),
            kind: spec.kind.to_string(),
            lifecycle: machine.lifecycle.to_string(),
            health: machine.health.to_string(),
            scheduling: machine.scheduling.to_string(),
            since: machine.since,
            reason: machine.reason.clone(),
            held: machine.hold.as_ref().map(|hold| hold.code.clone()),
        }
    }
}

/// A machine with all that is known about it.
#[derive(Debug, Serialize, ToSchema)]
pub struct MachineWhole {
    #[serde(flatten)]
    pub machine: MachineBody,
    /// What was asked for.
    #[schema(value_type = Object)]
    pub spec: Spec,
    /// What was decided.
    #[schema(value_type = Object)]
    pub decided: Machine,
    /// What was seen.
    #[schema(value_type = Object)]
    pub observed: fleet::observed::Observed,
    /// What is wrong with it now, worst first; nothing if it is healthy.
    pub symptoms: Vec<SymptomBody>,
    /// What it waits for, in words: what happens next.
    pub next: Vec<String>,
    /// Its orders, newest last.
    #[schema(value_type = Vec<Object>)]
    pub orders: Vec<fleet::order::Order>,
    pub certificates: Vec<CertificateBody>,
    pub events: Vec<EventBody>,
}

/// Something that is wrong with a machine.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Symptom)]
pub struct SymptomBody {
    /// `part_missing`, `agent_silent`, `xid_79` …
    pub code: String,
    /// The part or failure domain; empty for the machine as a whole.
    pub about: String,
    pub text: String,
}

impl From<fleet::diagnosis::Symptom> for SymptomBody {
    fn from(symptom: fleet::diagnosis::Symptom) -> Self {
        let fleet::machine::Finding { code, about, text, .. } = symptom.finding;
        Self { code, about, text }
    }
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FleetEvent)]
pub struct EventBody {
    /// Grows; send the last one as `after`.
    pub seq: u64,
    #[schema(value_type = i64)]
    pub at: UnixMillis,
    #[schema(value_type = Option<String>)]
    pub machine: Option<MachineId>,
    /// A state that was entered, `held`, `goes on`, `page`, `order`, `fault` …
    pub kind: String,
    pub text: String,
}

impl From<FleetEvent> for EventBody {
    fn from(event: FleetEvent) -> Self {
        let FleetEvent { seq, at, machine, kind, text } = event;
        Self { seq, at, machine, kind, text }
    }
}

/// A certificate of acceptance.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Certificate)]
pub struct CertificateBody {
    #[schema(value_type = String, example = "acc_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: AcceptanceId,
    #[schema(value_type = i64)]
    pub at: UnixMillis,
    /// Whether it is the one that holds now.
    pub holds: bool,
    /// The certificate, signed.
    pub jwt: String,
    /// That it is in the log (C2SP tlog-proof); none before a checkpoint covers it.
    pub proof: Option<String>,
}

/// Which machines to list, by id ascending.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MachineFilter {
    lifecycle: Option<String>,
    slot: Option<String>,
    after: Option<MachineId>,
    limit: Option<u32>,
}

/// Lists machines. For the next page send the last id as `after`.
#[utoipa::path(get, path = "/api/v1/machines", tag = "fleet",
    params(("lifecycle" = Option<String>, Query, description = "only in this state"),
        ("slot" = Option<String>, Query, description = "the machine of this slot"),
        ("after" = Option<String>, Query, description = "only machines with a greater id"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, otherwise 100")),
    responses((status = 200, body = List<MachineBody>), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn list(
    may: Allowed<MachineRead>,
    State(controller): State<Controller>,
    Query(filter): Query<MachineFilter>,
) -> Answer<List<MachineBody>> {
    let lifecycle = match filter.lifecycle.as_deref() {
        None => None,
        Some(word) => Some(Lifecycle::from_word(word).ok_or_else(|| {
            let words: Vec<&str> = Lifecycle::ALL.iter().map(|one| one.as_str()).collect();
            Problem::invalid(format!("lifecycle: write one of {}.", words.join(", ")))
        })?),
    };
    let limit = input::limit(filter.limit)?;
    // Machines are the site's own; a tenant's auditor may ask and sees none of them.
    let rows = match (may.caller.sees(None), filter.slot) {
        (false, _) => Vec::new(),
        (true, Some(slot)) => controller.store().machine_at(&slot).await?.into_iter().collect(),
        (true, None) => controller.store().machines(filter.after, lifecycle.map(Lifecycle::as_str), limit).await?,
    };
    Ok(List::of(&rows, MachineBody::from))
}

async fn machine(controller: &Controller, id: MachineId) -> Result<MachineRow, Problem> {
    controller.store().machine(id).await?.ok_or_else(Problem::not_found)
}

/// Shows a machine: why it is in its state, what was seen, and what happens next.
#[utoipa::path(get, path = "/api/v1/machines/{id}", tag = "fleet", params(("id" = String, Path, description = "mach_…")),
    responses((status = 200, body = MachineWhole), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn get(
    may: Allowed<MachineRead>,
    State(controller): State<Controller>,
    Id(id): Id<MachineId>,
) -> Answer<MachineWhole> {
    may.caller.require(None)?;
    let row = machine(&controller, id).await?;
    let store = controller.store();
    let observed = store.observed(id).await?;
    let orders: Vec<_> = store.orders_of(id).await?.into_iter().map(|row| row.order).collect();
    let events = store.fleet_events_last(Some(id), EVENTS_SHOWN).await?;
    let rules = Rules::default();
    // After a silence of our own, who has not been heard yet is not silent: its last step knows that.
    let symptoms = match row.machine.health {
        Health::Healthy => Vec::new(),
        _ => fleet::diagnosis::symptoms(&row.machine, &row.spec, &observed, &rules, controller.now()),
    };
    Ok(Json(MachineWhole {
        machine: MachineBody::from(&row),
        symptoms: symptoms.into_iter().map(SymptomBody::from).collect(),
        next: next(&row, &orders),
        certificates: certificates(&controller, &row).await?,
        spec: row.spec,
        decided: row.machine,
        observed,
        orders,
        events: events.into_iter().map(EventBody::from).collect(),
    }))
}

/// What the machine waits for, from what its last step asked for.
fn next(row: &MachineRow, orders: &[fleet::order::Order]) -> Vec<String> {
    use fleet::order::{OrderState, TaskState};
    let mut next = Vec::new();
    if let Some(hold) = &row.machine.hold {
        next.push(format!(
            "a person: mend it, or `hoheit machine release {}` with a reason ({})",
            row.machine.id, hold.code
        ));
    }
    for order in orders.iter().filter(|order| matches!(order.state, OrderState::Open | OrderState::Held)) {
        let ended = |state| matches!(state, TaskState::Done | TaskState::Skipped);
        let done = order.tasks.iter().filter(|task| ended(task.state)).count();
        let at = order.tasks.iter().find(|task| !ended(task.state));
        let at = at.map(|task| format!(": {} {} is {}", task.verb, task.subject, task.state)).unwrap_or_default();
        next.push(format!("{} order {}, {done} of {} tasks done{at}", order.kind, order.id, order.tasks.len()));
    }
    next.extend(
        row.wants.iter().map(|action| serde_json::to_value(action).map_or_else(|_| String::new(), |it| words(&it))),
    );
    next
}

/// An action in words: `update firmware: bmc, bios`.
fn words(action: &Value) -> String {
    let verb = action["do"].as_str().unwrap_or_default().replace('_', " ");
    let rest = action.as_object().into_iter().flatten().filter(|(name, _)| *name != "do");
    let rest: Vec<String> = rest.map(|(_, value)| value.to_string().replace(['"', '[', ']'], "")).collect();
    if rest.is_empty() { verb } else { format!("{verb}: {}", rest.join(", ")) }
}

async fn certificates(controller: &Controller, row: &MachineRow) -> Result<Vec<CertificateBody>, Problem> {
    let mut bodies = Vec::new();
    for one in controller.store().acceptances_of(row.machine.id).await? {
        let key = &controller.parts().receipt_key;
        let named = ledger::acceptance::kid_of(&one.signing_input).map_err(Problem::internal)?;
        if named != key.kid() {
            return Err(Problem::internal(format!("{} was made under another key ({named})", one.id)));
        }
        let proof = match one.sealed {
            true => controller.parts().tiles.proof(one.ord).map_err(Problem::internal)?,
            false => None,
        };
        bodies.push(CertificateBody {
            id: one.id,
            at: one.at,
            holds: row.machine.certificate == Some(one.id),
            jwt: ledger::acceptance::jwt(&one.signing_input, key),
            proof,
        });
    }
    Ok(bodies)
}

/// What a person decides about a machine. Each has a reason, which the machine and the audit log keep.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum MachineDeed {
    /// Let a held machine go on.
    Release { reason: String },
    /// No new work; what runs may end; then repair, as long as it is not taken back.
    Drain { reason: String },
    /// Take a drain back.
    Undrain { reason: String },
    /// Have it repaired that is not in service: `about` is a part, `gpu3`, or left out.
    Repair {
        reason: String,
        #[serde(default)]
        about: String,
    },
    /// Out for good.
    Retire { reason: String },
    /// Nobody may speak as its agent any more, with whatever certificate or token; it enrols anew with a new token.
    Revoke { reason: String },
}

impl MachineDeed {
    fn reason(&self) -> &str {
        match self {
            MachineDeed::Release { reason }
            | MachineDeed::Drain { reason }
            | MachineDeed::Undrain { reason }
            | MachineDeed::Repair { reason, .. }
            | MachineDeed::Retire { reason }
            | MachineDeed::Revoke { reason } => reason,
        }
    }
}

/// Decides about a machine: release, drain, undrain, repair, retire; or withdraws what its agent speaks with: revoke.
#[utoipa::path(post, path = "/api/v1/machines/{id}", tag = "fleet", params(("id" = String, Path, description = "mach_…")),
    request_body = MachineDeed,
    responses((status = 200, body = MachineBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn update(
    may: Allowed<MachineUpdate>,
    State(controller): State<Controller>,
    Id(id): Id<MachineId>,
    Body(deed): Body<MachineDeed>,
) -> Answer<MachineBody> {
    may.caller.require(None)?;
    input::words("reason", deed.reason())?;
    let _turn = controller.turn().await;
    let mut row = machine(&controller, id).await?;
    let (by, now) = (may.caller.actor.as_str(), controller.now());
    let refused = |refusal: lifecycle::Refusal| Problem::conflict(format!("Nothing was changed: {refusal}."));
    let kind = match &deed {
        MachineDeed::Release { reason } => {
            row.machine = lifecycle::release(&row.machine, by, reason, now).map_err(refused)?;
            "released"
        }
        MachineDeed::Repair { reason, about } => {
            row.machine = lifecycle::send_to_repair(&row.machine, about, by, reason, now).map_err(refused)?;
            "repair"
        }
        MachineDeed::Drain { reason } => {
            row.spec.drain = Some(format!("{reason} ({by})"));
            "drain asked for"
        }
        MachineDeed::Undrain { .. } => {
            if row.spec.drain.take().is_none() {
                return Err(Problem::conflict(
                    "Nobody asked for a drain of this machine; there is nothing to take back.",
                ));
            }
            "drain taken back"
        }
        MachineDeed::Retire { .. } => {
            row.spec.wanted = false;
            "retirement asked for"
        }
        MachineDeed::Revoke { reason } => {
            let entry = may.entry(&controller, id, None, &deed);
            let event = FleetEvent::of(&row.machine, now, "agent revoked", &format!("{reason} ({by})"));
            if controller.store().agent_revoke(id, now, &event, &entry).await? == 0 {
                return Err(Problem::conflict(
                    "Its agent has no certificate and no token; there is nothing to withdraw.",
                ));
            }
            return Ok(Json(MachineBody::from(&row)));
        }
    };
    row.spec.generation += 1;
    let entry = may.entry(&controller, id, None, &deed);
    let event = FleetEvent::of(&row.machine, now, kind, &format!("{} ({by})", deed.reason()));
    controller.store().machine_change(row.version, &row.spec, &row.machine, &event, &entry).await?;
    controller.bell().ring();
    Ok(Json(MachineBody::from(&row)))
}

/// A one-time token for a machine's agent.
#[derive(Debug, Serialize, ToSchema)]
pub struct AgentTokenBody {
    #[schema(value_type = String)]
    pub machine: MachineId,
    /// Shown once; `hoheit agent run --token-file` takes it.
    pub token: String,
    #[schema(value_type = i64)]
    pub expires_at: UnixMillis,
}

/// Makes a one-time token with which a machine's agent enrols; bound to the machine's serial number if that is known.
#[utoipa::path(post, path = "/api/v1/machines/{id}/agent-token", tag = "fleet",
    params(("id" = String, Path, description = "mach_…")),
    responses((status = 201, body = AgentTokenBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn agent_token(
    may: Allowed<MachineEnrol>,
    State(controller): State<Controller>,
    Id(id): Id<MachineId>,
) -> super::Created<AgentTokenBody> {
    may.caller.require(None)?;
    let row = machine(&controller, id).await?;
    let Some(make) = &controller.parts().agent_token else {
        return Err(Problem::conflict("No agent can enrol at this site: start `hoheit up` with --agents ADDR."));
    };
    if row.machine.lifecycle == Lifecycle::Retired {
        return Err(Problem::conflict("The machine is retired; its agent may not speak."));
    }
    let bill = row.spec.serials.get("chassis").filter(|serial| !serial.is_empty()).cloned();
    let custody = controller.store().observed(id).await?.custody.map(|custody| custody.serial);
    let expires_at = UnixMillis(controller.now().0 + agent::token::TOKEN_LIFE_MS);
    let (text, hash) = make();
    let token = AgentToken { machine: id, serial: bill.or(custody), expires_at, key: None };
    let entry =
        may.entry(&controller, id, None, &serde_json::json!({ "serial": token.serial, "expires_at": expires_at }));
    controller.store().agent_token_create(&hash, &token, &entry).await?;
    super::created(AgentTokenBody { machine: id, token: text, expires_at })
}

/// Where machines' BMCs are.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BmcsNew {
    pub bmcs: Vec<BmcNew>,
}

/// Where one machine's BMC is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BmcNew {
    /// The machine's slot or its id.
    pub machine: String,
    #[schema(example = "https://10.8.3.21")]
    pub url: String,
    pub username: String,
    pub password: String,
    /// SHA-256 of its TLS certificate, 64 hex digits; without it the site's CA must have signed it.
    pub pin: Option<String>,
}

/// How many were set.
#[derive(Debug, Serialize, ToSchema)]
pub struct BmcsSet {
    pub set: usize,
}

/// Says where BMCs are; all of them or none.
#[utoipa::path(put, path = "/api/v1/bmcs", tag = "fleet", request_body = BmcsNew,
    responses((status = 200, body = BmcsSet), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn bmcs(
    may: Allowed<MachineUpdate>,
    State(controller): State<Controller>,
    Body(new): Body<BmcsNew>,
) -> Answer<BmcsSet> {
    may.caller.require(None)?;
    let mut to = Vec::with_capacity(new.bmcs.len());
    for bmc in new.bmcs {
        let found = match bmc.machine.parse::<MachineId>() {
            Ok(id) => controller.store().machine(id).await?,
            Err(_) => controller.store().machine_at(&bmc.machine).await?,
        };
        let found = found.ok_or_else(|| {
            Problem::invalid(format!("bmcs: {} is neither a machine's id nor the slot of one.", bmc.machine))
        })?;
        if !(bmc.url.starts_with("https://") || bmc.url.starts_with("http://")) || bmc.url.len() > input::URL_BYTES_MAX
        {
            return Err(Problem::invalid(format!("bmcs: the URL of {} is no http or https URL.", bmc.machine)));
        }
        let Some(pin) = bmc.pin else {
            to.push(Bmc {
                machine: found.machine.id,
                url: bmc.url,
                username: bmc.username,
                password: bmc.password,
                pin: None,
            });
            continue;
        };
        input::digest("pin", Some(&format!("sha256:{pin}")))?;
        to.push(Bmc {
            machine: found.machine.id,
            url: bmc.url,
            username: bmc.username,
            password: bmc.password,
            pin: Some(pin),
        });
    }
    let entry = may.entry(&controller, "bmcs", None, &serde_json::json!({ "bmcs": to.len() }));
    controller.store().bmc_set(&to, &entry).await?;
    controller.bell().ring();
    Ok(Json(BmcsSet { set: to.len() }))
}

/// Which events to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventFilter {
    after: Option<u64>,
    limit: Option<u32>,
}

/// Lists what happened to machines and orders, oldest first: the last ones, or those after a number.
#[utoipa::path(get, path = "/api/v1/fleet/events", tag = "fleet",
    params(("after" = Option<u64>, Query, description = "only events with a greater seq"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, otherwise 100")),
    responses((status = 200, body = List<EventBody>), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn events(
    may: Allowed<MachineRead>,
    State(controller): State<Controller>,
    Query(filter): Query<EventFilter>,
) -> Answer<List<EventBody>> {
    let limit = input::limit(filter.limit)?;
    let events = match (may.caller.sees(None), filter.after) {
        (false, _) => Vec::new(),
        (true, Some(after)) => controller.store().fleet_events(after, limit).await?,
        (true, None) => controller.store().fleet_events_last(None, limit).await?,
    };
    Ok(List::of(events, EventBody::from))
}
