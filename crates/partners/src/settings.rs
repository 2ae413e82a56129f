//! What the operator settled for the shells: which model a name stands for, and which makes embeddings.
//!
//! A name that a client knows (`sonar`, `sonar-pro`) is an alias of a model of this site. A model's own name always works. Without
//! an alias a name that begins with `sonar` means the one model that a key may chat with, if there is exactly one: so that a site
//! with one model answers from the first day, and one with two says that somebody has to choose.

use crate::Partners;
use gateway::inner::ModelShown;
use gateway::{Principal, Refusal};
use types::Code;

#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Alias and model.
    pub aliases: Vec<(String, String)>,
    /// The model that makes embeddings of questions and documents. None: documents are found by their words alone.
    pub embedding: Option<String>,
}

/// `sonar`, `sonar-pro`, `sonar-reasoning` and what else their clients know.
const FAMILY: &str = "sonar";

/// The model that a name stands for, as this key may ask it.
pub(crate) fn model(partners: &Partners, principal: &Principal, name: &str) -> Result<ModelShown, Refusal> {
    let (settings, models) = (&partners.parts().settings, partners.parts().inner.models(principal));
    choose(settings, models, name).ok_or_else(|| {
        let message = "there is no model of this name here: name one of GET /v1/models, or have the operator give this name to \
                       one (`hoheit up --alias NAME=MODEL`)";
        Refusal::new(Code::ModelNotFound, message).param("model")
    })
}

/// The embedding model, if there is one and this key may ask it.
pub(crate) fn embedding(partners: &Partners, principal: &Principal) -> Option<ModelShown> {
    let name = partners.parts().settings.embedding.as_deref()?;
    partners.parts().inner.models(principal).into_iter().find(|model| model.name == name)
}

fn choose(settings: &Settings, models: Vec<ModelShown>, name: &str) -> Option<ModelShown> {
    let target = settings.aliases.iter().find(|(alias, _)| alias == name).map_or(name, |(_, model)| model);
    let chats = |model: &&ModelShown| settings.embedding.as_deref() != Some(&model.name);
    let alone = || {
        let mut candidates = models.iter().filter(chats);
        candidates.next().filter(|_| candidates.next().is_none())
    };
    let found = models.iter().find(|model| model.name == target);
    found.or_else(|| if target.starts_with(FAMILY) { alone() } else { None }).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let shown = |name: &str| ModelShown {
            name: name.to_owned(),
            provider: String::new(),
            context_length: 1,
            output_tokens_max: 1,
            created_at: types::UnixMillis(0),
            price: None,
        };
        let settings = |aliases: &[(&str, &str)]| Settings {
            aliases: aliases.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
            embedding: Some("embed".to_owned()),
        };
        let check = |aliases: &[(&str, &str)], models: &[&str], name: &str, expect: Option<&str>| {
            let models = models.iter().map(|name| shown(name)).collect();
            let chosen = choose(&settings(aliases), models, name).map(|model| model.name);
            assert_eq!(chosen.as_deref(), expect, "{aliases:?} {name}");
        };
        check(&[], &["nano", "embed"], "sonar-pro", Some("nano"));
        check(&[], &["nano", "big"], "sonar", None);
        check(&[], &["nano", "big"], "big", Some("big"));
        check(&[("sonar", "big")], &["nano", "big"], "sonar", Some("big"));
        check(&[("gpt-4o", "big")], &["nano", "big"], "gpt-4o", Some("big"));
        check(&[("sonar", "gone")], &["nano", "big"], "sonar", None);
        check(&[], &["nano"], "gpt-4o", None);
        check(&[], &["sonar", "big"], "sonar", Some("sonar"));
    }
}
