//! What is asked of every machine every few minutes: is it on, is it well, what is new in its logs. Four to eight requests,
//! where an inventory takes hundreds.

use crate::client::Client;
use crate::error::Error;
use crate::field::{serial, text_or_none};
use crate::inventory::{self, Layout, power, sorted, unwell};
use crate::log::{self, Entry};
use crate::path::Path;
use crate::walk::{Gap, Walk};
use fleet::observed::Power;
use tokio::time::timeout;

/// The newest of what changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// The host's serial number: another than at the last inventory means that it has to be read anew.
    pub system_serial: String,
    pub uuid: String,
    pub power: Power,
    pub complaints: Vec<String>,
    pub log: Vec<Entry>,
    pub gaps: Vec<Gap>,
    /// As given, or as found if nothing was given.
    pub layout: Layout,
    pub requests: u32,
    pub bytes: u64,
}

impl Client {
    /// `layout` is of the machine's last inventory; empty if there was none.
    pub async fn glance(&self, layout: &Layout) -> Result<Glance, Error> {
        let limit = self.0.limits.reading_timeout;
        let slow = |_| Error::Slow { what: "a glance".to_owned(), limit };
        timeout(limit, glance(self, layout)).await.map_err(slow)?
    }
}

async fn glance(client: &Client, layout: &Layout) -> Result<Glance, Error> {
    let walk = &Walk::new(client);
    let known =
        |paths: &[String]| paths.iter().map(|path| client.path(path, Path::ROOT)).collect::<Result<Vec<_>, _>>();
    let (systems, logs) = match layout.systems.is_empty() {
        false => {
            let links = known(&layout.systems)?.into_iter().map(|path| (path, serde_json::Value::Null));
            (walk.fill(links.collect()).await?, known(&layout.logs)?)
        }
        true => {
            let root = walk.root().await?;
            let systems = inventory::systems(walk, &root).await?;
            let mut owners = systems.clone();
            owners.extend(walk.linked(&root, "Managers", &Path::root()).await?);
            let logs = log::logs(walk, &owners).await?;
            (systems, logs)
        }
    };
    let Some(host) = systems.first() else {
        let why = walk.gaps().into_iter().next().map_or_else(String::new, |gap| gap.why);
        return Err(Error::NotJson { path: Path::ROOT.to_owned(), why: format!("no system could be read: {why}") });
    };
    let log = log::newest(walk, &logs).await?;
    let mut complaints = unwell(systems.iter());
    complaints.extend(log::complaints(&log));
    Ok(Glance {
        system_serial: serial(&host.1, host.0.as_str())?,
        uuid: text_or_none(&host.1, "UUID").to_ascii_lowercase(),
        power: power(&host.1),
        complaints: sorted(complaints),
        log,
        gaps: walk.gaps(),
        layout: Layout {
            systems: systems.iter().map(|(path, _)| path.to_string()).collect(),
            logs: logs.iter().map(Path::to_string).collect(),
        },
        requests: walk.requests(),
        bytes: walk.bytes(),
    })
}
