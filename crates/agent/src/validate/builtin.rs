//! Our own checks, for every machine: memory, disk, processors. They find parts that are broken or far too slow; they are no
//! benchmark, and each uses a bounded part of the machine.

use super::suite::Builtin;
use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A suite may ask for so much memory, in MiB: 64 GiB of the 2 TiB of a DGX.
pub const SIZE_MIB_MAX: u64 = 64 * 1024;
/// Without a size.
const SIZE_MIB: u64 = 64;
const MIB: usize = 1024 * 1024;
/// All bits clear, all set, and each neighbour different, both ways.
const PATTERNS: [u64; 4] = [0, u64::MAX, 0xaaaa_aaaa_aaaa_aaaa, 0x5555_5555_5555_5555];
/// Flushed writes whose times are sorted: the 99th percentile is the third worst.
const FLUSHES: usize = 200;
/// Rounds of the computation before its result is compared: some 10 ms.
const ROUNDS: u64 = 10_000_000;
/// Times that each core computes it.
const REPEATS: u64 = 8;

/// A number with its unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    pub value: f64,
    pub unit: &'static str,
}

const STOPPED: &str = "stopped at its time limit";

/// Runs one check; blocks. Looks at `stop` between blocks.
pub fn measure(check: Builtin, size_mib: u64, folder: &Path, stop: &AtomicBool) -> Result<Measured, String> {
    let size = if size_mib == 0 { SIZE_MIB } else { size_mib.min(SIZE_MIB_MAX) };
    let size = usize::try_from(size).map_err(|error| error.to_string())?;
    match check {
        Builtin::Memory => memory(size, stop),
        Builtin::Disk => disk(size, folder, stop),
        Builtin::DiskLatency => disk_latency(folder, stop),
        Builtin::Processor => processor(stop),
        Builtin::Dcgm => Err("DCGM is a program".into()),
    }
}

fn go_on(stop: &AtomicBool) -> Result<(), String> {
    if stop.load(Ordering::Relaxed) { Err(STOPPED.into()) } else { Ok(()) }
}

/// Each word differs from its neighbours, so that an address line that is stuck shows as well.
fn word(pattern: u64, at: usize) -> u64 {
    pattern ^ (at as u64)
}

fn memory(mib: usize, stop: &AtomicBool) -> Result<Measured, String> {
    let words = mib * MIB / 8;
    let mut field: Vec<u64> = Vec::new();
    field.try_reserve_exact(words).map_err(|error| format!("{mib} MiB are not to be had: {error}"))?;
    field.resize(words, 0);
    let begun = Instant::now();
    for pattern in PATTERNS {
        for (block, part) in field.chunks_mut(MIB / 8).enumerate() {
            go_on(stop)?;
            let from = block * (MIB / 8);
            part.iter_mut().enumerate().for_each(|(at, it)| *it = word(pattern, from + at));
        }
        let field = black_box(&mut field);
        for (block, part) in field.chunks(MIB / 8).enumerate() {
            go_on(stop)?;
            let from = block * (MIB / 8);
            verify(part, pattern, from)?;
        }
    }
    let bytes = (2 * PATTERNS.len() * mib * MIB) as f64;
    Ok(Measured { value: bytes / begun.elapsed().as_secs_f64() / 1e9, unit: "GB/s" })
}

fn verify(part: &[u64], pattern: u64, from: usize) -> Result<(), String> {
    match part.iter().enumerate().find(|(at, it)| **it != word(pattern, from + at)) {
        None => Ok(()),
        Some((at, it)) => {
            let at = from + at;
            Err(format!("memory: wrote {:016x} at word {at} and read {it:016x}", word(pattern, at)))
        }
    }
}

/// A file that goes away.
struct Scratch {
    file: File,
    path: std::path::PathBuf,
}

impl Scratch {
    fn new(folder: &Path) -> Result<Scratch, String> {
        let path = folder.join(format!(".hoheit-disk-{}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Scratch { file, path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn disk(mib: usize, folder: &Path, stop: &AtomicBool) -> Result<Measured, String> {
    let scratch = Scratch::new(folder)?;
    let mut file = &scratch.file;
    let says = |error: std::io::Error| format!("{}: {error}", scratch.path.display());
    let block =
        |at: usize| -> Vec<u8> { (0..MIB / 8).flat_map(|it| word(PATTERNS[2], at * MIB + it).to_le_bytes()).collect() };
    let begun = Instant::now();
    for at in 0..mib {
        go_on(stop)?;
        file.write_all(&block(at)).map_err(says)?;
    }
    file.sync_all().map_err(says)?;
    let seconds = begun.elapsed().as_secs_f64();
    // From the disk if the system drops its copy; from memory otherwise, and then only the path to it was tested.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    file.seek(SeekFrom::Start(0)).map_err(says)?;
    let mut read = vec![0; MIB];
    for at in 0..mib {
        go_on(stop)?;
        file.read_exact(&mut read).map_err(says)?;
        if read != block(at) {
            return Err(format!("disk: MiB {at} reads differently from what was written"));
        }
    }
    Ok(Measured { value: (mib * MIB) as f64 / seconds / 1e6, unit: "MB/s" })
}

fn disk_latency(folder: &Path, stop: &AtomicBool) -> Result<Measured, String> {
    let scratch = Scratch::new(folder)?;
    let mut file = &scratch.file;
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        go_on(stop)?;
        let begun = Instant::now();
        file.write_all(&[0x5a; 4096]).and_then(|()| file.sync_data()).map_err(|error| error.to_string())?;
        times.push(begun.elapsed());
    }
    times.sort();
    let worst = times[FLUSHES * 99 / 100];
    Ok(Measured { value: worst.as_secs_f64() * 1e3, unit: "ms" })
}

/// Integer and floating point, each depending on the one before.
fn compute(rounds: u64) -> (u64, u64) {
    let mut whole = 0x9e37_79b9_7f4a_7c15u64;
    let mut real = 1.0f64;
    for at in 0..rounds {
        whole = (whole ^ (whole >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(at);
        real = (real + (whole >> 12) as f64 * 1e-16).sqrt() * 1.5;
    }
    (black_box(whole), black_box(real.to_bits()))
}

/// Every core, at once, the same: a core that computes something else is broken, and nothing else would say so.
fn processor(stop: &AtomicBool) -> Result<Measured, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<Vec<(u64, u64)>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|_| {
                scope.spawn(|| (0..REPEATS).take_while(|_| go_on(stop).is_ok()).map(|_| compute(ROUNDS)).collect())
            })
            .collect();
        threads.into_iter().map(|it| it.join().unwrap_or_default()).collect()
    });
    go_on(stop)?;
    agree(&results)
}

fn agree(results: &[Vec<(u64, u64)>]) -> Result<Measured, String> {
    let all: Vec<_> = results.iter().flatten().collect();
    let first = all.first().ok_or("no core computed anything")?;
    if let Some(core) = results.iter().position(|it| it.is_empty() || it.iter().any(|it| it != *first)) {
        return Err(format!("processors disagree: thread {core} computed something else"));
    }
    Ok(Measured { value: all.len() as f64, unit: "runs" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_pass_on_a_sound_machine_and_stop_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let on = AtomicBool::new(false);
        for check in [Builtin::Memory, Builtin::Disk, Builtin::DiskLatency] {
            let measured = measure(check, 2, folder.path(), &on).unwrap();
            assert!(measured.value > 0.0, "{check:?} {measured:?}");
            assert_eq!(measure(check, 2, folder.path(), &AtomicBool::new(true)), Err(STOPPED.into()));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        assert!(measure(Builtin::Disk, 1, Path::new("/nowhere"), &on).unwrap_err().starts_with("/nowhere"));
    }

    #[test]
    fn a_flipped_bit_shows() {
        let mut part: Vec<u64> = (0..64).map(|at| word(PATTERNS[1], 100 + at)).collect();
        assert!(verify(&part, PATTERNS[1], 100).is_ok());
        part[7] ^= 1 << 40;
        assert!(verify(&part, PATTERNS[1], 100).unwrap_err().contains("word 107"));
    }

    #[test]
    fn a_core_that_computes_something_else_shows() {
        let right = compute(1_000);
        assert_eq!(right, compute(1_000));
        assert!(agree(&[vec![right; 2], vec![right; 2]]).is_ok());
        assert!(agree(&[vec![right; 2], vec![right, (right.0 ^ 1, right.1)]]).unwrap_err().contains("thread 1"));
        assert!(agree(&[vec![right], vec![]]).is_err(), "a core that said nothing");
        assert!(agree(&[]).is_err());
    }
}
