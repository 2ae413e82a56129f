//! Firmware updates by `SimpleUpdate`: the BMC fetches an image from where we say, and tells of its progress in a task.
//!
//! What it installs it says only in the next inventory; a task that ended well is not yet the version that was wanted.

use crate::client::Client;
use crate::error::Error;
use crate::field::clean;
use crate::limits::LINE_CHARS_MAX;
use crate::path::Path;
use crate::power::allowed;
use crate::walk::Walk;
use http::StatusCode;
use http::header::LOCATION;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Something that a BMC does meanwhile; survives our crash as a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    Running {
        percent: Option<u8>,
    },
    Done,
    /// It has not begun: it waits for a restart of the machine, or for another task to end.
    Staged,
    Failed {
        why: String,
    },
    /// It was forgotten, as after a restart of the BMC: look at the inventory.
    Gone,
}

impl Client {
    /// `image` is a URL that the BMC can reach. `targets` are paths of firmware components; empty lets the BMC choose by the image.
    /// `None` if it was done at once.
    pub async fn update(&self, image: &str, targets: &[String]) -> Result<Option<Task>, Error> {
        let walk = Walk::new(self);
        let root = walk.root().await?;
        let cannot = || Error::Unsupported("update firmware by SimpleUpdate".to_owned());
        let path = self.link(&root, "UpdateService", &Path::root())?.ok_or_else(cannot)?;
        let service = walk.get(&path).await?;
        let action = &service["Actions"]["#UpdateService.SimpleUpdate"];
        let target = action["target"].as_str().ok_or_else(cannot)?;
        let scheme = image.split("://").next().unwrap_or_default().to_ascii_uppercase();
        let allowed = allowed(&walk, action, "TransferProtocol", &path).await?;
        if !allowed.is_empty() && !allowed.contains(&scheme) {
            return Err(Error::Unsupported(format!("fetch by {scheme}; it allows {}", allowed.join(", "))));
        }
        let mut body = json!({ "ImageURI": image, "TransferProtocol": scheme });
        if !targets.is_empty() {
            body["Targets"] = json!(targets);
        }
        let target = self.path(target, path.as_str())?;
        let reply = self.act(&target, &body).await?;
        let monitor = reply.headers.get(LOCATION).and_then(|place| place.to_str().ok());
        match monitor.or_else(|| reply.body["@odata.id"].as_str()) {
            Some(task) => {
                let path = self.path(task, target.as_str()).map_err(Error::of_deed)?;
                Ok(Some(Task { path: path.to_string() }))
            }
            None if reply.status == StatusCode::ACCEPTED => {
                let (path, field) = (target.to_string(), "Location".to_owned());
                Err(Error::Shape { path, field, wanted: "a task to watch" }.of_deed())
            }
            None => Ok(None),
        }
    }

    /// How far a task is.
    pub async fn task(&self, task: &Task) -> Result<TaskState, Error> {
        let path = self.path(&task.path, Path::ROOT)?;
        let reply = match self.get(&path).await {
            Err(Error::Status { status: StatusCode::NOT_FOUND | StatusCode::GONE, .. }) => return Ok(TaskState::Gone),
            reply => reply?,
        };
        // A task monitor answers 202 while it runs, and then with what the action itself would have.
        Ok(match reply.body["TaskState"].as_str() {
            None if reply.status == StatusCode::ACCEPTED => TaskState::Running { percent: None },
            None | Some("Completed") => TaskState::Done,
            // It was asked for and begins when something else has happened; what, is not said.
            Some("Pending") => TaskState::Staged,
            Some("Exception" | "Killed" | "Cancelled" | "Interrupted" | "Suspended") => {
                TaskState::Failed { why: why(&reply.body) }
            }
            Some(_) => {
                let percent = reply.body["PercentComplete"].as_u64().and_then(|percent| u8::try_from(percent).ok());
                TaskState::Running { percent }
            }
        })
    }

    /// Watches a task to its end, at most `polls_max` times; `pause` is what is between two looks.
    pub async fn watch(&self, task: &Task, polls_max: u32, mut pause: impl AsyncFnMut()) -> Result<TaskState, Error> {
        let mut state = self.task(task).await?;
        for _ in 1..polls_max {
            if !matches!(state, TaskState::Running { .. }) {
                break;
            }
            pause().await;
            state = match self.task(task).await {
                // A BMC that updates itself restarts.
                Err(error) if error.retry() == crate::Retry::Later => continue,
                state => state?,
            };
        }
        Ok(state)
    }
}

fn why(task: &Value) -> String {
    let messages = task["Messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let last = messages.iter().rev().find_map(|message| message["Message"].as_str());
    clean(last.or_else(|| task["TaskState"].as_str()).unwrap_or_default(), LINE_CHARS_MAX)
}
