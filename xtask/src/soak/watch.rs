//! What the process costs while it is soaked: resident memory, threads, open files and CPU, every ten seconds, into
//! `samples.csv`; and whether they stay what they are.

use super::engines::Fleet;
use crate::site::Site;
use crate::{http, screen};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

const SAMPLE: Duration = Duration::from_secs(10);
/// How long a killed engine stays away.
const AWAY: Duration = Duration::from_secs(4);
/// Caches, indexes and the allocator fill in this part of the run: it says nothing about leaks.
const WARM_UP: f64 = 0.25;
/// Memory is flat if the line through the samples after the warm-up rises by no more than this in the time they span...
const GROWTH_MIB_MAX: f64 = 16.0;
/// ...or by no more than this part of their mean, whichever is more.
const GROWTH_PART_MAX: f64 = 0.1;
/// Open files at the end, of those after the warm-up: connections come and go with customers, by some tens.
const FILES_FACTOR_MAX: f64 = 1.5;
/// Shipping has a delay of a tenth of a second; a minute means that it hangs.
const SETTLE_PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
pub struct Sample {
    seconds: f64,
    resident_mib: f64,
    pub threads: u64,
    pub files: u64,
    cpu_us: u64,
}

pub struct Watched {
    samples: Vec<Sample>,
    pub kills: usize,
}

/// Memory after the warm-up.
pub struct Memory {
    first_mib: f64,
    last_mib: f64,
    mean_mib: f64,
    most_mib: f64,
    /// Of the least-squares line over the time that it spans.
    growth_mib: f64,
}

/// Samples for as long as the load lasts, and kills and brings back engines.
pub fn over(site: &Site, fleet: &mut Fleet, folder: &Path, load: Duration, restart: Duration) -> Result<Watched> {
    let begin = Instant::now();
    let mut file = File::create(folder.join("samples.csv"))?;
    writeln!(file, "seconds,resident_mib,threads,files,cpu_us")?;
    let mut watched = Watched { samples: Vec::new(), kills: 0 };
    let (mut next_sample, mut next_kill, mut back) = (begin, begin + restart, None);
    while begin.elapsed() < load {
        let now = Instant::now();
        if now >= next_sample {
            next_sample += SAMPLE;
            let sample = sample(site.server.id(), begin.elapsed())?;
            let Sample { seconds, resident_mib, threads, files, cpu_us } = sample;
            writeln!(file, "{seconds:.0},{resident_mib:.1},{threads},{files},{cpu_us}")?;
            watched.samples.push(sample);
            if watched.samples.len() % 6 == 1 {
                screen::step(&format!("{:3.0} min: {resident_mib:.1} MiB, {files} files open", seconds / 60.0));
            }
        }
        if now >= next_kill {
            next_kill += restart;
            fleet.kill_one()?;
            back = Some(now + AWAY);
        }
        if back.is_some_and(|back| now >= back) {
            back = None;
            fleet.bring_back()?;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    watched.kills = fleet.kills();
    Ok(watched)
}

fn sample(id: u32, at: Duration) -> Result<Sample> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).context("the server is gone")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Ok(Sample {
        seconds: at.as_secs_f64(),
        resident_mib: field("VmRSS:").context("no VmRSS")? as f64 / 1024.0,
        threads: field("Threads:").context("no Threads")?,
        files: fs::read_dir(format!("/proc/{id}/fd"))?.count() as u64,
        cpu_us: crate::bench::tree_us(id)?,
    })
}

/// Waits until no request is open and every receipt is shipped. Sealing is what the export waits for.
pub fn settled(site: &Site) -> Result<()> {
    let begin = Instant::now();
    loop {
        let (_, page) = http::get(site.address, "/metrics")?;
        let value = |name: &str| page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        let [open, waiting, unshipped, at_engines] = [
            "hoheit_requests_open ",
            "hoheit_journal_records_waiting ",
            "hoheit_receipts_unshipped ",
            "hoheit_requests_at_engines ",
        ]
        .map(|name| value(name).unwrap_or(f64::NAN));
        if open == 0.0 && waiting == 0.0 && unshipped == 0.0 && at_engines == 0.0 {
            return Ok(());
        }
        if begin.elapsed() > SETTLE_PATIENCE {
            bail!(
                "not settled after {} s: {open} requests open, {at_engines} at engines, {waiting} records waiting, \
                 {unshipped} receipts unshipped",
                SETTLE_PATIENCE.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

impl Watched {
    /// The first and the last.
    pub fn ends(&self, of: impl Fn(&Sample) -> u64) -> [u64; 2] {
        [self.samples.first(), self.samples.last()].map(|sample| sample.map_or(0, &of))
    }

    pub fn cpu_seconds(&self) -> u64 {
        let [first, last] = self.ends(|sample| sample.cpu_us);
        (last - first) / 1_000_000
    }

    fn warm(&self) -> &[Sample] {
        &self.samples[(self.samples.len() as f64 * WARM_UP) as usize..]
    }

    /// Files and threads stay what they are.
    pub fn check(&self) -> Result<()> {
        let (Some(first), Some(last)) = (self.warm().first(), self.warm().last()) else { return Ok(()) };
        let most = first.files as f64 * FILES_FACTOR_MAX;
        ensure!(last.files as f64 <= most, "{} files are open where {} were", last.files, first.files);
        ensure!(last.threads <= first.threads + 2, "{} threads run where {} did", last.threads, first.threads);
        Ok(())
    }

    pub fn memory(&self) -> Memory {
        let warm = self.warm();
        Memory::of(&warm.iter().map(|sample| (sample.seconds, sample.resident_mib)).collect::<Vec<_>>())
    }
}

impl Memory {
    /// Of seconds and MiB.
    fn of(points: &[(f64, f64)]) -> Memory {
        let count = points.len().max(1) as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (mean_s, mean_mib) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|(s, _)| (s - mean_s).powi(2)).sum();
        let together: f64 = points.iter().map(|(s, mib)| (s - mean_s) * (mib - mean_mib)).sum();
        let slope = if spread > 0.0 { together / spread } else { 0.0 };
        let (first, last) = (points.first().copied().unwrap_or_default(), points.last().copied().unwrap_or_default());
        Memory {
            first_mib: first.1,
            last_mib: last.1,
            mean_mib,
            most_mib: points.iter().map(|point| point.1).fold(0.0, f64::max),
            growth_mib: slope * (last.0 - first.0),
        }
    }

    pub fn document(&self) -> Value {
        let round = |mib: f64| (mib * 10.0).round() / 10.0;
        json!({
            "after_warm_up_mib": round(self.first_mib), "at_the_end_mib": round(self.last_mib),
            "mean_mib": round(self.mean_mib), "most_mib": round(self.most_mib), "growth_mib": round(self.growth_mib),
        })
    }

    pub fn check(&self) -> Result<()> {
        let most = GROWTH_MIB_MAX.max(self.mean_mib * GROWTH_PART_MAX);
        ensure!(
            self.growth_mib <= most,
            "memory grew by {:.1} MiB after the warm-up (at most {most:.1})",
            self.growth_mib
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_threads_that_grow_are_found() {
        let check = |files: [u64; 2], threads: [u64; 2]| {
            let sample = |at: usize| Sample {
                seconds: at as f64,
                resident_mib: 1.0,
                threads: threads[at],
                files: files[at],
                cpu_us: 0,
            };
            Watched { samples: vec![sample(0), sample(1)], kills: 0 }.check()
        };
        assert!(check([80, 120], [14, 16]).is_ok());
        assert!(check([80, 121], [14, 14]).is_err());
        assert!(check([80, 80], [14, 17]).is_err());
    }

    #[test]
    fn what_grows_is_not_flat_and_what_swings_is() {
        let line = |slope: f64, swing: f64| -> Memory {
            let points = (0..360).map(|at| {
                let s = f64::from(at) * 10.0;
                (s, 100.0 + slope * s / 3_600.0 + swing * f64::from(at % 2))
            });
            Memory::of(&points.collect::<Vec<_>>())
        };
        assert!(line(0.0, 30.0).check().is_ok());
        assert!(line(10.0, 5.0).check().is_ok());
        assert!(line(30.0, 5.0).check().is_err());
        assert!(line(-30.0, 0.0).check().is_ok());
        assert!((line(30.0, 0.0).growth_mib - 30.0).abs() < 0.2);
    }
}
