//! What a platform asks, read from a body or a query under the rules of its registration.

use crate::context::check_subaccount;
use crate::{BindingParameters, Context, InstanceParameters, MAINTENANCE, Plan, Refusal, Registration, SERVICE};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

/// Names of organisations, spaces and applications, in characters.
const NAME_CHARS_MAX: usize = 256;

/// To make an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Provision {
    pub plan: Plan,
    pub parameters: InstanceParameters,
    pub subaccount: String,
    pub organization: String,
    pub space: String,
    pub name: Option<String>,
    /// The platform can wait.
    pub incomplete: bool,
}

/// To change an instance. Nothing is read of what it was before: we know that.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub plan: Option<Plan>,
    pub parameters: Option<Value>,
    pub subaccount: Option<String>,
    pub name: Option<String>,
    pub incomplete: bool,
}

/// To make a binding.
#[derive(Debug, Clone, PartialEq)]
pub struct Bind {
    pub plan: Plan,
    /// None: as the predecessor's, or none.
    pub parameters: Option<BindingParameters>,
    pub subaccount: Option<String>,
    pub app: Option<String>,
    pub predecessor: Option<String>,
}

/// What a DELETE must name.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    pub plan: Plan,
}

/// What a GET may name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Which {
    pub service_id: Option<String>,
    pub plan_id: Option<String>,
    pub operation: Option<String>,
}

#[derive(Deserialize)]
struct Body<'a> {
    service_id: Option<String>,
    plan_id: Option<String>,
    organization_guid: Option<String>,
    space_guid: Option<String>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    parameters: Option<Value>,
    maintenance_info: Option<Maintenance>,
    app_guid: Option<String>,
    bind_resource: Option<Resource>,
    predecessor_binding_id: Option<String>,
    #[serde(rename = "previous_values")]
    _previous: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Maintenance {
    version: Option<String>,
}

#[derive(Deserialize)]
struct Resource {
    app_guid: Option<String>,
    route: Option<String>,
}

fn body(bytes: &[u8]) -> Result<Body<'_>, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| Refusal::bad(format!("The body does not fit: {error}.")))
}

fn required(name: &str, value: Option<String>) -> Result<String, Refusal> {
    let value = value.filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| Refusal::bad(format!("{name}: it is missing.")))?;
    if value.chars().count() > NAME_CHARS_MAX || value.chars().any(char::is_control) {
        return Err(Refusal::bad(format!("{name}: at most {NAME_CHARS_MAX} printable characters.")));
    }
    Ok(value)
}

fn service(id: Option<String>) -> Result<(), Refusal> {
    if required("service_id", id)? == SERVICE {
        Ok(())
    } else {
        Err(Refusal::bad("service_id: not one of the catalog."))
    }
}

fn plan(registration: Option<&Registration>, id: Option<String>) -> Result<Plan, Refusal> {
    let plan = Plan::of_id(&required("plan_id", id)?);
    plan.filter(|plan| registration.is_none_or(|registration| registration.plans.contains(plan)))
        .ok_or_else(|| Refusal::bad("plan_id: not one of the catalog, or not for this registration."))
}

fn maintenance(info: Option<Maintenance>) -> Result<(), Refusal> {
    match info.map(|info| info.version) {
        Some(None) => Err(Refusal::bad("maintenance_info.version: it is missing.")),
        Some(Some(version)) if version != MAINTENANCE => Err(Refusal::maintenance()),
        _ => Ok(()),
    }
}

impl Provision {
    pub fn read(registration: &Registration, instance: &str, bytes: &[u8], incomplete: bool) -> Result<Self, Refusal> {
        let body = body(bytes)?;
        service(body.service_id)?;
        let plan = plan(Some(registration), body.plan_id)?;
        let organization = required("organization_guid", body.organization_guid)?;
        let space = required("space_guid", body.space_guid)?;
        let context = Context::read(registration, body.context, instance)?;
        let outside = match registration.tenant_key.as_str() {
            "organization_guid" => Some(organization.clone()),
            "space_guid" => Some(space.clone()),
            _ => None,
        };
        // A dash is what a platform sends that has neither.
        let subaccount = context.subaccount.or(outside.filter(|outside| outside != "-")).ok_or_else(|| {
            Refusal::bad(format!("context.{}: say for whom the instance is.", registration.tenant_key))
        })?;
        check_subaccount(registration, &subaccount)?;
        let parameters = InstanceParameters::read(plan, body.parameters.as_ref())?;
        maintenance(body.maintenance_info)?;
        Ok(Self { plan, parameters, subaccount, organization, space, name: context.name, incomplete })
    }
}

impl Change {
    pub fn read(registration: &Registration, instance: &str, bytes: &[u8], incomplete: bool) -> Result<Self, Refusal> {
        let body = body(bytes)?;
        service(body.service_id)?;
        let plan = body.plan_id.map(|id| plan(Some(registration), Some(id))).transpose()?;
        let context = Context::read(registration, body.context, instance)?;
        if !matches!(body.parameters, None | Some(Value::Null | Value::Object(_))) {
            return Err(Refusal::bad("parameters: give an object."));
        }
        maintenance(body.maintenance_info)?;
        let parameters = body.parameters.filter(Value::is_object);
        Ok(Self { plan, parameters, subaccount: context.subaccount, name: context.name, incomplete })
    }
}

impl Bind {
    pub fn read(registration: &Registration, instance: &str, bytes: &[u8]) -> Result<Self, Refusal> {
        let body = body(bytes)?;
        service(body.service_id)?;
        // Not only those of the registration: an instance outlives a change of what may be ordered.
        let plan = plan(None, body.plan_id)?;
        let context = Context::read(registration, body.context, instance)?;
        let given = body.parameters.filter(|parameters| !parameters.is_null());
        let parameters = given.map(|given| BindingParameters::read(Some(&given))).transpose()?;
        let resource = body.bind_resource.unwrap_or(Resource { app_guid: None, route: None });
        if resource.route.is_some() {
            return Err(Refusal::bad("bind_resource.route: this service forwards no routes."));
        }
        let app = resource.app_guid.or(body.app_guid).map(|app| required("app_guid", Some(app))).transpose()?;
        let predecessor = body.predecessor_binding_id;
        if let Some(predecessor) = &predecessor {
            crate::id("predecessor_binding_id", predecessor)?;
        }
        Ok(Self { plan, parameters, subaccount: context.subaccount, app, predecessor })
    }
}

impl Named {
    pub fn read(which: Which) -> Result<Self, Refusal> {
        service(which.service_id)?;
        Ok(Self { plan: plan(None, which.plan_id)? })
    }
}

impl Which {
    /// Whether what it names, if it names something, is this.
    pub(crate) fn is(&self, plan: Plan) -> bool {
        let same =
            |named: &Option<String>, id: &str| named.as_deref().is_none_or(|named| named.is_empty() || named == id);
        same(&self.service_id, SERVICE) && same(&self.plan_id, plan.id())
    }
}
