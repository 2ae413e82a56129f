//! Many BMCs at once: slow ones hold up nobody, failed ones are left alone for a while.

use crate::fixture::{bmc, client_of, shape};
use redfish::backoff::Backoff;
use redfish::fake::{Bmc, Misdeed, Options, Server};
use redfish::sweep::{self, Report, Summary, Target, Want, sweep};
use redfish::{Layout, Limits};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use types::UnixMillis;

async fn site(count: usize) -> (Vec<Arc<Bmc>>, Server, Vec<Target>) {
    let tree = Arc::new(shape().tree());
    let bmcs: Vec<_> = (0..count).map(|n| bmc(&tree, &format!("S{n}"))).collect();
    let server = Server::start(bmcs.clone(), Options::default()).await.unwrap();
    let target = |n: usize| Target {
        name: format!("m{n}"),
        client: client_of(&server.url(n), Limits::default()),
        want: Want::Glance(Layout::default()),
        backoff: Backoff::default(),
    };
    let targets = (0..count).map(target).collect();
    (bmcs, server, targets)
}

/// Two places, and two BMCs that never answer come first: the others are asked all the same, and only then do the two begin
/// to answer. Without the place aside this sweep would not end.
#[tokio::test]
async fn slow_ones_hold_up_nobody() {
    let (bmcs, _server, targets) = site(12).await;
    bmcs[..2].iter().for_each(|bmc| bmc.misbehave("/redfish/v1/Chassis", Misdeed::Hang));
    let targets = targets
        .into_iter()
        .enumerate()
        .map(|(n, target)| if n < 2 { Target { want: Want::Inventory, ..target } } else { target })
        .collect();
    let options = sweep::Options { concurrency: 2, patience: Duration::from_millis(50), slow_max: 2 };
    let done = AtomicUsize::new(0);
    let sweeping = sweep(
        targets,
        &options,
        || UnixMillis(0),
        || 0,
        |_| {
            done.fetch_add(1, Ordering::Relaxed);
        },
    );
    tokio::pin!(sweeping);
    // Ends when ten have answered, which is while two hang.
    loop {
        tokio::select! {
            _ = &mut sweeping => panic!("two of them hang"),
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
        if done.load(Ordering::Relaxed) == 10 {
            break;
        }
    }
}

#[tokio::test]
async fn who_failed_is_asked_later() {
    let (bmcs, _server, targets) = site(3).await;
    bmcs[1].misbehave("", Misdeed::Status(503));
    bmcs[2].misbehave("", Misdeed::Status(401));
    let now = Mutex::new(UnixMillis(1_000_000));
    let clock = || *now.lock().unwrap();
    let options = sweep::Options::default();
    let mut backoffs = vec![Backoff::default(); 3];
    let round = async |backoffs: &mut Vec<Backoff>| {
        let due = targets.iter().zip(backoffs.iter());
        let due = due.map(|(target, backoff)| Target { backoff: *backoff, ..target.clone() }).collect();
        let keep = |report: Report| backoffs[report.name[1..].parse::<usize>().unwrap()] = report.backoff;
        sweep(due, &options, clock, || 0, keep).await
    };
    assert_eq!(round(&mut backoffs).await, Summary { answered: 1, failed: 2, skipped: 0 });
    assert_eq!(backoffs[1].not_before, UnixMillis(1_005_000));
    assert_eq!(backoffs[2].not_before, UnixMillis(1_900_000), "nobody's account is locked by us");
    let before = bmcs[1].requests();
    assert_eq!(round(&mut backoffs).await, Summary { answered: 1, failed: 0, skipped: 2 });
    assert_eq!(bmcs[1].requests(), before);
    *now.lock().unwrap() = UnixMillis(1_005_000);
    bmcs[1].behave();
    assert_eq!(round(&mut backoffs).await, Summary { answered: 2, failed: 0, skipped: 1 });
    assert_eq!(backoffs[1], Backoff::default());
}

/// Of twenty that never answer three are asked. Without the bound all twenty are, before the third has been waited for.
#[tokio::test]
async fn concurrency_is_bounded() {
    let (bmcs, _server, targets) = site(20).await;
    bmcs.iter().for_each(|bmc| bmc.misbehave("", Misdeed::Hang));
    let asked = || bmcs.iter().filter(|bmc| bmc.requests() > 0).count();
    let options = sweep::Options { concurrency: 3, ..sweep::Options::default() };
    let sweeping = sweep(targets, &options, || UnixMillis(0), || 0, |_| ());
    let watching = async {
        while asked() < 3 {
            tokio::task::yield_now().await;
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = sweeping => panic!("they hang"),
        () = watching => {}
    }
    assert_eq!(asked(), 3);
}
