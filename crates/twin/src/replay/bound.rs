//! What no routing can beat by much: one memory of all replicas together, least recently used out first, no limit of load.

use super::engine::BLOCK_TOKENS;
use super::trace::Request;
use std::collections::{BTreeMap, HashMap};

/// Tokens found / tokens of input, with one LRU of so many blocks for all. Requests in the trace's order; each walks its blocks
/// while they are present, then touches or inserts them from the tail to the head, so that the tail goes first.
pub fn pooled_lru(requests: &[Request], blocks: usize) -> f64 {
    let (mut used, mut order, mut ticks) = (HashMap::<u64, u64>::new(), BTreeMap::<u64, u64>::new(), 0u64);
    let (mut hit, mut all) = (0u64, 0u64);
    for request in requests {
        all += request.input;
        for (at, _) in request.blocks.iter().enumerate().take_while(|(_, block)| used.contains_key(block)) {
            hit += BLOCK_TOKENS.min(request.input - BLOCK_TOKENS * at as u64);
        }
        for &block in request.blocks.iter().rev() {
            ticks += 1;
            if let Some(before) = used.insert(block, ticks) {
                order.remove(&before);
            }
            order.insert(ticks, block);
            if used.len() > blocks
                && let Some((_, oldest)) = order.pop_first()
            {
                used.remove(&oldest);
            }
        }
    }
    hit as f64 / all.max(1) as f64
}
