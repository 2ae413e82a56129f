//! The log's head. The `ord` of a receipt or a certificate is its leaf index, given without gaps when it is stored, so what is sealed is the
//! places below the head's size, and sealing moves one number and one text, however many leaves they cover.
//!
//! The sealer's steps: read the unsealed, write tiles, `seal` here, publish the checkpoint. If it crashes before `seal`,
//! the next run reads the same leaves in the same order and writes the same tiles; after `seal`, it publishes the
//! checkpoint that [`Store::tree_head`] holds. `seal` is a compare-and-swap on the size, so of two sealers one is fenced off.

use crate::database::{int, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::IncarnationId;

statements! {
    /// A run has 256 receipts at most ([`crate::run::RECEIPTS_MAX`]), so one that reaches beyond the head's size begins less than that before it.
    /// Certificates of acceptance lie between runs; one statement sees both at one moment.
    UNSEALED = "SELECT r.first_ord, r.leaves, h.size FROM tree_head AS h CROSS JOIN receipt_runs AS r
                WHERE h.id = 1 AND r.first_ord > h.size - 256 AND r.last_ord >= h.size AND r.first_ord < h.size + $1
                UNION ALL
                SELECT c.ord, c.leaf, h.size FROM tree_head AS h CROSS JOIN acceptances AS c
                WHERE h.id = 1 AND c.ord >= h.size AND c.ord < h.size + $1
                ORDER BY 1";
    HEAD = "SELECT size, checkpoint FROM tree_head WHERE id = 1";
    SEAL = "UPDATE tree_head SET size = $2, checkpoint = $3 WHERE id = 1 AND size = $1
            AND $2 <= (SELECT value FROM counters WHERE name = 'leaves')";
    OPEN_UNTIL = "SELECT r.tenant, r.project, r.inc, r.leaves, r.rows, r.first_ord, h.size
                  FROM tree_head AS h CROSS JOIN receipt_runs AS r
                  WHERE h.id = 1 AND r.first_ord > h.size - 256 AND r.last_ord >= h.size
                  AND r.inc = $1 AND r.first_journal <= $2 ORDER BY r.first_ord LIMIT 2";
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
        let mut unsealed = Vec::new();
        for row in self.database.rows(UNSEALED, values![limit]).await? {
            let mut c = row.columns();
            let (first_ord, leaves, size) = (c.count()?, c.bytes()?, c.count()?);
            let places = leaves.as_chunks::<32>().0.iter().zip(first_ord..);
            unsealed.extend(places.filter(|(_, ord)| *ord >= size).map(|(leaf, ord)| (ord, *leaf)));
        }
        unsealed.truncate(limit as usize);
        Ok(unsealed)
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
        for row in self.database.rows(OPEN_UNTIL, values![inc, until]).await? {
            // The first may be sealed in part; what counts is whether the rest of it is.
            let receipts = crate::ship::decoded(row.columns())?;
            let mut c = row.columns_from(5);
            let (first_ord, size) = (c.count()?, c.count()?);
            let open = receipts.iter().zip(first_ord..).filter(|(_, ord)| *ord >= size);
            if open.into_iter().any(|(receipt, _)| receipt.journal_seq <= journal_seq) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

const _: () = assert!(crate::run::RECEIPTS_MAX == 256, "the statements above say so");
