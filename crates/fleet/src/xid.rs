//! XIDs, the error numbers of NVIDIA's driver, and what we do about each. The meanings are data (`data/xid.csv`), by GPU
//! generation and driver; nothing here knows a code.
//!
//! An operator overrides the table with a file of the same form, or with NVIDIA's own catalogue
//! (`code,mnemonic,description,immediate,investigatory`): later rows go before earlier ones of the same precision.
//!
//! A code without a row is **drained**. A GPU that says something that nobody here has read is not trusted with tenants'
//! work: silent corruption costs more than an hour of a machine. What a new driver's harmless message can cost is bounded
//! by the limit on automatic drains (`drains`), and a line in the file ends it.
//!
//! What it is not: it knows no history; that one and the same answer does not help twice is `diagnosis`' business.

use crate::machine::{MachineKind, words};
use serde::{Deserialize, Serialize};

words! {
    /// What is done about an event; ordered, the later the harder.
    XidAction {
        /// Written down, nothing else.
        Ignore = "ignore",
        /// The program on this GPU.
        Restart = "restart",
        /// The GPU.
        Reset = "reset",
        /// No new work on the machine; somebody looks at it.
        Drain = "drain",
        /// Like drain, and the part is exchanged.
        Rma = "rma",
    }
}

words! {
    /// What NVIDIA calls an architecture.
    Generation {
        Ampere = "ampere",
        Hopper = "hopper",
        Blackwell = "blackwell",
    }
}

impl Generation {
    /// From the name that NVML gives a GPU; a name that we do not know is the generation that the machine is built with.
    pub fn of(name: &str, kind: MachineKind) -> Generation {
        const KNOWN: [(&str, Generation); 8] = [
            ("B200", Generation::Blackwell),
            ("B300", Generation::Blackwell),
            ("RTX PRO", Generation::Blackwell),
            ("H100", Generation::Hopper),
            ("H200", Generation::Hopper),
            ("H20", Generation::Hopper),
            ("A100", Generation::Ampere),
            ("A40", Generation::Ampere),
        ];
        let built = match kind {
            MachineKind::DgxB200 | MachineKind::RtxPro => Generation::Blackwell,
        };
        KNOWN.iter().find(|(word, _)| name.contains(word)).map_or(built, |(_, generation)| *generation)
    }
}

/// One row: a code, what it means, what we do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub code: u16,
    pub meaning: String,
    pub action: XidAction,
    /// None: any.
    pub generation: Option<Generation>,
    /// Major driver versions for which the row holds, `(from, below)`.
    pub drivers: (u32, u32),
}

/// Rows by code. The most precise one that fits decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XidTable {
    rows: Vec<Row>,
}

/// Why a table was not read. Whoever wrote the file is at fault; nothing of it is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("XID table, line {line}: {what}")]
pub struct TableError {
    pub line: usize,
    pub what: String,
}

/// The catalogue has 173 lines; a table a hundred times as long is not one.
pub const ROWS_MAX: usize = 20_000;

/// What to do, and why in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    pub action: XidAction,
    pub meaning: &'a str,
    pub known: bool,
}

impl Default for XidTable {
    fn default() -> Self {
        Self::parse(include_str!("../data/xid.csv")).expect("our own table is read by a test")
    }
}

impl XidTable {
    /// Reads either format; which one, the header says.
    pub fn parse(text: &str) -> Result<XidTable, TableError> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let header = lines.next().map_or("", |(_, line)| line.trim_end());
        let read = match header {
            "code,meaning,action,generation,driver" => ours,
            "code,mnemonic,description,immediate,investigatory" => catalogue,
            _ => {
                let what = format!("the header \"{header}\" is neither ours nor NVIDIA's catalogue's");
                return Err(TableError { line: 1, what });
            }
        };
        let mut rows = Vec::new();
        for (number, line) in lines {
            let wrong = |what| TableError { line: number + 1, what };
            if rows.len() == ROWS_MAX {
                return Err(wrong(format!("more than {ROWS_MAX} rows")));
            }
            rows.push(read(&fields(line).map_err(wrong)?).map_err(wrong)?);
        }
        Ok(XidTable { rows })
    }

    /// This table, with another one's rows before its own.
    pub fn overridden_by(mut self, other: XidTable) -> XidTable {
        self.rows.retain(|mine| !other.rows.iter().any(|theirs| theirs.code == mine.code));
        self.rows.extend(other.rows);
        self
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What to do about this code. `driver` is the version as the driver writes it, `570.124.06`.
    pub fn answer(&self, code: u16, generation: Generation, driver: &str) -> Answer<'_> {
        let major = driver.split('.').next().and_then(|text| text.parse::<u32>().ok());
        let fits = |row: &&Row| {
            row.code == code
                && row.generation.is_none_or(|wanted| wanted == generation)
                && match major {
                    Some(major) => row.drivers.0 <= major && major < row.drivers.1,
                    None => row.drivers == ANY_DRIVER,
                }
        };
        let precision = |row: &&Row| (row.generation.is_some(), row.drivers != ANY_DRIVER);
        // `max_by_key` takes the last of equals: later rows go before earlier ones.
        match self.rows.iter().filter(fits).max_by_key(precision) {
            Some(row) => Answer { action: row.action, meaning: &row.meaning, known: true },
            None => Answer { action: XidAction::Drain, meaning: "not in the table", known: false },
        }
    }
}

const ANY_DRIVER: (u32, u32) = (0, u32::MAX);

/// One line's fields; a field in double quotes may hold commas, and quotes written twice.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.trim_end().chars().peekable();
    while let Some(c) = chars.next() {
        let field = fields.last_mut().expect("never empty");
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => field.push(c),
        }
    }
    if quoted {
        return Err("a quote is opened and not closed".to_owned());
    }
    if fields.len() == 5 { Ok(fields) } else { Err(format!("5 fields are wanted, {} are there", fields.len())) }
}

fn code(text: &str) -> Result<u16, String> {
    text.trim().parse().map_err(|_| format!("\"{text}\" is not a code (0 to 65535)"))
}

/// `code,meaning,action,generation,driver`; driver is empty, `550`, `550..`, `..570` or `550..570` (below 570).
fn ours(fields: &[String]) -> Result<Row, String> {
    let action = XidAction::from_word(&fields[2]);
    let action = action.ok_or_else(|| format!("\"{}\" is none of {}", fields[2], list(XidAction::ALL)))?;
    let generation = match fields[3].as_str() {
        "" => None,
        word => {
            let known = Generation::from_word(word);
            Some(known.ok_or_else(|| format!("\"{word}\" is none of {}", list(Generation::ALL)))?)
        }
    };
    let wrong = || format!("\"{}\" is not a range of drivers such as 550..570", fields[4]);
    let major = |text: &str, open: u32| match text {
        "" => Ok(open),
        text => text.parse::<u32>().map_err(|_| wrong()),
    };
    let drivers = match fields[4].split_once("..") {
        Some((from, below)) => (major(from, 0)?, major(below, u32::MAX)?),
        None if fields[4].is_empty() => ANY_DRIVER,
        None => (major(&fields[4], 0)?, major(&fields[4], 0)?.saturating_add(1)),
    };
    if drivers.0 >= drivers.1 {
        return Err(wrong());
    }
    Ok(Row { code: code(&fields[0])?, meaning: fields[1].clone(), action, generation, drivers })
}

/// NVIDIA's own words for what to do, as ours. Its workflows begin with a reset where ours does; what sends one to support
/// or to the machine itself is a drain. A row without an action says only that the code exists: drained like an unknown.
fn catalogue(fields: &[String]) -> Result<Row, String> {
    let action = match fields[3].trim() {
        "IGNORE" | "XID_154" | "WORKFLOW_XID_45" => XidAction::Ignore,
        "RESTART_APP" | "CHECK_UVM" => XidAction::Restart,
        "RESET_GPU" | "WORKFLOW_NVLINK_ERR" | "WORKFLOW_NVLINK5_ERR" => XidAction::Reset,
        "RESTART_BM" | "RESTART_VM" | "CONTACT_SUPPORT" | "UPDATE_SWFW" | "WORKFLOW_XID_48" | "" => XidAction::Drain,
        "CHECK_MECHANICALS" => XidAction::Rma,
        other => return Err(format!("\"{other}\" is not an action that we know")),
    };
    let meaning = if fields[2].is_empty() { fields[1].clone() } else { fields[2].clone() };
    Ok(Row { code: code(&fields[0])?, meaning, action, generation: None, drivers: ANY_DRIVER })
}

fn list<T: std::fmt::Display>(all: &[T]) -> String {
    all.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use Generation::{Ampere, Blackwell, Hopper};

    #[test]
    fn our_table_reads_and_answers() {
        let table = XidTable::default();
        let check = |code, driver, want: XidAction| {
            let answer = table.answer(code, Blackwell, driver);
            assert_eq!((answer.action, answer.known), (want, true), "xid {code}");
        };
        check(13, "570.124.06", XidAction::Restart);
        check(31, "570.124.06", XidAction::Restart);
        check(43, "570.124.06", XidAction::Ignore);
        check(63, "570.124.06", XidAction::Ignore);
        check(64, "570.124.06", XidAction::Rma);
        check(79, "570.124.06", XidAction::Drain);
        check(94, "570.124.06", XidAction::Restart);
        check(95, "570.124.06", XidAction::Reset);
        check(119, "", XidAction::Reset);
        let unknown = table.answer(9_999, Blackwell, "570.124.06");
        assert_eq!((unknown.action, unknown.known), (XidAction::Drain, false));
    }

    #[test]
    fn the_most_precise_row_decides() {
        let text = "code,meaning,action,generation,driver\n\
                    7,all,ignore,,\n7,hopper,restart,hopper,\n7,hopper old,reset,hopper,..550\n7,new,drain,,570..\n";
        let table = XidTable::parse(text).unwrap();
        let check =
            |generation, driver, want| assert_eq!(table.answer(7, generation, driver).meaning, want, "{driver}");
        check(Ampere, "535.1", "all");
        check(Ampere, "569.99", "all");
        check(Ampere, "570.00", "new");
        check(Hopper, "549.1", "hopper old");
        check(Hopper, "550.1", "hopper");
        check(Hopper, "570.1", "hopper");
        // Without a version only rows for any driver count.
        check(Hopper, "", "hopper");
        check(Blackwell, "garbage", "all");
    }

    #[test]
    fn nvidias_catalogue_overrides_row_by_row() {
        let text = "code,mnemonic,description,immediate,investigatory\n\
                    31,MMU,GPU memory page fault,RESET_GPU,X\n45,P,\"Cleanup, due \"\"to\"\" errors\",WORKFLOW_XID_45,\n\
                    162,PSHC,Power,,\n";
        let table = XidTable::default().overridden_by(XidTable::parse(text).unwrap());
        assert_eq!(table.answer(31, Blackwell, "570.1").action, XidAction::Reset);
        assert_eq!(table.answer(45, Blackwell, "570.1").meaning, "Cleanup, due \"to\" errors");
        assert_eq!(table.answer(162, Blackwell, "570.1").action, XidAction::Drain);
        // Not in the override: ours stays.
        assert_eq!(table.answer(13, Blackwell, "570.1").action, XidAction::Restart);
    }

    #[test]
    fn a_wrong_table_names_the_line() {
        let check = |text: &str, line, word: &str| {
            let error = XidTable::parse(text).unwrap_err();
            assert!(error.line == line && error.what.contains(word), "{error}");
        };
        const OURS: &str = "code,meaning,action,generation,driver\n";
        check("", 1, "header");
        check("code,action\n", 1, "header");
        check(&format!("{OURS}13,a,restart,,\nx,a,restart,,\n"), 3, "not a code");
        check(&format!("{OURS}65536,a,restart,,\n"), 2, "not a code");
        check(&format!("{OURS}# comment\n\n13,a,explode,,\n"), 4, "explode");
        check(&format!("{OURS}13,a,restart,volta,\n"), 2, "volta");
        check(&format!("{OURS}13,a,restart,,570..550\n"), 2, "range");
        check(&format!("{OURS}13,a,restart,\n"), 2, "5 fields");
        check(&format!("{OURS}13,\"a,restart,,\n"), 2, "quote");
        let many = format!("{OURS}{}", "13,a,restart,,\n".repeat(ROWS_MAX + 1));
        check(&many, ROWS_MAX + 2, "more than");
        assert!(XidTable::parse(&format!("{OURS}{}", "13,a,restart,,\n".repeat(ROWS_MAX))).is_ok());
    }

    #[test]
    fn the_whole_catalogue_reads_where_it_is_there() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/nvidia_xid_catalog.csv");
        let Ok(text) = std::fs::read_to_string(path) else { return };
        let theirs = XidTable::parse(&text).unwrap();
        assert_eq!(theirs.rows().len(), 172);
        // Every code of the catalogue that is in use has a row of ours.
        let ours = XidTable::default();
        let used = theirs.rows().iter().filter(|row| row.meaning != "Unused");
        let missing: Vec<_> = used.filter(|row| !ours.answer(row.code, Blackwell, "570.1").known).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn a_generation_is_in_the_name() {
        let check = |name, want| assert_eq!(Generation::of(name, MachineKind::DgxB200), want, "{name}");
        check("NVIDIA B200", Blackwell);
        check("NVIDIA RTX PRO 6000 Blackwell Server Edition", Blackwell);
        check("NVIDIA H100 80GB HBM3", Hopper);
        check("NVIDIA A100-SXM4-80GB", Ampere);
        check("", Blackwell);
    }
}
