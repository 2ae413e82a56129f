//! What a site costs: `swarm serve N` is the site with a desk in memory, `swarm load N SECONDS` are N agents against it, each in a
//! process of its own so that the CPU time of either is its own. They meet in a folder: `swarm serve` writes the address and the
//! tokens there.
//!
//! ```sh
//! cargo run --release -p agent --example swarm -- serve /tmp/swarm 1250 &
//! cargo run --release -p agent --example swarm -- load /tmp/swarm 60
//! ```

use agent::ca::Authority;
use agent::clock::{Clock, SystemClock};
use agent::desk::MemoryDesk;
use agent::link::Address;
use agent::site::{Limits, Site};
use agent::swarm::{Member, healthy};
use agent::token::Token;
use agent::wire::REPORT_EVERY_MS;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use types::{MachineId, UnixMillis};

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// CPU seconds and the memory of a process, from /proc.
fn usage(pid: &str) -> Option<(f64, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().split(' ').next()?.parse().ok()?;
    Some((ticks / 100.0, rss))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", folder, agents] => serve(Path::new(folder), agents.parse()?).await,
        ["load", folder, seconds] => load(Path::new(folder), seconds.parse()?).await,
        _ => Err("swarm serve FOLDER AGENTS | swarm load FOLDER SECONDS".into()),
    }
}

async fn serve(folder: &Path, agents: u128) -> Outcome {
    std::fs::create_dir_all(folder)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (authority, _) = Authority::make("measured", clock.clone())?;
    let site = Site::new(MemoryDesk::default(), authority, vec!["127.0.0.1".into()], Limits::default(), clock);
    let mut lines = Vec::new();
    for machine in 1..=agents {
        let token = site.make_token();
        site.desk().expect(&token, MachineId(machine), None, UnixMillis(i64::MAX));
        lines.push(token.text());
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    std::fs::write(folder.join("tokens"), lines.join("\n"))?;
    std::fs::write(folder.join("pid"), std::process::id().to_string())?;
    std::fs::write(folder.join("address"), format!("https://{}", listener.local_addr()?))?;
    let stopped = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    agent::site::serve(site.clone(), listener, stopped).await?;
    let desk = site.desk().look();
    println!("site: {} reports, {} of them full, {} findings", desk.reports, desk.full_reports, desk.findings.len());
    Ok(())
}

async fn load(folder: &Path, seconds: u64) -> Outcome {
    let address = Address::parse(&std::fs::read_to_string(folder.join("address"))?)?;
    let pid = std::fs::read_to_string(folder.join("pid"))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let begun = std::time::Instant::now();
    let before = usage(&pid).ok_or("no such site")?;
    let mut members = Vec::new();
    for (at, line) in std::fs::read_to_string(folder.join("tokens"))?.lines().enumerate() {
        let serial = format!("S{at:05}");
        let mut member =
            Member::enrol(&address, &Token::parse(line)?, &serial, healthy(8, &serial), clock.clone()).await?;
        member.report().await?;
        members.push(member);
    }
    let (cpu, rss) = usage(&pid).ok_or("the site is gone")?;
    let count = members.len();
    println!(
        "{count} agents enrolled and reported in full in {:.1} s; site: {:.2} CPU s, {} MiB",
        begun.elapsed().as_secs_f64(),
        cpu - before.0,
        rss / 1024
    );
    let every = Duration::from_millis(REPORT_EVERY_MS);
    let start = tokio::time::Instant::now();
    let end = start + Duration::from_secs(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for (at, mut member) in members.into_iter().enumerate() {
        tasks.spawn(async move {
            // Spread over the interval, as real ones are.
            let mut next = start + every.mul_f64(at as f64 / count as f64);
            let mut reports = 0u64;
            while next < end {
                tokio::time::sleep_until(next).await;
                // One of a hundred reports has something new: a full state goes over.
                if (reports + at as u64).is_multiple_of(100)
                    && let Some(gpu) = member.state.gpus.values_mut().next()
                {
                    gpu.ecc_corrected += 1;
                }
                member.report().await?;
                reports += 1;
                next += every;
            }
            Ok::<_, agent::enrol::EnrolError>((reports, member.connects()))
        });
    }
    let (mut reports, mut connects) = (0, 0);
    while let Some(ended) = tasks.join_next().await {
        let (more, opened) = ended??;
        reports += more;
        connects += opened;
    }
    let took = start.elapsed().as_secs_f64();
    let after = usage(&pid).ok_or("the site is gone")?;
    let used = after.0 - cpu;
    println!(
        "steady: {reports} reports in {took:.1} s ({:.1}/s), {connects} connections; site: {used:.2} CPU s = {:.2} % of a core, {:.0} us a report, {} MiB",
        reports as f64 / took,
        100.0 * used / took,
        1e6 * used / reports as f64,
        after.1 / 1024
    );
    Ok(())
}
