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

#[cfg(test)]
mod tests {
    use super::super::api::Api;
    use super::*;
    use std::process::{Child, Command, Stdio};
    use vda5050::session::{Presence, View};

    const PROGRAM: &str = "/usr/sbin/mosquitto";

    /// Killed when dropped.
    struct Mosquitto(Child);

    impl Drop for Mosquitto {
        fn drop(&mut self) {
            let _gone = self.0.kill();
            let _reaped = self.0.wait();
        }
    }

    /// As the site sees them: both versions of the protocol, one after the other, free for work; and gone politely at the end.
    #[tokio::test]
    async fn robots_are_at_the_broker_until_the_twin_stops() {
        if !std::path::Path::new(PROGRAM).exists() {
            eprintln!("skipped: no {PROGRAM} (apt-get install mosquitto)");
            return;
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mosquitto.conf");
        let text = format!("listener {} 127.0.0.1\npersistence false\nuser root\nallow_anonymous true\n", free.port());
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let _mosquitto = Mosquitto(command.spawn().unwrap());
        while tokio::net::TcpStream::connect(free).await.is_err() {
            tokio::task::yield_now().await;
        }
        let broker = Broker::new(&format!("mqtt://{free}"), None, None).unwrap();
        let options = robots::Options {
            broker: broker.clone(),
            client_id: "site".to_owned(),
            rules: Default::default(),
            robots: Vec::new(),
            clock: Arc::new(|| {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
                UnixMillis(since.as_millis() as i64)
            }),
        };
        let (link, mut reports) = robots::start(options, Default::default()).unwrap();
        let _heard = tokio::spawn(async move { while reports.recv().await.is_some() {} });
        let world = Arc::new(World {
            api: Api::new("http://127.0.0.1:1").unwrap(),
            token: String::new(),
            agents: agent::link::Address::parse("https://127.0.0.1").unwrap(),
            irons: Vec::new(),
            by_slot: Default::default(),
            ids: Vec::new(),
            has_robots: true,
            stop: tokio::sync::watch::Sender::new(false),
            tally: Default::default(),
            orders: Default::default(),
            complaints: Default::default(),
        });
        let working = tokio::spawn(work(world.clone(), broker, 2));
        let until = async |so: fn(&View) -> bool| {
            loop {
                let views = link.views();
                if views.len() == 2 && views.iter().all(so) {
                    return views;
                }
                tokio::task::yield_now().await;
            }
        };
        let views = until(View::free).await;
        let seen: Vec<_> = views.iter().map(|view| (view.robot.to_string(), view.version)).collect();
        assert_eq!(seen, [("twin/r01".to_owned(), Version::V3), ("twin/r02".to_owned(), Version::V2)]);
        world.stop.send_replace(true);
        working.await.unwrap();
        until(|view| view.presence == Presence::Offline).await;
        assert!(world.complaints.lock().unwrap().is_empty());
    }
}
