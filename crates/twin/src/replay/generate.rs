//! Traffic made up, for questions that no trace at hand asks. The same seed gives the same traffic.

use super::engine::BLOCK_TOKENS;
use super::trace::Request;
use routing::chain::mix;

/// What kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Conversations of several turns behind a few system prompts; each turn brings all that was said before.
    Chats,
    /// Questions about long documents, few of them popular.
    Documents,
    /// No prompt has anything of another.
    Distinct,
    /// One long prefix that all prompts begin with.
    Hot,
}

/// Dice from a seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    /// From 0 up to, not including, 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, count: u64) -> u64 {
        (self.part() * count as f64) as u64
    }

    /// Exponential with this mean.
    fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.part()).ln()
    }
}

/// So many requests, so many a second on average.
pub fn requests(kind: Kind, count: usize, per_second: f64, seed: u64) -> Vec<Request> {
    let mut dice = Dice(mix(seed));
    let mut requests = match kind {
        Kind::Chats => chats(count, per_second, &mut dice),
        _ => {
            let mut at_millis = 0.0;
            (0..count as u64)
                .map(|id| {
                    at_millis += dice.wait(1_000.0 / per_second);
                    alone(kind, id, at_millis, &mut dice)
                })
                .collect()
        }
    };
    requests.sort_by(|a, b| a.at_millis.total_cmp(&b.at_millis));
    requests.truncate(count);
    requests
}

/// Blocks of a text that has a name.
fn text(name: u64, blocks: u64) -> impl Iterator<Item = u64> {
    (0..blocks).map(move |block| mix(name.rotate_left(32) ^ mix(block)) >> 1)
}

fn alone(kind: Kind, id: u64, at_millis: f64, dice: &mut Dice) -> Request {
    let (head, head_blocks, tail_blocks) = match kind {
        // Popularity falls as one over the rank: 400 documents of 8 to 72 blocks.
        Kind::Documents => {
            let rank = (400.0f64.powf(dice.part()) - 1.0) as u64;
            (rank, 8 + mix(rank) % 65, 1 + dice.below(3))
        }
        Kind::Hot => (0, 16, 1 + dice.below(8)),
        Kind::Distinct | Kind::Chats => (0, 0, 1 + dice.below(24)),
    };
    let blocks: Vec<u64> = text(mix(head), head_blocks).chain(text(mix(!id), tail_blocks)).collect();
    let input = blocks.len() as u64 * BLOCK_TOKENS - dice.below(BLOCK_TOKENS / 2);
    Request { at_millis, input, output: 1 + dice.wait(150.0) as u64, blocks }
}

fn chats(count: usize, per_second: f64, dice: &mut Dice) -> Vec<Request> {
    let mut requests = Vec::with_capacity(count + 16);
    let (mut begins, mut chat) = (0.0, 0u64);
    while requests.len() < count {
        chat += 1;
        let turns = 1 + dice.wait(4.0) as u64;
        begins += dice.wait(1_000.0 / per_second) * 5.0;
        let system = (20.0f64.powf(dice.part()) - 1.0) as u64;
        let mut blocks: Vec<u64> = text(mix(system ^ 0x5151), 1 + system % 8).collect();
        let mut at_millis = begins;
        for turn in 0..turns {
            blocks.extend(text(mix(mix(chat) ^ turn), 1 + dice.below(8)));
            let input = blocks.len() as u64 * BLOCK_TOKENS - dice.below(BLOCK_TOKENS / 2);
            let output = 1 + dice.wait(200.0) as u64;
            requests.push(Request { at_millis, input, output, blocks: blocks.clone() });
            at_millis += 10_000.0 + dice.wait(30_000.0);
        }
    }
    requests
}

/// The same traffic of so many independent customers at once: the same times and lengths, each later than the one before
/// by a second or so, none with a block of another's.
pub fn side_by_side(requests: &[Request], customers: u64) -> Vec<Request> {
    let mut all: Vec<Request> = (0..customers)
        .flat_map(|customer| {
            requests.iter().map(move |request| Request {
                at_millis: request.at_millis + (customer * 1_009) as f64,
                blocks: match customer {
                    0 => request.blocks.clone(),
                    _ => request.blocks.iter().map(|block| mix(block ^ mix(customer)) >> 1).collect(),
                },
                ..request.clone()
            })
        })
        .collect();
    all.sort_by(|a, b| a.at_millis.total_cmp(&b.at_millis));
    all
}
