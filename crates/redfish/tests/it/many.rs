//! A site's worth of BMCs, as slow as a real one: `cargo test --release -p redfish -- --ignored many --nocapture`.

use crate::fixture::{bmc, client_of};
use redfish::backoff::Backoff;
use redfish::fake::{Options, Server, Shape};
use redfish::sweep::{self, Seen, Target, Want, sweep};
use redfish::{Layout, Limits};
use std::sync::Arc;
use std::time::{Duration, Instant};
use types::UnixMillis;

const MACHINES: usize = 1_250;

/// As captured: at least 0.195 s, 0.526 s on average, and one in a thousand of 20.9 s.
fn latency(bmc: usize, request: u64) -> Duration {
    let mut dice = (bmc as u64) << 32 | request;
    for _ in 0..2 {
        dice = (dice ^ (dice >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    let uniform = ((dice >> 11) as f64 / (1u64 << 53) as f64).max(1e-9);
    match uniform < 0.001 {
        true => Duration::from_millis(20_947),
        false => Duration::from_secs_f64(0.195 + 0.311 * -uniform.ln()),
    }
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat.rsplit(')').next().unwrap().split(' ').filter_map(|field| field.parse().ok()).collect();
    fields.get(10..12).map_or(0.0, |ticks| (ticks[0] + ticks[1]) / 100.0)
}

async fn measure(expands: bool) {
    let tree = Arc::new(Shape { expands, ..Shape::dgx_b200() }.tree());
    let bmcs: Vec<_> = (0..MACHINES).map(|n| bmc(&tree, &format!("S{n}"))).collect();
    let options = Options { latency: Some(Arc::new(latency)), ..Options::default() };
    let server = Server::start(bmcs, options).await.unwrap();
    let mut targets: Vec<Target> = (0..MACHINES)
        .map(|n| Target {
            name: n.to_string(),
            client: client_of(&server.url(n), Limits::default()),
            want: Want::Inventory,
            backoff: Backoff::default(),
        })
        .collect();
    let mut layouts = vec![Layout::default(); MACHINES];
    for round in ["inventory", "glance"] {
        let (begin, cpu) = (Instant::now(), cpu_seconds());
        let (mut requests, mut bytes, mut longest) = (0_u64, 0, Duration::ZERO);
        let options = sweep::Options::default();
        let summary = sweep(
            targets.clone(),
            &options,
            || UnixMillis(0),
            || 0,
            |report| {
                longest = longest.max(report.took);
                match report.result.unwrap() {
                    Seen::Inventory(reading) => {
                        assert_eq!((reading.inventory.parts.len(), reading.gaps.len()), (70, 0));
                        layouts[report.name.parse::<usize>().unwrap()] = reading.layout;
                        (requests, bytes) = (requests + u64::from(reading.requests), bytes + reading.bytes);
                    }
                    Seen::Glance(glance) => {
                        (requests, bytes) = (requests + u64::from(glance.requests), bytes + glance.bytes);
                    }
                }
            },
        );
        let summary = summary.await;
        println!(
            "{round}, $expand {expands}: {} machines in {:.1} s, {requests} requests, {} kB, longest {:.1} s, CPU with the fake {:.1} s",
            summary.answered,
            begin.elapsed().as_secs_f64(),
            bytes / 1_000,
            longest.as_secs_f64(),
            cpu_seconds() - cpu
        );
        assert_eq!(summary.answered, MACHINES);
        assert!(begin.elapsed() < Duration::from_secs(300), "five minutes were promised");
        for (target, layout) in targets.iter_mut().zip(&layouts) {
            target.want = Want::Glance(layout.clone());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes, by design; needs 4,000 files"]
async fn many_with_expansion() {
    measure(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes, by design; needs 4,000 files"]
async fn many_by_member() {
    measure(false).await;
}
