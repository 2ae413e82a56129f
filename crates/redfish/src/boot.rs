//! What a machine boots from next time, once.

use crate::client::Client;
use crate::error::Error;
use crate::field::list;
use crate::power::host;
use crate::walk::Walk;
use http::Method;
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootTarget {
    Pxe,
    UefiHttp,
    Disk,
}

impl BootTarget {
    fn word(self) -> &'static str {
        match self {
            BootTarget::Pxe => "Pxe",
            BootTarget::UefiHttp => "UefiHttp",
            BootTarget::Disk => "Hdd",
        }
    }
}

impl Client {
    /// The next boot only, in UEFI mode. Repeating it changes nothing.
    pub async fn boot_once(&self, target: BootTarget) -> Result<(), Error> {
        let walk = Walk::new(self);
        let (path, host) = host(&walk).await?;
        let boot = &host["Boot"];
        if !boot.is_object() {
            return Err(Error::Unsupported("choose what its machine boots from".to_owned()));
        }
        let allowed = list(boot, "BootSourceOverrideTarget@Redfish.AllowableValues", path.as_str())?;
        let word = target.word();
        if !allowed.is_empty() && !allowed.iter().any(|one| one == word) {
            let words: Vec<&str> = allowed.iter().filter_map(Value::as_str).take(16).collect();
            return Err(Error::Unsupported(format!("boot from {word}; it allows {}", words.join(", "))));
        }
        let body = json!({ "Boot": {
            "BootSourceOverrideEnabled": "Once",
            "BootSourceOverrideMode": "UEFI",
            "BootSourceOverrideTarget": word,
        }});
        self.send(&Method::PATCH, &path, &body).await?;
        Ok(())
    }
}
