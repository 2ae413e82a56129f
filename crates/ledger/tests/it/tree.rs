//! Roots and proofs against ct-merkle and tlog_tiles, at every size up to a few hundred.

use crate::world::{entries, entry};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use ledger::hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash};
use ledger::tree::{
    Frontier, HashReader, ProofError, TreeHead, consistency_proof, inclusion_proof, root, verify_consistency,
    verify_inclusion,
};
use proptest::prelude::*;
use sha2::Sha256;
use std::convert::Infallible;

const SIZE_MAX: u64 = 300;

/// Every complete subtree over the entries, by level and index.
pub struct Nodes(Vec<Vec<Hash>>);

impl Nodes {
    pub fn of(size: u64) -> Nodes {
        let mut levels = vec![entries(0..size).iter().map(|e| leaf_hash(&e.0)).collect::<Vec<_>>()];
        while levels.last().unwrap().len() > 1 {
            let below = levels.last().unwrap().as_chunks::<2>().0;
            levels.push(below.iter().map(|[left, right]| node_hash(left, right)).collect());
        }
        Nodes(levels)
    }
}

impl HashReader for Nodes {
    type Error = Infallible;
    fn read(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        Ok(self.0[usize::from(level)][index as usize])
    }
}

pub fn heads() -> Vec<TreeHead> {
    let mut frontier = Frontier::default();
    let mut heads = vec![frontier.head()];
    for n in 0..SIZE_MAX {
        frontier.push(leaf_hash(&entry(n).0));
        heads.push(frontier.head());
    }
    heads
}

/// Indexes worth trying in a tree of `size`: all in a small one, the edges in a larger one.
fn interesting(size: u64) -> Vec<u64> {
    if size <= 40 {
        return (0..size).collect();
    }
    let edges = [0, 1, 2, size / 2, size.next_power_of_two() / 2 - 1, size.next_power_of_two() / 2, size - 2, size - 1];
    edges.into_iter().filter(|i| *i < size).collect()
}

fn digest(hash: &Hash) -> sha2::digest::Output<Sha256> {
    hash.0.into()
}

#[test]
fn ct_merkle_agrees_at_every_size() {
    let nodes = Nodes::of(SIZE_MAX);
    let heads = heads();
    let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for size in 0..=SIZE_MAX {
        let head = heads[size as usize];
        let theirs = oracle.root();
        if size > 0 {
            assert_eq!(theirs.as_bytes().as_slice(), head.root.0, "root of {size}");
        }
        assert_eq!(root(size, &nodes).unwrap(), head.root, "root of {size} from nodes");
        assert_eq!(Frontier::read(size, &nodes).unwrap().head(), head, "frontier of {size} from nodes");
        for index in interesting(size) {
            let ours = inclusion_proof(index, size, &nodes).unwrap();
            let bytes: Vec<u8> = ours.iter().flat_map(|h| h.0).collect();
            assert_eq!(oracle.prove_inclusion(index as usize).as_bytes(), bytes, "path of {index} in {size}");
            let proof = InclusionProof::<Sha256>::from_bytes(bytes);
            theirs.verify_inclusion(&entry(index).0.to_vec(), index, &proof).unwrap();
        }
        for old in interesting(size).into_iter().filter(|old| *old > 0) {
            let ours = consistency_proof(old, size, &nodes).unwrap();
            let bytes: Vec<u8> = ours.iter().flat_map(|h| h.0).collect();
            let proof = ConsistencyProof::<Sha256>::try_from_bytes(bytes).unwrap();
            let before = RootHash::<Sha256>::new(digest(&heads[old as usize].root), old);
            theirs.verify_consistency(&before, &proof).unwrap();
        }
        oracle.push(entry(size).0.to_vec());
    }
}

/// tlog_tiles' hash store over the same entries.
struct Stored(Vec<tlog_tiles::Hash>);

impl tlog_tiles::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|i| self.0[*i as usize]).collect())
    }
}

#[test]
fn tlog_tiles_agrees_at_every_size() {
    let theirs = |hash: &Hash| tlog_tiles::Hash(hash.0);
    let nodes = Nodes::of(SIZE_MAX);
    let heads = heads();
    let mut stored = Stored(Vec::new());
    for size in 1..=SIZE_MAX {
        let more = tlog_tiles::stored_hashes(size - 1, &entry(size - 1).0, &stored).unwrap();
        stored.0.extend(more);
        let root = theirs(&heads[size as usize].root);
        assert_eq!(tlog_tiles::tree_hash(size, &stored).unwrap().0, root.0, "root of {size}");
        for index in interesting(size) {
            let ours: Vec<_> = inclusion_proof(index, size, &nodes).unwrap().iter().map(theirs).collect();
            tlog_tiles::check_record(&ours, size, root, index, theirs(&leaf_hash(&entry(index).0))).unwrap();
            let proof = tlog_tiles::prove_record(size, index, &stored).unwrap();
            assert!(proof.iter().zip(&ours).all(|(a, b)| a.0 == b.0), "path of {index} in {size}");
        }
        for old in interesting(size).into_iter().filter(|old| *old > 0) {
            let ours: Vec<_> = consistency_proof(old, size, &nodes).unwrap().iter().map(theirs).collect();
            tlog_tiles::check_tree(&ours, size, root, old, theirs(&heads[old as usize].root)).unwrap();
            let proof: Vec<Hash> =
                tlog_tiles::prove_tree(size, old, &stored).unwrap().iter().map(|h| Hash(h.0)).collect();
            verify_consistency(&heads[old as usize], &heads[size as usize], &proof).unwrap();
        }
    }
}

/// Each proof holds for its own place and for no neighbour's.
#[test]
fn a_proof_fits_one_place_only() {
    let nodes = Nodes::of(SIZE_MAX);
    let heads = heads();
    for size in 1..=96u64 {
        let head = heads[size as usize];
        for index in 0..size {
            let leaf = leaf_hash(&entry(index).0);
            let path = inclusion_proof(index, size, &nodes).unwrap();
            verify_inclusion(&leaf, index, &head, &path).unwrap();
            for wrong in [index ^ 1, index + 1, size, index + (1 << 40)].into_iter().filter(|w| *w != index) {
                assert!(verify_inclusion(&leaf, wrong, &head, &path).is_err(), "{index} as {wrong} in {size}");
            }
            let later = TreeHead { size: size + 1, ..head };
            assert!(verify_inclusion(&leaf, index, &later, &path).is_err() || path_is_blind(index, size));
            let mut longer = path.clone();
            longer.push(head.root);
            assert!(verify_inclusion(&leaf, index, &head, &longer).is_err());
            if !path.is_empty() {
                assert!(verify_inclusion(&leaf, index, &head, &path[1..]).is_err());
                assert!(verify_inclusion(&leaf, index, &head, &path[..path.len() - 1]).is_err());
            }
        }
        for old in 0..=size {
            let path = consistency_proof(old, size, &nodes).unwrap();
            verify_consistency(&heads[old as usize], &head, &path).unwrap();
            let mut longer = path.clone();
            longer.push(head.root);
            assert!(verify_consistency(&heads[old as usize], &head, &longer).is_err(), "{old} to {size}");
            if !path.is_empty() {
                assert!(verify_consistency(&heads[old as usize], &head, &path[..path.len() - 1]).is_err());
            }
            if old > 0 {
                let forged = TreeHead { root: EMPTY_ROOT, ..heads[old as usize] };
                assert!(verify_consistency(&forged, &head, &path).is_err(), "{old} to {size}");
            }
        }
    }
}

/// Under the same root, some paths have the same shape in a tree one larger: the size is then bound by the checkpoint's
/// signature and not by the path. RFC 6962 is so; the test only makes sure that we know where.
fn path_is_blind(index: u64, size: u64) -> bool {
    let shape = |size: u64| {
        let (mut low, mut high, mut turns) = (0, size, Vec::new());
        while high - low > 1 {
            let middle = low + (high - low).next_power_of_two() / 2;
            turns.push(index < middle);
            (low, high) = if index < middle { (low, middle) } else { (middle, high) };
        }
        turns
    };
    shape(size) == shape(size + 1)
}

#[test]
fn what_cannot_be_proved_is_an_error() {
    let nodes = Nodes::of(8);
    assert!(inclusion_proof(8, 8, &nodes).is_err());
    assert!(inclusion_proof(0, 0, &nodes).is_err());
    assert!(consistency_proof(9, 8, &nodes).is_err());
    let heads = heads();
    assert_eq!(verify_consistency(&heads[5], &heads[4], &[]), Err(ProofError::Sizes { old: 5, new: 4 }));
    let fork = TreeHead { size: 4, root: heads[5].root };
    assert_eq!(verify_consistency(&heads[4], &fork, &[]), Err(ProofError::Root), "same size, other root");
    let hollow = TreeHead { size: 0, root: heads[1].root };
    assert_eq!(verify_consistency(&hollow, &heads[4], &[]), Err(ProofError::Root), "empty tree without its root");
    assert_eq!(verify_consistency(&TreeHead::EMPTY, &hollow, &[]), Err(ProofError::Root));
    assert_eq!(verify_consistency(&heads[3], &heads[4], &[]), Err(ProofError::Length));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Any bit of a path, leaf or root matters.
    #[test]
    fn any_flipped_bit_is_found(size in 2..SIZE_MAX, index: prop::sample::Index, bit: prop::sample::Index) {
        let nodes = Nodes::of(size);
        let head = TreeHead { size, root: root(size, &nodes).unwrap() };
        let index = index.index(size as usize) as u64;
        let leaf = leaf_hash(&entry(index).0);
        let mut path = inclusion_proof(index, size, &nodes).unwrap();
        let bit = bit.index(path.len() * 256);
        path[bit / 256].0[bit % 256 / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_inclusion(&leaf, index, &head, &path).is_err());
    }

    #[test]
    fn any_flipped_bit_of_a_consistency_proof_is_found(size in 3..SIZE_MAX, old: prop::sample::Index, bit: prop::sample::Index) {
        let nodes = Nodes::of(size);
        let head = TreeHead { size, root: root(size, &nodes).unwrap() };
        let old = 1 + old.index(size as usize - 1) as u64;
        let before = TreeHead { size: old, root: root(old, &nodes).unwrap() };
        let mut path = consistency_proof(old, size, &nodes).unwrap();
        let bit = bit.index(path.len() * 256);
        path[bit / 256].0[bit % 256 / 8] ^= 1 << (bit % 8);
        prop_assert!(verify_consistency(&before, &head, &path).is_err());
    }
}
