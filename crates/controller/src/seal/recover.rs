//! What the sealer does first: it makes the log's files and the store's checkpoint agree, or refuses to go on.
//!
//! The entry bundles are what the log is made of; hash tiles follow from them. A missing hash tile is therefore derived
//! and written again; one that says something else, a missing bundle, or a root that differs from the signed one is a
//! fork. The whole log is read: 17 KB for 256 receipts, so 66 MB and well under a second for a million.
//!
//! If we crash here: nothing was changed but files that were missing.

use super::{SealFailure, SealerParts, blocking, named, widths};
use ledger::hash::Hash;
use ledger::tile::{self, Tile};
use ledger::tree::{Frontier, TreeHead};
use store::tiles::TileFiles;

/// Brings files and store into agreement; answers the tree that is sealed.
pub async fn recover(parts: &SealerParts) -> Result<TreeHead, SealFailure> {
    let stored = parts.head().await?;
    let (head, note) = match stored {
        Some(stored) => stored,
        None => {
            // A log without a leaf has a checkpoint too, so that there is something to hold us to from the start.
            let note = parts.signer.checkpoint(&TreeHead::EMPTY);
            let files = parts.tiles.clone();
            let published = blocking(move || Ok(files.published()?)).await?;
            if let Some(published) = published.filter(|published| published.size > 0) {
                return Err(older(published.size, 0));
            }
            parts.store.seal(0, &[], 0, &note).await?;
            (TreeHead::EMPTY, note)
        }
    };
    let files = parts.tiles.clone();
    blocking(move || {
        if let Some(published) = files.published()?.filter(|published| published.size > head.size) {
            return Err(older(published.size, head.size));
        }
        derive(&files, &head)?;
        if files.checkpoint()?.as_ref() != Some(&note) {
            files.publish_checkpoint(&note)?;
        }
        Ok(head)
    })
    .await
}

fn older(published: u64, stored: u64) -> SealFailure {
    SealFailure::fork(format!(
        "a checkpoint of {published} leaves is published, the database knows {stored}: it was restored from an older \
         backup, or belongs to another folder"
    ))
}

/// Checks every tile of the tree, writes the missing ones, and compares the root with the signed one.
fn derive(files: &TileFiles, head: &TreeHead) -> Result<(), SealFailure> {
    let mut frontier = Frontier::default();
    let mut above = Vec::new();
    for (index, width) in widths(head.size) {
        let bundle = Tile::entries(index, width);
        let hashes = tile::entry_hashes(&tile::read_entries(files, bundle).map_err(|_| {
            SealFailure::fork(format!("{} is missing or damaged; restore it from a mirror or a backup", named(bundle)))
        })?);
        hashes.iter().for_each(|hash| frontier.push(*hash));
        keep(files, Tile::hashes(0, index, width), &hashes)?;
        if width == tile::WIDTH_FULL {
            above.push(tile::fold(&hashes));
        }
    }
    let mut level = 1;
    while !above.is_empty() {
        let mut next = Vec::new();
        for (chunk, (index, width)) in above.chunks(256).zip(widths(above.len() as u64)) {
            keep(files, Tile::hashes(level, index, width), chunk)?;
            if width == tile::WIDTH_FULL {
                next.push(tile::fold(chunk));
            }
        }
        (above, level) = (next, level + 1);
    }
    if frontier.head() == *head {
        return Ok(());
    }
    Err(SealFailure::fork(format!(
        "the entries lead to root {}, the signed checkpoint of {} leaves says {}",
        frontier.head().root.b64(),
        head.size,
        head.root.b64()
    )))
}

/// The tile is there and says this, or it is written.
fn keep(files: &TileFiles, tile: Tile, hashes: &[Hash]) -> Result<(), SealFailure> {
    match tile::read_hashes(files, tile) {
        Ok(there) if there == hashes => Ok(()),
        Ok(_) => Err(SealFailure::fork(format!("{} does not follow from the entries below it", named(tile)))),
        Err(tile::TileError::Damaged { path, bytes }) => {
            Err(SealFailure::fork(format!("{path} has {bytes} bytes and is no tile; delete it and start again")))
        }
        Err(_) => Ok(files.write(&tile.path(), &tile::render_hashes(hashes))?),
    }
}
