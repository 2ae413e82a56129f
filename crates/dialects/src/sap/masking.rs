//! The masking module: SAP's names for entities and replacements, to the masker that does it (crate `masking`).

use super::read::{Object, Wrong};
use masking::{Entity, Masker, Method, Pattern, Replacement, Rule};
use serde_json::Value;

#[derive(Debug, Clone)]
pub struct Masking {
    method: Method,
    rules: Vec<Rule>,
    allowlist: Vec<String>,
    /// The answer's pseudonyms are replaced by what they stand for.
    pub(super) pseudonyms: bool,
    /// The question to the documents is masked too.
    pub(super) grounding_input: bool,
}

impl Masking {
    pub(super) fn read(module: &Object<'_>) -> Result<Masking, Wrong> {
        module.only(&["providers", "masking_providers"])?;
        let (now, before) = (module.list("providers")?, module.list("masking_providers")?);
        let mut providers = match (now, before) {
            (Some(_), Some(_)) => return Err(format!("{}: providers or masking_providers, not both", module.path)),
            (Some(providers), None) | (None, Some(providers)) => providers.into_iter(),
            (None, None) => return Err(format!("{}.providers is missing", module.path)),
        };
        match (providers.next(), providers.next()) {
            (Some((path, provider)), None) => Masking::provider(&path, provider),
            _ => Err(format!("{}.providers must have exactly one element", module.path)),
        }
    }

    fn provider(path: &str, value: &Value) -> Result<Masking, Wrong> {
        let provider = Object::of(value, path)?;
        let known = ["type", "method", "entities", "allowlist", "mask_grounding_input", "mask_file_input_method"];
        provider.only(&known)?;
        if provider.need_text("type")? != "sap_data_privacy_integration" {
            return Err(format!("{path}.type: only sap_data_privacy_integration is known here"));
        }
        let (method, pseudonyms) = match provider.need_text("method")? {
            "anonymization" => (Method::Anonymize, false),
            "pseudonymization" => (Method::Pseudonymize, true),
            _ => return Err(format!("{path}.method must be anonymization or pseudonymization")),
        };
        let entities = provider.list("entities")?.unwrap_or_default();
        if entities.is_empty() {
            return Err(format!("{path}.entities must name at least one entity"));
        }
        let rules = entities.iter().map(|(path, entity)| rule(path, entity)).collect::<Result<Vec<_>, _>>()?;
        let allowlist = provider.texts("allowlist")?.unwrap_or_default();
        let grounding_input = match provider.object("mask_grounding_input")? {
            Some(input) => {
                input.only(&["enabled"])?;
                input.flag("enabled")?
            }
            None => false,
        };
        let masking = Masking { method, rules, allowlist, pseudonyms, grounding_input };
        masking.try_masker(0).map_err(|error| format!("{path}: {error}"))?;
        Ok(masking)
    }

    fn try_masker(&self, seed: u64) -> Result<Masker, masking::SetupError> {
        Masker::new(self.method, self.rules.clone(), &self.allowlist, seed)
    }

    /// A masker for one request; `seed` chooses fabricated values.
    pub(super) fn masker(&self, seed: u64) -> Masker {
        self.try_masker(seed).expect("the same rules made a masker when the request was read")
    }
}

fn rule(path: &str, value: &Value) -> Result<Rule, Wrong> {
    let entity = Object::of(value, path)?;
    entity.only(&["type", "regex", "replacement_strategy"])?;
    let replacement = replacement(&entity)?;
    let said = |error: masking::SetupError| format!("{path}: {error}");
    let entity = match (entity.text("type")?, entity.text("regex")?) {
        (Some(name), None) => Entity::named(name).map_err(said)?,
        (None, Some(regex)) => {
            if !matches!(replacement, Replacement::Constant(_)) {
                return Err(format!("{path}.replacement_strategy must be a constant where there is a regex"));
            }
            Entity::Custom(Pattern::new(regex).map_err(said)?)
        }
        _ => return Err(format!("{path} must have a type or a regex")),
    };
    Ok(Rule { entity, replacement })
}

fn replacement(entity: &Object<'_>) -> Result<Replacement, Wrong> {
    let Some(strategy) = entity.object("replacement_strategy")? else { return Ok(Replacement::Label) };
    strategy.only(&["method", "value"])?;
    match strategy.need_text("method")? {
        "constant" => Ok(Replacement::Constant(strategy.need_text("value")?.to_owned())),
        "fabricated_data" => Ok(Replacement::Fabricated),
        _ => Err(format!("{}.method must be constant or fabricated_data", strategy.path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(provider: Value) -> Result<Masking, Wrong> {
        Masking::read(&Object::of(&json!({"providers": [provider]}), "masking").unwrap())
    }

    #[test]
    fn every_name_of_saps_is_known_or_refused_by_name() {
        let sap = [
            "person",
            "org",
            "university",
            "location",
            "phone",
            "address",
            "email",
            "sapids-internal",
            "sapids-public",
            "url",
            "username-password",
            "nationalid",
            "iban",
            "ssn",
            "credit-card-number",
            "passport",
            "driverlicense",
            "nationality",
            "religious-group",
            "political-group",
            "pronouns-gender",
            "gender",
            "sexual-orientation",
            "trade-union",
            "ethnicity",
            "sensitive-data",
        ];
        for name in sap {
            let entity = format!("profile-{name}");
            let provider = json!({"type": "sap_data_privacy_integration", "method": "anonymization",
                "entities": [{"type": entity}]});
            match read(provider) {
                Ok(_) => assert_ne!(name, "pronouns-gender", "no recogniser, and not refused"),
                Err(wrong) => assert!(name == "pronouns-gender" && wrong.contains(&entity), "{wrong}"),
            }
        }
    }

    #[test]
    fn refused() {
        let check = |edit: &dyn Fn(&mut Value), named: &str| {
            let mut provider = json!({"type": "sap_data_privacy_integration", "method": "pseudonymization",
                "entities": [{"type": "profile-email"}]});
            edit(&mut provider);
            let wrong = read(provider).unwrap_err();
            assert!(wrong.contains(named), "{named}: {wrong}");
        };
        check(&|p| p["type"] = json!("other"), "sap_data_privacy_integration");
        check(&|p| p["method"] = json!("blackening"), "method");
        check(&|p| p["entities"] = json!([]), "at least one");
        check(&|p| p["entities"] = json!([{"type": "profile-shoe-size"}]), "profile-shoe-size");
        check(&|p| p["entities"] = json!([{"regex": "a"}]), "must be a constant");
        check(
            &|p| p["entities"] = json!([{"regex": "(", "replacement_strategy": {"method": "constant", "value": "X"}}]),
            "pattern",
        );
        check(&|p| p["entities"] = json!([{}]), "a type or a regex");
        check(&|p| p["extra"] = json!(1), "extra");
    }
}
