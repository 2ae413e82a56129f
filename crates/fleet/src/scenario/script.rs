//! The language: one command a line, `#` begins a remark.
//!
//! ```text
//! machines 200 behind leaf-12        m1 … m200, all behind one switch; again for more, numbered on
//! advance 2 h                        min, h or d; nothing happens but in here
//! tick 10 min                        how fine time is: 1 min at first
//! install                            advance until every machine is accepted or held, 30 days at most
//! bmc m1 ok | silent | serial S9     what its BMC says, and whether
//! part m1 gpu3 serial G9 | faulty | gone
//! agent m1 ok | silent | serial S9 | clock 1 d
//! scan m1 S9 | right                 what a scanner reads off it
//! test m1 fails | passes | hangs
//! firmware m1 stuck | ok             updates do nothing
//! xid m1 79 gpu 0
//! hot m1 gpu 0
//! switch leaf-12 down | up
//! work m1 3 | stuck                  workloads that run on it
//! workers on | off                   whether anybody does the orders' tasks
//! orders m1 | all cancel
//! ann releases m1: why
//! ann repairs m1 gpu3: why           has it repaired
//! ann drains m1: why | ann undrains m1
//! ann unwants m1
//! ann resumes m1: why                its held order
//! controller away 20 min             nobody listens for so long
//! faults 8 a day seed 42             random ones, on machines in service; m1 twenty times as often: `lemon m1`
//! quiet on | off                     tells nothing but what is asked
//! show | show m1 | count
//! ```

/// A mistake in the text, or a story that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ScriptError {
    pub line: usize,
    pub what: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Machines { count: usize, domain: String },
    Advance(i64),
    Tick(i64),
    Install,
    Bmc(String, Voice),
    Agent(String, Voice),
    Part { machine: String, part: String, how: PartChange },
    Scan { machine: String, serial: Option<String> },
    Test { machine: String, how: TestWill },
    Firmware { machine: String, stuck: bool },
    Xid { machine: String, code: u16, gpu: u32 },
    Hot { machine: String, gpu: u32 },
    Switch { domain: String, down: bool },
    Work { machine: String, count: Option<u32> },
    Workers(bool),
    CancelOrder(String),
    Person { by: String, wish: Wish, machine: String },
    Away(i64),
    Faults { per_day: u64, seed: u64 },
    Lemon(String),
    Quiet(bool),
    Show(Option<String>),
    Count,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Voice {
    Well,
    Silent,
    Serial(String),
    Clock(i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartChange {
    Serial(String),
    Faulty,
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestWill {
    Passes,
    Fails,
    Hangs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    Release(String),
    Repair { part: String, why: String },
    Drain(String),
    Undrain,
    Unwant,
    Resume(String),
}

/// Longer stories are not stories, and a tick of a minute makes 525,600 steps of a machine's year.
pub const ADVANCE_MILLIS_MAX: i64 = 366 * 86_400_000;
/// The largest site planned, and a bit.
pub const MACHINES_MAX: usize = 2_000;

/// Commands with their line numbers, from 1.
pub fn parse(text: &str) -> Result<Vec<(usize, Command)>, ScriptError> {
    let mut commands = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let command = command(line).map_err(|what| ScriptError { line: at + 1, what })?;
        commands.push((at + 1, command));
    }
    Ok(commands)
}

fn command(line: &str) -> Result<Command, String> {
    let (head, why) = line.split_once(':').map_or((line, ""), |(head, why)| (head, why.trim()));
    let words: Vec<&str> = head.split_whitespace().collect();
    let own = |text: &str| text.to_owned();
    Ok(match words.as_slice() {
        ["machines", count, "behind", domain] => {
            let count = number(count)?;
            if count > MACHINES_MAX as u64 {
                return Err(format!("more than {MACHINES_MAX} machines"));
            }
            Command::Machines { count: count as usize, domain: own(domain) }
        }
        ["advance", count, unit] => Command::Advance(span(count, unit)?),
        ["tick", count, unit] => Command::Tick(span(count, unit)?.max(1_000)),
        ["install"] => Command::Install,
        ["bmc", machine, voice @ ..] => Command::Bmc(own(machine), self::voice(voice)?),
        ["agent", machine, voice @ ..] => Command::Agent(own(machine), self::voice(voice)?),
        ["part", machine, part, how @ ..] => {
            let how = match how {
                ["serial", serial] => PartChange::Serial(own(serial)),
                ["faulty"] => PartChange::Faulty,
                ["gone"] => PartChange::Gone,
                _ => return Err(unknown(line)),
            };
            Command::Part { machine: own(machine), part: own(part), how }
        }
        ["scan", machine, "right"] => Command::Scan { machine: own(machine), serial: None },
        ["scan", machine, serial] => Command::Scan { machine: own(machine), serial: Some(own(serial)) },
        ["test", machine, how] => {
            let how = match *how {
                "passes" => TestWill::Passes,
                "fails" => TestWill::Fails,
                "hangs" => TestWill::Hangs,
                _ => return Err(unknown(line)),
            };
            Command::Test { machine: own(machine), how }
        }
        ["firmware", machine, how @ ("stuck" | "ok")] => {
            Command::Firmware { machine: own(machine), stuck: *how == "stuck" }
        }
        ["xid", machine, code, "gpu", gpu] => {
            let code = u16::try_from(number(code)?).map_err(|_| format!("{code} is no XID"))?;
            Command::Xid { machine: own(machine), code, gpu: small(gpu)? }
        }
        ["hot", machine, "gpu", gpu] => Command::Hot { machine: own(machine), gpu: small(gpu)? },
        ["switch", domain, how @ ("down" | "up")] => Command::Switch { domain: own(domain), down: *how == "down" },
        ["work", machine, "stuck"] => Command::Work { machine: own(machine), count: None },
        ["work", machine, count] => Command::Work { machine: own(machine), count: Some(small(count)?) },
        ["workers", how @ ("on" | "off")] => Command::Workers(*how == "on"),
        ["orders", machine, "cancel"] => Command::CancelOrder(own(machine)),
        ["controller", "away", count, unit] => Command::Away(span(count, unit)?),
        ["faults", count, "a", "day", "seed", seed] => Command::Faults { per_day: number(count)?, seed: number(seed)? },
        ["quiet", how @ ("on" | "off")] => Command::Quiet(*how == "on"),
        ["lemon", machine] => Command::Lemon(own(machine)),
        ["show"] => Command::Show(None),
        ["show", machine] => Command::Show(Some(own(machine))),
        ["count"] => Command::Count,
        [by, wish @ ("releases" | "drains" | "undrains" | "unwants" | "resumes"), machine] => {
            let wish = match *wish {
                "releases" => Wish::Release(own(why)),
                "drains" => Wish::Drain(own(why)),
                "undrains" => Wish::Undrain,
                "unwants" => Wish::Unwant,
                _ => Wish::Resume(own(why)),
            };
            Command::Person { by: own(by), wish, machine: own(machine) }
        }
        [by, "repairs", machine, part] => {
            let wish = Wish::Repair { part: own(part), why: own(why) };
            Command::Person { by: own(by), wish, machine: own(machine) }
        }
        _ => return Err(unknown(line)),
    })
}

fn unknown(line: &str) -> String {
    format!("\"{line}\" is no command; crates/fleet/src/scenario/script.rs lists them")
}

fn voice(words: &[&str]) -> Result<Voice, String> {
    match words {
        ["ok"] => Ok(Voice::Well),
        ["silent"] => Ok(Voice::Silent),
        ["serial", serial] => Ok(Voice::Serial((*serial).to_owned())),
        ["clock", count, unit] => Ok(Voice::Clock(span(count, unit)?)),
        _ => Err(format!("\"{}\": ok, silent, serial S or clock 1 d is wanted", words.join(" "))),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no number"))
}

fn small(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no small number"))
}

fn span(count: &str, unit: &str) -> Result<i64, String> {
    let unit = match unit {
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("\"{unit}\": s, min, h or d is wanted")),
    };
    let millis = i64::try_from(number(count)?).ok().and_then(|count| count.checked_mul(unit));
    millis.filter(|millis| *millis <= ADVANCE_MILLIS_MAX).ok_or_else(|| "longer than a year".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_names_its_line() {
        let check = |text: &str, line, word: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.line == line && error.what.contains(word), "{error}");
        };
        check("machines 2 behind leaf\nfly m1\n", 2, "is no command");
        check("advance 1 year", 1, "is wanted");
        check("advance 99999999999999999 d", 1, "longer than a year");
        check("advance -1 d", 1, "is no number");
        check("machines 2001 behind leaf", 1, "more than 2000");
        check("# a remark\n\nxid m1 70000 gpu 0", 3, "no XID");
        check("bmc m1 loud", 1, "is wanted");
    }

    #[test]
    fn a_reason_stands_behind_a_colon() {
        let wish = Wish::Repair { part: "gpu3".into(), why: "it hums".into() };
        let want = Command::Person { by: "ann".into(), wish, machine: "m1".into() };
        assert_eq!(parse("ann repairs m1 gpu3: it hums # says ann").unwrap(), [(1, want)]);
    }
}
