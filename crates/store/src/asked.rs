//! Questions whose answers are fetched later: taken, begun, ended, listed, and forgotten when their time is over.
//!
//! Whoever works on one says so again and again (`alive_until`). One that nobody spoke for in time was abandoned by a process that
//! died, and is failed by whoever looks next: several gateways share a database, and none knows what another one's death left.
//!
//! If we crash here: a row is whole or not there. An answer that was made and not stored is lost, and its question fails.

use crate::database::values;
use crate::knowledge::lock_open;
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{AsyncId, ProjectId, UnixMillis};

macro_rules! select {
    () => {
        "SELECT id, model, status, created_at, started_at, ended_at, expires_at, alive_until, request, error FROM asked "
    };
}

statements! {
    OPEN = "SELECT COUNT(*) FROM asked WHERE project = $1 AND ended_at IS NULL AND alive_until > $2";
    INSERT = "INSERT INTO asked (id, project, model, status, created_at, expires_at, alive_until, name, request, answer)
              VALUES ($1, $2, $3, 'created', $4, $5, $6, $7, $8, $9)
              ON CONFLICT (project, name) DO NOTHING";
    BY_NAME = concat!(select!(), "WHERE project = $1 AND name = $2");
    FORGET_NAME = "DELETE FROM asked WHERE project = $1 AND name = $2 AND expires_at <= $3";
    BEGIN = "UPDATE asked SET status = 'running', started_at = $3, alive_until = $4
             WHERE project = $1 AND id = $2 AND status = 'created'";
    ALIVE = "UPDATE asked SET alive_until = $3 WHERE project = $1 AND id = $2 AND ended_at IS NULL";
    END = "UPDATE asked SET status = $3, ended_at = $4, error = $5, answer = $6
           WHERE project = $1 AND id = $2 AND ended_at IS NULL";
    ABANDON = "UPDATE asked SET status = 'failed', ended_at = $1, error = $2 WHERE ended_at IS NULL AND alive_until <= $1";
    ONE = concat!(select!(), "WHERE project = $1 AND id = $2 AND expires_at > $3");
    ANSWER = "SELECT answer FROM asked WHERE project = $1 AND id = $2 AND expires_at > $3 AND status = 'completed'";
    LIST = concat!(select!(), "WHERE project = $1 AND id < $2 AND expires_at > $3 ORDER BY id DESC LIMIT $4");
    SWEEP = "DELETE FROM asked WHERE expires_at <= $1";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedStatus {
    Created,
    Running,
    Completed,
    Failed,
}

impl AskedStatus {
    const ALL: [AskedStatus; 4] =
        [AskedStatus::Created, AskedStatus::Running, AskedStatus::Completed, AskedStatus::Failed];

    pub const fn as_str(self) -> &'static str {
        match self {
            AskedStatus::Created => "created",
            AskedStatus::Running => "running",
            AskedStatus::Completed => "completed",
            AskedStatus::Failed => "failed",
        }
    }
}

/// No status of a question.
#[derive(Debug, thiserror::Error)]
#[error("a status is one of created, running, completed, failed")]
pub struct AskedStatusError;

impl std::str::FromStr for AskedStatus {
    type Err = AskedStatusError;
    fn from_str(text: &str) -> Result<AskedStatus, AskedStatusError> {
        AskedStatus::ALL.into_iter().find(|status| status.as_str() == text).ok_or(AskedStatusError)
    }
}

/// A question as it is stored, without its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedRow {
    pub id: AsyncId,
    pub model: String,
    pub status: AskedStatus,
    pub created_at: UnixMillis,
    pub started_at: Option<UnixMillis>,
    pub ended_at: Option<UnixMillis>,
    pub expires_at: UnixMillis,
    /// While it is open: until when somebody is known to work on it.
    pub alive_until: UnixMillis,
    /// Digest of what was asked.
    pub request: [u8; 32],
    /// Why it failed.
    pub error: Option<String>,
}

/// A question that is to be taken.
#[derive(Debug, Clone)]
pub struct NewAsked {
    pub id: AsyncId,
    pub project: ProjectId,
    pub model: String,
    pub created_at: UnixMillis,
    pub expires_at: UnixMillis,
    pub alive_until: UnixMillis,
    /// Digest of the client's own key for it.
    pub name: Option<[u8; 32]>,
    pub request: [u8; 32],
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedTaken {
    New,
    /// The client's key for it has one already.
    Known(AskedRow),
    /// The project has as many open as it may.
    Full,
}

fn row(row: &crate::database::Row) -> Result<AskedRow, StoreError> {
    let mut c = row.columns();
    Ok(AskedRow {
        id: c.parsed()?,
        model: c.text()?,
        status: c.parsed()?,
        created_at: UnixMillis(c.int()?),
        started_at: c.int_opt()?.map(UnixMillis),
        ended_at: c.int_opt()?.map(UnixMillis),
        expires_at: UnixMillis(c.int()?),
        alive_until: UnixMillis(c.int()?),
        request: c.hash()?,
        error: c.text_opt()?,
    })
}

impl Store {
    /// Takes a question, if the project has fewer open than `open_max`, or says which has its key.
    pub async fn asked_take(&self, new: &NewAsked, open_max: u64) -> Result<AskedTaken, StoreError> {
        let (_place, mut session) = self.write_in_project().await?;
        // Before anything is counted: of two at once one counts the other.
        lock_open(&mut session, new.project).await?;
        let name = new.name.map_or(new.id.0.to_be_bytes().to_vec(), |name| name.to_vec());
        if new.name.is_some() {
            session.run(FORGET_NAME, values![new.project, name.clone(), new.created_at]).await?;
            if let Some(known) = session.rows(BY_NAME, values![new.project, name.clone()]).await?.first() {
                return Ok(AskedTaken::Known(row(known)?));
            }
        }
        if session.number(OPEN, values![new.project, new.created_at]).await? >= open_max {
            return Ok(AskedTaken::Full);
        }
        let mut values =
            values![new.id, new.project, new.model.clone(), new.created_at, new.expires_at, new.alive_until];
        values.extend(values![name.clone(), new.request.to_vec(), Vec::new()]);
        if session.run(INSERT, values).await? == 1 {
            session.commit().await?;
            return Ok(AskedTaken::New);
        }
        // Another gateway was quicker with the same key.
        let known = session.rows(BY_NAME, values![new.project, name]).await?;
        let known = known.first().ok_or(StoreError::Conflict { what: "this question" })?;
        Ok(AskedTaken::Known(row(known)?))
    }

    /// Somebody works on it from now on. False: it has ended, or somebody else does.
    pub async fn asked_begin(
        &self,
        project: ProjectId,
        id: AsyncId,
        now: UnixMillis,
        alive_until: UnixMillis,
    ) -> Result<bool, StoreError> {
        self.asked_change(BEGIN, values![project, id, now, alive_until]).await
    }

    /// Somebody still works on it. False: it has ended.
    pub async fn asked_alive(
        &self,
        project: ProjectId,
        id: AsyncId,
        alive_until: UnixMillis,
    ) -> Result<bool, StoreError> {
        self.asked_change(ALIVE, values![project, id, alive_until]).await
    }

    /// Its answer, sealed, or why it has none. False: it had ended before, and nothing was changed.
    pub async fn asked_end(
        &self,
        project: ProjectId,
        id: AsyncId,
        now: UnixMillis,
        end: Result<Vec<u8>, String>,
    ) -> Result<bool, StoreError> {
        let (status, error, answer) = match end {
            Ok(answer) => (AskedStatus::Completed, None, answer),
            Err(error) => (AskedStatus::Failed, Some(error), Vec::new()),
        };
        self.asked_change(END, values![project, id, status.as_str(), now, error, answer]).await
    }

    /// Fails what nobody works on any more; answers how many.
    pub async fn asked_abandon(&self, now: UnixMillis, error: &str) -> Result<u64, StoreError> {
        let mut session = self.database.write().await?;
        let abandoned = session.run(ABANDON, values![now, error.to_owned()]).await?;
        session.commit().await?;
        Ok(abandoned)
    }

    pub async fn asked(
        &self,
        project: ProjectId,
        id: AsyncId,
        now: UnixMillis,
    ) -> Result<Option<AskedRow>, StoreError> {
        let rows = self.database.rows(ONE, values![project, id, now]).await?;
        rows.first().map(row).transpose()
    }

    /// The answer, sealed.
    pub async fn asked_answer(
        &self,
        project: ProjectId,
        id: AsyncId,
        now: UnixMillis,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.database.rows(ANSWER, values![project, id, now]).await?;
        rows.first().map(|row| row.columns().bytes()).transpose()
    }

    /// A project's, newest first, from before an id on.
    pub async fn asked_list(
        &self,
        project: ProjectId,
        before: Option<AsyncId>,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<AskedRow>, StoreError> {
        let before = before.unwrap_or(AsyncId(u128::MAX));
        let rows = self.database.rows(LIST, values![project, before, now, limit]).await?;
        rows.iter().map(row).collect()
    }

    /// Forgets those whose time is over; answers how many.
    pub async fn asked_sweep(&self, now: UnixMillis) -> Result<u64, StoreError> {
        let mut session = self.database.write().await?;
        let swept = session.run(SWEEP, values![now]).await?;
        session.commit().await?;
        Ok(swept)
    }

    async fn asked_change(&self, sql: &'static str, values: Vec<crate::database::Value>) -> Result<bool, StoreError> {
        let mut session = self.database.write().await?;
        let changed = session.run(sql, values).await?;
        session.commit().await?;
        Ok(changed == 1)
    }
}
