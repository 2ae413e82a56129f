//! The question to policy, and its translation into Cedar's words (`rules/infer.cedarschema`).

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::str::FromStr;
use std::sync::LazyLock;
use types::{Country, DataClass, EndpointFacts, EndpointId, KeyId, ProjectId, TenantId};

/// May this endpoint see this key's data of this class? Key, project and tenant belong together: the caller read them
/// from one snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub tenant: TenantId,
    pub project: ProjectId,
    pub key: KeyId,
    pub class: DataClass,
    /// The project's residency: if set, only endpoints in this country.
    pub country: Option<Country>,
    pub model: &'a str,
    pub endpoint: EndpointId,
    pub facts: &'a EndpointFacts,
}

/// An endpoint sees the data of a request,
pub(crate) const INFER: &str = "infer";
/// and a provider of searches the words of a query, outside of the site.
pub(crate) const SEARCH_WEB: &str = "search_web";

/// What a rule calls the model of such a provider.
pub const WEB_SEARCH: &str = "web-search";

/// The words that rules may use.
pub const SCHEMA_TEXT: &str = include_str!("../rules/infer.cedarschema");

pub(crate) static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let (schema, _warnings) = Schema::from_cedarschema_str(SCHEMA_TEXT).expect("the shipped schema is tested");
    schema
});

struct TypeNames {
    tenant: EntityTypeName,
    project: EntityTypeName,
    key: EntityTypeName,
    endpoint: EntityTypeName,
    action: EntityTypeName,
}

static TYPE_NAMES: LazyLock<TypeNames> = LazyLock::new(|| {
    let name = |text| EntityTypeName::from_str(text).expect("a single capitalised word is a type name");
    TypeNames {
        tenant: name("Tenant"),
        project: name("Project"),
        key: name("Key"),
        endpoint: name("Endpoint"),
        action: name("Action"),
    }
});

fn uid(kind: &EntityTypeName, id: impl Display) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id.to_string()))
}

/// Rises with sensitivity, as [`DataClass`] is ordered.
pub(crate) fn class_level(class: DataClass) -> i64 {
    match class {
        DataClass::Public => 0,
        DataClass::Internal => 1,
        DataClass::Confidential => 2,
        DataClass::Secret => 3,
    }
}

/// Cedar could not take the question. It cannot happen with typed values; the caller refuses if it does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the question does not fit the schema: {0}")]
pub(crate) struct Unasked(String);

/// The question in Cedar's words. Both are checked against the schema, like the rules that will read them.
pub(crate) fn cedar(question: &Question<'_>, action: &str) -> Result<(Request, Entities), Unasked> {
    fn text(value: impl Into<String>) -> RestrictedExpression {
        RestrictedExpression::new_string(value.into())
    }
    let names = &*TYPE_NAMES;
    let (tenant, project) = (uid(&names.tenant, question.tenant), uid(&names.project, question.project));
    let (key, endpoint) = (uid(&names.key, question.key), uid(&names.endpoint, question.endpoint));
    let facts = question.facts;
    let attributes = HashMap::from([
        ("model".to_owned(), text(question.model)),
        ("country".to_owned(), text(facts.country.as_str())),
        ("site".to_owned(), text(&facts.site)),
        ("operator".to_owned(), text(&facts.operator)),
        ("provider".to_owned(), text(&facts.provider)),
        ("jurisdiction".to_owned(), text(facts.jurisdiction.as_str())),
        ("retention".to_owned(), text(facts.retention.as_str())),
        ("attestation".to_owned(), text(&facts.attestation)),
    ]);
    let place = Entity::new(endpoint.clone(), attributes, HashSet::new()).map_err(|e| Unasked(e.to_string()))?;
    let entities = [
        Entity::new_no_attrs(key.clone(), HashSet::from([project.clone()])),
        Entity::new_no_attrs(project, HashSet::from([tenant.clone()])),
        Entity::new_no_attrs(tenant, HashSet::new()),
        place,
    ];
    let entities = Entities::from_entities(entities, Some(&SCHEMA)).map_err(|e| Unasked(e.to_string()))?;
    let context = Context::from_pairs([
        ("class".to_owned(), text(question.class.as_str())),
        ("class_level".to_owned(), RestrictedExpression::new_long(class_level(question.class))),
    ])
    .map_err(|e| Unasked(e.to_string()))?;
    let request = Request::new(key, uid(&names.action, action), endpoint, context, Some(&SCHEMA))
        .map_err(|e| Unasked(e.to_string()))?;
    Ok((request, entities))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_rise_with_the_class() {
        assert_eq!(DataClass::ALL.map(class_level), [0, 1, 2, 3]);
    }

    #[test]
    fn the_schema_says_what_a_question_carries() {
        for word in ["model", "country", "site", "operator", "provider", "jurisdiction", "retention", "attestation"] {
            assert!(SCHEMA_TEXT.contains(&format!("    {word}: String,")), "{word}");
        }
    }
}
