//! The model against the tables that it stands for, the bound against a hand's count, and traces that are there or not.

use super::engine::{BLOCK_TOKENS, Engine, Event, Job};
use super::generate::{Kind, requests};
use super::trace::{Request, read};
use super::*;
use std::collections::HashMap;
use std::path::PathBuf;

/// Keeps so many requests at one engine until four times as many are done, as Dynamo's tables were made: mean time to the first
/// token, mean time between tokens.
fn closed_loop(concurrency: usize, input: u64, output: u64) -> (f64, f64) {
    let (mut engine, mut next, mut now) = (Engine::default(), 0, 0.0);
    let (mut begun, mut first, mut over) = (HashMap::new(), HashMap::new(), HashMap::new());
    let count = if concurrency == 1 { 1 } else { 4 * concurrency };
    let submit = |engine: &mut Engine, next: &mut usize, now: f64| {
        if *next < count {
            let id = *next;
            let chain = (0..input.div_ceil(BLOCK_TOKENS)).map(|block| (id as u64) << 20 | block).collect();
            engine.submit(Job { id, chain, input, output });
            *next += 1;
            return Some((id, now));
        }
        None
    };
    begun.extend((0..concurrency).filter_map(|_| submit(&mut engine, &mut next, now)));
    let mut events = Vec::new();
    while let Some(millis) = engine.begin(&mut events) {
        now += millis;
        engine.end(&mut events);
        for event in events.drain(..) {
            match event {
                Event::Admitted { .. } => {}
                Event::FirstToken { id } => drop(first.insert(id, now)),
                Event::Finished { id } => {
                    over.insert(id, now);
                    begun.extend(submit(&mut engine, &mut next, now));
                }
            }
        }
    }
    assert_eq!(over.len(), count);
    let mean = |of: &dyn Fn(usize) -> f64| (0..count).map(of).sum::<f64>() / count as f64;
    (mean(&|id| first[&id] - begun[&id]), mean(&|id| (over[&id] - first[&id]) / (output - 1).max(1) as f64))
}

fn near(what: &str, found: f64, expect: f64, percent: f64) {
    let off = (found / expect - 1.0) * 100.0;
    assert!(off.abs() <= percent, "{what}: {found:.2}, measured {expect}: {off:+.1} %");
}

#[test]
fn one_request_costs_what_was_measured() {
    let table = [
        (64, 17.5),
        (512, 24.4),
        (1_024, 32.5),
        (2_048, 49.4),
        (4_096, 85.8),
        (8_192, 169.0),
        (16_384, 338.0),
        (32_768, 677.0),
        (65_536, 1_353.0),
    ];
    for (input, expect) in table {
        near(&format!("first token of {input}"), closed_loop(1, input, 64).0, expect, 1.0);
    }
}

#[test]
fn many_at_once_cost_what_was_measured() {
    let table = [
        (1, 24.4, 5.78),
        (2, 32.5, 5.82),
        (4, 49.4, 5.90),
        (8, 85.8, 6.06),
        (16, 169.0, 6.37),
        (32, 188.0, 7.32),
        (64, 238.0, 9.11),
        (128, 332.0, 12.6),
        (256, 517.0, 19.2),
    ];
    for (concurrency, first, between) in table {
        let found = closed_loop(concurrency, 512, 512);
        near(&format!("first token at {concurrency}"), found.0, first, 6.0);
        near(&format!("between tokens at {concurrency}"), found.1, between, 6.0);
    }
    for (input, between) in [(1_024, 7.36), (4_096, 13.0), (16_384, 34.4)] {
        near(&format!("between tokens behind {input}"), closed_loop(16, input, 256).1, between, 6.0);
    }
}

fn request(at_millis: f64, input: u64, blocks: &[u64]) -> Request {
    Request { at_millis, input, output: 2, blocks: blocks.to_vec() }
}

#[test]
fn the_bound_by_hand() {
    let trace = [
        request(0.0, 1_100, &[1, 2, 3]), // nothing
        request(1.0, 1_030, &[1, 2, 4]), // 512 + 512
        request(2.0, 600, &[5, 6]),      // nothing; with 4 blocks the oldest tail, 3, and then 4 are gone
        request(3.0, 1_100, &[1, 2, 3]), // with 4 blocks: 2 and 1 are there; with 6 also the tail of 76
    ];
    let all = (1_100 + 1_030 + 600 + 1_100) as f64;
    let check = |blocks: usize, hit: u64| assert_eq!(bound::pooled_lru(&trace, blocks), hit as f64 / all, "{blocks}");
    check(0, 0);
    check(4, 1_024 + 1_024);
    check(6, 1_024 + 1_100);
    check(100, 1_024 + 1_100);
}

/// The engines and the bound know the same memory: one engine alone, one request after another, finds exactly the bound.
#[test]
fn one_engine_at_rest_finds_the_bound() {
    let mut trace = requests(Kind::Documents, 400, 1.0, 3);
    trace.iter_mut().enumerate().for_each(|(at, it)| (it.at_millis, it.output) = (at as f64 * 1e6, 1));
    for blocks in [400, 2_000] {
        let options = Options { replicas: 1, blocks, strategy: Strategy::RoundRobin, ..Options::default() };
        let summary = run(&trace, &options, |_| {});
        assert!((summary.hit - summary.bound).abs() < 0.004, "{blocks}: {} {}", summary.hit, summary.bound);
        let routed = run(&trace, &Options { strategy: Strategy::Prefix, ..options }, |_| {});
        assert!((routed.expected - routed.hit).abs() < 0.02, "the index is right about an engine: {routed:?}");
    }
}

#[test]
fn without_room_the_youngest_gives_way_and_all_end() {
    let trace: Vec<_> =
        (0..12).map(|id| Request { output: 900, ..request(0.0, 2_000, &[4 * id, 4 * id + 1]) }).collect();
    for blocks in [6, 20, 100] {
        let options = Options { replicas: 1, blocks, ..Options::default() };
        let summary = run(&trace, &options, |_| {});
        assert!(summary.completion_millis.p50 > 900.0 * 5.74, "{blocks}: {summary:?}");
    }
}

#[test]
fn the_same_twice() {
    let trace = requests(Kind::Chats, 600, 12.0, 5);
    let options = Options { gateways: 3, ..Options::default() };
    assert_eq!(run(&trace, &options, |_| {}), run(&trace, &options, |_| {}));
}

/// Traffic of every kind: the prefix where there is one, and never worse than the least loaded where there is none.
#[test]
fn every_kind_of_traffic() {
    let replay = |kind, rate, strategy| {
        let trace = requests(kind, 1_500, rate, 11);
        run(&trace, &Options { strategy, ..Options::default() }, |_| {})
    };
    for (kind, rate) in [(Kind::Chats, 16.0), (Kind::Documents, 16.0), (Kind::Hot, 30.0), (Kind::Distinct, 12.0)] {
        let [prefix, least] = [Strategy::Prefix, Strategy::LeastLoaded].map(|strategy| replay(kind, rate, strategy));
        assert!(prefix.hit >= least.hit - 0.001 && prefix.hit <= prefix.bound + 0.02, "{kind:?} {prefix:?} {least:?}");
        assert!(
            prefix.ttft_millis.mean <= 1.15 * least.ttft_millis.mean
                && prefix.completion_millis.mean <= 1.04 * least.completion_millis.mean,
            "{kind:?} {prefix:?} {least:?}"
        );
        match kind {
            Kind::Chats | Kind::Documents => assert!(prefix.hit > prefix.bound - 0.03, "{kind:?} {prefix:?}"),
            Kind::Hot | Kind::Distinct => assert!(prefix.load_variation < 0.12, "no hot spot: {kind:?} {prefix:?}"),
        }
    }
}

/// Gateways that share nothing find nearly what one finds: conversations stay where they are.
#[test]
fn eight_gateways_agree() {
    let trace = generate::side_by_side(&requests(Kind::Documents, 400, 4.0, 7), 8);
    let hit = |gateways| run(&trace, &Options { replicas: 32, gateways, ..Options::default() }, |_| {}).hit;
    let (one, eight) = (hit(1), hit(8));
    assert!(eight > one - 0.05, "{one} with one gateway, {eight} with eight");
}

#[test]
fn lines_that_are_wrong_are_named() {
    let check = |text: &str, expect: &str| match read(text.as_bytes(), |_| {}) {
        Ok(requests) => panic!("{} requests of {text}", requests.len()),
        Err(error) => assert!(error.to_string().contains(expect), "{error}"),
    };
    let good = r#"{"timestamp": 5, "input_length": 600, "output_length": 3, "hash_ids": [1, 2]}"#;
    check("", "no request");
    check("time,in,out\n", "line 1: neither");
    check(&format!("{good}\n{{\"timestamp\": 6}}\n"), "line 2: missing field");
    check(&format!("{good}\n\nnonsense\n"), "line 3: ");
    check(&format!("{good}\n{}", good.replace("600", "0")), "line 2: a prompt of 0");
    check(&format!("{good}\n{}", good.replace("600", "512")), "line 2: 2 hash_ids for 512 tokens");
    check(&format!("{good}\n{}", good.replace("5,", "-5,")), "line 2: timestamp");
    let csv = "TIMESTAMP,ContextTokens,GeneratedTokens";
    check(&format!("{csv}\n"), "no request");
    check(&format!("{csv}\n2023-11-16 18:17:03.97,1,1\n2023-11-16 18:17:03.97,1\n"), "line 3: three cells");
    check(&format!("{csv}\n2023-13-16 18:17:03.97,1,1\n"), "line 2: TIMESTAMP");
    check(&format!("{csv}\n2023-11-16 18:17:03.97,x,1\n"), "line 2: ContextTokens");
}

#[test]
fn both_formats_are_read() {
    let jsonl = "{\"timestamp\": 90, \"input_length\": 600, \"output_length\": 3, \"hash_ids\": [1, 2]}\n\
                 {\"timestamp\": 40, \"input_length\": 6, \"output_length\": 0}\n";
    let found = read(jsonl.as_bytes(), |_| {}).unwrap();
    let expect = Request { at_millis: 0.0, input: 6, output: 0, blocks: Vec::new() };
    assert_eq!(found, [expect, Request { at_millis: 50.0, input: 600, output: 3, blocks: vec![1, 2] }]);
    let csv = "\u{feff}TIMESTAMP,ContextTokens,GeneratedTokens\r\n2024-02-28 23:59:59.5000000,600,10\r\n\
               2024-03-01 00:00:00.2500000,512,8\r\n";
    let found = read(csv.as_bytes(), |_| {}).unwrap();
    assert_eq!((found[0].at_millis, found[1].at_millis), (0.0, 86_400_750.0), "a leap day lies between");
    assert_eq!((found[0].blocks.len(), found[1].blocks.len()), (2, 1));
    assert!(!found[0].blocks.contains(&found[1].blocks[0]), "every prompt is new");
}

/// The trace of the tables, where it is at hand: beside the repository, or where HOHEIT_TRACES says.
fn synthetic() -> Option<Vec<Request>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/traces");
    let folder = std::env::var_os("HOHEIT_TRACES").map_or(beside, PathBuf::from);
    let file = std::fs::File::open(folder.join("mooncake_synthetic_trace.jsonl")).ok()?;
    Some(read(std::io::BufReader::new(file), |_| {}).unwrap())
}

#[test]
fn the_synthetic_trace_has_the_bounds_of_the_tables() {
    let Some(trace) = synthetic() else { return };
    for (pooled, expect) in [(1, 0.152), (4, 0.385), (8, 0.541), (16, 0.641), (32, 0.651), (2_000, 0.651)] {
        let found = bound::pooled_lru(&trace, pooled * cost::BLOCKS_MAX);
        assert!((found - expect).abs() < 0.0006, "{pooled}: {found:.4}, in the table {expect}");
    }
}

#[test]
fn the_synthetic_trace_stands_beside_dynamo() {
    let Some(trace) = synthetic() else { return };
    let replay = |strategy| run(&trace, &Options { strategy, ..Options::default() }, |_| {});
    let turn = replay(Strategy::RoundRobin);
    near("hit of round robin", turn.hit, 0.112, 2.0);
    near("first token of round robin", turn.ttft_millis.mean, 302.0, 2.0);
    near("completion of round robin", turn.completion_millis.mean, 1_297.0, 2.0);
    let prefix = replay(Strategy::Prefix);
    assert!(prefix.hit > 0.532 && prefix.ttft_millis.mean < 165.0, "Dynamo tuned is as good: {prefix:?}");
}
