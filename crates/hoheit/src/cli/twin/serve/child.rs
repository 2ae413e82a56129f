//! The site that the twin starts for itself: `hoheit up` as a process of its own, so that what it costs can be told apart.
//!
//! It is ended with the twin. If the twin is killed (SIGKILL), the site goes on by itself in its folder, and somebody ends it.

use crate::cli::Failure;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to stop before it is killed; it ships and seals what it has.
const STOP_MAX: Duration = Duration::from_secs(30);

/// A running site.
pub struct Child {
    process: std::process::Child,
    data: PathBuf,
    /// Whether the folder goes with it.
    passing: bool,
    pub url: String,
    /// Where its agents connect.
    pub agents: String,
}

/// What a process used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    pub resident_mib: u64,
}

/// Of a process by its id, or of `self`.
pub fn usage(process: &str) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it may hold anything; utime and stime are the 12th and 13th field after it, in hundredths.
    let fields = stat.rsplit_once(") ")?.1;
    let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident_kib: u64 = resident.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(Usage { cpu: Duration::from_millis(ticks * 10), resident_mib: resident_kib / 1_024 })
}

/// The admin token of a site by its folder.
pub fn token(data: &Path) -> Result<String, Failure> {
    let path = data.join("admin-token");
    let read = fs::read_to_string(&path);
    read.map(|token| token.trim().to_owned()).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

impl Child {
    pub fn start(data: Option<&Path>, listen: SocketAddr, mqtt_url: Option<&str>) -> Result<Child, Failure> {
        let (data, passing) = match data {
            Some(data) => (data.to_owned(), false),
            None => (std::env::temp_dir().join(format!("hoheit-twin-{}", std::process::id())), true),
        };
        let failed = |path: &Path, error: std::io::Error| Failure::failed(format!("{}: {error}", path.display()));
        fs::create_dir_all(&data).map_err(|error| failed(&data, error))?;
        let path = data.join("hoheit.log");
        let log = File::options().create(true).append(true).open(&path).map_err(|error| failed(&path, error))?;
        let program = std::env::current_exe().map_err(|error| failed(Path::new("hoheit"), error))?;
        let mut command = Command::new(program);
        command.args(["up", "--no-model", "--bmc-plain-on-loopback", "--agents", "127.0.0.1:0"]);
        command.arg("--listen").arg(listen.to_string()).arg("--data").arg(&data);
        if let Some(url) = mqtt_url {
            command.args(["--mqtt-url", url]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut process = command.spawn().map_err(|error| failed(Path::new("hoheit up"), error))?;
        let stdout = process.stdout.take();
        let mut child = Child { process, data, passing, url: String::new(), agents: String::new() };
        let mut lines = stdout.map(BufReader::new).into_iter().flat_map(BufRead::lines);
        while child.url.is_empty() || child.agents.is_empty() {
            let Some(Ok(line)) = lines.next() else {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let last = text.lines().last().unwrap_or("it said nothing").to_owned();
                return Err(Failure::failed(format!("`hoheit up` did not start: {last}"))
                    .hint("another --listen (port 0 takes a free one), or another --data"));
            };
            let after = |mark: &str| line.split_once(mark).map(|(_, rest)| rest.trim().to_owned());
            if let Some(url) = after("serves on ") {
                child.url = url;
            } else if let Some(agents) = after("agents        ") {
                child.agents = agents;
            }
        }
        // It may print more; a full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(child)
    }

    pub fn folder(&self) -> String {
        self.data.display().to_string()
    }

    pub fn token(&self) -> Result<String, Failure> {
        token(&self.data)
    }

    pub fn usage(&self) -> Option<Usage> {
        usage(&self.process.id().to_string())
    }

    /// As an operator ends it, and waits.
    pub fn stop(mut self) -> Result<(), Failure> {
        if let Some(id) = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _gone = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let begin = Instant::now();
        while begin.elapsed() < STOP_MAX {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(Failure::failed(format!("`hoheit up` ended with {status}"))),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Err(Failure::failed(format!("`hoheit up` did not stop within {} s and was killed", STOP_MAX.as_secs())))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nothing happens to one that has ended.
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
        if self.passing {
            let _left = fs::remove_dir_all(&self.data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_used() {
        let own = usage("self").unwrap();
        assert!(own.resident_mib > 0 && own.cpu < Duration::from_secs(3_600), "{own:?}");
        assert!(usage("0").is_none());
    }
}
