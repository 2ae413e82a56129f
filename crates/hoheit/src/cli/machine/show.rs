//! `hoheit machine show`: why a machine is in its state, what happens next, and what is known about it.
//!
//! What holds it and what it waits for are the site's words. What differs from its bill is found here, from the spec and the
//! inventory that the site answered: a help to the reader, on which nothing depends.

use crate::cli::{Failure, show};
use serde_json::Value;

/// Differences that a person reads before they look at the JSON.
const DIFFERENCES_MAX: usize = 12;

pub fn run(machine: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json { show::json(machine) } else { show::line(&page(machine)) }
}

fn page(machine: &Value) -> String {
    let mut page = Page::default();
    let word = |name: &str| show::text(&machine[name]);
    page.line(&format!("{}  {}  {}  unit {}", word("slot"), word("id"), word("kind"), word("unit")));
    page.field("state", &format!("{} since {}", word("lifecycle"), show::time(&machine["since"])));
    page.field("why", &word("reason"));
    let hold = &machine["decided"]["hold"];
    if hold.is_object() {
        let (code, text, at) = (show::text(&hold["code"]), show::text(&hold["text"]), show::time(&hold["at"]));
        page.field("HELD", &format!("{code} since {at}: {text}"));
    }
    let capacity = match machine["scheduling"].as_str() {
        Some("open") => "open: it is capacity",
        Some("draining") => "draining: no new work, what runs may end",
        _ => "cordoned: no new work",
    };
    page.field("health", &format!("{}; {capacity}", word("health")));
    let symptoms = machine["symptoms"].as_array().into_iter().flatten();
    page.fields("", symptoms.map(|it| show::text(&it["text"])));
    let next: Vec<String> = machine["next"].as_array().into_iter().flatten().map(show::text).collect();
    page.fields("next", if next.is_empty() { vec!["nothing: it is as it shall be".to_owned()] } else { next });
    if machine["spec"]["drain"].is_string() {
        page.field("drain", &format!("asked for: {}", show::text(&machine["spec"]["drain"])));
    }
    if machine["spec"]["wanted"] == false {
        page.field("wanted", "no: on its way out, for good");
    }
    custody(&mut page, machine);
    inventory(&mut page, machine);
    agent(&mut page, machine);
    validation(&mut page, &machine["observed"]["validation"]);
    orders(&mut page, machine);
    certificates(&mut page, machine);
    events(&mut page, machine);
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(text);
    }

    fn field(&mut self, name: &str, text: &str) {
        self.line(&format!("{name:<13} {}", text.replace('\n', "; ")));
    }

    /// The name stands before the first.
    fn fields(&mut self, name: &str, texts: impl IntoIterator<Item = String>) {
        for (index, text) in texts.into_iter().enumerate() {
            self.field(if index == 0 { name } else { "" }, &text);
        }
    }
}

fn custody(page: &mut Page, machine: &Value) {
    let bill = machine["spec"]["serials"]["chassis"].as_str();
    let custody = &machine["observed"]["custody"];
    let scanned = custody["serial"].as_str().map(|serial| {
        let (by, at) = (show::text(&custody["by"]), show::time(&custody["at"]));
        let photo = if custody["photo"].is_string() { ", photographed" } else { "" };
        format!("{} scanned by {by} at {at}{photo}", show::clean(serial))
    });
    let text = match (bill, scanned) {
        (None, None) => "not known; what is scanned at receipt becomes the bill".to_owned(),
        (Some(bill), None) => format!("{}, not scanned yet", show::clean(bill)),
        (None, Some(scanned)) => scanned,
        (Some(bill), Some(scanned)) => format!("{}; {scanned}", show::clean(bill)),
    };
    page.field("serial", &text);
}

/// Why its BMC does not say or do what is asked.
fn trouble(page: &mut Page, trouble: &Value) {
    if !trouble.is_object() {
        return;
    }
    let (kind, text, since) =
        (show::text(&trouble["kind"]), show::text(&trouble["text"]), show::time(&trouble["since"]));
    let next = match trouble["next_try"].as_i64() {
        Some(_) => format!("tried again at {}", show::time(&trouble["next_try"])),
        None => "tried again when somebody sets it right".to_owned(),
    };
    page.field("BMC TROUBLE", &format!("{kind} since {since}: {text}; {next}"));
}

fn inventory(page: &mut Page, machine: &Value) {
    trouble(page, &machine["observed"]["bmc_trouble"]);
    let bmc = &machine["observed"]["bmc"];
    if !bmc.is_object() {
        return page.field("BMC", "never answered");
    }
    let heard = match bmc["silent_since"].as_i64() {
        Some(_) => format!("silent since {}", show::time(&bmc["silent_since"])),
        None => format!("answered {}", show::time(&bmc["at"])),
    };
    let inventory = &bmc["inventory"];
    let secure_boot = match inventory["secure_boot"].as_bool() {
        Some(true) => "on",
        Some(false) => "OFF",
        None => "not said",
    };
    let (maker, model) = (show::text(&inventory["manufacturer"]), show::text(&inventory["model"]));
    let power = show::text(&inventory["power"]);
    page.field("BMC", &format!("{heard}; {maker} {model}, power {power}, secure boot {secure_boot}"));
    let mut kinds = std::collections::BTreeMap::<&str, usize>::new();
    for part in inventory["parts"].as_object().into_iter().flat_map(|parts| parts.values()) {
        *kinds.entry(part["kind"].as_str().unwrap_or("?")).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {}", show::clean(kind))).collect();
    let firmware = inventory["firmware"].as_object().map_or(0, serde_json::Map::len);
    page.field("inventory", &format!("{}; {firmware} firmware components", kinds.join(", ")));
    let mut differs = differences(&machine["spec"], inventory);
    if differs.is_empty() {
        page.field("differs", "nothing: parts, serial numbers and firmware are as the site file says");
    } else {
        let more = differs.len().saturating_sub(DIFFERENCES_MAX);
        differs.truncate(DIFFERENCES_MAX);
        if more > 0 {
            differs.push(format!("and {more} more; --json has all"));
        }
        page.fields("DIFFERS", differs);
    }
    page.fields("complains", inventory["complaints"].as_array().into_iter().flatten().map(show::text));
}

/// Part, wanted, found; one line each.
fn differences(spec: &Value, inventory: &Value) -> Vec<String> {
    let entries = |value: &'_ Value| value.as_object().cloned().unwrap_or_default();
    let said = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map_or("nothing".to_owned(), show::clean);
    let mut all = Vec::new();
    let mut compare = |name: &str, wanted: &Value, found: &Value| {
        if wanted.as_str().is_some_and(|wanted| !wanted.is_empty()) && wanted != found {
            all.push(format!("{}: wanted {}, found {}", show::clean(name), said(wanted), said(found)));
        }
    };
    for (name, wanted) in entries(&spec["serials"]) {
        let found = if name == "chassis" { &inventory["serial"] } else { &inventory["parts"][&name]["serial"] };
        compare(&name, &wanted, found);
    }
    for (component, wanted) in entries(&spec["firmware"]) {
        compare(&format!("firmware {component}"), &wanted, &inventory["firmware"][&component]);
    }
    let parts = entries(&inventory["parts"]);
    for (kind, wanted) in entries(&spec["parts"]) {
        let found = parts.values().filter(|part| part["kind"] == *kind.as_str()).count() as u64;
        if wanted.as_u64().is_some_and(|wanted| found < wanted) && kind != "chassis" {
            all.push(format!("{}: wanted {wanted}, found {found}", show::clean(&kind)));
        }
    }
    let unwell = parts.iter().filter(|(_, part)| part["healthy"] == false);
    all.extend(unwell.map(|(name, _)| format!("{}: its BMC says that it is not well", show::clean(name))));
    all
}

fn agent(page: &mut Page, machine: &Value) {
    let agent = &machine["observed"]["agent"];
    if agent.is_object() {
        let gpus = agent["gpus"].as_object().map_or(0, serde_json::Map::len);
        let (at, driver) = (show::time(&agent["at"]), show::text(&agent["driver"]));
        page.field("agent", &format!("heard {at}; driver {driver}, {gpus} GPUs"));
    } else {
        page.field("agent", "never heard");
    }
}

fn validation(page: &mut Page, run: &Value) {
    if !run.is_object() {
        return;
    }
    let tests = run["tests"].as_array().map_or(&[][..], Vec::as_slice);
    let passed = tests.iter().filter(|test| test["outcome"] == "passed").count();
    let state = if run["ended_at"].is_null() { "runs" } else { "ended" };
    page.field("tests", &format!("suite {} {state}: {passed} of {} passed", show::text(&run["suite"]), tests.len()));
    for test in tests.iter().filter(|test| test["outcome"] != "passed") {
        let word = |name: &str| show::text(&test[name]);
        page.field(
            "",
            &format!("{} {}: wanted {}, {}", word("name"), word("outcome"), word("threshold"), word("value")),
        );
    }
}

/// How many tasks are over, and how many there are.
pub fn progress(order: &Value) -> (usize, usize) {
    let tasks = order["tasks"].as_array().map_or(&[][..], Vec::as_slice);
    (tasks.iter().filter(|task| over(task)).count(), tasks.len())
}

/// Done or left out.
pub fn over(task: &Value) -> bool {
    matches!(task["state"].as_str(), Some("done" | "skipped"))
}

fn orders(page: &mut Page, machine: &Value) {
    let lines = machine["orders"].as_array().into_iter().flatten().map(|order| {
        let (done, tasks) = progress(order);
        let finding = order["finding"]["text"].as_str().map(|text| format!(": {}", show::clean(text)));
        let (id, kind, state) = (show::text(&order["id"]), show::text(&order["kind"]), show::text(&order["state"]));
        format!("{id} {kind} {state}, {done} of {tasks} tasks{}", finding.unwrap_or_default())
    });
    page.fields("orders", lines);
}

fn certificates(page: &mut Page, machine: &Value) {
    let lines = machine["certificates"].as_array().into_iter().flatten().map(|one| {
        let holds = if one["holds"] == true { "holds" } else { "does not hold" };
        let log = if one["proof"].is_string() { "in the log" } else { "not in the log yet" };
        format!("{} of {}: {holds}, {log}", show::text(&one["id"]), show::time(&one["at"]))
    });
    page.fields("certificates", lines);
}

fn events(page: &mut Page, machine: &Value) {
    let lines = machine["events"].as_array().into_iter().flatten();
    page.fields(
        "events",
        lines.map(|event| {
            format!("{}  {}: {}", show::time(&event["at"]), show::text(&event["kind"]), show::text(&event["text"]))
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_held_machine_says_why_and_what_differs() {
        let order = json!({ "id": "ord_1", "kind": "install", "state": "done", "finding": null,
            "tasks": [{ "state": "done" }, { "state": "skipped" }] });
        let machine = json!({
            "id": "mach_1", "slot": "h1/r01/k01/u01", "unit": "su01", "kind": "dgx-b200", "lifecycle": "powered",
            "health": "healthy", "scheduling": "cordoned", "since": 0, "reason": "gpu3: wanted A, found B",
            "held": "serial_differs",
            "symptoms": [{ "code": "part_faulty", "about": "psu1", "text": "psu1: its BMC calls it critical" }],
            "spec": { "serials": { "chassis": "C1", "gpu3": "A" }, "parts": { "chassis": 1, "gpu": 2 },
                "firmware": { "bmc": "2.0", "bios": "1.0" }, "drain": null, "wanted": true },
            "decided": { "hold": { "code": "serial_differs", "about": "gpu3", "text": "gpu3: wanted A, found B", "at": 1000 } },
            "observed": {
                "custody": { "serial": "C1", "by": "operator", "at": 2000, "photo": "00" },
                "bmc": { "at": 3000, "silent_since": null, "inventory": {
                    "manufacturer": "NVIDIA", "model": "DGX\u{1b}[31mB200", "serial": "C1", "power": "on",
                    "secure_boot": false, "parts": {
                        "gpu3": { "kind": "gpu", "serial": "B", "healthy": true },
                        "psu1": { "kind": "psu", "serial": "P", "healthy": false } },
                    "firmware": { "bmc": "1.9" }, "complaints": ["PSU 1 has no input"] } },
                "bmc_trouble": { "kind": "credentials", "text": "credentials refused at /redfish/v1/Systems", "since": 4000,
                    "next_try": 5000 },
                "agent": null,
                "validation": { "suite": "dgx-b200", "ended_at": 1, "tests": [
                    { "name": "memory", "outcome": "passed" },
                    { "name": "nvlink", "outcome": "failed", "threshold": ">= 800 GB/s", "value": "412 GB/s" }] } },
            "next": ["a person: mend it, or `hoheit machine release mach_1` with a reason (serial_differs)"],
            "orders": [order],
            "certificates": [{ "id": "acc_1", "at": 0, "holds": false, "jwt": "j", "proof": "p" }],
            "events": [{ "seq": 1, "at": 0, "machine": "mach_1", "kind": "held", "text": "gpu3: wanted A, found B" }],
        });
        insta::assert_snapshot!("held", page(&machine));
    }

    #[test]
    fn a_machine_of_which_nothing_is_known_yet() {
        let machine = json!({ "id": "mach_1", "slot": "s", "unit": "u", "kind": "rtx-pro", "lifecycle": "planned",
            "health": "healthy", "scheduling": "cordoned", "since": 0, "reason": "in the site file", "spec": {},
            "observed": { "bmc_trouble": { "kind": "not_set", "text": "it is not known where its BMC is", "since": 0,
                "next_try": null } }, "next": [] });
        insta::assert_snapshot!("unknown", page(&machine));
    }
}
