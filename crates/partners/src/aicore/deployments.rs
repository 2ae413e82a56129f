//! `/v2/lm/deployments`: made, listed, stopped, deleted. Nothing is started by it: a deployment is a name under which a model or
//! orchestration is called.

use super::Answer;
use super::call::{Call, invalid, shown};
use super::deployed::{self, Deployed, configuration_of};
use super::lm::{asked_for, at_limit};
use super::refused::Refused;
use dialects::sap::{Modification, Target, new_deployment};
use serde_json::{Value, json};
use store::{AicoreDeployment, Allowed, Made};
use types::{Code, DeploymentId};

/// Deployments of one project that clients made, the stopped ones among them.
const DEPLOYMENTS_MAX: u64 = 200;

pub(super) async fn list(call: Call) -> Answer {
    let mut all = deployed::all(&call).await?;
    all.retain(|it| {
        asked_for(&call, &it.configuration)
            && call.query_list("status").is_none_or(|asked| asked.contains(&it.status()))
            && call.query("configurationId").is_none_or(|id| it.configuration.id.to_string() == id)
    });
    let count = all.len();
    let url = &call.partners.parts().public_url;
    let resources: Vec<Value> = call.part(all)?.iter().map(|it| it.json(url)).collect();
    shown(200, &json!({"count": count, "resources": resources}))
}

pub(super) async fn one(call: Call) -> Answer {
    let deployed = deployed::find(&call, call.segment(3)).await?;
    shown(200, &deployed.json(&call.partners.parts().public_url))
}

pub(super) async fn create(call: Call) -> Answer {
    let configuration = configuration_of(&call, new_deployment(&call.body).map_err(invalid)?).await?;
    let now = call.now();
    let row = AicoreDeployment {
        id: DeploymentId::from_parts(now, call.random()),
        configuration: configuration.id,
        target: Target::Running.as_str().to_owned(),
        updated: false,
        created_at: now,
        modified_at: now,
    };
    let store = &call.partners.parts().store;
    match store.aicore_deployment_create(call.place(), &row, DEPLOYMENTS_MAX).await? {
        Made::Yes => {
            let message = "Deployment scheduled.";
            shown(202, &json!({"id": row.id, "deploymentUrl": "", "message": message, "status": "UNKNOWN"}))
        }
        Made::AtLimit => Err(at_limit("deployments", DEPLOYMENTS_MAX)),
    }
}

/// A deployment that clients made: the site's own cannot be changed.
async fn changeable(call: &Call) -> Result<Deployed, Refused> {
    let deployed = deployed::find(call, call.segment(3)).await?;
    if deployed.automatic {
        let message = "the site made this deployment by itself, and keeps it: make one of your own to change it";
        return Err(Refused::of(Code::Conflict, message));
    }
    Ok(deployed)
}

pub(super) async fn modify(call: Call) -> Answer {
    let deployed = changeable(&call).await?;
    let (store, now) = (&call.partners.parts().store, call.now());
    match Modification::parse(&call.body).map_err(invalid)? {
        Modification::Stop => store.aicore_deployment_stop(call.place(), deployed.id, now).await?,
        Modification::Configure(id) => {
            let to = configuration_of(&call, id).await?;
            if to.executable != deployed.configuration.executable {
                let message = "a deployment keeps its executable: make another deployment for this configuration";
                return Err(Refused::of(Code::Conflict, message));
            }
            let allowed = store.aicore_deployment_configure(call.place(), deployed.id, id, now).await?;
            if allowed == Allowed::NotInThisState {
                let message = "this deployment is stopped: only a running one gets another configuration";
                return Err(Refused::of(Code::Conflict, message));
            }
        }
    }
    shown(202, &json!({"id": deployed.id, "message": "Deployment modification scheduled"}))
}

pub(super) async fn delete(call: Call) -> Answer {
    let deployed = changeable(&call).await?;
    match call.partners.parts().store.aicore_deployment_delete(call.place(), deployed.id).await? {
        Allowed::Yes => shown(202, &json!({"id": deployed.id, "message": "Deletion scheduled"})),
        Allowed::NotInThisState => {
            let message = "this deployment is not stopped: PATCH it with {\"targetStatus\":\"STOPPED\"} first";
            Err(Refused::of(Code::Conflict, message))
        }
    }
}
