//! The queue against a small engine, against any operations, and at its edges.

use super::*;
use proptest::prelude::*;

type Queue = FairQueue<u8, u8, (u64, u64)>;

const ROOMY: Limits = Limits { waiting_max: usize::MAX, waiting_tenant_max: usize::MAX };

fn any_group(_: &u8) -> bool {
    true
}

/// What must hold between any two operations.
fn check(queue: &Queue) {
    let mut waiting = [0; 2];
    let mut order: BTreeMap<(Class, u8), Order<u8>> = BTreeMap::new();
    for (tenant, known) in &queue.tenants {
        let mut own = 0;
        for (place, requests) in &known.places {
            assert!(!requests.is_empty());
            own += requests.len();
            waiting[place.0 as usize] += requests.len();
            order.entry(*place).or_default().insert((known.counter, known.since, *tenant));
        }
        assert_eq!(own, known.waiting);
        let idle = queue.idle.contains(&(known.counter, *tenant));
        assert_eq!(idle, known.waiting == 0 && known.served == 0, "{tenant}");
    }
    assert_eq!((waiting, &order), (queue.waiting, &queue.order));
    assert!(queue.idle.iter().all(|(_, tenant)| queue.tenants.contains_key(tenant)));
    assert_eq!(queue.served, queue.tenants.values().map(|known| known.served).sum::<usize>());
    assert!(queue.waiting(Class::Batch) > 0 || queue.owed == 0);
}

/// An engine that reserves input and output of each request in `pool` tokens, and writes a token for each at each step.
struct Engine {
    pool: u64,
    running: Vec<Running>,
    steps: u64,
    service: BTreeMap<(u8, Class), u64>,
}

struct Running {
    charge: Charge<u8>,
    class: Class,
    input: u64,
    output: u64,
    written: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Charging {
    ByToken,
    AtTheEnd,
}

impl Engine {
    fn new(pool: u64) -> Engine {
        Engine { pool, running: Vec::new(), steps: 0, service: BTreeMap::new() }
    }

    fn of(&self, tenant: u8) -> u64 {
        Class::ALL.iter().filter_map(|class| self.service.get(&(tenant, *class))).sum()
    }

    fn held(&self) -> u64 {
        self.running.iter().map(|running| running.input + running.output).sum()
    }

    /// Takes what fits in the queue's order, then writes a token for each. As in the paper, the next one waits for room.
    fn step(&mut self, queue: &mut Queue, longest: u64, charging: Charging) {
        while self.held() + longest <= self.pool && !queue.is_empty() {
            let batch = queue.waiting(Class::Batch);
            let (charge, (input, output)) = queue.pop(any_group).expect("work conserving: somebody waits, all fit");
            let class = if queue.waiting(Class::Batch) < batch { Class::Batch } else { Class::Interactive };
            *self.service.entry((charge.tenant, class)).or_default() += cost(input, 0);
            self.running.push(Running { charge, class, input, output, written: 0 });
        }
        for running in &mut self.running {
            running.written += 1;
            *self.service.entry((running.charge.tenant, running.class)).or_default() += cost(0, 1);
            if charging == Charging::ByToken {
                queue.charge(&mut running.charge, cost(0, 1));
            }
        }
        let (ended, running) = self.running.drain(..).partition(|running| running.written == running.output);
        self.running = running;
        for Running { charge, input, output, .. } in ended {
            queue.settle(charge, cost(input, output));
        }
        if self.steps.is_multiple_of(16) {
            check(queue);
        }
        self.steps += 1;
    }
}

fn push(queue: &mut Queue, tenant: u8, class: Class, input: u64, output: u64) -> Ticket<u8, u8> {
    queue.push(tenant, SHARES_USUAL, class, 0, cost(input, 0), (input, output)).unwrap()
}

/// Keeps more requests of a tenant waiting than a step can let go.
fn refill(queue: &mut Queue, tenant: u8, class: Class, (input, output): (u64, u64)) {
    let waiting = queue.tenants.get(&tenant).map_or(0, |known| known.waiting);
    for _ in waiting..POOL as usize / 4 {
        push(queue, tenant, class, input, output);
    }
}

const POOL: u64 = 400;
const LONGEST: u64 = 60;
/// The paper's bound: 2 x max(input weight x longest input, output weight x tokens held).
const BOUND: i64 = 2 * (OUTPUT_WEIGHT * POOL) as i64;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Two tenants that always have something waiting, with requests of any sizes: over any interval the service that
    /// they got differs by no more than the paper's bound; charged at the end, from the start on.
    #[test]
    fn service_stays_within_the_papers_bound(
        sizes in prop::collection::vec(((1..30u64, 1..30u64), (1..30u64, 1..30u64)), 50..400),
        others in 0..3u8,
    ) {
        for charging in [Charging::ByToken, Charging::AtTheEnd] {
            let (mut queue, mut engine) = (Queue::new(ROOMY), Engine::new(POOL));
            let (mut least, mut most) = (0, 0);
            for (of_one, of_two) in &sizes {
                refill(&mut queue, 1, Class::Interactive, *of_one);
                refill(&mut queue, 2, Class::Interactive, *of_two);
                for other in 0..others {
                    push(&mut queue, 3 + other, Class::Interactive, of_two.0, of_one.1);
                }
                engine.step(&mut queue, LONGEST, charging);
                let gap = engine.of(1) as i64 - engine.of(2) as i64;
                (least, most) = (least.min(gap), most.max(gap));
                prop_assert!(gap.abs() <= BOUND, "{gap}");
                if charging == Charging::ByToken {
                    prop_assert!(most - least <= BOUND, "{least} {most}");
                }
            }
        }
    }

    /// Whoever comes back after a time of idleness gets no more, from then on, than the one that never left.
    #[test]
    fn idleness_brings_no_credit(alone in 1..300usize, sizes in prop::collection::vec((1..30u64, 1..30u64), 50..200)) {
        let (mut queue, mut engine) = (Queue::new(ROOMY), Engine::new(POOL));
        push(&mut queue, 1, Class::Interactive, 1, 1);
        for _ in 0..alone {
            refill(&mut queue, 2, Class::Interactive, (20, 20));
            engine.step(&mut queue, LONGEST, Charging::ByToken);
        }
        let before = engine.of(2) as i64 - engine.of(1) as i64;
        for size in sizes {
            refill(&mut queue, 1, Class::Interactive, size);
            refill(&mut queue, 2, Class::Interactive, size);
            engine.step(&mut queue, LONGEST, Charging::ByToken);
            let gained = before - (engine.of(2) as i64 - engine.of(1) as i64);
            prop_assert!(gained <= BOUND, "{gained}");
        }
    }

    /// Any operations in any order: the indexes agree, somebody who fits is always found, nobody is remembered for
    /// nothing, and the same operations give the same answers.
    #[test]
    fn any_operations(operations in prop::collection::vec((0..7u8, 0..6u8, any::<bool>(), 0..3u8, 1..50u64), 1..300)) {
        let run = || {
            let (mut queue, mut tickets, mut charges) = (Queue::new(ROOMY), Vec::new(), Vec::new());
            let mut said = Vec::new();
            for (operation, tenant, batch, group, tokens) in &operations {
                let mut swept = false;
                match operation {
                    0 | 1 => {
                        let class = if *batch { Class::Batch } else { Class::Interactive };
                        let item = (*tokens, *tokens);
                        tickets.push(queue.push(*tenant, 1 + u32::from(*group), class, *group, *tokens, item).unwrap());
                    }
                    2 => {
                        let waits = queue.order.keys().any(|(_, of)| of == group);
                        let popped = queue.pop(|of| of == group);
                        assert_eq!(popped.is_some(), waits, "work conserving");
                        said.push(popped.as_ref().map(|(charge, _)| charge.tenant));
                        charges.extend(popped.map(|(charge, _)| charge));
                    }
                    3 if !charges.is_empty() => {
                        queue.settle(charges.remove(*tokens as usize % charges.len()), cost(*tokens, *tokens));
                        swept = true;
                    }
                    4 if !charges.is_empty() => {
                        let place = *tokens as usize % charges.len();
                        queue.charge(&mut charges[place], *tokens);
                    }
                    5 if !tickets.is_empty() => {
                        let ticket = tickets.remove(*tokens as usize % tickets.len());
                        let left = queue.leave(&ticket).map(|_| ticket.tenant);
                        swept = left.is_some();
                        said.push(left);
                        assert_eq!(queue.leave(&ticket), None);
                    }
                    6 => queue.note(*tenant, SHARES_USUAL, *tokens),
                    _ => {}
                }
                check(&queue);
                // Nobody is remembered who is idle and not ahead of those that wait.
                if swept {
                    let floor = queue.floor();
                    let level = queue.idle.iter().filter(|(counter, tenant)| {
                        *counter <= floor && !(queue.is_empty() && queue.last == Some(*tenant))
                    });
                    assert_eq!(level.count(), 0);
                }
            }
            charges.into_iter().for_each(|charge| queue.settle(charge, 1));
            tickets.iter().for_each(|ticket| assert!(queue.leave(ticket).is_none_or(|(tokens, _)| tokens > 0)));
            while let Some((charge, _)) = queue.pop(any_group) {
                queue.settle(charge, 0);
            }
            check(&queue);
            assert_eq!((queue.tenants(), queue.idle.len(), queue.order.len()), (0, 0, 0), "all are forgotten");
            said
        };
        prop_assert_eq!(run(), run());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// While both classes wait without end, batch gets its tenth, and interactive the rest.
    #[test]
    fn batch_gets_its_tenth_and_no_more(of_batch in (1..30u64, 1..30u64), of_interactive in (1..30u64, 1..30u64)) {
        let (mut queue, mut engine) = (Queue::new(ROOMY), Engine::new(POOL));
        for _ in 0..1_500 {
            refill(&mut queue, 1, Class::Interactive, of_interactive);
            refill(&mut queue, 2, Class::Batch, of_batch);
            engine.step(&mut queue, LONGEST, Charging::ByToken);
        }
        let (batch, all) = (engine.service[&(2, Class::Batch)] as f64, (engine.of(1) + engine.of(2)) as f64);
        prop_assert!((0.08..0.12).contains(&(batch / all)), "{}", batch / all);
    }
}

#[test]
fn interactive_goes_first_and_batch_is_let_go_when_it_is_owed() {
    let mut queue = Queue::new(ROOMY);
    push(&mut queue, 1, Class::Batch, 10, 0);
    for _ in 0..30 {
        push(&mut queue, 2, Class::Interactive, 10, 0);
    }
    let mut order = Vec::new();
    while let Some((charge, _)) = queue.pop(any_group) {
        order.push(charge.tenant);
        queue.settle(charge, 10);
    }
    // Nine times its ten tokens.
    assert_eq!(order.iter().position(|tenant| *tenant == 1), Some(9));
    // With nobody interactive there, batch takes everything and owes nothing for it.
    for _ in 0..50 {
        push(&mut queue, 1, Class::Batch, 10, 0);
    }
    for _ in 0..49 {
        let (charge, _) = queue.pop(any_group).unwrap();
        queue.settle(charge, 10);
    }
    push(&mut queue, 2, Class::Interactive, 10, 0);
    assert_eq!((queue.owed, queue.pop(any_group).map(|(charge, _)| charge.tenant)), (0, Some(2)));
}

#[test]
fn a_flood_does_not_make_another_tenant_wait() {
    let mut queue = Queue::new(ROOMY);
    for _ in 0..1_000 {
        push(&mut queue, 1, Class::Interactive, 10, 10);
    }
    for _ in 0..100 {
        let (charge, _) = queue.pop(any_group).unwrap();
        queue.settle(charge, 30);
    }
    push(&mut queue, 2, Class::Interactive, 10, 10);
    push(&mut queue, 2, Class::Interactive, 10, 10);
    let order: Vec<u8> = std::iter::from_fn(|| queue.pop(any_group)).take(4).map(|(charge, _)| charge.tenant).collect();
    // Level with the flood when it came: the flood's next was there first, and from then on they take turns.
    assert_eq!(order, [1, 2, 1, 2]);
}

#[test]
fn who_has_twice_the_shares_gets_twice_the_service() {
    let mut queue = Queue::new(ROOMY);
    for _ in 0..300 {
        for (tenant, shares) in [(1, SHARES_USUAL), (2, 2 * SHARES_USUAL)] {
            queue.push(tenant, shares, Class::Interactive, 0, 7, (7, 0)).unwrap();
        }
    }
    let mut got = [0; 3];
    for _ in 0..300 {
        let (charge, _) = queue.pop(any_group).unwrap();
        got[usize::from(charge.tenant)] += 1;
        queue.settle(charge, 7);
    }
    assert_eq!(got, [0, 100, 200]);
}

#[test]
fn the_places_to_wait_are_counted_exactly() {
    let mut queue = Queue::new(Limits { waiting_max: 3, waiting_tenant_max: 2 });
    let mut try_push = |tenant| queue.push(tenant, SHARES_USUAL, Class::Batch, 0, 1, (1, 1)).map_err(|(full, _)| full);
    let first = try_push(1).unwrap();
    assert!(try_push(1).is_ok());
    assert_eq!(try_push(1), Err(Full::Tenant));
    assert!(try_push(2).is_ok());
    assert_eq!(try_push(2), Err(Full::All));
    assert!(queue.leave(&first).is_some());
    assert!(queue.push(2, SHARES_USUAL, Class::Batch, 0, 1, (1, 1)).is_ok());
    check(&queue);
}

#[test]
fn service_past_the_queue_counts_while_somebody_waits() {
    let mut queue = Queue::new(ROOMY);
    queue.note(1, SHARES_USUAL, 1_000);
    assert_eq!(queue.tenants(), 0, "nobody waits: nobody is compared");
    push(&mut queue, 1, Class::Interactive, 1, 1);
    push(&mut queue, 2, Class::Interactive, 1, 1);
    queue.note(1, SHARES_USUAL, 1_000);
    queue.note(3, SHARES_USUAL, 1_000);
    push(&mut queue, 3, Class::Interactive, 1, 1);
    let order: Vec<u8> = std::iter::from_fn(|| queue.pop(any_group)).map(|(charge, _)| charge.tenant).collect();
    assert_eq!(order, [2, 1, 3]);
    check(&queue);
}
