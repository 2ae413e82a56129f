//! Deployments that a call can see: those that the site makes by itself, and those that clients made.
//!
//! The site's own are not stored: their ids follow from project, group, executable and model, so they are the same at every gateway
//! and after every start, and there is nothing to clean up when a model goes. They cannot be stopped or deleted.

use super::call::Call;
use super::refused::Refused;
use aws_lc_rs::digest::{SHA256, digest};
use dialects::sap::{Configuration, Deployment, Executable, MODEL_VERSION, Model, Purpose, Target};
use serde_json::Value;
use store::{AicoreConfiguration, AicoreDeployment, StoreError};
use types::{Code, ConfigurationId, DeploymentId, ProjectId, UnixMillis};

pub(super) struct Deployed {
    pub id: DeploymentId,
    pub configuration: Configuration,
    pub target: Target,
    pub offered: bool,
    updated: bool,
    created_at: UnixMillis,
    modified_at: UnixMillis,
    /// Made by the site itself.
    pub automatic: bool,
}

impl Deployed {
    fn shown(&self) -> Deployment<'_> {
        Deployment {
            id: self.id,
            configuration: &self.configuration,
            target: self.target,
            offered: self.offered,
            updated: self.updated,
            created_at: self.created_at,
            modified_at: self.modified_at,
        }
    }

    pub fn status(&self) -> &'static str {
        self.shown().status()
    }

    pub fn json(&self, public_url: &str) -> Value {
        self.shown().json(public_url)
    }
}

/// The models that this call's key may ask.
pub(super) fn models(call: &Call) -> Vec<Model> {
    let shown = call.partners.parts().inner.models(&call.principal);
    let model = |it: gateway::inner::ModelShown| Model {
        name: it.name,
        provider: it.provider,
        context_length: it.context_length,
        price: it.price,
    };
    shown.into_iter().map(model).collect()
}

/// When a project was made: its id says so.
pub(super) fn made(project: ProjectId) -> UnixMillis {
    UnixMillis(i64::try_from(project.0 >> 80).unwrap_or_default())
}

/// 128 bits that follow from these words.
fn derived(words: [&str; 5]) -> u128 {
    let hash = digest(&SHA256, words.join("\0").as_bytes());
    hash.as_ref().iter().take(16).fold(0, |value, byte| value << 8 | u128::from(*byte))
}

fn automatic_one(call: &Call, executable: Executable, model: Option<&Model>) -> Deployed {
    let project = call.project().to_string();
    let name = model.map_or("", |model| model.name.as_str());
    let id = |kind| derived([kind, &project, &call.group, executable.id(), name]);
    let created_at = made(call.project());
    let configuration = Configuration {
        id: ConfigurationId(id("hoheit aicore configuration")),
        name: model.map_or_else(|| "defaultOrchestrationConfig".to_owned(), |model| model.name.clone()),
        executable,
        parameters: match model {
            Some(model) => vec![
                ("modelName".to_owned(), model.name.clone()),
                ("modelVersion".to_owned(), MODEL_VERSION.to_owned()),
            ],
            None => Vec::new(),
        },
        created_at,
    };
    Deployed {
        id: DeploymentId(id("hoheit aicore deployment")),
        configuration,
        target: Target::Running,
        offered: true,
        updated: false,
        created_at,
        modified_at: created_at,
        automatic: true,
    }
}

/// Orchestration, and each model under each executable that serves it.
pub(super) fn automatic(call: &Call) -> Vec<Deployed> {
    let models = models(call);
    let served = [Executable::AzureOpenai, Executable::Opensource].into_iter();
    let each =
        served.flat_map(|executable| models.iter().map(move |model| automatic_one(call, executable, Some(model))));
    std::iter::once(automatic_one(call, Executable::Orchestration, None)).chain(each).collect()
}

pub(super) fn configuration(row: AicoreConfiguration) -> Result<Configuration, Refused> {
    let damaged = || StoreError::Corrupt { what: format!("configuration {}", row.id) };
    let parameters = serde_json::from_str(&row.parameters).map_err(|_| damaged())?;
    let executable = Executable::named(&row.executable).ok_or_else(damaged)?;
    Ok(Configuration { id: row.id, name: row.name, executable, parameters, created_at: row.created_at })
}

/// A configuration of this call's group, the site's own among them.
pub(super) async fn configuration_of(call: &Call, id: ConfigurationId) -> Result<Configuration, Refused> {
    if let Some(known) = automatic(call).into_iter().find(|known| known.configuration.id == id) {
        return Ok(known.configuration);
    }
    match call.partners.parts().store.aicore_configuration(call.place(), id).await? {
        Some(row) => configuration(row),
        None => Err(Refused::not_found("configuration")),
    }
}

fn stored(row: AicoreDeployment, configuration: Configuration, models: &[Model]) -> Result<Deployed, Refused> {
    let target = Target::named(&row.target);
    let target = target.ok_or_else(|| StoreError::Corrupt { what: format!("deployment {}", row.id) })?;
    let offered = match Purpose::of(configuration.executable, &configuration.parameters) {
        Ok(Purpose::Model(name)) => models.iter().any(|model| model.name == name),
        Ok(Purpose::Orchestration(_)) => true,
        Err(_) => false,
    };
    Ok(Deployed {
        id: row.id,
        configuration,
        target,
        offered,
        updated: row.updated,
        created_at: row.created_at,
        modified_at: row.modified_at,
        automatic: false,
    })
}

/// All of this call's group: the site's own first, then what clients made, oldest first.
pub(super) async fn all(call: &Call) -> Result<Vec<Deployed>, Refused> {
    let store = &call.partners.parts().store;
    let mut all = automatic(call);
    let mut known: Vec<Configuration> = all.iter().map(|it| it.configuration.clone()).collect();
    let rows = store.aicore_deployments(call.place()).await?;
    if !rows.is_empty() {
        for row in store.aicore_configurations(call.place()).await? {
            known.push(configuration(row)?);
        }
    }
    let models = models(call);
    for row in rows {
        // A configuration of the site's own goes with its model: what was made of it is then not there either.
        if let Some(configuration) = known.iter().find(|it| it.id == row.configuration) {
            all.push(stored(row, configuration.clone(), &models)?);
        }
    }
    Ok(all)
}

/// One of this call's group.
pub(super) async fn find(call: &Call, id: &str) -> Result<Deployed, Refused> {
    let unknown = || Refused::not_found("deployment");
    let id: DeploymentId = id.parse().map_err(|_| unknown())?;
    if let Some(known) = automatic(call).into_iter().find(|known| known.id == id) {
        return Ok(known);
    }
    let row = call.partners.parts().store.aicore_deployment(call.place(), id).await?.ok_or_else(unknown)?;
    let configuration = configuration_of(call, row.configuration).await?;
    stored(row, configuration, &models(call))
}

/// What a running deployment of this call's group is for.
pub(super) async fn purpose(call: &Call, id: &str) -> Result<Purpose, Refused> {
    let deployed = find(call, id).await?;
    if deployed.status() != "RUNNING" {
        let message = format!("this deployment is {}: it can be called while it is RUNNING", deployed.status());
        return Err(Refused::of(Code::NotFound, message));
    }
    let configuration = &deployed.configuration;
    Purpose::of(configuration.executable, &configuration.parameters).map_err(|_| Refused::not_found("deployment"))
}
