//! User and system time of a process and all its descendants, from `/proc`.

use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Linux reports times in ticks of 1/100 s to programs, whatever its own clock does (`USER_HZ`).
const MICROSECONDS_PER_TICK: u64 = 10_000;

/// Microseconds that the tree below `root` has used so far. Descendants that have ended count with the parent that
/// waited for them.
pub fn tree_us(root: u32) -> Result<u64> {
    let mut processes = HashMap::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end while we read.
        if let Some(stat) = fs::read_to_string(format!("/proc/{id}/stat")).ok().and_then(|text| parse(&text)) {
            processes.insert(id, stat);
        }
    }
    let mine = |id: u32| {
        let mut at = Some(id);
        while let Some(id) = at {
            if id == root {
                return true;
            }
            at = processes.get(&id).map(|stat: &Stat| stat.parent);
        }
        false
    };
    let ticks: u64 = processes.iter().filter(|(id, _)| mine(**id)).map(|(_, stat)| stat.ticks).sum();
    Ok(ticks * MICROSECONDS_PER_TICK)
}

/// Waits until the tree is idle (at most 2 ticks in 300 ms, three times running) and returns its time then. A process
/// that never rests is read after 60 s.
pub fn settled_us(root: u32) -> Result<u64> {
    let begin = Instant::now();
    let mut quiet = 0;
    let mut last = tree_us(root)?;
    while quiet < 3 && begin.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(300));
        let now = tree_us(root)?;
        quiet = if now - last <= 2 * MICROSECONDS_PER_TICK { quiet + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}

struct Stat {
    parent: u32,
    ticks: u64,
}

/// `pid (name) state ppid … utime stime cutime cstime …`; the name may hold spaces and brackets.
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // Fields 4 and 14 to 17 of proc(5), counted from the state, which is field 3.
    Some(Stat { parent: u32::try_from(number(1)?).ok()?, ticks: number(11)? + number(12)? + number(13)? + number(14)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc() {
        let line = "42 (a) b) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 9 0 1 2 3";
        let stat = parse(line).expect("it is one");
        assert_eq!((stat.parent, stat.ticks), (7, 127));
        assert!(parse("nonsense").is_none());
    }

    #[test]
    fn our_own_tree_can_be_read() {
        assert!(tree_us(std::process::id()).is_ok());
    }
}
