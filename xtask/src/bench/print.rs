//! Tables for people, one JSON document for programs. `rows` are those of the small body, as they have been from the start.

use super::ask::{self, Body};
use super::{Found, Options, load, replicas, streams, whole};
use serde_json::{Map, Value, json};

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// How many times as much as another's.
fn ratio(of: Option<f64>, to: Option<f64>) -> Option<f64> {
    of.zip(to).filter(|(_, to)| *to > 0.0).map(|(of, to)| rounded(of / to))
}

fn whole_rows(rows: &[whole::Row]) -> Vec<Value> {
    let cpu = |row: &whole::Row| row.least(|round| round.cpu_us);
    let speed = |row: &whole::Row| Some(row.median(|round| round.requests_per_second));
    let of = |name: &str| rows.iter().find(|row| row.name == name);
    rows.iter()
        .map(|row| {
            json!({
                "name": row.name,
                // Nothing stands in the way of `direct`, and nothing is what it costs.
                "cpu_us_per_request": rounded(cpu(row).unwrap_or_default()),
                "cpu_us_per_request_settled": rounded(row.least(|round| round.cpu_us_settled).unwrap_or_default()),
                "requests_per_second": row.median(|round| round.requests_per_second).round(),
                "p50_ms": rounded(row.median(|round| round.p50_ms)),
                "p99_ms": rounded(row.median(|round| round.p99_ms)),
                "cpu_to_nginx": ratio(cpu(row), of("nginx").and_then(cpu)),
                "cpu_to_vllm_router": ratio(cpu(row), of("vllm-router").and_then(cpu)),
                "requests_to_vllm_router": ratio(speed(row), of("vllm-router").and_then(speed)),
            })
        })
        .collect()
}

fn stream_rows(rows: &[streams::Row]) -> Vec<Value> {
    let cpu = |row: &streams::Row| row.least(|round| round.cpu_us);
    let of = |name: &str| rows.iter().find(|row| row.name == name);
    rows.iter()
        .map(|row| {
            json!({
                "name": row.name,
                "cpu_us_per_token": cpu(row).map(rounded),
                "cores": row.least(|round| round.cores).map(rounded),
                "tokens_per_second": row.median(|round| round.tokens_per_second).round(),
                "delay_p50_ms": rounded(row.median(|round| round.delay_p50_ms)),
                "delay_p99_ms": rounded(row.median(|round| round.delay_p99_ms)),
                "first_token_p50_ms": rounded(row.median(|round| round.first_p50_ms)),
                "cpu_to_nginx": ratio(cpu(row), of("nginx").and_then(cpu)),
                "cpu_to_vllm_router": ratio(cpu(row), of("vllm-router").and_then(cpu)),
            })
        })
        .collect()
}

fn fleet_rows(fleets: &[replicas::Fleet]) -> Vec<Value> {
    let speed = |row: &whole::Row| row.median(|round| round.requests_per_second);
    let mut values = Vec::new();
    for fleet in fleets {
        let first = fleet.rows.first().map(|(_, row)| speed(row));
        for (count, row) in &fleet.rows {
            values.push(json!({
                "gateway": fleet.gateway,
                "strategy": fleet.strategy,
                "replicas": count,
                "cpu_us_per_request": row.least(|round| round.cpu_us).map(rounded),
                "requests_per_second": speed(row).round(),
                "p50_ms": rounded(row.median(|round| round.p50_ms)),
                "p99_ms": rounded(row.median(|round| round.p99_ms)),
                "requests_to_first": ratio(Some(speed(row)), first),
            }));
        }
    }
    values
}

pub fn document(options: &Options, found: &Found) -> String {
    let bodies: Map<String, Value> =
        found.bodies.iter().map(|(body, rows)| (body.name().to_owned(), Value::Array(whole_rows(rows)))).collect();
    let streams: Map<String, Value> =
        found.streams.iter().map(|(count, rows)| (count.to_string(), Value::Array(stream_rows(rows)))).collect();
    json!({
        "rows": bodies.get("small").cloned().unwrap_or_else(|| Value::Array(Vec::new())),
        "bodies": bodies,
        "streams": streams,
        "replicas": fleet_rows(&found.fleets),
        "connections": load::CONNECTIONS,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "request_bytes": ask::request(Body::Small).len(),
        "answer_bytes": ask::answer().len(),
        "pinned": super::pinned(),
    })
    .to_string()
}

fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

pub fn tables(found: &Found) {
    for (body, rows) in &found.bodies {
        println!("{} connections, whole answers, {} bytes asked\n", load::CONNECTIONS, ask::request(*body).len());
        println!(
            "| gateway | CPU µs/request | and settled | requests/s | p50 ms | p99 ms | CPU to nginx | requests to vllm-router |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        let nginx = rows.iter().find(|row| row.name == "nginx").and_then(|row| row.least(|round| round.cpu_us));
        let vllm = rows.iter().find(|row| row.name == "vllm-router");
        let vllm = vllm.map(|row| row.median(|round| round.requests_per_second));
        for row in rows {
            let cpu = row.least(|round| round.cpu_us);
            println!(
                "| {} | {} | {} | {:.0} | {:.3} | {:.2} | {} | {} |",
                row.name,
                cell(cpu, 1),
                cell(row.least(|round| round.cpu_us_settled), 1),
                row.median(|round| round.requests_per_second),
                row.median(|round| round.p50_ms),
                row.median(|round| round.p99_ms),
                cell(ratio(cpu, nginx), 2),
                cell(ratio(Some(row.median(|round| round.requests_per_second)), vllm), 2),
            );
        }
        println!();
    }
    for (count, rows) in &found.streams {
        println!("{count} streams of 64 tokens at 10 ms\n");
        println!(
            "| gateway | CPU µs/token | cores | tokens/s | delay p50 ms | p99 ms | first token p50 ms | CPU to nginx |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        let nginx = rows.iter().find(|row| row.name == "nginx").and_then(|row| row.least(|round| round.cpu_us));
        for row in rows {
            let cpu = row.least(|round| round.cpu_us);
            println!(
                "| {} | {} | {} | {:.0} | {:.3} | {:.2} | {:.2} | {} |",
                row.name,
                cell(cpu, 1),
                cell(row.least(|round| round.cores), 2),
                row.median(|round| round.tokens_per_second),
                row.median(|round| round.delay_p50_ms),
                row.median(|round| round.delay_p99_ms),
                row.median(|round| round.first_p50_ms),
                cell(ratio(cpu, nginx), 2),
            );
        }
        println!();
    }
    fleet_table(&fleet_rows(&found.fleets));
    println!(
        "CPU is the smallest of the rounds, the rest medians. \"Settled\" adds what Hoheit does after the load has"
    );
    println!("stopped: receipts shipped to the store and sealed in the log.");
}

fn fleet_table(rows: &[Value]) {
    if rows.is_empty() {
        return;
    }
    println!("| gateway | strategy | replicas | CPU µs/request | requests/s | p50 ms | p99 ms | of the first |");
    println!("|---|---|---|---|---|---|---|---|");
    for row in rows {
        let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str, digits: usize| cell(row[name].as_f64(), digits);
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            word("gateway"),
            word("strategy"),
            row["replicas"],
            number("cpu_us_per_request", 1),
            number("requests_per_second", 0),
            number("p50_ms", 2),
            number("p99_ms", 2),
            number("requests_to_first", 2),
        );
    }
    println!();
}
