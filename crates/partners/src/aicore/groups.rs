//! `/v2/admin/resourceGroups`: named parts of the key's project. `default` is the project, and is always there.

use super::Answer;
use super::call::{Call, invalid, shown};
use super::deployed::made;
use super::lm::at_limit;
use super::refused::Refused;
use dialects::sap::{ResourceGroup, labels, timestamp};
use serde_json::{Value, json};
use store::{AicoreGroup, DEFAULT_GROUP, Made};
use types::{Code, UnixMillis};

/// Resource groups of one project, beside the default one. SAP's usual quota is 50.
const GROUPS_MAX: u64 = 50;

fn json_of(call: &Call, name: &str, labels: Value, created_at: UnixMillis) -> Value {
    let tenant = call.principal.tenant();
    json!({
        "resourceGroupId": name,
        "tenantId": tenant,
        "zoneId": tenant,
        "labels": labels,
        "status": "PROVISIONED",
        "statusMessage": "All onboarding steps are completed.",
        "createdAt": timestamp(created_at),
    })
}

fn stored(call: &Call, group: &AicoreGroup) -> Value {
    let labels = serde_json::from_str(&group.labels).unwrap_or_else(|_| json!([]));
    json_of(call, &group.name, labels, group.created_at)
}

fn default(call: &Call) -> Value {
    json_of(call, DEFAULT_GROUP, json!([]), made(call.project()))
}

pub(super) async fn list(call: Call) -> Answer {
    let groups = call.partners.parts().store.aicore_groups(call.project()).await?;
    let all: Vec<Value> =
        std::iter::once(default(&call)).chain(groups.iter().map(|group| stored(&call, group))).collect();
    let count = all.len();
    shown(200, &json!({"count": count, "resources": call.part(all)?}))
}

pub(super) async fn one(call: Call) -> Answer {
    let name = call.segment(3);
    if name == DEFAULT_GROUP {
        return shown(200, &default(&call));
    }
    match call.partners.parts().store.aicore_group(call.project(), name).await? {
        Some(group) => shown(200, &stored(&call, &group)),
        None => Err(Refused::not_found("resource group")),
    }
}

pub(super) async fn create(call: Call) -> Answer {
    let new = ResourceGroup::parse(&call.body).map_err(invalid)?;
    // Without an id the site finds one.
    let random = || format!("rg-{}", crate::hex(&call.random::<8>()));
    let group =
        AicoreGroup { name: new.id.unwrap_or_else(random), labels: new.labels.to_string(), created_at: call.now() };
    match call.partners.parts().store.aicore_group_create(call.project(), &group, GROUPS_MAX).await? {
        Made::Yes => {
            let tenant = call.principal.tenant();
            shown(202, &json!({"resourceGroupId": group.name, "tenantId": tenant, "zoneId": tenant}))
        }
        Made::AtLimit => Err(at_limit("resource groups beside the default one", GROUPS_MAX)),
    }
}

fn changeable(call: &Call) -> Result<&str, Refused> {
    match call.segment(3) {
        DEFAULT_GROUP => Err(Refused::of(Code::Conflict, "the default group is the project, and stays as it is")),
        name => Ok(name),
    }
}

pub(super) async fn label(call: Call) -> Answer {
    let name = changeable(&call)?;
    let labels = labels(&call.body).map_err(invalid)?;
    call.partners.parts().store.aicore_group_label(call.project(), name, &labels.to_string()).await?;
    Ok(super::refused::json(204, ""))
}

pub(super) async fn delete(call: Call) -> Answer {
    let name = changeable(&call)?;
    call.partners.parts().store.aicore_group_delete(call.project(), name).await?;
    shown(202, &json!({"id": name, "message": "Resource group deletion scheduled"}))
}
