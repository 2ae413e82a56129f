//! Sessions of robots, kept for the next start. What is in them is `vda5050`'s; nothing here reads it.

use super::{from_json, json};
use crate::database::values;
use crate::statements::statements;
use crate::{Store, StoreError};
use serde_json::Value;
use std::collections::BTreeMap;
use types::UnixMillis;

statements! {
    PUT = "INSERT INTO robots (id, at, session) VALUES ($1, $2, $3)
           ON CONFLICT (id) DO UPDATE SET at = excluded.at, session = excluded.session";
    ALL = "SELECT id, session FROM robots ORDER BY id";
}

impl Store {
    /// Keeps these sessions; those of other robots stay.
    pub async fn robots_keep(&self, sessions: &BTreeMap<String, Value>, at: UnixMillis) -> Result<(), StoreError> {
        let mut session = self.database.write().await?;
        for (robot, value) in sessions {
            session.run(PUT, values![robot, at, json(value)?]).await?;
        }
        session.commit().await
    }

    /// What was kept last of each robot.
    pub async fn robots_kept(&self) -> Result<BTreeMap<String, Value>, StoreError> {
        let mut kept = BTreeMap::new();
        for row in self.database.rows(ALL, values![]).await? {
            let mut c = row.columns();
            let (robot, body) = (c.text()?, c.text()?);
            let value = from_json(&format!("the session of {robot}"), &body)?;
            kept.insert(robot, value);
        }
        Ok(kept)
    }
}
