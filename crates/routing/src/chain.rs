//! A prompt as a chain of block hashes: each covers its block and everything before it, so equal hashes at the same place
//! mean (up to accident) equal prompts up to there. Text goes in, no text comes out.
//!
//! What it is not: it does not tokenise. An engine caches tokens; a block of bytes that is equal gives equal tokens, except
//! where a token lies across its end, and that is one token in 512. It is no cryptographic hash either: whoever finds a collision
//! misleads the routing of their own requests, since the seed is a tenant's own and secret.

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;
use std::hash::Hasher;

/// Tokens in a block, in the index and in the twin's engines. Engines cache in finer steps (16 to 64 tokens), but a choice
/// between replicas does not turn on less than this: 512 tokens are some 10 ms of prefill.
pub const BLOCK_TOKENS: u64 = 512;

/// English and German text has four to five bytes a token, JSON a little less; what counts is only the order of magnitude.
pub const BYTES_PER_TOKEN: u64 = 4;

/// 512 tokens of four bytes: 2 KiB. A body shorter than this has no chain and costs nothing here.
pub const BLOCK_BYTES: usize = (BLOCK_TOKENS * BYTES_PER_TOKEN) as usize;

/// The longest chain that is looked at: 512 blocks are 1 MiB or 262,144 tokens, more than any context that we know. What is
/// behind it is not hashed and counts as new.
pub const CHAIN_BLOCKS_MAX: usize = 512;

/// The chain of a prompt's whole blocks. `seed` is the tenant's, so that no two tenants ever share a hash.
pub fn of_bytes(seed: u64, prompt: &[u8]) -> Vec<u64> {
    let blocks = prompt.len() / BLOCK_BYTES;
    let mut chain = Vec::with_capacity(blocks.min(CHAIN_BLOCKS_MAX));
    let mut before = seed;
    for block in prompt.chunks_exact(BLOCK_BYTES).take(CHAIN_BLOCKS_MAX) {
        let mut hasher = FoldHasher::with_seed(before, SharedSeed::global_fixed());
        hasher.write(block);
        before = mix(hasher.finish() ^ before.rotate_left(32));
        chain.push(before);
    }
    chain
}

/// The same for a trace, which names blocks instead of holding them.
pub fn of_ids(seed: u64, ids: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut before = mix(seed);
    let next = |id| {
        before = mix(before.rotate_left(32) ^ mix(id));
        before
    };
    ids.into_iter().take(CHAIN_BLOCKS_MAX).map(next).collect()
}

/// SplitMix64's finaliser (public domain): a bijection that spreads every bit.
pub const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_covers_all_before_it() {
        let text: Vec<u8> = (0..5 * BLOCK_BYTES + 7).map(|at| (at * 31 % 251) as u8).collect();
        let chain = of_bytes(1, &text);
        assert_eq!(chain.len(), 5, "the rest of 7 bytes is no block");
        assert_eq!(of_bytes(1, &text[..3 * BLOCK_BYTES]), chain[..3]);
        for changed in 0..5 {
            let mut other = text.clone();
            other[changed * BLOCK_BYTES + 1_000] ^= 1;
            let other = of_bytes(1, &other);
            assert_eq!(other[..changed], chain[..changed]);
            assert!(other[changed..].iter().zip(&chain[changed..]).all(|(a, b)| a != b), "{changed}");
        }
        assert!(of_bytes(1, &text[..BLOCK_BYTES - 1]).is_empty());
        assert!(of_bytes(2, &text).iter().zip(&chain).all(|(a, b)| a != b), "tenants share nothing");
    }

    /// Two blocks of the same text are two different blocks: where they stand matters.
    #[test]
    fn places_differ() {
        let chain = of_bytes(7, &[b'x'; 3 * BLOCK_BYTES]);
        assert!(chain[0] != chain[1] && chain[1] != chain[2]);
        assert_eq!(of_bytes(7, &vec![b'x'; (CHAIN_BLOCKS_MAX + 9) * BLOCK_BYTES]).len(), CHAIN_BLOCKS_MAX);
        let ids = of_ids(7, [5, 5, 6]);
        assert_eq!(of_ids(7, [5, 5]), ids[..2]);
        assert!(ids[0] != ids[1] && of_ids(8, [5, 5, 6])[2] != ids[2]);
    }
}
