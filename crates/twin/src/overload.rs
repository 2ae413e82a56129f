//! The overload study: who gets what of an engine that is asked for more than it can do, by which queue.
//!
//! [`tenants`] is the overload case of the VTC paper (Sheng et al., OSDI 2024, figure 3): two clients at an even 1.5 and 3
//! requests a second, 256 tokens in and out, one engine that can do about one a second. First come, first served gives
//! the louder client twice the service; the fair queue gives both the same.
//!
//! [`classes`] asks what somebody at a keyboard notices of a night's batch: the time to the first token of an interactive
//! tenant alone, beside batch in one line, beside batch in the fair queue without classes, and with them.
//!
//! The queue is `routing::fair`, the code that serves. The engine is a few sums: it reserves a request's input and output
//! in its KV pool, prefills what it lets in while the others stand still, then writes a token for each running request
//! per step; what it takes for that is stated in [`Engine`]'s two instances.

use routing::fair::{Charge, Class, FairQueue, Limits, OUTPUT_WEIGHT, SHARES_USUAL, cost};
use serde::Serialize;
use std::collections::VecDeque;

/// What an engine can hold and how long it takes, in virtual time.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    /// Input and output of all running requests.
    pub pool_tokens: u64,
    /// Running requests.
    pub slots: usize,
    pub step_micros: u64,
    /// More for each running request.
    pub step_request_micros: u64,
    pub prefill_token_nanos: u64,
}

/// The paper's: Llama 2 7B on an A10G with 10,000 tokens of KV, which is where its bound of 40,000 comes from
/// (2 x output weight 2 x 10,000). 19 requests of 512 tokens fit. The times are ours, chosen so that ten minutes give the
/// service of the authors' logs, about 482,000: 256 steps of 28 + 19 x 2 ms and 19 prefills of 64 ms are 18.1 s for
/// 19 x 768 weighted tokens, 806 a second. Fairness does not depend on them; only the totals do.
pub const PAPER: Engine = Engine {
    pool_tokens: 10_000,
    slots: usize::MAX,
    step_micros: 28_000,
    step_request_micros: 2_000,
    prefill_token_nanos: 250_000,
};

/// A faster one for the classes: 32 requests at once, 8 ms and 0.1 ms for each of them a step, 50,000 tokens of prefill a
/// second.
pub const SHARED: Engine = Engine {
    pool_tokens: 131_072,
    slots: 32,
    step_micros: 8_000,
    step_request_micros: 100,
    prefill_token_nanos: 20_000,
};

/// How long the paper's case runs.
pub const MINUTES: u64 = 10;

/// Who is let in next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// First come, first served.
    Fcfs,
    /// Fair between tenants, one class.
    Vtc,
    /// Fair between tenants, interactive before batch.
    VtcClasses,
}

impl Policy {
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::Fcfs => "fcfs",
            Policy::Vtc => "vtc",
            Policy::VtcClasses => "vtc-classes",
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Request {
    at_micros: u64,
    tenant: usize,
    class: Class,
    input: u64,
    output: u64,
}

/// What one run gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    pub case: &'static str,
    pub policy: Policy,
    /// Weighted tokens of each tenant: read, plus twice the written.
    pub service: Vec<u64>,
    pub service_total: u64,
    /// The largest difference between the first two tenants' service at any time.
    pub gap_max: u64,
    pub gap_end: u64,
    /// Requests that ended, by tenant.
    pub completed: Vec<u64>,
    /// Of the first tenant.
    pub ttft_p50_millis: f64,
    pub ttft_p99_millis: f64,
}

/// The paper's bound on the gap between two tenants that both have something waiting.
pub const BOUND: u64 = 2 * OUTPUT_WEIGHT * PAPER.pool_tokens;

/// The paper's overload case: first come, first served, and fair.
pub fn tenants(minutes: u64) -> Vec<Outcome> {
    let until = minutes * 60_000_000;
    let client = |tenant, every_micros| {
        (0..until).step_by(every_micros).map(move |at_micros| Request {
            at_micros,
            tenant,
            class: Class::Interactive,
            input: 256,
            output: 256,
        })
    };
    let requests: Vec<Request> = client(0, 666_667).chain(client(1, 333_333)).collect();
    let run = |policy| simulate("tenants", &PAPER, requests.clone(), VecDeque::new(), policy, until);
    vec![run(Policy::Fcfs), run(Policy::Vtc)]
}

/// When the batch job begins, how many requests it keeps open (twice what the engine takes at once), how many it has in
/// all (it does not come to their end), and how long the study runs.
const BATCH_AT_MICROS: u64 = 10_000_000;
const BATCH_OPEN: usize = 64;
const BATCH_REQUESTS: u64 = 10_000;
const CLASSES_MICROS: u64 = 480_000_000;

/// Somebody at a keyboard, alone and beside batch.
pub fn classes() -> Vec<Outcome> {
    let mut dice = Dice(2026);
    let mut interactive = Vec::new();
    let mut at_micros = 0;
    while at_micros < CLASSES_MICROS {
        // Twelve a second, at uneven times: about half of what the engine can do.
        at_micros += 16_666 + dice.below(133_333);
        let (input, output) = (256 + dice.below(512), 32 + dice.below(64));
        interactive.push(Request { at_micros, tenant: 0, class: Class::Interactive, input, output });
    }
    let batch = (0..BATCH_REQUESTS).map(|_| {
        let (input, output) = (512 + dice.below(1_024), 128 + dice.below(256));
        Request { at_micros: BATCH_AT_MICROS, tenant: 1, class: Class::Batch, input, output }
    });
    let mut batch: VecDeque<Request> = batch.collect();
    let both: Vec<Request> = interactive.iter().copied().chain(batch.drain(..BATCH_OPEN)).collect();
    let beside = |policy| simulate("beside batch", &SHARED, both.clone(), batch.clone(), policy, CLASSES_MICROS);
    let alone = simulate("alone", &SHARED, interactive, VecDeque::new(), Policy::Fcfs, CLASSES_MICROS);
    vec![alone, beside(Policy::Fcfs), beside(Policy::Vtc), beside(Policy::VtcClasses)]
}

/// SplitMix64 (public domain): the same lengths and times in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % end
    }
}

/// What waits at the engine.
enum Line {
    Fcfs(VecDeque<Request>),
    Fair { queue: Box<FairQueue<usize, (), Request>>, classes: bool },
}

impl Line {
    fn new(policy: Policy) -> Line {
        let limits = Limits { waiting_max: usize::MAX, waiting_tenant_max: usize::MAX };
        match policy {
            Policy::Fcfs => Line::Fcfs(VecDeque::new()),
            Policy::Vtc | Policy::VtcClasses => {
                Line::Fair { queue: Box::new(FairQueue::new(limits)), classes: policy == Policy::VtcClasses }
            }
        }
    }

    fn push(&mut self, request: Request) {
        match self {
            Line::Fcfs(line) => line.push_back(request),
            Line::Fair { queue, classes } => {
                let class = if *classes { request.class } else { Class::Interactive };
                let input = cost(request.input, 0);
                // Without a limit nobody is turned away, and a ticket is for those that leave.
                drop(queue.push(request.tenant, SHARES_USUAL, class, (), input, request));
            }
        }
    }

    fn pop(&mut self) -> Option<(Request, Option<Charge<usize>>)> {
        match self {
            Line::Fcfs(line) => line.pop_front().map(|request| (request, None)),
            Line::Fair { queue, .. } => queue.pop(|()| true).map(|(charge, request)| (request, Some(charge))),
        }
    }

    fn wrote(&mut self, charge: &mut Option<Charge<usize>>) {
        if let (Line::Fair { queue, .. }, Some(charge)) = (self, charge) {
            queue.charge(charge, cost(0, 1));
        }
    }

    fn ended(&mut self, request: Request, charge: Option<Charge<usize>>) {
        if let (Line::Fair { queue, .. }, Some(charge)) = (self, charge) {
            queue.settle(charge, cost(request.input, request.output));
        }
    }
}

struct Running {
    request: Request,
    charge: Option<Charge<usize>>,
    written: u64,
}

/// Runs one engine until the time is over. Of `followers` one is sent whenever a batch request ends.
fn simulate(
    case: &'static str,
    engine: &Engine,
    mut requests: Vec<Request>,
    mut followers: VecDeque<Request>,
    policy: Policy,
    until_micros: u64,
) -> Outcome {
    requests.sort_by_key(|request| (request.at_micros, request.tenant));
    let longest = requests.iter().map(|request| request.input + request.output).max().unwrap_or_default();
    let mut arrivals = requests.into_iter().peekable();
    let mut line = Line::new(policy);
    let (mut now, mut held, mut running) = (0, 0, Vec::<Running>::new());
    let (mut service, mut completed, mut gap_max) = (vec![0u64; 2], vec![0u64; 2], 0);
    let mut first_tokens = Vec::new();
    loop {
        while let Some(request) = arrivals.next_if(|request| request.at_micros <= now) {
            line.push(request);
        }
        let old = running.len();
        // Room is room for the longest: whoever is next by the queue's order is let in, never somebody who fits better.
        while running.len() < engine.slots && held + longest <= engine.pool_tokens {
            let Some((request, charge)) = line.pop() else { break };
            held += request.input + request.output;
            service[request.tenant] += cost(request.input, 0);
            now += request.input * engine.prefill_token_nanos / 1_000;
            running.push(Running { request, charge, written: 0 });
        }
        if running.is_empty() {
            match arrivals.peek() {
                Some(next) => now = next.at_micros,
                None => break,
            }
            continue;
        }
        now += engine.step_micros + engine.step_request_micros * running.len() as u64;
        if now > until_micros {
            break;
        }
        for (place, running) in running.iter_mut().enumerate() {
            running.written += 1;
            service[running.request.tenant] += cost(0, 1);
            line.wrote(&mut running.charge);
            if place >= old && running.request.tenant == 0 {
                first_tokens.push(now - running.request.at_micros);
            }
        }
        let (ended, going) = running.drain(..).partition(|running| running.written >= running.request.output);
        running = going;
        for Running { request, charge, .. } in ended {
            held -= request.input + request.output;
            completed[request.tenant] += 1;
            line.ended(request, charge);
            if request.class == Class::Batch
                && let Some(next) = followers.pop_front()
            {
                line.push(Request { at_micros: now, ..next });
            }
        }
        gap_max = gap_max.max(service[0].abs_diff(service[1]));
    }
    first_tokens.sort_unstable();
    let gap_end = service[0].abs_diff(service[1]);
    Outcome {
        case,
        policy,
        service_total: service.iter().sum(),
        gap_max: gap_max.max(gap_end),
        gap_end,
        completed,
        ttft_p50_millis: percentile_millis(&first_tokens, 50),
        ttft_p99_millis: percentile_millis(&first_tokens, 99),
        service,
    }
}

/// The smallest that so many of a hundred do not exceed.
fn percentile_millis(sorted_micros: &[u64], percent: usize) -> f64 {
    let rank = (sorted_micros.len() * percent).div_ceil(100).max(1);
    sorted_micros.get(rank - 1).map_or(0.0, |micros| *micros as f64 / 1e3)
}

#[cfg(test)]
mod tests;
