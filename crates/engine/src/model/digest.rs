//! The digest that names a set of weights. One file: its plain SHA-256, what `sha256sum` prints. Several shards: the
//! SHA-256 of the text `sha256sum` prints for them in the order of their names (`<hex>  <name>\n` each), so that anyone
//! can check it with two commands.

use crate::error::LoadError;
use aws_lc_rs::digest::{Context, SHA256};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// 1 MiB per read: far above the cost of a system call, far below any cache that matters.
const READ_BYTES: usize = 1 << 20;

/// `sha256:<hex>` over the weight files.
pub(crate) fn weights_digest(files: &[PathBuf]) -> Result<String, LoadError> {
    if let [file] = files {
        return Ok(format!("sha256:{}", file_digest(file)?));
    }
    let mut named: Vec<(String, &PathBuf)> = files
        .iter()
        .map(|file| (file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(), file))
        .collect();
    named.sort();
    let mut list = String::new();
    for (name, file) in named {
        let _ = writeln!(list, "{}  {name}", file_digest(file)?);
    }
    Ok(format!("sha256:{}", hex(aws_lc_rs::digest::digest(&SHA256, list.as_bytes()).as_ref())))
}

fn file_digest(path: &Path) -> Result<String, LoadError> {
    let mut file = std::fs::File::open(path).map_err(|e| LoadError::io(path, e))?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer).map_err(|e| LoadError::io(path, e))? {
            0 => return Ok(hex(context.finish().as_ref())),
            n => context.update(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_its_sha256_and_shards_are_the_digest_of_their_list() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.safetensors"), dir.path().join("b.safetensors"));
        std::fs::write(&a, b"abc").unwrap();
        std::fs::write(&b, b"").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(weights_digest(std::slice::from_ref(&a)).unwrap(), format!("sha256:{abc}"));
        let list = format!("{abc}  a.safetensors\n{empty}  b.safetensors\n");
        let both = hex(aws_lc_rs::digest::digest(&SHA256, list.as_bytes()).as_ref());
        assert_eq!(weights_digest(&[b, a]).unwrap(), format!("sha256:{both}"));
    }
}
