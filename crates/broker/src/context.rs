//! `context`: on whose behalf a platform calls, and its proof of that.

use crate::{Refusal, Registration};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The longest context: a few names and ids, and labels.
const CONTEXT_BYTES_MAX: usize = 64 * 1_024;
/// The longest name of a customer, in characters.
pub(crate) const SUBACCOUNT_CHARS_MAX: usize = 128;

/// What we need of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The customer; a tenant here.
    pub subaccount: Option<String>,
    /// What people call the instance.
    pub name: Option<String>,
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}

impl Context {
    /// Reads and, where the registration says so, verifies.
    ///
    /// A signature that is there is verified whenever a key is: one that does not fit is refused also where none is required.
    pub fn read(registration: &Registration, raw: Option<&RawValue>, instance: &str) -> Result<Self, Refusal> {
        let raw = raw.filter(|raw| raw.get() != "null");
        if raw.is_some_and(|raw| raw.get().len() > CONTEXT_BYTES_MAX) {
            return Err(Refusal::bad(format!("context: at most {CONTEXT_BYTES_MAX} bytes.")));
        }
        let members: BTreeMap<String, Value> = match raw {
            None => BTreeMap::new(),
            Some(raw) => serde_json::from_str(raw.get()).map_err(|_| Refusal::bad("context: give an object."))?,
        };
        let signing = &registration.signing;
        let signed = match (members.get("signature"), raw) {
            (Some(signature), Some(raw))
                if signing.required || signing.key.is_some() || signing.successor.is_some() =>
            {
                let fits = signature.as_str().is_some_and(|signature| signing.signed(raw, signature));
                if !fits {
                    return Err(Refusal::bad(
                        "context.signature: neither the platform's key nor its successor signed this context. Check the keys of this registration against the platform's /v1/info.",
                    ));
                }
                true
            }
            _ => false,
        };
        if signing.required && !signed {
            return Err(Refusal::bad(
                "context.signature: this registration takes signed contexts only. Configure the signing key in the platform, or have the operator turn it off here.",
            ));
        }
        if signed && text(members.get("service_instance_id")).as_deref() != Some(instance) {
            return Err(Refusal::bad(
                "context.service_instance_id: signed for another instance than the one in the path.",
            ));
        }
        let subaccount = text(members.get(&registration.tenant_key)).filter(|text| !text.is_empty());
        if let Some(subaccount) = &subaccount {
            check_subaccount(registration, subaccount)?;
        }
        if signed && subaccount.is_none() {
            return Err(Refusal::bad(format!(
                "context.{}: the signed context does not say for whom.",
                registration.tenant_key
            )));
        }
        Ok(Self { subaccount, name: text(members.get("instance_name")).filter(|name| !name.trim().is_empty()) })
    }
}

/// Whether this registration orders for this customer.
pub(crate) fn check_subaccount(registration: &Registration, subaccount: &str) -> Result<(), Refusal> {
    let length = subaccount.chars().count();
    if length > SUBACCOUNT_CHARS_MAX || subaccount.chars().any(char::is_control) {
        return Err(Refusal::bad(format!(
            "{}: at most {SUBACCOUNT_CHARS_MAX} printable characters.",
            registration.tenant_key
        )));
    }
    match &registration.subaccounts {
        Some(own) if !own.iter().any(|own| own == subaccount) => Err(Refusal::bad(format!(
            "{}: not one that this registration orders for. The operator adds it.",
            registration.tenant_key
        ))),
        _ => Ok(()),
    }
}
