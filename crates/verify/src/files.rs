//! Reading what the user names. What is missing, or is a key that cannot be used, ends the check with code 2: nothing
//! was found out about the evidence. Evidence that is there and malformed is a finding, and not this file's matter.

use crate::args::LogKeys;
use anyhow::Context as _;
use ledger::jwks::Jwks;
use ledger::note::Vkey;
use ledger::proof::Policy;
use std::path::Path;

/// A file as text. Bytes that are not UTF-8 become U+FFFD, which no signed or encoded part of our formats survives.
pub fn text(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A receipt or a certificate; editors and shells add a line end, which is not part of it.
pub fn jwt(path: &Path) -> anyhow::Result<String> {
    let text = text(path)?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

pub fn jwks(path: &Path) -> anyhow::Result<Jwks> {
    Jwks::parse(&text(path)?).with_context(|| format!("{} is not a key set to check with", path.display()))
}

/// A verifier key, given as text or as a file.
pub fn vkey(given: &str) -> anyhow::Result<Vkey> {
    let found = match given.parse::<Vkey>() {
        Ok(vkey) => Ok(vkey),
        Err(_) if Path::new(given).is_file() => text(Path::new(given))?.trim().parse(),
        Err(error) => Err(error),
    };
    found.with_context(|| format!("\"{given}\" is neither a verifier key nor a file that holds one"))
}

pub fn log_keys(keys: &LogKeys) -> anyhow::Result<(Vkey, Policy)> {
    let witnesses = keys.witness.iter().map(|given| vkey(given)).collect::<Result<Vec<_>, _>>()?;
    Ok((vkey(&keys.log_key)?, Policy { quorum: witnesses.len(), witnesses }))
}

/// The last part of a path, for messages.
pub fn name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
