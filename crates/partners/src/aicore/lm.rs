//! `/v2/lm`: what there is, and configurations.

use super::Answer;
use super::call::{Call, invalid, shown};
use super::deployed::{self, configuration_of, made, models as models_of};
use super::refused::Refused;
use dialects::sap::{self, Configuration, FOUNDATION_MODELS, NewConfiguration, configuration_json, list};
use serde_json::{Value, json};
use store::{AicoreConfiguration, Made};
use types::{Code, ConfigurationId};

/// Configurations of one project. They are never deleted but with their group, and of 27 KB at most: 27 MB.
const CONFIGURATIONS_MAX: u64 = 1_000;

pub(super) async fn meta(_: Call) -> Answer {
    shown(200, &sap::meta())
}

pub(super) async fn scenarios(call: Call) -> Answer {
    shown(200, &list(sap::scenarios(made(call.project()))))
}

fn one(resources: Vec<Value>, id: &str, what: &str) -> Result<Value, Refused> {
    resources.into_iter().find(|resource| resource["id"] == id).ok_or_else(|| Refused::not_found(what))
}

pub(super) async fn scenario(call: Call) -> Answer {
    shown(200, &one(sap::scenarios(made(call.project())), call.segment(3), "scenario")?)
}

/// Of a scenario that exists.
fn executables_of(call: &Call) -> Result<Vec<Value>, Refused> {
    let executables = sap::executables(call.segment(3), made(call.project()));
    if executables.is_empty() { Err(Refused::not_found("scenario")) } else { Ok(executables) }
}

pub(super) async fn versions(call: Call) -> Answer {
    executables_of(&call)?;
    let at = sap::timestamp(made(call.project()));
    let version = json!({"id": sap::MODEL_VERSION, "scenarioId": call.segment(3), "createdAt": at, "modifiedAt": at});
    shown(200, &list(vec![version]))
}

pub(super) async fn executables(call: Call) -> Answer {
    shown(200, &list(executables_of(&call)?))
}

pub(super) async fn executable(call: Call) -> Answer {
    shown(200, &one(executables_of(&call)?, call.segment(5), "executable")?)
}

pub(super) async fn models(call: Call) -> Answer {
    if call.segment(3) != FOUNDATION_MODELS {
        return Err(Refused::not_found("scenario"));
    }
    shown(200, &list(sap::models(&models_of(&call))))
}

/// Whether a configuration is one that the call's filters ask for.
pub(super) fn asked_for(call: &Call, configuration: &Configuration) -> bool {
    let executable = configuration.executable;
    call.query("scenarioId").is_none_or(|scenario| scenario == executable.scenario())
        && call.query_list("executableIds").is_none_or(|ids| ids.contains(&executable.id()))
}

pub(super) async fn configurations(call: Call) -> Answer {
    let mut all: Vec<Configuration> = deployed::automatic(&call).into_iter().map(|it| it.configuration).collect();
    for row in call.partners.parts().store.aicore_configurations(call.place()).await? {
        all.push(deployed::configuration(row)?);
    }
    all.retain(|configuration| asked_for(&call, configuration));
    let count = all.len();
    let resources: Vec<Value> = call.part(all)?.iter().map(configuration_json).collect();
    shown(200, &json!({"count": count, "resources": resources}))
}

pub(super) async fn configuration(call: Call) -> Answer {
    let id = call.segment(3).parse().map_err(|_| Refused::not_found("configuration"))?;
    shown(200, &configuration_json(&configuration_of(&call, id).await?))
}

pub(super) async fn configuration_create(call: Call) -> Answer {
    let new = NewConfiguration::parse(&call.body).map_err(invalid)?;
    let row = AicoreConfiguration {
        id: ConfigurationId::from_parts(call.now(), call.random()),
        name: new.name,
        executable: new.executable.id().to_owned(),
        parameters: json!(new.parameters).to_string(),
        created_at: call.now(),
    };
    let store = &call.partners.parts().store;
    match store.aicore_configuration_create(call.place(), &row, CONFIGURATIONS_MAX).await? {
        Made::Yes => shown(201, &json!({"id": row.id, "message": "Configuration created"})),
        Made::AtLimit => Err(at_limit("configurations", CONFIGURATIONS_MAX)),
    }
}

pub(super) fn at_limit(what: &str, max: u64) -> Refused {
    Refused::of(Code::Conflict, format!("a project has at most {max} {what}: delete a resource group or what is in it"))
}
