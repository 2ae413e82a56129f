//! What a tenant's export is made of: receipts and proofs as files of their own (`ID.jwt`, `ID.tlog-proof`), or one per
//! line in files that end in `.jsonl`, or both. A million receipts are two million files or one.
//!
//! A line is `{"jwt": "…", "proof": "…"}`, the texts that the two files would hold; `proof` is missing or null as long as
//! the receipt is not sealed. Nothing here is believed: it only finds the pieces and hands them out, in a fixed order.

use crate::files;
use crate::words::Fault;
use anyhow::Context as _;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Pieces that a checker takes at once: at 4 kB each, 1 MB.
const BATCH: usize = 256;
/// A receipt of 64 kB and a note of 1 MB are the most that either may have; escaped, twice that.
const LINE_BYTES_MAX: u64 = 2_200_000;

/// Where a receipt was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    File(Box<str>),
    Line(Arc<str>, u64),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Label::File(name) => f.write_str(name),
            Label::Line(file, line) => write!(f, "{file}:{line}"),
        }
    }
}

impl Label {
    /// Where its proof was found.
    pub fn proof(&self) -> String {
        match self {
            Label::File(name) => Path::new(&**name).with_extension("tlog-proof").display().to_string(),
            Label::Line(..) => self.to_string(),
        }
    }
}

/// A piece that was found and not read yet.
#[derive(Debug)]
pub enum Piece {
    /// A receipt's file, and whether a proof lies beside it.
    File(PathBuf, bool),
    Line(Label, Vec<u8>),
}

/// A receipt's text and its proof's.
#[derive(Debug, PartialEq, Eq)]
pub struct Evidence {
    pub jwt: String,
    pub proof: Option<String>,
}

#[derive(serde::Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    jwt: Cow<'a, str>,
    #[serde(borrow, default)]
    proof: Option<Cow<'a, str>>,
}

impl Piece {
    pub fn label(&self) -> Label {
        match self {
            Piece::File(path, _) => Label::File(files::name(path).into()),
            Piece::Line(label, _) => label.clone(),
        }
    }

    /// The outer error: it could not be read, so nothing is known. The inner one: it is there and is no evidence.
    pub fn read(&self) -> anyhow::Result<Result<Evidence, Fault>> {
        match self {
            Piece::File(path, proof) => {
                let jwt = files::jwt(path)?;
                let proof = proof.then(|| files::text(&path.with_extension("tlog-proof"))).transpose()?;
                Ok(Ok(Evidence { jwt, proof }))
            }
            Piece::Line(label, bytes) => Ok(match serde_json::from_slice::<Line<'_>>(bytes) {
                Ok(line) => Ok(Evidence { jwt: line.jwt.into_owned(), proof: line.proof.map(Cow::into_owned) }),
                Err(error) => Err(Fault::Export { file: label.to_string(), error: error.to_string() }),
            }),
        }
    }
}

/// Hands out the pieces of a folder, files first, each kind by name.
#[derive(Debug)]
pub struct Pieces {
    files: std::vec::IntoIter<(PathBuf, bool)>,
    bundles: std::vec::IntoIter<PathBuf>,
    open: Option<(Arc<str>, BufReader<File>, u64)>,
    given: u64,
    /// Proofs whose receipt is not here.
    pub orphans: Vec<String>,
}

impl Pieces {
    pub fn of(dir: &Path) -> anyhow::Result<Pieces> {
        let jwts = list(dir, "jwt")?;
        let proofs: HashSet<PathBuf> = list(dir, "tlog-proof")?.into_iter().collect();
        let files: Vec<_> = jwts
            .into_iter()
            .map(|jwt| {
                let proof = proofs.contains(&jwt.with_extension("tlog-proof"));
                (jwt, proof)
            })
            .collect();
        let bundles = list(dir, "jsonl")?;
        anyhow::ensure!(
            !files.is_empty() || !bundles.is_empty(),
            "{} holds no receipts (files ending in .jwt or .jsonl)",
            dir.display()
        );
        let at_home: HashSet<PathBuf> = files.iter().map(|(jwt, _)| jwt.with_extension("tlog-proof")).collect();
        let mut orphans: Vec<String> = proofs.difference(&at_home).map(|path| files::name(path)).collect();
        orphans.sort();
        Ok(Pieces { files: files.into_iter(), bundles: bundles.into_iter(), open: None, given: 0, orphans })
    }

    /// How many were handed out.
    pub fn given(&self) -> u64 {
        self.given
    }

    /// The next pieces and the number of the first; none at the end.
    pub fn take(&mut self) -> anyhow::Result<Option<(u64, Vec<Piece>)>> {
        let mut batch: Vec<Piece> =
            self.files.by_ref().take(BATCH).map(|(jwt, proof)| Piece::File(jwt, proof)).collect();
        while batch.len() < BATCH {
            let Some((name, reader, number)) = &mut self.open else {
                let Some(path) = self.bundles.next() else { break };
                let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
                self.open = Some((files::name(&path).into(), BufReader::with_capacity(1 << 20, file), 0));
                continue;
            };
            let mut line = Vec::with_capacity(4_096);
            let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if read.with_context(|| format!("cannot read {name}"))? == 0 {
                self.open = None;
                continue;
            }
            *number += 1;
            batch.push(Piece::Line(Label::Line(name.clone(), *number), line));
        }
        let first = self.given;
        self.given += batch.len() as u64;
        Ok((!batch.is_empty()).then_some((first, batch)))
    }
}

/// The files of this kind, by name.
fn list(dir: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read the folder {}", dir.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read the folder {}", dir.display()))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
