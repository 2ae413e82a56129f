//! The figures that the documents and the command show.

use super::*;

#[test]
fn the_papers_overload_case_is_reproduced() {
    let outcomes = tenants(MINUTES);
    let [fcfs, vtc] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert!((150_000..165_000).contains(&fcfs.gap_max), "{fcfs:?}");
    assert!(vtc.gap_max <= 8_000, "{vtc:?}");
    // Fairness costs no throughput.
    assert!(vtc.service_total.abs_diff(fcfs.service_total) * 100 <= fcfs.service_total, "{vtc:?} {fcfs:?}");
    assert!((475_000..490_000).contains(&vtc.service_total), "{vtc:?}");
    assert_eq!(BOUND, 40_000, "as in the paper");
    assert_eq!(outcomes, tenants(MINUTES), "the same input gives the same output");
}

#[test]
fn somebody_at_a_keyboard_hardly_notices_the_nights_batch() {
    let outcomes = classes();
    let [alone, fcfs, vtc, with_classes] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    let p99 = |outcome: &Outcome| outcome.ttft_p99_millis;
    assert!(p99(alone) < p99(with_classes) && p99(with_classes) < p99(vtc) && p99(vtc) < p99(fcfs), "{outcomes:#?}");
    // What classes bring beside no protection, in the table to beat (llm-d batch-gateway #491): 941 ms to 330.
    assert!(p99(with_classes) * 941.0 < p99(fcfs) * 330.0, "{outcomes:#?}");
    assert!(p99(with_classes) * 3.0 < p99(vtc), "{outcomes:#?}");
    // It costs the batch next to nothing.
    assert!(with_classes.completed[1] * 100 >= fcfs.completed[1] * 95, "{outcomes:#?}");
}
