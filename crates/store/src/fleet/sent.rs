//! What was sent to BMCs, written down before it is sent: what must not be done twice is known to the next start, too.
//!
//! If we crash after the commit and before the request, it is sent when it is due again.

use super::steps::{EPOCH, StepError};
use crate::database::{Columns, int, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::{MachineId, UnixMillis};

statements! {
    FORGET = "DELETE FROM bmc_sent WHERE machine = $1 AND (entry < $2 OR (entry = $2 AND attempt < $3))";
    PUT = "INSERT INTO bmc_sent (machine, what, entry, attempt, again_at) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (machine, what) DO UPDATE SET entry = excluded.entry, attempt = excluded.attempt,
           again_at = excluded.again_at
           WHERE bmc_sent.entry < excluded.entry OR (bmc_sent.entry = excluded.entry AND bmc_sent.attempt <= excluded.attempt)";
    ALL = "SELECT machine, what, entry, attempt, again_at FROM bmc_sent ORDER BY machine, what";
}

/// One thing that was sent in one stay and attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub machine: MachineId,
    pub what: String,
    pub entry: u64,
    pub attempt: u32,
    /// Not to be sent again before this.
    pub again_at: UnixMillis,
}

impl Store {
    /// Writes down what is about to be sent; forgets what these machines' earlier stays were sent. Refused to a controller
    /// that another has taken over from, and then nothing may be sent.
    pub async fn bmc_sending(&self, epoch: u64, sent: &[Sent]) -> Result<(), StepError> {
        let mut session = self.database.write().await?;
        let present = session.number(EPOCH, values![]).await?;
        if present != epoch {
            return Err(StepError::Fenced { ours: epoch, present });
        }
        for one in sent {
            let (entry, attempt) = (int(one.entry, "the number of states")?, i64::from(one.attempt));
            session.run(FORGET, values![one.machine, entry, attempt]).await?;
            session.run(PUT, values![one.machine, &one.what, entry, attempt, one.again_at]).await?;
        }
        session.commit().await.map_err(StepError::from)
    }

    /// Everything that was sent lately.
    pub async fn bmc_sent(&self) -> Result<Vec<Sent>, StoreError> {
        let rows = self.database.rows(ALL, values![]).await?;
        let one = |mut c: Columns<'_>| {
            Ok(Sent {
                machine: c.parsed()?,
                what: c.text()?,
                entry: c.count()?,
                attempt: c.count_opt()?.unwrap_or_default(),
                again_at: UnixMillis(c.int()?),
            })
        };
        rows.iter().map(|row| one(row.columns())).collect()
    }
}
