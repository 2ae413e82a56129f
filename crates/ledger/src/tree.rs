//! The Merkle tree of RFC 6962 over SHA-256: roots, inclusion and consistency proofs, and their verification.
//!
//! The tree is read through [`HashReader`], which knows only *complete* subtrees: node `index` of `level` covers the
//! leaves `index << level ..  (index + 1) << level`. Everything ragged at the right edge is computed here, so what is
//! stored never changes once written. [`Frontier`] is the same edge in memory, for those who append leaf by leaf.
//!
//! Verification follows RFC 9162, section 2.1.3 and 2.1.4, bit by bit; proving is written recursively. The two share
//! no code, so a mistake in one does not hide in the other.

use crate::hash::{EMPTY_ROOT, Hash, node_hash};

/// 2^63 leaves are more than anybody will append; proofs therefore never have more hashes than this.
pub const PROOF_HASHES_MAX: usize = 63;

/// The size and root of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    pub size: u64,
    pub root: Hash,
}

impl TreeHead {
    pub const EMPTY: TreeHead = TreeHead { size: 0, root: EMPTY_ROOT };
}

/// Gives the hashes of complete subtrees.
pub trait HashReader {
    type Error;
    /// The hash of the complete subtree over the leaves `index << level .. (index + 1) << level`.
    fn read(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// Why a proof was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    #[error("leaf {index} is not in a tree of {size}")]
    Index { index: u64, size: u64 },
    #[error("a tree of {old} does not grow into one of {new}")]
    Sizes { old: u64, new: u64 },
    #[error("a hash of the tree could not be read")]
    Read(#[source] E),
}

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("leaf {index} is not in a tree of {size}")]
    Index { index: u64, size: u64 },
    #[error("a tree of {old} does not grow into one of {new}")]
    Sizes { old: u64, new: u64 },
    #[error("the proof has the wrong number of hashes")]
    Length,
    #[error("the hashes of the proof do not lead to the root")]
    Root,
}

/// The root of the first `size` leaves.
pub fn root<R: HashReader>(size: u64, reader: &R) -> Result<Hash, R::Error> {
    if size == 0 { Ok(EMPTY_ROOT) } else { subtree(0, size, reader) }
}

/// The path from leaf `index` to the root of the first `size` leaves: the leaf's sibling first.
pub fn inclusion_proof<R: HashReader>(index: u64, size: u64, reader: &R) -> Result<Vec<Hash>, ProveError<R::Error>> {
    if index >= size {
        return Err(ProveError::Index { index, size });
    }
    let (mut low, mut high) = (0, size);
    let mut path = Vec::new();
    while high - low > 1 {
        let middle = low + split(high - low);
        let sibling = if index < middle { (middle, high) } else { (low, middle) };
        path.push(subtree(sibling.0, sibling.1, reader).map_err(ProveError::Read)?);
        (low, high) = if index < middle { (low, middle) } else { (middle, high) };
    }
    path.reverse();
    Ok(path)
}

/// That the first `old` leaves of a tree of `new` are the tree of `old`. Empty if the sizes are equal or `old` is 0.
pub fn consistency_proof<R: HashReader>(old: u64, new: u64, reader: &R) -> Result<Vec<Hash>, ProveError<R::Error>> {
    if old > new {
        return Err(ProveError::Sizes { old, new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let (mut low, mut high) = (0, new);
    let mut path = Vec::new();
    // Down the tree until the part that is left is wholly old. RFC 6962's SUBPROOF, unrolled.
    while high != old {
        let middle = low + split(high - low);
        let other = if old <= middle { (middle, high) } else { (low, middle) };
        path.push(subtree(other.0, other.1, reader).map_err(ProveError::Read)?);
        (low, high) = if old <= middle { (low, middle) } else { (middle, high) };
    }
    if low != 0 {
        path.push(subtree(low, high, reader).map_err(ProveError::Read)?);
    }
    path.reverse();
    Ok(path)
}

/// Checks that `leaf` (the tree's leaf hash) is number `index` of the tree (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: u64, head: &TreeHead, path: &[Hash]) -> Result<(), ProofError> {
    if index >= head.size {
        return Err(ProofError::Index { index, size: head.size });
    }
    let (mut node, mut last) = (index, head.size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match (last, hash == head.root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}

/// Checks that the tree `new` begins with the tree `old` (RFC 9162, 2.1.4.2).
pub fn verify_consistency(old: &TreeHead, new: &TreeHead, path: &[Hash]) -> Result<(), ProofError> {
    if old.size > new.size {
        return Err(ProofError::Sizes { old: old.size, new: new.size });
    }
    if old.size == 0 || old.size == new.size {
        // Nothing to prove by hashes: the empty tree begins every tree, and equal sizes need equal roots.
        let same = if old.size == 0 { old.root == EMPTY_ROOT } else { old.root == new.root };
        let sound = new.size != 0 || new.root == EMPTY_ROOT;
        return match (path.is_empty(), same && sound) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    let (seed, path) = if old.size.is_power_of_two() {
        (old.root, path)
    } else {
        let (first, rest) = path.split_first().ok_or(ProofError::Length)?;
        (*first, rest)
    };
    let (mut node, mut last) = (old.size - 1, new.size - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut old_hash, mut new_hash) = (seed, seed);
    for sibling in path {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    match (last, old_hash == old.root && new_hash == new.root) {
        (0, true) => Ok(()),
        (0, false) => Err(ProofError::Root),
        _ => Err(ProofError::Length),
    }
}

/// The right edge of a growing tree: the roots of its complete subtrees, largest first. 64 hashes hold any tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    edge: Vec<Hash>,
}

impl Frontier {
    /// The edge of a tree that is already there.
    pub fn read<R: HashReader>(size: u64, reader: &R) -> Result<Frontier, R::Error> {
        let levels = (0..64).rev().filter(|level| size >> level & 1 == 1);
        let edge = levels.map(|level| reader.read(level, (size >> level) - 1)).collect::<Result<_, _>>()?;
        Ok(Frontier { size, edge })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        let merges = self.size.trailing_ones();
        let mut hash = leaf;
        for _ in 0..merges {
            let left = self.edge.pop().expect("one hash per one-bit of the size");
            hash = node_hash(&left, &hash);
        }
        self.edge.push(hash);
        self.size += 1;
    }

    pub fn root(&self) -> Hash {
        let mut edge = self.edge.iter().rev();
        let Some(last) = edge.next() else { return EMPTY_ROOT };
        edge.fold(*last, |right, left| node_hash(left, &right))
    }

    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root() }
    }
}

/// The largest power of two below `n`, for `n` of at least 2.
fn split(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}

/// The hash over the leaves `low .. high`. `low` is a multiple of the largest power of two in the range, which all the
/// splits above keep true; the ragged right edge is folded from complete subtrees.
fn subtree<R: HashReader>(low: u64, high: u64, reader: &R) -> Result<Hash, R::Error> {
    let width = high - low;
    if width.is_power_of_two() {
        let level = width.trailing_zeros();
        return reader.read(level as u8, low >> level);
    }
    let middle = low + split(width);
    Ok(node_hash(&subtree(low, middle, reader)?, &subtree(middle, high, reader)?))
}
