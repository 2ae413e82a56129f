//! `twin-robot`: one simulated robot as a process of its own. It ends when its input ends, like all of the twin's processes,
//! so that nobody has to look for it.

use anyhow::{Context, Result};
use clap::Parser;
use robots::sim::{Fault, Machine, Options, Sheet, run};
use robots::{Broker, RobotId};
use std::io::Read;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;
use types::UnixMillis;
use vda5050::{Names, Version};

#[derive(Parser)]
#[command(about = "A simulated robot that speaks VDA 5050 over MQTT; it ends when its standard input ends")]
struct Arguments {
    /// mqtt://HOST:PORT or mqtts://HOST:PORT
    #[arg(long)]
    broker: String,
    /// manufacturer/serialNumber
    #[arg(long)]
    robot: RobotId,
    /// 3.0 or 2.1
    #[arg(long, default_value = "3.0")]
    version: String,
    #[arg(long, default_value_t = 200.0)]
    payload_kg: f64,
    /// How long an action takes; 0 is at once.
    #[arg(long, default_value_t = 0)]
    work_ms: i64,
    /// How long an edge takes.
    #[arg(long, default_value_t = 0)]
    drive_ms: i64,
    /// The node where it stands.
    #[arg(long, default_value = "home")]
    node: String,
    /// die, silent, retriable[=TIMES], fail, other-order, impossible, old-headers, reject=ERROR_TYPE; several times.
    #[arg(long)]
    fault: Vec<Fault>,
    #[arg(long, env = "TWIN_ROBOT_USER")]
    user: Option<String>,
    #[arg(long, env = "TWIN_ROBOT_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Who signs the broker's certificate, PEM.
    #[arg(long)]
    ca: Option<std::path::PathBuf>,
    /// First word of the topics of 2.1.
    #[arg(long, default_value = "uagv")]
    interface: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let ca = arguments.ca.map(|path| std::fs::read(&path).with_context(|| format!("read {}", path.display())));
    let broker = Broker::new(&arguments.broker, arguments.user.zip(arguments.password), ca.transpose()?.as_deref())?;
    let version = Version::from_text(&arguments.version).context("version is 3.0 or 2.1")?;
    let mut sheet = Sheet::new(arguments.robot, version);
    sheet.payload_kg = arguments.payload_kg;
    sheet.work_ms = arguments.work_ms;
    sheet.drive_ms = arguments.drive_ms;
    sheet.node = arguments.node;
    sheet.faults = arguments.fault;
    let clock = Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(since.as_millis() as i64)
    });
    let (stop, stopped) = oneshot::channel();
    std::thread::spawn(move || {
        let mut nothing = Vec::new();
        // Whatever ends it, an error included, ends us.
        let _ = std::io::stdin().read_to_end(&mut nothing);
        let _ = stop.send(());
    });
    let names = Names { v2: arguments.interface, ..Names::default() };
    run(Machine::new(sheet), Options { broker, names, clock, die: || std::process::exit(9) }, stopped).await?;
    Ok(())
}
