//! The snapshot as it leaves the controller: signed, and good for a time that it names itself.
//!
//! ```text
//! hoheit-snapshot/v1
//! <signature, 128 hex digits>
//! {"issued_at":…,"expires_at":…,"snapshot":{…}}
//! ```
//!
//! Signed is the first line and the JSON, so that no other text of the same key passes for a snapshot. Not a note: a
//! site's snapshot is larger than a note may be, and nobody cosigns it.
//!
//! What it is not: it does not say whether a snapshot is the newest, or whether its time is over. Who serves from it knows
//! what it served before, and has the clock.

use crate::hash;
use crate::key::{self, SigningKey};
use types::snapshot::Issued;

const TAG: &str = "hoheit-snapshot/v1\n";

/// Why bytes are not a snapshot of this site.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("not a signed snapshot of this version")]
    Form,
    #[error("the snapshot is not signed by this site's key")]
    Signature,
    #[error("the signed text is not a snapshot: {0}")]
    Json(String),
}

fn signed(json: &[u8]) -> Vec<u8> {
    [TAG.as_bytes(), json].concat()
}

/// Signs a snapshot for the gateways of its site.
pub fn sign(issued: &Issued, key: &SigningKey) -> Vec<u8> {
    let json = serde_json::to_vec(issued).expect("plain data: nothing in it can fail to serialise");
    let signature = hash::hex(&key.sign(&signed(&json)));
    [TAG.as_bytes(), signature.as_bytes(), b"\n", &json].concat()
}

/// Reads a snapshot that this key signed; nothing of it is looked at before the signature fits.
pub fn open(bytes: &[u8], public: &[u8; 32]) -> Result<Issued, SnapshotError> {
    let rest = bytes.strip_prefix(TAG.as_bytes()).ok_or(SnapshotError::Form)?;
    let (digits, rest) = rest.split_at_checked(128).ok_or(SnapshotError::Form)?;
    let json = rest.strip_prefix(b"\n").ok_or(SnapshotError::Form)?;
    let digits = std::str::from_utf8(digits).map_err(|_| SnapshotError::Form)?;
    let signature = hash::from_hex(digits).and_then(|bytes| bytes.try_into().ok()).ok_or(SnapshotError::Form)?;
    if !key::verify(public, &signed(json), &signature) {
        return Err(SnapshotError::Signature);
    }
    serde_json::from_slice(json).map_err(|error| SnapshotError::Json(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{Snapshot, UnixMillis};

    fn issued(version: u64) -> Issued {
        let snapshot = Snapshot { version, site: "muc1".to_owned(), ..Snapshot::default() };
        Issued { issued_at: UnixMillis(1_000), expires_at: UnixMillis(2_000), snapshot }
    }

    #[test]
    fn no_other_bytes_and_no_other_key() {
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let bytes = sign(&issued(3), &key);
        assert_eq!(open(&bytes, &key.public()), Ok(issued(3)));
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(open(&changed, &key.public()).is_err(), "byte {place}");
            assert!(open(&bytes[..place], &key.public()).is_err(), "cut at {place}");
        }
        let other = SigningKey::from_seed(&[8; 32]).unwrap();
        assert_eq!(open(&sign(&issued(3), &other), &key.public()), Err(SnapshotError::Signature));
    }
}
