//! Seeds.

#[test]
fn one() {
    for seed in 0..3 {
        let start = std::time::Instant::now();
        let report = simulation::run(seed, simulation::ORDINARY);
        eprintln!("{seed} {:?} {:?}", start.elapsed(), report.tally);
        for line in report.broken.iter().take(10) { eprintln!("  {line}"); }
        std::fs::write(format!("/tmp/hoheit/sim-trace-{seed}"), &report.trace).unwrap();
    }
}
