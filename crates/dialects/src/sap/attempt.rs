//! One configuration on its way to the model, in SAP's order: grounding, templating, masking, model; on the way back unmasking.
//! What each step did is kept for `intermediate_results`.
//!
//! The shell drives: it asks for [`Attempt::retrievals`], gives what was found to [`Attempt::grounded`], and asks the model what
//! [`Attempt::prepare`] says.

use super::answer::Answer;
use super::error::{Failure, Location};
use super::grounding::{self, Retrieval};
use super::messages::{each_text, messages};
use super::request::{Completion, Configuration};
use super::template::Filling;
use masking::{MaskError, Masker};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use types::Passage;

pub struct Attempt<'a> {
    completion: &'a Completion,
    configuration: &'a Configuration,
    masker: Option<Masker>,
    query: String,
    found: String,
    passages: Vec<String>,
    results: Map<String, Value>,
}

/// What to ask the model, and what to make of its answer.
pub struct Prepared {
    /// In OpenAI's form.
    pub body: Vec<u8>,
    /// Hashes of the passages in the prompt.
    pub passages: Vec<String>,
    pub answer: Answer,
}

impl Completion {
    /// Refuses placeholders without a value in any configuration, and values for which no configuration has a placeholder.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let mut asked = BTreeSet::new();
        for configuration in &self.configurations {
            asked.extend(self.check_one(configuration)?);
        }
        let unused: Vec<&str> = self.values.keys().map(String::as_str).filter(|name| !asked.contains(*name)).collect();
        match unused.is_empty() {
            true => Ok(()),
            false => Err(parameters("unused parameters", &unused)),
        }
    }

    /// The placeholders that this configuration asks for.
    fn check_one(&self, configuration: &Configuration) -> Result<BTreeSet<String>, Failure> {
        let mut filling = self.filling(configuration, "");
        match &configuration.prompt {
            Some(prompt) => drop(messages(&borrowed(&prompt.template), Some(&mut filling)).map_err(Failure::request)?),
            None if self.history.is_empty() => {
                let message = "without prompt_templating.prompt there must be messages in messages_history";
                return Err(Failure::new(400, Location::Templating, message));
            }
            None => {}
        }
        let Filling { mut asked, mut missing, .. } = filling;
        if let Some(grounding) = &configuration.grounding {
            if !asked.contains(&grounding.output) {
                let output = &grounding.output;
                let message = format!("the template has no placeholder {{{{?{output}}}}} for what grounding finds");
                return Err(Failure::new(400, Location::Grounding, message));
            }
            if self.values.contains_key(&grounding.output) {
                return Err(parameters("parameters that grounding fills itself", &[&grounding.output]));
            }
            for name in &grounding.input {
                asked.insert(name.clone());
                if self.value(configuration, name).is_none() {
                    missing.insert(name.clone());
                }
            }
        }
        let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
        match missing.is_empty() {
            true => Ok(asked),
            false => Err(parameters("missing required parameters", &missing)),
        }
    }

    /// Defaults, then what the client sent, then what grounding found.
    fn filling<'a>(&'a self, configuration: &'a Configuration, found: &'a str) -> Filling<'a> {
        let defaults = configuration.prompt.iter().flat_map(|prompt| &prompt.defaults);
        let defaults = defaults.map(|(name, value)| (name.as_str(), value.as_str()));
        let values = self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let found = configuration.grounding.iter().map(|grounding| (grounding.output.as_str(), found));
        Filling::of(defaults.chain(values).chain(found))
    }

    fn value<'a>(&'a self, configuration: &'a Configuration, name: &str) -> Option<&'a str> {
        let default = || {
            let defaults = &configuration.prompt.as_ref()?.defaults;
            defaults.iter().find(|(known, _)| known == name).map(|(_, value)| value)
        };
        self.values.get(name).or_else(default).map(String::as_str)
    }

    /// Begins with one of the configurations; `seed` chooses fabricated values of masking.
    pub fn attempt<'a>(&'a self, configuration: &'a Configuration, seed: u64) -> Attempt<'a> {
        Attempt {
            completion: self,
            configuration,
            masker: configuration.masking.as_ref().map(|masking| masking.masker(seed)),
            query: String::new(),
            found: String::new(),
            passages: Vec::new(),
            results: Map::new(),
        }
    }
}

fn parameters(what: &str, names: &[&str]) -> Failure {
    Failure::new(400, Location::Templating, format!("{what}: {}", names.join(", ")))
}

/// A text that could not be masked does not go out.
pub(super) fn not_masked(error: &MaskError) -> Failure {
    Failure::new(400, Location::Masking, error.to_string())
}

fn borrowed(template: &[(String, Value)]) -> Vec<(String, &Value)> {
    template.iter().map(|(path, message)| (path.clone(), message)).collect()
}

impl Attempt<'_> {
    /// What to look for in the project's documents; nothing where there is no grounding.
    pub fn retrievals(&mut self) -> Result<Vec<Retrieval>, Failure> {
        let Some(grounding) = &self.configuration.grounding else { return Ok(Vec::new()) };
        let value = |name: &String| self.completion.value(self.configuration, name).unwrap_or_default();
        let mut query = grounding.input.iter().map(value).collect::<Vec<_>>().join("\n");
        if let (Some(masker), Some(masking)) = (&mut self.masker, &self.configuration.masking)
            && masking.grounding_input
        {
            query = masker.mask(&query).map_err(|error| not_masked(&error))?;
        }
        self.query = query;
        Ok(grounding.retrievals(&self.query))
    }

    /// What was found, best first.
    pub fn grounded(&mut self, passages: &[Passage]) {
        let Some(grounding) = &self.configuration.grounding else { return };
        self.found = grounding.text(passages);
        self.passages = passages.iter().map(|passage| passage.hash.clone()).collect();
        self.results.insert("grounding".into(), grounding::result(&self.query, &self.found, passages.len()));
    }

    /// A failure on the way, with what was done before it.
    pub fn failed(&self, failure: Failure) -> Failure {
        failure.with_results(self.results.clone())
    }

    /// `failures` are those of the configurations before.
    pub fn prepare(mut self, request_id: &str, failures: &[Failure]) -> Result<Prepared, Failure> {
        let Attempt { completion, configuration, .. } = self;
        let mut all = completion.history.clone();
        if let Some(prompt) = &configuration.prompt {
            let mut filling = completion.filling(configuration, &self.found);
            all.extend(messages(&borrowed(&prompt.template), Some(&mut filling)).map_err(Failure::request)?);
        }
        self.results.insert("templating".into(), all.clone().into());
        if let Some(masker) = &mut self.masker {
            let masked = each_text(&mut all, &mut |text| masker.mask(text));
            masked.map_err(|error| not_masked(&error).with_results(self.results.clone()))?;
            let masked = Value::from(all.clone()).to_string();
            let message = "input to the model was masked";
            self.results
                .insert("input_masking".into(), json!({"message": message, "data": {"masked_template": masked}}));
        }
        let mut body = configuration.model.params.clone();
        body.insert("model".into(), configuration.model.name.clone().into());
        body.insert("messages".into(), all.into());
        if let Some(prompt) = &configuration.prompt {
            for (name, value) in [("tools", &prompt.tools), ("response_format", &prompt.response_format)] {
                if let Some(value) = value {
                    body.insert(name.into(), value.clone());
                }
            }
        }
        if completion.stream.is_some() {
            body.insert("stream".into(), true.into());
            body.insert("stream_options".into(), json!({"include_usage": true}));
        }
        let restores = configuration.masking.as_ref().is_some_and(|masking| masking.pseudonyms);
        let answer = Answer::new(
            request_id,
            self.results,
            failures,
            self.masker.filter(|_| restores),
            completion.stream.as_ref(),
        );
        Ok(Prepared { body: Value::Object(body).to_string().into_bytes(), passages: self.passages, answer })
    }
}
