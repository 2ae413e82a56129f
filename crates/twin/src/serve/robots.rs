//! Robots: `robots`' simulated ones, over the same broker as the site's fleet side.

use super::{ServeError, World};
use robots::Broker;
use robots::sim::{Machine, Options, Sheet, run};
use std::sync::Arc;
use tokio::sync::oneshot;
use types::UnixMillis;
use vda5050::{Names, Version};

/// So many robots at work until the twin stops.
pub async fn work(world: Arc<World>, broker: Broker, count: usize) {
    let clock = Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    });
    let mut robots = tokio::task::JoinSet::new();
    let mut stops = Vec::new();
    for number in 1..=count {
        let Ok(name) = format!("twin/r{number:02}").parse() else { continue };
        // Both versions of the protocol, one after the other.
        let version = if number % 2 == 1 { Version::V3 } else { Version::V2 };
        let (stop, stopped) = oneshot::channel();
        stops.push(stop);
        let options = Options { broker: broker.clone(), names: Names::default(), clock: clock.clone(), die: || () };
        robots.spawn(run(Machine::new(Sheet::new(name, version)), options, stopped));
    }
    let mut stopping = world.stopping();
    let mut told = false;
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop), if !told => {
                told = true;
                for stop in stops.drain(..) {
                    // One that is dead already needs no word.
                    let _told = stop.send(());
                }
            }
            ended = robots.join_next() => match ended {
                None => return,
                Some(Ok(Err(error))) => world.complain(&ServeError::Robot(error.to_string())),
                Some(_) => {}
            },
        }
    }
}
