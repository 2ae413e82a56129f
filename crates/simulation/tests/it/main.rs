//! Many seeds, and that a seed says everything. A failing seed prints the command that repeats it, and becomes a line of
//! `FAILED_ONCE`.

use simulation::check::Tally;
use simulation::{ORDINARY, Size, run};

/// What continuous integration runs: 100 runs of 1,020 requests, in four parts so that the runner's processes share them.
const SEEDS_A_PART: u64 = 25;

/// Seeds that showed a mistake once, with what it was. They run first, always.
const FAILED_ONCE: [u64; 0] = [];

fn all_hold(seeds: impl IntoIterator<Item = u64>) -> Tally {
    let mut sum = Tally::default();
    for seed in seeds {
        let report = run(seed, ORDINARY);
        assert!(
            report.broken.is_empty(),
            "seed {seed} breaks an invariant; repeat it with: cargo xtask simulate --seeds 1 --from {seed} --trace\n{}",
            report.broken.join("\n")
        );
        sum.add(&report.tally);
    }
    println!("{sum:?}");
    sum
}

fn part(number: u64) {
    let sum = all_hold(number * SEEDS_A_PART..(number + 1) * SEEDS_A_PART);
    assert_eq!(sum.requests, SEEDS_A_PART * ORDINARY.requests_in_all());
    // A run in which nothing goes wrong, or nothing goes well, shows nothing.
    assert!(sum.crashes > SEEDS_A_PART && sum.faults > 10 * SEEDS_A_PART, "{sum:?}");
    assert!(sum.marked > SEEDS_A_PART, "no watermark counted in a crash: {sum:?}");
    assert!(sum.completed > sum.requests / 5 && sum.unresolved > SEEDS_A_PART && sum.refused > SEEDS_A_PART, "{sum:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let size = Size { requests: 4, ..ORDINARY };
    for seed in [1, 2] {
        let (first, second) = (run(seed, size).trace, run(seed, size).trace);
        let apart = first.lines().zip(second.lines()).enumerate().find(|(_, (first, second))| first != second);
        assert_eq!(apart, None, "seed {seed}");
        assert_eq!(first, second, "seed {seed}: one trace is longer");
        assert!(first.lines().count() as u64 > size.requests_in_all());
    }
    assert_ne!(run(1, size).trace, run(2, size).trace);
}

#[test]
fn a_disk_that_does_not_sync_is_found_out() {
    // The negative control: checks that cannot fail show nothing.
    let size = Size { lying_disk: true, ..ORDINARY };
    assert!((0..4).any(|seed| !run(seed, size).broken.is_empty()));
}

#[test]
fn what_failed_once_holds() {
    all_hold(FAILED_ONCE);
}

#[test]
fn seeds_part_0() {
    part(0);
}

#[test]
fn seeds_part_1() {
    part(1);
}

#[test]
fn seeds_part_2() {
    part(2);
}

#[test]
fn seeds_part_3() {
    part(3);
}
