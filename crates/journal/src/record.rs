//! The record's bytes: `len u32 | crc32c u32 | incarnation 16 | seq u64 | prev_hash 32 | payload`, integers little-endian.
//! Pure: no files.
//!
//! - `len` counts the whole record; its top bit marks the first record of a batch. A batch is written only when the one
//!   before it is durable, so a marked record proves that everything before it once was (see [`crate`]).
//! - `crc32c` covers everything but itself and is seeded by the segment's salt, so that bytes left over from another
//!   segment, or a payload that imitates a record, never read as one.
//! - `prev_hash` is the [`Hash`] of the record before, zeros for the first of all. A record's hash is SHA-256 over
//!   `incarnation | seq | prev_hash | payload`; it does not depend on which segment the record lies in.

use aws_lc_rs::digest;

/// Bytes before the payload.
pub const OVERHEAD_BYTES: usize = 64;

const BATCH_START: u32 = 1 << 31;

/// SHA-256 of a record.
pub type Hash = [u8; 32];

/// What the first record ever has as `prev_hash`.
pub const GENESIS: Hash = [0; 32];

/// The salt of a segment, as the start value of every checksum in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(u32);

impl Salt {
    pub fn new(salt: &[u8; 16]) -> Self {
        Salt(crc32c::crc32c(salt))
    }
}

/// A record to be written.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    pub batch_start: bool,
    pub incarnation: &'a [u8; 16],
    pub seq: u64,
    pub prev_hash: &'a Hash,
    pub payload: &'a [u8],
}

impl Draft<'_> {
    /// Appends the record's bytes and returns its hash, the `prev_hash` of the next one.
    pub fn encode(&self, salt: Salt, into: &mut Vec<u8>) -> Hash {
        let start = into.len();
        let bytes =
            u32::try_from(OVERHEAD_BYTES + self.payload.len()).expect("the journal's record limit is below 2^31");
        let len = if self.batch_start { bytes | BATCH_START } else { bytes };
        into.extend_from_slice(&len.to_le_bytes());
        into.extend_from_slice(&[0; 4]);
        into.extend_from_slice(self.incarnation);
        into.extend_from_slice(&self.seq.to_le_bytes());
        into.extend_from_slice(self.prev_hash);
        into.extend_from_slice(self.payload);
        let crc = checksum(salt, &into[start..]);
        into[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        hash(&into[start..])
    }
}

/// A record as it lies in a segment, its checksum verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    pub batch_start: bool,
    pub incarnation: [u8; 16],
    pub seq: u64,
    pub prev_hash: Hash,
    pub payload: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Decoded<'a> {
    /// The record at the start of `bytes`, or nothing if there is no whole and undamaged one.
    pub fn decode(salt: Salt, bytes: &'a [u8]) -> Option<Self> {
        let len = u32::from_le_bytes(field(bytes, 0)?);
        let size = (len & !BATCH_START) as usize;
        if size < OVERHEAD_BYTES || size > bytes.len() {
            return None;
        }
        let bytes = &bytes[..size];
        if u32::from_le_bytes(field(bytes, 4)?) != checksum(salt, bytes) {
            return None;
        }
        Some(Decoded {
            batch_start: len & BATCH_START != 0,
            incarnation: field(bytes, 8)?,
            seq: u64::from_le_bytes(field(bytes, 24)?),
            prev_hash: field(bytes, 32)?,
            payload: &bytes[OVERHEAD_BYTES..],
            bytes,
        })
    }

    /// Length of the whole record.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn hash(&self) -> Hash {
        hash(self.bytes)
    }
}

/// The length that the record at the start of `bytes` claims, unverified; to know how much to read.
pub(crate) fn claimed_size(bytes: &[u8]) -> Option<usize> {
    Some((u32::from_le_bytes(field(bytes, 0)?) & !BATCH_START) as usize)
}

/// Where a marked record lies in `bytes`, searched at every byte: evidence that what is before it was once durable.
pub(crate) fn find_batch_start(salt: Salt, incarnation: &[u8; 16], bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(bytes, incarnation)
        .filter_map(|at| at.checked_sub(8))
        .find(|&start| Decoded::decode(salt, &bytes[start..]).is_some_and(|record| record.batch_start))
}

fn checksum(salt: Salt, record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(salt.0, &record[..4]), &record[8..])
}

fn hash(record: &[u8]) -> Hash {
    digest::digest(&digest::SHA256, &record[8..]).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const INCARNATION: [u8; 16] = [0xA7; 16];

    fn encoded(batch_start: bool, seq: u64, payload: &[u8]) -> (Vec<u8>, Hash) {
        let mut bytes = Vec::new();
        let draft = Draft { batch_start, incarnation: &INCARNATION, seq, prev_hash: &[9; 32], payload };
        let hash = draft.encode(Salt::new(&[1; 16]), &mut bytes);
        (bytes, hash)
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let (bytes, _) = encoded(true, 0x0102, b"pay");
        assert_eq!(bytes.len(), 67);
        assert_eq!(bytes[..4], [67, 0, 0, 0x80]);
        assert_eq!(bytes[8..24], INCARNATION);
        assert_eq!(bytes[24..32], [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[32..64], [9; 32]);
        assert_eq!(&bytes[64..], b"pay");
    }

    #[test]
    fn a_marked_record_is_found_behind_rubbish_and_an_unmarked_one_is_not() {
        let salt = Salt::new(&[1; 16]);
        let mut bytes = vec![0xA7; 100];
        bytes.extend(encoded(false, 1, b"no").0);
        assert_eq!(find_batch_start(salt, &INCARNATION, &bytes), None);
        let at = bytes.len();
        bytes.extend(encoded(true, 2, b"yes").0);
        assert_eq!(find_batch_start(salt, &INCARNATION, &bytes), Some(at));
        assert_eq!(find_batch_start(Salt::new(&[2; 16]), &INCARNATION, &bytes), None, "another segment's bytes");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn what_is_encoded_decodes(start: bool, seq: u64, payload in vec(any::<u8>(), 0..600), more in vec(any::<u8>(), 0..80)) {
            let (mut bytes, hash) = encoded(start, seq, &payload);
            let size = bytes.len();
            bytes.extend(more);
            let record = Decoded::decode(Salt::new(&[1; 16]), &bytes).expect("whole");
            prop_assert_eq!((record.batch_start, record.seq, record.payload), (start, seq, &payload[..]));
            prop_assert_eq!((record.incarnation, record.prev_hash, record.size()), (INCARNATION, [9; 32], size));
            prop_assert_eq!(record.hash(), hash);
        }

        #[test]
        fn a_cut_or_flipped_record_does_not_decode(payload in vec(any::<u8>(), 0..200), at: prop::sample::Index, bit in 0..8u8) {
            let salt = Salt::new(&[1; 16]);
            let (mut bytes, _) = encoded(true, 7, &payload);
            prop_assert!(Decoded::decode(salt, &bytes[..at.index(bytes.len())]).is_none());
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Decoded::decode(salt, &bytes).is_none());
        }

        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..300)) {
            let _ = Decoded::decode(Salt::new(&[0; 16]), &bytes);
            let _ = find_batch_start(Salt::new(&[0; 16]), &[0; 16], &bytes);
        }
    }
}
