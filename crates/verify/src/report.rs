//! The result of a check and its two renderings. Both say three things: what was proved, what was not, what is wrong.

use crate::Ending;
use crate::args::Lang;
use crate::words::{Fault, Proved, Unproved};
use serde_json::json;

/// What a check found. It holds if there is no fault.
#[derive(Debug, Default)]
pub struct Report {
    pub proved: Vec<Proved>,
    pub unproved: Vec<Unproved>,
    pub faults: Vec<Fault>,
}

impl Report {
    pub fn fault(fault: Fault) -> Report {
        Report { faults: vec![fault], ..Report::default() }
    }
}

pub fn ending(result: anyhow::Result<Report>, as_json: bool, lang: Lang) -> Ending {
    let code = match &result {
        Ok(report) if report.faults.is_empty() => 0,
        Ok(_) => 1,
        Err(_) => 2,
    };
    match (result, as_json) {
        (Ok(report), true) => Ending { code, stdout: json(&report, code, lang), stderr: String::new() },
        (Ok(report), false) => Ending { code, stdout: text(&report, lang), stderr: String::new() },
        (Err(error), true) => {
            let value = json!({"result": "not_checked", "exit": code, "error": format!("{error:#}")});
            Ending { code, stdout: format!("{value}\n"), stderr: String::new() }
        }
        (Err(error), false) => {
            let word = if lang == Lang::De { "nicht prüfbar" } else { "could not check" };
            Ending { code, stdout: String::new(), stderr: format!("{word}: {error:#}\n") }
        }
    }
}

/// One line if it holds; if it does not, one line per fault after it.
fn text(report: &Report, lang: Lang) -> String {
    let list = |items: Vec<String>| items.join("; ");
    let german = lang == Lang::De;
    if !report.faults.is_empty() {
        let word = if german { "hält nicht" } else { "does not hold" };
        let faults: String =
            report.faults.iter().map(|fault| format!("  [{}] {}\n", fault.kind(), fault.text(lang))).collect();
        return format!("{word}: {}\n{faults}", report.faults.len());
    }
    let (word, not) = if german { ("hält", "Nicht bewiesen") } else { ("holds", "Not proved") };
    let proved = list(report.proved.iter().map(|proved| proved.text(lang)).collect());
    let unproved = list(report.unproved.iter().map(|unproved| unproved.text(lang)).collect());
    format!("{word}: {proved}. {not}: {unproved}.\n")
}

/// With faults nothing counts as proved: a reader who looks at one field only must not be misled.
fn json(report: &Report, code: u8, lang: Lang) -> String {
    let holds = report.faults.is_empty();
    let proved: Vec<_> = report.proved.iter().filter(|_| holds).map(|proved| proved.text(lang)).collect();
    let unproved: Vec<_> = report.unproved.iter().map(|unproved| unproved.text(lang)).collect();
    let fault = |fault: &Fault| json!({"kind": fault.kind(), "text": fault.text(lang)});
    let faults: Vec<_> = report.faults.iter().map(fault).collect();
    let result = if holds { "holds" } else { "does_not_hold" };
    let value = json!({"result": result, "exit": code, "proved": proved, "not_proved": unproved, "faults": faults});
    format!("{value}\n")
}
