//! Carries a simulated robot over MQTT: last will, online, orders in, states out.

use super::machine::{Do, Machine};
use crate::broker::Broker;
use crate::connection::{Connection, ConnectionError, Incoming, Will};
use crate::link::Clock;
use std::time::Duration;
use tokio::sync::oneshot;
use vda5050::{Names, Topic};

/// Before it connects again.
const AGAIN: Duration = Duration::from_millis(200);

pub struct Options {
    pub broker: Broker,
    pub names: Names,
    pub clock: Clock,
    /// What `Die` does: a process ends itself, a test drops the connection.
    pub die: fn(),
}

/// Runs until `stop` says so (then it goes offline politely) or the robot dies.
pub async fn run(
    mut machine: Machine,
    options: Options,
    mut stop: oneshot::Receiver<()>,
) -> Result<(), ConnectionError> {
    loop {
        let connected = connected(&mut machine, &options, &mut stop).await;
        match connected {
            Ok(End::Stopped | End::Dead) => return Ok(()),
            Ok(End::Again) | Err(ConnectionError::Io(_) | ConnectionError::Silent | ConnectionError::Slow) => {}
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            _ = &mut stop => return Ok(()),
        }
    }
}

enum End {
    Stopped,
    Dead,
    Again,
}

async fn connected(
    machine: &mut Machine,
    options: &Options,
    stop: &mut oneshot::Receiver<()>,
) -> Result<End, ConnectionError> {
    let sheet = machine.sheet().clone();
    let name = |topic: Topic| options.names.write(sheet.version, &sheet.robot, topic);
    let now = || (options.clock)();
    let will = Will { topic: name(Topic::Connection), payload: machine.will(now()) };
    let client_id = format!("robot-{}-{}", sheet.robot.manufacturer(), sheet.robot.serial());
    let mut connection = Connection::open(&options.broker, &client_id, Some(will)).await?;
    let told = [Topic::Order, Topic::InstantActions, Topic::Responses];
    connection.subscribe(told.map(|topic| (name(topic), 0)).to_vec())?;
    loop {
        let wait = Duration::from_millis((machine.wake_at().0 - now().0).max(0) as u64);
        let doing = tokio::select! {
            incoming = connection.next() => match incoming? {
                // Only now can an order come.
                Incoming::Subscribed => machine.hello(now()),
                Incoming::Message { topic, payload, .. } => match options.names.read(&topic) {
                    Some((_, _, topic)) => machine.hear(topic, &payload, now()),
                    None => Vec::new(),
                },
                Incoming::Oversized { .. } | Incoming::SubscriptionRefused => Vec::new(),
            },
            () = tokio::time::sleep(wait), if machine.greeted() => machine.tick(now()),
            _ = &mut *stop => {
                let (offline, topic) = (machine.goodbye(now()), name(Topic::Connection));
                connection.publish(topic, Topic::Connection.qos(), true, offline)?;
                // A broker that does not answer publishes the will.
                let _ = connection.close().await;
                return Ok(End::Stopped);
            }
        };
        for it in doing {
            match it {
                Do::Publish(topic, json) => connection.publish(name(topic), topic.qos(), topic.retained(), json)?,
                Do::Reconnect => {
                    connection.drain().await?;
                    return Ok(End::Again);
                }
                Do::Die => {
                    connection.drain().await?;
                    (options.die)();
                    return Ok(End::Dead);
                }
            }
        }
    }
}
