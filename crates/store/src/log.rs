//! The log's head. A receipt's `ord` is its leaf index, given without gaps when it is shipped, so what is sealed is the
//! rows below the head's size, and sealing moves one number and one text, however many leaves they cover.
//!
//! The sealer's steps: read the unsealed, write tiles, `seal` here, publish the checkpoint. If it crashes before `seal`,
//! the next run reads the same leaves in the same order and writes the same tiles; after `seal`, it publishes the
//! checkpoint that [`Store::tree_head`] holds. `seal` is a compare-and-swap on the size, so of two sealers one is fenced off.

use crate::database::{int, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::IncarnationId;

statements! {
    UNSEALED = "SELECT ord, leaf FROM receipts WHERE ord >= (SELECT size FROM tree_head WHERE id = 1)
                ORDER BY ord LIMIT $1";
    HEAD = "SELECT size, checkpoint FROM tree_head WHERE id = 1";
    SEAL = "UPDATE tree_head SET size = $2, checkpoint = $3 WHERE id = 1 AND size = $1
            AND $2 <= (SELECT value FROM counters WHERE name = 'leaves')";
    /// The inner LIMIT keeps both planners on the primary key, and so on the few rows that are not sealed.
    OPEN_UNTIL = "SELECT COUNT(*) FROM (SELECT inc, journal_seq FROM receipts
                  WHERE ord >= (SELECT size FROM tree_head WHERE id = 1) ORDER BY ord LIMIT 9000000000000000000) AS open
                  WHERE inc = $1 AND journal_seq <= $2";
}

/// Why a seal did not happen; the head is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Somebody else sealed in between. Read the head and the unsealed again.
    #[error("the log has {found} leaves, not {from_size}: another sealer was faster")]
    Fenced { from_size: u64, found: u64 },
    /// A caller's error: the places are not the next ones after `from_size`, or no receipt is there.
    #[error("a seal from {from_size} to {new_size} must cover exactly the stored places in between")]
    Places { from_size: u64, new_size: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Places and leaves that no checkpoint covers yet, in log order from the head's size on.
    pub async fn unsealed(&self, limit: u32) -> Result<Vec<(u64, [u8; 32])>, StoreError> {
        let rows = self.database.rows(UNSEALED, values![limit]).await?;
        rows.iter()
            .map(|row| {
                let mut c = row.columns();
                Ok((c.count()?, c.hash()?))
            })
            .collect()
    }

    /// Makes `checkpoint` the head over the places `ords`, which are `from_size..new_size`. An equal size replaces the
    /// text alone: a fresh time, or a cosignature.
    pub async fn seal(&self, from_size: u64, ords: &[u64], new_size: u64, checkpoint: &str) -> Result<(), SealError> {
        let places = SealError::Places { from_size, new_size };
        if new_size < from_size || !ords.iter().copied().eq(from_size..new_size) {
            return Err(places);
        }
        let mut session = self.database.write().await?;
        let values = values![int(from_size, "the log's size")?, int(new_size, "the log's size")?, checkpoint];
        if session.run(SEAL, values).await? == 0 {
            let found = session.number(HEAD, values![]).await?;
            return Err(if found == from_size { places } else { SealError::Fenced { from_size, found } });
        }
        Ok(session.commit().await?)
    }

    /// The sealed size and its signed checkpoint; none before the first seal.
    pub async fn tree_head(&self) -> Result<Option<(u64, String)>, StoreError> {
        let rows = self.database.rows(HEAD, values![]).await?;
        let row = rows.first().ok_or_else(|| StoreError::Corrupt { what: "the tree head is missing".to_owned() })?;
        let mut c = row.columns();
        let (size, checkpoint) = (c.count()?, c.text()?);
        Ok((!checkpoint.is_empty()).then_some((size, checkpoint)))
    }

    /// True if no stored receipt of this incarnation at or before this place waits for a checkpoint. Says nothing of
    /// receipts that were not shipped: the gateway knows those.
    pub async fn sealed_through(&self, inc: IncarnationId, journal_seq: u64) -> Result<bool, StoreError> {
        let until = int(journal_seq, "the journal's sequence")?;
        let rows = self.database.rows(OPEN_UNTIL, values![inc, until]).await?;
        let row = rows.first().ok_or_else(|| StoreError::Corrupt { what: "a count is missing".to_owned() })?;
        Ok(row.columns().count()? == 0)
    }
}
