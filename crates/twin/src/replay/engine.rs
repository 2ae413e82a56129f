//! One simulated engine: continuous batching with chunked prefill, as vLLM and SGLang do it.
//!
//! In each step every sequence that is past its prompt makes one token, and what is left of the batch reads prompts, the
//! oldest first. A prompt whose head is in memory is read only from there on. Without room for another block the
//! youngest sequence gives way and is read again later.

use super::cache::Cache;
use super::cost::{BATCH_TOKENS_MAX, BLOCKS_MAX, SEQUENCES_MAX, decode_millis, prefill_millis};
use std::collections::VecDeque;

/// Tokens in a block.
pub const BLOCK_TOKENS: u64 = 512;

/// A request as an engine gets it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its place in the trace.
    pub id: usize,
    pub chain: Vec<u64>,
    pub input: u64,
    pub output: u64,
}

#[derive(Debug)]
struct Sequence {
    job: Job,
    /// Tokens of prompt (and, after it gave way, of its own answer) that are to be read in all, and those that are.
    target: u64,
    read: u64,
    made: u64,
    /// Blocks of the chain that it uses and shares.
    shared: Vec<u64>,
    /// Blocks of the chain whose reading was looked at.
    looked_at: usize,
    private: usize,
}

/// What a step brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// So many tokens of the prompt were in memory when it was admitted.
    Admitted {
        id: usize,
        cached: u64,
    },
    FirstToken {
        id: usize,
    },
    Finished {
        id: usize,
    },
}

/// One engine.
#[derive(Debug)]
pub struct Engine {
    cache: Cache,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    /// Work done: milliseconds of steps.
    pub busy_millis: f64,
    /// Of the step that is under way: tokens read of each running sequence.
    reading: Vec<u64>,
    blocks_max: usize,
}

impl Default for Engine {
    fn default() -> Engine {
        Engine::with_blocks(BLOCKS_MAX)
    }
}

impl Engine {
    pub fn with_blocks(blocks_max: usize) -> Engine {
        Engine {
            cache: Cache::new(blocks_max),
            waiting: VecDeque::new(),
            running: Vec::new(),
            busy_millis: 0.0,
            reading: Vec::new(),
            blocks_max,
        }
    }

    pub fn submit(&mut self, job: Job) {
        let target = job.input.max(1);
        self.waiting.push_back(Sequence {
            job,
            target,
            read: 0,
            made: 0,
            shared: Vec::new(),
            looked_at: 0,
            private: 0,
        });
    }

    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Begins a step and says how long it takes; none if there is nothing to do.
    pub fn begin(&mut self, events: &mut Vec<Event>) -> Option<f64> {
        let decoding = self.running.iter().filter(|it| it.read == it.target).count() as u64;
        let mut left = BATCH_TOKENS_MAX.saturating_sub(decoding);
        self.reading.clear();
        for sequence in &self.running {
            let now = (sequence.target - sequence.read).min(left);
            left -= now;
            self.reading.push(now);
        }
        while left > 0 && self.running.len() < SEQUENCES_MAX {
            let Some(sequence) = self.waiting.pop_front() else { break };
            match self.admit(sequence, events) {
                Ok(sequence) => {
                    let now = (sequence.target - sequence.read).min(left);
                    left -= now;
                    self.reading.push(now);
                    self.running.push(sequence);
                }
                Err(sequence) => {
                    self.waiting.push_front(sequence);
                    break;
                }
            }
        }
        if self.running.is_empty() {
            return None;
        }
        let context = |it: &Sequence| if it.read == it.target { it.target + it.made } else { 0 };
        let contexts: u64 = self.running.iter().map(context).sum();
        let mut millis = prefill_millis(self.reading.iter().sum());
        if contexts > 0 {
            millis += decode_millis(contexts);
        }
        self.busy_millis += millis;
        Some(millis)
    }

    fn admit(&mut self, mut sequence: Sequence, events: &mut Vec<Event>) -> Result<Sequence, Sequence> {
        let matched = self.cache.matched(&sequence.job.chain);
        // A prompt that could never fit is read all the same, in what there is.
        let blocks = (sequence.target.div_ceil(BLOCK_TOKENS) as usize).min(self.blocks_max);
        let fresh = blocks.saturating_sub(matched);
        if !self.cache.admit(&sequence.job.chain[..matched.min(blocks)], fresh) {
            return Err(sequence);
        }
        sequence.shared = sequence.job.chain[..matched.min(blocks)].to_vec();
        sequence.looked_at = sequence.shared.len();
        sequence.private = fresh;
        let cached = (sequence.shared.len() as u64 * BLOCK_TOKENS).min(sequence.job.input);
        // The last token is always read: the next one is made from it.
        sequence.read = cached.min(sequence.target - 1);
        if sequence.made == 0 {
            events.push(Event::Admitted { id: sequence.job.id, cached });
        }
        Ok(sequence)
    }

    /// Ends the step that was begun.
    pub fn end(&mut self, events: &mut Vec<Event>) {
        let reading = std::mem::take(&mut self.reading);
        for (sequence, now) in self.running.iter_mut().zip(&reading) {
            let decoding = sequence.read == sequence.target;
            sequence.read += now;
            while sequence.looked_at < sequence.job.chain.len()
                && sequence.read >= ((sequence.looked_at as u64 + 1) * BLOCK_TOKENS).min(sequence.job.input)
            {
                let block = sequence.job.chain[sequence.looked_at];
                // Behind a block that stays private nothing is shared: a chain has no holes.
                if sequence.private == 0 || !self.cache.publish(block) {
                    sequence.looked_at = sequence.job.chain.len();
                    break;
                }
                sequence.private -= 1;
                sequence.shared.push(block);
                sequence.looked_at += 1;
            }
            if decoding || (*now > 0 && sequence.read == sequence.target) {
                sequence.made += 1;
                if sequence.made == 1 {
                    events.push(Event::FirstToken { id: sequence.job.id });
                }
            }
        }
        self.reading = reading;
        let cache = &mut self.cache;
        self.running.retain(|sequence| {
            let over = sequence.made >= sequence.job.output.max(1);
            if over {
                events.push(Event::Finished { id: sequence.job.id });
                cache.release(&sequence.shared, sequence.private);
            }
            !over
        });
        self.make_room();
    }

    /// Every sequence whose next token begins a block needs one; without room the youngest gives way.
    fn make_room(&mut self) {
        let mut at = 0;
        while at < self.running.len() {
            let sequence = &self.running[at];
            let length = sequence.job.input.max(1) + sequence.made;
            let has = (sequence.shared.len() + sequence.private) as u64 * BLOCK_TOKENS;
            let needs = sequence.made > 0 && length > has && (has / BLOCK_TOKENS) < self.blocks_max as u64;
            if !needs || self.cache.grow(1) {
                if needs {
                    self.running[at].private += 1;
                }
                at += 1;
            } else if let Some(mut youngest) = self.running.pop() {
                self.cache.release(&youngest.shared, youngest.private);
                youngest.target = youngest.job.input.max(1) + youngest.made;
                (youngest.read, youngest.looked_at, youngest.private) = (0, 0, 0);
                youngest.shared.clear();
                self.waiting.push_front(youngest);
            }
        }
    }
}
