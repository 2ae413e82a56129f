//! `hoheit fleet status`: machines counted by state, and by what holds them.

use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::show::{self, Column, field};
use fleet::machine::Lifecycle;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const STATES: &[Column] =
    &[field!("state"), field!("machines"), field!("capacity"), field!("degraded"), field!("faulted"), field!("held")];
const HELD: &[Column] = &[field!("held by", "finding"), field!("machines"), field!("for example", "example")];

pub async fn run(client: &Client, as_json: bool) -> Result<(), Failure> {
    let machines = client.all("/api/v1/machines").await?;
    let counted = count(machines["data"].as_array().map_or(&[][..], Vec::as_slice));
    if as_json {
        return show::json(&counted);
    }
    let (total, capacity) = (&counted["machines"], &counted["capacity"]);
    show::list(
        false,
        &json!({ "data": counted["states"] }),
        STATES,
        "No machines. Apply a site file: hoheit site apply FILE",
    )?;
    if total != 0 {
        show::line(&format!("\n{total} machines, {capacity} of them capacity\n"))?;
        show::list(false, &json!({ "data": counted["held"] }), HELD, "Nothing waits for a person.")?;
    }
    Ok(())
}

/// States in the order of a machine's life; findings with the most machines first. Retired machines are not of the fleet.
fn count(machines: &[Value]) -> Value {
    let here: Vec<&Value> =
        machines.iter().filter(|machine| machine["lifecycle"] != Lifecycle::Retired.as_str()).collect();
    let open = |machine: &&&Value| machine["scheduling"] == "open";
    let states = Lifecycle::ALL.iter().filter_map(|state| {
        let of: Vec<&&Value> = here.iter().filter(|machine| machine["lifecycle"] == state.as_str()).collect();
        let health = |word: &str| of.iter().filter(|machine| machine["health"] == word).count();
        (!of.is_empty()).then(|| {
            json!({ "state": state, "machines": of.len(), "capacity": of.iter().filter(|one| open(one)).count(),
                "degraded": health("degraded"), "faulted": health("faulted"),
                "held": of.iter().filter(|machine| machine["held"].is_string()).count() })
        })
    });
    let states: Vec<Value> = states.collect();
    let mut findings: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for machine in &here {
        if let Some(code) = machine["held"].as_str() {
            let slot = machine["slot"].as_str().unwrap_or_default();
            let (count, example) = findings.entry(code).or_insert((0, slot));
            *count += 1;
            *example = slot.min(*example);
        }
    }
    let mut held: Vec<(&str, (usize, &str))> = findings.into_iter().collect();
    held.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let held: Vec<Value> = held
        .into_iter()
        .map(|(code, (count, slot))| json!({ "finding": code, "machines": count, "example": slot }))
        .collect();
    json!({ "machines": here.len(), "capacity": here.iter().filter(open).count(), "states": states, "held": held })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_counted_once() {
        let machine = |slot: &str, lifecycle: &str, scheduling: &str, held: Value| json!({ "slot": slot, "lifecycle": lifecycle, "scheduling": scheduling, "health": "healthy", "held": held });
        let counted = count(&[
            machine("b", "accepted", "open", Value::Null),
            machine("c", "powered", "cordoned", json!("serial_differs")),
            machine("a", "powered", "cordoned", json!("serial_differs")),
            machine("d", "planned", "cordoned", json!("time_limit")),
            machine("e", "retired", "cordoned", json!("time_limit")),
        ]);
        assert_eq!((&counted["machines"], &counted["capacity"]), (&json!(4), &json!(1)));
        let states: Vec<_> =
            counted["states"].as_array().unwrap().iter().map(|it| (&it["state"], &it["held"])).collect();
        assert_eq!(
            states,
            [(&json!("planned"), &json!(1)), (&json!("powered"), &json!(2)), (&json!("accepted"), &json!(0))]
        );
        let first = json!({ "finding": "serial_differs", "machines": 2, "example": "a" });
        assert_eq!((&counted["held"][0], &counted["held"][1]["machines"]), (&first, &json!(1)));
    }
}
