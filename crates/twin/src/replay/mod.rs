//! A trace replayed in virtual time: the gateway's own routing over simulated engines.
//!
//! Arrivals come from the trace, sped up; each goes to one of the gateways, which know nothing of each other, and from there to
//! an engine. Everything is one loop over a heap of events, the same input gives the same output to the last digit.
//!
//! What it is not: a measurement. Engines are cost curves (`cost`), networks take no time, and gateways know of a
//! first token at the moment that it is made. No sockets, no threads, no clock.

pub mod bound;
pub mod cache;
pub mod cost;
pub mod engine;
pub mod generate;
pub mod summary;
pub mod trace;

pub use summary::Summary;
pub use trace::{Request, TraceError};

use engine::{Engine, Event, Job};
pub use routing::Strategy;
use routing::router::{Options as Routing, Weights};
use routing::{Ask, Look, Router, Ticket};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use summary::{Times, variation};

/// Replicas that a replay has at most: one and a half times the largest site that we plan for.
pub const REPLICAS_MAX: usize = 16_384;

/// What is to be replayed, on what.
#[derive(Debug, Clone)]
pub struct Options {
    pub replicas: usize,
    pub gateways: usize,
    pub speedup: f64,
    pub strategy: Strategy,
    pub weights: Weights,
    /// KV blocks of each engine.
    pub blocks: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            replicas: 8,
            gateways: 1,
            speedup: 1.0,
            strategy: Strategy::default(),
            weights: Weights::default(),
            blocks: cost::BLOCKS_MAX,
        }
    }
}

/// What became of one request.
#[derive(Debug, Clone, Copy, Default)]
struct Fate {
    arrived: f64,
    first: f64,
    finished: f64,
    cached: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    StepEnds(usize),
    Arrives(usize),
}

/// Microseconds, for a total order of events.
fn micros(millis: f64) -> u64 {
    (millis * 1_000.0).round() as u64
}

struct Replay<'a> {
    requests: &'a [Request],
    chains: Vec<Vec<u64>>,
    engines: Vec<Engine>,
    stepping: Vec<bool>,
    routers: Vec<Router>,
    /// Of each request that is under way, its gateway and ticket.
    tickets: Vec<Option<(usize, Ticket)>>,
    fates: Vec<Fate>,
    heap: BinaryHeap<Reverse<(u64, What)>>,
    expected: u64,
}

/// Replays a trace. `progress` is told how many requests are finished.
pub fn run(requests: &[Request], options: &Options, mut progress: impl FnMut(usize)) -> Summary {
    let names: Vec<_> = (0..options.replicas as u64).map(|replica| Some(routing::chain::mix(replica))).collect();
    let routing = Routing {
        strategy: options.strategy,
        weights: options.weights,
        blocks_per_replica: options.blocks as u32,
        gateways: options.gateways as u32,
        ..Routing::default()
    };
    let mut router = Router::new(routing);
    router.set(&names);
    let mut replay = Replay {
        requests,
        chains: requests.iter().map(|it| routing::chain::of_ids(0, it.blocks.iter().copied())).collect(),
        engines: (0..options.replicas).map(|_| Engine::with_blocks(options.blocks)).collect(),
        stepping: vec![false; options.replicas],
        routers: vec![router; options.gateways],
        tickets: requests.iter().map(|_| None).collect(),
        fates: vec![Fate::default(); requests.len()],
        heap: BinaryHeap::new(),
        expected: 0,
    };
    for (id, request) in requests.iter().enumerate() {
        let at = request.at_millis / options.speedup;
        replay.fates[id].arrived = at;
        replay.heap.push(Reverse((micros(at), What::Arrives(id))));
    }
    let (mut finished, mut events, mut end) = (0, Vec::new(), 0);
    while let Some(Reverse((now, what))) = replay.heap.pop() {
        end = now;
        match what {
            What::Arrives(id) => replay.arrive(id, now),
            What::StepEnds(at) => {
                replay.stepping[at] = false;
                replay.engines[at].end(&mut events);
                finished += replay.note(&mut events, now);
                replay.step(at, now);
                progress(finished);
            }
        }
    }
    replay.summary(options, end as f64 / 1_000.0)
}

impl Replay<'_> {
    fn arrive(&mut self, id: usize, now: u64) {
        let request = &self.requests[id];
        // A balancer in front of the gateways that knows nothing: any of them.
        let gateway = (routing::chain::mix(id as u64) % self.routers.len() as u64) as usize;
        let router = &mut self.routers[gateway];
        let ask = Ask { chain: &self.chains[id], tokens: request.input };
        let random = routing::chain::mix(!(id as u64));
        let choice = router.choose(&ask, &[], now / 1_000, random, |_| Look::Open);
        let Some(choice) = choice else { return };
        self.expected += choice.cached_tokens;
        self.tickets[id] = Some((gateway, router.send(&choice, &ask)));
        let at = choice.slot as usize;
        let job = Job { id, chain: self.chains[id].clone(), input: request.input, output: request.output };
        self.engines[at].submit(job);
        self.step(at, now);
    }

    /// Begins the engine's next step, if it is not in one and has work.
    fn step(&mut self, at: usize, now: u64) {
        if self.stepping[at] {
            return;
        }
        let mut events = Vec::new();
        if let Some(millis) = self.engines[at].begin(&mut events) {
            self.stepping[at] = true;
            self.heap.push(Reverse((now + micros(millis), What::StepEnds(at))));
        }
        self.note(&mut events, now);
    }

    fn note(&mut self, events: &mut Vec<Event>, now: u64) -> usize {
        let mut finished = 0;
        let now = now as f64 / 1_000.0;
        for event in events.drain(..) {
            match event {
                Event::Admitted { id, cached } => self.fates[id].cached = cached,
                Event::FirstToken { id } => {
                    self.fates[id].first = now;
                    if let Some((gateway, ticket)) = &mut self.tickets[id] {
                        self.routers[*gateway].first_token(ticket);
                    }
                }
                Event::Finished { id } => {
                    finished += 1;
                    self.fates[id].finished = now;
                    if let Some((gateway, ticket)) = self.tickets[id].take() {
                        self.routers[gateway].done(ticket);
                    }
                }
            }
        }
        finished
    }

    fn summary(&self, options: &Options, millis: f64) -> Summary {
        let times = |of: fn(&Fate) -> f64| Times::of(self.fates.iter().map(of).collect());
        let input_tokens = self.requests.iter().map(|it| it.input).sum::<u64>();
        let part = |tokens: u64| tokens as f64 / input_tokens.max(1) as f64;
        let busy: Vec<f64> = self.engines.iter().map(|engine| engine.busy_millis).collect();
        let inter_token = self.fates.iter().zip(self.requests).filter(|(_, request)| request.output > 1);
        let inter_token = inter_token.map(|(fate, it)| (fate.finished - fate.first) / (it.output - 1) as f64);
        Summary {
            policy: options.strategy.as_str(),
            replicas: options.replicas,
            gateways: options.gateways,
            speedup: options.speedup,
            requests: self.requests.len(),
            input_tokens,
            output_tokens: self.requests.iter().map(|it| it.output).sum(),
            hit: part(self.fates.iter().map(|fate| fate.cached).sum()),
            bound: bound::pooled_lru(self.requests, options.replicas * options.blocks),
            expected: part(self.expected),
            ttft_millis: times(|fate| fate.first - fate.arrived),
            completion_millis: times(|fate| fate.finished - fate.arrived),
            inter_token_millis: Times::of(inter_token.collect()),
            load_variation: variation(&busy),
            utilisation: busy.iter().sum::<f64>() / busy.len().max(1) as f64 / millis.max(1.0),
            looks: self.routers.iter().map(Router::looks).sum::<u64>() as f64 / self.requests.len().max(1) as f64,
            simulated_seconds: millis / 1_000.0,
        }
    }
}

#[cfg(test)]
mod tests;
