//! `hoheit twin overload`: the overload case of the VTC paper, and an interactive tenant beside batch.

use crate::cli::Failure;
use crate::cli::show::{self, Column, field};
use clap::Args;
use serde_json::{Value, json};
use twin::overload::{BOUND, MINUTES, classes, tenants};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hoheit twin overload
  hoheit twin overload --minutes 60
  hoheit twin overload --json")]
pub struct Overload {
    /// How long two tenants ask for more than the engine can do.
    #[arg(long, value_name = "N", default_value_t = MINUTES, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const TENANTS: &[Column] = &[
    field!("policy"),
    field!("first", "service", first),
    field!("second", "service", second),
    field!("total", "service_total"),
    field!("gap max", "gap_max"),
    field!("gap at end", "gap_end"),
];

const CLASSES: &[Column] = &[
    field!("case"),
    field!("policy"),
    field!("ttft p50 ms", "ttft_p50_millis", millis),
    field!("ttft p99 ms", "ttft_p99_millis", millis),
    field!("batch service", "service", second),
];

fn first(values: &Value) -> String {
    show::text(&values[0])
}

fn second(values: &Value) -> String {
    show::text(&values[1])
}

fn millis(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |millis| format!("{millis:.1}"))
}

impl Overload {
    pub fn run(self) -> Result<(), Failure> {
        let (tenants, classes) = (tenants(self.minutes), classes());
        if self.json {
            return show::json(&json!({
                "minutes": self.minutes, "gap_bound": BOUND, "tenants": tenants, "classes": classes,
            }));
        }
        show::line(&format!(
            "Two tenants, 1.5 and 3 requests a second of 256/256 tokens, one engine, {} minutes.\n\
             Service in weighted tokens (read + 2 x written); the gap between them may be {BOUND} at most.\n",
            self.minutes
        ))?;
        show::list(false, &json!({ "data": tenants }), TENANTS, "")?;
        show::line("\nAn interactive tenant, twelve requests a second, alone and beside a batch job with 64 open.\n")?;
        show::list(false, &json!({ "data": classes }), CLASSES, "")
    }
}
