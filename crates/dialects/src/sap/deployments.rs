//! Configurations and deployments in AI Core's words. A deployment here starts nothing: it names a model, or which models
//! orchestration may ask, and is callable from when it is made. The rules of what may be done to one are here; where they are
//! kept is the shell's matter.

use super::catalogue::{Executable, MODEL_VERSION};
use super::read::{Object, Wrong};
use crate::time::timestamp;
use serde_json::{Value, json};
use types::{ConfigurationId, DeploymentId, UnixMillis};

/// As SAP's: characters of a name, a key and a value.
const NAME_MAX: usize = 256;
const VALUE_MAX: usize = 5_000;

/// A configuration as stored, or one that the site made by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    pub id: ConfigurationId,
    pub name: String,
    pub executable: Executable,
    pub parameters: Vec<(String, String)>,
    pub created_at: UnixMillis,
}

/// What a client sends to make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConfiguration {
    pub name: String,
    pub executable: Executable,
    pub parameters: Vec<(String, String)>,
}

impl NewConfiguration {
    pub fn parse(body: &[u8]) -> Result<NewConfiguration, Wrong> {
        let root: Value = serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
        let new = Object::body(&root)?;
        new.only(&["name", "executableId", "scenarioId", "versionId", "parameterBindings", "inputArtifactBindings"])?;
        let name = new.need_text("name")?;
        if name.chars().count() > NAME_MAX {
            return Err(format!("name may have at most {NAME_MAX} characters"));
        }
        let (scenario, executable) = (new.need_text("scenarioId")?, new.need_text("executableId")?);
        let executable = Executable::named(executable)
            .filter(|executable| executable.scenario() == scenario)
            .ok_or_else(|| format!("scenario {scenario} has no executable {executable} here"))?;
        if new.list("inputArtifactBindings")?.is_some_and(|list| !list.is_empty()) {
            return Err("inputArtifactBindings: this site has no artifacts: leave it out".to_owned());
        }
        new.text("versionId")?;
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (path, binding) in new.list("parameterBindings")?.unwrap_or_default() {
            let binding = Object::of(binding, &*path)?;
            binding.only(&["key", "value"])?;
            let key = binding.need_text("key")?;
            let value = binding.text("value")?.ok_or_else(|| format!("{path}.value is missing"))?;
            if !executable.parameters().iter().any(|(name, _)| *name == key) {
                return Err(format!("{path}.key: {} has no parameter {key}", executable.id()));
            }
            if value.chars().count() > VALUE_MAX || parameters.iter().any(|(known, _)| known == key) {
                return Err(format!("{path}: a value has at most {VALUE_MAX} characters, and each key stands once"));
            }
            parameters.push((key.to_owned(), value.to_owned()));
        }
        Purpose::of(executable, &parameters)?;
        Ok(NewConfiguration { name: name.to_owned(), executable, parameters })
    }
}

/// What a deployment of a configuration does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    Orchestration(ModelFilter),
    /// This model, in OpenAI's form.
    Model(String),
}

/// Which models orchestration may ask. It narrows what the key may ask anyway, and never widens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFilter {
    allow: bool,
    /// Names, and versions if not all.
    listed: Vec<(String, Vec<String>)>,
}

impl Purpose {
    pub fn of(executable: Executable, parameters: &[(String, String)]) -> Result<Purpose, Wrong> {
        let value = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if executable == Executable::Orchestration {
            return ModelFilter::of(value("modelFilterList"), value("modelFilterListType")).map(Purpose::Orchestration);
        }
        let model = value("modelName").filter(|name| !name.is_empty()).ok_or("modelName is missing")?;
        match value("modelVersion") {
            None | Some("" | "latest" | MODEL_VERSION) => Ok(Purpose::Model(model.to_owned())),
            Some(version) => Err(format!("modelVersion: {model} has no version {version} here: say latest")),
        }
    }
}

impl ModelFilter {
    fn of(list: Option<&str>, kind: Option<&str>) -> Result<ModelFilter, Wrong> {
        let allow = match (list, kind) {
            (None, None) => return Ok(ModelFilter { allow: false, listed: Vec::new() }),
            (Some(_), Some("allow")) => true,
            (Some(_), Some("deny")) => false,
            _ => return Err("modelFilterList goes with modelFilterListType, which is allow or deny".to_owned()),
        };
        let list: Value = serde_json::from_str(list.unwrap_or_default())
            .map_err(|error| format!("modelFilterList is not JSON: {error}"))?;
        let Value::Array(list) = list else { return Err("modelFilterList must be a list".to_owned()) };
        let one = |(number, value): (usize, &Value)| {
            let listed = Object::of(value, format!("modelFilterList[{number}]"))?;
            listed.only(&["modelName", "modelVersions"])?;
            Ok((listed.need_text("modelName")?.to_owned(), listed.texts("modelVersions")?.unwrap_or_default()))
        };
        let listed = list.iter().enumerate().map(one).collect::<Result<_, Wrong>>()?;
        Ok(ModelFilter { allow, listed })
    }

    pub fn permits(&self, model: &str) -> bool {
        let versions = |versions: &[String]| {
            versions.is_empty() || versions.iter().any(|version| version == MODEL_VERSION || version == "latest")
        };
        let listed = self.listed.iter().any(|(name, of)| name == model && versions(of));
        listed == self.allow
    }
}

/// What is asked for of a deployment; what it is follows from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Running,
    Stopped,
}

impl Target {
    pub const fn as_str(self) -> &'static str {
        match self {
            Target::Running => "RUNNING",
            Target::Stopped => "STOPPED",
        }
    }

    pub fn named(text: &str) -> Option<Target> {
        [Target::Running, Target::Stopped].into_iter().find(|target| target.as_str() == text)
    }
}

/// What is to be done to a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Modification {
    Stop,
    Configure(ConfigurationId),
}

impl Modification {
    pub fn parse(body: &[u8]) -> Result<Modification, Wrong> {
        let root: Value = serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
        let change = Object::body(&root)?;
        change.only(&["targetStatus", "configurationId"])?;
        match (change.text("targetStatus")?, change.text("configurationId")?) {
            (Some("STOPPED"), None) => Ok(Modification::Stop),
            (None, Some(id)) => {
                id.parse().map(Modification::Configure).map_err(|_| format!("there is no configuration {id}"))
            }
            (Some(_), None) => Err("targetStatus can only become STOPPED: make another deployment to start".to_owned()),
            _ => Err("say either targetStatus or configurationId".to_owned()),
        }
    }
}

/// The configuration that a deployment is to be made of.
pub fn new_deployment(body: &[u8]) -> Result<ConfigurationId, Wrong> {
    let root: Value = serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
    let new = Object::body(&root)?;
    new.only(&["configurationId", "ttl"])?;
    if new.get("ttl").is_some() {
        return Err("ttl: deployments here run until they are stopped: leave it out".to_owned());
    }
    let id = new.need_text("configurationId")?;
    id.parse().map_err(|_| format!("there is no configuration {id}"))
}

/// A deployment as it is shown.
pub struct Deployment<'a> {
    pub id: DeploymentId,
    pub configuration: &'a Configuration,
    pub target: Target,
    /// Whether what it names is offered to this key: only then does it run.
    pub offered: bool,
    pub updated: bool,
    pub created_at: UnixMillis,
    pub modified_at: UnixMillis,
}

impl Deployment<'_> {
    pub fn status(&self) -> &'static str {
        match (self.target, self.offered) {
            (Target::Running, true) => "RUNNING",
            // The model is not offered, or not any more, or policy does not let this key have it.
            (Target::Running, false) => "PENDING",
            (Target::Stopped, _) => "STOPPED",
        }
    }

    /// `api` is the API's address, with `/v2` or without.
    pub fn json(&self, api: &str) -> Value {
        let configuration = self.configuration;
        let (created, modified) = (timestamp(self.created_at), timestamp(self.modified_at));
        let running = self.status() == "RUNNING";
        let model = match Purpose::of(configuration.executable, &configuration.parameters) {
            Ok(Purpose::Model(name)) => json!({"model": {"name": name, "version": MODEL_VERSION}}),
            _ => json!({}),
        };
        let mut shown = json!({
            "id": self.id,
            "deploymentUrl": if running { url(api, self.id) } else { String::new() },
            "configurationId": configuration.id,
            "configurationName": configuration.name,
            "executableId": configuration.executable.id(),
            "scenarioId": configuration.executable.scenario(),
            "status": self.status(),
            "targetStatus": self.target.as_str(),
            "lastOperation": if self.updated { "UPDATE" } else { "CREATE" },
            "latestRunningConfigurationId": configuration.id,
            "createdAt": created,
            "modifiedAt": modified,
            "submissionTime": created,
            "startTime": created,
            "details": {"resources": {"backendDetails": model}, "scaling": {"backendDetails": {}}},
        });
        if self.target == Target::Stopped {
            shown["completionTime"] = modified.into();
        }
        shown
    }
}

/// Where a deployment is called.
fn url(api: &str, id: DeploymentId) -> String {
    format!("{}/v2/inference/deployments/{id}", api.trim_end_matches('/').trim_end_matches("/v2"))
}

pub fn configuration_json(configuration: &Configuration) -> Value {
    let binding = |(key, value): &(String, String)| json!({"key": key, "value": value});
    json!({
        "id": configuration.id,
        "name": configuration.name,
        "executableId": configuration.executable.id(),
        "scenarioId": configuration.executable.scenario(),
        "parameterBindings": configuration.parameters.iter().map(binding).collect::<Vec<_>>(),
        "inputArtifactBindings": [],
        "createdAt": timestamp(configuration.created_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: Value) -> Result<NewConfiguration, Wrong> {
        NewConfiguration::parse(value.to_string().as_bytes())
    }

    #[test]
    fn configurations() {
        let good = json!({"name": "c", "executableId": "azure-openai", "scenarioId": "foundation-models",
            "versionId": "0.0.1", "parameterBindings": [{"key": "modelName", "value": "m"}, {"key": "modelVersion", "value": "latest"}],
            "inputArtifactBindings": []});
        assert_eq!(parse(good.clone()).unwrap().executable, Executable::AzureOpenai);
        let check = |edit: &dyn Fn(&mut Value), named: &str| {
            let mut bad = good.clone();
            edit(&mut bad);
            let wrong = parse(bad).unwrap_err();
            assert!(wrong.contains(named), "{named}: {wrong}");
        };
        check(&|c| c["scenarioId"] = json!("orchestration"), "no executable");
        check(&|c| c["executableId"] = json!("aws-bedrock"), "no executable");
        check(&|c| c["parameterBindings"] = json!([]), "modelName");
        check(&|c| c["parameterBindings"][1]["value"] = json!("2024-08-06"), "no version 2024-08-06");
        check(&|c| c["parameterBindings"][1]["key"] = json!("modelName"), "each key stands once");
        check(&|c| c["parameterBindings"][1]["key"] = json!("gpu"), "no parameter gpu");
        check(&|c| c["name"] = json!("x".repeat(257)), "256");
        check(&|c| c["inputArtifactBindings"] = json!([{}]), "artifacts");
        check(&|c| c["more"] = json!(1), "more");
    }

    #[test]
    fn the_filter_of_models() {
        let filter = |list: &str, kind: &str| ModelFilter::of(Some(list), Some(kind)).unwrap();
        let list = r#"[{"modelName":"a"},{"modelName":"b","modelVersions":["7"]},{"modelName":"c","modelVersions":["latest"]}]"#;
        let asked = |filter: &ModelFilter| ["a", "b", "c", "d"].map(|model| filter.permits(model));
        assert_eq!(asked(&filter(list, "allow")), [true, false, true, false]);
        assert_eq!(asked(&filter(list, "deny")), [false, true, false, true]);
        assert_eq!(asked(&ModelFilter::of(None, None).unwrap()), [true; 4]);
        assert_eq!(asked(&filter("[]", "allow")), [false; 4]);
        for (list, kind) in
            [(Some("[]"), None), (None, Some("allow")), (Some("[]"), Some("maybe")), (Some("{}"), Some("deny"))]
        {
            assert!(ModelFilter::of(list, kind).is_err(), "{list:?} {kind:?}");
        }
    }

    #[test]
    fn modifications() {
        let check = |body: Value, expect: Option<Modification>| {
            assert_eq!(Modification::parse(body.to_string().as_bytes()).ok(), expect, "{body}");
        };
        let id = ConfigurationId(3);
        check(json!({"targetStatus": "STOPPED"}), Some(Modification::Stop));
        check(json!({"configurationId": id}), Some(Modification::Configure(id)));
        check(json!({"targetStatus": "RUNNING"}), None);
        check(json!({"targetStatus": "STOPPED", "configurationId": id}), None);
        check(json!({}), None);
    }

    #[test]
    fn a_deployment_in_camel_case_alone() {
        let configuration = Configuration {
            id: ConfigurationId(1),
            name: "c".into(),
            executable: Executable::AzureOpenai,
            parameters: vec![("modelName".into(), "m".into())],
            created_at: UnixMillis(0),
        };
        let mut deployment = Deployment {
            id: DeploymentId(2),
            configuration: &configuration,
            target: Target::Running,
            offered: true,
            updated: false,
            created_at: UnixMillis(0),
            modified_at: UnixMillis(0),
        };
        let shown = deployment.json("http://x/v2/");
        assert!(!shown.to_string().contains("backend_details"));
        assert_eq!(shown["details"]["resources"]["backendDetails"]["model"]["name"], "m");
        assert_eq!(shown["deploymentUrl"], "http://x/v2/inference/deployments/d00000000000000000000000002");
        deployment.offered = false;
        assert_eq!((deployment.status(), &deployment.json("x")["deploymentUrl"]), ("PENDING", &json!("")));
        deployment.target = Target::Stopped;
        assert_eq!(deployment.status(), "STOPPED");
    }
}
