//! Many BMCs at once: bounded, each by itself, nobody waiting for a slow one.
//!
//! One sweep asks everybody who is due, once. Who failed comes back with a [`Backoff`]; the caller keeps it and sweeps again.
//! Arithmetic for 1,250 machines at 0.53 s a request, [`CONCURRENCY`] at a time: a glance of 7 requests is 3.7 s, the sweep
//! 1,250 x 3.7 / 256 = 18 s; an inventory of 220 requests over 2 lanes is 58 s, the sweep 1,250 x 58 / 256 = 284 s, so it fits
//! into five minutes even where no BMC expands collections; where they do it takes a fifth.

use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::Error;
use crate::glance::Glance;
use crate::inventory::{Layout, Reading};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::pin;
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep};
use types::UnixMillis;

/// BMCs asked at a time. Each costs two connections and, at worst, two bodies under way: 8 MiB, so 2 GiB if all 256 lie at once;
/// 0.1 MB each if they are honest.
pub const CONCURRENCY: usize = 256;

/// After this long a BMC counts as slow and no longer takes a place from the others: half of all should have answered an
/// inventory with `$expand` by then.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Slow ones beside the others. With more of them some wait; so many at once are a broken switch, and a broken switch answers
/// nothing, which takes [`crate::limits::CONNECT_TIMEOUT`] each and not [`PATIENCE`].
pub const SLOW_MAX: usize = 256;

/// What is asked of a BMC.
#[derive(Debug, Clone)]
pub enum Want {
    Inventory,
    Glance(Layout),
}

/// What it said.
#[derive(Debug, Clone)]
pub enum Seen {
    Inventory(Box<Reading>),
    Glance(Box<Glance>),
}

/// A BMC to ask. Keep the client from sweep to sweep, and its connections are used again.
#[derive(Clone)]
pub struct Target {
    /// Comes back in the report; nothing is done with it.
    pub name: String,
    pub client: Client,
    pub want: Want,
    pub backoff: Backoff,
}

pub struct Report {
    pub name: String,
    pub result: Result<Seen, Error>,
    pub backoff: Backoff,
    pub took: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub concurrency: usize,
    pub patience: Duration,
    pub slow_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { concurrency: CONCURRENCY, patience: PATIENCE, slow_max: SLOW_MAX }
    }
}

/// Places for work on BMCs: so many at a time, and beside them the slow ones, which no longer take a place from the others.
#[derive(Debug, Clone)]
pub struct Places {
    places: Arc<Semaphore>,
    aside: Arc<Semaphore>,
    patience: Duration,
}

impl Places {
    pub fn new(options: &Options) -> Places {
        Places {
            places: Arc::new(Semaphore::new(options.concurrency.max(1))),
            aside: Arc::new(Semaphore::new(options.slow_max)),
            patience: options.patience,
        }
    }

    /// Begins `work` when there is a place for it; answers what came of it, and how long it took from then on.
    pub async fn work<T>(&self, work: impl Future<Output = T>) -> (T, Duration) {
        let place = self.places.acquire().await;
        let begin = Instant::now();
        pin!(work);
        let result = tokio::select! {
            result = &mut work => result,
            () = sleep(self.patience) => {
                let _aside = self.aside.try_acquire();
                if _aside.is_ok() {
                    drop(place);
                }
                work.await
            }
        };
        (result, begin.elapsed())
    }
}

/// What a sweep came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub answered: usize,
    pub failed: usize,
    /// Not due yet.
    pub skipped: usize,
}

/// Asks all that are due; `each` gets a report as soon as there is one. Dropped in the middle, all requests end.
pub async fn sweep(
    mut targets: Vec<Target>,
    options: &Options,
    clock: impl Fn() -> UnixMillis,
    mut dice: impl FnMut() -> u64,
    mut each: impl FnMut(Report),
) -> Summary {
    let mut summary = Summary::default();
    let begin = clock();
    let before = targets.len();
    targets.retain(|target| target.backoff.is_due(begin));
    summary.skipped = before - targets.len();
    // The well ones first.
    targets.sort_by_key(|target| target.backoff.failures);
    let places = Places::new(options);
    let mut names: HashMap<Id, (String, Backoff)> = HashMap::with_capacity(targets.len());
    let mut asked = JoinSet::new();
    for Target { name, client, want, backoff } in targets {
        let places = places.clone();
        let handle = asked.spawn(async move { places.work(ask(&client, &want)).await });
        names.insert(handle.id(), (name, backoff));
    }
    while let Some(ended) = asked.join_next_with_id().await {
        let (id, (result, took)) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), (Err(Error::Broken(format!("asking it failed: {error}"))), Duration::ZERO)),
        };
        let Some((name, backoff)) = names.remove(&id) else { continue };
        let backoff = match &result {
            Ok(_) => Backoff::succeeded(),
            Err(error) => backoff.failed(clock(), error.retry(), dice()),
        };
        match result.is_ok() {
            true => summary.answered += 1,
            false => summary.failed += 1,
        }
        each(Report { name, result, backoff, took });
    }
    summary
}

/// Asks one BMC.
pub async fn ask(client: &Client, want: &Want) -> Result<Seen, Error> {
    match want {
        Want::Inventory => client.inventory().await.map(|reading| Seen::Inventory(Box::new(reading))),
        Want::Glance(layout) => client.glance(layout).await.map(|glance| Seen::Glance(Box::new(glance))),
    }
}
