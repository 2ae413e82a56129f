//! Power of a machine: as it is, and as it shall be. A reset is asked for, not waited for; what came of it is seen at the next
//! glance. Asking twice for the same state does nothing the second time, except a cycle, which is one each time; so an answer
//! that did not come is told apart from a refusal ([`Error::Unsure`]).

use crate::client::Client;
use crate::error::Error;
use crate::field::list;
use crate::inventory;
use crate::path::Path;
use crate::walk::{Resource, Walk};
use fleet::observed::Power;
use serde_json::{Value, json};

/// What shall happen to the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    On,
    /// As if somebody held the button.
    ForceOff,
    /// The operating system is asked to end; it may refuse.
    ShutDown,
    /// Off and on again, whatever runs.
    Cycle,
}

impl Reset {
    /// Redfish's words for it, the best first.
    fn words(self) -> &'static [&'static str] {
        match self {
            Reset::On => &["On", "ForceOn"],
            Reset::ForceOff => &["ForceOff"],
            Reset::ShutDown => &["GracefulShutdown"],
            Reset::Cycle => &["PowerCycle", "ForceRestart"],
        }
    }
}

impl Client {
    pub async fn power(&self) -> Result<Power, Error> {
        let walk = Walk::new(self);
        Ok(inventory::power(&host(&walk).await?.1))
    }

    /// True if something was asked of the BMC; false if it is so already.
    pub async fn reset(&self, reset: Reset) -> Result<bool, Error> {
        let walk = Walk::new(self);
        let (path, host) = host(&walk).await?;
        match (reset, inventory::power(&host)) {
            (Reset::On, Power::On) | (Reset::ForceOff | Reset::ShutDown, Power::Off) => return Ok(false),
            (Reset::Cycle, Power::Off) => return Box::pin(self.reset(Reset::On)).await,
            _ => {}
        }
        let action = &host["Actions"]["#ComputerSystem.Reset"];
        let Value::String(target) = &action["target"] else {
            return Err(Error::Unsupported("change the power of its machine".to_owned()));
        };
        let allowed = allowed(&walk, action, "ResetType", &path).await?;
        let word = reset.words().iter().find(|word| allowed.is_empty() || allowed.iter().any(|one| one == *word));
        let Some(word) = word else {
            let words = reset.words().join(" or ");
            return Err(Error::Unsupported(format!("do {words}; it allows {}", allowed.join(", "))));
        };
        let target = self.path(target, path.as_str())?;
        self.act(&target, &json!({ "ResetType": word })).await?;
        Ok(true)
    }

    pub async fn secure_boot(&self) -> Result<Option<bool>, Error> {
        let walk = Walk::new(self);
        let host = host(&walk).await?;
        inventory::secure_boot(&walk, &host).await
    }
}

/// The system that can be reset.
pub(crate) async fn host(walk: &Walk) -> Result<Resource, Error> {
    let root = walk.root().await?;
    Ok(inventory::systems(walk, &root).await?.swap_remove(0))
}

/// What a parameter of an action may be: beside it, or in a resource of its own; empty if the BMC does not say.
pub(crate) async fn allowed(walk: &Walk, action: &Value, parameter: &str, from: &Path) -> Result<Vec<String>, Error> {
    let words = |list: &[Value]| list.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect::<Vec<_>>();
    let beside = words(list(action, &format!("{parameter}@Redfish.AllowableValues"), from.as_str())?);
    let Value::String(info) = &action["@Redfish.ActionInfo"] else { return Ok(beside) };
    if !beside.is_empty() {
        return Ok(beside);
    }
    let path = walk.client().path(info, from.as_str())?;
    let info = walk.get(&path).await?;
    let parameters = list(&info, "Parameters", path.as_str())?;
    let found = parameters.iter().find(|one| one["Name"] == parameter);
    Ok(found.map(|one| list(one, "AllowableValues", path.as_str())).transpose()?.map(words).unwrap_or_default())
}
