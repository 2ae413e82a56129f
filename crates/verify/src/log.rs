//! `log`: a whole log, recomputed from its entries. Reads each entry bundle once, from the first, and keeps only the
//! tree's right edge, so a log of any size fits in memory.
//!
//! Every tile file that is there is compared: also partial tiles of older sizes, because one of them that differs shows
//! that somebody was once shown another history.
//!
//! A tile that is missing is not a fault but no proof either: the copy may be incomplete. The check then ends with 2.

use crate::files;
use crate::report::Report;
use crate::words::{Fault, Proved, Unproved};
use anyhow::Context as _;
use ledger::checkpoint::Checkpoint;
use ledger::hash::{Hash, leaf_hash};
use ledger::note::Vkey;
use ledger::tile::{self, Tile, TileLevel};
use ledger::tree::{Frontier, TreeHead};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A bundle gives each entry two bytes of length.
const ENTRY_BYTES: usize = 34;

pub fn check(dir: &Path, log_key: &str, since: Option<&Path>) -> anyhow::Result<Report> {
    let log = files::vkey(log_key)?;
    let dir = if !dir.join("checkpoint").exists() && dir.join("log").is_dir() { dir.join("log") } else { dir.into() };
    let note = files::text(&dir.join("checkpoint"))?;
    let older = since.map(files::text).transpose()?;
    let mut report = Report::default();
    let now = open("checkpoint".to_owned(), &note, &log, &mut report);
    let older = match (since, older) {
        (Some(path), Some(text)) => open(files::name(path), &text, &log, &mut report),
        _ => None,
    };
    let Some(now) = now else { return Ok(report) };

    let mut recount = Recount::start(&dir, now.size)?;
    let heads = recount.run(older.as_ref().map(|older| older.size).filter(|size| *size <= now.size))?;
    if heads.now != Some(now.head()) && recount.whole {
        report.faults.push(Fault::Root { size: now.size });
    }
    if let Some(older) = &older {
        if older.size > now.size {
            report.faults.push(Fault::Rollback { older: older.size, size: now.size });
        } else if recount.whole && heads.older != Some(older.head()) {
            report.faults.push(Fault::History { older: older.size });
        }
    }
    report.faults.append(&mut recount.faults);
    if report.faults.is_empty() && !recount.missing.is_empty() {
        let count = recount.missing.len();
        anyhow::bail!(
            "{} and {} other file(s) of the log are missing: get a whole copy",
            recount.missing[0],
            count - 1
        );
    }
    report.proved.push(Proved::Log { origin: now.origin, size: now.size, root: now.root.b64() });
    match older {
        Some(older) => report.proved.push(Proved::Since { size: older.size }),
        None => report.unproved.push(Unproved::Earlier),
    }
    let past = recount.past_checkpoint + recount.there.values().map(Vec::len).sum::<usize>();
    if past > 0 {
        report.unproved.push(Unproved::PastCheckpoint { files: past });
    }
    report.unproved.extend([Unproved::NoWitness, Unproved::MeaningOfEntries]);
    Ok(report)
}

fn open(file: String, note: &str, log: &Vkey, report: &mut Report) -> Option<Checkpoint> {
    match Checkpoint::open(note, log) {
        Ok(checkpoint) => Some(checkpoint),
        Err(error) => {
            report.faults.push(Fault::Checkpoint { file, error });
            None
        }
    }
}

/// The heads that the entries give.
struct Heads {
    now: Option<TreeHead>,
    older: Option<TreeHead>,
}

struct Recount<'a> {
    dir: &'a Path,
    size: u64,
    /// The tile files that are there, by place, and not yet compared: their widths.
    there: BTreeMap<(TileLevel, u64), Vec<u16>>,
    missing: Vec<String>,
    faults: Vec<Fault>,
    /// False once a bundle was missing or damaged: then the heads say nothing.
    whole: bool,
    /// Files that hold more than the checkpoint covers: an append that is not published yet, or a checkpoint put back.
    past_checkpoint: usize,
}

impl<'a> Recount<'a> {
    fn start(dir: &'a Path, size: u64) -> anyhow::Result<Recount<'a>> {
        let mut there: BTreeMap<_, Vec<u16>> = BTreeMap::new();
        for tile in walk(dir)? {
            there.entry((tile.level, tile.index)).or_default().push(tile.width);
        }
        Ok(Recount { dir, size, there, missing: Vec::new(), faults: Vec::new(), whole: true, past_checkpoint: 0 })
    }

    fn run(&mut self, older_size: Option<u64>) -> anyhow::Result<Heads> {
        let mut frontier = Frontier::default();
        let mut heads = Heads { now: None, older: (older_size == Some(0)).then_some(TreeHead::EMPTY) };
        // Per level, the hashes of the tile that is being filled.
        let mut filling: Vec<Vec<Hash>> = vec![Vec::new(); 8];
        for index in 0..self.size.div_ceil(256) {
            let width = (self.size - index * 256).min(256) as u16;
            let Some(entries) = self.bundle(Tile::entries(index, width))? else {
                self.whole = false;
                return Ok(heads);
            };
            for entry in &entries {
                let hash = leaf_hash(entry);
                frontier.push(hash);
                if older_size == Some(frontier.size()) {
                    heads.older = Some(frontier.head());
                }
                self.fill(&mut filling, 0, frontier.size(), hash)?;
            }
        }
        for (level, hashes) in filling.iter().enumerate().filter(|(_, hashes)| !hashes.is_empty()) {
            let index = (self.size >> (8 * level)) / 256;
            self.compare(Tile::hashes(level as u8, index, hashes.len() as u16), hashes)?;
        }
        heads.now = Some(frontier.head());
        Ok(heads)
    }

    /// Adds a hash to the tile that is being filled at `level`, and one to the level above when it is full.
    fn fill(&mut self, filling: &mut [Vec<Hash>], level: usize, size: u64, hash: Hash) -> anyhow::Result<()> {
        filling[level].push(hash);
        if filling[level].len() < 256 {
            return Ok(());
        }
        let full = std::mem::take(&mut filling[level]);
        self.compare(Tile::hashes(level as u8, (size >> (8 * level)) / 256 - 1, 256), &full)?;
        if level + 1 < filling.len() {
            self.fill(filling, level + 1, size, tile::fold(&full))?;
        }
        Ok(())
    }

    /// The entries of a bundle, up to the size that the checkpoint gives it.
    fn bundle(&mut self, tile: Tile) -> anyhow::Result<Option<Vec<Vec<u8>>>> {
        let widths = self.there.remove(&(tile.level, tile.index)).unwrap_or_default();
        let choice = [tile, tile.full()].into_iter().find(|choice| widths.contains(&choice.width));
        let Some(choice) = choice else {
            self.missing.push(tile.path());
            return Ok(None);
        };
        let bytes = self.read(&choice)?;
        let whole = |entries: &Vec<Vec<u8>>| {
            entries.len() == usize::from(choice.width) && entries.iter().all(|entry| entry.len() == 32)
        };
        let Some(mut entries) = tile::parse_entries(&bytes).filter(whole) else {
            self.faults.push(Fault::Bundle { path: choice.path() });
            return Ok(None);
        };
        entries.truncate(usize::from(tile.width));
        self.agree(tile, &widths, &bytes[..ENTRY_BYTES * entries.len()], ENTRY_BYTES)?;
        Ok(Some(entries))
    }

    /// The tile of this place, and whatever other widths of it are there.
    fn compare(&mut self, tile: Tile, hashes: &[Hash]) -> anyhow::Result<()> {
        let widths = self.there.remove(&(tile.level, tile.index)).unwrap_or_default();
        if !widths.contains(&tile.width) && !widths.contains(&tile.full().width) {
            self.missing.push(tile.path());
        }
        self.agree(tile, &widths, &tile::render_hashes(hashes), 32)
    }

    /// Every file of a place, narrower or wider, must begin as we know it: `step` bytes for one of its width.
    fn agree(&mut self, tile: Tile, widths: &[u16], known: &[u8], step: usize) -> anyhow::Result<()> {
        for width in widths {
            let found = Tile { width: *width, ..tile };
            let bytes = self.read(&found)?;
            let common = step * usize::from(found.width.min(tile.width));
            if bytes.len() != step * usize::from(*width) || bytes.get(..common) != known.get(..common) {
                self.faults.push(Fault::Tile { path: found.path() });
            }
            self.past_checkpoint += usize::from(found.width > tile.width);
        }
        Ok(())
    }

    fn read(&self, tile: &Tile) -> anyhow::Result<Vec<u8>> {
        let path = self.dir.join(tile.path());
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// All tiles and bundles in the folder; files that are none are not ours to judge.
fn walk(dir: &Path) -> anyhow::Result<Vec<Tile>> {
    let mut tiles = Vec::new();
    // An empty log has no tiles and no folder for them.
    let mut folders: Vec<PathBuf> = Some(dir.join("tile")).filter(|root| root.exists()).into_iter().collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
            let path = entry.path();
            if entry.file_type().with_context(|| format!("cannot read {}", path.display()))?.is_dir() {
                folders.push(path);
                continue;
            }
            let below = path.strip_prefix(dir).ok().and_then(Path::to_str).map(|p| p.replace('\\', "/"));
            tiles.extend(below.and_then(|below| Tile::parse(&below).ok()));
        }
    }
    Ok(tiles)
}
