//! Runs a suite: one test after another, each within its time.

use super::builtin::{self, Measured};
use super::dcgm;
use super::suite::{Builtin, Suite, Test};
use crate::report::last;
use crate::wire::TEXT_MAX;
use fleet::observed::{TestOutcome, TestResult};
use rustix::process::{Pid, Signal, kill_process_group};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::Instant;

/// Of what a test prints this much is kept while it runs; DCGM's JSON for eight GPUs is about 60 kB.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// Where tests run.
#[derive(Debug, Clone)]
pub struct Place {
    /// For the disk checks.
    pub folder: PathBuf,
    /// Tests above are left out.
    pub level: u8,
}

/// Runs all of a suite; `each` hears of every result as it comes.
pub async fn run(suite: &Suite, place: &Place, mut each: impl FnMut(&TestResult)) -> Vec<TestResult> {
    let mut results = Vec::new();
    for test in suite.tests.iter().filter(|it| it.level <= place.level) {
        let begun = Instant::now();
        let (outcome, value) = one(test, place).await;
        let result = TestResult {
            name: test.name.clone(),
            outcome,
            threshold: test.threshold.as_ref().map(|it| it.text.clone()).unwrap_or_default(),
            value: last(&value, TEXT_MAX),
            millis: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        each(&result);
        results.push(result);
    }
    results
}

async fn one(test: &Test, place: &Place) -> (TestOutcome, String) {
    let missing = test.needs.iter().find(|need| !is_there(need));
    if let Some(need) = missing {
        return skipped(test, need);
    }
    let limit = Duration::from_secs(test.timeout_s);
    match (&test.builtin, &test.command) {
        (Some(Builtin::Dcgm), _) if !is_there("dcgmi") => skipped(test, "dcgmi"),
        (Some(Builtin::Dcgm), _) => {
            let level = test.size.clamp(1, 4).to_string();
            let command = ["dcgmi", "diag", "-r", &level, "-j"].map(str::to_owned);
            match execute(&command, limit).await {
                Ended::Out(status, text) => dcgm::judge(&text, status),
                other => other.outcome(),
            }
        }
        (Some(check), _) => builtin_within(*check, test, place, limit).await,
        (None, Some(command)) => match execute(command, limit).await {
            Ended::Out(true, text) => judge(test, number(&text), text),
            other => other.outcome(),
        },
        (None, None) => (TestOutcome::Failed, "the test says nothing to do".into()),
    }
}

/// Not here: fails the machine unless the suite allows it.
fn skipped(test: &Test, need: &str) -> (TestOutcome, String) {
    if test.optional {
        (TestOutcome::Skipped, format!("{need} is not on this machine; the suite allows that"))
    } else {
        (TestOutcome::Failed, format!("{need} is not on this machine, and the suite wants this test"))
    }
}

async fn builtin_within(check: Builtin, test: &Test, place: &Place, limit: Duration) -> (TestOutcome, String) {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, size, folder) = (stop.clone(), test.size, place.folder.clone());
    // The check looks at `stop` at least once for each block; at the limit it ends by itself within milliseconds.
    let mut work = tokio::task::spawn_blocking(move || builtin::measure(check, size, &folder, &stopped));
    let ended = match tokio::time::timeout(limit, &mut work).await {
        Ok(ended) => ended,
        Err(_) => {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            let _ = work.await;
            return (TestOutcome::TimedOut, format!("not done within {} s", limit.as_secs()));
        }
    };
    match ended {
        Ok(Ok(Measured { value, unit })) => judge(test, Some(value), format!("{value:.2} {unit}")),
        Ok(Err(error)) => (TestOutcome::Failed, error),
        Err(error) => (TestOutcome::Failed, error.to_string()),
    }
}

fn judge(test: &Test, value: Option<f64>, text: String) -> (TestOutcome, String) {
    match (&test.threshold, value) {
        (None, _) => (TestOutcome::Passed, text),
        (Some(threshold), Some(value)) if threshold.holds(value) => (TestOutcome::Passed, text),
        (Some(_), Some(_)) => (TestOutcome::Failed, text),
        (Some(_), None) => (TestOutcome::Failed, format!("it printed no number: {text}")),
    }
}

/// The last number of a text.
fn number(text: &str) -> Option<f64> {
    text.split(|it: char| !(it.is_ascii_digit() || matches!(it, '.' | '-' | 'e' | 'E' | '+')))
        .filter_map(|word| word.trim_matches('.').parse::<f64>().ok())
        .rfind(|it| it.is_finite())
}

/// A path, or a program in the search path.
fn is_there(need: &str) -> bool {
    if need.contains('/') {
        return Path::new(need).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(need).is_file())
}

enum Ended {
    /// Exit status 0 or not, and the end of what it printed.
    Out(bool, String),
    TimedOut(String),
    NotRun(String),
}

impl Ended {
    fn outcome(self) -> (TestOutcome, String) {
        match self {
            Ended::Out(_, text) => (TestOutcome::Failed, text),
            Ended::TimedOut(text) => (TestOutcome::TimedOut, text),
            Ended::NotRun(text) => (TestOutcome::Failed, text),
        }
    }
}

/// Runs a program in a process group of its own, which dies whole at the limit.
async fn execute(command: &[String], limit: Duration) -> Ended {
    let Some((program, arguments)) = command.split_first() else { return Ended::NotRun("no command".into()) };
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Ended::NotRun(format!("{program}: {error}")),
    };
    let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let mut text = Vec::new();
    let mut error = Vec::new();
    let all = async {
        // The pipes end when the last process of the group has closed them.
        tokio::join!(keep(out, &mut text), keep(err, &mut error));
        child.wait().await
    };
    let ended = tokio::time::timeout(limit, all).await;
    drop(group);
    text.extend_from_slice(&error);
    let text = String::from_utf8_lossy(&text).trim_end().to_owned();
    match ended {
        Ok(Ok(status)) => {
            Ended::Out(status.success(), if status.success() { text } else { format!("{text}\n{status}") })
        }
        Ok(Err(error)) => Ended::NotRun(error.to_string()),
        Err(_) => Ended::TimedOut(format!("{text}\nkilled after {} s", limit.as_secs())),
    }
}

/// A process group that is killed when nobody waits for it any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Gone already: then there is nobody to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads to the end and keeps the end.
async fn keep(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut block = [0; 8 * 1024];
    while let Ok(length @ 1..) = pipe.read(&mut block).await {
        kept.extend_from_slice(&block[..length]);
        if kept.len() > 2 * OUTPUT_BYTES_MAX {
            kept.drain(..kept.len() - OUTPUT_BYTES_MAX);
        }
    }
    if kept.len() > OUTPUT_BYTES_MAX {
        kept.drain(..kept.len() - OUTPUT_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_counts() {
        for (text, want) in [
            ("bandwidth: 1.5 GB/s\nsum 2400.25 GB/s", Some(2400.25)),
            ("none", None),
            ("3.", Some(3.0)),
            ("1e3 x", Some(1000.0)),
        ] {
            assert_eq!(number(text), want, "{text}");
        }
    }
}
