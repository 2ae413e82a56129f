//! A registration: what one platform may order, for whom, and how it proves itself. Made by the operator.

use crate::context::SUBACCOUNT_CHARS_MAX;
use crate::{Plan, Signing};
use serde::{Deserialize, Serialize};
use types::MicroEur;

/// Customers of one registration; a company has one or a few subaccounts that order.
pub const TENANTS_MAX: u32 = 10_000;
/// Instances of one registration.
pub const INSTANCES_MAX: u32 = 100_000;
/// Subaccounts that can be named one by one.
const SUBACCOUNTS_MAX: usize = 1_000;

/// Why a registration is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    #[error("plans: name one plan at least, each once")]
    Plans,
    #[error("subaccounts: 1 to 1000 of 1 to 128 printable characters, each once; or leave it out for any")]
    Subaccounts,
    #[error("tenant_key: 1 to 64 characters of a-z, 0-9 and _")]
    TenantKey,
    #[error("tenants_max: a number from 1 to 10000")]
    Tenants,
    #[error("instances_max: a number from 1 to 100000")]
    Instances,
    #[error("signature: to require it, give the platform's key")]
    SignatureKey,
    #[error("certificate_subject: like CN=service-manager,O=Example,C=DE")]
    Subject,
}

/// What one platform may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    pub plans: Vec<Plan>,
    /// Whom it orders for; none is anybody.
    pub subaccounts: Option<Vec<String>>,
    /// The member of a context (or of an order) that names the customer.
    pub tenant_key: String,
    pub tenants_max: u32,
    pub instances_max: u32,
    /// The monthly budget of each tenant that it makes.
    pub tenant_budget: Option<MicroEur>,
    pub signing: Signing,
    /// The subject of its client certificate, where it proves itself by one.
    pub certificate_subject: Option<String>,
}

impl Registration {
    pub fn check(&self) -> Result<(), RegistrationError> {
        let once = |plan: &Plan| self.plans.iter().filter(|other| *other == plan).count() == 1;
        if self.plans.is_empty() || !self.plans.iter().all(once) {
            return Err(RegistrationError::Plans);
        }
        if let Some(own) = &self.subaccounts {
            let good = |text: &String| {
                (1..=SUBACCOUNT_CHARS_MAX).contains(&text.chars().count())
                    && !text.chars().any(char::is_control)
                    && own.iter().filter(|other| *other == text).count() == 1
            };
            if !(1..=SUBACCOUNTS_MAX).contains(&own.len()) || !own.iter().all(good) {
                return Err(RegistrationError::Subaccounts);
            }
        }
        let key = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !(1..=64).contains(&self.tenant_key.len()) || !self.tenant_key.bytes().all(key) {
            return Err(RegistrationError::TenantKey);
        }
        if !(1..=TENANTS_MAX).contains(&self.tenants_max) {
            return Err(RegistrationError::Tenants);
        }
        if !(1..=INSTANCES_MAX).contains(&self.instances_max) {
            return Err(RegistrationError::Instances);
        }
        if self.signing.required && self.signing.key.is_none() {
            return Err(RegistrationError::SignatureKey);
        }
        if self.certificate_subject.as_deref().is_some_and(|subject| parts(subject).is_none()) {
            return Err(RegistrationError::Subject);
        }
        Ok(())
    }
}

/// The parts of a subject, sorted: proxies write them in either order, and with `/` or `,` between.
fn parts(subject: &str) -> Option<Vec<String>> {
    let (mut all, mut part, mut escaped) = (Vec::new(), String::new(), false);
    let slashes = subject.starts_with('/');
    for c in subject.chars() {
        match c {
            _ if escaped => {
                part.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            ',' if !slashes => all.push(std::mem::take(&mut part)),
            '/' if slashes => all.push(std::mem::take(&mut part)),
            c => part.push(c),
        }
    }
    all.push(part);
    let mut all: Vec<String> =
        all.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
    let named = |part: &String| part.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty());
    if escaped
        || subject.chars().any(char::is_control)
        || subject.len() > 1_024
        || all.is_empty()
        || !all.iter().all(named)
    {
        return None;
    }
    all.sort();
    Some(all)
}

/// Whether two subjects are one.
pub fn subject_matches(registered: &str, shown: &str) -> bool {
    parts(registered).is_some_and(|registered| parts(shown).is_some_and(|shown| shown == registered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects() {
        let own = "CN=service-manager,OU=SAP Cloud Platform Clients,O=SAP SE,C=DE";
        for (shown, same) in [
            (own, true),
            ("C=DE, O=SAP SE, OU=SAP Cloud Platform Clients, CN=service-manager", true),
            ("/C=DE/O=SAP SE/OU=SAP Cloud Platform Clients/CN=service-manager", true),
            ("CN=service-manager,O=SAP SE,C=DE", false),
            ("CN=service-manager,OU=SAP Cloud Platform Clients,O=SAP SE,C=DE,C=DE", false),
            ("CN=service-manager\\,OU=SAP Cloud Platform Clients,O=SAP SE,C=DE", false),
            ("", false),
            ("service-manager", false),
            ("CN=service-manager,OU=SAP Cloud Platform Clients,O=SAP SE,C=DE\n", false),
        ] {
            assert_eq!(subject_matches(own, shown), same, "{shown}");
        }
        assert!(!subject_matches("", "") && !subject_matches("x", "x"));
    }
}
