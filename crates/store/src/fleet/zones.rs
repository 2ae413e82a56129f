//! Zones in which a robot may still be that was told to stop. Written with the change that takes its task away.

use crate::database::{Session, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use fleet::order::Left;
use types::{OrderId, TaskId, UnixMillis};

statements! {
    PUT = "INSERT INTO zones_left (task, order_id, robot, zone, since) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (task, robot) DO UPDATE SET zone = excluded.zone, since = excluded.since";
    ALL = "SELECT task, robot, zone, since FROM zones_left ORDER BY since, task, robot";
    END = "DELETE FROM zones_left WHERE task = $1 AND robot = $2";
    IN_ZONE = "SELECT task FROM zones_left WHERE zone = $1 AND task <> $2";
}

pub(crate) async fn put(session: &mut Session, order: OrderId, left: &Left, at: UnixMillis) -> Result<(), StoreError> {
    session.run(PUT, values![left.task, order, &left.robot, &left.zone, at]).await.map(|_| ())
}

/// Whoever begins in a zone begins in an empty one, also if that was so a moment ago.
pub(crate) async fn empty(session: &mut Session, zone: &str, running: TaskId) -> Result<(), StoreError> {
    match session.rows(IN_ZONE, values![zone, running]).await?.is_empty() {
        true => Ok(()),
        false => Err(StoreError::Conflict { what: "a robot that has not said that it stopped in this zone" }),
    }
}

impl Store {
    /// Robots that have not said that they stopped, and since when they should have; oldest first.
    pub async fn zones_left(&self) -> Result<Vec<(Left, UnixMillis)>, StoreError> {
        let rows = self.database.rows(ALL, values![]).await?;
        let mut all = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut c = row.columns();
            let left = Left { task: c.parsed()?, robot: c.text()?, zone: c.text()? };
            all.push((left, UnixMillis(c.int()?)));
        }
        Ok(all)
    }

    /// These have stopped.
    pub async fn zones_left_end(&self, stopped: &[(TaskId, String)]) -> Result<(), StoreError> {
        let mut session = self.database.write().await?;
        for (task, robot) in stopped {
            session.run(END, values![*task, robot]).await?;
        }
        session.commit().await
    }
}
