//! A request to `/v2/completion`, read strictly: what is not known is refused with its path, and modules that this site does not
//! have are refused by name, rather than being left out of an answer that would look as if they had worked.

use super::error::{Failure, Location};
use super::grounding::Grounding;
use super::masking::Masking;
use super::messages::messages;
use super::read::{Object, Wrong};
use super::stream::Chunking;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Configurations that one request may name: each is an inference that may run. SAP states no limit; its samples have two.
const CONFIGURATIONS_MAX: usize = 8;

/// As SAP's: seconds for one inference, and how often it is tried again. One of SAP's clients says 600 at most, the other 1,200.
pub(super) const TIMEOUT_SECONDS_MAX: u64 = 1_200;
pub(super) const TIMEOUT_SECONDS_USUAL: u64 = 600;
pub(super) const RETRIES_MAX: u64 = 5;

/// What was asked.
#[derive(Debug)]
pub struct Completion {
    /// Best first; one, unless the client sent a list.
    pub configurations: Vec<Configuration>,
    /// Some: the answer is a stream.
    pub stream: Option<Chunking>,
    pub(super) values: BTreeMap<String, String>,
    pub(super) history: Vec<Value>,
}

/// One configuration of the modules.
#[derive(Debug)]
pub struct Configuration {
    pub model: Model,
    pub(super) prompt: Option<Prompt>,
    pub grounding: Option<Grounding>,
    pub masking: Option<Masking>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub name: String,
    /// None is `latest`.
    pub version: Option<String>,
    pub(super) params: Map<String, Value>,
    pub timeout_seconds: u64,
}

#[derive(Debug)]
pub(super) struct Prompt {
    /// Each with its path, for errors.
    pub template: Vec<(String, Value)>,
    pub defaults: Vec<(String, String)>,
    pub tools: Option<Value>,
    pub response_format: Option<Value>,
}

impl Completion {
    pub fn parse(body: &[u8]) -> Result<Completion, Failure> {
        let root = json(body).map_err(Failure::request)?;
        read(&root)
    }
}

pub(super) fn json(body: &[u8]) -> Result<Value, Wrong> {
    serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))
}

fn read(root: &Value) -> Result<Completion, Failure> {
    let request = Object::body(root).map_err(Failure::request)?;
    if request.get("config_ref").is_some() {
        let message = "config_ref: stored configurations are not supported here: send the configuration as config";
        return Err(Failure::request(message));
    }
    request.only(&["config", "placeholder_values", "messages_history"]).map_err(Failure::request)?;
    let config = request.need_object("config").map_err(Failure::request)?;
    config.only(&["modules", "stream"]).map_err(Failure::request)?;
    let stream = stream(&config).map_err(Failure::request)?;
    let history = match request.list("messages_history").map_err(Failure::request)? {
        Some(list) => messages(&list, None).map_err(Failure::request)?,
        None => Vec::new(),
    };
    let values = request.map_of_texts("placeholder_values").map_err(Failure::request)?.into_iter().collect();
    let configurations = match config.get("modules") {
        None => return Err(Failure::request("config.modules is missing")),
        Some(Value::Array(list)) if list.is_empty() || list.len() > CONFIGURATIONS_MAX => {
            let message = format!("config.modules: a list has 1 to {CONFIGURATIONS_MAX} configurations");
            return Err(Failure::request(message));
        }
        Some(Value::Array(list)) => {
            let one = |(number, modules)| configuration(modules, &format!("config.modules[{number}]"));
            list.iter().enumerate().map(one).collect::<Result<_, _>>()?
        }
        Some(modules) => vec![configuration(modules, "config.modules")?],
    };
    let completion = Completion { configurations, stream, values, history };
    completion.check()?;
    Ok(completion)
}

fn configuration(modules: &Value, path: &str) -> Result<Configuration, Failure> {
    let modules = Object::of(modules, path).map_err(Failure::request)?;
    for (name, location) in [("filtering", Location::Filtering), ("translation", Location::Translation)] {
        if modules.get(name).is_some() {
            let message = format!("{path}.{name}: this site has no {name} module: leave it out");
            return Err(Failure::new(400, location, message));
        }
    }
    modules.only(&["prompt_templating", "grounding", "masking"]).map_err(Failure::request)?;
    let templating = modules.need_object("prompt_templating").map_err(Failure::request)?;
    templating.only(&["prompt", "model"]).map_err(Failure::request)?;
    let model = templating.need_object("model").and_then(|model| Model::read(&model)).map_err(Failure::request)?;
    let prompt = match templating.object("prompt").map_err(Failure::request)? {
        Some(prompt) => Some(Prompt::read(&prompt)?),
        None => None,
    };
    if let Some(prompt) = &prompt {
        let twice = |name: &str, here: bool| here && model.params.contains_key(name);
        if twice("tools", prompt.tools.is_some()) || twice("response_format", prompt.response_format.is_some()) {
            let message = format!("{path}: tools and response_format stand in prompt or in params, not in both");
            return Err(Failure::request(message));
        }
    }
    let grounding = modules.object("grounding").and_then(|it| it.map(|it| Grounding::read(&it)).transpose());
    let grounding = grounding.map_err(|wrong| Failure::new(400, Location::Grounding, wrong))?;
    let masking = modules.object("masking").and_then(|it| it.map(|it| Masking::read(&it)).transpose());
    let masking = masking.map_err(|wrong| Failure::new(400, Location::Masking, wrong))?;
    Ok(Configuration { model, prompt, grounding, masking })
}

impl Model {
    fn read(model: &Object<'_>) -> Result<Model, Wrong> {
        /// What the shell and the other modules say; `stream_options` stands in SAP's own samples and says nothing new.
        const OURS: [&str; 3] = ["model", "messages", "stream"];
        model.only(&["name", "version", "params", "timeout", "max_retries"])?;
        let mut params = match model.get("params") {
            None => Map::new(),
            Some(Value::Object(params)) => params.clone(),
            Some(_) => return Err(format!("{}.params must be an object", model.path)),
        };
        if let Some(name) = OURS.iter().find(|name| params.contains_key(**name)) {
            return Err(format!("{}.params.{name} is set by other members of the request: leave it out", model.path));
        }
        params.remove("stream_options");
        // Checked and not counted: the site itself tries up to three replicas before the first token.
        model.whole("max_retries", 0..=RETRIES_MAX)?;
        let timeout = model.whole("timeout", 1..=TIMEOUT_SECONDS_MAX)?;
        Ok(Model {
            name: model.need_text("name")?.to_owned(),
            version: version(model.text("version")?),
            params,
            timeout_seconds: timeout.unwrap_or(TIMEOUT_SECONDS_USUAL),
        })
    }
}

/// `latest` is whatever there is.
pub(super) fn version(asked: Option<&str>) -> Option<String> {
    asked.filter(|version| !version.is_empty() && *version != "latest").map(str::to_owned)
}

impl Prompt {
    fn read(prompt: &Object<'_>) -> Result<Prompt, Failure> {
        if prompt.get("template_ref").is_some() {
            let path = &prompt.path;
            let message =
                format!("{path}.template_ref: this site has no prompt registry: send the template as template");
            return Err(Failure::new(400, Location::Templating, message));
        }
        let read = || {
            prompt.only(&["template", "defaults", "tools", "response_format"])?;
            let template = prompt.list("template")?.unwrap_or_default();
            if template.is_empty() {
                return Err(format!("{}.template must be a list of at least one message", prompt.path));
            }
            Ok(Prompt {
                template: template.into_iter().map(|(path, message)| (path, message.clone())).collect(),
                defaults: prompt.map_of_texts("defaults")?,
                tools: prompt
                    .list("tools")?
                    .map(|tools| tools.iter().map(|(_, tool)| without_directive(tool)).collect()),
                response_format: prompt.get("response_format").cloned(),
            })
        };
        read().map_err(Failure::request)
    }
}

/// A tool without the directive for other providers' prompt caches.
fn without_directive(tool: &Value) -> Value {
    let mut tool = tool.clone();
    if let Some(members) = tool.as_object_mut() {
        members.remove("cache_control");
    }
    tool
}

fn stream(config: &Object<'_>) -> Result<Option<Chunking>, Wrong> {
    let Some(stream) = config.object("stream")? else { return Ok(None) };
    stream.only(&["enabled", "chunk_size", "delimiters"])?;
    let chunking = Chunking::read(&stream)?;
    Ok(stream.flag("enabled")?.then_some(chunking))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn modules(more: Value) -> Value {
        let mut modules = json!({"prompt_templating": {
            "prompt": {"template": [{"role": "user", "content": "Hi"}]},
            "model": {"name": "m"},
        }});
        modules.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        modules
    }

    fn parse(request: &Value) -> Result<Completion, Failure> {
        Completion::parse(request.to_string().as_bytes())
    }

    #[test]
    fn modules_that_we_do_not_have_are_refused_by_name() {
        let check = |more: Value, location: &str, named: &str| {
            let failure = parse(&json!({"config": {"modules": modules(more.clone())}})).unwrap_err();
            assert_eq!((failure.code, failure.location.as_str()), (400, location), "{more}");
            assert!(failure.message.contains(named), "{}", failure.message);
        };
        check(json!({"filtering": {"input": {"filters": []}}}), "Filtering Module", "filtering");
        check(json!({"translation": {}}), "Translation Module", "translation");
        check(json!({"telepathy": {}}), "Request Body", "config.modules.telepathy");
    }

    #[test]
    fn what_is_not_known_is_named_with_its_path() {
        let check = |request: Value, named: &str| {
            let failure = parse(&request).unwrap_err();
            assert_eq!(failure.code, 400);
            assert!(failure.message.contains(named), "{named}: {}", failure.message);
        };
        let with = |edit: &dyn Fn(&mut Value)| {
            let mut request = json!({"config": {"modules": modules(json!({}))}});
            edit(&mut request);
            request
        };
        check(json!([]), "the body must be an object");
        check(json!({}), "config is missing");
        check(json!({"config": {}}), "config.modules is missing");
        check(json!({"config": {"modules": []}}), "1 to 8");
        check(json!({"config_ref": {"id": "x"}}), "config_ref");
        check(with(&|r| r["extra"] = json!(1)), "extra");
        check(with(&|r| r["placeholder_values"] = json!({"x": 1})), "placeholder_values.x must be a string");
        let model = "config.modules.prompt_templating.model";
        check(with(&|r| r["config"]["modules"]["prompt_templating"]["model"] = json!({})), &format!("{model}.name"));
        for (name, value) in
            [("timeout", json!(0)), ("timeout", json!(1_201)), ("max_retries", json!(6)), ("x", json!(1))]
        {
            let set = |r: &mut Value| r["config"]["modules"]["prompt_templating"]["model"][name] = value.clone();
            check(with(&set), &format!("{model}.{name}"));
        }
        let params =
            |r: &mut Value| r["config"]["modules"]["prompt_templating"]["model"]["params"] = json!({"stream": true});
        check(with(&params), "params.stream");
        let prompt = |value: Value| with(&|r| r["config"]["modules"]["prompt_templating"]["prompt"] = value.clone());
        check(prompt(json!({"template": []})), "at least one message");
        check(prompt(json!({"template_ref": {"id": "x"}})), "template_ref");
        check(prompt(json!({"template": [{"role": "boss", "content": "x"}]})), "role must be one of");
        check(prompt(json!({"template": [{"role": "user", "content": [{"type": "file", "file": {}}]}]})), "files");
        check(prompt(json!({"template": [{"role": "tool", "content": "x"}]})), "tool_call_id");
        check(with(&|r| r["config"]["stream"] = json!({"enabled": true, "chunk_size": 0})), "chunk_size");
        check(with(&|r| r["config"]["stream"] = json!({"enabled": true, "delimiters": []})), "delimiters");
    }

    #[test]
    fn timeouts_at_their_edges() {
        for seconds in [1, 1_200] {
            let mut request = json!({"config": {"modules": modules(json!({}))}});
            request["config"]["modules"]["prompt_templating"]["model"]["timeout"] = json!(seconds);
            assert_eq!(parse(&request).unwrap().configurations[0].model.timeout_seconds, seconds);
        }
    }

    #[test]
    fn a_prompt_is_not_needed_where_there_is_a_history() {
        let mut request = json!({"config": {"modules": {"prompt_templating": {"model": {"name": "m"}}}}});
        assert!(parse(&request).is_err());
        request["messages_history"] = json!([{"role": "user", "content": "Hi"}]);
        assert!(parse(&request).is_ok());
    }
}
