//! What AI Core's API shows of a site: scenarios, executables, models, what it can do. The words are SAP's; an executable is a wire
//! format here, not a provider: each model is offered as `azure-openai`, which SAP's JavaScript client looks for, and as
//! `aicore-opensource`, and both speak OpenAI's format at the same paths.

use crate::time::timestamp;
use serde_json::{Value, json};
use types::snapshot::Price;
use types::{MicroEur, UnixMillis};

const ORCHESTRATION: &str = "orchestration";
pub const FOUNDATION_MODELS: &str = "foundation-models";

/// Our models have one version: the weights are in the receipt.
pub const MODEL_VERSION: &str = "1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Executable {
    Orchestration,
    AzureOpenai,
    Opensource,
}

impl Executable {
    pub const ALL: [Executable; 3] = [Executable::Orchestration, Executable::AzureOpenai, Executable::Opensource];

    pub const fn id(self) -> &'static str {
        match self {
            Executable::Orchestration => ORCHESTRATION,
            Executable::AzureOpenai => "azure-openai",
            Executable::Opensource => "aicore-opensource",
        }
    }

    pub const fn scenario(self) -> &'static str {
        match self {
            Executable::Orchestration => ORCHESTRATION,
            Executable::AzureOpenai | Executable::Opensource => FOUNDATION_MODELS,
        }
    }

    pub fn named(id: &str) -> Option<Executable> {
        Executable::ALL.into_iter().find(|executable| executable.id() == id)
    }

    /// Names of its parameters, and what they say.
    pub const fn parameters(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Executable::Orchestration => &[
                (
                    "modelFilterList",
                    "models that the deployment may ask, as JSON: [{\"modelName\",\"modelVersions\":[]}]",
                ),
                ("modelFilterListType", "allow or deny"),
            ],
            Executable::AzureOpenai | Executable::Opensource => {
                &[("modelName", "the model"), ("modelVersion", "its version, or latest")]
            }
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Executable::Orchestration => "templates, grounding, masking and a model in one call",
            Executable::AzureOpenai => "models in OpenAI's format, with api-version",
            Executable::Opensource => "models in OpenAI's format",
        }
    }
}

/// A model as a key sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    pub name: String,
    pub provider: String,
    pub context_length: u64,
    pub price: Option<Price>,
}

/// A list in AI Core's form.
pub fn list(resources: Vec<Value>) -> Value {
    json!({"count": resources.len(), "resources": resources})
}

pub fn scenarios(created: UnixMillis) -> Vec<Value> {
    let one = |id: &str, description: &str| {
        let at = timestamp(created);
        json!({"id": id, "name": id, "description": description, "labels": [], "createdAt": at, "modifiedAt": at})
    };
    vec![
        one(FOUNDATION_MODELS, "models, each by itself"),
        one(ORCHESTRATION, "templates, grounding, masking and a model in one call"),
    ]
}

pub fn executables(scenario: &str, created: UnixMillis) -> Vec<Value> {
    let at = timestamp(created);
    let parameter =
        |(name, description): &(&str, &str)| json!({"name": name, "description": description, "type": "string"});
    let one = |executable: Executable| {
        json!({
            "id": executable.id(),
            "name": executable.id(),
            "description": executable.description(),
            "scenarioId": executable.scenario(),
            "versionId": MODEL_VERSION,
            "deployable": true,
            "parameters": executable.parameters().iter().map(parameter).collect::<Vec<_>>(),
            "inputArtifacts": [],
            "outputArtifacts": [],
            "labels": [],
            "createdAt": at,
            "modifiedAt": at,
        })
    };
    Executable::ALL.into_iter().filter(|executable| executable.scenario() == scenario).map(one).collect()
}

/// What a runtime of AI Core can do, as `/v2/lm/meta` tells it.
pub fn meta() -> Value {
    json!({
        "runtimeIdentifier": "hoheit",
        "runtimeApiVersion": "2.0.0",
        "aiApi": {
            "version": "2.0.0",
            "capabilities": {
                "multitenant": true,
                "shareable": false,
                "staticDeployments": true,
                "userDeployments": true,
                "userExecutions": false,
                "timeToLiveDeployments": false,
                "executionSchedules": false,
                "logs": {"executions": false, "deployments": false},
                "bulkUpdates": {"executions": false, "deployments": false},
            },
        },
        "extensions": {"resourceGroups": {"version": "1.0.0"}},
    })
}

/// A model for each executable that may serve it.
pub fn models(models: &[Model]) -> Vec<Value> {
    let served = [Executable::AzureOpenai, Executable::Opensource];
    let allowed: Vec<Value> = [Executable::Orchestration]
        .into_iter()
        .chain(served)
        .map(|executable| json!({"scenarioId": executable.scenario(), "executableId": executable.id()}))
        .collect();
    let one = |model: &Model, executable: Executable| {
        json!({
            "model": model.name,
            "executableId": executable.id(),
            "description": format!("{} of {}", model.name, model.provider),
            "displayName": model.name,
            "accessType": "Remote",
            "provider": model.provider,
            "versions": [version(model)],
            "allowedScenarios": allowed,
        })
    };
    models.iter().flat_map(|model| served.map(|executable| one(model, executable))).collect()
}

/// What we do not know of a model (what it was made for, which modules suit it) is left empty rather than guessed.
fn version(model: &Model) -> Value {
    let cost = |name: &str, price: MicroEur| json!({name: per_thousand(price)});
    let costs: Vec<Value> = model
        .price
        .iter()
        .flat_map(|price| [cost("inputCost", price.input), cost("outputCost", price.output)])
        .collect();
    json!({
        "name": MODEL_VERSION,
        "isLatest": true,
        "deprecated": false,
        "retirementDate": "",
        "contextLength": model.context_length,
        "inputTypes": ["text"],
        "capabilities": [],
        "streamingSupported": true,
        "metadata": [],
        "cost": costs,
        "orchestrationCapabilities": [],
        "suggestedReplacements": [],
    })
}

/// Euro for a thousand tokens, exactly: a price is micro-euro for a million.
fn per_thousand(price: MicroEur) -> String {
    let text = format!("{}.{:09}", price.0 / 1_000_000_000, price.0 % 1_000_000_000);
    let text = text.trim_end_matches('0');
    text.strip_suffix('.').unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_for_a_thousand_tokens() {
        let check = |price: i64, expect: &str| assert_eq!(per_thousand(MicroEur(price)), expect);
        check(0, "0");
        check(500_000, "0.0005");
        check(1, "0.000000001");
        check(2_000_000_000, "2");
    }

    #[test]
    fn every_model_is_where_saps_clients_look() {
        let model = Model { name: "m".into(), provider: "p".into(), context_length: 8, price: None };
        let shown = models(&[model]);
        let executables: Vec<_> = shown.iter().map(|model| model["executableId"].as_str().unwrap()).collect();
        assert_eq!(executables, ["azure-openai", "aicore-opensource"]);
        assert_eq!(shown[0]["allowedScenarios"].as_array().unwrap().len(), 3);
        assert_eq!(super::executables(FOUNDATION_MODELS, UnixMillis(0)).len(), 2);
    }
}
