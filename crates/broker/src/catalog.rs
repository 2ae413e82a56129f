//! What can be ordered. Ids never change: platforms keep them for as long as an instance lives.

use crate::Registration;
use crate::parameters::{binding_schema, instance_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use std::str::FromStr;

/// The one service.
pub const SERVICE: &str = "5e7c3f0a-6a1d-4c52-9f0e-2d0b8f4a7c11";

/// `maintenance_info.version` of every plan: moves when instances have to be touched to get something new.
pub const MAINTENANCE: &str = "1.0.0";

/// How long a platform may poll an order: a week, in which capacity that stands in the hall is found and assigned. After it the
/// order has failed here too.
pub const POLLING_SECS_MAX: i64 = 7 * 86_400;

/// What can be ordered of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plan {
    /// Models that all tenants of the site share.
    InferenceShared,
    /// Capacity for one customer, reserved by the operator's hand.
    InferenceDedicated,
    /// Answers with citations from the project's own documents.
    GroundedAnswers,
}

/// A text that names no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a plan is one of inference-shared, inference-dedicated, grounded-answers")]
pub struct PlanError;

impl Plan {
    pub const ALL: [Plan; 3] = [Plan::InferenceShared, Plan::InferenceDedicated, Plan::GroundedAnswers];

    pub const fn as_str(self) -> &'static str {
        match self {
            Plan::InferenceShared => "inference-shared",
            Plan::InferenceDedicated => "inference-dedicated",
            Plan::GroundedAnswers => "grounded-answers",
        }
    }

    /// The id that platforms know it by.
    pub const fn id(self) -> &'static str {
        match self {
            Plan::InferenceShared => "0b6c2f64-41c5-4b0b-8f5d-3d1f6a2e9101",
            Plan::InferenceDedicated => "0b6c2f64-41c5-4b0b-8f5d-3d1f6a2e9102",
            Plan::GroundedAnswers => "0b6c2f64-41c5-4b0b-8f5d-3d1f6a2e9103",
        }
    }

    pub fn of_id(id: &str) -> Option<Plan> {
        Plan::ALL.into_iter().find(|plan| plan.id() == id)
    }

    /// Whether a person has to do something before it is there.
    pub const fn by_order(self) -> bool {
        matches!(self, Plan::InferenceDedicated)
    }

    const fn description(self) -> &'static str {
        match self {
            Plan::InferenceShared => {
                "Language models on shared capacity in this site, billed by tokens; every request leaves a signed receipt."
            }
            Plan::InferenceDedicated => {
                "A model on capacity for one customer. The operator reserves it by hand: the order stays in progress until then."
            }
            Plan::GroundedAnswers => "Answers with citations from the project's own documents, on shared capacity.",
        }
    }

    const fn shown(self) -> (&'static str, [&'static str; 3]) {
        match self {
            Plan::InferenceShared => {
                ("Inference, shared", ["OpenAI, AI Core and Sonar clients", "Budget per month", "Signed receipts"])
            }
            Plan::InferenceDedicated => {
                ("Inference, dedicated", ["Replicas of one model", "Reserved by the operator", "Signed receipts"])
            }
            Plan::GroundedAnswers => (
                "Grounded answers",
                ["Your own documents", "Citations that are checked", "Documents end with the instance"],
            ),
        }
    }

    fn entry(self) -> Value {
        let (name, bullets) = self.shown();
        let mut entry = json!({
            "id": self.id(),
            "name": self.as_str(),
            "description": self.description(),
            "metadata": { "displayName": name, "bullets": bullets },
            "free": false,
            "bindable": true,
            "plan_updateable": true,
            "binding_rotatable": true,
            "maintenance_info": { "version": MAINTENANCE, "description": "The first version." },
            "schemas": {
                "service_instance": {
                    "create": { "parameters": instance_schema(self, true) },
                    "update": { "parameters": instance_schema(self, false) },
                },
                "service_binding": { "create": { "parameters": binding_schema() } },
            },
        });
        if self.by_order() {
            entry["maximum_polling_duration"] = json!(POLLING_SECS_MAX);
        }
        entry
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Plan {
    type Err = PlanError;
    fn from_str(text: &str) -> Result<Self, PlanError> {
        Plan::ALL.into_iter().find(|plan| plan.as_str() == text).ok_or(PlanError)
    }
}

/// The catalog as this platform sees it: with the plans that it may order.
pub fn catalog(registration: &Registration) -> Value {
    let plans: Vec<Value> =
        Plan::ALL.into_iter().filter(|plan| registration.plans.contains(plan)).map(Plan::entry).collect();
    json!({ "services": [{
        "id": SERVICE,
        "name": "hoheit",
        "description": "Sovereign AI: models, embeddings and answers from your documents, in-country, with a signed receipt for every request.",
        "tags": ["ai", "llm", "openai", "aicore"],
        "metadata": { "displayName": "Hoheit", "longDescription": "One binding serves OpenAI, SAP AI Core and Sonar clients; usage is billed by what receipts say." },
        "bindable": true,
        "instances_retrievable": true,
        "bindings_retrievable": true,
        "allow_context_updates": true,
        "plan_updateable": true,
        "binding_rotatable": true,
        "plans": plans,
    }] })
}
