//! Machines, orders and certificates. What a step of the reconcilers decided for many machines becomes true in one
//! transaction ([`steps`]): machine, order, certificate, event, all or nothing, fenced by the controller's epoch and by the
//! version that the step read.
//!
//! Unlike the rest of the store it knows the types of a pure crate, `fleet`, and stores them as JSON: they are read and
//! written as wholes, and nothing but the columns beside them is searched for.
//!
//! If we crash before a commit, nothing of the batch is true, and the machines are due as they were.

pub(crate) mod acceptances;
pub(crate) mod agents;
pub(crate) mod custody;
pub(crate) mod events;
pub(crate) mod machines;
pub(crate) mod observations;
pub(crate) mod orders;
pub(crate) mod robots;
pub(crate) mod sent;
pub(crate) mod site_models;
pub(crate) mod steps;
pub(crate) mod validations;
pub(crate) mod zones;

use crate::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt { what: format!("not to be written: {error}") })
}

pub(crate) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt { what: format!("{what}: {error}") })
}
