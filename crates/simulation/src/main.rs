//! `simulate --seeds N [--from S] [--trace]`: the long run. Prints every seed that breaks an invariant and goes on;
//! `cargo xtask simulate` is the way to it.

use simulation::check::Tally;
use simulation::{ORDINARY, run};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How often a long run says how far it is.
const SEEDS_A_LINE: u64 = 50;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|it| it == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (seeds, from) = (number("--seeds", 100), number("--from", 0));
    let trace = arguments.iter().any(|it| it == "--trace");
    let begin = Instant::now();
    let (next, broken, sum) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(Tally::default()));
    let work = || {
        loop {
            let done = next.fetch_add(1, Ordering::Relaxed);
            if done >= seeds {
                return;
            }
            let seed = from + done;
            let report = run(seed, ORDINARY);
            if trace {
                println!("{}", report.trace);
            }
            if !report.broken.is_empty() {
                broken.fetch_add(1, Ordering::Relaxed);
                println!("seed {seed} breaks (cargo xtask simulate --seeds 1 --from {seed} --trace):");
                report.broken.iter().for_each(|line| println!("  {line}"));
            }
            sum.lock().expect("nobody panics with it").add(&report.tally);
            if (done + 1).is_multiple_of(SEEDS_A_LINE) {
                println!("{} seeds, {} s", done + 1, begin.elapsed().as_secs());
            }
        }
    };
    // A run is one thread; runs know nothing of each other.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let broken = broken.into_inner();
    println!("{:?}", sum.into_inner().expect("nobody panics with it"));
    println!("{seeds} seeds from {from}, {broken} broken, {} s", begin.elapsed().as_secs());
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
