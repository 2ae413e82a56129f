//! The choice of a replica: where the prompt's prefix is, against where there is room.
//!
//! A cost in tokens of prefill is made for a few candidates, and the least wins. Candidates are holders of the longest known
//! prefixes, the replica where every gateway would expect the rest (its home), and the least loaded of all: at most
//! [`CANDIDATES_MAX`], however many replicas there are.
//!
//! What it is not: it knows no policy (all its replicas are one endpoint's, which admission permitted), no engine's state
//! (only what this gateway sent), no clock and no dice: both are arguments, so the twin replays every choice.
//!
//! If we crash here: nothing is lost. Loads start at nothing, and prefixes come back with the requests.

use crate::chain::{BLOCK_TOKENS, mix};
use crate::loads::Loads;
use crate::prefix::{COPIES_MAX, Prefixes, depth};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How a replica is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// In turn, whatever they hold and however loaded they are.
    RoundRobin,
    /// Where the least work waits.
    LeastLoaded,
    /// Where the prompt's prefix is, unless too much work waits there.
    #[default]
    Prefix,
}

impl Strategy {
    pub const ALL: [Strategy; 3] = [Strategy::RoundRobin, Strategy::LeastLoaded, Strategy::Prefix];

    /// As in options and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Strategy::RoundRobin => "round-robin",
            Strategy::LeastLoaded => "least-loaded",
            Strategy::Prefix => "prefix",
        }
    }
}

/// KV blocks of [`BLOCK_TOKENS`] that an engine is taken to keep: a million tokens.
pub const BLOCKS_PER_REPLICA: u32 = 2_048;

/// What the index assumes and weighs. The defaults are for every site; `docs/routing.md` says how they were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub strategy: Strategy,
    pub blocks_per_replica: u32,
    pub copies_max: usize,
    /// Gateways of this site, this one included.
    pub gateways: u32,
    pub weights: Weights,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            strategy: Strategy::default(),
            blocks_per_replica: BLOCKS_PER_REPLICA,
            copies_max: COPIES_MAX,
            gateways: 1,
            weights: Weights::default(),
        }
    }
}

/// What things cost, in quarters of a token of prefill. The defaults were tried on four loads of one trace and on traffic made
/// up to be unlike it (`docs/routing.md`); their halves and doubles were tried only in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// A token that the replica would have to read. Four, since it costs more than the time of this request: all who
    /// come later wait for it, and it drives out what somebody else would have found.
    pub new: u64,
    /// A token that waits there to be read.
    pub queued: u64,
    /// A token that running requests keep in the engine's memory: each makes every answer there slower.
    pub held: u64,
    /// A running request, however short.
    pub running: u64,
    /// A token more than the engine's memory has room for: the request would wait for others to end.
    pub over: u64,
}

impl Default for Weights {
    fn default() -> Weights {
        Weights { new: 16, queued: 4, held: 1, running: 128, over: 16 }
    }
}

/// What a request brings to the choice.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Hashes of the prompt's blocks ([`crate::chain`]).
    pub chain: &'a [u64],
    pub tokens: u64,
}

impl Ask<'_> {
    /// Tokens that a replica with so many of the blocks need not read.
    fn cached(&self, blocks: usize) -> u64 {
        (blocks as u64 * BLOCK_TOKENS).min(self.tokens)
    }
}

/// Whether a replica takes a request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Open,
    /// Not before this time, or until somebody reports on it.
    ShutUntil(u64),
}

/// A replica, and how much of the prompt it is thought to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub slot: u32,
    pub cached_tokens: u64,
    pub cost: u64,
}

/// A request that was sent. Give it back with [`Router::done`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the replica's load holds it until it is done"]
pub struct Ticket {
    slot: u32,
    generation: u32,
    queued: u64,
    held: u64,
}

impl Ticket {
    pub fn slot(&self) -> u32 {
        self.slot
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    generation: u32,
    present: bool,
    name: u64,
    /// New tokens of requests that have not answered yet.
    queued: u64,
    /// Tokens that running requests keep in the engine's memory.
    held: u64,
    running: u64,
    /// Found shut until then; nothing while it is open.
    shut_until: u64,
}

/// Holders of one depth that are looked at, the last users first.
const HOLDERS_LOOKED_AT: usize = 4;
/// Depths that are looked at: the longest prefix that anybody holds, then those that more replicas hold.
const DEPTHS_LOOKED_AT: usize = 3;
/// Homes: the first, and those that take over while it is gone.
const HOMES: usize = 3;
/// No choice weighs more replicas than this.
pub const CANDIDATES_MAX: usize = HOLDERS_LOOKED_AT * DEPTHS_LOOKED_AT + 2;

/// Places of each replica in the table of homes: shares are equal to 1 %.
const PLACES_PER_REPLICA: usize = 100;
/// Primes, so that every step visits every place. The last serves 10,000 replicas and takes 4 MiB.
const TABLE_SIZES: [usize; 6] = [251, 1_021, 8_191, 65_537, 262_147, 1_048_573];

/// Of prompts' tokens, how many were known; a part of 65,536, over the last 256 requests or so.
const REUSE_ONE: u64 = 1 << 16;
const REUSE_SHIFT: u32 = 8;

/// The replicas of one endpoint, as one gateway knows them.
#[derive(Debug, Clone, Default)]
pub struct Router {
    options: Options,
    prefixes: Prefixes,
    loads: Loads,
    slots: Vec<Slot>,
    /// Slots by the last digits of a hash. The same in every gateway, whatever order it met the replicas in.
    table: Vec<u32>,
    /// Slots that were found shut, by when to look again. Of a slot that was opened meanwhile the entry means nothing any more.
    shut: BinaryHeap<Reverse<(u64, u32)>>,
    present: u64,
    turn: u32,
    turns: u64,
    reuse: u64,
    looks: u64,
}

impl Router {
    pub fn new(options: Options) -> Router {
        let prefixes = Prefixes::new(options.blocks_per_replica, options.copies_max);
        Router { options, prefixes, ..Router::default() }
    }

    pub fn strategy(&self) -> Strategy {
        self.options.strategy
    }

    /// Replicas looked at so far.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// Sets who is here: for each slot the replica's name, the same at every gateway; none for a slot that is empty. A slot
    /// whose name changes starts anew.
    pub fn set(&mut self, names: &[Option<u64>]) {
        let length = names.len().max(self.slots.len());
        self.slots.resize(length, Slot::default());
        self.prefixes.grow(length);
        for (at, slot) in self.slots.iter_mut().enumerate() {
            let name = names.get(at).copied().flatten();
            if name == slot.present.then_some(slot.name) {
                continue;
            }
            let generation = slot.generation.wrapping_add(1);
            *slot = Slot { generation, present: name.is_some(), name: name.unwrap_or(0), ..Slot::default() };
            self.prefixes.clear(at as u32);
            self.loads.set(at as u32, name.map(|_| 0));
        }
        self.present = self.slots.iter().filter(|slot| slot.present).count() as u64;
        self.table = table(&self.slots);
    }

    /// Chooses a replica that is open and was not tried. `look` says whether one is open; `random` is 64 random bits.
    pub fn choose(
        &mut self,
        ask: &Ask<'_>,
        tried: &[u32],
        now: u64,
        random: u64,
        mut look: impl FnMut(u32) -> Look,
    ) -> Option<Choice> {
        self.reopen_due(now);
        // Each turn either ends or finds a replica shut that was open, and closes it.
        loop {
            let choice = match self.options.strategy {
                Strategy::RoundRobin => self.in_turn(tried),
                Strategy::LeastLoaded => self.least_loaded(ask, tried, random),
                Strategy::Prefix => self.cheapest(ask, tried, random),
            }?;
            self.looks += 1;
            match look(choice.slot) {
                Look::Open => return Some(choice),
                Look::ShutUntil(until) => self.shut(choice.slot, until.max(now + 1)),
            }
        }
    }

    /// Any replica that is open, the least loaded first, whatever the strategy. Those that are found shut are not looked at
    /// again before their time, so that whoever asks next pays nothing for them.
    pub fn any_open(&mut self, now: u64, random: u64, mut look: impl FnMut(u32) -> Look) -> Option<u32> {
        self.reopen_due(now);
        loop {
            let slot = self.loads.least(&[], random)?;
            self.looks += 1;
            match look(slot) {
                Look::Open => return Some(slot),
                Look::ShutUntil(until) => self.shut(slot, until.max(now + 1)),
            }
        }
    }

    /// A request goes to the chosen replica.
    pub fn send(&mut self, choice: &Choice, ask: &Ask<'_>) -> Ticket {
        if self.options.strategy == Strategy::Prefix {
            let known = ask.cached(self.prefixes.known(ask.chain));
            let share = (known * REUSE_ONE).checked_div(ask.tokens).unwrap_or(0);
            self.reuse = self.reuse - (self.reuse >> REUSE_SHIFT) + (share >> REUSE_SHIFT);
            self.prefixes.touch(choice.slot, ask.chain);
        }
        if self.options.strategy == Strategy::RoundRobin {
            self.turn = choice.slot + 1;
            self.turns += 1;
        }
        let slot = &mut self.slots[choice.slot as usize];
        let queued = ask.tokens.saturating_sub(choice.cached_tokens);
        slot.queued += queued;
        slot.held += ask.tokens;
        slot.running += 1;
        let generation = slot.generation;
        self.weigh(choice.slot);
        Ticket { slot: choice.slot, generation, queued, held: ask.tokens }
    }

    /// The first token came: the prompt is read.
    pub fn first_token(&mut self, ticket: &mut Ticket) {
        let queued = std::mem::take(&mut ticket.queued);
        if let Some(slot) = self.slot_of(ticket) {
            slot.queued = slot.queued.saturating_sub(queued);
            self.weigh(ticket.slot);
        }
    }

    /// The request is over, however it ended. If the replica was shut, it is looked at again. Whether it is still here.
    pub fn done(&mut self, ticket: Ticket) -> bool {
        let Some(slot) = self.slot_of(&ticket) else { return false };
        slot.queued = slot.queued.saturating_sub(ticket.queued);
        slot.held = slot.held.saturating_sub(ticket.held);
        slot.running = slot.running.saturating_sub(1);
        self.reopen(ticket.slot);
        true
    }

    /// Something has changed at this replica: if it was shut, it is looked at again.
    pub fn look_again(&mut self, slot: u32) {
        self.reopen(slot);
    }

    fn slot_of(&mut self, ticket: &Ticket) -> Option<&mut Slot> {
        self.slots.get_mut(ticket.slot as usize).filter(|slot| slot.present && slot.generation == ticket.generation)
    }

    fn reopen(&mut self, slot: u32) {
        if let Some(known) = self.slots.get_mut(slot as usize).filter(|known| known.present) {
            known.shut_until = 0;
            self.loads.set(slot, Some(self.load(slot)));
        }
    }

    fn reopen_due(&mut self, now: u64) {
        while let Some(&Reverse((until, slot))) = self.shut.peek()
            && until <= now
        {
            self.shut.pop();
            // Else it was opened since then, and shut again perhaps: each look that finds it shut would bring one more.
            if self.slots.get(slot as usize).is_some_and(|known| known.shut_until == until) {
                self.reopen(slot);
            }
        }
    }

    fn shut(&mut self, slot: u32, until: u64) {
        self.loads.set(slot, None);
        self.slots[slot as usize].shut_until = until;
        self.shut.push(Reverse((until, slot)));
    }

    /// Its load changed; a slot that is shut stays shut.
    fn weigh(&mut self, slot: u32) {
        if self.loads.get(slot).is_some() {
            self.loads.set(slot, Some(self.load(slot)));
        }
    }

    fn load(&self, slot: u32) -> u64 {
        let (slot, weights) = (&self.slots[slot as usize], &self.options.weights);
        let room = u64::from(self.options.blocks_per_replica) * BLOCK_TOKENS;
        let over = slot.held.saturating_sub(room);
        let own = slot.queued * weights.queued + slot.held * weights.held + slot.running * weights.running;
        // Other gateways' requests are not seen. Where one's own went, others probably went too.
        let seen = if self.options.gateways > 1 { 2 * own } else { own };
        seen + over * weights.over
    }

    fn in_turn(&self, tried: &[u32]) -> Option<Choice> {
        let slot = self.loads.next(self.turn, tried)?;
        // Between endpoints: the one whose replicas had fewer turns each.
        Some(Choice { slot, cached_tokens: 0, cost: self.turns * 1_000 / self.present.max(1) })
    }

    fn least_loaded(&self, ask: &Ask<'_>, tried: &[u32], random: u64) -> Option<Choice> {
        let slot = self.loads.least(tried, random)?;
        Some(Choice { slot, cached_tokens: 0, cost: ask.tokens + self.loads.get(slot)? })
    }

    fn cheapest(&mut self, ask: &Ask<'_>, tried: &[u32], random: u64) -> Option<Choice> {
        let known = self.prefixes.known(ask.chain);
        let elsewhere = self.elsewhere(ask, known, tried);
        let mut seen = Seen::default();
        let mut best: Option<Choice> = None;
        let mut consider = |slot: u32| {
            if tried.contains(&slot) || !seen.add(slot) {
                return;
            }
            let Some(load) = self.loads.get(slot) else { return };
            let held = self.prefixes.held(slot, ask.chain);
            let cached_tokens = ask.cached(held);
            let new = (ask.tokens - cached_tokens).saturating_sub(elsewhere.tokens(slot, held, cached_tokens));
            let cost = new * self.options.weights.new + load;
            if best.is_none_or(|best| cost < best.cost) {
                best = Some(Choice { slot, cached_tokens, cost });
            }
        };
        let mut length = known;
        for _ in 0..DEPTHS_LOOKED_AT {
            if length == 0 {
                break;
            }
            let block = ask.chain[length - 1];
            let holders = self.prefixes.holder_count(block);
            self.prefixes.holders(block).take(HOLDERS_LOOKED_AT).for_each(&mut consider);
            length = depth(length - 1, |at| self.prefixes.holder_count(ask.chain[at]) > holders);
        }
        elsewhere.home.into_iter().for_each(&mut consider);
        self.loads.least(tried, random).into_iter().for_each(&mut consider);
        self.looks += seen.count as u64;
        best
    }

    /// What other gateways may have put where, so that several that know nothing of each other agree.
    fn elsewhere(&self, ask: &Ask<'_>, known: usize, tried: &[u32]) -> Elsewhere {
        let gateways = u64::from(self.options.gateways);
        let Some(first) = ask.chain.get(known).filter(|_| gateways > 1) else { return Elsewhere::default() };
        let open = |slot: &u32| self.loads.get(*slot).is_some() && !tried.contains(slot);
        let known_tokens = ask.cached(known);
        let holders = known.checked_sub(1).map_or(0, |last| self.prefixes.holder_count(ask.chain[last])) as u64;
        // Of prompts that come back this gateway sees one in as many as there are gateways. Where it finds nothing twice,
        // neither do the others.
        let seen_by_others = (self.reuse * gateways).min(REUSE_ONE) * (gateways - 1) / gateways;
        Elsewhere {
            home: self.homes(*first).find(open),
            known,
            known_tokens,
            holders,
            hidden: (ask.tokens - known_tokens) * seen_by_others / REUSE_ONE,
            spread: (holders * gateways * REUSE_ONE / self.present.max(1)).min(REUSE_ONE),
        }
    }

    /// Where every gateway expects a prefix that it has not seen.
    fn homes(&self, block: u64) -> impl Iterator<Item = u32> + '_ {
        let at = move |hash: u64| self.table.get((hash % self.table.len().max(1) as u64) as usize).copied();
        (0..HOMES).scan(block, |hash, _| Some(std::mem::replace(hash, mix(*hash)))).filter_map(at)
    }
}

/// A guess at what replicas hold that this gateway did not send there.
#[derive(Debug, Clone, Copy, Default)]
struct Elsewhere {
    /// Where all gateways send what is new behind the known part.
    home: Option<u32>,
    known: usize,
    known_tokens: u64,
    /// How many replicas hold the known part, as far as this gateway knows.
    holders: u64,
    /// Tokens behind the known part that another gateway has probably sent somewhere.
    hidden: u64,
    /// How probable it is that any replica holds the known part; of 65,536.
    spread: u64,
}

impl Elsewhere {
    /// Tokens that the replica may hold beyond those that are known to be there.
    fn tokens(&self, slot: u32, held: usize, cached_tokens: u64) -> u64 {
        let shared = (self.known_tokens - cached_tokens.min(self.known_tokens)) * self.spread / REUSE_ONE;
        // With one holder the known part is one conversation's, and the rest of it is where that is. The more hold it, the more
        // it is a beginning that many share, and the rest is at home.
        let with_holder = self.hidden.checked_div(self.holders).unwrap_or(0);
        let at_home = if self.home == Some(slot) { self.hidden - with_holder } else { 0 };
        let at_holder = if held == self.known { with_holder } else { 0 };
        shared + at_home + at_holder
    }
}

/// A table of homes after Maglev (Eisenbud et al., NSDI 2016): each replica in turn takes the next free place of its own
/// order, so that all have the same share, and one that leaves moves hardly anybody else.
fn table(slots: &[Slot]) -> Vec<u32> {
    let mut present: Vec<(u64, u32)> =
        slots.iter().zip(0..).filter(|(slot, _)| slot.present).map(|(slot, at)| (slot.name, at)).collect();
    present.sort_unstable();
    let Some(&size) =
        TABLE_SIZES.iter().find(|&&size| size >= present.len() * PLACES_PER_REPLICA).or(TABLE_SIZES.last())
    else {
        return Vec::new();
    };
    if present.is_empty() {
        return Vec::new();
    }
    let mut table = vec![u32::MAX; size];
    let mut orders: Vec<(usize, usize)> = present
        .iter()
        .map(|(name, _)| ((mix(*name) % size as u64) as usize, (mix(!*name) % (size as u64 - 1)) as usize + 1))
        .collect();
    let mut left = size;
    loop {
        for ((next, step), (_, slot)) in orders.iter_mut().zip(&present) {
            while table[*next] != u32::MAX {
                *next = (*next + *step) % size;
            }
            table[*next] = *slot;
            left -= 1;
            if left == 0 {
                return table;
            }
        }
    }
}

/// Replicas weighed in one choice.
#[derive(Default)]
struct Seen {
    slots: [u32; CANDIDATES_MAX],
    count: usize,
}

impl Seen {
    fn add(&mut self, slot: u32) -> bool {
        if self.count == CANDIDATES_MAX || self.slots[..self.count].contains(&slot) {
            return false;
        }
        self.slots[self.count] = slot;
        self.count += 1;
        true
    }
}

#[cfg(test)]
mod tests;
